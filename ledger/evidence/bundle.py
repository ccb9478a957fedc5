"""The file of an evidence bundle: a zip in one spelling only, and nothing in it but what a bundle holds.

>>> raw = pack([(MANIFEST, b"{}"), ("records/3-12.json", b"a record"), ("proofs/3-12.tlog-proof", b"a proof")])
>>> list(unpack(raw)), unpack(raw)["records/3-12.json"]
(['manifest.json', 'records/3-12.json', 'proofs/3-12.tlog-proof'], b'a record')
>>> unpack(raw + b"more")
Traceback (most recent call last):
    ...
ledger.evidence.bundle.InvalidBundle: there is data behind the zip

Entries are stored, not compressed, without a time, an attribute or an extra field. So the same entries are the same
bytes wherever they are packed, nothing can hide between them, and no small file unpacks into a large one: whatever is
read is a part of the file itself. `unpack` reads the entries one after another and then wants the file to be, byte for
byte, what `pack` makes of them. Any zip program opens it.
"""

import re
import struct
from collections.abc import Iterable
from zlib import crc32

from ledger.errors import ConsentLedgerError, Malformed, Problem
from ledger.log import Position
from ledger.tree.tlog_proof import SUFFIX

MANIFEST = "manifest.json"
MAX_RECORDS = 30_000
MAX_BUNDLE_BYTES = 128 * 1024 * 1024
MAX_MANIFEST_BYTES = 16 * 1024 * 1024
MAX_ENTRY_BYTES = 128 * 1024
_NAME = re.compile(r"manifest\.json|records/[0-9]{1,5}-[0-9]{1,19}\.json|proofs/[0-9]{1,5}-[0-9]{1,19}\.tlog-proof")
_LOCAL = struct.Struct("<4s5H3L2H")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_END = struct.Struct("<4s4H2LH")
_LOCAL_MARK, _CENTRAL_MARK, _END_MARK = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
_VERSION = 10  # 1.0: nothing but stored files is needed to read it
_NO_TIME = (0, 0x21)  # midnight, 1980-01-01: the first that a zip can write


class InvalidBundle(ConsentLedgerError):
    """A bundle does not show what it says: the message names the entry and what is wrong with it."""


class Incomplete(ConsentLedgerError):
    """A file ends before it should: it was not handed over as a whole."""


def record_name(position: Position) -> str:
    """The entry that holds a record's bytes."""
    return f"records/{position}.json"


def proof_name(position: Position) -> str:
    """The entry that proves a record."""
    return f"proofs/{position}{SUFFIX}"


def pack(entries: Iterable[tuple[str, bytes]]) -> bytes:
    """The file that holds these entries, in this order."""
    found: list[bytes] = []
    directory: list[bytes] = []
    at = 0
    for name, data in entries:
        raw_name = name.encode("ascii")
        about = (*_NO_TIME, crc32(data), len(data), len(data), len(raw_name), 0)
        local = _LOCAL.pack(_LOCAL_MARK, _VERSION, 0, 0, *about) + raw_name
        directory.append(_CENTRAL.pack(_CENTRAL_MARK, _VERSION, _VERSION, 0, 0, *about, 0, 0, 0, 0, at) + raw_name)
        found += [local, data]
        at += len(local) + len(data)
    listed = b"".join(directory)
    assert len(directory) <= 2 * MAX_RECORDS + 1, "a bundle is bounded"
    end = _END.pack(_END_MARK, 0, 0, len(directory), len(directory), len(listed), at, 0)
    return b"".join([*found, listed, end])


def unpack(raw: bytes) -> dict[str, bytes]:
    """The entries of a file, in its order; nothing in them is to be believed yet.

    Raises `Malformed` for what is no bundle at all, `Incomplete` for the beginning of one, `InvalidBundle` for any
    spelling but the one.
    """
    if len(raw) > MAX_BUNDLE_BYTES:
        raise InvalidBundle(f"a bundle has at most {MAX_BUNDLE_BYTES:,} bytes")
    first = raw[: _LOCAL.size + len(MANIFEST)]
    if not first.startswith(_LOCAL_MARK) or first[_LOCAL.size :] != MANIFEST.encode():
        raise Malformed([Problem("", "not-a-bundle")], f"an evidence bundle is a zip that begins with {MANIFEST}")
    entries: dict[str, bytes] = {}
    at = 0
    while raw.startswith(_LOCAL_MARK, at):
        if len(entries) > 2 * MAX_RECORDS:
            raise InvalidBundle(f"a bundle has at most {MAX_RECORDS:,} records")
        name, data, at = _entry(raw, at, len(entries) + 1)
        if name in entries:
            raise InvalidBundle(f"{name}: there are two entries of this name")
        entries[name] = data
    _check_spelling(raw, pack(entries.items()))
    return entries


def _entry(raw: bytes, at: int, number: int) -> tuple[str, bytes, int]:
    """The name and data of the entry that begins at `at`, and where the next one begins."""
    head = raw[at : at + _LOCAL.size]
    if len(head) < _LOCAL.size:
        raise Incomplete("the file ends in the middle of a bundle: fetch it again")
    _, _, flags, method, _, _, crc, packed, size, name_bytes, _ = _LOCAL.unpack(head)
    at += _LOCAL.size
    raw_name = raw[at : at + name_bytes]
    name = raw_name.decode("ascii", "replace")
    if not _NAME.fullmatch(name):
        raise InvalidBundle(f"entry {number} of the zip has a name that no entry of a bundle has")
    if flags or method or packed != size:
        raise InvalidBundle(f"{name}: it is compressed or encrypted, and a bundle's entries are stored")
    if size > (MAX_MANIFEST_BYTES if name == MANIFEST else MAX_ENTRY_BYTES):
        raise InvalidBundle(f"{name}: it is longer than such an entry may be")
    at += name_bytes
    data = raw[at : at + size]
    if len(data) < size:
        raise Incomplete("the file ends in the middle of a bundle: fetch it again")
    if crc32(data) != crc:
        raise InvalidBundle(f"{name}: its bytes are not those that were packed")
    return name, data, at + size


def _check_spelling(raw: bytes, expected: bytes) -> None:
    """Whatever a zip can say beside its entries (times, attributes, comments, gaps) is said in one way."""
    if raw == expected:
        return
    if expected.startswith(raw):
        raise Incomplete("the file ends in the middle of a bundle: fetch it again")
    if raw.startswith(expected):
        raise InvalidBundle("there is data behind the zip")
    raise InvalidBundle("the zip is not spelled as a bundle is: its headers or its directory were changed")

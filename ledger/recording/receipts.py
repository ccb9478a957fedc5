"""Receipts: what the ledger gives back for an event it recorded, signed, so that it cannot later deny it.

A receipt is a signed note (`ledger.tree.note`) by the key `<ledger>/receipts`. Its text is one header line and three
lines for each event: position, base64 of the leaf hash, and `recordedtime`. One call gets one note, a batch as
well as a single event; a batch's lines stand in the order of its items (items that were refused have none).

>>> from ledger.log import Position
>>> from ledger.tree.note import Signer
>>> signer = Signer.from_seed("ledger.example/receipts", bytes(32))
>>> line = Line(Position(3, 1041), bytes(32), "2026-03-03T12:00:01.000000Z")
>>> raw = issue([line], signer)
>>> print(raw.split("—")[0], end="")
consent-ledger/receipt/v1
3-1041
AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=
2026-03-03T12:00:01.000000Z
<BLANKLINE>
>>> check(raw.encode(), signer.verifier) == [line]
True
"""

from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Sequence
from typing import NamedTuple

from ledger.codec import instant
from ledger.errors import InvalidNote, Malformed
from ledger.log import Position
from ledger.tree import note
from ledger.tree.merkle import HASH_BYTES

HEADER = "consent-ledger/receipt/v1"
KEY_NAME_SUFFIX = "/receipts"


class Line(NamedTuple):
    """One event of a receipt: where it stands, the hash of its record's bytes, and when it was recorded."""

    position: Position
    leaf: bytes
    recordedtime: str


def issue(lines: Sequence[Line], signer: note.Signer) -> str:
    """The signed note over the lines, in their order."""
    assert lines, "a receipt names at least one event"
    body = "".join([f"{at.partition}-{at.offset}\n{b64encode(leaf).decode()}\n{time}\n" for at, leaf, time in lines])
    return note.sign(f"{HEADER}\n{body}", [signer]).decode()


def check(raw: bytes, verifier: note.Verifier) -> list[Line]:
    """The lines of a receipt that the key has signed; raises `InvalidNote`."""
    header, *rest = note.open_note(raw, [verifier]).text.removesuffix("\n").split("\n")
    if header != HEADER or not rest or len(rest) % 3:
        raise InvalidNote("a receipt is its header and three lines for each event")
    return [_line(*rest[i : i + 3]) for i in range(0, len(rest), 3)]


def _line(position: str, leaf: str, recordedtime: str) -> Line:
    try:
        value = b64decode(leaf, validate=True)
        instant(recordedtime)
        if len(value) == HASH_BYTES and b64encode(value).decode() == leaf:
            return Line(Position.parse(position), value, recordedtime)
    except (Base64Error, ValueError, Malformed):
        pass
    raise InvalidNote("a receipt's event is a position, a leaf hash in base64 and a time")

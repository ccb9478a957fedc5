"""Checkpoints (C2SP tlog-checkpoint): the signed statement "at this size, the tree of this partition has this root".

A signed note (`ledger.tree.note`) of exactly three lines; one key, under the ledger's name, signs for all partitions.

>>> from ledger.tree.merkle import Frontier, leaf_hash
>>> from ledger.tree.note import Signer, Verifier
>>> signer = Signer.from_seed("ledger.example", bytes(32))
>>> tree = Frontier().extend([leaf_hash(b"a record")]).after
>>> raw = sign(Checkpoint("ledger.example", 3, tree.size, tree.root), [signer])
>>> print(raw.split("—".encode())[0].decode(), end="")
ledger.example/3
1
c1F6z+zp9+rysWL5BWS8/OfkePn4v6NlZG9mdgXec5s=
<BLANKLINE>
>>> open_checkpoint(raw, [Verifier.parse(signer.verifier.vkey)], partition=3).size
1
>>> open_checkpoint(raw, [Verifier.parse(signer.verifier.vkey)], partition=2)
Traceback (most recent call last):
    ...
ledger.errors.InvalidNote: the checkpoint is of another partition
"""

import re
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Sequence
from dataclasses import dataclass

from ledger.errors import InvalidNote
from ledger.tree import note
from ledger.tree.merkle import HASH_BYTES, MAX_SIZE, empty

_PARTITION = re.compile(r"0|[1-9][0-9]{0,4}", re.ASCII)
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)


def write_hash(value: bytes) -> str:
    """A hash as text: base64 (RFC 4648 § 4)."""
    return b64encode(value).decode("ascii")


def read_hash(text: str) -> bytes | None:
    """The 32 bytes of a hash in base64, in its one spelling; None for anything else."""
    try:
        value = b64decode(text, validate=True)
    except (Base64Error, ValueError):
        return None
    # Written again: spare bits that are not zero decode to the same bytes.
    return value if len(value) == HASH_BYTES and write_hash(value) == text else None


def read_size(text: str) -> int | None:
    """A size or index: decimal digits without a leading zero, below 2^63; None for anything else."""
    return int(text) if _SIZE.fullmatch(text) and int(text) <= MAX_SIZE else None


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a checkpoint states. `ledger` is the ledger's name, and the name of the key that signs."""

    ledger: str
    partition: int
    size: int
    root: bytes

    @property
    def origin(self) -> str:
        """Which tree: `<ledger name>/<partition>`."""
        return f"{self.ledger}/{self.partition}"

    @property
    def text(self) -> str:
        """The three lines that are signed."""
        return f"{self.origin}\n{self.size}\n{write_hash(self.root)}\n"

    @classmethod
    def parse(cls, text: str) -> "Checkpoint":
        """Reads a note's text; raises `InvalidNote` for any spelling but the one, and for extension lines."""
        lines = text.split("\n")
        if len(lines) != 4 or lines[3]:
            raise InvalidNote("a checkpoint is three lines, origin, size and root: there are no others")
        ledger, _, partition = lines[0].rpartition("/")
        size, root = read_size(lines[1]), read_hash(lines[2])
        if not ledger or not _PARTITION.fullmatch(partition):
            raise InvalidNote("a checkpoint's origin is the ledger's name, a slash and the partition")
        if size is None:
            raise InvalidNote("a checkpoint's size is a decimal number without leading zeros")
        if root is None:
            raise InvalidNote("a checkpoint's root is 32 bytes in base64")
        if size == 0 and root != empty():
            raise InvalidNote("an empty tree has one root only")
        return cls(ledger, int(partition), size, root)


def sign(checkpoint: Checkpoint, signers: Sequence[note.Signer]) -> bytes:
    """The signed note; two signers of the same name while a key is being replaced.

    Whether it *may* be signed (never a smaller size, never a second root) is the caller's to know.
    """
    assert signers and all(signer.name == checkpoint.ledger for signer in signers), "signed by the ledger's own keys"
    assert Checkpoint.parse(checkpoint.text) == checkpoint
    return note.sign(checkpoint.text, signers)


def open_checkpoint(raw: bytes, verifiers: Sequence[note.Verifier], partition: int) -> Checkpoint:
    """The checkpoint of a partition that one of the ledger's keys has signed; raises `InvalidNote`.

    Which ledger it is of is told by the trusted keys' name, never by the checkpoint alone. Signatures by keys
    that are not in `verifiers` (witnesses, a key to come) are let be.
    """
    opened = note.open_note(raw, verifiers)
    trusted = {(verifier.name, verifier.key_id) for verifier in verifiers}
    signed = [(s.name, s.key_id) for s in opened.signatures if (s.name, s.key_id) in trusted]
    if len(set(signed)) != len(signed):
        raise InvalidNote("one key has signed the checkpoint twice")
    checkpoint = Checkpoint.parse(opened.text)
    if checkpoint.ledger not in opened.verified:
        raise InvalidNote("the checkpoint is not signed by a key of the ledger that it names")
    if checkpoint.partition != partition:
        raise InvalidNote("the checkpoint is of another partition")
    return checkpoint

"""Inclusion proofs as files (C2SP tlog-proof): one record, where it stands, and the checkpoint that covers it.

>>> from ledger.tree.checkpoint import Checkpoint, sign
>>> from ledger.tree.merkle import Frontier, leaf_hash
>>> from ledger.tree.note import Signer
>>> signer = Signer.from_seed("ledger.example", bytes(32))
>>> leaves = [leaf_hash(b"first"), leaf_hash(b"second")]
>>> tree = Frontier().extend(leaves).after
>>> checkpoint = sign(Checkpoint("ledger.example", 0, tree.size, tree.root), [signer])
>>> raw = TlogProof(1, (leaves[0],), checkpoint).encode()
>>> print("\\n".join(raw.decode().split("\\n")[:7]))
c2sp.org/tlog-proof@v1
index 1
oa8DAjHKL9IOzzDFKUuvj2kyHQm7FqxTiFzNF6OFKA0=
<BLANKLINE>
ledger.example/0
2
OuW/pX/6dp2WNKhvOiYoaqaf1Q6gWF+AYfkCrV8DJ/c=
>>> proven = verify(raw, leaf_hash(b"second"), [signer.verifier], partition=0)
>>> proven.index, proven.checkpoint.size
(1, 2)

The leaf hash is not in the file: whoever verifies takes it from the record's own bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ledger.tree.checkpoint import Checkpoint, open_checkpoint, read_hash, read_size, write_hash
from ledger.tree.merkle import InvalidProof, verify_inclusion
from ledger.tree.note import Verifier

HEADER = "c2sp.org/tlog-proof@v1"
SUFFIX = ".tlog-proof"
MAX_HASHES = 63  # a tree of at most 2^63 - 1 leaves is so high
_INDEX = "index "


@dataclass(frozen=True, slots=True)
class Proven:
    """What a proof has shown: the leaf stands at `index` of the tree that the checkpoint signs."""

    index: int
    checkpoint: Checkpoint


@dataclass(frozen=True, slots=True)
class TlogProof:
    """A proof as it stands in its file; nothing in it is to be believed before `verify`."""

    index: int
    hashes: tuple[bytes, ...]
    checkpoint: bytes

    def encode(self) -> bytes:
        """The file's bytes."""
        hashes = "".join(write_hash(value) + "\n" for value in self.hashes)
        return f"{HEADER}\n{_INDEX}{self.index}\n{hashes}\n".encode("ascii") + self.checkpoint

    @classmethod
    def parse(cls, raw: bytes) -> "TlogProof":
        """Reads a file; raises `InvalidProof` for any spelling but the one, and for an `extra` line.

        The checkpoint is taken as it is: `verify` opens it.
        """
        head, blank, checkpoint = raw.partition(b"\n\n")
        try:
            lines = head.decode("ascii").split("\n")
        except UnicodeDecodeError:
            raise InvalidProof("the lines before a proof's checkpoint are ASCII") from None
        if not blank or lines[0] != HEADER:
            raise InvalidProof(f"a proof begins with the line {HEADER} and has an empty line before its checkpoint")
        if len(lines) < 2 or not lines[1].startswith(_INDEX):
            raise InvalidProof("a proof's second line is its index: there is no extra line")
        index = read_size(lines[1].removeprefix(_INDEX))
        if index is None:
            raise InvalidProof("a proof's index is a decimal number without leading zeros")
        if len(lines) - 2 > MAX_HASHES:
            raise InvalidProof(f"a proof has at most {MAX_HASHES} hashes")
        hashes = [read_hash(line) for line in lines[2:]]
        found = tuple(value for value in hashes if value is not None)
        if len(found) != len(hashes):
            raise InvalidProof("a proof's hash is 32 bytes in base64, one on a line")
        return cls(index, found, checkpoint)


def verify(raw: bytes, leaf: bytes, verifiers: Sequence[Verifier], partition: int) -> Proven:
    """Checks that the leaf is in the partition's tree; `verifiers` are keys that the reader trusts already.

    Raises `InvalidProof` when the proof does not show it, `InvalidNote` when its checkpoint is not to be trusted.
    """
    proof = TlogProof.parse(raw)
    checkpoint = open_checkpoint(proof.checkpoint, verifiers, partition)
    verify_inclusion(proof.index, checkpoint.size, leaf, proof.hashes, checkpoint.root)
    return Proven(proof.index, checkpoint)

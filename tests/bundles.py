"""A partition in memory, for tests of evidence: its records, tree and checkpoints, and bundles made of them.

partition = Partition([(0, policy), (1, notice), (5, used)])       # offsets may have gaps
raw = partition.bundle(5)                                           # every record, as known at the last one
verify(raw, [SIGNER.verifier]).verdict["outcome"]
"""

from collections.abc import Iterable, Sequence

from ledger.evidence import Leaf, Question, build, bundle
from ledger.log import Position
from ledger.tree.checkpoint import Checkpoint, sign
from ledger.tree.merkle import Frontier, leaf_hash
from ledger.tree.note import Signer
from ledger.tree.proving import frontier_at, prove_inclusions

LEDGER = "ledger.example"
SIGNER = Signer.from_seed(LEDGER, bytes(32))
OTHER_SIGNER = Signer.from_seed(LEDGER, b"\x01" * 32)


class Partition:
    """One partition's records, by offset, with the whole tree."""

    def __init__(self, records: Iterable[tuple[int, bytes]], number: int = 3, signer: Signer = SIGNER) -> None:
        self.records = list(records)
        self.number, self.signer = number, signer
        self._grown = Frontier().extend([leaf_hash(value) for _, value in self.records])
        self.leaves = {
            offset: Leaf(Position(number, offset), index, value) for index, (offset, value) in enumerate(self.records)
        }

    @property
    def last(self) -> int:
        return self.records[-1][0]

    def note(self, size: int | None = None) -> bytes:
        """The signed checkpoint at a size."""
        size = len(self.records) if size is None else size
        root = frontier_at(size, lambda nodes: [self._grown.nodes[n.level][n.number] for n in nodes]).root
        return sign(Checkpoint(self.signer.name, self.number, size, root), [self.signer])

    def hashes(self, offsets: Sequence[int], size: int | None = None) -> list[list[bytes]]:
        """The inclusion proof of each of these records."""
        indexes = [self.leaves[offset].leaf_index for offset in offsets]
        size = len(self.records) if size is None else size
        return prove_inclusions(indexes, size, lambda nodes: [self._grown.nodes[n.level][n.number] for n in nodes])

    def bundle(
        self,
        judged: int,
        offsets: Sequence[int] | None = None,
        known_at: int | None = None,
        *,
        complete: bool = False,
        size: int | None = None,
    ) -> bytes:
        """The bundle of the event at an offset, of all records unless some are named."""
        chosen = [offset for offset, _ in self.records[:size]] if offsets is None else list(offsets)
        question = self.question(judged, known_at, complete=complete)
        leaves = [self.leaves[offset] for offset in chosen]
        return build(question, leaves, self.hashes(chosen, size), self.note(size), [self.signer.verifier])

    def question(self, judged: int, known_at: int | None = None, *, complete: bool = False) -> Question:
        known_at = self.last if known_at is None else known_at
        return Question(Position(self.number, judged), Position(self.number, known_at), complete)


def changed(raw: bytes, **entries: bytes | None) -> bytes:
    """The bundle with entries put in (at the end), replaced, or left out (None); names with `__` for `/`."""
    found: dict[str, bytes | None] = {**bundle.unpack(raw)}
    found.update({name.replace("__", "/"): data for name, data in entries.items()})
    return bundle.pack([(name, data) for name, data in found.items() if data is not None])

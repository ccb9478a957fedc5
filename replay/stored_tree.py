"""Is the stored tree of a partition the one that its log makes? Its frontier, every tile, and where the leaves stand.

    stored = StoredTreeCheck(trees, 3)
    stored.take(list(walk.take(records)))      # batch by batch, from position 0
    stored.findings()                          # [Finding('3-1041', None, 'tile', 'tile/0/004 …')]

What is stored beyond the tree's size is not looked at: `replay --compare` does that.
"""

from collections.abc import Sequence
from typing import NamedTuple

from ledger.log import Position
from ledger.tree.continuity import Step
from ledger.tree.merkle import HASH_BYTES, Frontier, Growth, InvalidProof
from ledger.tree.tiles import HEIGHT, WIDTH, TileWrite, writes
from projections.tlog import Snapshot, StoredTree, Trees


class Finding(NamedTuple):
    """One thing that is not as it must be: at `position`, or at one of the records up to `until`."""

    position: str | None
    until: str | None
    code: str
    what: str


class StoredTreeCheck:
    """Holds what is stored of one partition's tree against the log as it is read."""

    def __init__(self, trees: Trees, partition: int) -> None:
        self._trees, self._partition = trees, partition
        self._findings: list[Finding] = []
        self._runs: list[tuple[int, int]] = []
        self._next = 0
        self.tree = StoredTree(partition, Frontier(), 0)
        with trees.snapshot() as snapshot:
            self._stored_runs = snapshot.runs(partition)
            try:
                self.tree = snapshot.tree(partition)
            except InvalidProof:
                self._say(0, "tree", f"the stored tree of partition {partition} has not the length of its size")

    @property
    def size(self) -> int:
        """How many leaves the stored tree has: steps must end there."""
        return self.tree.frontier.size

    def findings(self, size: int) -> list[Finding]:
        """What differs, at most one finding of each kind, once the log was read to its end, `size` records."""
        if size < self.size:
            place, what = self._position(size), f"the stored tree has {self.size} leaves, and the log {size} records"
            self._findings.append(Finding(str(place), None, "tree", what))
        stored = [run for run in self._stored_runs if run[1] < self.size]
        for ours, theirs in zip(self._runs, stored, strict=False):
            if ours != theirs:
                self._say(min(ours[1], theirs[1]), "leaf-run", "the stored runs of offsets name another leaf for it")
                break
        else:
            if len(stored) != len(self._runs):
                run = (stored if len(stored) > len(self._runs) else self._runs)[min(len(stored), len(self._runs))]
                self._say(run[1], "leaf-run", "a stored run of offsets is one too many, or one is missing")
        return self._findings

    def take(self, steps: Sequence[Step]) -> None:
        """The steps of the next batch; those behind the stored tree are let be."""
        within = [step for step in steps if step.growth.after.size <= self.size]
        if not within:
            return
        for step in within:
            self._follow(step)
        growth = _joined([step.growth for step in within])
        with self._trees.snapshot() as snapshot:
            for write in writes(growth):
                self._look(write, snapshot)
        if growth.after.size == self.size and (growth.after, self._next) != (self.tree.frontier, self.tree.next_offset):
            self._say(self.size - 1, "tree", "the stored tree that ends with it is not the log's")

    def _follow(self, step: Step) -> None:
        """Notes where runs of offsets begin."""
        first = step.growth.before.size
        for i, record in enumerate(step.records):
            if record.position.offset != self._next or not self._runs:
                self._runs.append((record.position.offset, first + i))
            self._next = record.position.offset + 1

    def _look(self, write: TileWrite, snapshot: Snapshot) -> None:
        stored = snapshot.tile(self._partition, write.tile.level, write.tile.index)
        start = write.start * HASH_BYTES
        found = stored[start : start + len(write.data)]
        if found == write.data:
            return
        at = next((i for i, (a, b) in enumerate(zip(found, write.data, strict=False)) if a != b), len(found))
        node = write.tile.index * WIDTH + write.start + at // HASH_BYTES
        what = f"tile/{write.tile.level}/{write.tile.index} as it is stored differs from the log there"
        self._say(node << HEIGHT * write.tile.level, "tile", what)

    def _say(self, index: int, code: str, what: str) -> None:
        """The first of each kind is kept."""
        if not any(finding.code == code for finding in self._findings):
            place = str(self._position(index))
            self._findings.append(Finding(place, None, code, f"record {place}: {what}"))

    def _position(self, index: int) -> Position:
        """Where a leaf stands in the log, or would."""
        run = max((run for run in self._runs if run[1] <= index), key=lambda run: run[1], default=(0, 0))
        return Position(self._partition, run[0] + index - run[1])


def _joined(growths: Sequence[Growth]) -> Growth:
    """Growths that follow one another as one."""
    levels = max(len(growth.nodes) for growth in growths)
    nodes = [[h for g in growths if level < len(g.nodes) for h in g.nodes[level]] for level in range(levels)]
    return Growth(growths[0].before, growths[-1].after, nodes)

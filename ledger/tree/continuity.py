"""Is the log still the one that was signed? Holds the records of a partition against its checkpoints.

One reading of the records, hashed as they come, tells whether the tree has the signed root at each signed size. Where
it has not, the records between the last checkpoint that holds and the first that does not are read again beside the
tiles, when these lead to the signed root: then the first record that differs is known.

>>> from ledger.log import LogRecord
>>> signed = [LogRecord(Position(3, offset), b"record %d" % offset, 0) for offset in range(4)]
>>> from ledger.tree.tiles import writes
>>> tree = Frontier().extend([leaf_hash(record.value) for record in signed])
>>> roots = {4: tree.after.root}                             # what a checkpoint says
>>> stored = {write.tile: write.data for write in writes(tree)}
>>> def tiles(wanted):
...     return [stored[tile] for tile in wanted]
>>> class Records(list):                                     # the log, as Kafka or a test has it
...     def batches(self, start, *, damaged=False):
...         yield [record for record in self if record.position.offset >= start]
>>> compare(3, Records(signed), roots, tiles) is None
True
>>> forged = [*signed[:2], LogRecord(Position(3, 2), b"forged", 0), signed[3]]
>>> print(compare(3, Records(forged), roots, tiles).what)
record 3-2 is not the one that was signed
>>> print(compare(3, Records([signed[0], *signed[2:]]), roots, tiles).what)
record 3-1 is missing, and a checkpoint covers it
>>> print(compare(3, Records(signed[:3]), roots, tiles).what)
the log ends before record 3-3, and a checkpoint covers 4 records
>>> print(compare(3, Records(forged), roots).what)                # without tiles
one of the records 3-0 to 3-3 is not the one that was signed, or is missing

Storage comes in as arguments; nothing here reads or writes by itself.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from ledger.errors import LogDiffers, MissingRecords, UnreadableRecord
from ledger.log import LogRecord, Position
from ledger.tree.merkle import Frontier, Growth, InvalidProof, leaf_hash
from ledger.tree.tiles import WIDTH, TileReader
from ledger.tree.trusted_tiles import TrustedTiles

DIFFERS, MISSING, CHECKSUM = "differs-from-checkpoint", "missing-records", "checksum"
TAIL_TILES = 2


class Source(Protocol):
    """The records of one partition, in their order."""

    def batches(self, start: int, *, damaged: bool = False) -> Iterator[Sequence[LogRecord]]:
        """Those from offset `start` to the end. `damaged`: also those whose checksum is wrong.

        Raises `MissingRecords`, `UnreadableRecord`, and `Unavailable` when the log is away.
        """


class Step(NamedTuple):
    """Records that became leaves together: a signed size is met at the end of a step, never inside."""

    growth: Growth
    records: Sequence[LogRecord]


class Mark(NamedTuple):
    """A place in a partition: so many leaves are before it, and `offset` is the first behind them."""

    size: int
    offset: int


class Divergence(NamedTuple):
    """Where log and checkpoint part: at `first`, or at one of the records from `first` to `last`.

    `size` is that of the checkpoint; `code` says what kind of difference it is, `what` says it in words.
    """

    first: Position
    last: Position | None
    size: int
    code: str
    what: str

    def error(self) -> LogDiffers:
        """What stops whoever wants to build on this log."""
        return LogDiffers(str(self.first), self.code, self.what)


class Walk:
    """A partition's tree, grown from its records and held against the root at each signed size on the way.

    `roots`: the signed roots by size. `signed`: the greatest of these sizes. `held`: behind the last one that held.
    `broken`: behind the first that did not. `stops`: further sizes at which a step shall end.
    """

    def __init__(self, partition: int, roots: Mapping[int, bytes], stops: Iterable[int] = ()) -> None:
        self.partition, self.roots = partition, roots
        self.tree = Frontier()
        self.here = self.held = Mark(0, 0)
        self.broken: Mark | None = None
        self.checked = 0
        self._sizes = sorted({*roots, *stops} - {0})
        self.signed = max(roots, default=0)

    @property
    def decided(self) -> bool:
        """Whether no further record can change whether the checkpoints hold."""
        return self.broken is not None or self.tree.size >= self.signed

    @property
    def holds(self) -> bool:
        """Whether every checkpoint was reached, and held."""
        return self.broken is None and self.tree.size >= self.signed

    def take(self, records: Sequence[LogRecord]) -> Iterator[Step]:
        """Takes the next records in, step by step: a checkpoint is looked at where each step ends."""
        at = 0
        while at < len(records):
            later = bisect_right(self._sizes, self.tree.size)
            room = self._sizes[later] - self.tree.size if later < len(self._sizes) else len(records)
            some = records[at : at + room]
            at += len(some)
            growth = self.tree.extend([leaf_hash(record.value) for record in some])
            self.tree = growth.after
            self.here = Mark(self.tree.size, some[-1].position.offset + 1)
            self._look()
            yield Step(growth, some)

    def _look(self) -> None:
        expected = self.roots.get(self.tree.size)
        if expected is None or self.broken is not None:
            return
        self.checked += 1
        if self.tree.root == expected:
            self.held = self.here
        else:
            self.broken = self.here


def compare(
    partition: int, source: Source, roots: Mapping[int, bytes], tiles: TileReader | None = None
) -> Divergence | None:
    """Reads the partition as far as it was signed; None when every signed root holds (or none is given)."""
    walk, unreadable = Walk(partition, roots), None
    try:
        for records in source.batches(0) if walk.signed else ():
            for _ in walk.take(records):
                pass
            if walk.decided:
                break
    except UnreadableRecord as error:
        unreadable = error
    except MissingRecords:
        if not walk.here.size:  # the beginning was deleted: there is nothing to look at more closely
            return _missing(Position(partition, 0), walk.signed)
    return None if walk.holds else locate(walk, source, tiles, unreadable)


def locate(
    walk: Walk, source: Source, tiles: TileReader | None, unreadable: UnreadableRecord | None = None
) -> Divergence:
    """The first record that differs, as exactly as can be said, once it is known that one does.

    `unreadable`: where the walk ended, if that was it. Tiles that do not lead to the signed root are not believed.
    """
    assert not walk.holds
    size = walk.signed if walk.broken is None else walk.broken.size
    if tiles is not None:
        try:
            trusted = TrustedTiles(size, walk.roots[size], tiles)
            found = _first_difference(walk, source, trusted, size)
        except InvalidProof:
            found = None
        except MissingRecords:  # they were there at the first reading
            found = _missing(Position(walk.partition, walk.held.offset), size)
        if found is not None:
            return found
    if unreadable is not None:
        return _damaged(Position.parse(unreadable.position), size, unreadable.code)
    first = Position(walk.partition, walk.held.offset)
    if walk.broken is None and walk.held == walk.here:
        return _shorter(first, size)
    last = Position(walk.partition, walk.here.offset if walk.broken is None else walk.broken.offset - 1)
    if first == last:
        return _altered(first, size)
    what = f"one of the records {first} to {last} is not the one that was signed, or is missing"
    return Divergence(first, last, size, DIFFERS, what)


def tail_holds(source: Source, tiles: TileReader, size: int, root: bytes, start: Mark) -> bool:
    """Whether the leaves from `start` to the end of the signed tree are the log's: quick, and blind to what is before.

    `start` comes from the stored tree and is not trusted, so False means only that a full comparison has to decide.
    """
    index = start.size
    try:
        trusted = TrustedTiles(size, root, tiles)
        for records in source.batches(start.offset):
            for record in records:
                if leaf_hash(record.value) != trusted.leaf(index):
                    return False
                index += 1
                if index == size:
                    return True
    except (InvalidProof, MissingRecords, UnreadableRecord):
        pass
    return False


def tail_start(size: int) -> int:
    """The leaf at which the last tiles of a tree begin.

    >>> tail_start(300), tail_start(1_000)
    (0, 512)
    """
    return max(0, (size - 1) // WIDTH + 1 - TAIL_TILES) * WIDTH


def _first_difference(walk: Walk, source: Source, trusted: TrustedTiles, size: int) -> Divergence | None:
    """Leaf by leaf from the last checkpoint that held; None when no leaf differs."""
    here, damaged = walk.held, None
    batches = source.batches(here.offset)
    while here.size < size:
        try:
            records = next(batches, ())
        except UnreadableRecord as error:
            if damaged is not None:
                return _damaged(Position.parse(error.position), size, error.code)
            damaged = Position.parse(error.position)
            batches = source.batches(damaged.offset, damaged=True)  # what is in it says which record it is
            continue
        if not records:
            return _shorter(Position(walk.partition, here.offset), size)
        for record in records[: size - here.size]:
            found = leaf_hash(record.value)
            if found != trusted.leaf(here.size):
                if damaged is not None:
                    return _damaged(record.position, size, CHECKSUM)
                return _named(record.position, found, here, trusted, size)
            here = Mark(here.size + 1, record.position.offset + 1)
    return None if damaged is None else _damaged(damaged, size, CHECKSUM)


def _named(position: Position, found: bytes, here: Mark, trusted: TrustedTiles, size: int) -> Divergence:
    """What is wrong with the record that stands where leaf `here.size` was signed."""
    ahead = range(here.size + 1, min(size, here.size + 1 + WIDTH))
    if not any(trusted.leaf(index) == found for index in ahead):
        return _altered(position, size)
    if position.offset > here.offset:  # it is where it was, and offsets before it are empty
        return _missing(Position(position.partition, here.offset), size)
    what = f"record {position} is not the one that was signed: one from further on stands there"
    return Divergence(position, None, size, DIFFERS, what)


def _altered(position: Position, size: int) -> Divergence:
    return Divergence(position, None, size, DIFFERS, f"record {position} is not the one that was signed")


def _missing(position: Position, size: int) -> Divergence:
    return Divergence(position, None, size, MISSING, f"record {position} is missing, and a checkpoint covers it")


def _shorter(position: Position, size: int) -> Divergence:
    what = f"the log ends before record {position}, and a checkpoint covers {size} records"
    return Divergence(position, None, size, MISSING, what)


def _damaged(position: Position, size: int, code: str) -> Divergence:
    return Divergence(position, None, size, CHECKSUM, f"record {position} is damaged: {code}")

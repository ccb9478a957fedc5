"""A partition's log against its checkpoints: what differs is named by position, as exactly as can be said."""

import random
from collections.abc import Callable, Iterator, Sequence

import pytest

from ledger.errors import MissingRecords, UnreadableRecord
from ledger.log import LogRecord, Position
from ledger.tree.continuity import CHECKSUM, DIFFERS, MISSING, Divergence, Mark, Walk, compare, tail_holds, tail_start
from ledger.tree.merkle import Frontier, InvalidProof, leaf_hash
from ledger.tree.tiles import Tile, TileReader, writes
from ledger.tree.trusted_tiles import TrustedTiles

PARTITION = 3
Changed = Callable[[list[LogRecord]], None]


class Records:
    """A log in memory: `damaged` offsets fail their checksum, by batches of `batch` records; `begins` is its head."""

    def __init__(
        self, records: Sequence[LogRecord], batch: int = 7, damaged: Sequence[int] = (), begins: int = 0
    ) -> None:
        self.records, self.batch, self.damaged, self.begins = list(records), batch, set(damaged), begins
        self.read = 0

    def batches(self, start: int, *, damaged: bool = False) -> Iterator[Sequence[LogRecord]]:
        if start < self.begins:
            raise MissingRecords("records were deleted")
        for at in range(0, len(self.records), self.batch):
            whole = self.records[at : at + self.batch]
            batch = [r for r in whole if r.position.offset >= start]
            if batch and not damaged and any(r.position.offset in self.damaged for r in whole):
                raise UnreadableRecord(str(batch[0].position), CHECKSUM)
            if batch:
                self.read += len(batch)
                yield batch


def log(count: int, gaps: Sequence[int] = ()) -> list[LogRecord]:
    """Records with these values; no record has an offset in `gaps`."""
    offsets = [offset for offset in range(count + len(gaps)) if offset not in gaps][:count]
    return [LogRecord(Position(PARTITION, offset), b"record %d" % offset, 0) for offset in offsets]


def roots(records: Sequence[LogRecord], *sizes: int) -> dict[int, bytes]:
    """What checkpoints at these sizes say (default: of all)."""
    leaves = [leaf_hash(record.value) for record in records]
    return {size: Frontier().extend(leaves[:size]).after.root for size in sizes or (len(records),)}


def tiles(records: Sequence[LogRecord]) -> TileReader:
    """The tiles of these records, as a store gives them: also narrower than they are."""
    growth = Frontier().extend([leaf_hash(record.value) for record in records])
    stored = {(write.tile.level, write.tile.index): write.data for write in writes(growth)}

    def read(wanted: Sequence[Tile]) -> list[bytes]:
        try:
            return [stored[tile.level, tile.index][: tile.width * 32] for tile in wanted]
        except KeyError:
            raise InvalidProof("no such tile") from None

    return read


def altered(index: int) -> Changed:
    def change(records: list[LogRecord]) -> None:
        records[index] = records[index]._replace(value=records[index].value + b"!")

    return change


def swapped(index: int) -> Changed:
    def change(records: list[LogRecord]) -> None:
        one, two = records[index], records[index + 1]
        records[index], records[index + 1] = one._replace(value=two.value), two._replace(value=one.value)

    return change


def dropped(index: int) -> Changed:
    def change(records: list[LogRecord]) -> None:
        del records[index]

    return change


def renumbered(index: int) -> Changed:
    """Dropped, and every later record moved up."""

    def change(records: list[LogRecord]) -> None:
        values = [record.value for record in records]
        del values[index]
        records[:] = [r._replace(value=v) for r, v in zip(records, values, strict=False)]

    return change


def cut(index: int) -> Changed:
    def change(records: list[LogRecord]) -> None:
        del records[index:]

    return change


def found(records: Sequence[LogRecord], *sizes: int, change: Changed, with_tiles: bool = True) -> Divergence:
    """What a log differs in after a change, from what was signed before it."""
    changed = list(records)
    change(changed)
    difference = compare(PARTITION, Records(changed), roots(records, *sizes), tiles(records) if with_tiles else None)
    assert difference is not None
    return difference


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 600])
@pytest.mark.parametrize("where", [0, 1, 2, 3])
@pytest.mark.parametrize(
    ("change", "code"), [(altered, DIFFERS), (dropped, MISSING), (renumbered, DIFFERS), (cut, MISSING)]
)
def test_the_first_record_that_differs_is_named(
    size: int, where: int, change: Callable[[int], Changed], code: str
) -> None:
    records = log(size, gaps=(7, 150))
    index = (0, size // 3, size // 2, size - 1)[where]
    difference = found(records, change=change(index))
    code = MISSING if change is not altered and index == size - 1 else code  # nothing comes behind it any more
    assert (difference.first, difference.last, difference.code) == (records[index].position, None, code)
    assert str(difference.first) in difference.what
    assert difference.error().position == str(difference.first)


@pytest.mark.parametrize("index", [0, 254, 255, 256, 398])
def test_of_two_records_that_changed_places_the_first_is_named(index: int) -> None:
    difference = found(log(400), change=swapped(index))
    assert (difference.first, difference.last) == (Position(PARTITION, index), None)
    assert "from further on" in difference.what


def test_without_tiles_the_records_between_two_checkpoints_are_named() -> None:
    records = log(100)
    difference = found(records, 10, 40, 70, 100, change=altered(55), with_tiles=False)
    assert (difference.first, difference.last) == (Position(PARTITION, 40), Position(PARTITION, 69))
    assert difference.size == 70


def test_a_checkpoint_for_each_record_names_it_without_tiles() -> None:
    records = log(100)
    for index in (0, 55, 99):
        difference = found(records, *range(1, 101), change=altered(index), with_tiles=False)
        assert (difference.first, difference.last) == (Position(PARTITION, index), None)


def test_a_cut_tail_is_named_without_tiles_where_a_checkpoint_ends_there() -> None:
    records = log(100)
    difference = found(records, 40, 100, change=cut(40), with_tiles=False)
    assert (difference.first, difference.last, difference.code) == (Position(PARTITION, 40), None, MISSING)
    inside = found(records, 40, 100, change=cut(60), with_tiles=False)
    assert (inside.first, inside.last) == (Position(PARTITION, 40), Position(PARTITION, 60))


def test_tiles_that_were_altered_too_are_not_believed() -> None:
    records = log(600)
    changed = list(records)
    altered(300)(changed)
    difference = compare(PARTITION, Records(changed), roots(records, 256, 600), tiles(changed))
    assert difference is not None
    assert (difference.first, difference.last) == (Position(PARTITION, 256), Position(PARTITION, 599))


def test_a_log_that_only_grew_is_equal_and_is_read_no_further_than_it_was_signed() -> None:
    records = log(1_000)
    source = Records(records)
    assert compare(PARTITION, source, roots(records[:100], 50, 100)) is None
    assert source.read < 110
    assert compare(PARTITION, source, {}) is None


@pytest.mark.parametrize("with_tiles", [True, False])
def test_a_damaged_record_is_named(with_tiles: bool) -> None:
    """The checksum is a whole batch's: which record was changed in it the tiles know."""
    records = log(60)
    changed = list(records)
    altered(31)(changed)
    source = Records(changed, damaged=[31])
    difference = compare(PARTITION, source, roots(records), tiles(records) if with_tiles else None)
    assert difference is not None
    assert (difference.first.offset, difference.code) == (31 if with_tiles else 28, CHECKSUM)


def test_what_was_altered_before_a_damaged_batch_is_named_first() -> None:
    records = log(60)
    changed = list(records)
    altered(12)(changed)
    altered(31)(changed)
    difference = compare(PARTITION, Records(changed, damaged=[31]), roots(records), tiles(records))
    assert difference is not None
    assert (difference.first.offset, difference.code) == (12, DIFFERS)


def test_a_damaged_batch_whose_records_are_right_is_a_difference_all_the_same() -> None:
    records = log(60)
    difference = compare(PARTITION, Records(records, damaged=[31]), roots(records), tiles(records))
    assert difference is not None
    assert (difference.first.offset, difference.code) == (28, CHECKSUM)


def test_a_log_whose_beginning_was_deleted_misses_its_first_record() -> None:
    records = log(60)
    difference = compare(PARTITION, Records(records[20:], begins=20), roots(records), tiles(records))
    assert difference is not None
    assert (difference.first, difference.code) == (Position(PARTITION, 0), MISSING)


def test_every_checkpoint_on_the_way_is_looked_at() -> None:
    """However the batches lie: a smaller size that does not hold is found although the greater ones do."""
    records = log(300)
    signed = roots(records, 1, 13, 256, 300)
    signed[13] = bytes(32)
    for batch in (1, 7, 13, 300):
        walk = Walk(PARTITION, signed)
        for some in Records(records, batch).batches(0):
            for step in walk.take(some):
                assert len(step.records) == step.growth.after.size - step.growth.before.size
        assert walk.tree.root == signed[300]
        assert walk.held == Mark(1, 1)
        assert walk.broken == Mark(13, 13)
        assert not walk.holds


def test_the_tail_is_compared_alone_and_sees_what_is_in_it() -> None:
    records = log(1_000)
    [(size, root)] = roots(records).items()
    first = tail_start(size)
    assert first == 512
    start = Mark(first, records[first].position.offset)
    whole = Records(records)
    assert tail_holds(whole, tiles(records), size, root, start)
    assert whole.read <= size - first + whole.batch
    for change, holds in ((altered(100), True), (altered(512), False), (altered(999), False), (cut(999), False)):
        changed = list(records)
        change(changed)
        assert tail_holds(Records(changed), tiles(records), size, root, start) is holds
    assert not tail_holds(whole, tiles(records), size, root, start._replace(offset=start.offset + 1))
    assert not tail_holds(whole, tiles(records[:900]), size, root, start)


def test_trusted_tiles_give_each_leaf_and_refuse_a_tile_that_was_changed() -> None:
    records = log(70_000)
    [(size, root)] = roots(records).items()
    read = tiles(records)
    trusted = TrustedTiles(size, root, read)
    for index in (0, 255, 256, 65_535, 65_536, 69_999, *random.Random(1).sample(range(70_000), 50)):
        assert trusted.leaf(index) == leaf_hash(records[index].value)
    for level, number, leaf in ((0, 3, 3 * 256 + 5), (1, 0, 5), (0, 273, 69_999), (1, 1, 69_999), (2, 0, 5)):

        def changed(wanted: Sequence[Tile], level: int = level, number: int = number) -> list[bytes]:
            return [
                bytes([data[0] ^ 1]) + data[1:] if (tile.level, tile.index) == (level, number) else data
                for tile, data in zip(wanted, read(wanted), strict=True)
            ]

        with pytest.raises(InvalidProof):
            TrustedTiles(size, root, changed).leaf(leaf)

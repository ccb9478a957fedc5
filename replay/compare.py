"""Are the live views what the log says? Rebuilds them and compares row by row; names the first row that differs.

    found = compare("broker:9092", dsns.owner, dsns.projector)           # drops the rebuilt schema when it is done
    found.equal, [(view.name, view.live_rows, view.first) for view in found.views]     # first.records: '3-1041'

Both sides are read at the same positions: the live side in one snapshot, the rebuilt side taken on to just where the
snapshot stands. Rows are compared as PostgreSQL's text of the whole row, in the order of their keys.
"""

import threading
from collections.abc import Iterator
from itertools import zip_longest
from typing import NamedTuple

from ledger.errors import LogError
from ledger.kafka import topics
from ledger.tree.merkle import HASH_BYTES
from ledger.tree.tiles import HEIGHT, WIDTH, Tile
from projections import rowwise, schema, worker
from replay.rebuild import Rebuilt, advance, rebuild

LIVE = schema.LIVE
_Row = rowwise.KeyedRow | None


class Difference(NamedTuple):
    """The first row, in the order of the view's key, that is not on both sides; None: there is none on that side.

    `records`: the record that it comes from, or the first and the last (`3-256 to 3-511`); None: it comes from none in
    the log. `tile`: of a tile its path and partition; `live` and `rebuilt` are then the first hash that differs.
    """

    live: str | None
    rebuilt: str | None
    records: str | None
    tile: str | None = None


class ViewComparison(NamedTuple):
    """One view: how many rows each side has, how many differ, and the first that does."""

    name: str
    live_rows: int
    rebuilt_rows: int
    different: int
    first: Difference | None


class Comparison(NamedTuple):
    """All views, up to `positions`. `halted`: partitions that the rebuild could not read to their end."""

    schema: str
    positions: dict[int, int]
    events: int
    views: list[ViewComparison]
    halted: dict[int, LogError]

    @property
    def equal(self) -> bool:
        """Whether no row differs; only what was compared counts (see `complete`)."""
        return all(view.different == 0 for view in self.views)

    @property
    def complete(self) -> bool:
        """Whether anything was compared, and everything that the live views hold."""
        return self.events > 0 and not self.halted


def compare(
    bootstrap: str,
    owner_dsn: str,
    projector_dsn: str,
    *,
    live: str = LIVE,
    topic: str = topics.EVENTS,
    keep: bool = False,
    progress: worker.Progress | None = None,
    stop: threading.Event | None = None,
) -> Comparison:
    """Rebuilds beside the live schema and compares; the rebuilt schema is dropped unless `keep`."""
    until = rowwise.positions(schema.at_schema(owner_dsn, live))
    rebuilt = rebuild(bootstrap, owner_dsn, projector_dsn, topic=topic, until=until, progress=progress, stop=stop)
    try:
        return _compare(bootstrap, owner_dsn, projector_dsn, live, topic, rebuilt)
    finally:
        if not keep:
            schema.drop(owner_dsn, rebuilt.schema)


def _compare(bootstrap: str, owner_dsn: str, projector_dsn: str, live: str, topic: str, rebuilt: Rebuilt) -> Comparison:
    with rowwise.Snapshot(schema.at_schema(owner_dsn, live)) as live_side:
        if live_side.positions != rebuilt.positions:
            rebuilt = advance(bootstrap, projector_dsn, rebuilt, live_side.positions, topic)
        with rowwise.Snapshot(schema.at_schema(owner_dsn, rebuilt.schema)) as rebuilt_side:
            views = [compare_view(name, live_side, rebuilt_side) for name in rowwise.VIEWS]
    return Comparison(rebuilt.schema, rebuilt.positions, rebuilt.events, views, rebuilt.halted)


def compare_view(name: str, live: rowwise.Snapshot, rebuilt: rowwise.Snapshot) -> ViewComparison:
    """Walks both sides of one view in the order of its key."""
    counts = {"live": 0, "rebuilt": 0}
    different, first = 0, None
    for ours, theirs in _paired(live.rows(name), rebuilt.rows(name)):
        counts["live"] += ours is not None
        counts["rebuilt"] += theirs is not None
        if ours is None or theirs is None or ours.text != theirs.text:
            different += 1
            first = first or _difference(name, ours, theirs, live, rebuilt)
    return ViewComparison(name, counts["live"], counts["rebuilt"], different, first)


def _difference(view: str, ours: _Row, theirs: _Row, live: rowwise.Snapshot, rebuilt: rowwise.Snapshot) -> Difference:
    said = theirs or ours  # of two, the rebuilt row says where it comes from: it was made from the log just now
    assert said is not None, "a difference has a row"
    if view == "tiles":
        partition, level, index = (int(part) for part in said.key)
        return tile_difference(partition, level, index, live, rebuilt)
    return Difference(None if ours is None else ours.text, None if theirs is None else theirs.text, said.position)


def tile_difference(
    partition: int, level: int, index: int, live: rowwise.Snapshot, rebuilt: rowwise.Snapshot
) -> Difference:
    """The first hash of a tile that differs, and the records that it stands for."""
    sides = [side.trees.tile(partition, level, index) for side in (live, rebuilt)]
    hashes = [[side[i : i + HASH_BYTES] for i in range(0, len(side), HASH_BYTES)] for side in sides]
    pairs = enumerate(zip_longest(*hashes))
    at, (ours, theirs) = next(((at, pair) for at, pair in pairs if pair[0] != pair[1]), (0, (b"", None)))
    tile = f"{Tile(level, index, min(WIDTH, len(hashes[1]) or len(hashes[0]))).path} of partition {partition}"
    if theirs is None:
        return Difference(ours.hex(), None, None, tile)
    first = (index * WIDTH + at) << HEIGHT * level
    last = first + (1 << HEIGHT * level) - 1
    ends = [str(rebuilt.trees.position(partition, leaf)) for leaf in (first, last)]
    return Difference(None if ours is None else ours.hex(), theirs.hex(), " to ".join(dict.fromkeys(ends)), tile)


def _paired(live: Iterator[rowwise.KeyedRow], rebuilt: Iterator[rowwise.KeyedRow]) -> Iterator[tuple[_Row, _Row]]:
    """Rows with the same key side by side; a row that only one side has, alone."""
    ours, theirs = next(live, None), next(rebuilt, None)
    while ours is not None or theirs is not None:
        if theirs is None or (ours is not None and ours.key < theirs.key):
            assert ours is not None
            yield ours, None
            ours = next(live, None)
        elif ours is None or theirs.key < ours.key:
            yield None, theirs
            theirs = next(rebuilt, None)
        else:
            yield ours, theirs
            ours, theirs = next(live, None), next(rebuilt, None)

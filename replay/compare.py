"""Are the live views what the log says? Rebuilds them and compares row by row; names the first row that differs.

    found = compare("broker:9092", dsns.owner, dsns.projector)           # drops the rebuilt schema when it is done
    found.equal, [(view.name, view.live_rows, view.first) for view in found.views]     # first.records: '3-1041'

Both sides are read at the same positions: the live side in one snapshot, the rebuilt side taken on to just where the
snapshot stands. Rows are compared as PostgreSQL's text of the whole row: first a digest of each of some thousand parts
of a view, made where the rows are; then, of the parts that differ, row by row in the order of their keys.
"""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import zip_longest
from typing import NamedTuple

from ledger.errors import ConfigurationError, LogError, ProjectionError, Unavailable
from ledger.kafka import topics
from ledger.tree.merkle import HASH_BYTES
from ledger.tree.tiles import HEIGHT, WIDTH, Tile
from projections import rowwise, worker
from projections import schema as schemas
from projections.building import Building
from projections.rebuilds import COMPARE, Purpose
from replay.rebuild import Rebuilt, advance, rebuild

LIVE = schemas.LIVE
_WALK_ALL = 512
"""When more parts than these differ, all of a view is walked."""
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
    schema: str | None = None,
    workers: int = 1,
    keep: bool = False,
    progress: worker.Progress | None = None,
    stop: threading.Event | None = None,
) -> Comparison:
    """Rebuilds beside the live schema and compares; then the rebuilt schema is dropped unless `keep`.

    `schema` names one that was begun for this (see `unfinished`). After an error it stays, to go on with.
    """
    if not schemas.exists(owner_dsn, live):
        raise ConfigurationError(f"there are no live views in the schema {live}: run `consent-ledger setup`")
    progress = progress or worker.Progress()
    until = rowwise.positions(schemas.at_schema(owner_dsn, live))
    rebuilt = rebuild(
        bootstrap,
        owner_dsn,
        projector_dsn,
        schema=schema,
        topic=topic,
        until=until,
        workers=workers,
        purpose=Purpose(topic, None, COMPARE),
        progress=progress,
        stop=stop,
    )
    if not rebuilt.complete and not rebuilt.halted:
        raise Unavailable(f"stopped before there was anything to compare: {rebuilt.schema} can be gone on with")
    progress.phase = "comparing"
    with Building(owner_dsn, rebuilt.schema).alone():  # nobody drops it, or goes on with it
        found = _compare(bootstrap, owner_dsn, projector_dsn, live, topic, rebuilt)
        if not keep:
            schemas.drop(owner_dsn, rebuilt.schema)
    return found


def _compare(bootstrap: str, owner_dsn: str, projector_dsn: str, live: str, topic: str, rebuilt: Rebuilt) -> Comparison:
    with rowwise.Snapshot(schemas.at_schema(owner_dsn, live)) as live_side:
        if live_side.positions != rebuilt.positions:
            rebuilt = advance(bootstrap, projector_dsn, rebuilt, live_side.positions, topic)
        with rowwise.Snapshot(schemas.at_schema(owner_dsn, rebuilt.schema)) as rebuilt_side:
            if any(offset > live_side.positions.get(p, 0) for p, offset in rebuilt_side.positions.items()):
                raise ProjectionError("the rebuilt views reach further than the live ones: begin anew with --fresh")
            views = [compare_view(name, live_side, rebuilt_side) for name in rowwise.VIEWS]
    return Comparison(rebuilt.schema, rebuilt.positions, rebuilt.events, views, rebuilt.halted)


def compare_view(name: str, live: rowwise.Snapshot, rebuilt: rowwise.Snapshot) -> ViewComparison:
    """Compares digests of parts of both sides, then walks the parts that differ, in the order of the view's key."""
    with ThreadPoolExecutor(1, "digests") as beside:
        theirs_later = beside.submit(rebuilt.digests, name)
        digests = live.digests(name), theirs_later.result()
    differ = {b for b in digests[0].keys() | digests[1].keys() if digests[0].get(b) != digests[1].get(b)}
    walked = sorted(differ) if len(differ) <= _WALK_ALL else None
    equal = [] if walked is None else [digest.rows for bucket, digest in digests[0].items() if bucket not in differ]
    counts = {"live": sum(equal), "rebuilt": sum(equal)}
    different, first = 0, None
    for ours, theirs in _paired(live.rows(name, walked), rebuilt.rows(name, walked)) if differ else ():
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

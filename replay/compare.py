"""Are the live views what the log says? Rebuilds them and compares row by row; names the first row that differs.

    found = compare("broker:9092", dsns.owner, dsns.projector)           # drops the rebuilt schema when it is done
    found.equal, [(view.name, view.live_rows, view.first) for view in found.views]

Both sides are read at the same positions: the live side in one snapshot, the rebuilt side taken on to just where the
snapshot stands. Rows are compared as PostgreSQL's text of the whole row, in the order of their keys.
"""

import threading
from collections.abc import Iterator
from typing import NamedTuple

from ledger.errors import LogError
from ledger.kafka import topics
from projections import rowwise, schema, worker
from replay.rebuild import Rebuilt, advance, rebuild

LIVE = schema.LIVE


class Difference(NamedTuple):
    """The first row, in the order of the view's key, that is not on both sides; None: there is none on that side."""

    live: str | None
    rebuilt: str | None


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
        if ours != theirs:
            different += 1
            first = first or Difference(ours, theirs)
    return ViewComparison(name, counts["live"], counts["rebuilt"], different, first)


def _paired(
    live: Iterator[rowwise.KeyedRow], rebuilt: Iterator[rowwise.KeyedRow]
) -> Iterator[tuple[str | None, str | None]]:
    """Rows with the same key side by side; a row that only one side has, alone."""
    ours, theirs = next(live, None), next(rebuilt, None)
    while ours is not None or theirs is not None:
        if theirs is None or (ours is not None and ours.key < theirs.key):
            assert ours is not None
            yield ours.text, None
            ours = next(live, None)
        elif ours is None or theirs.key < ours.key:
            yield None, theirs.text
            theirs = next(rebuilt, None)
        else:
            yield ours.text, theirs.text
            ours, theirs = next(live, None), next(rebuilt, None)

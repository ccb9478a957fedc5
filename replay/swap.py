"""Makes a complete rebuild the live schema, while live workers write and readers read.

    swapped = swap("broker:9092", owner_dsn, projector_dsn, rebuilt.schema)
    swapped.old, swapped.positions, swapped.held_s       # the old schema is kept, under a name that says when

A worker of our own takes the rebuilt schema on until it is close behind the live one. Then live workers are made to
wait, it comes to where they stand (or beyond), what readers began before has ended, and the schemas change names. When
one of these does not happen soon enough, live workers go on and it is tried again: nothing was changed.
"""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import NamedTuple

from ledger.errors import ConfigurationError, ProjectionError, Unavailable
from ledger.kafka import topics
from projections import swap as swaps
from projections import worker
from projections.building import Building
from projections.reach import Reach
from projections.schema import LIVE, at_schema, exists

ATTEMPTS = 10
HOLD_S = 10.0
"""How long live workers wait at most, each time."""
CLOSE_RECORDS = 2_000
_LOOK_EVERY_S = 0.05
_AGAIN_S = 0.5


class Swapped(NamedTuple):
    """The schema that is live now; `old`: its predecessor's new name; `held_s`: how long live workers waited."""

    live: str
    old: str
    positions: dict[int, int]
    held_s: float
    attempts: int


def swap(
    bootstrap: str,
    owner_dsn: str,
    projector_dsn: str,
    schema: str,
    *,
    live: str = LIVE,
    topic: str = topics.EVENTS,
    stop: threading.Event | None = None,
) -> Swapped:
    """Swaps. Raises `ProjectionError` for a schema that is not complete, `Unavailable` when it did not work out."""
    stop = stop or threading.Event()
    building = Building(owner_dsn, schema)
    if not exists(owner_dsn, live):
        raise ConfigurationError(f"there are no live views in the schema {live}: run `consent-ledger setup`")
    with building.alone():
        state = building.state()
        if state is None or not state.readable or state.topic != topic:
            raise ProjectionError(f"the schema {schema} is not a complete rebuild of this log: run `replay` to its end")
        busy = Unavailable("nobody was in the way, and yet it was not tried")
        for attempt in range(1, ATTEMPTS + 1):
            with _followed(bootstrap, projector_dsn, schema, topic) as follow:
                _catch_up(building, owner_dsn, live, follow, stop)
                try:
                    return _once(owner_dsn, live, schema, building, follow, attempt)
                except swaps.Busy as error:
                    busy = error
            stop.wait(_AGAIN_S * attempt)
        raise busy


class _Following(NamedTuple):
    """A worker in a thread that follows the log into the rebuilt schema."""

    stop: threading.Event
    thread: threading.Thread

    def end(self) -> None:
        """Ends it behind the batch that it writes."""
        self.stop.set()
        self.thread.join()


@contextmanager
def _followed(bootstrap: str, projector_dsn: str, schema: str, topic: str) -> Iterator[_Following]:
    settings = worker.Settings(topic=topic, poll_s=_LOOK_EVERY_S, durable=False)
    stop = threading.Event()
    options = {"settings": settings, "stop": stop}
    thread = threading.Thread(target=worker.run, args=(bootstrap, projector_dsn, schema), kwargs=options, name="follow")
    follow = _Following(stop, thread)
    thread.start()
    try:
        yield follow
    finally:
        follow.end()


def _catch_up(building: Building, owner_dsn: str, live: str, follow: _Following, stop: threading.Event) -> None:
    """Returns when the rebuilt schema is close behind the live one."""
    with closing(Reach(at_schema(owner_dsn, live))) as theirs, closing(Reach(building.owner_dsn)) as ours:
        while _behind(ours.positions(), theirs.positions()) > CLOSE_RECORDS:
            if stop.wait(_LOOK_EVERY_S):
                raise Unavailable("stopped before the swap: nothing was changed")
            _must_run(building, follow)


def _once(owner_dsn: str, live: str, schema: str, building: Building, follow: _Following, attempt: int) -> Swapped:
    started_s = time.monotonic()
    deadline_s = started_s + HOLD_S
    with swaps.held(owner_dsn, live) as held:
        with closing(Reach(building.owner_dsn)) as ours:
            while _behind(ours.positions(), held.positions):
                _must_run(building, follow)
                if time.monotonic() > deadline_s:
                    raise swaps.Busy("the rebuilt views did not come to where the live ones stand: try again")
                time.sleep(_LOOK_EVERY_S)
            follow.end()
            positions = ours.positions()
        held.outwait_snapshots(deadline_s)
        old = held.replace(schema, deadline_s)
    return Swapped(live, old, positions, time.monotonic() - started_s, attempt)


def _behind(ours: Mapping[int, int], theirs: Mapping[int, int]) -> int:
    return sum(max(0, offset - ours.get(partition, 0)) for partition, offset in theirs.items())


def _must_run(building: Building, follow: _Following) -> None:
    """Raises when the rebuilt schema cannot get further."""
    with closing(Reach(building.owner_dsn)) as reach:
        halted = reach.halted()
    if halted or not follow.thread.is_alive():
        place = f" at {halted[0]}" if halted else ""
        raise ProjectionError(f"the rebuilt views stand still{place}, behind the live ones: they cannot replace them")

"""Builds every view anew from position 0 in a schema beside the live one: the log alone decides what is in it.

    rebuilt = rebuild("broker:9092", owner_dsn, projector_dsn)                # up to where the log ends now
    rebuilt = rebuild("broker:9092", owner_dsn, projector_dsn, workers=2)     # by two processes
    print(rebuilt.schema, rebuilt.positions, rebuilt.events)

The worker's own code does it, with bounded memory, into tables with hardly an index; the others are made last. Each
batch commits rows, tree and position, so a rebuild that was killed goes on where it was: name its schema, which says
itself whether it is complete. Nothing outside that schema is written, and nothing is appended to the log.
"""

import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from typing import NamedTuple

import msgspec

from ledger.errors import ConfigurationError, LogError, NotYet
from ledger.kafka import topics
from ledger.kafka.reader import Reader
from projections import worker
from projections.building import Building
from projections.places import LIMIT_BYTES
from projections.reach import Reach
from projections.rebuilds import REPLAY, Purpose, State, asked, fresh_name, newest_version
from replay.build import FACTS_IN_MEMORY, Order, build
from replay.processes import Processes

_LOOK_EVERY_S = 0.2
_AGAIN_S = 0.5
_MAX_ROUNDS = 60


class Rebuilt(NamedTuple):
    """A rebuilt schema: what `positions` say is in it; `halted` partitions stand still before theirs.

    `events`: how many records are in it. `complete`: every partition is at the position asked for, the indexes are
    made, and it may become the live one.
    """

    schema: str
    positions: dict[int, int]
    events: int
    halted: dict[int, LogError]
    complete: bool = True


def rebuild(
    bootstrap: str,
    owner_dsn: str,
    projector_dsn: str,
    *,
    schema: str | None = None,
    topic: str = topics.EVENTS,
    until: Mapping[int, int] | None = None,
    workers: int = 1,
    purpose: Purpose | None = None,
    batch_events: int = 10_000,
    facts_in_memory: int = FACTS_IN_MEMORY,
    places_bytes: int = LIMIT_BYTES,
    progress: worker.Progress | None = None,
    stop: threading.Event | None = None,
) -> Rebuilt:
    """Rebuilds up to the offsets `until` (default: the log's present end), by this process or several others.

    `schema` names a fresh one, or one that was begun and is not complete; with a `purpose` that is served only when
    something is done with it, one that is complete is taken as it is. The connection strings may name any schema.
    Raises `ConfigurationError` when the schema is there already, `LogError` when the log lacks what `until` asks for,
    `Unavailable` when another replay works on the schema, or when one of the processes was killed.
    """
    purpose = purpose or Purpose(topic, asked(until), REPLAY)
    building = Building(owner_dsn, schema or fresh_name())
    with Reader(bootstrap, topic) as reader:
        heads = reader.heads()
    positions = dict(heads if until is None else until)
    _check(heads, positions)
    progress = progress or worker.Progress()
    stop = stop or threading.Event()
    order = Order(
        bootstrap,
        topic,
        owner_dsn,
        projector_dsn,
        building.schema,
        positions,
        workers,
        batch_events,
        facts_in_memory,
        places_bytes,
    )
    with building.alone():
        state = building.state()
        if state is not None:
            _check_same(building.schema, state, purpose)
        if state is not None and state.complete:
            if not purpose.lasts:
                raise ConfigurationError(f"the schema {building.schema} is there already: choose another, or drop it")
            with closing(Reach(building.owner_dsn)) as reach:
                return Rebuilt(building.schema, reach.positions(), reach.records(), {})
        building.create(purpose)
        with closing(Reach(building.owner_dsn)) as reach:
            progress.events = reach.records()
        progress.total, progress.phase = sum(positions.values()), "records"
        halted = _fill(building, order, progress, stop)
        with closing(Reach(building.owner_dsn)) as reach:
            reached, progress.events = reach.positions(), reach.records()
        full = all(p in halted or reached.get(p, 0) >= offset for p, offset in positions.items())
        if full:
            progress.phase = "indexes"
            full = building.finish(halted=bool(halted), stop=stop)
        return Rebuilt(building.schema, positions, progress.events, halted, full and not halted)


def ends(bootstrap: str, topic: str, named: Mapping[int, int]) -> dict[int, int]:
    """The offsets to rebuild up to where only some are named: the others go to the log's present end."""
    with Reader(bootstrap, topic) as reader:
        heads = reader.heads()
    _check(heads, named)
    return {**heads, **named}


def advance(
    bootstrap: str, projector_dsn: str, rebuilt: Rebuilt, until: Mapping[int, int], topic: str = topics.EVENTS
) -> Rebuilt:
    """Takes a complete rebuilt schema on to later offsets."""
    progress = worker.Progress()
    settings = worker.Settings(topic=topic, durable=False)
    halted = worker.run(
        bootstrap,
        projector_dsn,
        rebuilt.schema,
        until=until,
        settings=settings,
        progress=progress,
        stop=threading.Event(),
    )
    complete = rebuilt.complete and not halted
    return Rebuilt(rebuilt.schema, dict(until), rebuilt.events + progress.events, halted, complete)


def _check_same(name: str, state: State, purpose: Purpose) -> None:
    """Raises unless going on with this rebuild gives what was asked for."""
    same = state.topic == purpose.topic and (purpose.lasts or state.until == purpose.until)
    if not same or state.version != newest_version():
        raise ConfigurationError(f"the schema {name} is a rebuild of other records, or of older tables: drop it")


def _check(heads: Mapping[int, int], positions: Mapping[int, int]) -> None:
    unknown = sorted(p for p in positions if p not in heads)
    if unknown:
        raise ConfigurationError(f"the log has no partition {unknown[0]}: it has {len(heads)}")
    beyond = sorted(p for p, offset in positions.items() if offset > heads[p])
    if beyond:
        raise LogError(f"partition {beyond[0]} of the log ends before the position to rebuild up to")


def _fill(building: Building, order: Order, progress: worker.Progress, stop: threading.Event) -> dict[int, LogError]:
    """Every partition to its end, or until stopped; again where a killed run still held one. Returns what halted."""
    halted: dict[int, LogError] = {}
    with closing(Reach(building.owner_dsn)) as reach, _watched(building, progress):
        for number in range(_MAX_ROUNDS):
            reached = reach.positions()
            left = {p: offset for p, offset in order.until.items() if reached.get(p, 0) < offset and p not in halted}
            if not left or stop.is_set():
                break
            if number:
                stop.wait(_AGAIN_S)
            halted |= _round(msgspec.structs.replace(order, until=left), stop)
    return halted


def _round(order: Order, stop: threading.Event) -> dict[int, LogError]:
    if order.processes == 1:
        return build(order, stop, worker.Progress())
    with Processes(order, min(order.processes, len(order.until))) as processes:
        while not stop.is_set() and processes.running():
            stop.wait(_LOOK_EVERY_S)
    return processes.halted


@contextmanager
def _watched(building: Building, progress: worker.Progress) -> Iterator[None]:
    """Says how many records are in the tables, while they fill: also those that a killed run brought there."""
    done = threading.Event()

    def watch() -> None:
        with closing(Reach(building.owner_dsn)) as reach:
            while not done.wait(_LOOK_EVERY_S):
                with suppress(NotYet):
                    progress.events = reach.records()

    thread = threading.Thread(target=watch, name="watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()

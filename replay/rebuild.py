"""Builds every view anew from position 0 in a schema beside the live one: the log alone decides what is in it.

    rebuilt = rebuild("broker:9092", owner_dsn, projector_dsn)           # up to where the log ends now
    print(rebuilt.schema, rebuilt.positions, rebuilt.events)

The same worker does it, with bounded memory; only the indexes that answers need are made last, and the disk is not
waited for, since a rebuild that was cut short is begun again. Who compares wants the same end: `until` gives it.
"""

import threading
from collections.abc import Mapping
from typing import NamedTuple
from uuid import uuid4

from ledger.errors import ConfigurationError, LogError
from ledger.kafka import topics
from ledger.kafka.reader import Reader
from projections import schema as schemas
from projections import worker


class Rebuilt(NamedTuple):
    """A rebuilt schema: complete through one less than `positions`; `halted` partitions stand still before theirs."""

    schema: str
    positions: dict[int, int]
    events: int
    halted: dict[int, LogError]


def fresh_name() -> str:
    """A name for a schema that nobody uses yet."""
    return f"rebuild_{uuid4().hex[:12]}"


def rebuild(
    bootstrap: str,
    owner_dsn: str,
    projector_dsn: str,
    *,
    schema: str | None = None,
    topic: str = topics.EVENTS,
    until: Mapping[int, int] | None = None,
    progress: worker.Progress | None = None,
    stop: threading.Event | None = None,
) -> Rebuilt:
    """Rebuilds up to the offsets `until` (default: the log's present end). The connection strings may name any schema.

    Raises `ConfigurationError` when the schema is there already, `LogError` when the log lacks what `until` asks for.
    """
    name = schema or fresh_name()
    with Reader(bootstrap, topic) as reader:
        heads = reader.heads()
    positions = dict(heads if until is None else until)
    beyond = sorted(p for p, offset in positions.items() if offset > heads.get(p, 0))
    if beyond:
        raise LogError(f"partition {beyond[0]} of the log ends before the position to rebuild up to")
    owner = schemas.at_schema(owner_dsn, name)
    if schemas.exists(owner, name):
        raise ConfigurationError(f"the schema {name} is there already: choose another, or drop it")
    schemas.create_unindexed(owner, name)
    progress = progress or worker.Progress()
    halted = worker.run(
        bootstrap,
        projector_dsn,
        name,
        until=positions,
        settings=worker.Settings(topic=topic, durable=False),
        progress=progress,
        stop=stop,
    )
    schemas.finish(owner)
    return Rebuilt(name, positions, progress.events, halted)


def advance(
    bootstrap: str, projector_dsn: str, rebuilt: Rebuilt, until: Mapping[int, int], topic: str = topics.EVENTS
) -> Rebuilt:
    """Takes a rebuilt schema on to later offsets."""
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
    return Rebuilt(rebuilt.schema, dict(until), rebuilt.events + progress.events, halted)

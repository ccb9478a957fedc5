"""`project --projection module:Class`: follows the ledger with any projection of the `eventsourcing` library.

    follow("projections.reminders:Reminders", "broker:9092", dsns.projector)     # until SIGTERM or Ctrl-C

The projection runs unchanged under eventsourcing's stock `ProjectionRunner`, one for each partition. Its tables and its
tracking are in the schema `projections`, made by the library itself. A partition whose runner fails because a server is
away is begun again from its tracked position, a little later each time; any other error ends the run.
"""

import importlib
import logging
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, get_args

from eventsourcing.persistence import TrackingRecorder
from eventsourcing.projection import Projection, ProjectionRunner
from psycopg.conninfo import conninfo_to_dict

from ledger.errors import ConfigurationError
from ledger.kafka import topics
from ledger.kafka.reader import Reader
from projections.application import application
from projections.schema import PROJECTIONS
from projections.stopping import stopped_by_signals
from projections.worker import FAULTS

_logger = logging.getLogger("consent_ledger.follow")
FIRST_WAIT_S, LONGEST_WAIT_S, LOOK_EVERY_S = 0.2, 10.0, 0.2
Runner = ProjectionRunner[Any, Any]


def follow(
    projection: str | type[Projection[Any]],
    bootstrap: str,
    dsn: str,
    *,
    topic: str = topics.EVENTS,
    schema: str = PROJECTIONS,
    partitions: Sequence[int] | None = None,
    stop: threading.Event | None = None,
) -> None:
    """Runs a projection on all partitions, or those named, until stopped. Raises what stops a projection for good."""
    projection_class = resolve(projection) if isinstance(projection, str) else projection
    if partitions is None:
        with Reader(bootstrap, topic) as reader:
            partitions = range(reader.partitions)
    with stopped_by_signals(stop) as stopping, ExitStack() as running:
        waits_s = dict.fromkeys(partitions, FIRST_WAIT_S)
        runners: dict[int, Runner] = {}
        while not stopping.is_set():
            for partition in partitions:
                runner = runners.get(partition)
                try:
                    if runner is None:
                        made = make_runner(projection_class, bootstrap, dsn, topic, partition, schema)
                        runners[partition] = running.enter_context(made)
                    else:
                        runner.run_forever(timeout=0)  # raises what stopped it
                        if not runner.is_interrupted.is_set():
                            waits_s[partition] = FIRST_WAIT_S
                except FAULTS as error:
                    _logger.warning("partition %s begins again: %s", partition, type(error).__name__)
                    runners.pop(partition, None)
                    stopping.wait(waits_s[partition])
                    waits_s[partition] = min(2 * waits_s[partition], LONGEST_WAIT_S)
            stopping.wait(LOOK_EVERY_S)


def make_runner(
    projection_class: type[Projection[Any]],
    bootstrap: str,
    dsn: str,
    topic: str,
    partition: int,
    schema: str = PROJECTIONS,
) -> Runner:
    """eventsourcing's stock runner for one partition; a context manager."""
    return ProjectionRunner(
        application_class=application(bootstrap, partition, topic),
        projection_class=projection_class,
        view_class=view_class(projection_class),
        env=environment(projection_class.name, dsn, schema),
    )


def environment(name: str, dsn: str, schema: str = PROJECTIONS) -> dict[str, str]:
    """What eventsourcing wants to know of the database, prefixed so that only the projection reads it."""
    given = conninfo_to_dict(dsn)
    settings = {
        "PERSISTENCE_MODULE": "eventsourcing.postgres",
        "POSTGRES_DBNAME": given.get("dbname", "postgres"),
        "POSTGRES_HOST": given.get("host", "localhost"),
        "POSTGRES_PORT": given.get("port", "5432"),
        "POSTGRES_USER": given.get("user", ""),
        "POSTGRES_PASSWORD": given.get("password", ""),
        "POSTGRES_SCHEMA": schema,
        "POSTGRES_POOL_SIZE": "1",
        "POSTGRES_MAX_OVERFLOW": "1",
        "POSTGRES_CONNECT_TIMEOUT": "5",
    }
    return {f"{name.upper()}_{key}": str(value) for key, value in settings.items()}


def resolve(path: str) -> type[Projection[Any]]:
    """The projection class at `module:Class`; raises `ConfigurationError`."""
    module, _, name = path.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError):
        raise ConfigurationError(f"no projection {path}: it is named module:Class, and must be importable") from None
    if not (isinstance(found, type) and issubclass(found, Projection)):
        raise ConfigurationError(f"{path} is not an eventsourcing Projection")
    return found


def view_class(projection_class: type[Projection[Any]]) -> type[TrackingRecorder]:
    """The view that a projection is declared with: `class Reminders(Projection[RemindersView])`."""
    for base in projection_class.__mro__:
        for generic in getattr(base, "__orig_bases__", ()):
            for argument in get_args(generic):
                if isinstance(argument, type) and issubclass(argument, TrackingRecorder):
                    return argument
    raise ConfigurationError(f"{projection_class.__name__} does not say its view: class X(Projection[XView])")

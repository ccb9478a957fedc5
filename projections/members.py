"""`project` as one of several workers: each follows the partitions that a Kafka consumer group gives it.

    run_in_group("broker:9092", dsns.projector)        # until SIGTERM or Ctrl-C; start as many as there are partitions

The group only hands partitions out (ledger.kafka.group). When it gives others, the worker stops between two batches and
begins again from PostgreSQL's positions. Whoever is given one claims it (projections.assignments): a worker that has
lost one and does not know it yet cannot write, wherever the position stands, for its epoch is no longer the newest.
"""

import logging
import threading
from hashlib import sha256

from psycopg.conninfo import conninfo_to_dict

from ledger.errors import LogError, NotYet
from ledger.kafka.group import Membership
from projections.metrics import Metrics
from projections.stopping import stopped_by_signals
from projections.worker import Progress, Settings, run

_logger = logging.getLogger("consent_ledger.project")
GROUP_PREFIX = "ledger.project."
SESSION_S = 6.0
_LOOK_EVERY_S = 0.5
_JOIN_AGAIN_S = 2.0


def run_in_group(
    bootstrap: str,
    dsn: str,
    schema: str = "live",
    *,
    settings: Settings | None = None,
    metrics: Metrics | None = None,
    stop: threading.Event | None = None,
) -> dict[int, LogError]:
    """Follows the partitions that the group gives, until stopped; returns those that stand still, with the reason."""
    settings = settings or Settings()
    group = group_name(settings.topic, dsn, schema)
    halted: dict[int, LogError] = {}
    with stopped_by_signals(stop) as stopping:
        while not stopping.is_set():
            try:
                with Membership(bootstrap, settings.topic, group, session_s=SESSION_S) as membership:
                    halted = _work(membership, bootstrap, dsn, schema, settings, metrics, stopping)
            except NotYet as error:
                _logger.warning("joining the group again: %s", error)
                stopping.wait(_JOIN_AGAIN_S)
    return halted


def group_name(topic: str, dsn: str, schema: str) -> str:
    """The group of the workers that fill one schema of one database: others must not take their partitions.

    >>> group_name("ledger.events", "postgresql://me@db/ledger", "live")
    'ledger.project.live.be50b4f01031'
    """
    given = conninfo_to_dict(dsn)
    named = [topic, str(given.get("host")), str(given.get("port")), str(given.get("dbname")), schema]
    return f"{GROUP_PREFIX}{schema}.{sha256('/'.join(named).encode()).hexdigest()[:12]}"


def _work(
    membership: Membership,
    bootstrap: str,
    dsn: str,
    schema: str,
    settings: Settings,
    metrics: Metrics | None,
    stopping: threading.Event,
) -> dict[int, LogError]:
    """Follows what the group gives, until stopped; raises `NotYet` when the group cannot be reached."""
    worker: _Worker | None = None
    try:
        while not stopping.is_set():
            mine = membership.partitions(_LOOK_EVERY_S)
            # One that was paused past its session is often given the same partitions again, which others had meanwhile.
            anew = worker is not None and worker.fenced and worker.generation != membership.generation
            if worker is not None and (worker.partitions != mine or worker.ended or anew):
                worker.finish()
                worker = None
            if worker is None and mine:
                _logger.info("following partitions %s", sorted(mine))
                worker = _Worker(mine, membership.generation, bootstrap, dsn, schema, settings, metrics)
    finally:
        halted = {} if worker is None else worker.finish()
    return halted


class _Worker:
    """One run of the worker in a thread of its own, while the group's own thread keeps its place."""

    def __init__(
        self,
        partitions: frozenset[int],
        generation: int,
        bootstrap: str,
        dsn: str,
        schema: str,
        settings: Settings,
        metrics: Metrics | None,
    ) -> None:
        self.partitions = partitions
        self.generation = generation
        self._progress = Progress()
        self._stop = threading.Event()
        self._halted: dict[int, LogError] = {}
        self._error: BaseException | None = None

        def work() -> None:
            try:
                self._halted = run(
                    bootstrap,
                    dsn,
                    schema,
                    partitions=sorted(partitions),
                    settings=settings,
                    metrics=metrics,
                    progress=self._progress,
                    stop=self._stop,
                )
            except BaseException as error:
                self._error = error

        self._thread = threading.Thread(target=work, name="project", daemon=True)
        self._thread.start()

    @property
    def fenced(self) -> bool:
        """Whether another worker has any of its partitions."""
        return bool(self._progress.fenced)

    @property
    def ended(self) -> bool:
        """Whether it has ended by itself, which is a fault."""
        return not self._thread.is_alive()

    def finish(self) -> dict[int, LogError]:
        """Stops it after the batch under way; raises what it has failed with."""
        self._stop.set()
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._halted

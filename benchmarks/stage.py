"""What the chapters share: servers, topics with so many events, views of them, and how many rounds to take.

with Stage(QUICK, say) as stage:
    filled = stage.topic(50_000)         # made once, however many chapters ask
    dsns = stage.views(50_000)           # projected once
    for _ in stage.rounds():
        ...
"""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import psycopg

from benchmarks import audit_table, workload
from benchmarks.plan import Plan
from benchmarks.servers import Servers, servers
from benchmarks.topic import Filled, fill
from benchmarks.workers import project
from projections.schema import Dsns

EVENTS_A_RESIDENT = 50
Say = Callable[[str], None]


class Stage:
    """A context manager; servers start when a chapter first needs them."""

    def __init__(self, plan: Plan, say: Say, here: Servers | None = None) -> None:
        self.plan, self.say = plan, say
        self._here = here
        self._began_s = time.monotonic()
        self._opened = ExitStack()
        self._topics: dict[int, Filled] = {}
        self._views: dict[int, Dsns] = {}
        self._tables: dict[int, str] = {}

    def __enter__(self) -> "Stage":
        return self

    def __exit__(self, *exception: object) -> None:
        self._opened.close()

    @property
    def here(self) -> Servers:
        """The servers."""
        if self._here is None:
            self.say("starting Kafka and PostgreSQL")
            self._here = self._opened.enter_context(servers(self.say))
        return self._here

    def rounds(self, at_most: int | None = None) -> Iterator[int]:
        """The numbers of the rounds to take; at least one, and as many as the plan's limits allow."""
        wanted = min(at_most or self.plan.rounds, self.plan.rounds)
        began = longest = 0.0
        for number in range(wanted):
            started = time.monotonic()
            began = began or started
            late = started - self._began_s > self.plan.hurry_s
            if number and (late or started - began + longest > self.plan.limit_s):
                self.say(f"{number} rounds instead of {wanted}: the machine is too slow for more")
                return
            yield number
            longest = max(longest, time.monotonic() - started)

    def topic(self, events: int) -> Filled:
        """A topic with the workload of so many events."""
        if events not in self._topics:
            self.say(f"writing {events:,} events")
            records = workload.records(residents(events), events)
            self._topics[events] = fill(self.here.bootstrap, self.here.new_topic(), records)
        return self._topics[events]

    def views(self, events: int) -> Dsns:
        """The views of the topic with so many events, in a database of their own, with fresh statistics."""
        if events not in self._views:
            filled = self.topic(events)
            self.say(f"projecting {events:,} events")
            dsns = self.here.new_database()
            project(self.here.bootstrap, dsns.projector, filled, processes=processes_for(events))
            with psycopg.connect(self.here.superuser_of(dsns.owner), autocommit=True) as connection:
                connection.execute("VACUUM ANALYZE")
            self._views[events] = dsns
        return self._views[events]

    def audit_table(self, events: int) -> str:
        """A database with peer (b)'s audit table of the same events, loaded by COPY; its connection string."""
        if events not in self._tables:
            self.say(f"filling the audit table with {events:,} events")
            dsn = self.here.new_superuser_dsn()
            audit_table.create(dsn)
            audit_table.load(dsn, workload.city(residents(events), events))
            self._tables[events] = dsn
        return self._tables[events]


def processes_for(events: int) -> int:
    """How many worker processes are worth their start."""
    return 2 if events >= 20_000 else 1


def residents(events: int) -> int:
    """How many residents the workload of so many events has."""
    return max(10, events // EVENTS_A_RESIDENT)

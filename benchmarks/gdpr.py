"""Measures GDPRbench's four roles on the ledger and on peer (b), in process, eight clients at a time on both.

Both begin with the same events, and do the same operations in the same order. Every write is acknowledged and on disk
before its client goes on. The ledger's time ends when its views hold every write, for until then a reader may not see
them; a worker process follows its log all the while. What each operation means on either side is in `gdpr_ledger` and
`gdpr_table`, and with what does not map in docs/benchmarks.md.
"""

import asyncio
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Protocol

import psycopg

from benchmarks import audit_table, workload
from benchmarks.gdpr_ledger import Key, opened_ledger
from benchmarks.gdpr_table import TableSide
from benchmarks.gdprbench import ROLES, Operation, operations
from benchmarks.report import Figure, alone, beside
from benchmarks.stage import Stage, processes_for, residents
from benchmarks.stats import middle
from benchmarks.topic import fill
from benchmarks.workers import project
from ledger import codec
from ledger.garbage import calm_collector

CLIENTS = 8
KEYS = """
SELECT "partition", "offset", subject, source, id, purposes, ARRAY(SELECT category FROM holdings h WHERE
       h."partition" = verdicts."partition" AND h."offset" = verdicts."offset" ORDER BY category)
FROM verdicts WHERE known_until IS NULL AND kind = 'data.collected' ORDER BY md5("partition" || '-' || "offset")
"""


class Side(Protocol):
    """One of the two that are compared."""

    async def do(self, client: int, operation: Operation) -> None:
        """Carries out one operation to its end."""

    async def settle(self) -> None:
        """Waits until everything that was written can be read."""


def measure(stage: Stage) -> Iterator[Figure]:
    """Operations a second by role, ours beside peer (b)'s."""
    yield from asyncio.run(_measure(stage))


async def _measure(stage: Stage) -> list[Figure]:
    count, here = stage.plan.gdpr_records, stage.here
    city = list(workload.city(residents(count), count, 3, "g"))
    records = ((None if e.reference else str(e.subject), codec.encode(e)) for e in workload.stamped(city))
    filled = fill(here.bootstrap, here.new_topic(), records)
    dsns, table_dsn = here.new_database(), here.new_superuser_dsn()
    project(here.bootstrap, dsns.projector, filled, processes=processes_for(count))
    with psycopg.connect(here.superuser_of(dsns.owner), autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
    keys = _keys(dsns.reader)
    audit_table.create(table_dsn)
    audit_table.load(table_dsn, city)
    taken: dict[str, tuple[list[float], list[float]]] = {role: ([], []) for role in ROLES}
    async with AsyncExitStack() as opened:
        ledger = await opened.enter_async_context(opened_ledger(here, dsns, filled.topic, keys, CLIENTS))
        table = await opened.enter_async_context(TableSide(table_dsn, keys, CLIENTS))
        stage.say("the four roles of GDPRbench")
        for number in stage.rounds():
            for role, (ours, theirs) in taken.items():
                some = operations(role, stage.plan.gdpr_operations, len(keys), number)
                ours.append(len(some) / await _completion_s(ledger, some, number))
                theirs.append(len(some) / await _completion_s(table, some, number))
    figures = []
    for role, (ours, theirs) in taken.items():
        note = f"completion {stage.plan.gdpr_operations / middle(theirs):.2f} s for {stage.plan.gdpr_operations:,}"
        figures.append(alone(f"GDPRbench {role}, peer (b)", theirs, "operations/s", note=note))
        note = f"completion {stage.plan.gdpr_operations / middle(ours):.2f} s, views caught up"
        figures.append(beside(f"GDPRbench {role}, ledger", ours, "operations/s", "peer (b)", theirs, note=note))
    return figures


def _keys(reader_dsn: str) -> list[Key]:
    """Every collection, in an order that has nothing to do with time."""
    with psycopg.connect(reader_dsn, autocommit=True) as connection:
        connection.execute("SET ROLE ledger_auditor")
        return [Key(*row) for row in connection.execute(KEYS).fetchall()]


async def _completion_s(side: Side, some: list[Operation], number: int) -> float:
    """Seconds until every client is through and all can be read."""
    waiting = [operation._replace(number=number * len(some) + operation.number) for operation in reversed(some)]

    async def work(client: int) -> None:
        while waiting:
            await side.do(client, waiting.pop())

    with calm_collector():
        started = time.perf_counter()
        await asyncio.gather(*(work(client) for client in range(CLIENTS)))
        await side.settle()
        return time.perf_counter() - started

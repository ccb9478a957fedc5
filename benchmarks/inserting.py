"""Measures peer (b)'s way in: single INSERTs into the audit table, prepared, one commit each, on one connection.

Beside it the same events by single calls of the record path, each waiting for its acknowledgement and receipt before
the next: what one caller who never batches gets from either. (What many callers get is in `emitting`.)
"""

import asyncio
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from api.http.runtime import Runtime
from benchmarks import audit_table, workload
from benchmarks.audit_table import AuditTable
from benchmarks.door import place, recording
from benchmarks.report import Figure, alone, beside
from benchmarks.stage import Stage, residents
from ledger import events as e
from ledger.authority import Principal
from ledger.garbage import calm_collector

ROUNDS = 3


def measure(stage: Stage) -> Iterator[Figure]:
    """Events a second, the events of a run shared out over a few rounds."""
    count = stage.plan.peer_rows
    events = [event for event in workload.city(residents(count), count + 2, 11, "i") if not event.reference]
    inserted: list[float] = []
    recorded: list[float] = []
    dsn = stage.here.new_superuser_dsn()
    audit_table.create(dsn)
    stage.say(f"peer (b) takes {count:,} events by single INSERTs")
    with opened(stage) as runtime:
        caller = Principal("bench", {e.EVENTS_WRITE: ("*",)})
        a_round = -(-count // ROUNDS)
        for at in range(0, count, a_round):
            some = events[at : at + a_round]
            with calm_collector():
                inserted.append(len(some) / asyncio.run(_insert_s(dsn, some)))
                started = time.perf_counter()
                for event in some:
                    assert runtime.recorder.submit([event], caller).result().receipt is not None
                recorded.append(len(some) / (time.perf_counter() - started))
    note = f"{count:,} events in all"
    yield alone("peer (b): single INSERTs into the audit table, one caller", inserted, "events/s", note=note)
    yield beside("record path, single events, one caller", recorded, "events/s", "peer (b)", inserted, note="linger 0")


@contextmanager
def opened(stage: Stage) -> Iterator[Runtime]:
    """The record path of a ledger of its own, that waits for no company."""
    with tempfile.TemporaryDirectory() as folder, recording(place(stage.here, Path(folder), linger_ms=0)) as runtime:
        yield runtime


async def _insert_s(dsn: str, events: list[e.Event]) -> float:
    async with AuditTable(dsn) as table:
        started = time.perf_counter()
        for event in events:
            await table.insert(event)
        return time.perf_counter() - started

"""GDPRbench's operations on the ledger: what each becomes, in process, by the ways that the doors take.

| operation | on the ledger |
| --- | --- |
| insert | a `data.collected`, recorded |
| read | the record at the collection's position, as its resident |
| read-meta-by-purpose | the first page of the resident's log about a purpose, with verdicts |
| read-meta-by-user | what is held of the resident, and their consents |
| update | a `data.updated`, recorded |
| update-meta-by-purpose | the resident's consent to the purpose: given, and the next time withdrawn |
| update-meta-by-user | the resident's preference about a channel |
| delete-by-key | an erasure of the collection's categories, to its end |
| read-meta, log (regulator) | `log.viewed` recorded first; then the holdings and consents, or a page of the log |
"""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

from api.http.runtime import Runtime
from api.recording import wall_clock
from benchmarks.door import place, recording
from benchmarks.gdprbench import Operation
from benchmarks.servers import Servers
from benchmarks.viewing import record_view
from benchmarks.workers import following
from ledger import events as e
from ledger.authority import Principal
from ledger.codec import rfc3339
from ledger.erasing.erasure import DONE, IN_PROGRESS, Asked, Erasure
from ledger.log import Position
from ledger.recording.record import Recorded
from projections.answers import Answers, Filters
from projections.schema import Dsns

CHANNEL = "mobile-notification"
_LOOK_AFTER_S = 0.05  # as the door looks whether an erasure is done
_SETTLED_WITHIN_S = 120.0


class Key(NamedTuple):
    """One of GDPRbench's records: a collection."""

    partition: int
    offset: int
    subject: str
    source: str
    id: str
    purposes: Sequence[str]
    categories: Sequence[str]


class Facts:
    """The events that the operations write: the same for both sides. Remembers which consents are given."""

    def __init__(self, keys: Sequence[Key]) -> None:
        self.keys = keys
        self._given: set[tuple[str, str]] = set()

    def event(self, operation: Operation) -> e.Event:
        """What an insert or update says."""
        key = self.keys[operation.key]
        if operation.kind == "insert":
            data: e.Data = e.DataCollected(
                categories=tuple(key.categories), purposes=tuple(key.purposes), origin="resident"
            )
            return _event("data.collected", operation, key, data)
        if operation.kind == "update":
            return _event(
                "data.updated", operation, key, e.DataUpdated(categories=tuple(key.categories), by="resident")
            )
        if operation.kind == "update-meta-by-user":
            data = e.PreferenceSet(channel=CHANNEL, allowed=operation.number % 2 == 0)
            return _event("preference.set", operation, key, data)
        assert operation.kind == "update-meta-by-purpose", operation.kind
        consent = (key.subject, key.purposes[0])
        consent_id = f"gdpr-{key.subject}-{key.purposes[0].replace('/', '.')}"
        if consent in self._given:
            self._given.remove(consent)
            return _event("consent.withdrawn", operation, key, e.ConsentWithdrawn(consent_id=consent_id))
        self._given.add(consent)
        data = e.ConsentGiven(consent_id=consent_id, purposes=(key.purposes[0],), method="web-form")
        return _event("consent.given", operation, key, data)


def _event(kind: str, operation: Operation, key: Key, data: e.Data) -> e.Event:
    return e.KINDS[kind](
        id=f"gdpr-{uuid4().hex}",
        # One source speaks for all, so that whoever withdraws a consent is who gave it.
        source="/services/gdpr",
        subject=key.subject,
        time=rfc3339(wall_clock()),
        data=data,
    )


class LedgerSide:
    """The ledger, with a recorder and views."""

    def __init__(self, runtime: Runtime, answers: Answers, worker: BaseProcess, keys: Sequence[Key]) -> None:
        self._runtime, self._answers, self._worker, self._facts = runtime, answers, worker, Facts(keys)
        self._caller = Principal("bench", {e.EVENTS_WRITE: ("*",)})

    async def do(self, client: int, operation: Operation) -> None:
        """One operation, to its end."""
        key = self._facts.keys[operation.key]
        kind = operation.kind
        if kind == "read":
            async with self._answers.resident(key.subject) as view:
                assert await view.record(Position(key.partition, key.offset)) is not None
        elif kind == "read-meta-by-purpose":
            async with self._answers.resident(key.subject) as view:
                await view.log(key.subject, key.partition, Filters(purpose=key.purposes[0]), limit=50)
        elif kind == "read-meta-by-user":
            async with self._answers.resident(key.subject) as view:
                await view.holdings(key.subject)
                await view.consents(key.subject)
        elif kind == "delete-by-key":
            await self._erase(key)
        elif kind in ("read-meta", "log"):
            await self._regulator(kind, key)
        else:
            await self._record(self._facts.event(operation))

    async def settle(self) -> None:
        """Waits until the views have read all that was written."""
        deadline_s = time.monotonic() + _SETTLED_WITHIN_S
        heads = {p: await asyncio.to_thread(self._runtime.log.head, p) for p in range(self._runtime.log.partitions)}
        while True:
            async with self._answers.anyone() as view:
                reach = await view.projected()
            if all(reach.get(partition, 0) >= head for partition, head in heads.items()):
                return
            assert self._worker.is_alive(), "the worker has ended"
            assert time.monotonic() < deadline_s, f"the views do not catch up: {reach} of {heads}"
            await asyncio.sleep(0.02)

    async def _record(self, event: e.Event) -> None:
        answer = await asyncio.wrap_future(self._runtime.recorder.submit([event], self._caller))
        assert isinstance(answer.results[0], Recorded), answer.results[0]

    async def _regulator(self, kind: str, key: Key) -> None:
        await record_view(self._runtime, key.subject, kind)
        async with self._answers.auditor() as view:
            if kind == "log":
                await view.log(key.subject, key.partition, limit=50)
            else:
                await view.holdings(key.subject)
                await view.consents(key.subject)

    async def _erase(self, key: Key) -> None:
        """As `POST /v1/me/erasure` does it: asked, carried out by the eraser, and looked for until it is done."""
        now = rfc3339(wall_clock())
        erasure = Erasure(
            erasure_id=uuid4().hex,
            subject=key.subject,
            categories=tuple(key.categories),
            state=IN_PROGRESS,
            asked_by="bench",
            asked_time=now,
            requested_time=now,
        )
        asked = Asked(erasure, f"/my/{key.subject}", uuid4().hex)
        found = await asyncio.to_thread(self._runtime.erasures.ask, asked)
        self._runtime.eraser.kick()
        while found.state != DONE:
            await asyncio.sleep(_LOOK_AFTER_S)
            again = await asyncio.to_thread(self._runtime.erasures.get, found.erasure_id)
            assert again is not None, "it was asked for"
            found = again


@asynccontextmanager
async def opened_ledger(
    here: Servers, dsns: Dsns, topic: str, keys: Sequence[Key], clients: int
) -> AsyncIterator[LedgerSide]:
    """The ledger on this topic and its views, followed by a worker of its own."""
    with tempfile.TemporaryDirectory() as folder, following(here.bootstrap, dsns.projector, topic) as worker:
        where = place(here, Path(folder), 2, topic, dsns.owner)
        with recording(where) as runtime:
            async with Answers(dsns.reader, pool_size=clients) as answers:
                yield LedgerSide(runtime, answers, worker, keys)

"""The views, opened for the application's lifetime, and what every reader does with them.

app = create_app(opener, routers=[views.router, records.router, …])     # api.http.answers has the whole list
async with views_of(request).auditor() as view:
    record = await view.record(position)
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from fastapi import APIRouter, FastAPI
from starlette.requests import Request

from api.http.paging import LEDGER_POSITION
from api.http.reading import WAIT_FOR_VIEWS_S, Reader, parse_position
from api.http.runtime import runtime_of
from ledger.errors import Malformed, NotYet, Problem
from ledger.log import Position
from projections.answers import Answers, View

_LOOK_EVERY_S = 0.05


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Opens the views after the runtime, whose settings name their database, and closes them before it."""
    async with Answers(app.state.runtime.settings.database) as answers:
        app.state.answers = answers
        yield


router = APIRouter(lifespan=_lifespan)
"""No address of its own: it brings the views to those that have."""


def views_of(request: Request) -> Answers:
    """The views of the application that serves this request."""
    answers = request.app.state.answers
    assert isinstance(answers, Answers), "the application is served without api.http.views.router"
    return answers


def seen_by(request: Request, reader: Reader, *, once: bool = False) -> AbstractAsyncContextManager[View]:
    """One snapshot of the views with the reader's eyes; `once`: for one question."""
    if reader.own:
        return views_of(request).resident(reader.subject, once=once)
    return views_of(request).auditor(once=once)


async def reached(request: Request) -> dict[int, int]:
    """For each partition the first offset that the views have not read."""
    async with views_of(request).anyone(once=True) as view:
        return await view.projected()


async def wait_for_views(request: Request) -> None:
    """Read your own writes: waits until the views have reached the header `Ledger-Position`; raises `NotYet`."""
    text = request.headers.get(LEDGER_POSITION)
    if text is None:
        return
    position = parse_position(text, LEDGER_POSITION)
    if position.partition >= runtime_of(request).log.partitions:
        raise Malformed([Problem(LEDGER_POSITION, "no-such-partition")], "the ledger has no such partition")
    deadline_s = time.monotonic() + WAIT_FOR_VIEWS_S
    await views_of(request).wait_until(position, WAIT_FOR_VIEWS_S)
    await _wait_for_copies(request, position, deadline_s)


async def _wait_for_copies(request: Request, position: Position, deadline_s: float) -> None:
    """A reference fact is answered with one position and stands in every partition: waits for all of them."""
    async with views_of(request).auditor(once=True) as view:
        record = await view.record(position)
    if record is None or record.subject is not None:
        return
    while True:
        async with views_of(request).auditor(once=True) as view:
            copies = await view.records(record.source, record.id)
        if len({copy.position.partition for copy in copies}) == runtime_of(request).log.partitions:
            return
        if time.monotonic() >= deadline_s:
            raise NotYet("the views have not reached this position's copies yet: ask again")
        await asyncio.sleep(_LOOK_EVERY_S)


async def must_have_come(request: Request, position: Position) -> None:
    """Raises `NotYet` when the log has this position and the views have not."""
    log = runtime_of(request).log
    if position.partition >= log.partitions:
        return
    if (await reached(request)).get(position.partition, 0) > position.offset:
        return
    if position.offset < await asyncio.to_thread(log.head, position.partition):
        raise NotYet("the views have not reached this position")


async def catch_up(request: Request) -> None:
    """Waits until the views have read all that is in the log now; raises `NotYet` when that takes too long."""
    log = runtime_of(request).log
    heads = [await asyncio.to_thread(log.head, partition) for partition in range(log.partitions)]
    deadline_s = time.monotonic() + WAIT_FOR_VIEWS_S
    while True:
        found = await reached(request)
        if all(found.get(partition, 0) >= head for partition, head in enumerate(heads)):
            return
        if time.monotonic() > deadline_s:
            raise NotYet("the views have not read the whole log yet")
        await asyncio.sleep(_LOOK_EVERY_S)

"""What every door does alike by which a resident writes: who writes, as which event, once, and what is answered.

    me = await resident(request)                                  # Forbidden without the scope `self`
    answer = await record_once(request, me, key, make)            # the same key and body: the first record again
    return written({"contest_id": …}, answer, 201)                # `Ledger-Position`, position and receipt

Every event has source `/my` and the ledger's clock as its time. The id of one that bears an `Idempotency-Key` is made
from resident and key alone, so the log's own deduplication does the work, in every process and after every restart:

>>> event_id("res_7f2c", "k1") == event_id("res_7f2c", "k1"), event_id("res_7f2c", "k1") == event_id("res_91aa", "k1")
(True, False)
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import Any, NamedTuple
from uuid import uuid4

import msgspec
import orjson
from fastapi import APIRouter, FastAPI, Request
from starlette.responses import Response

from api.http import problems
from api.http.paging import LEDGER_POSITION
from api.http.reading import JSON, PERSONAL, RECORDED_WITHIN_S
from api.http.runtime import Runtime, principal_of, runtime_of
from api.http.views import views_of
from ledger import codec
from ledger.authority import MY_SOURCE, SELF, Door, Principal
from ledger.errors import Conflict, ConsentLedgerError, Forbidden, Malformed, Problem, Unavailable
from ledger.events import KINDS, Data, Event
from ledger.log import Position
from ledger.recording import receipts
from ledger.recording.record import Answer, Known, recorded
from projections.turns import Turns

Make = Callable[[str], Event]
"""Makes the event, given its time."""


class Me(NamedTuple):
    """The resident who calls."""

    principal: Principal
    subject: str


class Done(NamedTuple):
    """What was recorded: positions in the order of the events, and one receipt for all of them."""

    positions: tuple[Position, ...]
    receipt: str | None


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with Turns(app.state.runtime.settings.database) as turns:
        app.state.turns = turns
        yield


router = APIRouter(lifespan=_lifespan)
"""No address of its own: it brings the turns to those that write."""


async def resident(request: Request) -> Me:
    """Who calls, as a resident; raises `Forbidden`."""
    return as_resident(await principal_of(request))


def as_resident(principal: Principal) -> Me:
    """The caller as a resident; raises `Forbidden`."""
    if not principal.has(SELF) or principal.subject is None:
        raise Forbidden("scope", f"this needs the scope {SELF}")
    return Me(principal, principal.subject)


# --- the events ---------------------------------------------------------------------------------------------------


def event_id(subject: str, key: str | None) -> str:
    """The id under which an event is recorded once for this key; without one, an id of its own."""
    if key is None:
        return uuid4().hex
    return f"k-{sha256(orjson.dumps([subject, key])).hexdigest()[:40]}"


def event_of(kind: str, subject: str, event_id: str, data: Data, time: str, source: str = MY_SOURCE) -> Event:
    """The event; raises `Malformed` for what its shape alone does not say, such as a day that no calendar has."""
    event = KINDS[kind](id=event_id, source=source, subject=subject, time=time, data=data)
    found = [Problem(problem.pointer.removeprefix("/data"), problem.code) for problem in codec.problems(event)]
    if found:
        raise Malformed(found, "the body breaks the contract")
    return event


def later(runtime: Runtime, *moments_us: int) -> str:
    """The ledger's clock; or one of these moments, should it be a little ahead of it: the later word counts."""
    return codec.rfc3339(max((runtime.clock(), *moments_us)))


# --- recording ------------------------------------------------------------------------------------------------------


async def record_all(request: Request, principal: Principal, events: Sequence[Event], door: Door = Door.MY) -> Done:
    """Records events in this order. One that is recorded already, but for its time, counts as recorded."""
    answer = await _submitted(runtime_of(request), principal, events, door)
    if not any(isinstance(result, Conflict) for result in answer.results):
        return _done(answer)
    again = [
        await _with_first_time(runtime_of(request), event, result) if isinstance(result, Conflict) else event
        for event, result in zip(events, answer.results, strict=True)
    ]
    return _done(await _submitted(runtime_of(request), principal, again, door))


async def record_once(request: Request, principal: Principal, make: Make, door: Door = Door.MY) -> Done:
    """Records one event; the same again gives the first's position and receipt. Raises `problems.KeyReused`
    when it is not the same."""
    try:
        return await record_all(request, principal, [make(codec.rfc3339(runtime_of(request).clock()))], door)
    except Conflict:
        raise problems.KeyReused("this idempotency key was used for something else: send a new one") from None


async def _submitted(runtime: Runtime, principal: Principal, events: Sequence[Event], door: Door) -> Answer:
    try:
        waiting = asyncio.wrap_future(runtime.recorder.submit(events, principal, door))
        return await asyncio.wait_for(waiting, RECORDED_WITHIN_S)
    except TimeoutError:
        raise Unavailable("it is not known yet whether this was recorded: send the same again") from None


def _done(answer: Answer) -> Done:
    positions = []
    for result in answer.results:
        if isinstance(result, ConsentLedgerError):
            raise result
        positions.append(result.line.position)
    return Done(tuple(positions), answer.receipt)


async def _with_first_time(runtime: Runtime, event: Event, conflict: Conflict) -> Event:
    """The event as it would have been when the first of its id was recorded: only its content can then differ."""
    if conflict.position is None:
        raise conflict
    known = await _known(runtime, Position.parse(conflict.position))
    return msgspec.structs.replace(event, time=codec.read(known.value).time)


async def _known(runtime: Runtime, position: Position) -> Known:
    found = await asyncio.to_thread(runtime.log.read, position.partition, position.offset, position.offset + 1)
    if not found or found[0].position != position:
        raise Unavailable("the log does not answer in time: send again")
    return Known(position, found[0].value)


async def receipt_for(request: Request, positions: Sequence[Position]) -> Done:
    """A receipt for what is in the log already: it is signed as at first, so it is the same."""
    runtime = runtime_of(request)
    lines = [recorded(await _known(runtime, position), new=False).line for position in positions]
    if not lines:
        return Done((), None)
    signer = await asyncio.to_thread(runtime.settings.receipts_signer)
    return Done(tuple(positions), receipts.issue(lines, signer))


# --- a state that is read and then changed --------------------------------------------------------------------------


@asynccontextmanager
async def turn(request: Request, subject: str) -> AsyncIterator[None]:
    """Alone with what is known of this resident: the views have read all that is in their partition, and while the
    block runs nobody else's wish about them is decided. Raises `NotYet` when the views do not come so far."""
    turns: Turns = request.app.state.turns
    async with turns.of(subject):
        runtime = runtime_of(request)
        partition = runtime.log.partition_of(subject)
        head = await asyncio.to_thread(runtime.log.head, partition)
        if head > 0:
            await views_of(request).wait_until(Position(partition, head - 1))
        yield


# --- the answer -----------------------------------------------------------------------------------------------------


def written(body: dict[str, Any], done: Done, status: int = 200) -> Response:
    """The answer: the body with position and receipt, and `Ledger-Position` for a read that is to see it."""
    last = max(done.positions, default=None)
    position = None if last is None else str(last)
    headers = dict(PERSONAL) | ({} if position is None else {LEDGER_POSITION: position})
    shown = {**body, "position": position, "receipt": done.receipt}
    return Response(orjson.dumps(shown), status, headers, JSON)

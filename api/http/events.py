"""`POST /v1/events`: one CloudEvent in structured or binary mode, or a batch, into the log.

201 `{id, source, position, receipt}` once the log has acknowledged; 200, the same shape, for an event it has already.
A batch answers 200 `{"results": [...], "receipt"}`: each result is what the single call would have answered with its
`status`, in order, but for the receipt, which is one signed note for the whole call (docs/spec/receipts.md).
"""

import asyncio
from collections.abc import Sequence
from typing import Any

import orjson
from fastapi import APIRouter, Request
from starlette.responses import Response

from api.http import cloudevents, openapi, problems
from api.http.cloudevents import Mode
from api.http.runtime import principal_of, runtime_of
from ledger import codec
from ledger.authority import Principal
from ledger.codec import MAX_BATCH_EVENTS
from ledger.errors import ConsentLedgerError, Forbidden, TooLarge
from ledger.events import EVENTS_WRITE, MAX_EVENT_BYTES, RULES_WRITE, Event
from ledger.recording.record import Answer, Recorded

# A batch of the largest events, with as much again for spaces between them.
MAX_BATCH_BYTES = MAX_BATCH_EVENTS * (MAX_EVENT_BYTES + 64)
_LARGE_BYTES = 1024 * 1024

router = APIRouter()


@router.post(
    "/v1/events",
    summary="Record one event or a batch",
    response_class=Response,
    responses={
        200: {
            "description": "known already (first position), or the results of a batch",
            "content": openapi.returns("RecordedOrResults"),
        },
        201: {"description": "recorded", "content": openapi.returns("Recorded")},
        400: {"description": "unparsable"},
        401: {"description": "no or bad token"},
        403: {"description": "scope, source or someone else's consent"},
        409: {"description": "the id is known with other content"},
        410: {"description": "the resident was erased"},
        413: {"description": "too large"},
        415: {"description": "media type"},
        422: {"description": "breaks the contract"},
        429: {"description": "too many events of this client wait"},
        503: {"description": "a part is down"},
    },
    openapi_extra=openapi.takes_events(),
)
async def post_events(request: Request) -> Response:
    """Takes events in; see the module."""
    principal = await principal_of(request)
    if not (principal.has(EVENTS_WRITE) or principal.has(RULES_WRITE)):
        raise Forbidden("scope", "emitting needs a write scope")
    headers = request.headers.raw
    mode = cloudevents.mode_of(headers)
    body = await read_body(request, MAX_BATCH_BYTES if mode is Mode.BATCH else MAX_EVENT_BYTES)
    if mode is Mode.BATCH:
        return await _batch(request, principal, body)
    raw = cloudevents.structured(headers, body) if mode is Mode.BINARY else body
    event = codec.parse(raw)
    answer = await record(request, principal, [event])
    result = answer.results[0]
    if isinstance(result, ConsentLedgerError):
        raise result
    return json({**_recorded(event, result), "receipt": answer.receipt}, 201 if result.new else 200)


async def _batch(request: Request, principal: Principal, body: bytes) -> Response:
    # A large one takes long enough to hold up the other callers.
    large = len(body) > _LARGE_BYTES
    items = await asyncio.to_thread(codec.parse_batch, body) if large else codec.parse_batch(body)
    answer = await record(request, principal, items)
    results = [_result(item, result) for item, result in zip(items, answer.results, strict=True)]
    return json({"results": results, "receipt": answer.receipt})


def _result(item: Event | ConsentLedgerError, result: Recorded | ConsentLedgerError) -> dict[str, Any]:
    if isinstance(result, ConsentLedgerError) or isinstance(item, ConsentLedgerError):
        assert isinstance(result, ConsentLedgerError), "what was refused before is refused"
        return problems.describe(result)[0]
    return {"status": 201 if result.new else 200, **_recorded(item, result)}


def _recorded(event: Event, result: Recorded) -> dict[str, Any]:
    return {"id": event.id, "source": event.source, "position": str(result.line.position)}


async def record(request: Request, principal: Principal, items: Sequence[Event | ConsentLedgerError]) -> Answer:
    """Hands events to the recorder and waits for its answer."""
    return await asyncio.wrap_future(runtime_of(request).recorder.submit(items, principal))


async def read_body(request: Request, limit: int) -> bytes:
    """The body, at most `limit` bytes; raises `TooLarge` as soon as it is known to be longer."""
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared[:20]) > limit:
        raise TooLarge("the body is longer than this door takes")
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise TooLarge("the body is longer than this door takes")
        chunks.append(chunk)
    return b"".join(chunks)


def json(body: Any, status: int = 200) -> Response:
    """A JSON response, written by orjson."""
    return Response(orjson.dumps(body), status, {"cache-control": "no-store"}, "application/json")

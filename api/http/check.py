"""`POST /v1/check`: would this collection, use or share be consistent now?

    POST /v1/check   a CloudEvent as `POST /v1/events` takes it   ->   200 the verdict it would have, position null

A service asks for its own sources. The event is checked as the door checks it, judged by what is known of the resident
now (docs/spec/verdicts.md), and not recorded; that somebody looked is, as `log.viewed`.
"""

from typing import Any

import orjson
from fastapi import APIRouter, Request
from starlette.responses import Response

from api.http import cloudevents, openapi, problems
from api.http.cloudevents import Mode
from api.http.events import read_body
from api.http.reading import JSON, NOT_KEPT, Reader, announce, complete_through
from api.http.runtime import principal_of, runtime_of
from api.http.views import views_of, wait_for_views
from ledger import codec
from ledger.authority import authorise
from ledger.errors import Forbidden, Malformed, Problem
from ledger.events import EVENTS_WRITE, JUDGED, MAX_EVENT_BYTES, Event
from ledger.history import PartitionHistory, verdict_json
from ledger.recording.record import check_time

router = APIRouter()


@router.post(
    "/v1/check",
    summary="Would this be consistent now?",
    response_class=Response,
    responses={
        200: {
            "description": "the verdict that the event would have; `position` is null",
            "content": openapi.returns("WouldBe"),
        },
        400: {"description": "unparsable"},
        401: {"description": "no or bad token"},
        403: {"description": "scope or source"},
        413: {"description": "too large"},
        415: {"description": "media type"},
        422: {"description": "breaks the contract, or is of a kind that is not judged"},
        429: {"description": "too many events of this client wait; the look is one"},
        503: {"description": "a part is down, or the look cannot be recorded"},
    },
    openapi_extra=openapi.takes_judged_event(),
)
async def post_check(request: Request) -> Response:
    """Judges an event that nobody records."""
    principal = await principal_of(request)
    if not principal.has(EVENTS_WRITE):
        raise Forbidden("scope", f"checking needs the scope {EVENTS_WRITE}")
    event = await _event(request)
    authorise(event, principal)
    runtime = runtime_of(request)
    check_time(event, runtime.clock())
    await wait_for_views(request)
    subject = str(event.subject)
    await announce(request, Reader(principal, "service", own=False), subject, "check")
    partition = runtime.log.partition_of(subject)
    async with views_of(request).auditor() as view:
        next_offset = (await view.projected()).get(partition, 0)
        facts = await view.facts(partition, subject)
    history = PartitionHistory(partition)
    for offset, about, body in facts:
        restore = history.restore_reference if about is None else history.restore_fact
        restore(offset, codec.read(body))
    found = would_be(history, event, next_offset)
    return Response(orjson.dumps(found), 200, {**NOT_KEPT, **complete_through(partition, next_offset)}, JSON)


def would_be(history: PartitionHistory, event: Event, next_offset: int) -> dict[str, Any]:
    """The verdict that the event would have as the partition's next record."""
    rows = [row for row in history.apply(next_offset, event) if row.offset == next_offset]
    assert len(rows) == 1, "a judged event has one verdict at its own position"
    found = verdict_json(rows[0], history.partition, next_offset - 1)
    return {**found, "position": None, "known_at": found["known_at"] if next_offset else None}


async def _event(request: Request) -> Event:
    headers = request.headers.raw
    plain = request.headers.get("content-type") == JSON and not any(name.startswith(b"ce-") for name, _ in headers)
    mode = Mode.STRUCTURED if plain else cloudevents.mode_of(headers)
    if mode is Mode.BATCH:
        raise problems.MediaType("one event is checked at a time")
    body = await read_body(request, MAX_EVENT_BYTES)
    event = codec.parse(cloudevents.structured(headers, body) if mode is Mode.BINARY else body)
    if event.kind not in JUDGED:
        raise Malformed([Problem("/type", "not-judged")], "only collections, uses and shares are judged")
    return event

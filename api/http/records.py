"""`GET /v1/records/{P-O}`, `…/verdict?known_at=`, and `GET /v1/records?source=&id=`: one record, and its verdict.

A record is answered as its very bytes: what is hashed, proved and replayed. A verdict is the JSON of
docs/spec/verdicts.md. Whoever reads what is about a resident, and is not that resident, is recorded first.

An auditor reads every record, a resident those about themselves and the published policies; an emitter finds those of
its own sources. What a law holds back (`disclosure.withheld`) its resident sees as `{"kind": "withheld", …}` only.
"""

from typing import Any

import msgspec
import orjson
from fastapi import APIRouter, Request
from starlette.responses import Response

from api.http import problems
from api.http.paging import described, only
from api.http.reading import (
    Reader,
    admit,
    admit_any,
    announce,
    answer,
    complete_through,
    etag,
    parse_position,
)
from api.http.runtime import principal_of, runtime_of
from api.http.views import catch_up, must_have_come, reached, seen_by, views_of, wait_for_views
from api.http.withheld import HeldBack, held_back, withheld_json
from ledger import codec
from ledger.authority import AUDIT_READ, Principal
from ledger.errors import Forbidden, Malformed, NotFound, NotYet, Problem
from ledger.events import EVENTS_WRITE, JUDGED, RULES_WRITE, Id, Source
from ledger.log import Position
from ledger.tree.merkle import leaf_hash
from projections.rows import Record, Stated

RECORD_TYPE = "application/cloudevents+json"
_OPEN_TO_RESIDENTS = "policy.published"  # anyone may read it at /v1/policies
REFUSALS: dict[int | str, dict[str, Any]] = {
    304: {"description": "the reader has it already; a read too"},
    401: {"description": "no or bad token"},
    403: {"description": "scope, or someone else's"},
    404: {"description": "no such record, or none that is judged"},
    422: {"description": "a position or parameter that is not understood"},
    503: {"description": "not there yet, or the read cannot be recorded"},
}

router = APIRouter()


@router.get(
    "/v1/records",
    summary="Find a record by source and id",
    response_class=Response,
    responses=REFUSALS,
    openapi_extra=described("source", "id", required=True),
)
async def find_record(request: Request) -> Response:
    """The first record of this source and id."""
    principal = await principal_of(request)
    if not any(principal.has(scope) for scope in (AUDIT_READ, EVENTS_WRITE, RULES_WRITE)):
        raise Forbidden("scope", f"finding a record needs the scope {AUDIT_READ}, or the source's own")
    source, event_id = _source_and_id(request)
    reader = _finder(principal, source)
    await wait_for_views(request)
    record = await _first(request, source, event_id)
    if record.subject is not None:
        await announce(request, reader, record.subject, f"record/{record.position}")
    event = codec.read(record.body)
    found = {
        "position": str(record.position),
        "source": source,
        "id": event_id,
        "kind": event.kind,
        "subject": record.subject,
        "recordedtime": event.recordedtime,
        "leaf_hash": leaf_hash(record.body).hex(),
    }
    body = orjson.dumps(found)
    return answer(request, body, etag(body))


@router.get(
    "/v1/records/{position}",
    summary="One record, byte for byte",
    response_class=Response,
    responses=REFUSALS,
    openapi_extra=described(),
)
async def get_record(request: Request, position: str) -> Response:
    """The record at a position."""
    only(request.query_params.multi_items(), ())
    found = await readable(request, position)
    if isinstance(found, Response):
        return found
    reader, record = found
    if record.subject is not None:
        await announce(request, reader, record.subject, f"record/{record.position}")
    instead = instead_of(request, record, await held_from(request, reader))
    if instead is not None:
        return instead
    return answer(request, record.body, etag(record.body), media_type=RECORD_TYPE)


@router.get(
    "/v1/records/{position}/verdict",
    summary="Was it consistent with a stated purpose?",
    response_class=Response,
    responses=REFUSALS,
    openapi_extra=described("known_at"),
)
async def get_verdict(request: Request, position: str) -> Response:
    """The verdict of the event at a position: as it is now, or as it was known at another position."""
    query = only(request.query_params.multi_items(), ("known_at",))
    asked = parse_position(query["known_at"], "known_at") if "known_at" in query else None
    found = await readable(request, position)
    if isinstance(found, Response):
        return found
    reader, record = found
    at = record.position
    if asked is not None and asked.partition != at.partition:
        raise Malformed([Problem("known_at", "another-partition")], "known_at is a position of the event's partition")
    if asked is not None and asked.offset >= (await reached(request)).get(at.partition, 0):
        raise NotYet("the views have not reached known_at")
    if record.subject is not None:
        await announce(request, reader, record.subject, f"verdict/{at}")
    stated, held = await _stated(request, reader, at, None if asked is None else asked.offset)
    instead = instead_of(request, record, held)
    if instead is not None:
        return instead
    if record.kind not in JUDGED:
        return none_such("not-judged")
    if stated.verdict is None:
        return none_such("not-recorded-then")
    known_at = stated.reached - 1 if asked is None else asked.offset
    verdict = stated.verdict._replace(findings=held.uncited(stated.verdict.findings))
    if held.at(verdict.known_until) is not None:
        verdict = verdict._replace(known_until=None)  # the place of what is held back is not told
    shown = verdict.json(known_at)
    body = orjson.dumps(shown)
    headers = complete_through(at.partition, stated.reached)
    if asked is not None:
        return answer(request, body, etag(body), headers)
    # How far the views reach moves with every record; the verdict itself does not.
    tag = etag(orjson.dumps({**shown, "known_at": None}), weak=True)
    return answer(request, body, tag, headers)


async def _stated(request: Request, reader: Reader, at: Position, known_at: int | None) -> tuple[Stated, HeldBack]:
    """What the views say of the event: one question, unless a law withholds something from its reader."""
    async with seen_by(request, reader, once=True) as view:
        stated = await view.stated(at, known_at)
    if not (reader.own and stated.withholds):
        return stated, HeldBack()
    async with seen_by(request, reader) as view:
        stated = await view.stated(at, known_at)
        return stated, await held_back(view, reader.subject, runtime_of(request).clock())


async def readable(request: Request, text: str) -> tuple[Reader, Record] | Response:
    """The record that the path names, and the caller as its reader; the answer when it counts for nothing, as it
    repeats another; raises what refuses the caller."""
    principal = await principal_of(request)
    admit_any(principal)
    position = parse_position(text, "position")
    await wait_for_views(request)
    for last_look in (False, True):
        async with views_of(request).auditor(once=True) as view:
            record = await view.record(position)
        if record is not None:
            return _reader_of(principal, record), record
        async with views_of(request).auditor() as view:
            repeated = await view.repeated(position)
            first = await view.record(repeated) if repeated is not None else None
        if first is not None:
            reader = _reader_of(principal, first)
            held = instead_of(request, first, await held_from(request, reader))
            return none_such("repeat", None if held else {"position": str(first.position)})
        if not last_look:  # the views may come by while we ask the log
            await must_have_come(request, position)
    raise NotFound("there is no record at this position")


def _reader_of(principal: Principal, record: Record) -> Reader:
    if record.kind == _OPEN_TO_RESIDENTS and principal.subject is not None:
        return Reader(principal, "resident", own=False)
    return admit(principal, record.subject)


async def held_from(request: Request, reader: Reader) -> HeldBack:
    """What is held back from this reader: nothing, unless it is about themselves."""
    if not reader.own:
        return HeldBack()
    async with seen_by(request, reader, once=True) as view:
        return await held_back(view, reader.subject, runtime_of(request).clock())


def instead_of(request: Request, record: Record, held_from_reader: HeldBack) -> Response | None:
    """What the resident gets instead of an entry that a law holds back."""
    held = held_from_reader.of(record.source, record.id, record.body)
    if held is None:
        return None
    body = orjson.dumps(withheld_json(held))
    return answer(request, body, etag(body))


def none_such(code: str, extra: dict[str, Any] | None = None) -> Response:
    """404 that says why there is no verdict."""
    return problems.response(problems.document(problems.NOT_FOUND, [Problem("position", code)], extra))


# --- by source and id -------------------------------------------------------------------------------------------


def _source_and_id(request: Request) -> tuple[str, str]:
    query = only(request.query_params.multi_items(), ("source", "id"))
    found = []
    for name, shape in (("source", Source), ("id", Id)):
        try:
            msgspec.convert(query[name], shape)
        except KeyError:
            found.append(Problem(name, "missing"))
        except msgspec.ValidationError:
            found.append(Problem(name, "pattern"))
    if found:
        raise Malformed(found, "name the record by source and id")
    return query["source"], query["id"]


def _finder(principal: Principal, source: str) -> Reader:
    if principal.has(AUDIT_READ):
        return Reader(principal, "auditor", own=False)
    if any(principal.may_emit_for(scope, source) for scope in (EVENTS_WRITE, RULES_WRITE)):
        return Reader(principal, "service", own=False)
    raise Forbidden("source", "this client finds the records of its own sources only")


async def _first(request: Request, source: str, event_id: str) -> Record:
    """The first record; when there is none, only after the views have read all that is in the log now."""
    for last_look in (False, True):
        async with views_of(request).auditor(once=True) as view:
            found = await view.records(source, event_id)
        if found:
            # A reference fact stands in every partition: the first is partition 0's.
            return found[0]
        if not last_look:
            await catch_up(request)
    raise NotFound("the ledger knows no record of this source and id")

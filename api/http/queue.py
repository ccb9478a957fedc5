"""The queue of those who answer residents: complaints, contests, access requests, incidents, with their due dates.

    GET /v1/queue?state=&kind=&limit=   {"cases": [{"kind": "complaint", "position": "3-41", "due": …, …}]}
    GET /v1/queue/3-41                  the case and its texts in the clear
    POST /v1/queue/3-41/answer          {"outcome": "settled", "answer": "…"}  200 {"case_id", "position", "receipt"}

For staff: a token with `rules:write` for one of the sources that the settings name (`queue_sources`). They read the
texts, since whoever must answer a complaint must have read it; an auditor reads only that there is one. Who reads a
list or a case is entered in the log of each resident it shows (`log.viewed`, role `staff`) before it is answered; when
that fails, the read fails. A case is named by the position of the record that opened it: no address holds an id.

An answer is an event of the staff's own source, whose id is made from the case: it can be given once. An incident is
not answered here but contained, by an `incident.reported` with `contained_at`.
"""

import re
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import msgspec
import orjson
from fastapi import APIRouter, Request
from starlette.responses import Response

from api.http import cases, problems
from api.http import queue_schema as schema
from api.http.bodies import MAX_TEXT_BODY_BYTES, json_body
from api.http.lists import case_row
from api.http.paging import Place, Question, microseconds
from api.http.paging import written as time_written
from api.http.reading import Reader, announce_all, answer, etag, parse_position
from api.http.runtime import principal_of, runtime_of
from api.http.views import views_of, wait_for_views
from api.http.writing import event_of, later, record_all, turn, written
from api.settings import Settings
from ledger import codec
from ledger import events as e
from ledger.authority import Door, Principal
from ledger.errors import Conflict, Forbidden, Malformed, NotFound, Problem
from ledger.log import Position
from projections import cases as rows
from projections.answers import View
from projections.cases import Queued

_WAITING, _ANSWERED = schema.STATES
_HERE = re.compile(r"([wa])/([0-9]{1,9})", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_HAS_ANSWER = problems.Kind("case-answered", 409, "This case has an answer already.")
_CONTAINED = problems.Kind("case-kind", 409, "An incident is not answered: report its containment as an event.")
_ANSWERS: dict[str, tuple[str, type[e.Data], str]] = {
    "complaint": ("complaint.resolved", e.ComplaintResolved, "complaint_id"),
    "contest": ("contest.resolved", e.ContestResolved, "contest_id"),
    "access": ("access.answered", e.AccessAnswered, "request_id"),
}

router = APIRouter()


def due_days(settings: Settings) -> dict[str, int]:
    """How many days each kind of case may take."""
    return {
        "complaint": settings.complaint_days,
        "contest": settings.contest_days,
        "access": settings.access_days,
        "incident": settings.incident_days,
    }


@router.get("/v1/queue", summary="Cases to answer, those due first", **schema.LIST)
async def get_queue(request: Request) -> Response:
    """See the module; the texts are in each case's own address."""
    reader, _ = await _staff(request)
    question = Question.parse(request.url.path, request.query_params.multi_items(), ("state", "kind"), schema.KINDS)
    state = question.filters.get("state")
    if state is not None and state not in schema.STATES:
        raise Malformed([Problem("state", "unknown-value")], f"a state is one of {', '.join(schema.STATES)}")
    await wait_for_views(request)
    days = due_days(runtime_of(request).settings)
    if "kind" in question.filters:
        days = {question.filters["kind"]: days[question.filters["kind"]]}
    async with views_of(request).auditor() as view:
        found = await _page(view, days, state, question.after, question.limit + 1)
    shown = found[: question.limit]
    named = {queued.case.subject: None for queued in shown if queued.case.subject is not None}
    await announce_all(request, reader, list(named), "queue")
    now_us = runtime_of(request).clock()
    body = orjson.dumps({"cases": [_shown(queued, now_us) for queued in shown]})
    headers = {"link": question.next_link(_place(shown[-1]))} if len(found) > question.limit else {}
    return answer(request, body, etag(body), headers)


@router.get("/v1/queue/{position}", summary="One case and its texts", **schema.ONE)
async def get_case(request: Request, position: str) -> Response:
    """The case that the record at this position opened."""
    reader, _ = await _staff(request)
    place = parse_position(position, "position")
    await wait_for_views(request)
    async with views_of(request).auditor() as view:
        queued = await _case(request, view, place)
        shown = _shown(queued, runtime_of(request).clock())
        texts = await cases.events_of(view, [shown])
    if queued.case.subject is not None:
        await announce_all(request, reader, [queued.case.subject], f"queue/{place}")
    shown |= {"text": None, "answer": None}
    await cases.tell([shown], texts, runtime_of(request).vault)
    body = orjson.dumps(shown)
    return answer(request, body, etag(body))


@router.post("/v1/queue/{position}/answer", summary="Answer a case", **schema.ANSWER)
async def post_answer(request: Request, position: str) -> Response:
    """The answer, sealed for the resident; once."""
    reader, sources = await _staff(request)
    place = parse_position(position, "position")
    given = await json_body(request, schema.Answer, MAX_TEXT_BODY_BYTES)
    if isinstance(given, Response):
        return given
    if given.source is not msgspec.UNSET and given.source not in sources:
        raise Forbidden("source", "this client may not answer for this source")
    source = sources[0] if given.source is msgspec.UNSET else given.source
    async with views_of(request).auditor() as view:
        subject = (await _case(request, view, place)).case.subject
    if subject is None:
        return problems.response(problems.document(_CONTAINED))
    async with turn(request, subject):
        async with views_of(request).auditor() as view:
            queued = await _case(request, view, place)
        if queued.case.kind not in _ANSWERS:
            return problems.response(problems.document(_CONTAINED))
        return await _answer(request, reader.principal, queued, source, given)


async def _answer(
    request: Request, principal: Principal, queued: Queued, source: str, given: schema.Answer
) -> Response:
    case = queued.case
    assert case.subject is not None and case.opened is not None, "a case that is answered is somebody's"
    kind, shape, name = _ANSWERS[case.kind]
    members = {"outcome": given.outcome} | ({} if given.answer is msgspec.UNSET else {"answer": given.answer})
    try:
        data = msgspec.convert({name: case.case_id, **members}, shape)
    except msgspec.ValidationError as error:
        raise Malformed([codec.problem_of(error)], "the body breaks the contract") from None
    new = f"r-{sha256(orjson.dumps([case.kind, case.subject, case.case_id])).hexdigest()[:40]}"
    event = event_of(kind, case.subject, new, data, later(runtime_of(request), microseconds(case.opened)), source)
    if case.resolved_offset is not None:
        async with views_of(request).auditor() as view:
            first = await view.record(Position(case.partition, case.resolved_offset))
        if first is None or (first.source, first.id) != (source, new):
            return problems.response(problems.document(_HAS_ANSWER, [Problem("/state", _ANSWERED)]))
    try:
        done = await record_all(request, principal, [event], Door.EVENTS)
    except Conflict:
        return problems.response(problems.document(_HAS_ANSWER, [Problem("/state", _ANSWERED)]))
    return written({"case_id": case.case_id, "source": source}, done)


# --- who, and which -------------------------------------------------------------------------------------------------


async def _staff(request: Request) -> tuple[Reader, list[str]]:
    """Who calls, and the sources of the queue that they may speak for; raises `Forbidden` when there is none."""
    principal = await principal_of(request)
    if not principal.has(e.RULES_WRITE):
        raise Forbidden("scope", f"this needs the scope {e.RULES_WRITE}")
    named = runtime_of(request).settings.queue_sources
    sources = [source for source in named if principal.may_emit_for(e.RULES_WRITE, source)]
    if not sources:
        raise Forbidden("source", "the queue is for those who may answer for one of its sources")
    return Reader(principal, "staff", own=False), sources


async def _case(request: Request, view: View, position: Position) -> Queued:
    runtime = runtime_of(request)
    there = position.partition < runtime.log.partitions
    found = await rows.opened_at(view, position, due_days(runtime.settings)) if there else None
    if found is None:
        raise NotFound("no case was opened by the record at this position")
    return found


# --- pages --------------------------------------------------------------------------------------------------------


async def _page(view: View, days: dict[str, int], state: str | None, after: Place | None, limit: int) -> list[Queued]:
    """Those that wait, then those that were answered, as far as asked for."""
    at, begun = _after(after) if after is not None else (None, _WAITING)
    found: list[Queued] = []
    if state != _ANSWERED and begun == _WAITING:
        found = await rows.waiting(view, days, at, limit)
        at = None
    if state != _WAITING and len(found) < limit:
        found += await rows.answered(view, days, at, limit - len(found))
    return found


def _place(queued: Queued) -> Place:
    moment = queued.due if queued.case.resolved is None else queued.case.resolved
    state = "w" if queued.case.resolved is None else "a"
    return Place(microseconds(moment), queued.opened.offset, f"{state}/{queued.opened.partition}")


def _after(place: Place) -> tuple[rows.Place, str]:
    match = _HERE.fullmatch(place.name)
    if match is None:
        raise Malformed([Problem("cursor", "cursor")], "the query is not one that is understood")
    at = _EPOCH + timedelta(microseconds=place.instant)
    return rows.Place(at, Position(int(match[2]), place.offset)), _WAITING if match[1] == "w" else _ANSWERED


def _shown(queued: Queued, now_us: int) -> dict[str, Any]:
    found = case_row(queued.case).body
    del found["touches"]
    waits = queued.case.resolved is None
    overdue = waits and microseconds(queued.due) < now_us
    return {**found, "subject": queued.case.subject, "due": time_written(queued.due), "overdue": overdue}

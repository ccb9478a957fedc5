"""`GET /v1/residents/{subject}/…` for auditors and `GET /v1/me/…` for residents: what the ledger has about one person.

    GET /v1/me/log?purpose=4.2&limit=20
    {"entries": [{"position": "3-41", "kind": "data.used", "time": …, "outcome": "consistent", …, "record": {…}}, …]}
    Ledger-Complete-Through: 3-2210
    Link: </v1/me/log?purpose=4.2&limit=20&cursor=…>; rel="next"

`log` (newest first), `consents`, `data` (what is held), `preferences`, `anonymity`, `cases`. Each is recorded as
`log.viewed` before it is answered to anyone but the resident, whose own opening of `data` is recorded as
`data.reviewed` (`api.http.reviewing`). A resident reads their own sealed texts in the clear (`unsealed`; null once they
are erased), in `cases` too (`api.http.cases`), and of what a law holds back only that it is (`api.http.withheld`).
"""

from collections.abc import Mapping
from typing import Any

import msgspec
import orjson
from fastapi import APIRouter, Request
from starlette.responses import Response

from api.http import cases, lists, log
from api.http.paging import LEDGER_POSITION, LOG_FILTERS, WITHHELD, Found, Question, described
from api.http.reading import Reader, admit, announce, answer, complete_through, etag
from api.http.reviewing import record_review
from api.http.runtime import principal_of, runtime_of
from api.http.views import seen_by, views_of, wait_for_views
from api.http.withheld import HeldBack, held_back
from ledger.authority import AUDIT_READ, SELF
from ledger.errors import Forbidden, NotFound
from ledger.events import Subject

_REFUSALS: dict[int | str, dict[str, Any]] = {
    304: {"description": "the reader has it already; a read too"},
    401: {"description": "no or bad token"},
    403: {"description": "scope, or someone else's"},
    404: {"description": "no such resident"},
    422: {"description": "a parameter that is not understood"},
    503: {"description": "not there yet, or the read cannot be recorded"},
}
_SUMMARIES = {
    "log": "Everything that was done, newest first",
    "consents": "Consents, active and not",
    "data": "What is held, from which collection, told for which purposes",
    "preferences": "Channels that the resident allows",
    "anonymity": "Whether the resident engages anonymously",
    "cases": "Contests, complaints, access requests, incidents, erasures",
}

router = APIRouter()


async def answered(request: Request, reader: Reader, about: str, name: str) -> Response:
    """One list about a resident."""
    query = request.query_params.multi_items()
    if name == "log":
        question = Question.parse(request.url.path, query, LOG_FILTERS)
    else:
        question = Question.parse(request.url.path, query, lists.LISTS[name].filters, lists.CASE_KINDS)
    await wait_for_views(request)
    if not reader.own:
        await _must_exist(request, about)
    await announce(request, reader, about, name)
    runtime = runtime_of(request)
    now_us = runtime.clock()
    partition = runtime.log.partition_of(about)
    vault = runtime.vault if reader.own else None
    if name == "log":
        entries = await _log(request, reader, about, question, now_us)
        first_unread = entries.reached
        found = await log.told(entries, vault)
    else:
        async with seen_by(request, reader) as view:
            held = await held_back(view, about, now_us) if reader.own else None
            first_unread = (await view.projected()).get(partition, 0)
            touching = name == "cases" and reader.own
            more = await cases.may_touch(request, view, about, partition, now_us) if touching else []
            found = await lists.page(view, name, about, question, held, now_us, more)
            texts = await cases.events_of(view, _cases(found)) if name == "cases" else {}
        if name == "cases":
            await cases.tell(_cases(found), texts, vault)
    headers = complete_through(partition, first_unread)
    if found.following is not None:
        headers["link"] = question.next_link(found.following)
    if name == "data" and reader.own and question.after is None:
        reviewed = await record_review(request, reader.principal, about, found.held)
        headers |= {} if reviewed is None else {LEDGER_POSITION: str(reviewed)}
    body = orjson.dumps(found.body)
    # The lists say nothing of how far the views had come: that is in the header.
    return answer(request, body, etag(body), headers)


async def _log(request: Request, reader: Reader, about: str, question: Question, now_us: int) -> log.Entries:
    """A page of the log: one question to the views, unless a law withholds something from its reader."""
    partition = runtime_of(request).log.partition_of(about)
    asked = log.asked(question)
    async with seen_by(request, reader, once=True) as view:
        found = await view.log(about, partition, *asked)
    if not (reader.own and found.withholds):
        return log.entries(question, found, HeldBack() if reader.own else None)
    async with seen_by(request, reader) as view:
        held = await held_back(view, about, now_us)
        return await log.page(view, about, partition, question, held)


def _cases(found: Found) -> list[dict[str, Any]]:
    """The cases of the page, without what only says that a law holds something back."""
    return [case for case in found.body["cases"] if case["kind"] != WITHHELD]


async def _reader_of(request: Request, subject: str | None) -> tuple[Reader, str]:
    principal = await principal_of(request)
    if subject is None:
        if not principal.has(SELF) or principal.subject is None:
            raise Forbidden("scope", f"this needs the scope {SELF}")
        return Reader(principal, "resident", own=True), principal.subject
    if not (principal.has(AUDIT_READ) or principal.has(SELF)):
        raise Forbidden("scope", f"reading needs the scope {AUDIT_READ}")
    return admit(principal, subject), subject


async def _must_exist(request: Request, subject: str) -> None:
    """Raises `NotFound` for a resident that nothing is recorded of: looking for one leaves no record either."""
    try:
        msgspec.convert(subject, Subject)
    except msgspec.ValidationError:
        raise NotFound("there is no such resident") from None
    async with views_of(request).auditor(once=True) as view:
        if not await view.knows(subject):
            raise NotFound("the ledger has nothing about this resident")


def _add(name: str) -> None:
    async def of_resident(request: Request, subject: str) -> Response:
        reader, about = await _reader_of(request, subject)
        return await answered(request, reader, about, name)

    async def of_caller(request: Request) -> Response:
        reader, about = await _reader_of(request, None)
        return await answered(request, reader, about, name)

    filters = LOG_FILTERS if name == "log" else lists.LISTS[name].filters
    given: Mapping[str, Any] = {
        "methods": ["GET"],
        "response_class": Response,
        "responses": _REFUSALS,
        "openapi_extra": described(*filters, "limit", "cursor"),
    }
    summary = _SUMMARIES[name]
    router.add_api_route(
        f"/v1/residents/{{subject}}/{name}", of_resident, summary=summary, operation_id=f"resident-{name}", **given
    )
    router.add_api_route(f"/v1/me/{name}", of_caller, summary=summary, operation_id=f"my-{name}", **given)


for _name in _SUMMARIES:
    _add(_name)

"""What a resident reads: what was done with their data, in plain sentences, newest first; and one entry in full.

    GET /my                       the last 30 days in a line, how complete this is, and the timeline with its filters
    GET /my/entries/{P-O}         who, what kinds of data, why, was it allowed, how the answer changed, the evidence
    GET /my/entries/{P-O}/evidence, /my/log.csv, /my/log.json       to keep

Everything comes from the same functions as the API's `/v1/me`, asked as the resident who is signed in.
"""

from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from itertools import groupby
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlencode, urlsplit

import orjson
from fastapi import APIRouter, Request
from starlette.responses import Response

from api.cells import csv_line
from api.http import evidence, log, residents
from api.http.paging import LOG_FILTERS, Question
from api.http.reading import Reader
from api.http.runtime import runtime_of
from api.http.views import views_of
from api.http.withheld import HeldBack, held_back
from api.pages import summary
from api.pages.names import Names, names_of
from api.pages.sentences import said_to_you, sentence
from api.pages.site import site, words_of
from api.pages.visitor import Visitor, signed_in
from api.pages.words import CITY, Words
from ledger import codec
from ledger.authority import SELF
from ledger.errors import Malformed, NotFound
from ledger.events import JUDGED, KINDS
from ledger.log import Position
from ledger.verdict import CONSISTENT, INCONSISTENT, UNDETERMINED
from projections.answers import View
from projections.rows import LogEntry, Verdict

OUTCOMES = (CONSISTENT, INCONSISTENT, UNDETERMINED)
_DOWNLOAD_LIMIT = 500
_PAGE = 25
_HISTORY = 100
router = APIRouter(include_in_schema=False)


class Line(NamedTuple):
    """One entry as a list shows it; `why`: what the main rule found, `outcome` None where nothing is judged."""

    position: str
    time: datetime
    kind: str
    sentence: str
    why: str | None
    statement: str | None
    outcome: str | None
    changed: bool


@router.get("/my")
async def my_log(request: Request) -> Response:
    """The front page of a resident."""
    visitor, words = await signed_in(request, SELF), words_of(request)
    subject, runtime = _subject(visitor), runtime_of(request)
    partition = runtime.log.partition_of(subject)
    question, given = _question(request)
    async with views_of(request).resident(subject) as view:
        names = await names_of(view, words)
        held = await held_back(view, subject, runtime.clock())
        found = await log.page(view, subject, partition, question, held)
        findings = await _findings_of(view, partition, found.rows, held)
    lines = [_line(row, findings.get(row.position.offset), names, words) for row in found.rows]
    context = {
        "visitor": visitor,
        "here": "log",
        "summary": await summary.of(request, subject, names),
        "days": [(day, list(some)) for day, some in groupby(lines, lambda line: line.time.astimezone(CITY).date())],
        "held": found.before,
        "given": {name: given.get(name, "") for name in LOG_FILTERS},
        "filtered": question.filtered,
        "services": sorted((names.service(source), source) for source in names.registered),
        "purposes": [(purpose.id, names.purpose(purpose.id)) for purpose in names.policy.purposes],
        "kinds": [kind for kind in KINDS if kind in JUDGED or kind in _SHOWN_KINDS],
        "outcomes": OUTCOMES,
        "next": None if found.following is None else _next_page(question.next_link(found.following), given),
        "limit": question.limit,
    }
    return site.page(request, "my/log.html", context)


@router.get("/my/entries/{position}")
async def my_entry(request: Request, position: str) -> Response:
    """One entry in full."""
    visitor, words = await signed_in(request, SELF), words_of(request)
    subject, at = _subject(visitor), _position(position)
    async with views_of(request).resident(subject) as view:
        names = await names_of(view, words)
        held = await held_back(view, subject, runtime_of(request).clock())
        record = await view.record(at)
        if record is None or record.subject != subject or held.of(record.source, record.id, record.body) is not None:
            raise NotFound("there is no such entry")
        history = await view.verdict_history(at, 0, _HISTORY)
        cited = _cited(history[-1].findings) if history else []
        own = {record.position for record in await view.records_at(at.partition, [place.offset for place in cited])}
    event = codec.read(record.body)
    verdict = history[-1] if history else None
    findings = [] if verdict is None else _findings(held.uncited(verdict.findings), names, words)
    context = {
        "visitor": visitor,
        "here": "log",
        "position": str(at),
        "event": event,
        "kind": event.kind,
        "sentence": sentence(event, names, words),
        "who": names.service(event.source),
        "categories": [names.category(c) for c in getattr(event.data, "categories", None) or ()],
        "purposes": _purposes(event.data, names),
        "occurred": record.occurred,
        "recorded": _moment(event.recordedtime) if isinstance(event.recordedtime, str) else None,
        "verdict": verdict,
        "findings": findings,
        # What it rests on may be a rule: that is in the policy, and no entry of theirs.
        "own": {str(place) for place in own},
        "history": [] if len(history) < 2 else [_change(row, words) for row in history],
    }
    return site.page(request, "my/entry.html", context)


@router.get("/my/entries/{position}/evidence")
async def my_evidence(request: Request, position: str) -> Response:
    """The evidence of an entry, as a file to keep."""
    await signed_in(request, SELF)
    return await evidence.get_evidence(request, position)


@router.get("/my/log.json")
async def my_log_json(request: Request) -> Response:
    """The newest entries as the API gives them."""
    visitor = await signed_in(request, SELF)
    reader = Reader(visitor.principal, "resident", own=True)
    response = await residents.answered(request, reader, _subject(visitor), "log")
    response.headers["content-disposition"] = 'attachment; filename="my-record.json"'
    return response


@router.get("/my/log.csv")
async def my_log_csv(request: Request) -> Response:
    """The newest entries as a table for a spreadsheet."""
    visitor, words = await signed_in(request, SELF), words_of(request)
    subject = _subject(visitor)
    partition = runtime_of(request).log.partition_of(subject)
    question = Question("/my/log.csv", limit=_DOWNLOAD_LIMIT)
    async with views_of(request).resident(subject) as view:
        names = await names_of(view, words)
        held = await held_back(view, subject, runtime_of(request).clock())
        found = await log.page(view, subject, partition, question, held)
        findings = await _findings_of(view, partition, found.rows, held)
    lines = [_line(row, findings.get(row.position.offset), names, words) for row in found.rows]
    headers = {"content-disposition": 'attachment; filename="my-record.csv"', "cache-control": "private, no-cache"}
    return Response(_csv(lines, words), 200, headers, "text/csv; charset=utf-8")


# --- how it is shown --------------------------------------------------------------------------------------------

_SHOWN_KINDS = ("consent.given", "consent.withdrawn", "log.viewed", "incident.reported", "data.erased")


def _subject(visitor: Visitor) -> str:
    assert visitor.session.subject is not None, "a resident has a pseudonym"
    return visitor.session.subject


def _question(request: Request) -> tuple[Question, dict[str, str]]:
    """What is asked for, and the form's fields as they were given. Days are the city's; empty fields ask nothing."""
    given = {name: value for name, value in request.query_params.items() if value and name in (*LOG_FILTERS, "cursor")}
    query = []
    for name, value in given.items():
        if name in ("from", "to"):
            value = _midnight(value, name)
        query.append((name, value))
    return Question.parse("/my", [*query, ("limit", str(_PAGE))], LOG_FILTERS), given


def _midnight(text: str, name: str) -> str:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise Malformed([], f"{name} is a day such as 2026-06-03") from None
    if name == "to":
        day += timedelta(days=1)  # through the end of the day that was named
    return datetime.combine(day, time(), CITY).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _next_page(link: str, given: dict[str, str]) -> str:
    """The address of the next page: the form's own fields, in which days are days, and where this page ended."""
    [cursor] = parse_qs(urlsplit(link[1:].partition(">")[0]).query)["cursor"]
    return "/my?" + urlencode({**given, "cursor": cursor})


async def _findings_of(view: View, partition: int, rows: Iterable[LogEntry], held: HeldBack) -> dict[int, str]:
    """The findings of the judged entries of a page, by offset, without the places of what is held back."""
    found = await view.findings(partition, [row.position.offset for row in rows if row.outcome is not None])
    return {offset: held.uncited(text) for offset, text in found.items()}


def _line(row: LogEntry, findings: str | None, names: Names, words: Words) -> Line:
    event = codec.read(row.body)
    main = None if findings is None else _main(orjson.loads(findings))
    return Line(
        str(row.position),
        row.occurred,
        row.kind,
        sentence(event, names, words),
        None if main is None else said_to_you(main, words),
        None if main is None else main["statement"],
        row.outcome,
        row.outcome != row.first_outcome,
    )


def _cited(findings: str) -> list[Position]:
    """The records that a verdict rests on."""
    return [Position.parse(place) for finding in orjson.loads(findings) for place in finding["evidence"]]


_WEIGHT = {"violated": 0, "unknown": 1, "holds": 2, "caution": 3}


def _main(findings: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The finding that says most: what was violated, else what cannot be told, else why it was allowed."""
    rules = [f for f in findings if f["rule"] not in ("policy-in-force", "evidence")] or findings
    weighed = sorted(rules, key=lambda f: (_WEIGHT[f["result"]], f["rule"] != "purpose-limitation"))
    return weighed[0] if weighed else None


def _findings(text: str, names: Names, words: Words) -> list[dict[str, Any]]:
    """The findings with their words, and the policy's text of the statement that each rests on."""
    return [
        {
            **finding,
            "said": said_to_you(finding, words),
            "about": [names.category(category) for category in finding["categories"]],
            "policy": None if finding["statement"] is None else names.statement(finding["statement"]),
        }
        for finding in orjson.loads(text)
    ]


def _purposes(data: Any, names: Names) -> list[tuple[str, str]]:
    listed = getattr(data, "purposes", None) or ((data.purpose,) if hasattr(data, "purpose") else ())
    return [(purpose, names.purpose(purpose)) for purpose in listed]


def _change(row: Verdict, words: Words) -> dict[str, Any]:
    main = _main(orjson.loads(row.findings))
    return {
        "outcome": row.outcome,
        "said": None if main is None else said_to_you(main, words),
        "from": str(Position(row.position.partition, row.known_from)),
    }


def _moment(text: str) -> datetime:
    return datetime.fromtimestamp(codec.instant(text) / 1_000_000, UTC)


def _position(text: str) -> Position:
    try:
        return Position.parse(text)
    except Malformed:
        raise NotFound("there is no such entry") from None


def _csv(lines: Iterable[Line], words: Words) -> bytes:
    """A table that spreadsheets read: a byte order mark tells them that it is UTF-8."""
    table = csv_line(
        ["position", "time", "kind", words.text("What happened"), words.text("Was it allowed?"), "outcome"]
    )
    for line in lines:
        moment = line.time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        table += csv_line((line.position, moment, line.kind, line.sentence, line.why, line.outcome))
    return ("\ufeff" + table).encode()

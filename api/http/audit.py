"""`GET /v1/audit/summary` and `/v1/audit/verdicts`, for auditors: how many verdicts, and which; never about whom.

    GET /v1/audit/summary?from=2026-03-01T00:00:00Z&period=day
    {"judged": 40, "consistent": 31, …, "by_purpose": [{"purpose": "4.2", …}], "complete_through": ["0-41", "1-77"], …}
    GET /v1/audit/verdicts?outcome=inconsistent
    {"verdicts": [{"position": "3-17", "service": "/services/permits", "outcome": "inconsistent", …}]}
    Link: </v1/audit/verdicts?outcome=inconsistent&cursor=…>; rel="next"

A line says where a verdict stands and why it is what it is, but neither the resident nor the event's id, so that a list
is no read of anybody's log; whoever follows a position to its record is recorded there (docs/decisions/0014). A page
may be short, or empty, and still have a next one: it looks at so many verdicts and no more.
"""

from collections.abc import Mapping
from typing import Any

import orjson
from fastapi import APIRouter, Request
from starlette.responses import Response

from api.http import problems
from api.http.paging import LOG_FILTERS, Place, Question, described, only, written
from api.http.reading import COMPLETE_THROUGH, answer, etag
from api.http.runtime import principal_of
from api.http.views import views_of, wait_for_views
from ledger.authority import AUDIT_READ
from ledger.errors import Forbidden, Malformed, Problem
from ledger.events import JUDGED
from ledger.log import Position
from projections import audit
from projections.answers import Filters
from projections.summary import PERIODS

FILTERS = LOG_FILTERS
_DEFAULT_PERIOD = "month"
_RETRY_AFTER_S = 60
_MOST_IN_HEADER = 200
_REFUSALS: dict[int | str, dict[str, Any]] = {
    200: {"description": "docs/spec/audit.md"},
    304: {"description": "the reader has it already"},
    401: {"description": "no or bad token"},
    403: {"description": f"the scope {AUDIT_READ} is missing"},
    422: {"description": "a parameter that is not understood"},
    503: {"description": "not there yet, a part is down, or the period is too long to be counted"},
}

router = APIRouter()


@router.get(
    "/v1/audit/summary",
    summary="Verdicts counted by outcome, purpose, service, kind and period; complaints",
    response_class=Response,
    responses=_REFUSALS,
    openapi_extra=described(*FILTERS, "period"),
)
async def get_summary(request: Request) -> Response:
    """Counts of the verdicts known now. Of the filters, complaints heed from, to and service alone."""
    await _auditor(request)
    query = request.query_params.multi_items()
    period = only(query, (*FILTERS, "period")).get("period", _DEFAULT_PERIOD)
    filters = _filters(_question(request, [pair for pair in query if pair[0] != "period"], period))
    await wait_for_views(request)
    try:
        async with views_of(request).auditor() as view:
            found = await audit.summary(view, filters, period)
            reach = _reach(await view.projected())
            halted = [{"position": str(row.position), "code": row.code} for row in await view.halted()]
    except audit.TooMuch:
        refused = problems.document(problems.UNAVAILABLE, [Problem("from", "period-too-long")])
        return problems.response(refused, {"retry-after": str(_RETRY_AFTER_S)})
    body = orjson.dumps({**found.json(), "period": period, "complete_through": reach, "halted": halted})
    return answer(request, body, etag(body), _complete_through(reach))


@router.get(
    "/v1/audit/verdicts",
    summary="The verdicts known now, in log order, without whom they are about",
    response_class=Response,
    responses=_REFUSALS,
    openapi_extra=described(*FILTERS, "limit", "cursor"),
)
async def get_verdicts(request: Request) -> Response:
    """A page of verdicts. It may be short, and the last one alone has no `Link`."""
    await _auditor(request)
    question = _question(request, request.query_params.multi_items(), _DEFAULT_PERIOD)
    # A cursor holds a time and an offset; here the partition stands in the place of the time.
    after = None if question.after is None else Position(question.after.instant, question.after.offset)
    await wait_for_views(request)
    async with views_of(request).auditor() as view:
        found = await audit.verdicts(view, _filters(question), after, question.limit)
        reach = _reach(await view.projected())
    headers = dict(_complete_through(reach))
    if found.following is not None:
        headers["link"] = question.next_link(Place(found.following.partition, found.following.offset))
    body = orjson.dumps({"verdicts": [_line(line) for line in found.lines]})
    return answer(request, body, etag(body), headers)


async def _auditor(request: Request) -> None:
    if not (await principal_of(request)).has(AUDIT_READ):
        raise Forbidden("scope", f"an audit needs the scope {AUDIT_READ}")


def _question(request: Request, query: list[tuple[str, str]], period: str) -> Question:
    """The query, checked whole; raises `Malformed`."""
    found: list[Problem] = [] if period in PERIODS else [Problem("period", "unknown-value")]
    try:
        question = Question.parse(request.url.path, query, FILTERS, JUDGED)
    except Malformed as error:
        raise Malformed([*found, *error.problems], "the query is not one that is understood") from None
    if question.after is not None and (question.after.name or question.after.instant >= 2**31):
        found.append(Problem("cursor", "cursor"))
    if found:
        raise Malformed(found, "the query is not one that is understood")
    return question


def _filters(question: Question) -> Filters:
    texts = question.filters
    return Filters(
        question.since,
        question.until,
        texts.get("service"),
        texts.get("purpose"),
        texts.get("outcome"),
        texts.get("kind"),
    )


def _reach(projected: Mapping[int, int]) -> list[str]:
    """For each partition of which the views hold anything, the position that they are complete through."""
    return [str(Position(partition, offset - 1)) for partition, offset in sorted(projected.items()) if offset > 0]


def _complete_through(reach: list[str]) -> Mapping[str, str]:
    return {COMPLETE_THROUGH: ", ".join(reach)} if 0 < len(reach) <= _MOST_IN_HEADER else {}


def _line(line: audit.Line) -> dict[str, Any]:
    codes = [f"{finding['rule']}/{finding['result']}/{finding['code']}" for finding in orjson.loads(line.findings)]
    return {
        "position": str(line.position),
        "service": line.source,
        "kind": line.kind,
        "time": written(line.occurred),
        "purposes": line.purposes,
        "outcome": line.outcome,
        "first_outcome": line.first_outcome,
        "codes": codes,
    }

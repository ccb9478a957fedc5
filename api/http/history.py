"""`GET /v1/records/{P-O}/history`: every verdict that the event has had, from when to when, and what changed it.

    GET /v1/records/3-1041/history
    {"position": "3-1041", "source": "/services/permits", "id": "e7", "kind": "data.used", "subject": "res_7f2c",
     "verdicts": [
       {"known_from": "3-1041", "known_until": "3-1050", "current": false, "outcome": "consistent", "findings": […], …,
        "brought_by": {"position": "3-1041", "kind": "data.used", "source": "/services/permits", "time": …}},
       {"known_from": "3-1050", "known_until": null, "current": true, "outcome": "inconsistent", "findings": […], …,
        "brought_by": {"position": "3-1050", "kind": "consent.withdrawn", "source": "/my", "time": …},
        "changed": {"outcome": {"from": "consistent", "to": "inconsistent"}, "came": […], "went": […], "altered": []}}]}

Oldest first, in pages (`Link`). For auditors, and for the resident whose event it is; an auditor's read is recorded
first, as `history/P-O`. The record that brought a verdict is named by kind, source and time, a rule too: its resident
gets it in an evidence bundle as well. What a law holds back from them is not: neither its place nor its kind, and where
it changed nothing that they may see, two verdicts are one.

>>> changes([{"rule": "r", "result": "holds", "code": "c", "evidence": ["3-1"]}],
...         [{"rule": "r", "result": "holds", "code": "c", "evidence": ["3-2"]}])["altered"][0]["evidence"]
['3-2']
"""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from fastapi import APIRouter, Request
from starlette.responses import Response

from api.http.paging import Place, Question, described
from api.http.reading import announce, answer, complete_through, etag
from api.http.records import REFUSALS, held_from, instead_of, none_such, readable
from api.http.runtime import runtime_of
from api.http.views import views_of
from api.http.withheld import HeldBack, held_back, withheld_json
from ledger import codec
from ledger.events import JUDGED
from ledger.log import Position
from projections.rows import Record, Verdict, Withheld

router = APIRouter()
_Finding = Mapping[str, Any]


@router.get(
    "/v1/records/{position}/history",
    summary="Every verdict that the event has had, and what changed it",
    response_class=Response,
    responses=REFUSALS,
    openapi_extra=described("limit", "cursor"),
)
async def get_history(request: Request, position: str) -> Response:
    """The verdicts on the event at a position, oldest first."""
    question = Question.parse(request.url.path, request.query_params.multi_items(), ())
    found = await readable(request, position)
    if isinstance(found, Response):
        return found
    reader, record = found
    at = record.position
    # Before it is recorded and answered: that there is no history would tell of what is held back.
    instead = instead_of(request, record, await held_from(request, reader))
    if instead is not None:
        return instead
    if record.subject is not None:
        await announce(request, reader, record.subject, f"history/{at}")
    if record.kind not in JUDGED:
        return none_such("not-judged")
    async with views_of(request).auditor() as view:
        reached = (await view.projected()).get(at.partition, 0)
        after = -1 if question.after is None else question.after.offset
        # From the page before its last verdict, which the first of this one is compared with, to one of the next page.
        verdicts = await view.verdict_history(at, after, question.limit + 2)
        brought = await view.records_at(at.partition, [verdict.known_from for verdict in verdicts])
        held = await held_back(view, reader.subject, runtime_of(request).clock()) if reader.own else HeldBack()
    last = question.limit + (question.after is not None)
    bringers = {each.position.offset: each for each in brought}
    following = None
    if len(verdicts) > last:
        # A cursor can be read, so a page ends at no record that is held back.
        while last > 1 and _held_by(bringers[verdicts[last - 1].known_from], held) is not None:
            last -= 1
        following = Place(0, verdicts[last - 1].known_from)
    shown = told(verdicts[:last], bringers, held)
    if question.after is not None:
        shown = shown[1:]
    body = orjson.dumps(
        {
            "position": str(at),
            "source": record.source,
            "id": record.id,
            "kind": record.kind,
            "subject": record.subject,
            "as_of": codec.read(record.body).time,
            "verdicts": shown,
        }
    )
    headers = complete_through(at.partition, reached)
    if following is not None:
        headers["link"] = question.next_link(following)
    return answer(request, body, etag(body), headers)


def told(verdicts: Sequence[Verdict], brought: Mapping[int, Record], held: HeldBack) -> list[dict[str, Any]]:
    """The verdicts as one sees them from whom this is held back, each with what changed since the one before."""
    shown: list[dict[str, Any]] = []
    for verdict in verdicts:
        one = _told(verdict, brought[verdict.known_from], held)
        before = shown[-1] if shown else None
        if before is not None:
            changed = changes(before["findings"], one["findings"])
            outcome = None
            if before["outcome"] != one["outcome"]:
                outcome = {"from": before["outcome"], "to": one["outcome"]}
            if bool(held) and outcome is None and not any(changed.values()):
                before |= {name: one[name] for name in ("known_until", "current")}
                continue
            one["changed"] = {"outcome": outcome, **changed}
        shown.append(one)
    return shown


def _told(verdict: Verdict, record: Record, held: HeldBack) -> dict[str, Any]:
    by = _held_by(record, held)
    until_held = verdict.known_until is not None and held.at(verdict.known_until) is not None
    partition = verdict.position.partition
    policy = {"policy_id": verdict.policy_id, "version": verdict.policy_version}
    event = codec.read(record.body)
    return {
        "known_from": None if by else str(Position(partition, verdict.known_from)),
        "known_until": _position(partition, None if until_held else verdict.known_until),
        "current": verdict.known_until is None,
        "outcome": verdict.outcome,
        "first_outcome": verdict.first_outcome,
        "basis": verdict.basis,
        "findings": orjson.loads(held.uncited(verdict.findings)),
        "policy": None if verdict.policy_id is None else policy,
        "brought_by": withheld_json(by)
        if by
        else {
            "position": str(record.position),
            "kind": record.kind,
            "source": record.source,
            "time": event.time,
            "recordedtime": event.recordedtime if isinstance(event.recordedtime, str) else None,
        },
        "changed": None,
    }


def _held_by(record: Record, held: HeldBack) -> Withheld | None:
    return held.at(record.position.offset) or held.of(record.source, record.id, record.body)


def _position(partition: int, offset: int | None) -> str | None:
    return None if offset is None else str(Position(partition, offset))


def changes(before: Sequence[_Finding], after: Sequence[_Finding]) -> dict[str, list[_Finding]]:
    """The findings that came, went, and stayed with other categories or evidence (as they are now)."""
    old, new = ({_key(finding): finding for finding in findings} for findings in (before, after))
    return {
        "came": [finding for key, finding in new.items() if key not in old],
        "went": [finding for key, finding in old.items() if key not in new],
        "altered": [finding for key, finding in new.items() if key in old and old[key] != finding],
    }


def _key(finding: _Finding) -> tuple[str, str, str]:
    return finding["rule"], finding["result"], finding["code"]

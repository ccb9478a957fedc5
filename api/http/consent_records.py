"""`GET /v1/me/consents/{consent_id}/record`: one consent to keep, under the field names of ISO/IEC TS 27560.

    GET /v1/me/consents/c1/record     application/ld+json
    {"@context": {…}, "@type": "dpv:ConsentRecord", "record_id": "c1", "purposes": [{"purpose_id": "4.7",
     "purpose_type": "dpv:DirectMarketing", …}], "parties": […], "events": [{"event_state": "dpv:ConsentGiven", …}]}

What it says is `ledger.consent_record`'s. Its events are the latest giving and, where it has ended, its withdrawal or
expiry; every earlier one is in the resident's log.
"""

import msgspec
import orjson
from fastapi import APIRouter, Request
from starlette.responses import Response

from api.http.me_consents import policy_in_force
from api.http.me_schema import door, needs
from api.http.paging import described, microseconds, only
from api.http.paging import written as time_written
from api.http.reading import answer, etag
from api.http.runtime import runtime_of
from api.http.views import views_of, wait_for_views
from api.http.withheld import held_back
from api.http.writing import resident
from ledger import codec
from ledger.authority import SELF
from ledger.consent_record import EXPIRED, GIVEN, WITHDRAWN, Consented, Happened, Notice, consent_record
from ledger.errors import NotFound
from ledger.events import Id, NoticeGiven
from ledger.log import Position
from projections.answers import MAX_PAGE, Filters, View
from projections.cases import records
from projections.holdings import NO_POLICY
from projections.rows import Consent

LD_JSON = "application/ld+json"
_SAID = door(
    {
        200: {"description": "the record", "content": {LD_JSON: {"schema": {"type": "object"}}}},
        304: {"description": "the reader has it already"},
        404: {"description": "no such consent"},
        422: {"description": "a parameter that is not understood"},
    },
    (SELF,),
    described(),
)
assert _SAID["openapi_extra"]["security"] == needs(SELF)["security"]

router = APIRouter()


@router.get("/v1/me/consents/{consent_id}/record", summary="One consent, as ISO/IEC TS 27560 has it", **_SAID)
async def get_consent_record(request: Request, consent_id: str) -> Response:
    """See the module."""
    me = await resident(request)
    only(request.query_params.multi_items(), ())
    try:
        msgspec.convert(consent_id, Id)
    except msgspec.ValidationError:
        raise NotFound("there is no such consent") from None
    await wait_for_views(request)
    now_us = runtime_of(request).clock()
    async with views_of(request).resident(me.subject) as view:
        row = next((row for row in await view.consents(me.subject) if row.consent_id == consent_id), None)
        held = await held_back(view, me.subject, now_us)
        if row is None or row.purposes is None or held.at(row.since_offset, row.given_offset) is not None:
            raise NotFound("there is no such consent")
        consented, given_us = await _consented(view, me.subject, row, now_us)
        policy = await policy_in_force(view, row.partition, given_us)
    body = orjson.dumps(consent_record(consented, None if policy is NO_POLICY else policy.data))
    name = consent_id.replace(":", "_")
    headers = {"content-disposition": f'attachment; filename="consent-{name}.jsonld"'}
    return answer(request, body, etag(body), headers, media_type=LD_JSON)


async def _consented(view: View, subject: str, row: Consent, now_us: int) -> tuple[Consented, int]:
    """The consent with what happened to it, and when it was given (µs)."""
    assert row.given_offset is not None, "a consent that names purposes was given"
    bodies = await records(view, row.partition, {row.given_offset, row.since_offset})
    given = codec.read(bodies[row.given_offset])
    happened = [Happened(GIVEN, given.time, given.source, str(Position(row.partition, row.given_offset)))]
    expires_at = None if row.expires_at is None else time_written(row.expires_at)
    if row.state == "withdrawn":
        ended = codec.read(bodies[row.since_offset])
        happened.append(Happened(WITHDRAWN, ended.time, ended.source, str(row.position)))
    elif row.expires_at is not None and expires_at is not None and microseconds(row.expires_at) <= now_us:
        happened.append(Happened(EXPIRED, expires_at, None, None))
    consented = Consented(
        consent_id=row.consent_id,
        subject=subject,
        purposes=row.purposes or (),
        categories=row.categories,
        operations=row.operations,
        recipients=row.recipients,
        method=row.method,
        expires_at=expires_at,
        notice_id=row.notice_id,
        notice=None if row.notice_id is None else await _notice(view, subject, row.partition, row.notice_id),
        happened=happened,
    )
    return consented, codec.instant(given.time)


async def _notice(view: View, subject: str, partition: int, notice_id: str) -> Notice | None:
    """The notice that a consent names, if it is among the resident's latest."""
    for entry in (await view.log(subject, partition, Filters(kind="notice.given"), limit=MAX_PAGE)).entries:
        data = codec.read(entry.body).data
        if isinstance(data, NoticeGiven) and data.notice_id == notice_id:
            return Notice(notice_id, data.policy_version, data.language)
    return None

"""What a resident says of themselves: preferences, anonymity, contests, complaints, access requests.

    PUT /v1/me/preferences/email     {"allowed": false}                        200 {"channel", "allowed", "changed", …}
    PUT /v1/me/anonymity             {"anonymous": true}                       200 {"anonymous", "changed", …}
    POST /v1/me/contests             {"categories": ["email"], "claim"}        201 {"contest_id", "position", "receipt"}
    POST /v1/me/complaints           {"kind": "question", "text", "about"?}    201 {"complaint_id", …}
    POST /v1/me/access-requests      {"kind": "review", "categories"?}         201 {"request_id", …}

A wish that is the state already appends nothing, and is answered with the record that made it so. A POST with an
`Idempotency-Key` is recorded once. Consents are in `api.http.me_consents`, erasure in `api.http.erasing`.
"""

import msgspec
from fastapi import APIRouter, Request
from starlette.responses import Response

from api.http import me_schema as schema
from api.http.bodies import MAX_TEXT_BODY_BYTES, json_body, optional_idempotency_key
from api.http.paging import microseconds
from api.http.runtime import runtime_of
from api.http.views import views_of
from api.http.writing import (
    Done,
    Me,
    event_id,
    event_of,
    later,
    receipt_for,
    record_all,
    record_once,
    resident,
    turn,
    written,
)
from ledger import events as e
from ledger.errors import Malformed, Problem
from projections.rows import Anonymity, Preference

router = APIRouter()


@router.put("/v1/me/preferences/{channel}", summary="Allow or forbid a channel", **schema.PUT_PREFERENCE)
async def put_preference(request: Request, channel: str) -> Response:
    """Whether messages on this channel are allowed."""
    me = await resident(request)
    try:
        msgspec.convert(channel, e.Identifier)
    except msgspec.ValidationError:
        raise Malformed([Problem("channel", "pattern")], "a channel is an identifier") from None
    wish = await json_body(request, schema.PreferenceWish)
    if isinstance(wish, Response):
        return wish
    async with turn(request, me.subject):
        async with views_of(request).resident(me.subject) as view:
            rows = [row for row in await view.preferences(me.subject) if row.channel == channel]
        is_so = bool(rows) and rows[0].allowed is wish.allowed
        data = e.PreferenceSet(channel=channel, allowed=wish.allowed)
        done = await _state(request, me, rows[0] if rows else None, is_so, "preference.set", data)
    return written({"channel": channel, "allowed": wish.allowed, "changed": not is_so}, done)


@router.put("/v1/me/anonymity", summary="Engage anonymously, or no longer", **schema.PUT_ANONYMITY)
async def put_anonymity(request: Request) -> Response:
    """Whether the resident engages anonymously."""
    me = await resident(request)
    wish = await json_body(request, schema.AnonymityWish)
    if isinstance(wish, Response):
        return wish
    async with turn(request, me.subject):
        async with views_of(request).resident(me.subject) as view:
            row = await view.anonymity(me.subject)
        is_so = wish.anonymous is (row is not None and row.anonymous)
        kind = "anonymity.chosen" if wish.anonymous else "anonymity.ended"
        data = e.AnonymityChosen() if wish.anonymous else e.AnonymityEnded()
        done = await _state(request, me, row, is_so, kind, data)
    return written({"anonymous": wish.anonymous, "changed": not is_so}, done)


async def _state(
    request: Request, me: Me, row: Preference | Anonymity | None, is_so: bool, kind: str, data: e.Data
) -> Done:
    """Makes a wish the state; where it is, the record that says so."""
    if is_so:
        return await receipt_for(request, [] if row is None else [row.position])
    now = later(runtime_of(request), *(() if row is None else (microseconds(row.since),)))
    return await record_all(request, me.principal, [event_of(kind, me.subject, event_id(me.subject, None), data, now)])


@router.post("/v1/me/contests", summary="Say that what is held is wrong or incomplete", **schema.FILE_CONTEST)
async def post_contest(request: Request) -> Response:
    """A contest: until it is resolved, uses of these categories carry a caution."""
    me = await resident(request)
    key = optional_idempotency_key(request)
    body = await json_body(request, schema.Contest, MAX_TEXT_BODY_BYTES)
    if isinstance(body, Response):
        return body
    new = event_id(me.subject, key)
    data = e.DataContested(contest_id=new, categories=body.categories, claim=body.claim)
    return await _opened(request, me, "data.contested", "contest_id", new, data)


@router.post("/v1/me/complaints", summary="Complain, ask or comment", **schema.FILE_COMPLAINT)
async def post_complaint(request: Request) -> Response:
    """It reaches the Information Security Office's queue."""
    me = await resident(request)
    key = optional_idempotency_key(request)
    body = await json_body(request, schema.Complaint, MAX_TEXT_BODY_BYTES)
    if isinstance(body, Response):
        return body
    new = event_id(me.subject, key)
    data = e.ComplaintFiled(complaint_id=new, kind=body.kind, about=body.about, text=body.text)
    return await _opened(request, me, "complaint.filed", "complaint_id", new, data)


@router.post("/v1/me/access-requests", summary="Ask to see or update what is held", **schema.ASK_ACCESS)
async def post_access_request(request: Request) -> Response:
    """A wish that staff answer."""
    me = await resident(request)
    key = optional_idempotency_key(request)
    body = await json_body(request, schema.AccessWish)
    if isinstance(body, Response):
        return body
    new = event_id(me.subject, key)
    data = e.AccessRequested(request_id=new, kind=body.kind, categories=body.categories)
    return await _opened(request, me, "access.requested", "request_id", new, data)


async def _opened(request: Request, me: Me, kind: str, name: str, new: str, data: e.Data) -> Response:
    done = await record_once(request, me.principal, lambda now: event_of(kind, me.subject, new, data, now))
    return written({name: new}, done, 201)

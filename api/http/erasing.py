"""Erasure: a resident's own at once, an operator's once a second operator has approved it.

    POST /v1/me/erasure            {"categories"?}            200 done, 202 while it is carried out
    POST /v1/erasures              {"subject", "categories"?} 202 {"erasure_id", "state": "awaiting-approval"}
    POST /v1/erasures/{id}/approval   {}                      by another operator: 200 done, 202 in progress
    DELETE /v1/erasures/{id}                                  withdraws it, while it waits
    GET /v1/erasures?state=&limit=, /v1/erasures/{id}         for operators

The asking POSTs need an `Idempotency-Key`: the same key with the same body gives the same erasure, as far as it is by
then; with another body 422. A resident's new key names the erasure of the same that is in progress, if there is one. An
operator is a client and, where the issuer names one, a person (`sub`): who approves must differ from who asked in both.
What happens then is `ledger.erasing.eraser`'s; these doors only note what is wanted.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import msgspec
from fastapi import APIRouter, Request
from msgspec import UNSET, UnsetType
from starlette.responses import Response

from api.http import erasing_schema as schema
from api.http import problems
from api.http.bodies import idempotency_key, json_body
from api.http.events import json
from api.http.paging import Place, Question
from api.http.runtime import principal_of, runtime_of
from api.http.views import catch_up, views_of
from ledger import codec
from ledger.authority import OPERATE, SELF, Principal
from ledger.erasing.erasure import AWAITING, DONE, IN_PROGRESS, STATES, WITHDRAWN, Asked, Erasure
from ledger.errors import Forbidden, Malformed, NotFound, Problem
from ledger.events import Id

ANSWERED_WITHIN_S = 5.0
_LOOK_AFTER_S, _LOOK_AT_LEAST_EVERY_S = 0.05, 0.5
_STATE = problems.Kind("erasure-state", 409, "The erasure is not in a state that allows this.")


router = APIRouter()


@router.post("/v1/me/erasure", summary="Erase what is held of me", **schema.ASK_MINE)
async def erase_mine(request: Request) -> Response:
    """The resident's own erasure: nobody has to approve it."""
    principal = await principal_of(request)
    if not principal.has(SELF) or principal.subject is None:
        raise Forbidden("scope", f"this needs the scope {SELF}")
    key = idempotency_key(request)
    body = await json_body(request, schema.Mine)
    if isinstance(body, Response):
        return body
    new = _new(request, principal, principal.subject, body.categories, IN_PROGRESS)
    found = await asyncio.to_thread(runtime_of(request).erasures.ask, Asked(new, f"/my/{principal.subject}", key))
    if _differs(found, new):
        raise problems.KeyReused("this idempotency key was used for something else: send a new one")
    return _answer(await _carried_out(request, found), _shown_to_resident)


@router.post("/v1/erasures", summary="Ask for a resident's erasure, as an operator", **schema.ASK_THEIRS)
async def erase_theirs(request: Request) -> Response:
    """An operator's: it waits for the approval of another."""
    principal = await _operator(request)
    key = idempotency_key(request)
    body = await json_body(request, schema.Theirs)
    if isinstance(body, Response):
        return body
    await _must_exist(request, body.subject)
    new = _new(request, principal, body.subject, body.categories, AWAITING)
    person = await _person(request, principal)
    asked = Asked(new, f"/operator/{principal.client_id}", key, person)
    found = await asyncio.to_thread(runtime_of(request).erasures.ask, asked)
    if _differs(found, new):
        raise problems.KeyReused("this idempotency key was used for something else: send a new one")
    return _answer(found)


@router.post("/v1/erasures/{erasure_id}/approval", summary="Approve another operator's erasure", **schema.APPROVE)
async def approve(request: Request, erasure_id: str) -> Response:
    """The second operator's word: the erasure is carried out."""
    principal = await _operator(request)
    body = await json_body(request, schema.Nothing)
    if isinstance(body, Response):
        return body
    runtime = runtime_of(request)
    erasure = await _existing(request, erasure_id)
    if erasure.asked_by == principal.client_id:
        raise Forbidden("same-client", "another operator has to approve: this client asked for it")
    if await asyncio.to_thread(runtime.erasures.person, erasure_id) == await _person(request, principal):
        raise Forbidden("same-person", "another operator has to approve: this person asked for it")
    now = codec.rfc3339(runtime.clock())
    await asyncio.to_thread(runtime.erasures.approve, erasure_id, principal.client_id, now)
    erasure = await _existing(request, erasure_id)
    if erasure.approved_by != principal.client_id:
        return _not_now(erasure)
    return _answer(await _carried_out(request, erasure))


@router.delete("/v1/erasures/{erasure_id}", summary="Withdraw an erasure that waits for approval", **schema.WITHDRAW)
async def withdraw(request: Request, erasure_id: str) -> Response:
    """Any operator may, until it is approved."""
    await _operator(request)
    await _existing(request, erasure_id)
    await asyncio.to_thread(runtime_of(request).erasures.withdraw, erasure_id)
    erasure = await _existing(request, erasure_id)
    return _answer(erasure) if erasure.state == WITHDRAWN else _not_now(erasure)


@router.get("/v1/erasures", summary="Erasures, the newest first", **schema.LIST)
async def list_erasures(request: Request) -> Response:
    """Who asked for what, and how far it is: pseudonyms, and nothing else of anybody."""
    await _operator(request)
    question = Question.parse(request.url.path, request.query_params.multi_items(), ("state",))
    state = question.filters.get("state")
    if state is not None and state not in STATES:
        raise Malformed([Problem("state", "unknown-value")], f"a state is one of {', '.join(STATES)}")
    after = None if question.after is None else (codec.rfc3339(question.after.instant), question.after.name)
    found = await asyncio.to_thread(runtime_of(request).erasures.page, state, after, question.limit + 1)
    response = json({"erasures": [_shown(erasure) for erasure in found[: question.limit]]})
    if len(found) > question.limit:
        last = found[question.limit - 1]
        place = Place(codec.instant(last.asked_time), 0, last.erasure_id)
        response.headers["link"] = question.next_link(place)
    return response


@router.get("/v1/erasures/{erasure_id}", summary="One erasure", **schema.ONE)
async def one_erasure(request: Request, erasure_id: str) -> Response:
    """How far it is."""
    await _operator(request)
    return json(_shown(await _existing(request, erasure_id)))


# --- what is asked --------------------------------------------------------------------------------------------


async def _operator(request: Request) -> Principal:
    principal = await principal_of(request)
    if not principal.has(OPERATE):
        raise Forbidden("scope", f"this needs the scope {OPERATE}")
    return principal


async def _person(request: Request, principal: Principal) -> bytes:
    """The person behind an operator's client, under the vault's map key: comparable, and no name of anybody."""
    person = principal.person or principal.client_id
    return await asyncio.to_thread(runtime_of(request).logins.sealed, ["operator", person])


def _new(
    request: Request, principal: Principal, subject: str, categories: tuple[str, ...] | UnsetType, state: str
) -> Erasure:
    now = codec.rfc3339(runtime_of(request).clock())
    return Erasure(
        erasure_id=uuid4().hex,
        subject=subject,
        categories=None if categories is UNSET else categories,
        state=state,
        asked_by=principal.client_id,
        asked_time=now,
        requested_time=now if state == IN_PROGRESS else None,
    )


def _differs(found: Erasure, new: Erasure) -> bool:
    return (found.subject, found.categories) != (new.subject, new.categories)


async def _must_exist(request: Request, subject: str) -> None:
    """Raises `NotFound` for a resident that nothing is known of: an operator's slip must not make one."""
    for last_look in (False, True):
        async with views_of(request).auditor(once=True) as view:
            if await view.knows(subject):
                return
        if not last_look:
            if await asyncio.to_thread(runtime_of(request).erasures.knows, subject):
                return
            await catch_up(request)
    raise NotFound("the ledger has nothing about this resident")


async def _existing(request: Request, erasure_id: str) -> Erasure:
    try:
        msgspec.convert(erasure_id, Id)
    except msgspec.ValidationError:
        raise NotFound("there is no such erasure") from None
    erasure = await asyncio.to_thread(runtime_of(request).erasures.get, erasure_id)
    if erasure is None:
        raise NotFound("there is no such erasure")
    return erasure


# --- what is answered -----------------------------------------------------------------------------------------


async def _carried_out(request: Request, erasure: Erasure) -> Erasure:
    """The erasure once it is done, or as far as it is after 5 seconds."""
    runtime = runtime_of(request)
    deadline_s = time.monotonic() + ANSWERED_WITHIN_S
    runtime.eraser.kick()
    wait_s = _LOOK_AFTER_S
    while erasure.state == IN_PROGRESS and time.monotonic() < deadline_s:
        await asyncio.sleep(wait_s)
        wait_s = min(2 * wait_s, _LOOK_AT_LEAST_EVERY_S)
        erasure = await _existing(request, erasure.erasure_id)
    return erasure


def _shown_to_resident(erasure: Erasure) -> dict[str, Any]:
    position = erasure.erased or erasure.requested
    return {
        "erasure_id": erasure.erasure_id,
        "state": erasure.state,
        "categories": erasure.categories,
        "position": None if position is None else str(position),
        "receipt": erasure.receipt,
    }


def _shown(erasure: Erasure) -> dict[str, Any]:
    return {
        **_shown_to_resident(erasure),
        "subject": erasure.subject,
        "asked_by": erasure.asked_by,
        "asked_at": erasure.asked_time,
        "approved_by": erasure.approved_by,
    }


def _answer(erasure: Erasure, shown: Callable[[Erasure], dict[str, Any]] = _shown) -> Response:
    return json(shown(erasure), 200 if erasure.state in (DONE, WITHDRAWN) else 202)


def _not_now(erasure: Erasure) -> Response:
    return problems.response(problems.document(_STATE, [Problem("/state", erasure.state)]))

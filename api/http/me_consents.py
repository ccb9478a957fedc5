"""`PUT /v1/me/consents`: a resident gives a consent, or withdraws every one that covers a purpose.

    PUT /v1/me/consents  {"purpose": "4.7", "given": false}
    200 {"purpose": "4.7", "given": false, "changed": true, "consent_id": null,
         "withdrawn": [{"consent_id": "c1", "position": "3-43"}],
         "given_again": [{"consent_id": "a-5c…", "instead_of": "c1", "purposes": ["4.3"], "position": "3-42"}],
         "position": "3-43", "receipt": "consent-ledger/receipt/v1\n…"}

What ends and what is given again is decided by `ledger.wishes`. The givings stand before the withdrawals, at the same
time: at no moment is anything lost, and a request cut short between them is finished by sending it again, since the id
of a giving is made from the consent that it stands for. A wish that is the state already appends nothing.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import orjson
from fastapi import APIRouter, Request
from msgspec import UNSET
from starlette.responses import Response

from api.http import me_schema as schema
from api.http.bodies import json_body
from api.http.paging import microseconds
from api.http.runtime import runtime_of
from api.http.views import views_of
from api.http.writing import Me, event_id, event_of, later, receipt_for, record_all, resident, turn, written
from ledger import codec
from ledger import events as e
from ledger.errors import Malformed, Problem
from ledger.facts import Coverage
from ledger.log import Position
from ledger.policy import Policy
from ledger.wishes import Again, Held, remaining, standing, withdrawal
from projections.answers import View
from projections.holdings import NO_POLICY
from projections.rows import Consent

METHOD = "my"
"""How a consent was given that came through this door."""
_ONLY_GIVEN = ("categories", "recipients", "expires_at")

router = APIRouter()


@router.put("/v1/me/consents", summary="Give a consent, or withdraw all that cover a purpose", **schema.PUT_CONSENT)
async def put_consent(request: Request) -> Response:
    """See the module."""
    me = await resident(request)
    wish = await json_body(request, schema.ConsentWish)
    if isinstance(wish, Response):
        return wish
    _check(wish, runtime_of(request).clock())
    async with turn(request, me.subject):
        partition = runtime_of(request).log.partition_of(me.subject)
        async with views_of(request).resident(me.subject) as view:
            rows = await view.consents(me.subject)
            policy = await policy_in_force(view, partition, runtime_of(request).clock())
        act = _give if wish.given else _withdraw
        return await act(request, me, wish, rows, policy)


def _check(wish: schema.ConsentWish, now_us: int) -> None:
    found = []
    if not wish.given:
        found = [Problem(f"/{name}", "only-when-given") for name in _ONLY_GIVEN if getattr(wish, name) is not UNSET]
    elif wish.expires_at is not UNSET:
        try:
            if codec.instant(wish.expires_at) <= now_us:
                found = [Problem("/expires_at", "in-the-past")]
        except (ValueError, OverflowError):
            found = [Problem("/expires_at", "no-such-time")]
    if found:
        raise Malformed(found, "the body breaks the contract")


async def policy_in_force(view: View, partition: int, now_us: int) -> Policy:
    """The policy in force now in this partition; one without any purposes where none is."""
    found = [codec.read(fact.body.encode()).data for fact in await view.policies(partition)]
    # In the order of the log, so of those with one date the last one stays.
    in_force = [(codec.instant(data.effective_from), at, data) for at, data in enumerate(found)]
    in_force = [entry for entry in in_force if entry[0] <= now_us]
    return Policy(max(in_force, key=lambda entry: entry[:2])[2]) if in_force else NO_POLICY


def held_of(row: Consent) -> Held | None:
    """The consent as one that stands given, when it does."""
    if row.state != "given" or row.purposes is None or row.given_offset is None:
        return None
    lists = (None if ids is None else tuple(ids) for ids in (row.categories, row.operations, row.recipients))
    expires = None if row.expires_at is None else microseconds(row.expires_at)
    coverage = Coverage(tuple(row.purposes), *lists)
    return Held(row.consent_id, coverage, expires, row.given_offset, microseconds(row.since))


# --- given -----------------------------------------------------------------------------------------------------------


async def _give(
    request: Request, me: Me, wish: schema.ConsentWish, rows: Sequence[Consent], policy: Policy
) -> Response:
    runtime = runtime_of(request)
    expires = None if wish.expires_at is UNSET else codec.instant(wish.expires_at)
    coverage = Coverage((wish.purpose,), _or_none(wish.categories), None, _or_none(wish.recipients))
    is_so = standing(_active(rows, runtime.clock()), policy, coverage, expires)
    if is_so is not None:
        given = Position(runtime.log.partition_of(me.subject), is_so.given_offset)
        return written(_shown(wish, False, is_so.consent_id), await receipt_for(request, [given]))
    new = event_id(me.subject, None)
    data = e.ConsentGiven(
        consent_id=new,
        purposes=(wish.purpose,),
        categories=wish.categories,
        recipients=wish.recipients,
        method=METHOD,
        expires_at=wish.expires_at,
    )
    done = await record_all(request, me.principal, [event_of("consent.given", me.subject, new, data, later(runtime))])
    return written(_shown(wish, True, new), done)


# --- withdrawn -------------------------------------------------------------------------------------------------------


async def _withdraw(
    request: Request, me: Me, wish: schema.ConsentWish, rows: Sequence[Consent], policy: Policy
) -> Response:
    runtime = runtime_of(request)
    found = withdrawal(policy, _active(rows, runtime.clock()), wish.purpose)
    if not found.ends:
        return written(_shown(wish, False), await receipt_for(request, _withdrawn_by(rows, policy, wish.purpose)))
    now = later(runtime, *(held.since for held in found.ends))
    ended = {held.consent_id: held for held in found.ends}
    givings = [_again(me.subject, ended[again.of], again, wish.purpose, now) for again in found.again]
    endings = [
        event_of("consent.withdrawn", me.subject, event_id(me.subject, None), e.ConsentWithdrawn(consent_id=c), now)
        for c in ended
    ]
    done = await record_all(request, me.principal, [*givings, *endings])
    given_again = [
        {"consent_id": event.data.consent_id, "instead_of": again.of, "purposes": again.coverage.purposes}
        | {"position": str(position)}
        for event, again, position in zip(givings, found.again, done.positions, strict=False)
    ]
    withdrawn = [
        {"consent_id": consent_id, "position": str(position)}
        for consent_id, position in zip(ended, done.positions[len(givings) :], strict=True)
    ]
    return written(_shown(wish, True, None, withdrawn, given_again), done)


def _again(subject: str, held: Held, again: Again, purpose: str, now: str) -> e.Event:
    """The giving of what else an ended consent covered: the same one however often it is asked for."""
    named = [subject, held.consent_id, held.given_offset, purpose, *again.coverage, again.expires]
    new = f"a-{sha256(orjson.dumps(named)).hexdigest()[:40]}"
    data = e.ConsentGiven(
        consent_id=new,
        purposes=again.coverage.purposes,
        categories=_or_unset(again.coverage.categories),
        operations=_or_unset(again.coverage.operations),
        recipients=_or_unset(again.coverage.recipients),
        method=METHOD,
        expires_at=UNSET if again.expires is None else codec.rfc3339(again.expires),
    )
    return event_of("consent.given", subject, new, data, now)


def _withdrawn_by(rows: Sequence[Consent], policy: Policy, purpose: str) -> list[Position]:
    """The record by which the purpose was last withdrawn, where there is one."""
    ended = [
        row
        for row in rows
        if row.state == "withdrawn"
        and row.purposes
        and set(remaining(policy, tuple(row.purposes), purpose)) != {*row.purposes}
    ]
    return [max(row.position for row in ended)] if ended else []


def _active(rows: Sequence[Consent], now_us: int) -> list[Held]:
    return [held for row in rows if (held := held_of(row)) is not None and held.active(now_us)]


def _or_none(ids: Any) -> tuple[str, ...] | None:
    return None if ids is UNSET else ids


def _or_unset(ids: tuple[str, ...] | None) -> Any:
    return UNSET if ids is None else ids


def _shown(
    wish: schema.ConsentWish,
    changed: bool,
    consent_id: str | None = None,
    withdrawn: Sequence[dict[str, Any]] = (),
    given_again: Sequence[dict[str, Any]] = (),
) -> dict[str, Any]:
    return {
        "purpose": wish.purpose,
        "given": wish.given,
        "changed": changed,
        "consent_id": consent_id,
        "withdrawn": withdrawn,
        "given_again": given_again,
    }

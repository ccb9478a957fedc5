"""Signing in and out: residents and staff each by their own OpenID Connect provider; in `dev` also by one click.

    GET  /sign-in                 what there is to choose from, and the social providers' own policies
    GET  /sign-in/residents       off to the provider (`/sign-in/staff`: to the staff's); `?account=google` hints at one
    GET  /sign-in/back            from the provider: who is this?
    POST /sign-in/development     as a made-up person, where the settings say that this is for development
    POST /sign-out

A resident's login, (issuer, sub), leads to their pseudonym by the vault's map; nothing of the login enters a session,
the log or a log line. Staff have the roles that their provider's claim names. A first sign-in with a social account
records what the policy lets it give: name and email address, for registration and authentication.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import structlog
from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from api.city.people import PEOPLE
from api.city.places import SECURITY_OFFICE
from api.http.runtime import Runtime, runtime_of
from api.pages.site import language_of, site
from api.pages.visitor import (
    COOKIE,
    begin_session,
    check_origin,
    end_session,
    fields_of,
    form_of,
    own_path,
    visitor_of,
)
from api.provider import Provider, SignInRefused, fresh_secrets
from ledger.authority import AUDIT_READ, MY_SOURCE, OPERATE, SELF, Door, Principal
from ledger.codec import rfc3339
from ledger.errors import Conflict, ConsentLedgerError, Forbidden, NotFound, Unavailable
from ledger.events import EVENTS_WRITE, KINDS, RULES_WRITE, DataCollected, NoticeGiven
from ledger.policy import my_san_jose
from ledger.vault.sessions import Departure, Session

RESIDENTS, STAFF = "residents", "staff"
MY_CLIENT = "my-pages"
STAFF_CLIENT = "staff-pages"
SIGN_IN_COOKIE = "__Host-sign-in"
_SOCIAL_CLAIM = "identity_provider"
_log = structlog.get_logger("consent_ledger.sign_in")
router = APIRouter(include_in_schema=False)


class SocialAccount(NamedTuple):
    """A social account that residents may sign in with: the policy's id, its name, and its own privacy policy."""

    id: str
    name: str
    policy_url: str


SOCIAL_ACCOUNTS = (
    SocialAccount("google", "Google", "https://policies.google.com/privacy"),
    SocialAccount("facebook", "Facebook", "https://www.facebook.com/privacy/policy"),
    SocialAccount("twitter", "Twitter", "https://twitter.com/privacy"),
)
"""Those of the policy's paragraph on social accounts, which refers to their own policies."""


@router.get("/sign-in")
async def choose(request: Request) -> Response:
    """What there is to choose from."""
    settings = runtime_of(request).settings
    people = development_people() if settings.development_sign_in else ()
    context = {
        "visitor": await visitor_of(request),
        "residents": bool(settings.residents_issuer),
        "staff": bool(settings.staff_issuer),
        "social": SOCIAL_ACCOUNTS,
        "people": people,
        "then": own_path(request.query_params.get("then")),
        "refused": request.query_params.get("refused") == "yes",
    }
    return site.page(request, "sign_in.html", context)


@router.get("/sign-in/back")
async def back(request: Request) -> Response:
    """From the provider: who is this? What does not hold leads back to the choice, and says no more than that."""
    query, runtime = request.query_params, runtime_of(request)
    state = query.get("state", "")
    departure = await asyncio.to_thread(runtime.sessions.back, state) if state else None
    if departure is None or request.cookies.get(SIGN_IN_COOKIE) != state or "code" not in query:
        return _refused()
    provider = _provider(request, departure.provider)
    try:
        claims = await provider.arrive(query["code"], departure.nonce, departure.verifier)
        session = await _session_of(request, departure.provider, claims)
    except (SignInRefused, Forbidden) as error:
        _log.warning("sign-in refused", provider=departure.provider, why=str(error))
        return _refused()
    return await _begun(request, session, departure.destination)


@router.post("/sign-in/development")
async def by_click(request: Request) -> Response:
    """As a made-up person; there is no such address unless this is for development."""
    if not runtime_of(request).settings.development_sign_in:
        raise NotFound("there is no such page")
    check_origin(request)
    fields = await fields_of(request)
    wanted = fields.get("person", [""])[0]
    person = next((person for person in development_people() if person.id == wanted), None)
    if person is None:
        raise NotFound("there is no such person here")
    session = Session(person.client_id, person.subject, person.scopes, language_of(request), development=True)
    return await _begun(request, session, own_path(fields.get("then", [""])[0]))


@router.post("/sign-out")
async def sign_out(request: Request) -> Response:
    """Ends the session: its cookie is worth nothing from here on."""
    visitor = await visitor_of(request)
    response = RedirectResponse("/", 303)
    if visitor is not None:
        await form_of(request, visitor)
        await asyncio.to_thread(runtime_of(request).sessions.end, request.cookies[COOKIE])
    end_session(response)
    return response


@router.get("/sign-in/{who}")
async def depart(request: Request, who: str) -> Response:
    """Off to the provider."""
    provider = _provider(request, who)
    nonce, verifier = fresh_secrets()
    destination = own_path(request.query_params.get("then"))
    departure = Departure(who, nonce, verifier, destination)
    state = await asyncio.to_thread(runtime_of(request).sessions.leave, departure)
    account = request.query_params.get("account")
    more = {"ui_locales": language_of(request)}
    if who == RESIDENTS and account in {social.id for social in SOCIAL_ACCOUNTS}:
        more["kc_idp_hint"] = str(account)
    response = RedirectResponse(await provider.depart(state, nonce, verifier, more), 303)
    # What comes back must come back to the browser that left.
    response.set_cookie(SIGN_IN_COOKIE, state, max_age=600, path="/", secure=True, httponly=True, samesite="lax")
    return response


# --- who it is --------------------------------------------------------------------------------------------------


async def _session_of(request: Request, who: str, claims: Mapping[str, Any]) -> Session:
    """The session of whoever the provider says this is; raises `Forbidden` for staff without a role."""
    language, runtime = language_of(request), runtime_of(request)
    if who == STAFF:
        scopes = scopes_of(claims.get(runtime.settings.staff_roles_claim))
        if not scopes:
            raise Forbidden("scope", "this member of staff has no role here")
        return Session(STAFF_CLIENT, None, scopes, language)
    issuer, sub = str(claims["iss"]), str(claims["sub"])
    subject = await asyncio.to_thread(runtime.logins.subject_for, issuer, sub)
    session = Session(MY_CLIENT, subject, {SELF: ()}, language)
    account = claims.get(_SOCIAL_CLAIM)
    if account is not None:
        await _record_social_sign_in(runtime, session, str(account))
    return session


def scopes_of(roles: Any) -> dict[str, tuple[str, ...]]:
    """What the roles of a member of staff let them do; roles of other products are let be.

    >>> scopes_of(["auditor", "office:/offices/security", "gardener"])
    {'audit:read': (), 'rules:write': ('/offices/security',)}
    """
    listed = roles if isinstance(roles, Sequence) and not isinstance(roles, str) else [roles]
    scopes: dict[str, tuple[str, ...]] = {}
    for role in listed:
        if role == "auditor":
            scopes[AUDIT_READ] = ()
        elif role == "operator":
            scopes[OPERATE] = ()
        elif isinstance(role, str) and role.startswith("office:/"):
            scopes[RULES_WRITE] = (*scopes.get(RULES_WRITE, ()), role.removeprefix("office:"))
    return scopes


async def _record_social_sign_in(runtime: Runtime, session: Session, account: str) -> None:
    """Records, once for each account, that its provider gave name and email address, and that the resident was told.

    The ids are made from pseudonym and provider, so a second sign-in finds the first record. The sign-in page is the
    notice: it says what is collected and for what.
    """
    policy = my_san_jose()
    rule = policy.social_login
    provider = account if account in rule.providers else "other"
    subject, time = str(session.subject), rfc3339(runtime.clock())
    common: dict[str, Any] = {"source": MY_SOURCE, "subject": subject, "time": time}
    notice = NoticeGiven(
        notice_id=f"social-login.{provider}",
        policy_version=policy.version,
        purposes=rule.purposes,
        categories=rule.categories,
        channel="web",
        language=session.language,
    )
    collected = DataCollected(
        categories=rule.categories,
        purposes=rule.purposes,
        origin="social-login",
        provider=provider,
        notice_id=notice.notice_id,
    )
    events = [
        KINDS["notice.given"](id=f"told.{provider}.{subject}"[:64], data=notice, **common),
        KINDS["data.collected"](id=f"login.{provider}.{subject}"[:64], data=collected, **common),
    ]
    may = Principal(session.client_id, {SELF: (), EVENTS_WRITE: ()}, session.subject)
    answer = await asyncio.wrap_future(runtime.recorder.submit(events, may, Door.MY))
    for result in answer.results:
        if isinstance(result, ConsentLedgerError) and not isinstance(result, Conflict):  # a conflict: recorded before
            raise Unavailable("what this sign-in collects cannot be recorded, so nobody is signed in")


async def _begun(request: Request, session: Session, destination: str) -> Response:
    token = await asyncio.to_thread(runtime_of(request).sessions.begin, session)
    if destination == "/":
        destination = "/my" if SELF in session.scopes else "/audit" if AUDIT_READ in session.scopes else "/queue"
    response = RedirectResponse(destination, 303)
    begin_session(response, token)
    response.delete_cookie(SIGN_IN_COOKIE, path="/", secure=True, httponly=True, samesite="lax")
    return response


def _refused() -> Response:
    return RedirectResponse("/sign-in?refused=yes", 303)


def _provider(request: Request, who: str) -> Provider:
    providers: dict[str, Provider] = runtime_of(request).providers
    if who not in providers:
        raise NotFound("there is no such way to sign in")
    return providers[who]


# --- development ------------------------------------------------------------------------------------------------


class MadeUp(NamedTuple):
    """Somebody of the seeded city: an id for the form, a name and a line about them, and what they may do."""

    id: str
    name: str
    about: str
    client_id: str
    subject: str | None
    scopes: Mapping[str, tuple[str, ...]]


def development_people() -> Sequence[MadeUp]:
    """The made-up people that `dev` signs in by a click: the story's residents, an auditor, and an office."""
    office = {RULES_WRITE: (SECURITY_OFFICE,)}
    return [
        *(MadeUp(p.subject, p.name, p.about, MY_CLIENT, p.subject, {SELF: ()}) for p in PEOPLE),
        MadeUp("auditor", "Robin", "auditor", STAFF_CLIENT, None, {AUDIT_READ: ()}),
        MadeUp("office", "Sam", "Information Security Office", STAFF_CLIENT, None, office),
    ]

"""Who looks at a page: the signed-in visitor, out of a cookie, and the check that a form is one of ours.

    visitor = await visitor_of(request)            # None: nobody is signed in
    visitor = await signed_in(request, SELF)       # or sends them to sign in; `Forbidden` for the wrong role
    fields = await form_of(request, visitor)       # the fields of a form that this very page was given

A cookie alone never speaks to the API: `/v1` wants a bearer token. A form is taken when it comes from this site (by
`Origin` or `Sec-Fetch-Site`), over a cookie that browsers do not send along from elsewhere, and with the token that its
page was made with, which is bound to the session.
"""

import asyncio
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from api.http.runtime import runtime_of
from ledger.authority import AUDIT_READ, SELF, Principal
from ledger.errors import ConsentLedgerError, Forbidden, TooLarge
from ledger.vault.sessions import LIFETIME_S, Session

COOKIE = "__Host-session"
MAX_FORM_BYTES = 64 * 1024
_MAX_FIELDS = 200
_FORM = "application/x-www-form-urlencoded"


class MustSignIn(ConsentLedgerError):
    """Nobody is signed in: the page sends the reader to sign in, and back."""


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who is signed in. `csrf`: what every form of theirs carries."""

    session: Session
    csrf: str

    @property
    def principal(self) -> Principal:
        """What they may do, as the API knows it."""
        return Principal(self.session.client_id, self.session.scopes, self.session.subject)

    @property
    def development(self) -> bool:
        """Whether they signed in by a click, as `dev` lets everybody."""
        return self.session.development

    @property
    def resident(self) -> bool:
        """Whether this is a resident."""
        return SELF in self.session.scopes

    @property
    def auditor(self) -> bool:
        """Whether this is an auditor."""
        return AUDIT_READ in self.session.scopes


async def visitor_of(request: Request) -> Visitor | None:
    """Who is signed in, asked once a request."""
    known: Visitor | None = getattr(request.state, "visitor", None)
    token = request.cookies.get(COOKIE)
    if known is not None or not token:
        return known
    session = await asyncio.to_thread(runtime_of(request).sessions.find, token)
    if session is None:
        return None
    request.state.visitor = visitor = Visitor(session, _csrf(token))
    request.state.principal = visitor.principal
    return visitor


async def signed_in(request: Request, scope: str) -> Visitor:
    """Who is signed in, and may see this page; raises `MustSignIn`, `Forbidden`."""
    visitor = await visitor_of(request)
    if visitor is None:
        raise MustSignIn("sign in first")
    if not visitor.principal.has(scope):
        raise Forbidden("scope", "this page is for others")
    return visitor


async def form_of(request: Request, visitor: Visitor) -> dict[str, list[str]]:
    """The fields of a form; raises `Forbidden` for one that is not ours, `TooLarge`."""
    check_origin(request)
    fields = await fields_of(request)
    given = fields.pop("csrf", [""])[0]
    if not hmac.compare_digest(given.encode(), visitor.csrf.encode()):
        raise Forbidden("form", "this form is not one of this session: open the page again")
    return fields


async def fields_of(request: Request) -> dict[str, list[str]]:
    """A form's fields, each with its values in order, without white space around them."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != _FORM:
        raise Forbidden("form", "this is not a form of this site")
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_FORM_BYTES:
            raise TooLarge("the form is longer than this site takes")
    fields: dict[str, list[str]] = {}
    try:
        for name, value in parse_qsl(
            body.decode(), keep_blank_values=True, max_num_fields=_MAX_FIELDS, errors="strict"
        ):
            fields.setdefault(name, []).append(value.replace("\r\n", "\n").strip())
    except ValueError:
        raise Forbidden("form", "this is not a form of this site") from None
    return fields


def check_origin(request: Request) -> None:
    """Raises `Forbidden` for a form that another site sent."""
    origin, fetched = request.headers.get("origin"), request.headers.get("sec-fetch-site")
    same = fetched in (None, "same-origin", "none")
    if origin is not None and origin != "null":
        same = same and urlsplit(origin).netloc == request.headers.get("host", "")
    elif origin == "null" or fetched is None:
        same = False  # every browser that we know says one of the two
    if not same:
        raise Forbidden("form", "this form was sent from another site")


def begin_session(response: Response, token: str) -> None:
    """Hands the browser its session: no script reads it, no other site sends it."""
    response.set_cookie(COOKIE, token, max_age=LIFETIME_S, path="/", secure=True, httponly=True, samesite="lax")


def end_session(response: Response) -> None:
    """Takes the session back."""
    response.delete_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="lax")
    response.headers["clear-site-data"] = '"cache"'


def to_sign_in(request: Request) -> Response:
    """Sends somebody to sign in, and back to the page that they wanted."""
    wanted = request.url.path
    if request.url.query:
        wanted += "?" + request.url.query
    destination: Mapping[str, str] = {"then": wanted} if request.method == "GET" else {}
    return RedirectResponse("/sign-in" + ("?" + urlencode(destination) if destination else ""), 303)


def own_path(text: str | None) -> str:
    """A path of this site that somebody named as where to go next; `/` for anything else.

    >>> own_path("/my?lang=vi"), own_path("//evil.example/"), own_path("https://evil.example"), own_path("/\\\\evil")
    ('/my?lang=vi', '/', '/', '/')
    """
    if not text or len(text) > 500 or not text.startswith("/") or text.startswith("//") or not text.isprintable():
        return "/"
    if "\\" in text or urlsplit(text).netloc:
        return "/"
    return text


def _csrf(token: str) -> str:
    return sha256(b"csrf/" + token.encode()).hexdigest()

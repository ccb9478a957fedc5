"""Refusals as RFC 9457 problem details: status, type, title, and `errors: [{pointer, code}]`.

>>> response = response_of(Conflict("3-1041"))
>>> response.status_code, response.media_type
(409, 'application/problem+json')
>>> orjson.loads(response.body)["position"], orjson.loads(response.body)["errors"]
('3-1041', [{'pointer': '/id', 'code': 'conflict'}])

No member ever holds a value that somebody sent, nor an exception's text: titles and codes are written here.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import orjson
from starlette.responses import Response

from ledger.errors import (
    AlteredViews,
    Conflict,
    ConsentLedgerError,
    Erased,
    Forbidden,
    LogError,
    Malformed,
    NotFound,
    NotYet,
    Problem,
    TooLarge,
    Unauthenticated,
    Unparsable,
)
from ledger.recording.record import Busy

MEDIA_TYPE = "application/problem+json"
TYPE_BASE = "tag:consent-ledger.org,2026:problem/"
_POINTERS = {"source": "/source", "kind": "/type", "subject": "/subject", "consent": "/data/consent_id"}
_LOG_STOPPED_RETRY_S = 30


class MediaType(ConsentLedgerError):
    """The body is of a media type that this door does not take (HTTP 415)."""


class KeyReused(ConsentLedgerError):
    """An idempotency key was used before, for something else (HTTP 422)."""


class UnknownCode(ConsentLedgerError):
    """A receipt code that is none of ours, or none at all (HTTP 401)."""

    def __init__(self, code: str) -> None:
        super().__init__("a valid receipt code is needed")
        self.code = code


class TooOften(ConsentLedgerError):
    """An address, or all together, called a door too often (HTTP 429 with `Retry-After`)."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__("too many requests: wait, then try again")
        self.retry_after_s = retry_after_s


class Kind(NamedTuple):
    """One kind of problem: what its `type` ends in, its status and its title."""

    slug: str
    status: int
    title: str


UNPARSABLE = Kind("unparsable", 400, "The body cannot be read as JSON in UTF-8.")
UNAUTHENTICATED = Kind("unauthenticated", 401, "A valid bearer token is needed.")
FORBIDDEN = Kind("forbidden", 403, "The token does not allow this.")
NOT_FOUND = Kind("not-found", 404, "There is no such thing, or none that you may know of.")
METHOD = Kind("method-not-allowed", 405, "This address does not take this method.")
CONFLICT = Kind("conflict", 409, "This source has used this id for other content. Send a new id for a new fact.")
ERASED = Kind("erased", 410, "The resident's key was destroyed: nothing can be sealed or shown for them any more.")
TOO_LARGE = Kind("too-large", 413, "The event or the body is larger than the ledger takes.")
MEDIA = Kind(
    "media-type", 415, "Send application/cloudevents+json, application/cloudevents-batch+json, or ce- headers."
)
MALFORMED = Kind("malformed", 422, "The input is JSON but breaks the contract. Mend what the errors name.")
KEY_REUSED = Kind("idempotency-key-reused", 422, "This idempotency key was used for something else. Send a new one.")
UNKNOWN_CODE = Kind("unknown-code", 401, "A valid receipt code is needed: Authorization: Receipt and the code.")
TOO_OFTEN = Kind("too-often", 429, "Too many requests. Wait, then try again.")
BUSY = Kind("too-many", 429, "Too many events of this client wait. Send slower.")
INTERNAL = Kind("internal", 500, "The ledger failed. Nothing of your input is shown here; the request id names it.")
UNAVAILABLE = Kind("unavailable", 503, "Not there yet, or a part is down. Send the same again later.")
VIEWS_ALTERED = Kind(
    "views-altered", 503, "The views are not what the log says. An operator has to look: run `replay --compare`."
)
LOG_STOPPED = Kind("log-stopped", 503, "The log contradicts itself. An operator has to look: run `doctor`.")


def document(kind: Kind, errors: Sequence[Problem] = (), extra: dict[str, Any] | None = None) -> dict[str, Any]:
    """The problem document."""
    found: dict[str, Any] = {"type": TYPE_BASE + kind.slug, "title": kind.title, "status": kind.status}
    found["errors"] = [{"pointer": p.pointer, "code": p.code} for p in errors]
    return {**found, **(extra or {})}


def describe(error: ConsentLedgerError) -> tuple[dict[str, Any], dict[str, str]]:
    """The problem document of an error of ours, and the headers that go with it."""
    match error:
        case Malformed():
            return document(MALFORMED, error.problems), {}
        case Unparsable():
            return document(UNPARSABLE, [Problem("", error.code)]), {}
        case TooLarge():
            return document(TOO_LARGE, [Problem("", "too-large")]), {}
        case MediaType():
            return document(MEDIA, [Problem("", "media-type")]), {}
        case UnknownCode():
            return document(UNKNOWN_CODE, [Problem("", error.code)]), {"www-authenticate": "Receipt"}
        case TooOften():
            return document(TOO_OFTEN), {"retry-after": str(error.retry_after_s)}
        case KeyReused():
            return document(KEY_REUSED, [Problem("idempotency-key", "reused")]), {}
        case Unauthenticated():
            challenge = 'Bearer error="invalid_token"' if error.code != "no-token" else "Bearer"
            return document(UNAUTHENTICATED, [Problem("", error.code)]), {"www-authenticate": challenge}
        case Forbidden():
            return document(FORBIDDEN, [Problem(_POINTERS.get(error.code, ""), error.code)]), {}
        case Conflict():
            extra = {} if error.position is None else {"position": error.position}
            return document(CONFLICT, [Problem("/id", "conflict")], extra), {}
        case Erased():
            return document(ERASED, [Problem("/subject", "erased")]), {}
        case NotFound():
            return document(NOT_FOUND), {}
        case Busy():
            return document(BUSY), {"retry-after": str(error.retry_after_s)}
        case NotYet():
            return document(UNAVAILABLE), {"retry-after": str(error.retry_after_s)}
        case AlteredViews():
            return document(VIEWS_ALTERED), {"retry-after": str(_LOG_STOPPED_RETRY_S)}
        case LogError():
            return document(LOG_STOPPED), {"retry-after": str(_LOG_STOPPED_RETRY_S)}
        case _:
            return document(INTERNAL), {}


def response_of(error: ConsentLedgerError) -> Response:
    """The response to an error of ours."""
    body, headers = describe(error)
    return response(body, headers)


def response(body: dict[str, Any], headers: dict[str, str] | None = None) -> Response:
    """A problem document as a response."""
    return Response(orjson.dumps(body), body["status"], {**(headers or {}), "cache-control": "no-store"}, MEDIA_TYPE)

"""`POST /v1/audit/exports`: says whose data an export with pseudonyms is about to hold, before it is made.

    POST /v1/audit/exports   {"export_id": "x-7f2c91", "subjects": ["res_7f2c", "res_91aa"]}
    -> 200 {"export_id": "x-7f2c91", "recorded": 2}

An export reads the views and not this door (docs/spec/export.md); whoever makes one with the residents' pseudonyms
hands in everybody who is in it first, up to 1,000 a call, and each gets a `log.viewed` with the scope `export/ID`. An
export counts once for each resident, however often the call is made. Any failure means: not all are recorded, so
nothing is exported.
"""

import asyncio
from hashlib import sha256
from typing import Annotated, Any

import msgspec
import orjson
from fastapi import APIRouter, Request
from msgspec import Meta
from starlette.responses import Response

from api.http.bodies import json_body
from api.http.reading import JSON, NOT_KEPT, RECORDED_WITHIN_S
from api.http.runtime import principal_of, runtime_of
from api.http.views import views_of
from ledger.authority import AUDIT_READ, LEDGER_SOURCE, Door
from ledger.codec import rfc3339
from ledger.errors import Conflict, ConsentLedgerError, Forbidden, Malformed, Problem, Unavailable
from ledger.events import KINDS, LogViewed, Subject
from ledger.recording.record import Busy

MAX_SUBJECTS = 1_000
_MAX_BODY_BYTES = 128 * 1024
_ExportId = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9-]{0,31}$")]


class Announced(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who is in an export."""

    export_id: _ExportId
    subjects: Annotated[tuple[Subject, ...], Meta(min_length=1, max_length=MAX_SUBJECTS)]


router = APIRouter()
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            JSON: {
                "schema": {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["export_id", "subjects"],
                    "properties": {
                        "export_id": {"type": "string", "pattern": "^[a-z][a-z0-9-]{0,31}$"},
                        "subjects": {
                            "type": "array",
                            "minItems": 1,
                            "maxItems": MAX_SUBJECTS,
                            "uniqueItems": True,
                            "items": {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"},
                        },
                    },
                }
            }
        },
    }
}


@router.post(
    "/v1/audit/exports",
    summary="Record whose data an export is about to hold",
    response_class=Response,
    responses={
        200: {"description": "each of them has a `log.viewed` of this export"},
        400: {"description": "unparsable"},
        401: {"description": "no or bad token"},
        403: {"description": "scope"},
        413: {"description": "too large"},
        415: {"description": "media type"},
        422: {"description": "breaks the contract, or names a resident of whom nothing is recorded"},
        429: {"description": "too many events of this client wait; these are some"},
        503: {"description": "they cannot all be recorded, so nothing may be exported"},
    },
    openapi_extra=_BODY,
)
async def post_export(request: Request) -> Response:
    """Records an export in the log of everyone who is in it."""
    principal = await principal_of(request)
    if not principal.has(AUDIT_READ):
        raise Forbidden("scope", f"an export needs the scope {AUDIT_READ}")
    asked = await json_body(request, Announced, _MAX_BODY_BYTES)
    if isinstance(asked, Response):
        return asked
    async with views_of(request).auditor(once=True) as view:
        unknown = set(await view.unknown(asked.subjects))
    if unknown:
        found = [Problem(f"/subjects/{i}", "unknown") for i, one in enumerate(asked.subjects) if one in unknown]
        raise Malformed(found[:MAX_SUBJECTS], "the ledger has nothing about these residents")
    runtime = runtime_of(request)
    now = rfc3339(runtime.clock())
    told = LogViewed(role="auditor", operator=principal.client_id, scope=f"export/{asked.export_id}")
    events = [
        KINDS["log.viewed"](
            id=_id(principal.client_id, asked.export_id, subject),
            source=LEDGER_SOURCE,
            subject=subject,
            time=now,
            data=told,
        )
        for subject in asked.subjects
    ]
    try:
        recording = runtime.recorder.submit(events, principal, Door.LEDGER)
        recorded = await asyncio.wait_for(asyncio.wrap_future(recording), RECORDED_WITHIN_S)
    except Busy:
        raise
    except (TimeoutError, ConsentLedgerError):
        raise Unavailable("this export cannot be recorded, so it is refused") from None
    # Known with another time: recorded by a call before this one.
    if any(isinstance(one, ConsentLedgerError) and not isinstance(one, Conflict) for one in recorded.results):
        raise Unavailable("this export cannot be recorded, so it is refused")
    answered = {"export_id": asked.export_id, "recorded": len(asked.subjects)}
    return Response(orjson.dumps(answered), 200, NOT_KEPT, JSON)


def _id(client_id: str, export_id: str, subject: str) -> str:
    """The same for the same export and resident, and nothing that tells whom it is about."""
    return sha256(f"{client_id}/{export_id}/{subject}".encode()).hexdigest()

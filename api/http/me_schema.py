"""The bodies that a resident's doors take, and what OpenAPI says of these doors.

>>> sorted(FILE_CONTEST["responses"])
[201, 400, 401, 403, 410, 413, 415, 422, 429, 503]
>>> FILE_CONTEST["openapi_extra"]["security"]
[{'bearer': ['self']}]
"""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType
from starlette.responses import Response

from api.http.erasing_schema import taken
from ledger.authority import SELF
from ledger.events import MAX_SEALED_CHARACTERS, About, Identifier, Identifiers, Time

Words = Annotated[str, Meta(min_length=1, max_length=MAX_SEALED_CHARACTERS, description="free text; it is sealed")]


class ConsentWish(Struct, forbid_unknown_fields=True):
    """Absent `categories`: all. What only a giving has (`categories`, `recipients`, `expires_at`) no withdrawal has."""

    purpose: Identifier
    given: bool
    categories: Identifiers | UnsetType = UNSET
    recipients: Identifiers | UnsetType = UNSET
    expires_at: Time | UnsetType = UNSET


class PreferenceWish(Struct, forbid_unknown_fields=True):
    """Whether messages on the channel are allowed."""

    allowed: bool


class AnonymityWish(Struct, forbid_unknown_fields=True):
    """Whether to engage anonymously."""

    anonymous: bool


class Contest(Struct, forbid_unknown_fields=True):
    """What is held is wrong or incomplete."""

    categories: Identifiers
    claim: Words


class Complaint(Struct, forbid_unknown_fields=True):
    """A complaint, a question or a comment; `about` names an event."""

    kind: Literal["complaint", "question", "comment"]
    text: Words
    about: About | UnsetType = UNSET


class AccessWish(Struct, forbid_unknown_fields=True):
    """A wish to see or update what is held. Absent `categories`: all."""

    kind: Literal["review", "update"]
    categories: Identifiers | UnsetType = UNSET


# --- what OpenAPI says ----------------------------------------------------------------------------------------------

Schema = dict[str, Any]
TEXT: Schema = {"type": "string"}
TEXTS: Schema = {"type": "array", "items": TEXT}
BOOL: Schema = {"type": "boolean"}
POSITION: Schema = {"type": ["string", "null"], "description": "P-O; null where no record says so"}
RECEIPT: Schema = {"type": ["string", "null"], "description": "a signed note: docs/spec/receipts.md"}
RECORDED = {"position": POSITION, "receipt": RECEIPT}
REFUSALS: dict[int | str, Schema] = {
    401: {"description": "no or bad token"},
    403: {"description": "scope"},
    429: {"description": "too many events of this client wait"},
    503: {"description": "a part is down, or the views are behind: send the same again"},
}
REFUSED_BODIES: dict[int | str, Schema] = {
    400: {"description": "unparsable"},
    413: {"description": "too large"},
    415: {"description": "media type"},
    422: {"description": "breaks the contract, or the idempotency key was used for something else"},
}
ERASED: dict[int | str, Schema] = {410: {"description": "the resident was erased: nothing can be sealed for them"}}
_KEY: Schema = {
    "name": "idempotency-key",
    "in": "header",
    "required": False,
    "description": "an id of 1 to 64, quoted or not: the same key with the same body is recorded once",
    "schema": TEXT,
}


def needs(*scopes: str) -> Schema:
    """What OpenAPI says of a door for tokens with one of these scopes: OpenAPI 3.1 names them as roles."""
    return {"security": [{"bearer": [scope]} for scope in scopes]}


def shape(properties: Schema, description: str = "") -> Schema:
    """An object that has all of these members."""
    found: Schema = {"type": "object", "properties": properties, "required": list(properties)}
    return {**found, "description": description} if description else found


def gives(description: str, schema: Schema) -> Schema:
    """An answer in JSON that names the position for a read that is to see it."""
    header = {"Ledger-Position": {"description": "send it with a read that is to see this", "schema": TEXT}}
    return {"description": description, "headers": header, "content": {"application/json": {"schema": schema}}}


def takes(body: type[Struct], *, once: bool = False) -> Schema:
    """What a door takes; `once`: with an idempotency key."""
    content = {"application/json": {"schema": taken(body)}}
    return {"parameters": [_KEY] if once else [], "requestBody": {"required": True, "content": content}}


def door(responses: dict[int | str, Schema], scopes: tuple[str, ...], *extra: Schema) -> Schema:
    """The arguments of a route."""
    said: Schema = needs(*scopes)
    for one in extra:
        said |= one
    refusals = {**REFUSALS, **(REFUSED_BODIES if "requestBody" in said else {})}
    return {"response_class": Response, "responses": {**refusals, **responses}, "openapi_extra": said}


_STATE = "the state, changed by this or as it was"
_CONSENT_STATE = shape(
    {
        "purpose": TEXT,
        "given": BOOL,
        "changed": BOOL,
        "consent_id": {"type": ["string", "null"], "description": "the consent by which it is given"},
        "withdrawn": {"type": "array", "items": shape({"consent_id": TEXT, "position": POSITION})},
        "given_again": {
            "type": "array",
            "items": shape({"consent_id": TEXT, "instead_of": TEXT, "purposes": TEXTS, "position": POSITION}),
        },
        **RECORDED,
    }
)
PUT_CONSENT = door({200: gives(_STATE, _CONSENT_STATE)}, (SELF,), takes(ConsentWish))
PUT_PREFERENCE = door(
    {200: gives(_STATE, shape({"channel": TEXT, "allowed": BOOL, "changed": BOOL, **RECORDED}))},
    (SELF,),
    takes(PreferenceWish),
)
PUT_ANONYMITY = door(
    {200: gives(_STATE, shape({"anonymous": BOOL, "changed": BOOL, **RECORDED}))}, (SELF,), takes(AnonymityWish)
)
_OPENED = "recorded; the same again answers the same"
FILE_CONTEST = door(
    {201: gives(_OPENED, shape({"contest_id": TEXT, **RECORDED})), **ERASED}, (SELF,), takes(Contest, once=True)
)
FILE_COMPLAINT = door(
    {201: gives(_OPENED, shape({"complaint_id": TEXT, **RECORDED})), **ERASED}, (SELF,), takes(Complaint, once=True)
)
ASK_ACCESS = door({201: gives(_OPENED, shape({"request_id": TEXT, **RECORDED}))}, (SELF,), takes(AccessWish, once=True))

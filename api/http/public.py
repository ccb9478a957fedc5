"""What anyone may read: policies and purposes as published, schemas, the log's AsyncAPI document, verifier keys.

    GET /v1/policies                       every policy, as data, with its position, the newest effective date first
    GET /v1/policies/2018-04-18            one version
    GET /v1/purposes                       the purposes of the policy in force
    GET /v1/schemas/                       which event types there are
    GET /schemas/data.used.v1.json         the JSON Schema of one (also below /v1)
    GET /asyncapi.yaml                     AsyncAPI 3.0 (also below /v1)
    GET /v1/keys                           the keys under which receipts and checkpoints are signed

No token is needed, nothing here is about a resident, and nothing is recorded.
"""

from typing import Any

import msgspec
import orjson
from fastapi import APIRouter, Request
from starlette.responses import Response

from api.http.openapi import OPEN, returns
from api.http.paging import only
from api.http.reading import PUBLIC, answer, etag
from api.http.runtime import runtime_of
from api.http.views import views_of, wait_for_views
from ledger import asyncapi, codec, schemas
from ledger.codec import instant
from ledger.errors import NotFound
from ledger.events import EVENTS, TYPE_PREFIX, PolicyPublished
from ledger.log import Position

SCHEMA_TYPE = "application/schema+json"
YAML_TYPE = "application/yaml"
_KNOWN: dict[int | str, dict[str, Any]] = {304: {"description": "the reader has it already"}}
_VIEWS: dict[int | str, dict[str, Any]] = {
    **_KNOWN,
    422: {"description": "a parameter that is not understood"},
    503: {"description": "not there yet, or a part is down"},
}
_NONE_SUCH: dict[int | str, dict[str, Any]] = {404: {"description": "there is none of this name"}}
_REFERENCE_PARTITION = 0  # reference facts are the same in all; a broadcast's answer gives partition 0's position

router = APIRouter()


class Published(msgspec.Struct, frozen=True):
    """A policy as the log has it."""

    position: Position
    recordedtime: str
    data: PolicyPublished

    @property
    def order(self) -> tuple[int, int]:
        """By which the policy in force is chosen: (effective_from, position)."""
        return (instant(self.data.effective_from), self.position.offset)

    def json(self) -> dict[str, Any]:
        """The policy's own members, and where it stands."""
        found: dict[str, Any] = msgspec.to_builtins(self.data)
        return {"position": str(self.position), "recordedtime": self.recordedtime, **found}


@router.get(
    "/v1/policies",
    summary="Every policy published",
    response_class=Response,
    responses=_VIEWS,
    openapi_extra=OPEN,
)
async def get_policies(request: Request) -> Response:
    """All policies, the newest effective date first."""
    found = [policy.json() for policy in reversed(await _policies(request))]
    return _public(request, orjson.dumps({"policies": found}))


@router.get(
    "/v1/policies/{version}",
    summary="One version of the policy",
    response_class=Response,
    responses={**_VIEWS, **_NONE_SUCH},
    openapi_extra=OPEN,
)
async def get_policy(request: Request, version: str) -> Response:
    """The policy of this version; the one in force, when several bear it."""
    for policy in reversed(await _policies(request)):
        if policy.data.version == version:
            return _public(request, orjson.dumps(policy.json()))
    raise NotFound("no policy of this version was published")


@router.get(
    "/v1/purposes",
    summary="The purposes of the policy in force",
    response_class=Response,
    responses=_VIEWS,
    openapi_extra=OPEN,
)
async def get_purposes(request: Request) -> Response:
    """The stated purposes, as of the ledger's clock."""
    now_us = runtime_of(request).clock()
    in_force = [policy for policy in await _policies(request) if policy.order[0] <= now_us]
    if not in_force:
        return _public(request, orjson.dumps({"policy": None, "purposes": []}))
    policy = in_force[-1]
    named = {
        "policy_id": policy.data.policy_id,
        "version": policy.data.version,
        "effective_from": policy.data.effective_from,
        "position": str(policy.position),
    }
    purposes = msgspec.to_builtins(policy.data.purposes)
    return _public(request, orjson.dumps({"policy": named, "purposes": purposes}))


async def _policies(request: Request) -> list[Published]:
    """Every policy, by (effective_from, position)."""
    only(request.query_params.multi_items(), ())
    await wait_for_views(request)
    found = []
    async with views_of(request).anyone(once=True) as view:
        facts = await view.policies(_REFERENCE_PARTITION)
    for fact in facts:
        event = codec.read(fact.body.encode())
        assert isinstance(event.data, PolicyPublished), "the query asks for policies"
        found.append(Published(fact.position, str(event.recordedtime), event.data))
    return sorted(found, key=lambda policy: policy.order)


# --- schemas ----------------------------------------------------------------------------------------------------


@router.get("/v1/schemas", include_in_schema=False)
@router.get(
    "/v1/schemas/",
    summary="Which event types there are",
    response_class=Response,
    responses=_KNOWN,
    openapi_extra=OPEN,
)
@router.get("/schemas/", include_in_schema=False)
async def get_schemas(request: Request) -> Response:
    """The catalogue: each type with the address of its schema."""
    found = [
        {
            "kind": event.kind,
            "type": event_type,
            "schema": f"/schemas/{schemas.name_of(event_type)}.json",
            "description": event.__doc__,
            "scope": event.scope,
        }
        for event_type, event in EVENTS.items()
    ]
    return _public(request, orjson.dumps({"schemas": found}))


@router.get(
    "/v1/schemas/{name}.json",
    summary="The JSON Schema of an event type",
    response_class=Response,
    responses={200: {"description": "the schema", "content": {SCHEMA_TYPE: {}}}, **_KNOWN, **_NONE_SUCH},
    openapi_extra=OPEN,
)
@router.get("/schemas/{name}.json", include_in_schema=False)
async def get_schema(request: Request, name: str) -> Response:
    """The schema of `<kind>.v<N>`, in JSON Schema 2020-12."""
    body = orjson.dumps(schemas.of(TYPE_PREFIX + name), option=orjson.OPT_INDENT_2)
    return _public(request, body, SCHEMA_TYPE)


@router.get(
    "/v1/asyncapi.yaml",
    summary="The log, as AsyncAPI 3.0",
    response_class=Response,
    responses={200: {"description": "the document", "content": {YAML_TYPE: {}}}, **_KNOWN},
    openapi_extra=OPEN,
)
@router.get("/asyncapi.yaml", include_in_schema=False)
async def get_asyncapi(request: Request) -> Response:
    """The AsyncAPI document."""
    return _public(request, asyncapi.document_yaml().encode(), YAML_TYPE)


@router.get(
    "/v1/keys",
    summary="The keys that receipts and checkpoints are signed with",
    response_class=Response,
    responses={200: {"description": "verifier keys (vkeys)", "content": returns("Keys")}, **_KNOWN},
    openapi_extra=OPEN,
)
async def get_keys(request: Request) -> Response:
    """The verifier keys, past ones too. Keep a copy: a key that comes with what it signed proves nothing."""
    runtime = runtime_of(request)
    found = {
        "ledger": runtime.settings.ledger_name,
        "checkpoints": runtime.settings.checkpoint_vkeys,
        "receipts": [runtime.receipts_verifier.vkey, *runtime.settings.receipts_old_vkeys],
    }
    return _public(request, orjson.dumps(found))


def _public(request: Request, body: bytes, media_type: str = "application/json") -> Response:
    return answer(request, body, etag(body), media_type=media_type, caching=PUBLIC)

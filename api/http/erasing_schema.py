"""The bodies that the doors of `api.http.erasing` take, and what OpenAPI says of these doors.

>>> sorted(APPROVE["responses"])
[200, 202, 400, 401, 403, 404, 409, 413, 415, 422, 503]
>>> taken(Nothing)["additionalProperties"]
False
"""

from typing import Any

import msgspec
from msgspec import UNSET, Struct, UnsetType
from starlette.responses import Response

from api.http.paging import MAX_LIMIT
from ledger.erasing.erasure import STATES
from ledger.events import Identifiers, Subject
from ledger.schemas import ecma


class Mine(Struct, forbid_unknown_fields=True):
    """Absent `categories`: everything, and the resident's key is destroyed."""

    categories: Identifiers | UnsetType = UNSET


class Theirs(Struct, forbid_unknown_fields=True):
    """Absent `categories`: everything, and the resident's key is destroyed."""

    subject: Subject
    categories: Identifiers | UnsetType = UNSET


class Nothing(Struct, forbid_unknown_fields=True):
    """An empty object: the word is the call itself."""


def taken(body: type[Struct]) -> dict[str, Any]:
    """The JSON Schema of a body, with all that it holds."""
    _, components = msgspec.json.schema_components([body])
    made: dict[str, Any] = _portable(_whole(components[body.__name__], components))
    return made


def _whole(node: Any, components: dict[str, Any]) -> Any:
    """The schema with what it refers to in its place."""
    if isinstance(node, dict) and "$ref" in node:
        return _whole(components[node["$ref"].rpartition("/")[2]], components)
    if isinstance(node, dict):
        return {name: _whole(value, components) for name, value in node.items()}
    return [_whole(value, components) for value in node] if isinstance(node, list) else node


def _portable(node: Any) -> Any:
    if isinstance(node, dict):
        return {k: ecma(v) if k == "pattern" else _portable(v) for k, v in node.items()}
    return [_portable(item) for item in node] if isinstance(node, list) else node


_TEXT = {"type": "string"}
_MAYBE_TEXT = {"type": ["string", "null"]}
_MINE: dict[str, Any] = {
    "erasure_id": _TEXT,
    "state": {"enum": list(STATES)},
    "categories": {"type": ["array", "null"], "items": _TEXT},
    "position": {**_MAYBE_TEXT, "description": "of the latest of its records in the log, P-O"},
    "receipt": {**_MAYBE_TEXT, "description": "of data.erased, a signed note: docs/spec/receipts.md"},
}
_THEIRS = {**_MINE, "subject": _TEXT, "asked_by": _TEXT, "asked_at": _TEXT, "approved_by": _MAYBE_TEXT}
_REFUSALS: dict[int | str, dict[str, Any]] = {
    401: {"description": "no or bad token"},
    403: {"description": "the token does not allow this"},
    503: {"description": "a part is down"},
}
_REFUSED_BODIES: dict[int | str, dict[str, Any]] = {
    400: {"description": "unparsable"},
    413: {"description": "too large"},
    415: {"description": "media type"},
    422: {"description": "breaks the contract"},
}
_NONE = {404: {"description": "there is none"}}


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _gives(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _takes(body: type[Struct], *, once: bool) -> dict[str, Any]:
    key = {
        "name": "idempotency-key",
        "in": "header",
        "required": True,
        "description": "an id of 1 to 64: the same key with the same body asks once",
        "schema": _TEXT,
    }
    content = {"application/json": {"schema": taken(body)}}
    return {"parameters": [key] if once else [], "requestBody": {"required": True, "content": content}}


def _door(
    answers: dict[int | str, dict[str, Any]], takes: dict[str, Any] | None = None, /, *more: dict[Any, Any]
) -> dict[str, Any]:
    responses = {**answers, **_REFUSALS, **(_REFUSED_BODIES if "requestBody" in (takes or {}) else {})}
    for found in more:
        responses |= found
    return {"response_class": Response, "responses": responses, "openapi_extra": takes or {}}


_WAITS, _RUNS, _DONE = "waits for another operator", "begun: ask again how far it is", "done"
_USED = {422: {"description": "breaks the contract, or the idempotency key was used for something else"}}
_NOT_NOW = {409: {"description": "not in a state that allows this"}}

ASK_MINE = _door(
    {200: _gives(_DONE, _object(_MINE)), 202: _gives(_RUNS, _object(_MINE))}, _takes(Mine, once=True), _USED
)
ASK_THEIRS = _door(
    {200: _gives(_DONE, _object(_THEIRS)), 202: _gives(_WAITS, _object(_THEIRS))},
    _takes(Theirs, once=True),
    _USED,
    _NONE,
)
APPROVE = _door(
    {200: _gives(_DONE, _object(_THEIRS)), 202: _gives(_RUNS, _object(_THEIRS))},
    _takes(Nothing, once=False),
    _NOT_NOW,
    _NONE,
)
WITHDRAW = _door({200: _gives("withdrawn", _object(_THEIRS))}, None, _NOT_NOW, _NONE)
ONE = _door({200: _gives("the erasure", _object(_THEIRS))}, None, _NONE)
LIST = _door(
    {
        200: _gives("a page", _object({"erasures": {"type": "array", "items": _object(_THEIRS)}})),
        422: {"description": "a parameter that is not understood"},
    },
    {
        "parameters": [
            {"name": "state", "in": "query", "required": False, "schema": {"enum": list(STATES)}},
            {"name": "limit", "in": "query", "required": False, "schema": {"type": "integer", "maximum": MAX_LIMIT}},
            {"name": "cursor", "in": "query", "required": False, "schema": _TEXT},
        ]
    },
)

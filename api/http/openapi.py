"""The OpenAPI document, finished: who may call, what a POST takes, and a problem document for every refusal.

FastAPI lists the doors; the doors read their bodies themselves, so what they take is said here, from the events' own
definitions. A door needs the bearer token unless it says `openapi_extra=OPEN`.

>>> takes_events()["requestBody"]["content"]["application/cloudevents-batch+json"]["schema"]["maxItems"]
1000
>>> document = {"paths": {"/v1/x": {"get": {"responses": {"503": {"description": "a part is down"}}}}}}
>>> found = finished(document)["paths"]["/v1/x"]["get"]
>>> found["security"], sorted(found["responses"]), list(found["responses"]["503"]["content"])
([{'bearer': []}], ['401', '403', '503'], ['application/problem+json'])
"""

from typing import Any

from api.http import problems
from api.http.cloudevents import BATCH_TYPE, DATA_TYPE, EVENT_TYPE
from ledger import schemas
from ledger.codec import MAX_BATCH_EVENTS
from ledger.events import EVENTS, JUDGED, KINDS

Schema = dict[str, Any]

OPEN: Schema = {"security": []}
"""For a door that takes no token."""
BEARER: list[dict[str, list[str]]] = [{"bearer": []}]
_METHODS = ("get", "put", "post", "delete", "patch", "head", "options")
_SECURED = {
    "401": "no or bad token",
    "403": "the token does not allow this",
    "503": "a part is down, or the issuer's keys cannot be had",
}
# Doors that record `log.viewed` before they answer: that is an event of the caller's, and may have to wait its turn.
_RECORDS_THE_READ = ("/v1/records", "/v1/residents/", "/v1/queue")
_ATTRIBUTES = {
    "specversion": "1.0",
    "id": "the event's id, unique to its source",
    "source": "who emits: a URI reference that the token allows",
    "type": "one of GET /v1/schemas/",
    "subject": "the resident; absent for a reference fact",
    "time": "when it happened, RFC 3339",
    "correlationid": "what belongs together",
}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def returns(name: str) -> Schema:
    """The content of an answer in JSON, by the name of its component."""
    return {"application/json": {"schema": _ref(name)}}


def takes_events() -> Schema:
    """What `POST /v1/events` takes: one event in structured or binary mode, or a batch."""
    batch = {"type": "array", "minItems": 1, "maxItems": MAX_BATCH_EVENTS, "items": _ref("Event")}
    return _takes({EVENT_TYPE: _ref("Event"), BATCH_TYPE: batch, DATA_TYPE: _ref("EventData")})


def takes_judged_event() -> Schema:
    """What `POST /v1/check` takes: one event of a judged kind; plain JSON without `ce-` headers is an event too."""
    plain = {"anyOf": [_ref("JudgedEvent"), _ref("JudgedEventData")]}
    return _takes({EVENT_TYPE: _ref("JudgedEvent"), DATA_TYPE: plain})


def _takes(content: dict[str, Schema]) -> Schema:
    headers = [
        {
            "name": f"ce-{name}",
            "in": "header",
            "required": False,
            "description": f"binary mode ({DATA_TYPE}), percent-encoded: {text}",
            "schema": {"type": "string"},
        }
        for name, text in _ATTRIBUTES.items()
    ]
    body = {"required": True, "content": {kind: {"schema": schema} for kind, schema in content.items()}}
    return {"parameters": headers, "requestBody": body}


def finished(document: Schema) -> Schema:
    """FastAPI's document with security, problem documents and components; changed in place."""
    for path, item in document["paths"].items():
        for method in _METHODS:
            if method in item:
                _finish(path, item[method])
    document["components"] = {
        "securitySchemes": {
            "bearer": {
                "type": "http",
                "scheme": "bearer",
                "bearerFormat": "JWT",
                "description": "A token of the ledger's issuer; `events:write` and `rules:write` name their sources. "
                "Where a door names scopes (as roles, OpenAPI 3.1), one of them is needed.",
            },
            "receipt": {
                "type": "http",
                "scheme": "receipt",
                "description": "The receipt code of an anonymous engagement.",
            },
        },
        "headers": {
            "WWW-Authenticate": {"description": "what kind of token is needed", "schema": {"type": "string"}},
            "Retry-After": {"description": "seconds to wait", "schema": {"type": "integer", "minimum": 1}},
        },
        "schemas": {**_events(), **_ANSWERS},
    }
    return document


def _finish(path: str, operation: Schema) -> None:
    operation.setdefault("security", BEARER)
    answers = operation["responses"]
    if _is_the_frameworks(answers.get("422", {})):
        del answers["422"]  # said by FastAPI of every parameter; our doors say themselves when they answer it
    if any("bearer" in way for way in operation["security"]):
        for status, text in _SECURED.items():
            answers.setdefault(status, {"description": text})
    if path.startswith(_RECORDS_THE_READ):
        answers.setdefault("429", {"description": "too many events of this client wait; this read is one"})
    for status, answer in answers.items():
        if status >= "400" and "content" not in answer:
            answer["content"] = {problems.MEDIA_TYPE: {"schema": _ref("Problem")}}
            header = {"401": "WWW-Authenticate", "429": "Retry-After", "503": "Retry-After"}.get(status)
            if header is not None:
                answer["headers"] = {header: {"$ref": f"#/components/headers/{header}"}}
    operation["responses"] = dict(sorted(answers.items()))


def _is_the_frameworks(answer: Schema) -> bool:
    schema = answer.get("content", {}).get("application/json", {}).get("schema", {})
    return bool(schema == _ref("HTTPValidationError"))


def _events() -> dict[str, Schema]:
    """The events' own schemas, and unions of all and of the judged ones, with and without envelope."""
    found: dict[str, Schema] = schemas.definitions()
    found["Event"] = _union([event.__name__ for event in EVENTS.values()])
    found["JudgedEvent"] = _union([KINDS[kind].__name__ for kind in JUDGED])
    for name in ("Event", "JudgedEvent"):
        data = [found[one]["properties"]["data"] for one in found[name]["discriminator"]["mapping"].values()]
        found[f"{name}Data"] = {"description": "`data` alone: the attributes are `ce-` headers.", "anyOf": data}
    for name in ("Event", "JudgedEvent"):
        mapping = found[name]["discriminator"]["mapping"]
        found[name]["discriminator"]["mapping"] = {kind: _ref(one)["$ref"] for kind, one in mapping.items()}
    return found


def _union(classes: list[str]) -> Schema:
    mapping = {schemas.EVENT_CLASSES[name].type: name for name in classes}
    return {"oneOf": [_ref(name) for name in classes], "discriminator": {"propertyName": "type", "mapping": mapping}}


def _object(properties: dict[str, Schema], optional: tuple[str, ...] = (), description: str = "") -> Schema:
    required = [name for name in properties if name not in optional]
    said = {"description": description} if description else {}
    return {**said, "type": "object", "properties": properties, "required": required}


_TEXT: Schema = {"type": "string"}
_TEXTS: Schema = {"type": "array", "items": _TEXT}
_POSITION: Schema = {"type": "string", "pattern": "^(0|[1-9][0-9]*)-(0|[1-9][0-9]*)$"}
_RECEIPT: Schema = {"type": ["string", "null"], "description": "a signed note: docs/spec/receipts.md"}
_OUTCOME: Schema = {"enum": ["consistent", "inconsistent", "undetermined"]}
_STATUS: Schema = {"type": "integer"}
_RECORDED = {"id": _TEXT, "source": _TEXT, "position": _POSITION}
_ANSWERS: dict[str, Schema] = {
    "Problem": _object(
        {
            "type": _TEXT,
            "title": _TEXT,
            "status": _STATUS,
            "errors": {"type": "array", "items": _object({"pointer": _TEXT, "code": _TEXT})},
            "position": _POSITION,
        },
        optional=("position",),
        description="RFC 9457. Holds no value that was sent; `position` is the first record's, in a conflict.",
    ),
    "Recorded": _object({**_RECORDED, "receipt": _RECEIPT}),
    "BatchResults": _object(
        {
            "results": {
                "type": "array",
                "items": {"anyOf": [_object({"status": {"enum": [200, 201]}, **_RECORDED}), _ref("Problem")]},
            },
            "receipt": _RECEIPT,
        },
        description="What each event's own call would have answered, in order.",
    ),
    "RecordedOrResults": {"oneOf": [_ref("Recorded"), _ref("BatchResults")]},
    "WouldBe": _object(
        {
            "source": _TEXT,
            "id": _TEXT,
            "position": {"type": "null"},
            "subject": _TEXT,
            "outcome": _OUTCOME,
            "first_outcome": _OUTCOME,
            "basis": _TEXTS,
            "findings": {"type": "array", "items": {"type": "object"}},
            "policy": {"anyOf": [_object({"policy_id": _TEXT, "version": _TEXT}), {"type": "null"}]},
            "as_of": _TEXT,
            "known_at": {"anyOf": [_POSITION, {"type": "null"}]},
            "superseded_by": {"type": "null"},
        },
        description="The verdict that an event would have: docs/spec/verdicts.md.",
    ),
    "Keys": _object(
        {"ledger": _TEXT, "checkpoints": _TEXTS, "receipts": _TEXTS},
        description="Verifier keys (C2SP signed-note).",
    ),
}

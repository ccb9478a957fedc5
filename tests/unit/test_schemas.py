"""JSON Schemas and AsyncAPI are generated from the event types, and say what the door does."""

import copy
import re
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from jsonschema import Draft202012Validator

from ledger import asyncapi, codec, schemas
from ledger.errors import ConsentLedgerError
from ledger.events import EVENTS, KINDS
from ledger.policy import my_san_jose

GOLDEN = Path(__file__).parents[1] / "vectors" / "golden"
TIME = "2026-03-03T12:00:00Z"
SEALED = {"sealed": {"key": "k_1", "ciphertext": "c2VhbGVk"}}
BY_LAW = {"kind": "law", "legal_basis": "subpoena", "citation": "Evidence Code 1560", "demand_id": "d1"}

# One event of each kind with every member that it may have.
FULL: dict[str, dict[str, Any]] = {
    "policy.published": orjson.loads(codec.encode(KINDS["policy.published"](
        id="p1", source="/policy", time=TIME, data=my_san_jose())))["data"],
    "service.registered": {
        "service": "/services/permits",
        "names": {"en": "Permits", "es": "Permisos", "vi": "Giấy phép"},
        "department": "Planning",
        "purposes": ["4.2"],
    },
    "agreement.signed": {
        "agreement_id": "a1", "recipient": "mailer-inc", "purposes": ["4.8"], "categories": ["email"],
        "safeguards": ["encryption"], "valid_from": TIME, "valid_until": "2027-03-03T12:00:00+01:00",
    },
    "agreement.ended": {"agreement_id": "a1", "reason": "breach"},
    "legal-demand.decided": {
        "demand_id": "d1", "legal_basis": "subpoena", "recipient": "court", "disclose": True, "exempt_categories": [],
    },
    "notice.given": {
        "notice_id": "n1", "policy_version": "2018-04-18", "purposes": ["4.1"], "categories": ["email"],
        "channel": "web", "language": "es-MX", "anonymous_offered": True,
    },
    "data.collected": {
        "categories": ["email"], "purposes": ["4.1"], "origin": "social-login", "provider": "example",
        "notice_id": "n1",
    },
    "data.used": {
        "categories": ["email"], "purpose": "4.8", "operation": "notify", "basis": {"kind": "stated-purpose"},
        "channel": "email", "operator": "op_1",
    },
    "data.shared": {
        "categories": ["email"], "purpose": "4.8", "recipient": "court", "recipient_kind": "agency", "basis": BY_LAW,
        "operator": "op_1",
    },
    "consent.given": {
        "consent_id": "c1", "purposes": ["4.8"], "categories": ["email"], "operations": ["notify"],
        "recipients": ["mailer-inc"], "notice_id": "n1", "method": "web-form", "expires_at": TIME,
    },
    "consent.withdrawn": {"consent_id": "c1"},
    "preference.set": {"channel": "email", "allowed": False},
    "anonymity.chosen": {},
    "anonymity.ended": {},
    "data.reviewed": {"categories": ["email"]},
    "access.requested": {"request_id": "r1", "kind": "review", "categories": ["email"]},
    "access.answered": {"request_id": "r1", "outcome": "partly", "answer": "here"},
    "data.updated": {"categories": ["email"], "by": "service", "contest_id": "k1", "operator": "op_1"},
    "data.contested": {"contest_id": "k1", "categories": ["email"], "claim": "not mine"},
    "contest.resolved": {"contest_id": "k1", "outcome": "upheld", "answer": "it is"},
    "complaint.filed": {
        "complaint_id": "q1", "kind": "complaint", "about": {"source": "/services/permits", "id": "e1"}, "text": "why?",
    },
    "complaint.resolved": {"complaint_id": "q1", "outcome": "settled", "answer": "because"},
    "disclosure.withheld": {
        "about": {"source": "/services/permits", "id": "e1"}, "citation": "Penal Code 1", "until": TIME,
    },
    "incident.reported": {
        "incident_id": "i1", "kind": "loss", "categories": ["email"], "contained_at": TIME,
        "about": {"source": "/services/permits", "id": "e1"}, "recipient": "mailer-inc",
    },
    "log.viewed": {"role": "auditor", "operator": "op_1", "scope": "log"},
    "erasure.requested": {"erasure_id": "x1", "categories": ["email"]},
    "data.erased": {"erasure_id": "x1"},
}  # fmt: skip


def an_event(kind: str) -> dict[str, Any]:
    event = {
        "specversion": "1.0", "id": "e1", "source": "/services/permits", "type": KINDS[kind].type,
        "subject": "res_7f2c", "time": TIME, "datacontenttype": "application/json", "correlationid": "case-7",
        "data": copy.deepcopy(FULL[kind]),
    }  # fmt: skip
    if KINDS[kind].reference:
        del event["subject"]
    return event


def valid(event: Any, kind: str) -> bool:
    return bool(Draft202012Validator(schemas.of(KINDS[kind].type)).is_valid(event))


def accepted(event: dict[str, Any]) -> bool:
    try:
        codec.parse(orjson.dumps(event))
    except ConsentLedgerError:
        return False
    return True


def test_there_is_one_schema_for_every_event_type_under_its_name() -> None:
    assert schemas.names() == [name.removeprefix("org.consent-ledger.") for name in EVENTS]
    assert set(FULL) == set(KINDS)
    for event_type in EVENTS:
        schema = schemas.of(event_type)
        Draft202012Validator.check_schema(schema)
        assert schema["$id"] == f"/schemas/{schemas.name_of(event_type)}.json"


@pytest.mark.parametrize("kind", KINDS)
def test_a_complete_event_of_every_kind_passes_both_door_and_schema(kind: str) -> None:
    assert accepted(an_event(kind))
    assert valid(an_event(kind), kind)


@pytest.mark.parametrize("kind", KINDS)
def test_a_record_in_the_log_passes_its_schema_with_what_the_ledger_set(kind: str) -> None:
    record = an_event(kind) | {"recordedtime": "2026-03-03T12:00:01.000000Z", "recordedby": "permits"}
    for field in KINDS[kind].__annotations__["data"].sealed_fields:
        record["data"][field] = SEALED
    codec.read(orjson.dumps(record))
    assert valid(record, kind)


@pytest.mark.parametrize("file", sorted(GOLDEN.glob("*.json")), ids=lambda file: file.stem)
def test_the_golden_event_of_every_version_passes_its_schema(file: Path) -> None:
    event = orjson.loads(file.read_bytes())
    assert f"{schemas.name_of(event['type'])}.json" == file.name
    assert Draft202012Validator(schemas.of(event["type"])).is_valid(event)


def mutations(event: dict[str, Any]) -> list[tuple[str, Any]]:
    """The event, broken in one place at a time: members left out, added, of another type or spelling."""
    broken: list[tuple[str, Any]] = []

    def put(path: tuple[Any, ...], value: Any) -> None:
        made = copy.deepcopy(event)
        at: Any = made
        for step in path[:-1]:
            at = at[step]
        if value is KeyError:
            del at[path[-1]]
        else:
            at[path[-1]] = value
        broken.append((f"{path} {value!r}", made))

    def visit(node: Any, path: tuple[Any, ...]) -> None:
        if isinstance(node, dict):
            put((*path, "surplus"), 1)
            for key, value in node.items():
                put((*path, key), KeyError)
                others: tuple[Any, ...] = (
                    None,
                    7,
                    "",
                    "a b@c",
                    "x" * 5000,
                    [],
                    {},
                    ["x", "x"],
                    True,
                    "2026-03-03T12:00:00",
                )
                for other in others:
                    put((*path, key), other)
                visit(value, (*path, key))
        elif isinstance(node, list) and node:
            put((*path, 0), 7)
            put((*path, 0), "Not An Id")
            visit(node[0], (*path, 0))

    visit(event, ())
    return broken


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "policy.published"])
def test_the_schema_refuses_what_the_door_refuses_and_nothing_else(kind: str) -> None:
    for name, event in mutations(an_event(kind)):
        if event.get("type") == KINDS[kind].type:
            assert valid(event, kind) == accepted(event), name


def test_the_schema_refuses_a_policy_whose_shape_is_broken() -> None:
    # What only the codec sees (references that lead nowhere) is said in the schema's comment.
    for name, event in mutations(an_event("policy.published")):
        if event.get("type") == KINDS["policy.published"].type and accepted(event):
            assert valid(event, "policy.published"), name
    for path, value in ((("purposes",), {}), (("purposes", 0, "parent"), 7), (("channels", "Not An Id"), {})):
        event = an_event("policy.published")
        at: Any = event["data"]
        for step in path[:-1]:
            at = at[step]
        at[path[-1]] = value
        assert not valid(event, "policy.published"), path
    assert "cycle" in schemas.of(KINDS["policy.published"].type)["$comment"]


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("data.used", {"channel": KeyError}),
        ("data.collected", {"origin": "resident"}),
        ("data.collected", {"from": "county"}),
    ],
)
def test_what_one_member_asks_of_another_is_in_the_schema(kind: str, changes: dict[str, Any]) -> None:
    event = an_event(kind)
    for name, value in changes.items():
        if value is KeyError:
            del event["data"][name]
        else:
            event["data"][name] = value
    assert not accepted(event)
    assert not valid(event, kind)


def test_a_pattern_ends_as_ecma_262_writes_it_and_members_set_by_the_ledger_are_marked() -> None:
    for event_type in EVENTS:
        schema = schemas.of(event_type)
        patterns = re.findall(rb'"pattern":"((?:[^"\\]|\\.)*)"', orjson.dumps(schema))
        assert patterns
        assert all(pattern.startswith(b"^") and pattern.endswith(b"$") for pattern in patterns)
        assert b"\\Z" not in b"".join(patterns)
        assert all(schema["properties"][name]["readOnly"] for name in ("recordedtime", "recordedby"))


def references(node: Any) -> list[str]:
    if isinstance(node, dict):
        here = [node["$ref"]] if "$ref" in node else []
        return here + [ref for value in node.values() for ref in references(value)]
    return [ref for item in node for ref in references(item)] if isinstance(node, list) else []


def resolve(document: Any, reference: str) -> Any:
    assert reference.startswith("#/")
    at = document
    for step in reference[2:].split("/"):
        at = at[step.replace("~1", "/").replace("~0", "~")]
    return at


def test_the_asyncapi_document_is_yaml_that_says_what_it_was_made_from() -> None:
    text = asyncapi.document_yaml()
    document = yaml.safe_load(text)
    assert document == orjson.loads(orjson.dumps(asyncapi.document()))
    assert asyncapi.to_yaml(document) == text


def test_the_asyncapi_document_has_the_structure_of_asyncapi_3() -> None:
    document = yaml.safe_load(asyncapi.document_yaml())
    assert re.fullmatch(r"3\.0\.\d+", document["asyncapi"])
    assert {"title", "version"} <= set(document["info"])
    assert set(document) <= {
        "asyncapi",
        "id",
        "info",
        "servers",
        "defaultContentType",
        "channels",
        "operations",
        "components",
    }
    for reference in references(document):
        assert resolve(document, reference) is not None, reference
    for kind in ("messages", "schemas"):
        assert all(re.fullmatch(r"[\w.-]+", name) for name in document["components"][kind])
    for channel in document["channels"].values():
        named = re.findall(r"\{([^}]+)\}", channel["address"])
        assert named == list(channel.get("parameters", {}))
        assert channel["messages"]
    for operation in document["operations"].values():
        assert operation["action"] in ("send", "receive")
        assert resolve(document, operation["channel"]["$ref"]) in document["channels"].values()


def test_the_asyncapi_document_has_a_message_for_every_event_and_its_schema_accepts_the_event() -> None:
    document = yaml.safe_load(asyncapi.document_yaml())
    for kind, event in KINDS.items():
        name = schemas.name_of(event.type)
        assert name in document["channels"]["events"]["messages"]
        message = document["components"]["messages"][name]
        assert message["name"] == event.type
        schema = {"$ref": message["payload"]["$ref"], "components": document["components"]}
        assert Draft202012Validator(schema).is_valid(an_event(kind))


def test_no_kind_with_sealed_fields_and_none_of_the_ledgers_own_comes_in_by_kafka() -> None:
    taken = asyncapi.document()["channels"]["intake"]["messages"]
    assert "data.used.v1" in taken
    for name in ("log.viewed.v1", "data.erased.v1", "complaint.filed.v1", "data.contested.v1"):
        assert name not in taken

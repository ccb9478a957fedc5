"""The OpenAPI document is one that a client can be made from: who may call, what goes in, how every refusal looks."""

import json
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from api.auth import SCOPES
from api.http import answers
from api.http.app import create_app
from api.http.runtime import Runtime
from ledger.events import EVENTS
from tests.door import complaint, consent, event, service_registered

PUBLIC = {
    "/livez",
    "/readyz",
    "/v1/anonymous",
    "/v1/asyncapi.yaml",
    "/v1/keys",
    "/v1/policies",
    "/v1/policies/{version}",
    "/v1/purposes",
    "/v1/schemas/",
    "/v1/schemas/{name}.json",
}
BY_CODE = ("get", "/v1/anonymous")
READINESS = ("/readyz", "503")  # a report of the parts, whether ready or not
STATUSES = {"400", "401", "403", "404", "409", "410", "413", "415", "422", "429", "503"}
METHODS = {"get", "put", "post", "delete", "patch", "head", "options"}
STRUCTURED, BATCH, BINARY = (
    "application/cloudevents+json",
    "application/cloudevents-batch+json",
    "application/json",
)


def never() -> AbstractAsyncContextManager[Runtime]:
    raise AssertionError("the document needs no server")


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    made: dict[str, Any] = json.loads(json.dumps(create_app(never, answers.routers()).openapi()))
    return made


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        assert item.keys() <= METHODS
        for method, operation in item.items():
            yield path, method, operation


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        yield from node.get("discriminator", {}).get("mapping", {}).values()
    for inner in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from references(inner)


def resolved(document: dict[str, Any], reference: str) -> Any:
    found: Any = document
    assert reference.startswith("#/")
    for step in reference[2:].split("/"):
        found = found[step]
    return found


def body_schema(document: dict[str, Any], path: str, media_type: str) -> Draft202012Validator:
    schema = document["paths"][path]["post"]["requestBody"]["content"][media_type]["schema"]
    return Draft202012Validator({**schema, "components": document["components"]})


def test_it_is_whole(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1.")
    ids = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(ids) == len(set(ids)) > 10
    used = set(references(document))
    assert all(resolved(document, reference) for reference in used)
    for name, schema in document["components"]["schemas"].items():
        Draft202012Validator.check_schema(schema)
        assert f"#/components/schemas/{name}" in used, "nothing is described that no door takes or gives"
    for path, _, operation in operations(document):
        given = [(p["in"], p["name"]) for p in operation.get("parameters", [])]
        assert len(given) == len(set(given))
        assert {name for where, name in given if where == "path"} == {
            part.split("}")[0] for part in path.split("{")[1:]
        }
        assert all(answer["description"] for answer in operation["responses"].values())


def test_every_door_but_the_public_ones_needs_the_bearer_token(document: dict[str, Any]) -> None:
    schemes = document["components"]["securitySchemes"]
    assert {name: (scheme["type"], scheme["scheme"]) for name, scheme in schemes.items()} == {
        "bearer": ("http", "bearer"),
        "receipt": ("http", "receipt"),
    }
    for path, method, operation in operations(document):
        if (method, path) == BY_CODE:
            assert operation["security"] == [{"receipt": []}]
            assert "401" in operation["responses"] and "403" not in operation["responses"]
        elif path in PUBLIC:
            assert operation["security"] == []
            assert not {"401", "403"} & operation["responses"].keys()
        else:
            assert {name for way in operation["security"] for name in way} == {"bearer"}
            assert {scope for way in operation["security"] for scope in way["bearer"]} <= set(SCOPES)
            assert {"401", "403", "503"} <= operation["responses"].keys()
    assert document["paths"].keys() >= PUBLIC


def test_the_doors_of_residents_and_staff_name_the_scope_that_they_need(document: dict[str, Any]) -> None:
    needed = {"put": "self", "post": "self"}
    for path, method, operation in operations(document):
        if path.startswith("/v1/queue"):
            assert operation["security"] == [{"bearer": ["rules:write"]}]
        elif path.startswith("/v1/me/") and method in needed and path != "/v1/me/erasure":
            assert operation["security"] == [{"bearer": ["self"]}]
            assert {"400", "413", "415", "422", "429", "503"} <= operation["responses"].keys()


def test_every_refusal_is_a_problem_document_of_a_status_of_the_contract(document: dict[str, Any]) -> None:
    for path, _, operation in operations(document):
        refusals = {status: answer for status, answer in operation["responses"].items() if status >= "400"}
        assert refusals.keys() <= STATUSES
        for status, answer in refusals.items():
            if (path, status) == READINESS:
                continue
            assert answer["content"] == {
                "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
            }
            assert ("Retry-After" in answer.get("headers", {})) == (status in ("429", "503"))
    problem = document["components"]["schemas"]["Problem"]
    assert {"type", "title", "status", "errors"} <= set(problem["required"])


def test_the_doors_that_record_say_each_status_they_can_answer(document: dict[str, Any]) -> None:
    events, check = (document["paths"][path]["post"]["responses"].keys() for path in ("/v1/events", "/v1/check"))
    assert set(events) == {"200", "201", *STATUSES} - {"404"}
    assert set(check) == {"200", "400", "401", "403", "413", "415", "422", "429", "503"}
    for path, _, operation in operations(document):
        if path.startswith(("/v1/records", "/v1/residents/")):
            assert {"404", "422", "429", "503"} <= operation["responses"].keys()


def test_every_post_says_what_it_takes(document: dict[str, Any]) -> None:
    posts = {path: operation for path, method, operation in operations(document) if method == "post"}
    assert {"/v1/events", "/v1/check"} <= posts.keys()
    assert all(post["requestBody"]["required"] and post["requestBody"]["content"] for post in posts.values())
    assert posts["/v1/events"]["requestBody"]["content"].keys() == {STRUCTURED, BATCH, BINARY}
    assert posts["/v1/check"]["requestBody"]["content"].keys() == {STRUCTURED, BINARY}
    for path in ("/v1/events", "/v1/check"):
        headers = {p["name"] for p in posts[path]["parameters"] if p["in"] == "header" and not p["required"]}
        assert headers >= {"ce-specversion", "ce-id", "ce-source", "ce-type", "ce-subject", "ce-time"}


def test_the_schemas_of_the_events_door_take_what_it_takes(document: dict[str, Any]) -> None:
    one, batch = (body_schema(document, "/v1/events", media_type) for media_type in (STRUCTURED, BATCH))
    sent = [event(), consent(), service_registered()]
    for body in sent:
        one.validate(body)
    batch.validate(sent)
    assert not batch.is_valid([])
    assert not batch.is_valid(sent[:1] * 1_001)
    assert not one.is_valid(event("no.such.kind"))
    assert not one.is_valid({**consent(), "data": {"consent_id": "c1"}})
    binary = body_schema(document, "/v1/events", BINARY)
    binary.validate(consent()["data"])
    assert not binary.is_valid({"nonsense": 1})
    kinds = document["components"]["schemas"]["Event"]["discriminator"]["mapping"]
    assert kinds.keys() == EVENTS.keys()


def test_the_schemas_of_the_check_door_take_judged_kinds_only(document: dict[str, Any]) -> None:
    data = {"categories": ["email"], "purpose": "4.2", "operation": "analyse", "basis": {"kind": "stated-purpose"}}
    used = event("data.used", data=data)
    one, plain = (body_schema(document, "/v1/check", media_type) for media_type in (STRUCTURED, BINARY))
    one.validate(used)
    plain.validate(used)
    plain.validate(used["data"])
    for other in (consent(), complaint("text"), service_registered()):
        assert not one.is_valid(other)

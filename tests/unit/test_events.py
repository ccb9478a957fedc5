"""The catalogue of events.md, kind by kind: who may say what, in which shape; and one golden event of each version."""

from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest
from msgspec import UNSET

from ledger import codec
from ledger.errors import Malformed
from ledger.events import EVENTS, JUDGED, KINDS, LEDGER_ONLY, TYPE_PREFIX, Sealed

GOLDEN = Path(__file__).resolve().parents[1] / "vectors" / "golden"
REFERENCE = {
    "policy.published",
    "service.registered",
    "agreement.signed",
    "agreement.ended",
    "legal-demand.decided",
}
RULES_WRITE = {*REFERENCE, "disclosure.withheld", "contest.resolved", "complaint.resolved", "access.answered"}
BY_THE_LEDGER = {"log.viewed", "erasure.requested", "data.erased"}
RESIDENT = {
    "notice.given",
    "data.collected",
    "data.used",
    "data.shared",
    "consent.given",
    "consent.withdrawn",
    "preference.set",
    "anonymity.chosen",
    "anonymity.ended",
    "data.reviewed",
    "access.requested",
    "access.answered",
    "data.updated",
    "data.contested",
    "contest.resolved",
    "complaint.filed",
    "complaint.resolved",
    "disclosure.withheld",
    "log.viewed",
    "erasure.requested",
    "data.erased",
}
SEALED = {
    ("access.answered", "answer"),
    ("data.contested", "claim"),
    ("contest.resolved", "answer"),
    ("complaint.filed", "text"),
    ("complaint.resolved", "answer"),
}
EXCLUSIVE = {("data.collected", "from_")}
"""`from` comes with origin third-party only, `provider` with social-login only: the golden event has the latter."""


def golden(name: str) -> bytes:
    return (GOLDEN / f"{name}.json").read_bytes()


def names() -> list[str]:
    return [type_name.removeprefix(TYPE_PREFIX) for type_name in EVENTS]


def without_subject(name: str) -> bytes:
    envelope = orjson.loads(golden(name))
    envelope.pop("subject", None)
    return orjson.dumps(envelope)


def test_the_catalogue_is_the_contract_s() -> None:
    assert set(KINDS) == REFERENCE | RESIDENT | {"incident.reported"}
    assert set(JUDGED) == {"data.collected", "data.used", "data.shared"}


def test_every_version_of_every_kind_has_one_golden_event_and_no_other_is_kept() -> None:
    assert sorted(path.name for path in GOLDEN.glob("*.json")) == sorted(f"{name}.json" for name in names())


@pytest.mark.parametrize("name", names())
def test_a_golden_event_is_read_and_written_byte_for_byte(name: str) -> None:
    event = codec.read(golden(name))
    assert event.type == TYPE_PREFIX + name
    assert codec.encode(event) == golden(name)


@pytest.mark.parametrize("name", names())
def test_a_golden_event_fills_every_field(name: str) -> None:
    event = codec.read(golden(name))
    empty = [(event.kind, f) for f in event.data.__struct_fields__ if getattr(event.data, f) is UNSET]
    assert set(empty) <= EXCLUSIVE
    attributes = [f for f in event.__struct_fields__ if getattr(event, f) is UNSET]
    assert attributes == (["subject"] if event.reference is True else [])


@pytest.mark.parametrize("name", names())
def test_an_unknown_field_is_an_error_in_every_kind(name: str) -> None:
    for where in ("envelope", "data"):
        envelope: dict[str, Any] = orjson.loads(golden(name))
        (envelope if where == "envelope" else envelope["data"])["favourite_colour"] = "SECRET"
        with pytest.raises(Malformed) as refused:
            codec.read(orjson.dumps(envelope))
        assert refused.value.problems[0].code == "unknown-field"


@pytest.mark.parametrize("name", names())
def test_a_reference_fact_has_no_subject_and_a_fact_about_a_resident_has_one(name: str) -> None:
    event = codec.read(golden(name))
    if event.reference is True:
        with_subject = {**orjson.loads(golden(name)), "subject": "res_7f2c"}
        with pytest.raises(Malformed):
            codec.read(orjson.dumps(with_subject))
    elif event.reference is False:
        with pytest.raises(Malformed) as refused:
            codec.read(without_subject(name))
        assert refused.value.problems == (("/subject", "missing"),)
    else:
        assert codec.read(without_subject(name)).subject is UNSET


def test_reference_kinds_and_scopes_are_the_contract_s() -> None:
    assert {kind for kind, event in KINDS.items() if event.reference is True} == REFERENCE
    assert {kind for kind, event in KINDS.items() if event.reference is None} == {"incident.reported"}
    assert {kind for kind, event in KINDS.items() if event.scope == "rules:write"} == RULES_WRITE
    assert {kind for kind, event in KINDS.items() if event.scope == LEDGER_ONLY} == BY_THE_LEDGER


def test_an_incident_that_names_nobody_yet_is_a_reference_fact_and_needs_the_scope_for_rules() -> None:
    named = codec.read(golden("incident.reported.v1"))
    unnamed = codec.read(without_subject("incident.reported.v1"))
    assert (named.scope_needed(), unnamed.scope_needed()) == ("events:write", "rules:write")


def test_sealed_fields_are_the_contract_s_and_stand_sealed_in_the_log() -> None:
    declared = {(kind, name) for kind, event in KINDS.items() for name in event.__annotations__["data"].sealed_fields}
    assert declared == SEALED
    for kind, name in SEALED:
        assert isinstance(getattr(codec.read(golden(f"{kind}.v1")).data, name), Sealed)


@pytest.mark.parametrize(
    ("name", "path"),
    [
        (name, path)
        for name in names()
        for path in [
            field.encode_name
            for field in msgspec.structs.fields(EVENTS[TYPE_PREFIX + name].__annotations__["data"])
            if field.required
        ]
    ],
)
def test_a_required_field_is_required(name: str, path: str) -> None:
    envelope = orjson.loads(golden(name))
    del envelope["data"][path]
    with pytest.raises(Malformed) as refused:
        codec.read(orjson.dumps(envelope))
    assert refused.value.problems == ((f"/data/{path}", "missing"),)


def test_a_null_is_not_an_absent_field() -> None:
    for name in names():
        envelope = orjson.loads(golden(name))
        for path in envelope["data"]:
            changed = {**envelope, "data": {**envelope["data"], path: None}}
            with pytest.raises(Malformed):
                codec.read(orjson.dumps(changed))

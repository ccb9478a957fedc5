"""What the intake takes and refuses, and how a refusal is written; which clients the settings name."""

import re
from pathlib import Path

import orjson
import pytest

from api.settings import Settings
from ledger.errors import (
    ConfigurationError,
    Conflict,
    ConsentLedgerError,
    Erased,
    Forbidden,
    LogError,
    Malformed,
    Problem,
    TooLarge,
    Unavailable,
)
from ledger.events import EVENTS, Event
from ledger.recording.intake import Place, codes, examine, rejection
from ledger.recording.record import Busy
from tests.door import complaint, event

SECRET = "Maria lives at 12 Oak Street"


def raw(**members: object) -> bytes:
    return orjson.dumps(event(**members))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (b"", "json"),
        (b"\xff\xfe", "utf-8"),
        (b"null", "type"),
        (b"[]", "type"),
        (b"[" * 100_000, "too-large"),
        (b"[" * 20_000, "nesting"),
        (b'{"a": 1, "a": 2}', "repeated-member"),
        (raw(data={"note": SECRET}), "unknown-field"),
        (raw(recordedby="other"), "set-by-the-ledger"),
        (raw(subject=None), "missing"),
        (raw(kind="data.teleported"), "unknown-type"),
        (raw(subject=SECRET), "pattern"),
        (raw(time="2026-02-30T00:00:00Z"), "no-such-time"),
        (raw(data={"x": "y" * 10 * 32_768}), "too-large"),
        (orjson.dumps(complaint(SECRET)), "sealed-kind"),
        (raw(kind="contest.resolved", data={"contest_id": "c1", "outcome": "upheld"}), "sealed-kind"),
    ],
)
def test_what_the_door_would_refuse_is_refused_with_its_code_and_without_its_value(value: bytes, code: str) -> None:
    found = examine(value)
    assert isinstance(found, ConsentLedgerError)
    assert codes(found) == (code,)
    written = rejection(Place("ledger.intake.x", 3, 41), codes(found))
    assert orjson.loads(written.value) == {"topic": "ledger.intake.x", "partition": 3, "offset": 41, "codes": [code]}
    assert (written.partition, written.key) == (0, "ledger.intake.x/3/41")


def test_a_well_formed_event_is_one_for_the_recorder() -> None:
    found = examine(raw(id="e1"))
    assert isinstance(found, Event)
    assert found.id == "e1"
    assert codes(found) == ()


def test_every_kind_with_a_sealed_field_is_refused_and_no_other() -> None:
    golden = Path(__file__).parents[1] / "vectors" / "golden"
    for cls in EVENTS.values():
        said = orjson.loads((golden / f"{cls.kind}.v1.json").read_bytes())
        sealed = said["data"].keys() & set(cls.__annotations__["data"].sealed_fields)
        sent = {k: v for k, v in said.items() if k not in ("recordedtime", "recordedby")}
        sent["data"] = {k: "words" if k in sealed else v for k, v in said["data"].items()}
        found = examine(orjson.dumps(sent))
        has_sealed = bool(cls.__annotations__["data"].sealed_fields)
        assert isinstance(found, Forbidden) == has_sealed, cls.kind


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (Forbidden("source", "x"), ("source",)),
        (Malformed([Problem("/a", "type"), Problem("/b", "type"), Problem("/c", "missing")]), ("type", "missing")),
        (Conflict("0-1"), ("conflict",)),
        (Erased(), ("erased",)),
        (TooLarge("x"), ("too-large",)),
        (Unavailable("x"), ()),
        (Busy("x"), ()),
        (LogError("x"), ()),
    ],
)
def test_only_what_is_final_is_refused_and_the_rest_is_tried_again(
    error: ConsentLedgerError, why: tuple[str, ...]
) -> None:
    assert codes(error) == why


def test_a_range_that_was_deleted_says_where_it_ends() -> None:
    written = rejection(Place("ledger.intake.x", 0, 5, 9), ("deleted-unread",))
    assert orjson.loads(written.value)["until"] == 9


@pytest.mark.parametrize(
    "clients",
    [
        {"": {"events:write": ["/a"]}},
        {"..": {"events:write": ["/a"]}},
        {"a/b": {"events:write": ["/a"]}},
        {"a" * 65: {"events:write": ["/a"]}},
        {"a\n": {"events:write": ["/a"]}},
        {"a": {}},
        {"a": {"events:write": []}},
        {"a": {"events:write": [""]}},
        {"a": {"self": ["/my"]}},
    ],
)
def test_clients_that_make_no_sense_are_a_configuration_error(clients: dict[str, dict[str, tuple[str, ...]]]) -> None:
    with pytest.raises(ConfigurationError, match="CONSENT_LEDGER_INTAKE_CLIENTS"):
        Settings(intake_clients=clients).intake_principals()


def test_clients_come_from_the_environment_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONSENT_LEDGER_INTAKE_CLIENTS", '{"permits-app": {"events:write": ["/services/permits"]}}')
    [principal] = Settings().intake_principals()
    assert principal.client_id == "permits-app"
    assert principal.may_emit_for("events:write", "/services/permits")
    assert not principal.may_emit_for("events:write", "/services/parks")
    assert not principal.has("rules:write")


def test_the_page_s_examples_are_what_the_code_takes_and_writes() -> None:
    page = (Path(__file__).parents[2] / "docs" / "spec" / "intake.md").read_text("utf-8")
    sent, refused = re.findall(r"^```json\n(.*?)\n```", page, re.MULTILINE | re.DOTALL)
    assert isinstance(examine(sent.encode()), Event)
    place = Place("ledger.intake.permits-app", 0, 17)
    assert orjson.loads(refused) == orjson.loads(rejection(place, ("unknown-field",)).value)
    listed = set(re.findall(r"`([a-z-]+)`", page.partition("## What a refusal says")[2]))
    authority = (Path(__file__).parents[2] / "ledger" / "authority.py").read_text("utf-8")
    codes_of_the_door = set(re.findall(r'Forbidden\("([a-z-]+)"', authority)) - {"subject"}
    others = {"consent", "conflict", "too-large", "sealed-kind", "no-value", "deleted-unread"}
    assert codes_of_the_door | others <= listed

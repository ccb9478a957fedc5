"""Who may emit what, and what a repeat is: the rules of the record path, without servers."""

from typing import Any

import orjson
import pytest

from ledger import codec
from ledger.authority import SELF, Door, Principal, authorise
from ledger.errors import Conflict, Forbidden, Malformed
from ledger.events import EVENTS_WRITE, KINDS, LEDGER_ONLY, RULES_WRITE, Event
from ledger.log import Position
from ledger.recording.record import Known, check_consent, check_policy, check_time, recorded, repeat_of, stamp

NOW = codec.instant("2026-03-03T12:00:00Z")
GOLDEN = sorted(KINDS)


def golden(kind: str) -> Event:
    """The event of each kind that the tests keep, as an emitter sends it."""
    from pathlib import Path

    raw = (Path(__file__).parents[1] / "vectors" / "golden" / f"{kind}.v1.json").read_bytes()
    members = orjson.loads(raw)
    return codec.read(orjson.dumps({k: v for k, v in members.items() if k not in ("recordedtime", "recordedby")}))


def made(kind: str = "anonymity.chosen", **members: Any) -> Event:
    whole: dict[str, Any] = {
        "specversion": "1.0",
        "id": "e1",
        "source": "/services/permits",
        "type": f"org.consent-ledger.{kind}.v1",
        "subject": "res_7f2c",
        "time": "2026-03-03T12:00:00Z",
        "datacontenttype": "application/json",
        "data": {},
    }
    return codec.parse(orjson.dumps({k: v for k, v in {**whole, **members}.items() if v is not None}))


@pytest.mark.parametrize("kind", GOLDEN)
def test_each_kind_takes_exactly_its_own_scope(kind: str) -> None:
    event = golden(kind)
    for scope in (EVENTS_WRITE, RULES_WRITE):
        principal = Principal("app", {scope: (event.source,)})
        if event.scope_needed() == scope and event.source not in ("/my", "/ledger"):
            authorise(event, principal)
        else:
            with pytest.raises(Forbidden):
                authorise(event, principal)


@pytest.mark.parametrize("kind", [k for k in GOLDEN if KINDS[k].scope == LEDGER_ONLY])
def test_the_ledger_s_own_kinds_are_open_to_no_token(kind: str) -> None:
    everything = Principal("app", {EVENTS_WRITE: ("*",), RULES_WRITE: ("*",), SELF: ()}, "res_7f2c")
    for door in (Door.EVENTS, Door.MY):
        with pytest.raises(Forbidden) as caught:
            authorise(golden(kind), everything, door)
        assert caught.value.code == "kind"


def test_a_star_reaches_every_source_but_those_the_ledger_speaks_for() -> None:
    everything = Principal("app", {EVENTS_WRITE: ("*",)})
    authorise(made(source="/services/anything"), everything)
    for source in ("/my", "/ledger"):
        with pytest.raises(Forbidden):
            authorise(made(source=source), everything)
        with pytest.raises(Forbidden):
            authorise(made(source=source), Principal("app", {EVENTS_WRITE: (source,)}))


def test_a_resident_speaks_for_themselves_only_through_their_own_door() -> None:
    resident = Principal("my-pages", {SELF: ()}, "res_7f2c")
    mine = made(source="/my")
    authorise(mine, resident, Door.MY)
    for event, principal, door in (
        (mine, resident, Door.EVENTS),
        (made(source="/my", subject="res_0000"), resident, Door.MY),
        (made(), resident, Door.MY),
        (mine, Principal("my-pages", {SELF: ()}), Door.MY),
        (mine, Principal("my-pages", {EVENTS_WRITE: ("*",)}, "res_7f2c"), Door.MY),
    ):
        with pytest.raises(Forbidden):
            authorise(event, principal, door)


def known(event: Event, position: str) -> Known:
    return Known(Position.parse(position), codec.encode(stamp(event, NOW, "app")))


def test_the_first_record_of_the_same_event_is_its_answer() -> None:
    found = repeat_of(made(), [known(made(), "0-9"), known(made(), "0-4")])
    assert found == recorded(known(made(), "0-4"), new=False)
    assert repeat_of(made(), []) is None


def test_who_recorded_it_and_when_is_no_part_of_the_content() -> None:
    other = Known(Position(0, 4), codec.encode(stamp(made(), NOW - 1_000_000, "another")))
    assert repeat_of(made(), [other]) is not None


@pytest.mark.parametrize(
    ("records", "position"),
    [
        ([known(made(time="2026-03-03T12:00:01Z"), "0-4"), known(made(), "0-9")], "0-4"),
        ([known(made(subject="res_0000"), "2-1")], "2-1"),
        ([known(made(subject="res_0000"), "2-1"), known(made(subject="res_1111"), "1-8")], "1-8"),
    ],
)
def test_an_id_known_with_other_content_or_another_subject_is_a_conflict(records: list[Known], position: str) -> None:
    with pytest.raises(Conflict) as caught:
        repeat_of(made(), records)
    assert caught.value.position == position


def test_the_same_instant_spelled_otherwise_is_other_content() -> None:
    """Equal JSON values, not equal meaning: the record's bytes are what was said."""
    with pytest.raises(Conflict):
        repeat_of(made(time="2026-03-03T12:00:00+00:00"), [known(made(), "0-4")])


def test_five_minutes_ahead_is_the_limit_and_the_past_has_none() -> None:
    check_time(made(time="2026-03-03T12:05:00Z"), NOW)
    check_time(made(time="1970-01-01T00:00:00Z"), NOW)
    with pytest.raises(Malformed):
        check_time(made(time="2026-03-03T12:05:00.000001Z"), NOW)


def consent(kind: str, source: str) -> Event:
    given = {"consent_id": "c1", "purposes": ["4.7"], "method": "web"}
    return made(kind, source=source, data=given if kind == "consent.given" else {"consent_id": "c1"})


@pytest.mark.parametrize(
    ("kind", "source", "owner", "allowed"),
    [
        ("consent.given", "/a", None, True),
        ("consent.given", "/a", "/a", True),
        ("consent.given", "/b", "/a", False),
        ("consent.given", "/my", "/a", False),
        ("consent.given", "/a", "/my", False),
        ("consent.withdrawn", "/a", None, True),
        ("consent.withdrawn", "/a", "/a", True),
        ("consent.withdrawn", "/b", "/a", False),
        ("consent.withdrawn", "/my", "/a", True),
        ("consent.withdrawn", "/a", "/my", False),
    ],
)
def test_a_consent_is_given_by_one_source_and_withdrawn_by_it_or_the_resident(
    kind: str, source: str, owner: str | None, allowed: bool
) -> None:
    owners = {} if owner is None else {("res_7f2c", "c1"): owner}
    if allowed:
        check_consent(consent(kind, source), owners)
    else:
        with pytest.raises(Forbidden):
            check_consent(consent(kind, source), owners)


def test_a_policy_of_the_past_is_taken_only_by_a_ledger_that_has_none() -> None:
    policy = golden("policy.published")
    now = codec.instant(policy.data.effective_from) + 1
    check_policy(policy, now, [])
    check_policy(policy, now - 1, [policy.data.policy_id])
    with pytest.raises(Malformed):
        check_policy(policy, now, [policy.data.policy_id])
    with pytest.raises(Malformed):
        check_policy(policy, now - 1, ["another"])

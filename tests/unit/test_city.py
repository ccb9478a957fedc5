"""Keeps the promise of the seeded city: every event of the story is judged as was written beside it, by hand."""

import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest

from api.city.entry import Entry, Expect
from api.city.live import live_events
from api.city.places import MY, SERVICES, principal_of
from api.city.story import ENDS, expectations, story
from api.city.table import COLUMNS, table
from ledger import codec
from ledger.authority import authorise
from ledger.errors import Malformed
from ledger.events import JUDGED, KINDS, LEDGER_ONLY, Event
from ledger.history import PartitionHistory, Row, verdict_json
from ledger.reasons import ANY_VERSION, REASONS
from ledger.recording.record import check_consent, check_policy, check_time, consent_of, stamp
from tests.reference.judge import judge_all

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "city.md"
POLICY_CODES = ("2018-04-18", "2026-03-09-trial")


def recorded(entries: Sequence[Entry]) -> list[Event]:
    """The events as the ledger appends them: parsed at the door, stamped with the story's clock."""
    events = []
    for entry in entries:
        principal, _ = principal_of(entry.source, entry.subject)
        events.append(stamp(codec.parse(entry.raw), codec.instant(entry.recorded), principal.client_id))
    return events


def judged(events: Sequence[Event], partition_of: dict[str, int]) -> dict[tuple[str, str], Row]:
    """The open rows by (source, id), each partition holding its residents and every reference fact."""
    rows: dict[tuple[str, str], Row] = {}
    for partition in sorted(set(partition_of.values())):
        history = PartitionHistory(partition)
        offset = 0
        for event in events:
            if isinstance(event.subject, str) and partition_of[event.subject] != partition:
                continue
            for row in history.apply(offset, event):
                rows[row.event.source, row.event.id] = row
            offset += 1
    return rows


def as_text(rule: str, result: str, code: str, categories: tuple[str, ...]) -> str:
    return f"{rule} {result}/{code}" + (f" [{', '.join(categories)}]" if categories else "")


def actual(row: Row) -> Expect:
    findings = tuple(sorted(as_text(*finding[:4]) for finding in row.verdict.findings))
    return Expect(row.verdict.outcome, row.first_outcome, findings)


RESIDENTS = sorted({entry.subject for entry in story() if entry.subject is not None})
LAYOUTS = {
    "all in one partition": dict.fromkeys(RESIDENTS, 0),
    "three partitions": {subject: i % 3 for i, subject in enumerate(RESIDENTS)},
    "a partition each": {subject: i for i, subject in enumerate(RESIDENTS)},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_verdict_is_the_one_written_beside_the_event(layout: str) -> None:
    rows = judged(recorded(story()), LAYOUTS[layout])
    assert {key: actual(row) for key, row in rows.items()} == dict(expectations())


def test_the_judge_that_rereads_everything_agrees_with_what_is_written() -> None:
    verdicts = judge_all(enumerate(recorded(story())))
    found = {
        (v.source, v.id): Expect(v.outcome, v.first_outcome, tuple(sorted(as_text(*f) for f in v.findings)))
        for v in verdicts
    }
    assert found == dict(expectations())


def test_every_judged_event_has_an_expectation_and_no_other_event_has() -> None:
    assert {e.id for e in story() if (e.kind in JUDGED) != (e.expect is not None)} == set()
    assert len(expectations()) == sum(e.kind in JUDGED for e in story())


def test_every_rule_result_and_code_of_the_contract_comes_up() -> None:
    seen = set()
    for expect in expectations().values():
        for finding in expect.findings:
            rule, result, code = re.fullmatch(r"([a-z-]+) ([a-z]+)/([^ ]+)(?: \[.*\])?", finding).groups()  # type: ignore[union-attr]
            in_force = rule == "policy-in-force" and code in POLICY_CODES
            seen.add((rule, result, ANY_VERSION if in_force else code))
    assert seen == set(REASONS)


def test_the_city_is_what_it_says() -> None:
    entries = story()
    assert len(RESIDENTS) == 10
    assert all(re.fullmatch(r"res_[0-9a-f]{4}", subject) for subject in RESIDENTS)
    registered = [e.data["service"] for e in entries if e.kind == "service.registered"]
    assert registered == [service.source for service in SERVICES]
    assert len(registered) == 6
    emitters = {e.source for e in entries if e.kind in JUDGED}
    assert emitters == set(registered)
    assert entries[0].kind == "policy.published"
    assert [e.recorded for e in entries] == sorted(e.recorded for e in entries)
    assert entries[0].recorded[:10] == "2024-11-01"
    assert "2026-10" <= entries[-1].recorded < ENDS


def test_every_kind_comes_up_but_those_that_only_the_ledger_emits() -> None:
    wanted = {kind for kind, event in KINDS.items() if event.scope != LEDGER_ONLY}
    assert {e.kind for e in story()} == wanted


def test_unanswered_are_one_complaint_and_one_contest() -> None:
    def open_ones(asked: str, answered: str, name: str) -> list[str]:
        ended = {e.data[name] for e in story() if e.kind == answered}
        return [e.data[name] for e in story() if e.kind == asked and e.data[name] not in ended]

    assert open_ones("complaint.filed", "complaint.resolved", "complaint_id") == ["7f2c.complaint-2"]
    assert open_ones("data.contested", "contest.resolved", "contest_id") == ["5a61.contest-1"]
    assert open_ones("access.requested", "access.answered", "request_id") == []


def test_only_the_deliberate_cases_are_recorded_later_than_they_happened() -> None:
    late = {e.id for e in story() if codec.instant(e.recorded) != codec.instant(e.event["time"])}
    assert late == {"demand.1", "7f2c.consent-1.end", "04ea.card-2018", "5a61.consent-1"}


def test_every_event_names_what_the_story_holds() -> None:
    known = {(e.source, e.id) for e in story()}
    consents = {e.data["consent_id"] for e in story() if e.kind == "consent.given"}
    assert len(known) == len(story())
    for entry in story():
        if "about" in entry.data:
            assert (entry.data["about"]["source"], entry.data["about"]["id"]) in known
        if "notice_id" in entry.data:
            assert (entry.source, entry.data["notice_id"]) in known
        if entry.data.get("basis", {}).get("kind") == "consent":
            assert entry.data["basis"]["consent_id"] in consents


def test_the_doors_let_every_event_of_the_story_in() -> None:
    owners: dict[tuple[str, str], str] = {}
    policies: list[str] = []
    for entry in [*story(), *live_events(codec.instant("2026-11-22T20:00:00Z"))]:
        event = codec.parse(entry.raw)
        principal, door = principal_of(entry.source, entry.subject)
        authorise(event, principal, door)
        now = codec.instant(entry.recorded)
        check_time(event, now)
        check_policy(event, now, policies)
        check_consent(event, owners)
        if entry.source == MY:
            assert entry.recorded == entry.event["time"], "what a resident does has the ledger's clock as time"
        if entry.kind == "policy.published":
            policies.append(entry.data["policy_id"])
        consent = consent_of(event)
        if consent is not None:
            owners.setdefault(consent, entry.source)


def test_a_wrong_subject_or_a_time_ahead_would_not_get_in() -> None:
    entry = next(e for e in story() if e.source == MY)
    with pytest.raises(Malformed):
        check_time(codec.parse(entry.raw), codec.instant("2024-01-01T00:00:00Z"))


@pytest.mark.parametrize("now", ["2026-11-22T20:15:30Z", "2026-11-01T00:00:00.5Z", "2031-02-28T23:59:59Z"])
def test_what_is_sent_today_is_judged_as_written_even_when_it_is_sent_twice(now: str) -> None:
    at = codec.instant(now)
    first, second = live_events(at), live_events(at + 90_000_000)
    assert not {e.id for e in first} & {e.id for e in second}
    rows = judged(recorded([*story(), *first, *second]), LAYOUTS["all in one partition"])
    live = {(e.source, e.id): e.expect for e in [*first, *second] if e.expect is not None}
    assert {key: actual(rows[key]) for key in live} == live
    assert {expect.outcome for expect in live.values()} == {"consistent", "inconsistent", "undetermined"}
    assert {key: actual(row) for key, row in rows.items() if key not in live} == dict(expectations())
    assert all(codec.instant(e.event["time"]) <= at for e in first)


def test_the_table_shows_every_use_and_share_with_a_reason_and_a_statement() -> None:
    found = table(verdicts_json(), story())
    assert found.differences == ()
    shown = [e for e in story() if e.kind in ("data.used", "data.shared")]
    assert [(line.source, line.id) for line in found.lines] == [(e.source, e.id) for e in shown]
    assert all(line.as_seeded and line.reason and line.statement for line in found.lines)
    assert {len(line.cells()) for line in found.lines} == {len(COLUMNS)}
    [press] = [line.cells() for line in found.lines if line.id == "1b94.press-1"]
    assert press[:6] == (
        "2025-03-17",
        "Permits",
        "res_1b94",
        "share with daily-lantern: permit-application, request-content",
        "4.2/permit",
        "consistent, first undetermined",
    )


def test_the_table_says_which_answers_differ_and_how() -> None:
    answers = {answer["id"]: answer for answer in verdicts_json()}
    del answers["7f2c.pothole.crew"]
    answers["1b94.press-1"]["first_outcome"] = "consistent"
    answers["c3d8.tip"]["findings"].pop()
    found = table(answers.values(), story())
    assert found.differences == (
        "/services/requests 7f2c.pothole.crew: no answer, expected consistent",
        "/services/permits 1b94.press-1: first_outcome is consistent, expected undetermined",
        "/services/requests c3d8.tip: does not find purposes-known holds/stated-in-policy",
    )
    assert [line.id for line in found.lines if not line.as_seeded] == ["7f2c.pothole.crew", "1b94.press-1"]


def verdicts_json() -> list[dict[str, Any]]:
    """The pure judge's answers, in the contract's JSON."""
    rows = judged(recorded(story()), LAYOUTS["all in one partition"])
    return [orjson.loads(orjson.dumps(verdict_json(row, 0, len(story())))) for row in rows.values()]


def test_the_story_is_the_same_bytes_under_every_hash_seed() -> None:
    program = "from api.city.story import story; import hashlib\n"
    program += "print(hashlib.sha256(b'\\n'.join(e.raw for e in story())).hexdigest())"
    wanted = hashlib.sha256(b"\n".join(e.raw for e in story())).hexdigest()
    for hash_seed in ("0", "1", "4242"):
        told = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            cwd=DOCUMENT.parents[1],
            capture_output=True,
            text=True,
            check=True,
        )
        assert told.stdout.strip() == wanted


def test_the_document_names_only_events_of_the_story_and_their_outcomes() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    outcomes = {e.id: e.expect.outcome for e in story() if e.expect is not None}
    told = re.findall(r"^\| `([0-9a-z]{4}\.[^`]+)` \|.*\| ([a-z]+)[^|]* \|$", text, re.MULTILINE)
    assert len(told) > 25
    assert dict(told) == {id_: outcomes[id_] for id_, _ in told}
    assert all(subject in text for subject in RESIDENTS)

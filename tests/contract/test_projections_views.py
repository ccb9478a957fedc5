"""The current-state views against plain rereadings of the whole partition, over random histories."""

from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from msgspec import UNSET
from psycopg.rows import dict_row

from ledger import events as e
from ledger.codec import instant
from ledger.kafka.log import KafkaLog
from ledger.policy import Policy
from projections.holdings import NO_POLICY
from projections.schema import Dsns
from tests.projected import append, counting, history, new_schema, project, records

PARTITIONS = 8
Known = list[tuple[int, e.Event]]


@pytest.fixture
def known(
    kafka_address: str, fresh_database: str, make_log: Callable[..., KafkaLog], make_topic: Callable[..., str]
) -> tuple[Dsns, dict[int, Known]]:
    topic = make_topic(PARTITIONS)
    log = make_log(topic=topic)
    for partition in range(PARTITIONS):
        append(log, partition, history(500 + partition, partition))
    dsns = new_schema(fresh_database)
    project(kafka_address, topic, dsns, log, batch_events=9, facts_in_memory=100)
    return dsns, {p: counting(records(log, p)) for p in range(PARTITIONS)}


def asked(dsns: Dsns, view: str) -> list[dict[str, Any]]:
    with psycopg.connect(dsns.owner, row_factory=dict_row) as connection:
        statement = psycopg.sql.SQL("SELECT * FROM {}").format(psycopg.sql.Identifier(view))
        return connection.execute(statement).fetchall()


def latest(events: Known, key: Callable[[e.Event], Any]) -> dict[Any, tuple[int, e.Event]]:
    """For each key the event with the greatest (time, position)."""
    found: dict[Any, tuple[int, e.Event]] = {}
    for offset, event in sorted(events, key=lambda known: (instant(known[1].time), known[0])):
        found[key(event)] = (offset, event)
    return found


def of_kinds(events: Known, *kinds: str) -> Known:
    return [(offset, event) for offset, event in events if event.kind in kinds]


def absent(value: Any) -> Any:
    return None if value is UNSET else list(value) if isinstance(value, tuple) else value


def test_consents_are_as_their_latest_event_left_them(known: tuple[Dsns, dict[int, Known]]) -> None:
    dsns, partitions = known
    expected = {}
    for events in partitions.values():
        both = of_kinds(events, "consent.given", "consent.withdrawn")
        given = latest(of_kinds(events, "consent.given"), lambda event: (event.subject, event.data.consent_id))
        for key, (offset, event) in latest(both, lambda event: (event.subject, event.data.consent_id)).items():
            of = given.get(key, (None, None))[1]
            details = (
                (None, None, None) if of is None else (of.source, absent(of.data.categories), list(of.data.purposes))
            )
            expected[key] = (event.kind.partition(".")[2], offset, given.get(key, (None, None))[0], *details)
    found = {
        (r["subject"], r["consent_id"]): (
            r["state"], r["since_offset"], r["given_offset"], r["source"], r["categories"], r["purposes"]
        )
        for r in asked(dsns, "consents")
    }  # fmt: skip
    assert len(found) > 10
    assert found == expected


def test_preferences_and_anonymity_are_the_latest_word(known: tuple[Dsns, dict[int, Known]]) -> None:
    dsns, partitions = known
    preferences, anonymity = {}, {}
    for events in partitions.values():
        for key, (offset, event) in latest(
            of_kinds(events, "preference.set"), lambda event: (event.subject, event.data.channel)
        ).items():
            preferences[key] = (event.data.allowed, offset)
        chosen = of_kinds(events, "anonymity.chosen", "anonymity.ended")
        for key, (offset, event) in latest(chosen, lambda event: event.subject).items():
            anonymity[key] = (event.kind == "anonymity.chosen", offset)
    found = {(r["subject"], r["channel"]): (r["allowed"], r["since_offset"]) for r in asked(dsns, "preferences")}
    assert found == preferences
    assert {r["subject"]: (r["anonymous"], r["since_offset"]) for r in asked(dsns, "anonymity")} == anonymity


def policy_at(events: Known, t: int) -> Policy:
    published = [(instant(ev.data.effective_from), o, ev) for o, ev in of_kinds(events, "policy.published")]
    in_force = [entry for entry in published if entry[0] <= t]
    return Policy(max(in_force, key=lambda entry: entry[:2])[2].data) if in_force else NO_POLICY


def test_holdings_say_what_was_told_and_what_erased_them(known: tuple[Dsns, dict[int, Known]]) -> None:
    dsns, partitions = known
    expected = {}
    for partition, events in partitions.items():
        for offset, collected in of_kinds(events, "data.collected"):
            t = instant(collected.time)
            policy = policy_at(events, t)
            for category in collected.data.categories:
                told = [
                    q
                    for q in collected.data.purposes
                    if any(
                        n.subject == collected.subject
                        and instant(n.time) <= t
                        and policy.has(n.data.categories, category)
                        and policy.within_any_purpose(q, n.data.purposes)
                        for _, n in of_kinds(events, "notice.given")
                    )
                ]
                erasures = [
                    (instant(x.time), o)
                    for o, x in of_kinds(events, "data.erased")
                    if x.subject == collected.subject
                    and instant(x.time) >= t
                    and (x.data.categories is UNSET or policy.has(x.data.categories, category))
                ]
                erased = min(erasures)[1] if erasures else None
                expected[partition, offset, category] = (told, erased)
    found = {
        (r["partition"], r["offset"], r["category"]): (r["told"], r["erased_offset"]) for r in asked(dsns, "holdings")
    }
    assert len(found) > 100
    assert any(told for told, _ in found.values())
    assert any(erased is not None for _, erased in found.values())
    assert found == expected


def test_cases_are_opened_and_answered_by_the_first_that_did(known: tuple[Dsns, dict[int, Known]]) -> None:
    dsns, partitions = known
    found = {
        (r["partition"], r["case_id"], r["subject"]): (r["opened_offset"], r["resolved_offset"])
        for r in asked(dsns, "cases")
        if r["kind"] == "contest"
    }
    expected: dict[Any, Any] = {}
    for partition, events in partitions.items():
        for column, kind in enumerate(("data.contested", "contest.resolved")):
            for offset, event in sorted(of_kinds(events, kind), key=lambda known: (instant(known[1].time), known[0])):
                key = (partition, event.data.contest_id, event.subject)
                row = expected.setdefault(key, [None, None])
                row[column] = offset if row[column] is None else row[column]
    assert len(found) > 5
    assert found == {key: tuple(row) for key, row in expected.items()}
    demands = {
        (r["partition"], r["case_id"]): (r["opened_offset"] is not None, r["resolved_offset"])
        for r in asked(dsns, "cases")
        if r["kind"] == "demand"
    }
    decided: dict[Any, Any] = {}
    for partition, events in partitions.items():
        named = {
            event.data.basis.demand_id
            for _, event in of_kinds(events, "data.used", "data.shared")
            if isinstance(event.data.basis, e.ByLaw) and event.data.basis.demand_id is not UNSET
        }
        answers = latest(of_kinds(events, "legal-demand.decided"), lambda event: event.data.demand_id)
        for demand in {*named, *answers}:
            decided[partition, demand] = (demand in named, answers.get(demand, (None, None))[0])
    assert demands == decided


def test_reference_facts_are_the_rules_as_they_stand(known: tuple[Dsns, dict[int, Known]]) -> None:
    dsns, partitions = known
    found = {(r["partition"], r["offset"]) for r in asked(dsns, "reference_facts")}
    expected = set()
    for partition, events in partitions.items():
        kept = of_kinds(events, "policy.published", "agreement.signed")
        expected |= {(partition, offset) for offset, _ in kept}
        services = latest(of_kinds(events, "service.registered"), lambda event: event.data.service)
        demands = latest(
            of_kinds(events, "legal-demand.decided"),
            lambda event: (event.data.demand_id, event.data.legal_basis, absent(event.data.recipient)),
        )
        expected |= {(partition, offset) for offset, _ in (*services.values(), *demands.values())}
        for agreement in {event.data.agreement_id for _, event in of_kinds(events, "agreement.ended")}:
            endings = of_kinds(events, "agreement.ended")
            ended = [(instant(event.time), o) for o, event in endings if event.data.agreement_id == agreement]
            expected.add((partition, min(ended)[1]))
    assert found == expected

"""`record`: what services put into Kafka themselves comes into the log by the rules of the HTTP door."""

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import psycopg
import pytest

from api.cli.doctor import WRONG, Finding
from api.cli.doctor_work import intake as doctor_intake
from ledger.codec import read
from ledger.errors import GivenAnew
from ledger.kafka.intake import Arrival, Intake, standings, topic_of
from projections.schema import dsns_for
from tests.door import PASSWORDS, Door, complaint, consent, event, open_door, service_registered, wait_until
from tests.intaking import Intaking, prepared
from tests.projected import project

SECRET = "Maria lives at 12 Oak Street"


@pytest.fixture(scope="module")
def door(kafka_address: str, database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    with open_door(kafka_address, database_url, tmp_path_factory.mktemp("door")) as running:
        yield running


@pytest.fixture
def intake(door: Door) -> Intaking:
    return prepared(door.runtime.settings, {"permits": ["/services/permits"], "parks": ["/services/parks"]})


def recorded(door: Door) -> list[tuple[str, str | None, int, int]]:
    """(id, recordedby, partition, offset) of every record."""
    found = []
    for record in door.records():
        said = orjson.loads(record.value)
        found.append((said["id"], said["recordedby"], *record.position))
    return found


def test_events_are_recorded_by_the_client_of_the_topic_and_refusals_say_where_and_why(
    door: Door, intake: Intaking
) -> None:
    permits, parks = intake.client(0), intake.client(1)
    good = [event(id=f"{permits}-{i}", subject=f"res_{i % 3}") for i in range(30)]
    sent: list[Any] = [
        *good[:10],
        b"\xff not an event " + SECRET.encode(),
        None,
        event(data={"name": SECRET}),
        event(source="/services/parks"),
        complaint(SECRET),
        orjson.dumps(event(data={"x": "y" * 10 * 32_768})),
        event("data.teleported"),
        event(time="2099-01-01T00:00:00Z"),
        *good[10:],
        event(id=good[3]["id"], subject=good[3]["subject"], time="2026-03-04T12:00:00Z"),
        good[5],
    ]
    other = event(source="/services/parks", id=f"{parks}-0")
    with intake.recording():
        intake.produce(permits, sent, partition=1)
        intake.produce(parks, [other, event(source="/my")])
        intake.wait_for_all()
        sample = intake.registry.get_sample_value
        assert sample("consent_ledger_intake_recorded_total", {"client": permits}) == 30
        assert sample("consent_ledger_intake_repeats_total", {"client": permits}) == 1
        assert sample("consent_ledger_intake_lag", {"client": permits}) == 0
        assert sample("consent_ledger_intake_rejected_total", {"client": permits, "code": "sealed-kind"}) == 1
    mine = [(i, by) for i, by, *_ in recorded(door) if i.startswith((permits, parks))]
    assert sorted(mine) == sorted([(e["id"], permits) for e in good] + [(other["id"], parks)])
    for number in range(3):
        order = [i for i, _, *_ in recorded(door) if i in {e["id"] for e in good if e["subject"] == f"res_{number}"}]
        assert order == [e["id"] for e in good if e["subject"] == f"res_{number}"], "a resident's order is kept"
    found = {(r["topic"], r["partition"], r["offset"]): r["codes"] for r in intake.rejected()}
    wanted = ["utf-8", "no-value", "unknown-field", "source", "sealed-kind", "too-large", "unknown-type"]
    expected = {(topic_of(permits), 1, 10 + i): [code] for i, code in enumerate([*wanted, "in-the-future"])}
    expected[topic_of(permits), 1, 38] = ["conflict"]
    places = [place for place in found if place[0] == topic_of(parks)]
    assert [found.pop(place) for place in places] == [["source"]]
    assert found == expected
    assert SECRET not in str(intake.rejected())


def test_the_two_doors_know_each_other_s_events(door: Door, intake: Intaking) -> None:
    permits = intake.client()
    first, second = consent(id=f"{permits}-a"), event(id=f"{permits}-b")
    rule = service_registered(id=f"{permits}-rule")
    assert door.post(first).status_code == 201
    with intake.recording():
        intake.produce(permits, [first, second, rule])
        intake.wait_for_all()
        time.sleep(0.6)  # the other door looks at the log's end four times a second
        answers = [door.post(each) for each in (second, rule)]
    assert [answer.status_code for answer in answers] == [200, 200]
    ids = [i for i, *_ in recorded(door) if i.startswith(permits)]
    assert sorted(ids) == sorted([first["id"], second["id"], *[rule["id"]] * door.runtime.log.partitions])
    assert intake.rejected() == []


def test_what_came_in_by_kafka_is_projected_and_judged(
    door: Door, intake: Intaking, kafka_address: str, database_url: str
) -> None:
    permits, subject = intake.client(), "res_judged"
    policy = Path(__file__).parents[1] / "vectors" / "examples" / "v01-stated-purpose.ndjson"
    history = [orjson.loads(line) for line in policy.read_bytes().splitlines()]
    events = []
    for number, said in enumerate(history):
        sent = {k: v for k, v in said.items() if k not in ("recordedtime", "recordedby")}
        sent |= {"source": "/services/permits", "id": f"{permits}-{number}"}
        events.append({**sent, "subject": subject} if "subject" in sent else sent)
    with intake.recording():
        intake.produce(permits, events, partition=0)
        intake.wait_for_all()
    assert intake.rejected() == []
    settings = door.runtime.settings
    dsns = dsns_for(database_url, PASSWORDS, settings.topic)
    assert project(kafka_address, settings.topic, dsns, door.runtime.log) == {}
    with psycopg.connect(dsns.owner) as connection:
        statement = 'SELECT outcome FROM verdicts WHERE subject = %s AND known_until IS NULL ORDER BY "offset"'
        outcomes = [outcome for (outcome,) in connection.execute(statement, (subject,))]
    expected = policy.with_suffix(".expected.ndjson").read_bytes().splitlines()
    assert outcomes == [orjson.loads(line)["outcome"] for line in expected]
    bodies = [read(r.value) for r in door.records() if f'"{subject}"'.encode() in r.value]
    assert {body.recordedby for body in bodies} == {permits}


def test_what_was_deleted_before_it_was_recorded_is_said_and_the_rest_is_recorded(door: Door, intake: Intaking) -> None:
    permits = intake.client()
    lost, kept = ([event(id=f"{permits}-{name}{i}") for i in range(5)] for name in ("lost", "kept"))
    intake.produce(permits, lost, partition=0)
    topics_cut(intake.settings.kafka, topic_of(permits), 0, 5)
    intake.produce(permits, kept, partition=0)
    before = findings(intake)
    assert [f.status for f in before if permits in f.what] == [WRONG]
    assert "5 records were deleted" in next(f.what for f in before if permits in f.what)
    with intake.recording():
        intake.wait_for_all()
        wait_until(lambda: standings(intake.settings.kafka, [permits])[0].committed == 10)
    [said] = intake.rejected()
    place = {"topic": topic_of(permits), "partition": 0, "offset": 0, "until": 5}
    assert said == {**place, "codes": ["deleted-unread"]}
    ids = [i for i, *_ in recorded(door) if i.startswith(permits)]
    assert sorted(ids) == [e["id"] for e in kept]
    after = findings(intake)
    assert any(f.status == WRONG and f"{topic_of(permits)} 0-0 to 4" in f.what for f in after), after


def test_a_place_beyond_the_topic_s_end_is_said_and_nothing_is_skipped(door: Door, intake: Intaking) -> None:
    permits = intake.client()
    intake.produce(permits, [event(id=f"{permits}-{i}") for i in range(3)], partition=0)

    def retries() -> float:
        return intake.registry.get_sample_value("consent_ledger_intake_retries_total", {"client": permits}) or 0

    with closing_intake(intake, permits) as reader:
        commit(reader, 10)
    assert any(f.status == WRONG and "ends before" in f.what for f in findings(intake))
    with intake.recording():
        wait_until(lambda: retries() >= 1)
    assert standings(intake.settings.kafka, [permits])[0].committed == 10
    assert not [i for i, *_ in recorded(door) if i.startswith(permits)]


def test_a_reader_gives_nothing_twice_but_what_was_not_committed(intake: Intaking) -> None:
    permits = intake.client()
    intake.produce(permits, [event(id=f"x{i}") for i in range(6)], partition=0)

    def read_some(limit: int) -> list[int]:
        deadline = time.monotonic() + 60
        while True:
            found = reader.poll(0.2, limit)
            if found:
                return [arrival.offset for arrival in found]
            assert time.monotonic() < deadline

    with closing_intake(intake, permits) as reader:
        assert read_some(4) == [0, 1, 2, 3]
        commit(reader, 4)
        assert read_some(1) == [4]
    with closing_intake(intake, permits) as reader:
        assert read_some(10) == [4, 5], "not committed: read again"


def commit(reader: Intake, until: int) -> None:
    """Says that partition 0 is done with up to here, once the group has come to rest."""
    done = [Arrival(0, i, b"", i + 1) for i in range(until)]

    def committed() -> bool:
        try:
            if reader.poll(0.2):
                reader.commit(done)
                return True
        except GivenAnew:
            reader.restart()
        return False

    wait_until(committed, 90)


def closing_intake(intake: Intaking, client: str) -> Intake:
    return Intake(intake.settings.kafka, client)


def findings(intake: Intaking) -> list[Finding]:
    return list(doctor_intake(intake.settings))


def topics_cut(kafka: str, topic: str, partition: int, before: int) -> None:
    """Deletes records as retention would."""
    from kafka import KafkaAdminClient, TopicPartition

    with closing(KafkaAdminClient(bootstrap_servers=kafka)) as admin:
        admin.delete_records({TopicPartition(topic, partition): before})

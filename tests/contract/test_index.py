"""What the door asks the views: exact answers, whatever their hashes; and one writer of reference facts at a time."""

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from ledger.errors import ConfigurationError, Unavailable
from ledger.log import Position
from projections import schema
from projections.index import AdvisoryLock, PostgresIndex
from projections.keys import key_hash
from projections.schema import Dsns
from tests.door import complaint, consent, event, serve, service_registered, settings_for
from tests.projected import PASSWORDS, new_schema, project

INSERT = """
INSERT INTO timeline ("offset", key_hash, occurred, "partition", fact, subject, source, id, kind, body)
VALUES (%s, %s, now(), 2, false, 'res_1', %s, %s, 'data.reviewed', %s)
"""


@pytest.fixture
def dsns(database_url: str) -> Dsns:
    return new_schema(database_url)


@pytest.fixture
def index(dsns: Dsns) -> Iterator[PostgresIndex]:
    opened = PostgresIndex(dsns.reader)
    yield opened
    opened.close()


def test_keys_with_equal_hashes_are_told_apart(dsns: Dsns, index: PostgresIndex) -> None:
    shared = key_hash("/a", "e1")
    with psycopg.connect(dsns.owner) as connection:
        for offset, (source, event_id) in enumerate([("/a", "e1"), ("/b", "e2"), ("/a", "e3")]):
            connection.execute(INSERT, (offset, shared, source, event_id, f'"{event_id}"'))
    found = index.find([("/a", "e1"), ("/c", "e9")])
    assert {key: [tuple(k) for k in known] for key, known in found.items()} == {
        ("/a", "e1"): [(Position(2, 0), b'"e1"')]
    }


def test_an_empty_view_knows_nothing(index: PostgresIndex) -> None:
    assert index.find([("/a", "e1")]) == {}
    assert index.consent_owners([("res_1", "c1")]) == {}
    assert index.reference_facts() == []
    assert index.projected() == {}


def test_the_views_answer_with_the_bytes_of_the_log(kafka_address: str, database_url: str, tmp_path: Path) -> None:
    settings = settings_for(kafka_address, database_url, tmp_path)
    dsns = schema.dsns_for(database_url, PASSWORDS, settings.topic)
    with serve(settings, tmp_path) as door:
        sent = [consent("c1", subject="res_1"), complaint("text", subject="res_2"), event(), service_registered()]
        for each in sent:
            assert door.post(each).status_code == 201
        project(kafka_address, settings.topic, dsns, door.runtime.log)
        index = door.runtime.index
        assert index.projected() == door.heads()
        found = index.find([(e["source"], e["id"]) for e in sent])
        in_views = {known.position: known.value for knowns in found.values() for known in knowns}
        assert in_views == {record.position: record.value for record in door.records()}
        assert [len(found[(e["source"], e["id"])]) for e in sent] == [1, 1, 1, 6]
        assert [known.position.partition for known in index.reference_facts()] == list(range(6))
        assert index.consent_owners([("res_1", "c1"), ("res_1", "c2")]) == {("res_1", "c1"): "/services/permits"}


def test_a_schema_that_is_not_there_is_named_as_a_fault_of_configuration(dsns: Dsns) -> None:
    index = PostgresIndex(schema.at_schema(dsns.reader, "nowhere"))
    try:
        with pytest.raises(ConfigurationError):
            index.projected()
    finally:
        index.close()


def test_one_holder_at_a_time_and_the_next_when_it_lets_go(dsns: Dsns) -> None:
    holding, let_go = threading.Event(), threading.Event()

    def hold() -> None:
        with AdvisoryLock(dsns.reader).hold():
            holding.set()
            let_go.wait(20)

    holder = threading.Thread(target=hold)
    holder.start()
    assert holding.wait(20)
    with pytest.raises(Unavailable), AdvisoryLock(dsns.reader, wait_ms=200).hold():
        pytest.fail("two hold the lock")
    let_go.set()
    with AdvisoryLock(dsns.reader).hold():
        holder.join(20)


def test_an_error_inside_lets_go_of_the_lock(dsns: Dsns) -> None:
    with contextlib.suppress(KeyError), AdvisoryLock(dsns.reader).hold():
        raise KeyError
    with AdvisoryLock(dsns.reader, wait_ms=200).hold():
        pass

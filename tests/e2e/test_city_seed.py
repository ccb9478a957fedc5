"""The seeded city on real servers: recorded once, however often it is seeded, and answered as written by hand."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import psycopg
import pytest

from api.city import Seeded, StoryClock, Table, expectations, live_events, seed, story, table
from api.recording import wall_clock
from api.settings import Settings
from ledger import codec
from ledger.errors import Conflict
from ledger.log import LogRecord
from projections import schema
from projections.schema import Dsns
from tests.door import PASSWORDS, Door, serve, settings_for
from tests.projected import project, pure_verdicts, verdict_rows

SCHEMA = "city"
pytestmark = pytest.mark.timeout(300)


class City(NamedTuple):
    """A ledger with the city in it."""

    settings: Settings
    folder: Path
    dsns: Dsns
    seeded: Seeded
    records: list[LogRecord]
    calls: list[tuple[int, int]]


@pytest.fixture(scope="module")
def city(kafka_address: str, database_url: str, server_folder: Path, tmp_path_factory: Any) -> Iterator[City]:
    folder = tmp_path_factory.mktemp("city")
    settings = settings_for(kafka_address, database_url, folder, SCHEMA)
    dsns = schema.prepare(database_url, PASSWORDS, SCHEMA)
    clock = StoryClock()
    calls: list[tuple[int, int]] = []
    with serve(settings, folder, clock=clock) as door:
        seeded = seed(door.runtime.recorder, clock, progress=lambda done, of: calls.append((done, of)))
        records = door.records()
    yield City(settings, folder, dsns, seeded, records, calls)


def answers(dsns: Dsns) -> list[dict[str, Any]]:
    """Every verdict that the views give now, in the contract's JSON."""
    with psycopg.connect(dsns.owner) as connection:
        rows = connection.execute(
            "SELECT source, id, outcome, first_outcome, findings FROM verdicts WHERE known_until IS NULL"
        ).fetchall()
    names = ("source", "id", "outcome", "first_outcome", "findings")
    return [{**dict(zip(names, row, strict=True)), "findings": orjson.loads(row[4])} for row in rows]


def projected(city: City, door: Door) -> Table:
    """The answers about the story, once the views have reached the log's end."""
    assert project(str(city.settings.kafka), city.settings.topic, city.dsns, door.runtime.log) == {}
    return table(answers(city.dsns), story())


def test_every_event_is_recorded_once_at_the_time_of_the_story(city: City) -> None:
    events = [codec.read(record.value) for record in city.records]
    facts = [entry for entry in story() if entry.subject is None]
    assert city.seeded == Seeded(len(story()) - len(facts), 0)
    assert len(events) == 6 * len(facts) + len(story()) - len(facts)
    told = {(e.source, e.id): codec.rfc3339(codec.instant(e.recorded)) for e in story()}
    assert {(e.source, e.id): e.recordedtime for e in events} == told
    assert city.calls[-1] == (len(story()), len(story()))


def test_free_text_is_sealed_and_no_name_is_in_the_log(city: City) -> None:
    log = b"\n".join(record.value for record in city.records)
    for entry in story():
        for name in ("text", "answer", "claim"):
            if name in entry.data:
                assert entry.data[name].encode() not in log
    assert not [name for name in (b"Rosa", b"Minh", b"Dana") if name in log]


def test_seeding_again_appends_nothing_before_and_after_the_views_have_it(city: City) -> None:
    for _ in range(2):
        clock = StoryClock()
        with serve(city.settings, city.folder, clock=clock) as door:
            heads = door.heads()
            about_residents = [entry for entry in story() if entry.subject is not None]
            assert seed(door.runtime.recorder, clock) == Seeded(0, len(about_residents))
            assert door.heads() == heads
            projected(city, door)


def test_a_log_with_another_story_is_refused(city: City) -> None:
    clock = StoryClock()
    [changed] = [e for e in story() if e.id == "7f2c.pothole"]
    other = {**changed.event, "data": {**changed.data, "categories": ["email"]}}
    with serve(city.settings, city.folder, clock=clock) as door:
        heads = door.heads()
        with pytest.raises(Conflict):
            seed(door.runtime.recorder, clock, [type(changed)(changed.recorded, other)])
        assert door.heads() == heads


def test_the_views_answer_as_it_was_written_and_as_the_pure_judge_says(city: City) -> None:
    with serve(city.settings, city.folder) as door:
        found = projected(city, door)
        for partition in range(door.runtime.log.partitions):
            records = [r for r in door.records() if r.position.partition == partition]
            assert verdict_rows(city.dsns, partition) == pure_verdicts(records, partition)
    assert found.differences == ()
    assert {(line.source, line.id) for line in found.lines} < set(expectations())
    assert all(line.as_seeded and line.reason and line.statement for line in found.lines)


def test_what_is_sent_today_over_http_is_answered_as_it_was_written(city: City) -> None:
    with serve(city.settings, city.folder) as door:
        entries = live_events(wall_clock())
        results = door.batch([entry.event for entry in entries])
        assert [result["status"] for result in results] == [201] * len(entries)
        assert projected(city, door).differences == ()
        assert table(answers(city.dsns), entries).differences == ()
        again = door.batch([entry.event for entry in entries])
        assert [result["status"] for result in again] == [200] * len(entries)
        assert [result["position"] for result in again] == [result["position"] for result in results]

"""The door records each event once, in order, sealed and stamped, and answers with a receipt that holds."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import orjson
import pytest

from api.http import answers
from ledger import codec
from ledger.log import Position
from ledger.policy import MY_SAN_JOSE
from ledger.recording import receipts
from ledger.tree import note
from ledger.tree.merkle import leaf_hash
from ledger.vault import unseal
from projections import schema
from tests.door import (
    BATCH,
    PASSWORDS,
    Door,
    complaint,
    consent,
    event,
    open_door,
    serve,
    service_registered,
    settings_for,
)
from tests.projected import project

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def door(kafka_address: str, database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    with open_door(kafka_address, database_url, tmp_path_factory.mktemp("door")) as opened:
        yield opened


def record_at(door: Door, position: str) -> bytes:
    at = Position.parse(position)
    [record] = door.runtime.log.read(at.partition, at.offset, at.offset + 1)
    return record.value


def test_an_event_is_recorded_as_it_was_sent_with_the_ledger_s_stamp(door: Door) -> None:
    sent = consent(f"c-{uuid4().hex}")
    response = door.post(sent)
    assert response.status_code == 201
    assert response.json().keys() == {"id", "source", "position", "receipt"}
    recorded = orjson.loads(record_at(door, response.json()["position"]))
    assert recorded.pop("recordedby") == "permits-app"
    assert codec.instant(recorded.pop("recordedtime")) > codec.instant("2026-01-01T00:00:00Z")
    assert recorded == sent


def test_the_receipt_names_the_record_and_holds_under_the_receipts_key(door: Door) -> None:
    answer = door.post(event()).json()
    [line] = receipts.check(answer["receipt"].encode(), door.runtime.receipts_verifier)
    value = record_at(door, answer["position"])
    assert str(line.position) == answer["position"]
    assert line.leaf == leaf_hash(value)
    assert line.recordedtime == orjson.loads(value)["recordedtime"]
    assert door.runtime.receipts_verifier.name == "ledger.test/receipts"


def test_the_same_event_again_is_answered_with_its_first_position_and_receipt(door: Door) -> None:
    sent = event()
    first = door.post(sent)
    before = door.heads()
    again = door.post(orjson.dumps(dict(reversed(sent.items())), option=orjson.OPT_INDENT_2))
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == first.json()
    assert door.heads() == before


def test_an_id_with_other_content_or_another_subject_is_a_conflict_with_the_first_position(door: Door) -> None:
    sent = event()
    position = door.post(sent).json()["position"]
    before = door.heads()
    for other in ({**sent, "time": "2026-03-04T12:00:00Z"}, {**sent, "subject": "res_other"}):
        refused = door.post(other)
        assert (refused.status_code, refused.json()["position"]) == (409, position)
    assert door.heads() == before


def test_the_same_id_of_another_source_is_another_event(door: Door) -> None:
    sent = event()
    assert door.post(sent).status_code == 201
    assert door.post({**sent, "source": "/services/parks"}).status_code == 201


def test_concurrent_sends_of_one_event_give_one_record(door: Door) -> None:
    for _ in range(5):
        sent, before = event(), sum(door.heads().values())
        with ThreadPoolExecutor(24) as pool:
            answers = list(pool.map(lambda _, e=sent: door.post(e), range(24)))
        assert sorted(a.status_code for a in answers) == [200] * 23 + [201]
        assert len({a.json()["position"] for a in answers}) == 1
        assert sum(door.heads().values()) == before + 1


def test_concurrent_sends_of_two_contents_under_one_id_let_one_win(door: Door) -> None:
    sent, before = event(), sum(door.heads().values())
    both = [sent, {**sent, "time": "2026-03-04T12:00:00Z"}] * 12
    with ThreadPoolExecutor(24) as pool:
        answers = list(pool.map(door.post, both))
    assert sorted(a.status_code for a in answers) == [200] * 11 + [201] + [409] * 12
    assert len({a.json()["position"] for a in answers}) == 1
    assert sum(door.heads().values()) == before + 1


def test_a_batch_answers_each_item_as_the_single_call_would_and_keeps_their_order(door: Door) -> None:
    subjects = [f"res_{uuid4().hex[:8]}" for _ in range(4)]
    sent = [event(subject=subjects[i % 4]) for i in range(200)]
    sent[150] = sent[3]
    results = door.batch(sent)
    assert [r["status"] for r in results] == [201] * 150 + [200] + [201] * 49
    assert results[150] == {**results[3], "status": 200}
    assert [(r["id"], r["source"]) for r in results] == [(e["id"], e["source"]) for e in sent]
    for subject in subjects:
        positions = [
            Position.parse(r["position"]) for e, r in zip(sent, results, strict=True) if e["subject"] == subject
        ]
        new = [p for p in positions if positions.count(p) == 1]
        assert new == sorted(new)
        assert len({p.partition for p in positions}) == 1


def test_a_batch_gets_one_receipt_with_three_lines_for_each_recorded_item(door: Door) -> None:
    sent = [event(), event(id="no such id"), event()]
    response = door.post(sent, media_type=BATCH).json()
    lines = receipts.check(response["receipt"].encode(), door.runtime.receipts_verifier)
    recorded = [r["position"] for r in response["results"] if r["status"] == 201]
    assert [str(line.position) for line in lines] == recorded
    assert [line.leaf for line in lines] == [leaf_hash(record_at(door, p)) for p in recorded]


def test_a_batch_of_nothing_recorded_has_no_receipt(door: Door) -> None:
    response = door.post([{}], media_type=BATCH)
    assert (response.status_code, response.json()["receipt"]) == (200, None)


def test_sending_a_batch_twice_records_it_once(door: Door) -> None:
    sent = [event() for _ in range(300)]
    first = door.batch(sent)
    before = door.heads()
    again = door.batch(sent)
    assert {r["status"] for r in first} == {201}
    assert [{**r, "status": 200} for r in first] == again
    assert door.heads() == before


def test_binary_mode_records_the_same_bytes_as_structured_mode(door: Door) -> None:
    sent = consent(f"c-{uuid4().hex}", correlationid="case-7")
    headers = {f"ce-{k}": str(v) for k, v in sent.items() if k not in ("data", "datacontenttype")}
    headers["ce-id"] = quote(sent["id"], safe="").replace("e", "%65")
    headers["CE-Source"] = f'"{headers.pop("ce-source")}"'
    response = door.post(sent["data"], media_type="application/json; charset=utf-8", headers=headers)
    assert response.status_code == 201
    recorded = orjson.loads(record_at(door, response.json()["position"]))
    assert {k: v for k, v in recorded.items() if k not in ("recordedtime", "recordedby")} == sent
    assert door.post(sent).status_code == 200


def test_free_text_is_sealed_before_it_reaches_the_log_and_opens_with_the_resident_s_key(door: Door) -> None:
    text = "they called me at night — señor Nguyễn"
    sent = complaint(text)
    first = door.post(sent)
    value = record_at(door, first.json()["position"])
    assert b"night" not in value
    assert orjson.loads(value)["data"]["text"].keys() == {"sealed"}
    recorded = codec.read(value)
    key = orjson.loads(value)["data"]["text"]["sealed"]["key"]
    assert unseal(recorded, door.runtime.vault.keys_by_id([key])).data.text == text
    assert door.post(sent).status_code == 200
    assert door.post(complaint("another", **{k: sent[k] for k in ("id", "subject")})).status_code == 409


def test_a_token_emits_for_its_own_sources_only_item_by_item(door: Door) -> None:
    token = door.issuer.service("parks-app", {"events:write": ["/services/parks"]})
    results = door.batch([event(source="/services/parks"), event(), event(source="/services/parks")], token)
    assert [r["status"] for r in results] == [201, 403, 201]
    assert results[1]["errors"] == [{"pointer": "/source", "code": "source"}]
    assert orjson.loads(record_at(door, results[0]["position"]))["recordedby"] == "parks-app"


def test_a_consent_is_its_source_s_own(door: Door) -> None:
    consent_id, subject = f"c-{uuid4().hex}", f"res_{uuid4().hex[:8]}"
    withdrawal: dict[str, Any] = {"kind": "consent.withdrawn", "subject": subject, "data": {"consent_id": consent_id}}
    assert door.post(consent(consent_id, subject=subject)).status_code == 201
    foreign = [
        consent(consent_id, subject=subject, source="/services/parks"),
        event(**withdrawal, source="/services/parks"),
    ]
    for refused in (door.post(e) for e in foreign):
        assert (refused.status_code, refused.json()["errors"]) == (
            403,
            [{"pointer": "/data/consent_id", "code": "consent"}],
        )
    assert door.post(event(**withdrawal)).status_code == 201
    assert door.post(consent(consent_id, subject=subject)).status_code == 201


def test_a_consent_given_in_the_same_batch_is_known_there(door: Door) -> None:
    consent_id, subject = f"c-{uuid4().hex}", f"res_{uuid4().hex[:8]}"
    results = door.batch(
        [
            consent(consent_id, subject=subject),
            event("consent.withdrawn", subject=subject, data={"consent_id": consent_id}, source="/services/parks"),
            event("consent.withdrawn", subject=subject, data={"consent_id": consent_id}),
        ]
    )
    assert [r["status"] for r in results] == [201, 403, 201]


def test_a_withdrawal_of_a_consent_not_seen_yet_is_recorded(door: Door) -> None:
    assert door.post(event("consent.withdrawn", data={"consent_id": f"c-{uuid4().hex}"})).status_code == 201


def policy(**changes: Any) -> dict[str, Any]:
    data = orjson.loads((ROOT / "ledger" / "policies" / MY_SAN_JOSE).read_bytes())
    return event("policy.published", subject=None, data={**data, **changes})


def test_the_first_policy_may_be_of_the_past_and_no_later_one(
    kafka_address: str, database_url: str, tmp_path: Path
) -> None:
    with open_door(kafka_address, database_url, tmp_path) as door:
        first = policy()
        assert door.post(first).status_code == 201
        assert door.post(first).status_code == 200
        late = door.post(policy(version="2"))
        assert (late.status_code, late.json()["errors"]) == (
            422,
            [{"pointer": "/data/effective_from", "code": "in-the-past"}],
        )
        other = door.post(policy(policy_id="another", effective_from="2100-01-01T00:00:00Z"))
        assert (other.status_code, other.json()["errors"][0]["pointer"]) == (422, "/data/policy_id")
        assert door.post(policy(version="2", effective_from="2100-01-01T00:00:00Z")).status_code == 201


def test_a_reference_fact_goes_to_every_partition_with_the_same_bytes_and_partition_0_s_position(door: Door) -> None:
    before = door.heads()
    sent = service_registered()
    answer = door.post(sent)
    assert (answer.status_code, answer.json()["position"]) == (201, f"0-{before[0]}")
    assert door.heads() == {p: head + 1 for p, head in before.items()}
    assert len({record_at(door, f"{p}-{head}") for p, head in before.items()}) == 1
    assert door.post(sent).json() == answer.json()
    assert door.post({**sent, "time": "2026-03-04T12:00:00Z"}).status_code == 409
    assert door.post(event(id=sent["id"])).status_code == 409


def test_an_id_of_a_resident_s_event_cannot_become_a_reference_fact(door: Door) -> None:
    sent = event()
    assert door.post(sent).status_code == 201
    assert door.post(service_registered(id=sent["id"])).status_code == 409


def test_reference_facts_in_a_batch_keep_their_place_on_every_partition(door: Door) -> None:
    subjects = [f"res_{uuid4().hex[:8]}" for _ in range(12)]
    rules = [service_registered() for _ in range(3)]
    sent: list[dict[str, Any]] = []
    for rule in rules:
        sent += [*(event(subject=s) for s in subjects), rule]
    before = door.heads()
    assert {r["status"] for r in door.batch(sent)} == {201}
    order = {e["id"]: i for i, e in enumerate(sent)}
    for partition, start in before.items():
        ids = [orjson.loads(r.value)["id"] for r in door.runtime.log.read(partition, start)]
        assert [order[i] for i in ids] == sorted(order[i] for i in ids)
        assert [i for i in ids if i in {r["id"] for r in rules}] == [r["id"] for r in rules]


def test_an_incident_without_residents_is_a_reference_fact(door: Door) -> None:
    data = {"incident_id": f"i-{uuid4().hex}", "kind": "loss", "categories": ["email"]}
    before = door.heads()
    assert door.post(event("incident.reported", subject=None, data=data)).status_code == 201
    assert door.heads() == {p: head + 1 for p, head in before.items()}
    assert door.post(event("incident.reported", data=data)).status_code == 201


def test_a_repeat_is_known_when_it_is_in_the_views_and_no_longer_in_the_tail(
    kafka_address: str, database_url: str, tmp_path: Path
) -> None:
    settings = settings_for(kafka_address, database_url, tmp_path)
    dsns = schema.dsns_for(database_url, PASSWORDS, settings.topic)
    consent_id, subject = f"c-{uuid4().hex}", f"res_{uuid4().hex[:8]}"
    with serve(settings, tmp_path) as door:
        sent = [consent(consent_id, subject=subject), complaint("text"), event(), service_registered()]
        first = [door.post(e).json() for e in sent]
        project(kafka_address, settings.topic, dsns, door.runtime.log)
        wait_pruned(door)
        before = door.heads()
        again = [door.post(e) for e in sent]
        assert [a.status_code for a in again] == [200] * 4
        assert [a.json() for a in again] == first
        assert door.post({**sent[2], "subject": "res_other"}).json()["position"] == first[2]["position"]
        stranger = consent(consent_id, subject=subject, source="/services/parks")
        assert door.post(stranger).status_code == 403
        assert door.heads() == before
    with serve(settings, tmp_path) as restarted:
        assert [restarted.post(e).json() for e in sent] == first
        assert restarted.post(service_registered()).status_code == 201


def wait_pruned(door: Door) -> None:
    assert door.post(event(id="not an id")).status_code == 422
    limit = threading.Event()
    for _ in range(200):
        if door.runtime.recorder.status().tail == 0:
            return
        limit.wait(0.05)
    pytest.fail("the tail keeps what the views have reached")


def test_another_door_on_the_same_ledger_knows_what_this_one_recorded(
    kafka_address: str, database_url: str, tmp_path: Path
) -> None:
    settings = settings_for(kafka_address, database_url, tmp_path)
    with serve(settings, tmp_path) as one, serve(settings, tmp_path) as two:
        sent = [event(), service_registered()]
        first = [one.post(e).json() for e in sent]
        threading.Event().wait(1.0)  # followed at least every quarter of a second
        before = one.heads()
        assert [two.post(e).json() for e in sent] == first
        assert one.heads() == before


def test_two_doors_write_reference_facts_in_one_order(kafka_address: str, database_url: str, tmp_path: Path) -> None:
    settings = settings_for(kafka_address, database_url, tmp_path)
    with serve(settings, tmp_path) as one, serve(settings, tmp_path) as two, ThreadPoolExecutor(8) as pool:
        sent = [service_registered() for _ in range(16)]
        doors = [one, two] * 8
        answers = list(pool.map(lambda pair: pair[0].post(pair[1]), zip(doors, sent, strict=True)))
        assert {a.status_code for a in answers} == {201}
        in_order = [[r.value for r in one.runtime.log.read(p, 0)] for p in range(6)]
        assert len(in_order[0]) == 16
        assert all(values == in_order[0] for values in in_order)


def test_the_story_s_clock_stamps_and_limits_times(kafka_address: str, database_url: str, tmp_path: Path) -> None:
    story = codec.instant("2020-05-01T12:00:00Z")
    with open_door(kafka_address, database_url, tmp_path, clock=lambda: story) as door:
        assert door.post(event(time="2020-05-01T12:05:01Z")).status_code == 422
        answer = door.post(event(time="2020-05-01T12:05:00Z")).json()
        assert orjson.loads(record_at(door, answer["position"]))["recordedtime"] == "2020-05-01T12:00:00.000000Z"


def test_too_much_waiting_of_one_client_is_429_and_nothing_is_appended(
    kafka_address: str, database_url: str, tmp_path: Path
) -> None:
    with open_door(kafka_address, database_url, tmp_path, client_events=1_000) as door:
        sent = [event() for _ in range(1_000)]
        with ThreadPoolExecutor(12) as pool:
            answers = list(pool.map(lambda _: door.post(sent, media_type=BATCH), range(12)))
        statuses = {a.status_code for a in answers}
        assert statuses <= {200, 429}
        assert 200 in statuses
        for answer in answers:
            if answer.status_code == 429:
                assert int(answer.headers["retry-after"]) >= 1
        assert sum(door.heads().values()) == 1_000


def test_the_vkey_of_receipts_is_all_that_an_emitter_needs(door: Door) -> None:
    answer = door.post(event()).json()
    vkey = door.runtime.receipts_verifier.vkey
    assert receipts.check(answer["receipt"].encode(), note.Verifier.parse(vkey))


def test_anyone_may_ask_for_the_keys_and_check_a_receipt_with_them(
    kafka_address: str, database_url: str, tmp_path: Path
) -> None:
    with open_door(kafka_address, database_url, tmp_path, routers=tuple(answers.routers())) as door:
        keys = door.client.get("/v1/keys").json()
        assert keys.keys() == {"ledger", "checkpoints", "receipts"}
        assert (keys["ledger"], keys["checkpoints"]) == ("ledger.test", [])
        [vkey] = keys["receipts"]
        assert receipts.check(door.post(event()).json()["receipt"].encode(), note.Verifier.parse(vkey))
        for path, item in door.client.get("/openapi.json").json()["paths"].items():
            for method, operation in item.items():
                status = door.client.request(method, path.replace("{position}", "0-0")).status_code
                assert (status == 401) == bool(operation["security"]), path

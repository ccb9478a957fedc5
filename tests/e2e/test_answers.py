"""Records, verdicts, logs: read over HTTP, by those who may, and recorded before they are answered."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import orjson
import pytest

from ledger.history import judge_history
from ledger.log import Position
from ledger.tree.merkle import leaf_hash
from tests.answering import (
    USED,
    AnsweringLedger,
    before,
    collection,
    new_resident,
    notice,
    open_ledger,
    use,
)
from tests.door import BATCH, STRUCTURED, event, service_registered

RESOURCES = ("log", "consents", "data", "preferences", "anonymity", "cases")


@pytest.fixture(scope="module")
def ledger(
    kafka_address: str, database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AnsweringLedger]:
    with open_ledger(kafka_address, database_url, tmp_path_factory.mktemp("answers")) as opened:
        yield opened


def test_a_record_is_answered_byte_for_byte_with_a_strong_etag(ledger: AnsweringLedger) -> None:
    subject = new_resident()
    sent = use(subject)
    [position] = ledger.record(sent)
    response = ledger.get(f"/v1/records/{position}", ledger.resident(subject))
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/cloudevents+json"
    assert response.headers["cache-control"] == "private, no-cache"
    assert not response.headers["etag"].startswith("W/")
    [record] = [r for r in ledger.door.records() if str(r.position) == position]
    assert response.content == record.value
    again = ledger.get(f"/v1/records/{position}", ledger.resident(subject), {"if-none-match": response.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == response.headers["etag"]


def test_a_verdict_is_the_contract_s_json_with_its_reasons(ledger: AnsweringLedger) -> None:
    subject = new_resident()
    sent = use(subject)
    _, collected, position = ledger.record(notice(subject), collection(subject), sent)
    verdict = ledger.get(f"/v1/records/{position}/verdict", ledger.auditor).json()
    assert list(verdict) == [
        "source", "id", "position", "subject", "outcome", "first_outcome", "basis", "findings", "policy", "as_of",
        "known_at", "superseded_by",
    ]  # fmt: skip
    assert (verdict["source"], verdict["id"], verdict["position"]) == (sent["source"], sent["id"], position)
    assert (verdict["outcome"], verdict["basis"]) == ("consistent", ["stated-purpose"])
    assert verdict["policy"] == {"policy_id": "my-san-jose", "version": "2018-04-18"}
    assert (verdict["as_of"], verdict["superseded_by"]) == (sent["time"], None)
    [found] = [f for f in verdict["findings"] if f["rule"] == "purpose-limitation"]
    assert collected in found["evidence"]
    assert set(found) >= {"rule", "result", "code", "categories", "statement", "evidence", "text"}
    lines = [r.value for r in ledger.door.records() if r.position.partition == ledger.partition_of(subject)]
    rows = {row.event.id: row for row in judge_history(lines)}
    assert rows[sent["id"]].verdict.outcome == verdict["outcome"]


def test_a_late_fact_supersedes_a_verdict_and_known_at_still_gives_the_old_one(ledger: AnsweringLedger) -> None:
    subject = new_resident()
    sent = use(subject)
    [_, position] = ledger.record(collection(subject), sent)
    then = ledger.get(f"/v1/records/{position}/verdict", ledger.auditor, known_at=position)
    assert (then.json()["outcome"], then.json()["superseded_by"]) == ("inconsistent", None)
    [late] = ledger.record(notice(subject))  # dated before the collection, recorded after it
    now = ledger.get(f"/v1/records/{position}/verdict", ledger.auditor).json()
    assert (now["outcome"], now["first_outcome"], now["superseded_by"]) == ("consistent", "inconsistent", None)
    cautions = [f["code"] for f in now["findings"] if f["rule"] == "evidence"]
    assert cautions == ["backdated", "recorded-later"]
    old = ledger.get(f"/v1/records/{position}/verdict", ledger.auditor, known_at=position).json()
    assert (old["outcome"], old["known_at"], old["superseded_by"]) == ("inconsistent", position, late)
    assert {**old, "superseded_by": None} == then.json()


def test_a_verdict_known_at_has_a_strong_etag_and_one_of_now_a_weak_one_that_new_records_do_not_change(
    ledger: AnsweringLedger,
) -> None:
    subject = new_resident()
    [position] = ledger.record(use(subject))
    path, mine = f"/v1/records/{position}/verdict", ledger.resident(subject)
    immutable = ledger.get(path, mine, known_at=position)
    assert not immutable.headers["etag"].startswith("W/")
    again = ledger.get(path, mine, {"if-none-match": immutable.headers["etag"]}, known_at=position)
    assert again.status_code == 304
    current = ledger.get(path, mine)
    assert current.headers["etag"].startswith("W/")
    ledger.record(event("data.reviewed", subject=subject, data={"categories": ["email"]}))
    later = ledger.get(path, mine, {"if-none-match": current.headers["etag"]})
    assert later.status_code == 304
    assert later.headers["ledger-complete-through"] != current.headers["ledger-complete-through"]
    ledger.record(notice(subject), collection(subject))
    assert ledger.get(path, mine, {"if-none-match": current.headers["etag"]}).status_code == 200


@pytest.mark.parametrize("known_at", ["x", "03-1", "3-01", "1", "-1", "3-1 ", "3-99999999999999999999", ""])
def test_a_malformed_known_at_is_a_422_that_names_it(ledger: AnsweringLedger, known_at: str) -> None:
    [position] = ledger.record(use(new_resident()))
    response = ledger.get(f"/v1/records/{position}/verdict?known_at={known_at}", ledger.auditor)
    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["errors"] == [{"pointer": "known_at", "code": "position"}]


def test_known_at_of_another_partition_is_a_422_and_one_beyond_the_view_a_503(ledger: AnsweringLedger) -> None:
    [position] = ledger.record(use(new_resident()))
    partition = Position.parse(position).partition
    path = f"/v1/records/{position}/verdict"
    other = ledger.get(path, ledger.auditor, known_at=str(Position((partition + 1) % 6, 0)))
    assert (other.status_code, other.json()["errors"]) == (
        422, [{"pointer": "known_at", "code": "another-partition"}],
    )  # fmt: skip
    beyond = ledger.get(path, ledger.auditor, known_at=str(Position(partition, 1_000_000)))
    assert beyond.status_code == 503
    assert int(beyond.headers["retry-after"]) > 0


def test_a_verdict_asked_as_known_before_the_event_was_recorded_is_a_404_that_says_so(ledger: AnsweringLedger) -> None:
    subject = new_resident()
    _, position = ledger.record(notice(subject), use(subject))
    response = ledger.get(f"/v1/records/{position}/verdict", ledger.auditor, known_at=before(position))
    assert response.status_code == 404
    assert response.json()["errors"] == [{"pointer": "position", "code": "not-recorded-then"}]


def test_an_event_that_is_not_judged_has_no_verdict_and_the_404_says_so(ledger: AnsweringLedger) -> None:
    [position] = ledger.record(notice(new_resident()))
    response = ledger.get(f"/v1/records/{position}/verdict", ledger.auditor)
    assert response.status_code == 404
    assert response.json()["errors"] == [{"pointer": "position", "code": "not-judged"}]


def test_a_position_that_there_is_not_is_a_404_and_a_malformed_one_a_422(ledger: AnsweringLedger) -> None:
    for tail in ("", "/verdict"):
        assert ledger.get(f"/v1/records/0-1000000{tail}", ledger.auditor).status_code == 404
        assert ledger.get(f"/v1/records/99-0{tail}", ledger.auditor).status_code == 404
        response = ledger.get(f"/v1/records/secret-1{tail}", ledger.auditor)
        assert (response.status_code, response.json()["errors"]) == (
            422, [{"pointer": "position", "code": "position"}],
        )  # fmt: skip
        assert "secret" not in response.text


def test_what_the_views_have_not_reached_is_a_503_with_retry_after_and_never_a_404(ledger: AnsweringLedger) -> None:
    subject = new_resident()
    with ledger.paused():
        sent = use(subject)
        [position] = ledger.record(sent, wait=False)
        for path in (f"/v1/records/{position}", f"/v1/records/{position}/verdict"):
            response = ledger.get(path, ledger.resident(subject))
            assert response.status_code == 503, path
            assert int(response.headers["retry-after"]) > 0
        found = ledger.get("/v1/records", ledger.service, source=sent["source"], id=sent["id"])
        assert found.status_code == 503
    ledger.settle()
    assert ledger.get(f"/v1/records/{position}", ledger.resident(subject)).status_code == 200


def test_reading_one_s_own_write_waits_until_the_view_has_it(ledger: AnsweringLedger) -> None:
    subject = new_resident()
    for _ in range(5):
        [position] = ledger.record(use(subject), wait=False)
        response = ledger.get("/v1/me/log", ledger.resident(subject), {"ledger-position": position})
        assert response.status_code == 200
        assert response.json()["entries"][0]["position"] == position
        through = Position.parse(response.headers["ledger-complete-through"])
        assert through >= Position.parse(position)


def test_a_position_that_the_view_does_not_reach_in_two_seconds_is_a_503(ledger: AnsweringLedger) -> None:
    subject = new_resident()
    with ledger.paused():
        [position] = ledger.record(use(subject), wait=False)
        response = ledger.get("/v1/me/log", ledger.resident(subject), {"ledger-position": position})
        assert response.status_code == 503
        assert int(response.headers["retry-after"]) > 0
        # Without the header the view answers as far as it reaches.
        assert ledger.get("/v1/me/log", ledger.resident(subject)).json() == {"entries": []}
    malformed = ledger.get("/v1/me/log", ledger.resident(subject), {"ledger-position": "3-01"})
    assert malformed.json()["errors"] == [{"pointer": "ledger-position", "code": "position"}]
    ledger.settle()


def test_a_record_is_found_by_its_source_and_id_by_its_emitter_and_an_auditor(ledger: AnsweringLedger) -> None:
    subject = new_resident()
    sent = use(subject)
    [position] = ledger.record(sent)
    permits = ledger.door.issuer.service("permits", {"events:write": ["/services/permits"]})
    parks = ledger.door.issuer.service("parks", {"events:write": ["/services/parks"]})
    for token in (permits, ledger.auditor):
        found = ledger.get("/v1/records", token, source=sent["source"], id=sent["id"])
        assert found.status_code == 200
        assert found.json()["position"] == position
    record = next(r for r in ledger.door.records() if str(r.position) == position)
    assert found.json()["leaf_hash"] == leaf_hash(record.value).hex()
    refused = ledger.get("/v1/records", parks, source=sent["source"], id=sent["id"])
    assert (refused.status_code, refused.json()["errors"][0]["code"]) == (403, "source")
    assert ledger.get("/v1/records", ledger.auditor, source=sent["source"], id="none").status_code == 404
    missing = ledger.get("/v1/records", ledger.auditor, source=sent["source"])
    assert missing.json()["errors"] == [{"pointer": "id", "code": "missing"}]


def test_a_reference_fact_is_found_at_partition_0(ledger: AnsweringLedger) -> None:
    sent = service_registered()
    [position] = ledger.record(sent)
    found = ledger.get("/v1/records", ledger.auditor, source=sent["source"], id=sent["id"]).json()
    assert found["position"] == position
    assert position.startswith("0-")


# --- recorded before it is answered -----------------------------------------------------------------------------


def test_every_read_by_somebody_else_is_recorded_first_and_a_304_too(ledger: AnsweringLedger) -> None:
    subject = new_resident()
    sent = use(subject)
    [position] = ledger.record(sent)
    reads = {
        f"/v1/records/{position}": f"record/{position}",
        f"/v1/records/{position}/verdict": f"verdict/{position}",
        f"/v1/records?source={sent['source']}&id={sent['id']}": f"record/{position}",
        **{f"/v1/residents/{subject}/{name}": name for name in RESOURCES},
    }
    for path in reads:
        first = ledger.get(path, ledger.auditor)
        assert first.status_code == 200, path
    viewed = ledger.views_of(subject)
    assert [e["data"] for e in viewed] == [
        {"role": "auditor", "operator": "auditor", "scope": scope} for scope in reads.values()
    ]
    assert {(e["source"], e["recordedby"]) for e in viewed} == {("/ledger", "auditor")}
    again = ledger.get(f"/v1/records/{position}", ledger.auditor, {"if-none-match": "*"})
    assert again.status_code == 304
    assert len(ledger.views_of(subject)) == len(reads) + 1


def test_a_resident_s_own_reads_are_not_recorded_and_neither_are_reads_of_reference_facts(
    ledger: AnsweringLedger,
) -> None:
    subject = new_resident()
    [position] = ledger.record(use(subject))
    heads = ledger.door.heads()
    mine = ledger.resident(subject)
    for path in (f"/v1/records/{position}", f"/v1/records/{position}/verdict", f"/v1/residents/{subject}/log"):
        assert ledger.get(path, mine).status_code == 200
    for name in RESOURCES:
        assert ledger.get(f"/v1/me/{name}", mine).status_code == 200
    assert ledger.get("/v1/records/0-0", ledger.auditor).status_code == 200  # the policy
    assert ledger.get("/v1/records/0-0", mine).status_code == 200
    assert ledger.door.heads() == heads


def test_what_is_refused_is_not_recorded_as_seen(ledger: AnsweringLedger) -> None:
    subject = new_resident()
    [position] = ledger.record(use(subject))
    other = ledger.resident(new_resident())
    for path in (f"/v1/records/{position}", f"/v1/residents/{subject}/log"):
        assert ledger.get(path, other).status_code == 403
    assert ledger.get(f"/v1/residents/{subject}/log?limit=0", ledger.auditor).status_code == 422
    assert ledger.get(f"/v1/residents/{new_resident()}/log", ledger.auditor).status_code == 404
    assert ledger.views_of(subject) == []


def test_the_resident_sees_who_read_their_log(ledger: AnsweringLedger) -> None:
    subject = new_resident()
    ledger.record(use(subject))
    assert ledger.get(f"/v1/residents/{subject}/log", ledger.auditor).status_code == 200
    ledger.settle()
    entries = ledger.get("/v1/me/log", ledger.resident(subject), kind="log.viewed").json()["entries"]
    assert [entry["record"]["data"]["role"] for entry in entries] == ["auditor"]


# --- checks -----------------------------------------------------------------------------------------------------


def check(ledger: AnsweringLedger, body: Any, token: str, media_type: str = STRUCTURED) -> httpx.Response:
    headers = {"authorization": f"Bearer {token}", "content-type": media_type}
    return ledger.door.client.post("/v1/check", content=orjson.dumps(body), headers=headers)


def test_a_check_gives_the_verdict_that_the_event_then_gets_and_records_only_that_somebody_looked(
    ledger: AnsweringLedger,
) -> None:
    for purposes in (["4.2"], ["4.5"]):
        subject = new_resident()
        told = notice(subject)
        ledger.record({**told, "data": {**told["data"], "purposes": purposes}}, collection(subject))
        sent = use(subject, "4.2")
        heads = ledger.door.heads()
        response = check(ledger, sent, ledger.service)
        assert response.status_code == 200, response.text
        would_be = response.json()
        heads[ledger.partition_of(subject)] += 1
        assert ledger.door.heads() == heads
        [viewed] = ledger.views_of(subject)
        assert viewed["data"] == {"role": "service", "operator": "permits-app", "scope": "check"}
        [position] = ledger.record(sent)
        verdict = ledger.get(f"/v1/records/{position}/verdict", ledger.auditor, known_at=position).json()
        assert would_be["position"] is None
        changed = {"position", "known_at", "superseded_by"}
        assert {k: v for k, v in would_be.items() if k not in changed} == {
            k: v for k, v in verdict.items() if k not in changed
        }


def test_a_check_is_for_the_service_s_own_sources_and_for_what_is_judged(ledger: AnsweringLedger) -> None:
    subject = new_resident()
    parks = ledger.door.issuer.service("parks", {"events:write": ["/services/parks"]})
    assert check(ledger, use(subject), parks).status_code == 403
    assert check(ledger, use(subject), ledger.auditor).status_code == 403
    assert check(ledger, use(subject), ledger.resident(subject)).status_code == 403
    not_judged = check(ledger, notice(subject), ledger.service)
    assert not_judged.json()["errors"] == [{"pointer": "/type", "code": "not-judged"}]
    malformed = use(subject)
    malformed["data"]["purpose"] = "Not An Id"
    refused = check(ledger, malformed, ledger.service)
    assert (refused.status_code, refused.json()["errors"]) == (
        422, [{"pointer": "/data/purpose", "code": "pattern"}],
    )  # fmt: skip
    assert "Not An Id" not in refused.text
    future = check(ledger, use(subject, time="2999-01-01T00:00:00Z"), ledger.service)
    assert future.json()["errors"] == [{"pointer": "/time", "code": "in-the-future"}]
    assert check(ledger, [use(subject)], ledger.service, BATCH).status_code == 415
    assert check(ledger, use(subject), ledger.service, "text/plain").status_code == 415
    assert ledger.views_of(subject) == []


def test_a_read_waits_for_every_copy_of_a_reference_fact(ledger: AnsweringLedger) -> None:
    subject = new_resident()
    demand = f"pra-{uuid4().hex[:8]}"
    basis = {"kind": "law", "legal_basis": "public-records-act", "citation": "Gov. Code", "demand_id": demand}
    shared = {
        "categories": ["email"],
        "purpose": "4.2",
        "recipient": "press",
        "recipient_kind": "public",
        "basis": basis,
    }
    [position] = ledger.record(event("data.shared", subject=subject, time=USED, data=shared))
    data = {"demand_id": demand, "legal_basis": "public-records-act", "disclose": True, "exempt_categories": []}
    [decided] = ledger.record(event("legal-demand.decided", subject=None, time=USED, data=data), wait=False)
    answer = ledger.get(f"/v1/records/{position}/verdict", ledger.auditor, {"ledger-position": decided})
    assert answer.status_code in (200, 503)
    if answer.status_code == 200:
        assert answer.json()["outcome"] == "consistent"

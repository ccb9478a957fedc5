"""What a resident reads back: their own texts, incidents that touch them; and opening what is held is recorded."""

from collections.abc import Iterator
from typing import Any

import pytest

from ledger.authority import Door
from ledger.errors import Unavailable
from ledger.recording.recorder import Recorder
from tests.answering import AnsweringLedger, collection, new_resident, notice, open_ledger
from tests.door import consent, event
from tests.erasing import erase
from tests.mine import kinds, of_subject, post, put

TEXT, CLAIM, ANSWER = "walnut cobalt heron", "sienna plover basalt", "tamarind osprey slate"


@pytest.fixture(scope="module")
def ledger(
    kafka_address: str, database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AnsweringLedger]:
    with open_ledger(kafka_address, database_url, tmp_path_factory.mktemp("me_reads")) as opened:
        yield opened


@pytest.fixture
def subject() -> str:
    return new_resident()


def cases(ledger: AnsweringLedger, path: str, token: str, after: str | None = None) -> list[dict[str, Any]]:
    answer = ledger.get(f"/v1/{path}/cases", token, {} if after is None else {"ledger-position": after})
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["cases"]
    return found


# --- what is held ---------------------------------------------------------------------------------------------------


def test_each_opening_of_what_is_held_is_recorded_once_and_a_304_is_an_opening(
    ledger: AnsweringLedger, subject: str
) -> None:
    data = {"categories": ["name", "email", "phone"], "purposes": ["4.2"], "origin": "resident"}
    ledger.record(collection(subject, data=data))
    mine = ledger.resident(subject)
    first = ledger.get("/v1/me/data", mine, limit="2")
    assert first.status_code == 200
    [reviewed] = [e for e in of_subject(ledger, subject) if e["type"].endswith("data.reviewed.v1")]
    assert (reviewed["data"]["categories"], reviewed["source"]) == (["email", "name", "phone"], "/my")
    following = first.headers["link"].split(";")[0].strip("<>")
    rest = ledger.get(following, mine)
    assert len(rest.json()["data"]) == 1 and "ledger-position" not in rest.headers, "a later page is no new opening"
    assert kinds(ledger, subject) == ["data.collected", "data.reviewed"]
    again = ledger.get("/v1/me/data", mine, {"if-none-match": first.headers["etag"]}, limit="2")
    assert again.status_code == 304
    assert kinds(ledger, subject).count("data.reviewed") == 2
    log = ledger.get("/v1/me/log", mine, {"ledger-position": again.headers["ledger-position"]})
    assert [entry["kind"] for entry in log.json()["entries"]][:2] == ["data.reviewed"] * 2


def test_who_opens_an_empty_list_has_reviewed_nothing_and_an_auditor_is_not_the_resident(
    ledger: AnsweringLedger, subject: str
) -> None:
    assert ledger.get("/v1/me/data", ledger.resident(subject)).json() == {"data": []}
    assert of_subject(ledger, subject) == []
    ledger.record(collection(subject))
    assert ledger.get("/v1/me/data", ledger.resident(subject), purpose="4.7").json() == {"data": []}
    ledger.get(f"/v1/residents/{subject}/data", ledger.auditor)
    assert kinds(ledger, subject) == ["data.collected", "log.viewed"]


def test_what_is_held_is_shown_even_when_that_cannot_be_recorded(
    ledger: AnsweringLedger, subject: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.record(collection(subject))
    submit = Recorder.submit

    def refuse(self: Recorder, items: Any, principal: Any, door: Door = Door.EVENTS) -> Any:
        if door is Door.MY:
            raise Unavailable("the recorder is stopping")
        return submit(self, items, principal, door)

    monkeypatch.setattr(Recorder, "submit", refuse)
    answer = ledger.get("/v1/me/data", ledger.resident(subject))
    assert answer.status_code == 200 and answer.json()["data"] and "ledger-position" not in answer.headers
    assert kinds(ledger, subject) == ["data.collected"]


# --- texts ------------------------------------------------------------------------------------------------------------


def test_a_resident_reads_their_own_texts_and_the_answers_and_an_auditor_that_there_are_some(
    ledger: AnsweringLedger, subject: str
) -> None:
    post(ledger, subject, "contests", {"categories": ["email"], "claim": CLAIM})
    post(ledger, subject, "access-requests", {"kind": "update", "categories": ["email"]})
    filed = post(ledger, subject, "complaints", {"kind": "complaint", "text": TEXT}).json()
    data = {"complaint_id": filed["complaint_id"], "outcome": "settled", "answer": ANSWER}
    ledger.record(event("complaint.resolved", source="/offices/clerk", subject=subject, data=data))
    mine = {case["kind"]: case for case in cases(ledger, "me", ledger.resident(subject))}
    assert (mine["complaint"]["text"], mine["complaint"]["answer"]) == (
        {"state": "clear", "text": TEXT},
        {"state": "clear", "text": ANSWER},
    )
    assert (mine["contest"]["text"], mine["contest"]["answer"]) == ({"state": "clear", "text": CLAIM}, None)
    assert (mine["access"]["text"], mine["access"]["what"]) == (None, "update")
    theirs = {case["kind"]: case for case in cases(ledger, f"residents/{subject}", ledger.auditor)}
    assert theirs["complaint"]["text"] == theirs["complaint"]["answer"] == {"state": "sealed"}
    assert ledger.get(f"/v1/residents/{subject}/cases", ledger.resident(new_resident())).status_code == 403
    erase(ledger, subject)
    gone = {case["kind"]: case for case in cases(ledger, "me", ledger.resident(subject))}
    assert gone["complaint"]["text"] == gone["complaint"]["answer"] == gone["contest"]["text"] == {"state": "erased"}


def test_a_text_is_read_right_after_it_was_written(ledger: AnsweringLedger, subject: str) -> None:
    filed = post(ledger, subject, "complaints", {"kind": "question", "text": TEXT})
    [case] = cases(ledger, "me", ledger.resident(subject), filed.headers["ledger-position"])
    assert (case["case_id"], case["text"]["text"]) == (filed.json()["complaint_id"], TEXT)


# --- incidents ----------------------------------------------------------------------------------------------------


def incident(subject: str | None, incident_id: str, categories: list[str], **members: Any) -> dict[str, Any]:
    data = {"incident_id": incident_id, "kind": "unauthorized-access", "categories": categories}
    return event("incident.reported", **{"source": "/offices/it", "subject": subject, "data": data, **members})


def test_an_incident_of_nobody_yet_is_shown_to_whom_its_kinds_of_data_were_held_of(ledger: AnsweringLedger) -> None:
    holder, other, late = new_resident(), new_resident(), new_resident()
    ledger.record(
        collection(holder),
        collection(other, data={"categories": ["photo"], "purposes": ["4.2"], "origin": "resident"}),
        collection(late, time="2026-03-05T12:00:00Z"),
        incident(None, "i-1", ["contact"], time="2026-03-04T12:00:00Z"),
    )
    [shown] = cases(ledger, "me", ledger.resident(holder))
    assert (shown["case_id"], shown["touches"], shown["categories"]) == ("i-1", "kinds-held", ["contact"])
    assert cases(ledger, "me", ledger.resident(other)) == cases(ledger, "me", ledger.resident(late)) == []
    assert cases(ledger, f"residents/{holder}", ledger.auditor) == [], "nothing was reported about them"
    ledger.record(incident(holder, "i-1", ["email"], time="2026-03-04T12:00:00Z"))
    [found] = cases(ledger, "me", ledger.resident(holder))
    assert (found["case_id"], found["touches"], found["categories"]) == ("i-1", "you", ["email"])


# --- a consent record -------------------------------------------------------------------------------------------------


def test_a_consent_is_downloaded_as_a_record_of_iso_27560(ledger: AnsweringLedger, subject: str) -> None:
    data = {"consent_id": "c1", "purposes": ["4.7"], "categories": ["email"], "method": "web-form", "notice_id": "n1"}
    ledger.record(
        notice(subject, data={**notice(subject)["data"], "language": "vi"}), consent(subject=subject, data=data)
    )
    mine = ledger.resident(subject)
    given = ledger.get("/v1/me/consents/c1/record", mine)
    assert (given.status_code, given.headers["content-type"]) == (200, "application/ld+json")
    assert given.headers["content-disposition"] == 'attachment; filename="consent-c1.jsonld"'
    record = given.json()
    assert (record["record_id"], record["pii_principal_id"]) == ("c1", subject)
    [purpose] = record["purposes"]
    assert (purpose["purpose_type"], purpose["language"]) == ("dpv:DirectMarketing", "vi")
    assert purpose["purpose"].startswith("Communicate with you about products")
    assert [party["party_name"] for party in record["parties"]] == ["City of San José"]
    assert ledger.get("/v1/me/consents/c1/record", mine, {"if-none-match": given.headers["etag"]}).status_code == 304
    done = put(ledger, subject, "consents", {"purpose": "4.7", "given": False})
    ended = ledger.get("/v1/me/consents/c1/record", mine, {"ledger-position": done["position"]}).json()["events"]
    assert [(e["event_state"], e["entity_id"]) for e in ended] == [
        ("dpv:ConsentGiven", "/services/permits"),
        ("dpv:ConsentWithdrawn", "/my"),
    ]
    assert ended[1]["log_position"] == done["position"]
    other = ledger.resident(new_resident())
    for token, status in ((other, 404), (ledger.auditor, 403), (ledger.service, 403), (None, 401)):
        assert ledger.get("/v1/me/consents/c1/record", token).status_code == status
    assert ledger.get("/v1/me/consents/a%20b/record", mine).status_code == 404

"""Complaints reach those who answer them, with their due dates; whoever reads one is in that resident's log."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from ledger.authority import Door
from ledger.errors import Unavailable
from ledger.recording.recorder import Recorder
from tests.answering import AnsweringLedger, new_resident, open_ledger
from tests.door import complaint, event
from tests.erasing import erase
from tests.mine import call, kinds, of_subject, post, receipt_positions

OFFICE = "/offices/information-security"
TEXT, ANSWER = "walnut cobalt heron", "tamarind osprey slate"


@pytest.fixture(scope="module")
def ledger(
    kafka_address: str, database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AnsweringLedger]:
    with open_ledger(kafka_address, database_url, tmp_path_factory.mktemp("queue")) as opened:
        yield opened


@pytest.fixture
def subject() -> str:
    return new_resident()


@pytest.fixture(scope="module")
def staff(ledger: AnsweringLedger) -> str:
    return ledger.door.issuer.service("security-desk", {"rules:write": [OFFICE]})


def filed(ledger: AnsweringLedger, subject: str, path: str = "complaints", **body: Any) -> str:
    """The position of a case that the resident opened, in the views."""
    body = body or {"kind": "complaint", "text": TEXT}
    position: str = post(ledger, subject, path, body).json()["position"]
    ledger.settle()
    return position


def answer(ledger: AnsweringLedger, staff: str, position: str, **body: Any) -> httpx.Response:
    body = body or {"outcome": "settled", "answer": ANSWER}
    return call(ledger, "POST", f"/v1/queue/{position}/answer", body, staff)


def queue(ledger: AnsweringLedger, staff: str, **query: str) -> list[dict[str, Any]]:
    """The whole queue, page by page."""
    found: list[dict[str, Any]] = []
    response = ledger.get("/v1/queue", staff, None, **query)
    while True:
        assert response.status_code == 200, response.text
        found += response.json()["cases"]
        if "link" not in response.headers:
            return found
        response = ledger.get(response.headers["link"].split(";")[0].strip("<>"), staff)


def test_what_waits_stands_first_by_its_due_date_and_then_what_was_answered(
    ledger: AnsweringLedger, staff: str
) -> None:
    one, two, three = (new_resident() for _ in range(3))
    first = filed(ledger, one)
    [demand] = ledger.record(complaint("x", subject=one, id="backdated", time="2026-01-01T00:00:00Z"))
    access = filed(ledger, two, "access-requests", kind="review")
    contest = filed(ledger, three, "contests", categories=["email"], claim=TEXT)
    assert answer(ledger, staff, contest, outcome="corrected").status_code == 200
    ledger.settle()
    ours = {first, demand, access, contest}
    for size in ("1", "2", "500"):
        found = [case for case in queue(ledger, staff, limit=size) if case["position"] in ours]
        assert [case["position"] for case in found] == [demand, access, first, contest]
    assert [case["overdue"] for case in found] == [True, False, False, False]
    days = [datetime.fromisoformat(case["due"]) - datetime.fromisoformat(case["opened"]) for case in found]
    assert days == [timedelta(days=n) for n in (30, 10, 30, 30)]
    assert "text" not in found[0] and found[1]["subject"] == two
    waiting = {case["position"] for case in queue(ledger, staff, state="waiting")}
    answered = {case["position"] for case in queue(ledger, staff, state="answered")}
    assert waiting & ours == {demand, access, first} and answered & ours == {contest}
    assert {case["kind"] for case in queue(ledger, staff, kind="access", limit="1")} == {"access"}


def test_whoever_reads_the_queue_or_a_case_is_in_the_log_of_each_resident_shown(
    ledger: AnsweringLedger, staff: str, subject: str
) -> None:
    position = filed(ledger, subject)
    listed = ledger.get("/v1/queue", staff, limit="500").json()["cases"]
    assert position in [case["position"] for case in listed]
    shown = ledger.get(f"/v1/queue/{position}", staff)
    assert (shown.status_code, shown.json()["text"], shown.json()["answer"]) == (
        200,
        {"state": "clear", "text": TEXT},
        None,
    )
    assert shown.headers["cache-control"] == "private, no-cache"
    viewed = [e["data"] for e in ledger.views_of(subject)]
    assert viewed == [
        {"role": "staff", "operator": "security-desk", "scope": scope} for scope in ("queue", f"queue/{position}")
    ]
    again = ledger.get(f"/v1/queue/{position}", staff, {"if-none-match": shown.headers["etag"]})
    assert again.status_code == 304 and len(ledger.views_of(subject)) == 3
    for case in {case["subject"] for case in listed if case["subject"]}:
        assert ledger.views_of(case), "everybody on the page finds it"


def test_a_read_that_cannot_be_recorded_is_refused(
    ledger: AnsweringLedger, staff: str, subject: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    position = filed(ledger, subject)
    submit = Recorder.submit

    def refuse(self: Recorder, items: Any, principal: Any, door: Door = Door.EVENTS) -> Any:
        if door is Door.LEDGER:
            raise Unavailable("the recorder is stopping")
        return submit(self, items, principal, door)

    monkeypatch.setattr(Recorder, "submit", refuse)
    for path in ("/v1/queue", f"/v1/queue/{position}"):
        response = ledger.get(path, staff)
        assert response.status_code == 503 and TEXT not in response.text and subject not in response.text


def test_an_answer_is_given_once_sealed_and_by_the_staff_s_own_source(
    ledger: AnsweringLedger, staff: str, subject: str
) -> None:
    position = filed(ledger, subject)
    done = answer(ledger, staff, position)
    assert done.status_code == 200, done.text
    assert receipt_positions(done.json()["receipt"]) == [done.json()["position"]]
    assert answer(ledger, staff, position).content == done.content, "the same again is the same"
    other = answer(ledger, staff, position, outcome="rejected", answer=ANSWER)
    assert (other.status_code, other.json()["errors"]) == (409, [{"pointer": "/state", "code": "answered"}])
    said = of_subject(ledger, subject)[-1]
    assert (said["source"], said["data"]["outcome"], set(said["data"]["answer"])) == (OFFICE, "settled", {"sealed"})
    assert kinds(ledger, subject).count("complaint.resolved") == 1
    cases = ledger.get("/v1/me/cases", ledger.resident(subject), {"ledger-position": done.json()["position"]})
    [case] = cases.json()["cases"]
    assert (case["outcome"], case["answer"]) == ("settled", {"state": "clear", "text": ANSWER})


def test_of_answers_given_at_once_one_counts(ledger: AnsweringLedger, staff: str, subject: str) -> None:
    position = filed(ledger, subject)
    with ThreadPoolExecutor(4) as pool:
        outcomes = ["settled", "rejected", "upheld", "settled"]
        found = list(
            pool.map(lambda o: answer(ledger, staff, position, outcome=o, answer=ANSWER).status_code, outcomes)
        )
    assert set(found) == {200, 409} and kinds(ledger, subject).count("complaint.resolved") == 1


@pytest.mark.parametrize(
    ("path", "body", "outcome"),
    [
        ("contests", {"categories": ["email"], "claim": TEXT}, "corrected"),
        ("access-requests", {"kind": "update"}, "granted"),
    ],
)
def test_contests_and_access_requests_are_answered_by_their_own_events(
    ledger: AnsweringLedger, staff: str, subject: str, path: str, body: Any, outcome: str
) -> None:
    position = filed(ledger, subject, path, **body)
    wrong = answer(ledger, staff, position, outcome="settled")
    assert (wrong.status_code, wrong.json()["errors"]) == (422, [{"pointer": "/outcome", "code": "unknown-value"}])
    assert answer(ledger, staff, position, outcome=outcome).status_code == 200, "an answer's text is optional here"
    assert kinds(ledger, subject)[-1] == {"contests": "contest.resolved", "access-requests": "access.answered"}[path]


def test_an_incident_is_in_the_queue_and_is_not_answered_there(
    ledger: AnsweringLedger, staff: str, subject: str
) -> None:
    data = {"incident_id": f"i-{subject}", "kind": "loss", "categories": ["email"]}
    mine, nobodys = (
        event("incident.reported", source="/offices/it", subject=s, data={**data, "incident_id": f"{n}-{subject}"})
        for n, s in (("a", subject), ("b", None))
    )
    positions = ledger.record(mine, nobodys)
    found = [case for case in queue(ledger, staff, kind="incident") if case["case_id"].endswith(subject)]
    assert {case["position"]: case["subject"] for case in found} == dict(zip(positions, (subject, None), strict=True))
    for position in positions:
        assert answer(ledger, staff, position).status_code == 409
        assert ledger.get(f"/v1/queue/{position}", staff).json()["text"] is None


def test_only_staff_of_the_queue_s_sources_reach_it(ledger: AnsweringLedger, subject: str) -> None:
    position = filed(ledger, subject)
    clerk = ledger.door.issuer.service("clerk", {"rules:write": ["/offices/clerk"]})
    emitter = ledger.door.issuer.service("permits", {"events:write": [OFFICE]})
    before = ledger.door.heads()
    for token, status in (
        (None, 401), (clerk, 403), (emitter, 403), (ledger.auditor, 403), (ledger.operator, 403),
        (ledger.resident(subject), 403),
    ):  # fmt: skip
        for path in ("/v1/queue", f"/v1/queue/{position}"):
            assert ledger.get(path, token).status_code == status
        assert call(ledger, "POST", f"/v1/queue/{position}/answer", {"outcome": "settled"}, token).status_code == status
    assert ledger.door.heads() == before


def test_what_is_asked_of_the_queue_wrongly_is_refused_by_its_place(
    ledger: AnsweringLedger, staff: str, subject: str
) -> None:
    position = filed(ledger, subject)
    for query, pointer in (({"state": "open"}, "state"), ({"kind": "erasure"}, "kind"), ({"cursor": "x"}, "cursor")):
        response = ledger.get("/v1/queue", staff, None, **query)
        assert (response.status_code, response.json()["errors"][0]["pointer"]) == (422, pointer)
    assert ledger.get("/v1/queue/x", staff).status_code == 422
    for nowhere in ("0-999999", "99999999999-1", "0-9223372036854775807"):
        assert ledger.get(f"/v1/queue/{nowhere}", staff).status_code in (404, 422)
    missing = answer(ledger, staff, position, outcome="settled")
    assert (missing.status_code, missing.json()["errors"]) == (422, [{"pointer": "/answer", "code": "missing"}])
    other = answer(ledger, staff, position, outcome="settled", answer=ANSWER, source="/offices/clerk")
    assert other.status_code == 403
    erase(ledger, subject)
    assert answer(ledger, staff, position).status_code == 410
    assert ledger.get(f"/v1/queue/{position}", staff).json()["text"] == {"state": "erased"}

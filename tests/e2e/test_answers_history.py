"""The history of a verdict at its door: each answer, from when to when, what changed it, and who may know that."""

from collections.abc import Iterator
from typing import Any

import pytest

from ledger import codec
from tests.answering import (
    TOLD,
    AnsweringLedger,
    a_policy,
    collection,
    new_resident,
    notice,
    open_ledger,
    use,
    withholding,
)
from tests.door import event

DAY_US = 86_400_000_000


@pytest.fixture(scope="module")
def ledger(
    kafka_address: str, database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AnsweringLedger]:
    with open_ledger(kafka_address, database_url, tmp_path_factory.mktemp("history")) as opened:
        yield opened


def history(ledger: AnsweringLedger, position: str, token: str, **query: str) -> dict[str, Any]:
    response = ledger.get(f"/v1/records/{position}/history", token, None, **query)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def often_judged(ledger: AnsweringLedger, subject: str) -> str:
    """A use whose verdict four later records change: a collection, a notice, a contest and its end."""
    contest = {"contest_id": f"k-{subject}", "categories": ["email"]}
    contested = event("data.contested", subject=subject, time=TOLD, data={**contest, "claim": "it is not mine"})
    resolved = {"contest_id": contest["contest_id"], "outcome": "rejected"}
    positions = ledger.record(
        use(subject),
        collection(subject),
        notice(subject),
        contested,
        event("contest.resolved", source="/legal", subject=subject, time=TOLD, data=resolved),
    )
    return positions[0]


def codes(findings: list[dict[str, Any]]) -> list[str]:
    return [f"{finding['result']}/{finding['code']}" for finding in findings]


def test_each_verdict_says_from_when_to_when_it_was_the_answer_and_which_record_changed_it(
    ledger: AnsweringLedger,
) -> None:
    subject = new_resident()
    sent = use(subject)
    [_, position] = ledger.record(collection(subject), sent)
    told = notice(subject)
    [late] = ledger.record(told)
    for token in (ledger.auditor, ledger.resident(subject)):
        found = history(ledger, position, token)
        assert [found[name] for name in ("position", "source", "id", "kind", "subject", "as_of")] == [
            position, sent["source"], sent["id"], "data.used", subject, sent["time"],
        ]  # fmt: skip
        first, second = found["verdicts"]
        assert (first["known_from"], first["known_until"], first["current"]) == (position, late, False)
        assert (second["known_from"], second["known_until"], second["current"]) == (late, None, True)
        assert (first["outcome"], second["outcome"]) == ("inconsistent", "consistent")
        assert (first["brought_by"]["position"], first["changed"]) == (position, None)
        by = second["brought_by"]
        assert (by["position"], by["kind"], by["source"], by["time"]) == (
            late, "notice.given", told["source"], told["time"],
        )  # fmt: skip
        changed = second["changed"]
        assert changed["outcome"] == {"from": "inconsistent", "to": "consistent"}
        assert "violated/purpose-not-told" in codes(changed["went"])
        assert {"holds/stated-purpose", "caution/recorded-later"} <= set(codes(changed["came"]))


def test_each_verdict_of_the_history_is_the_one_that_known_at_gives(ledger: AnsweringLedger) -> None:
    subject = new_resident()
    position = often_judged(ledger, subject)
    verdicts = history(ledger, position, ledger.auditor)["verdicts"]
    assert len(verdicts) == 5
    for verdict in verdicts:
        then = ledger.get(f"/v1/records/{position}/verdict", ledger.auditor, known_at=verdict["known_from"]).json()
        assert {name: then[name] for name in ("outcome", "first_outcome", "basis", "findings", "policy")} == {
            name: verdict[name] for name in ("outcome", "first_outcome", "basis", "findings", "policy")
        }
        assert then["superseded_by"] == verdict["known_until"]


def test_pages_of_a_history_are_the_whole_of_it(ledger: AnsweringLedger) -> None:
    subject = new_resident()
    position = often_judged(ledger, subject)
    whole = history(ledger, position, ledger.auditor, limit="500")["verdicts"]
    assert len(whole) == 5
    for limit in range(1, len(whole) + 1):
        pages: list[dict[str, Any]] = []
        path = f"/v1/records/{position}/history?limit={limit}"
        while path:
            response = ledger.get(path, ledger.auditor)
            found = response.json()["verdicts"]
            assert 0 < len(found) <= limit
            pages += found
            path = response.links["next"]["url"] if "next" in response.links else ""
        assert pages == whole


def test_a_history_is_read_by_its_resident_and_by_auditors_who_are_recorded_first(ledger: AnsweringLedger) -> None:
    subject = new_resident()
    [position] = ledger.record(use(subject))
    history(ledger, position, ledger.resident(subject))
    assert ledger.views_of(subject) == []
    history(ledger, position, ledger.auditor)
    [view] = ledger.views_of(subject)
    assert (view["data"]["role"], view["data"]["scope"]) == ("auditor", f"history/{position}")
    for token, status in ((None, 401), (ledger.resident(new_resident()), 403), (ledger.service, 403)):
        assert ledger.get(f"/v1/records/{position}/history", token).status_code == status
    assert len(ledger.views_of(subject)) == 1


def test_what_has_no_history_says_why(ledger: AnsweringLedger) -> None:
    subject = new_resident()
    [told, _] = ledger.record(notice(subject), a_policy(version="2030-01-01", effective_from="2030-01-01T00:00:00Z"))
    response = ledger.get(f"/v1/records/{told}/history", ledger.auditor)
    assert (response.status_code, response.json()["errors"]) == (404, [{"pointer": "position", "code": "not-judged"}])
    assert ledger.get("/v1/records/x/history", ledger.auditor).status_code == 422
    assert ledger.get("/v1/records/0-999999/history", ledger.auditor).status_code == 404
    assert ledger.get(f"/v1/records/{told}/history", ledger.auditor, known_at=told).status_code == 422
    assert ledger.get(f"/v1/records/{told}/history", ledger.auditor, cursor="AAAA").status_code == 422


def test_a_record_held_back_by_law_is_not_named_in_the_history_that_its_resident_reads(
    ledger: AnsweringLedger,
) -> None:
    subject = new_resident()
    sent, secret = use(subject), collection(subject, source="/services/police")
    [_, position] = ledger.record(notice(subject), sent)
    until_us = ledger.clock() + 30 * DAY_US
    [brought, _] = ledger.record(secret, withholding(subject, secret, until_us))
    auditor = history(ledger, position, ledger.auditor)["verdicts"]
    assert [verdict["brought_by"]["position"] for verdict in auditor] == [position, brought]
    mine = ledger.resident(subject)
    response = ledger.get(f"/v1/records/{position}/history", mine)
    assert brought not in response.text
    assert "/services/police" not in response.text
    first, second = response.json()["verdicts"]
    assert (first["known_until"], first["current"], second["known_from"]) == (None, False, None)
    assert second["brought_by"] == {
        "kind": "withheld", "citation": "Penal Code 832.7", "until": codec.rfc3339(until_us),
    }  # fmt: skip
    then = ledger.get(f"/v1/records/{position}/verdict", mine, known_at=position)
    assert brought not in then.text, "nor does the verdict that it superseded"
    paged = ledger.get(f"/v1/records/{position}/history", mine, limit="1")
    assert len(paged.json()["verdicts"]) == 1


def test_an_event_held_back_has_no_history_for_its_resident_and_one_that_is_no_more_has(
    ledger: AnsweringLedger,
) -> None:
    subject = new_resident()
    sent = use(subject)
    review = event("data.reviewed", subject=subject, data={"categories": ["email"]})
    [position, reviewed] = ledger.record(sent, review)
    until_us = ledger.clock() + 30 * DAY_US
    ledger.record(withholding(subject, sent, until_us), withholding(subject, review, until_us))
    for held in (position, reviewed):
        for path in ("history", "verdict"):
            shown = ledger.get(f"/v1/records/{held}/{path}", ledger.resident(subject))
            assert (shown.status_code, shown.json()["kind"]) == (200, "withheld")
    ledger.clock.ahead_us = 31 * DAY_US
    try:
        assert len(history(ledger, position, ledger.door.issuer.resident(subject))["verdicts"]) == 1
    finally:
        ledger.clock.ahead_us = 0

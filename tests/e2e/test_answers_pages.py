"""Pages of a resident's log and lists: complete, each row once, filtered, and nothing of what a law holds back."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from api.recording import wall_clock
from ledger import codec
from tests.answering import (
    COLLECTED,
    MICROSECONDS,
    TOLD,
    USED,
    AnsweringLedger,
    collection,
    new_resident,
    notice,
    open_ledger,
    use,
    withholding,
)
from tests.door import complaint, consent, event

DAY_US = 86_400 * MICROSECONDS


@pytest.fixture(scope="module")
def ledger(
    kafka_address: str, database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AnsweringLedger]:
    with open_ledger(kafka_address, database_url, tmp_path_factory.mktemp("answers")) as opened:
        yield opened


def pages(ledger: AnsweringLedger, path: str, token: str) -> list[list[dict[str, Any]]]:
    """Every page from this one on, by following `Link`."""
    found: list[list[dict[str, Any]]] = []
    following: str | None = path
    while following is not None:
        assert len(found) < 200, "the pages do not end"
        response = ledger.get(following, token)
        assert response.status_code == 200, response.text
        [rows] = response.json().values()
        found.append(rows)
        link = response.headers.get("link")
        following = None
        if link is not None:
            match = re.fullmatch(r'<([^>]+)>; rel="next"', link)
            assert match is not None, link
            following = match[1]
    return found


def ids(rows: list[dict[str, Any]]) -> list[str]:
    return [row["id"] for row in rows]


def test_pages_give_every_entry_once_newest_first_though_many_happened_at_the_same_instant(
    ledger: AnsweringLedger,
) -> None:
    subject = new_resident()
    times = [USED, "2026-03-03T13:00:00+01:00", COLLECTED]  # the first two are one instant
    sent = [use(subject, time=times[i % 3]) for i in range(60)]
    results = ledger.door.batch(sent)
    ledger.settle()
    offsets = {e["id"]: int(r["position"].partition("-")[2]) for e, r in zip(sent, results, strict=True)}
    expected = sorted(sent, key=lambda e: (codec.instant(e["time"]), offsets[e["id"]]), reverse=True)
    for limit in (1, 7, 59, 60, 500):
        found = pages(ledger, f"/v1/me/log?limit={limit}", ledger.resident(subject))
        assert [i for page in found for i in ids(page)] == ids(expected), limit
        assert all(len(page) == limit for page in found[:-1])
        assert found[-1]


def test_an_entry_recorded_between_two_pages_neither_repeats_nor_hides_another(ledger: AnsweringLedger) -> None:
    subject = new_resident()
    sent = [use(subject) for _ in range(10)]
    ledger.record(*sent)
    mine = ledger.resident(subject)
    first = ledger.get("/v1/me/log?limit=5", mine)
    ledger.record(use(subject, time="2026-04-01T12:00:00Z"), use(subject, time="2026-01-01T12:00:00Z"))
    rest = pages(ledger, first.links["next"]["url"], mine)
    seen = ids(first.json()["entries"]) + [i for page in rest for i in ids(page)]
    assert seen[:10] == ids(list(reversed(sent)))
    assert len(seen) == 11  # and the one that happened before them all


def test_filters_choose_by_time_service_purpose_outcome_and_kind(ledger: AnsweringLedger) -> None:
    subject = new_resident()
    told, collected = notice(subject), collection(subject)
    good, bad = use(subject), use(subject, "4.5", source="/services/parks")
    ledger.record(told, collected, good, bad)
    mine = ledger.resident(subject)

    def found(query: str) -> list[str]:
        [rows] = pages(ledger, f"/v1/me/log?{query}", mine)
        return ids(rows)

    everything = ids([bad, good, collected, told])
    assert found("") == everything
    assert found(f"from={COLLECTED}") == ids([bad, good, collected])
    assert found(f"to={COLLECTED}") == ids([told])
    assert found(f"from={TOLD}&to={USED}") == ids([collected, told])
    assert found("service=/services/parks") == ids([bad])
    assert found("purpose=4.2") == ids([good, collected, told])
    assert found("outcome=consistent") == ids([good, collected])
    assert found("outcome=inconsistent") == ids([bad])
    assert found("kind=data.used") == ids([bad, good])
    assert found("kind=data.used&purpose=4.2&outcome=consistent&service=/services/permits") == ids([good])
    assert found("kind=data.shared") == []


@pytest.mark.parametrize(
    ("query", "errors"),
    [
        ("limit=0", [("limit", "limit")]),
        ("limit=501", [("limit", "limit")]),
        ("limit=05", [("limit", "limit")]),
        ("limit=1&limit=2", [("limit", "repeated-parameter")]),
        ("from=2026-03-01", [("from", "time")]),
        ("to=2026-02-30T00:00:00Z", [("to", "time")]),
        ("from=yesterday&to=tomorrow", [("from", "time"), ("to", "time")]),
        ("outcome=fine", [("outcome", "unknown-value")]),
        ("kind=data.stolen", [("kind", "unknown-value")]),
        ("purpose=Not An Id", [("purpose", "pattern")]),
        ("service=%00", [("service", "pattern")]),
        ("servcie=/services/parks", [("", "unknown-parameter")]),
        ("cursor=secret", [("cursor", "cursor")]),
        ("cursor=", [("cursor", "cursor")]),
    ],
)
def test_a_query_that_is_not_understood_is_a_422_that_names_the_parameter_and_shows_no_value(
    ledger: AnsweringLedger, query: str, errors: list[tuple[str, str]]
) -> None:
    response = ledger.get(f"/v1/me/log?{query}", ledger.resident("res_1"))
    assert response.status_code == 422
    assert [(e["pointer"], e["code"]) for e in response.json()["errors"]] == errors
    for value in ("secret", "yesterday", "stolen", "Not An Id", "servcie"):
        assert value not in response.text


def test_a_cursor_fits_only_the_question_it_was_made_for_and_has_one_spelling(ledger: AnsweringLedger) -> None:
    subject, other = new_resident(), new_resident()
    ledger.record(*(use(subject) for _ in range(3)), use(other))
    mine = ledger.resident(subject)
    cursor = ledger.get("/v1/me/log?kind=data.used&limit=1", mine).links["next"]["url"].split("cursor=")[1]
    assert ledger.get(f"/v1/me/log?kind=data.used&limit=2&cursor={cursor}", mine).status_code == 200
    for query in (
        f"cursor={cursor}",
        f"kind=data.shared&cursor={cursor}",
        f"kind=data.used&cursor={cursor}=",
        f"kind=data.used&cursor={cursor}AA",
        f"kind=data.used&cursor=%20{cursor}",
        f"kind=data.used&cursor={cursor[:-2]}",
    ):
        assert ledger.get(f"/v1/me/log?{query}", mine).status_code == 422, query
    assert ledger.get(f"/v1/me/consents?cursor={cursor}", mine).status_code == 422
    assert ledger.get(f"/v1/residents/{subject}/log?kind=data.used&cursor={cursor}", mine).status_code == 422


def test_consents_data_preferences_anonymity_and_cases_say_what_holds_now(ledger: AnsweringLedger) -> None:
    subject = new_resident()
    given, gone = consent("c1", subject=subject, time=TOLD), consent("c2", subject=subject, time=TOLD)
    withdrawn = event("consent.withdrawn", subject=subject, time=USED, data={"consent_id": "c2"})
    expired = consent("c3", subject=subject, time=TOLD)
    expired["data"]["expires_at"] = USED
    told, collected = notice(subject), collection(subject)
    allowed = event("preference.set", subject=subject, data={"channel": "email", "allowed": True})
    anonymous = event("anonymity.chosen", subject=subject)
    complained = complaint("what for?", subject=subject)
    positions = dict(
        zip(
            ("given", "gone", "withdrawn", "expired", "told", "collected", "allowed", "anonymous", "complained"),
            ledger.record(given, gone, withdrawn, expired, told, collected, allowed, anonymous, complained),
            strict=True,
        )
    )
    for path, token in (("/v1/me", ledger.resident(subject)), (f"/v1/residents/{subject}", ledger.auditor)):
        consents = ledger.get(f"{path}/consents", token).json()["consents"]
        assert [(c["consent_id"], c["state"], c["active"], c["position"]) for c in consents] == [
            ("c2", "withdrawn", False, positions["withdrawn"]),
            ("c3", "given", False, positions["expired"]),
            ("c1", "given", True, positions["given"]),
        ]
        assert ledger.get(f"{path}/consents?from={USED}", token).json()["consents"][0]["consent_id"] == "c2"
        assert ledger.get(f"{path}/consents?purpose=4.1", token).json()["consents"] == []
        [held] = ledger.get(f"{path}/data", token).json()["data"]
        assert (held["category"], held["told"], held["position"]) == ("email", ["4.2"], positions["collected"])
        [preference] = ledger.get(f"{path}/preferences", token).json()["preferences"]
        assert (preference["channel"], preference["allowed"]) == ("email", True)
        [anonymity] = ledger.get(f"{path}/anonymity", token).json()["anonymity"]
        assert (anonymity["anonymous"], anonymity["position"]) == (True, positions["anonymous"])
        [case] = ledger.get(f"{path}/cases?kind=complaint", token).json()["cases"]
        assert (case["case_id"], case["resolved"], case["position"]) == ("k1", None, positions["complained"])
    for name in ("consents", "data", "cases"):
        rows = [row for page in pages(ledger, f"/v1/me/{name}?limit=1", ledger.resident(subject)) for row in page]
        assert rows == ledger.get(f"/v1/me/{name}", ledger.resident(subject)).json()[name]


def test_a_collection_of_several_categories_is_paged_row_by_row(ledger: AnsweringLedger) -> None:
    subject = new_resident()
    first = collection(subject)
    first["data"]["categories"] = ["email", "name", "phone"]
    ledger.record(first, collection(subject))
    found = pages(ledger, "/v1/me/data?limit=1", ledger.resident(subject))
    assert [row["category"] for page in found for row in page] == ["email", "email", "name", "phone"]


def test_residents_read_their_own_sealed_texts_and_auditors_do_not(ledger: AnsweringLedger) -> None:
    subject = new_resident()
    ledger.record(complaint("who looked at my file?", subject=subject))
    [mine] = ledger.get("/v1/me/log", ledger.resident(subject)).json()["entries"]
    assert mine["unsealed"] == {"text": "who looked at my file?"}
    assert set(mine["record"]["data"]["text"]) == {"sealed"}
    audited = ledger.get(f"/v1/residents/{subject}/log?kind=complaint.filed", ledger.auditor)
    assert "unsealed" not in audited.json()["entries"][0]
    assert "my file" not in audited.text


def test_a_log_s_etag_stays_until_the_page_changes(ledger: AnsweringLedger) -> None:
    subject = new_resident()
    ledger.record(use(subject))
    mine = ledger.resident(subject)
    first = ledger.get("/v1/me/log", mine)
    assert first.headers["cache-control"] == "private, no-cache"
    again = ledger.get("/v1/me/log", mine, {"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    ledger.record(use(subject))
    assert ledger.get("/v1/me/log", mine, {"if-none-match": first.headers["etag"]}).status_code == 200


# --- held back by law -------------------------------------------------------------------------------------------


@pytest.fixture
def held(ledger: AnsweringLedger) -> Iterator[dict[str, Any]]:
    """A resident of whom one collection is held back for 30 days."""
    subject = new_resident()
    secret = collection(subject, source="/services/police")
    open_use = use(subject)
    until = ledger.clock() + 30 * DAY_US
    held_by = withholding(subject, secret, until)
    reported = event(
        "incident.reported",
        source="/services/it",
        subject=subject,
        time=USED,
        data={
            "incident_id": "i1",
            "kind": "loss",
            "categories": ["email"],
            "about": {"source": secret["source"], "id": secret["id"]},
        },
    )
    positions = ledger.record(notice(subject), secret, open_use, held_by, reported)
    shown = {"kind": "withheld", "citation": "Penal Code 832.7", "until": codec.rfc3339(until)}
    yield {"subject": subject, "secret": secret, "positions": positions, "shown": shown, "by": held_by}
    ledger.clock.ahead_us = 0


def test_what_a_law_holds_back_shows_its_resident_only_that_it_is(
    ledger: AnsweringLedger, held: dict[str, Any]
) -> None:
    subject, shown, mine = held["subject"], held["shown"], ledger.resident(held["subject"])
    told, secret, used, held_by, reported = held["positions"]
    entries = ledger.get("/v1/me/log", mine).json()["entries"]
    assert entries[0] == shown
    assert [entry["position"] for entry in entries[1:]] == [used, told]
    for position in (secret, held_by, reported):
        assert ledger.get(f"/v1/records/{position}", mine).json() == shown
    for query in ("", f"?known_at={secret}"):
        assert ledger.get(f"/v1/records/{secret}/verdict{query}", mine).json() == shown
    assert ledger.get("/v1/me/data", mine).json() == {"data": [shown]}
    assert ledger.get("/v1/me/cases", mine).json() == {"cases": [shown]}
    everything = "".join(
        ledger.get(path, mine).text
        for path in ("/v1/me/log", "/v1/me/data", "/v1/me/cases", f"/v1/residents/{subject}/log")
    )
    assert held["secret"]["id"] not in everything
    assert "/services/police" not in everything


def test_neither_a_verdict_nor_who_read_it_tells_the_place_of_what_is_held_back(
    ledger: AnsweringLedger, held: dict[str, Any]
) -> None:
    mine = ledger.resident(held["subject"])
    _, secret, used, _, _ = held["positions"]
    assert secret in ledger.get(f"/v1/records/{used}/verdict", ledger.auditor).text
    ledger.get(f"/v1/records/{secret}/verdict", ledger.auditor)
    for query in ("", f"?known_at={used}"):
        answer = ledger.get(f"/v1/records/{used}/verdict{query}", mine)
        assert answer.status_code == 200
        assert f'"{secret}"' not in answer.text
    ledger.settle()
    log = ledger.get("/v1/me/log", mine)
    assert f"verdict/{used}" in log.text
    assert f"verdict/{secret}" not in log.text


def test_no_filter_and_no_page_tells_anything_of_what_is_held_back(
    ledger: AnsweringLedger, held: dict[str, Any]
) -> None:
    mine = ledger.resident(held["subject"])
    told, _, used, _, _ = held["positions"]
    for query in (
        "service=/services/police", "kind=data.collected", "kind=disclosure.withheld", "kind=incident.reported",
        f"from={COLLECTED}&to={USED}", "outcome=consistent&kind=data.collected",
    ):  # fmt: skip
        assert ledger.get(f"/v1/me/log?{query}", mine).json() == {"entries": []}, query
    assert ledger.get("/v1/me/data?service=/services/police", mine).json() == {"data": []}
    assert ledger.get("/v1/me/log?kind=withheld", mine).json() == {"entries": [held["shown"]]}
    first, second = pages(ledger, "/v1/me/log?limit=1", mine)
    assert [first[0], first[1]["position"], second[0]["position"]] == [held["shown"], used, told]


def test_an_auditor_sees_what_is_held_back_from_its_resident(ledger: AnsweringLedger, held: dict[str, Any]) -> None:
    secret = held["positions"][1]
    assert ledger.get(f"/v1/records/{secret}", ledger.auditor).json()["id"] == held["secret"]["id"]
    assert ledger.get(f"/v1/records/{secret}/verdict", ledger.auditor).json()["position"] == secret
    found = ledger.get(f"/v1/residents/{held['subject']}/log", ledger.auditor).json()["entries"]
    assert secret in [entry["position"] for entry in found]


def test_from_until_on_the_entry_shows_itself_and_a_renewal_holds_it_back_longer(
    ledger: AnsweringLedger, held: dict[str, Any]
) -> None:
    mine, secret = ledger.resident(held["subject"]), held["positions"][1]
    ledger.clock.ahead_us = 29 * DAY_US
    assert ledger.get(f"/v1/records/{secret}", mine).json() == held["shown"]
    ledger.clock.ahead_us = 31 * DAY_US
    assert ledger.get(f"/v1/records/{secret}", mine).json()["id"] == held["secret"]["id"]
    assert ledger.get(f"/v1/records/{secret}/verdict", mine).json()["position"] == secret
    assert len(ledger.get("/v1/me/log", mine).json()["entries"]) == 5
    renewed = withholding(
        held["subject"], held["secret"], ledger.clock() + 30 * DAY_US, time=codec.rfc3339(ledger.clock())
    )
    ledger.record(renewed)
    assert ledger.get(f"/v1/records/{secret}", mine).json()["kind"] == "withheld"
    # The first withholding names the entry too, so it goes with it.
    assert ledger.get(f"/v1/records/{held['positions'][3]}", mine).json()["kind"] == "withheld"
    assert wall_clock() < ledger.clock()

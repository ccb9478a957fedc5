"""A resident's wishes: each is an event with a receipt, the same wish twice is one, and no wish undoes another."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.answering import USED, AnsweringLedger, collection, new_resident, notice, open_ledger, use
from tests.door import consent, event
from tests.erasing import another_api, erase
from tests.mine import call, consents, kinds, of_subject, post, put, receipt_positions

TEXT = "walnut cobalt heron"
WRITES: list[tuple[str, str, Any]] = [
    ("PUT", "/v1/me/consents", {"purpose": "4.7", "given": True}),
    ("PUT", "/v1/me/preferences/email", {"allowed": True}),
    ("PUT", "/v1/me/anonymity", {"anonymous": True}),
    ("POST", "/v1/me/contests", {"categories": ["email"], "claim": TEXT}),
    ("POST", "/v1/me/complaints", {"kind": "complaint", "text": TEXT}),
    ("POST", "/v1/me/access-requests", {"kind": "review"}),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("me")


@pytest.fixture(scope="module")
def ledger(kafka_address: str, database_url: str, folder: Path) -> Iterator[AnsweringLedger]:
    with open_ledger(kafka_address, database_url, folder) as opened:
        yield opened


@pytest.fixture
def subject() -> str:
    return new_resident()


# --- consents -----------------------------------------------------------------------------------------------------


def test_a_consent_is_given_once_however_often_it_is_wished(ledger: AnsweringLedger, subject: str) -> None:
    wish = {"purpose": "4.7", "given": True, "categories": ["email"], "recipients": ["acme"]}
    first = put(ledger, subject, "consents", wish)
    assert first["changed"] and receipt_positions(first["receipt"]) == [first["position"]]
    again = put(ledger, subject, "consents", wish)
    assert again == {**first, "changed": False}, "the same consent, position and receipt"
    [shown] = consents(ledger, subject, first["position"])
    assert (shown["consent_id"], shown["source"], shown["purposes"]) == (first["consent_id"], "/my", ["4.7"])
    assert (shown["categories"], shown["recipients"], shown["operations"]) == (["email"], ["acme"], None)
    assert kinds(ledger, subject) == ["consent.given"]


def test_a_narrower_wish_is_given_already_and_a_wider_one_is_new(ledger: AnsweringLedger, subject: str) -> None:
    wide = put(ledger, subject, "consents", {"purpose": "4.2", "given": True, "categories": ["contact"]})
    narrow = put(ledger, subject, "consents", {"purpose": "4.2/permit", "given": True, "categories": ["email"]})
    assert (narrow["changed"], narrow["consent_id"]) == (False, wide["consent_id"])
    wider = put(ledger, subject, "consents", {"purpose": "4.2", "given": True})
    assert wider["changed"] and len(consents(ledger, subject, wider["position"])) == 2


def test_a_consent_that_ends_sooner_is_not_the_one_wished(ledger: AnsweringLedger, subject: str) -> None:
    year = {"purpose": "4.7", "given": True, "expires_at": "2097-01-01T00:00:00-08:00"}
    first = put(ledger, subject, "consents", year)
    assert put(ledger, subject, "consents", {**year, "expires_at": "2097-01-01T08:00:00Z"})["changed"] is False
    assert put(ledger, subject, "consents", {**year, "expires_at": "2098-01-01T00:00:00Z"})["changed"] is True
    for_ever = put(ledger, subject, "consents", {"purpose": "4.7", "given": True})
    assert for_ever["changed"] and for_ever["consent_id"] != first["consent_id"]


def test_a_withdrawal_ends_every_consent_that_covers_and_gives_the_rest_again(
    ledger: AnsweringLedger, subject: str
) -> None:
    given = {"consent_id": "c1", "purposes": ["4.7", "4.3"], "categories": ["email", "language"], "method": "web-form"}
    given |= {"operations": ["notify"], "recipients": ["acme"], "expires_at": "2097-01-01T00:00:00.000000Z"}
    other = {"consent_id": "c2", "purposes": ["4.4"], "method": "web-form"}
    child = {"consent_id": "c3", "purposes": ["4.7/newsletter"], "method": "paper"}
    ledger.record(*(consent(subject=subject, data=data) for data in (given, other, child)))
    found = put(ledger, subject, "consents", {"purpose": "4.7", "given": False})
    assert {one["consent_id"] for one in found["withdrawn"]} == {"c1", "c3"}
    [again] = found["given_again"]
    assert (again["instead_of"], again["purposes"]) == ("c1", ["4.3"])
    named = [again["position"], *(one["position"] for one in found["withdrawn"])]
    assert receipt_positions(found["receipt"]) == named and found["position"] == named[-1]
    shown = {row["consent_id"]: row for row in consents(ledger, subject, found["position"])}
    assert shown.keys() == {"c2", again["consent_id"]}
    kept = shown[again["consent_id"]]
    assert {name: kept[name] for name in ("categories", "operations", "recipients", "expires_at")} == {
        name: given[name] for name in ("categories", "operations", "recipients", "expires_at")
    }
    before = len(of_subject(ledger, subject))
    twice = put(ledger, subject, "consents", {"purpose": "4.7", "given": False})
    assert (twice["changed"], twice["withdrawn"], twice["given_again"]) == (False, [], [])
    assert twice["position"] in named and receipt_positions(twice["receipt"]) == [twice["position"]]
    assert len(of_subject(ledger, subject)) == before


def test_what_a_withdrawal_gives_again_still_covers_uses_and_what_it_ends_does_not(
    ledger: AnsweringLedger, subject: str
) -> None:
    data = {"consent_id": "c1", "purposes": ["4.2"], "method": "web-form"}
    ledger.record(notice(subject), collection(subject), consent(subject=subject, time=USED, data=data))
    found = put(ledger, subject, "consents", {"purpose": "4.2/permit", "given": False})
    now = of_subject(ledger, subject)[-1]["time"]
    purposes = ("4.2/pothole-report", "4.2/permit", "4.2/permit/inspection")
    members: dict[str, Any] = {"categories": ["photo"], "operation": "consult"}
    members |= {"basis": {"kind": "consent", "consent_id": "c1"}}
    used = [use(subject, time=now, data={**members, "purpose": purpose}) for purpose in purposes]
    ledger.record(collection(subject, data={"categories": ["photo"], "purposes": ["4.1"], "origin": "resident"}))
    positions = ledger.record(*used)
    outcomes = [ledger.get(f"/v1/records/{p}/verdict", ledger.resident(subject)).json()["basis"] for p in positions]
    assert outcomes == [["consent"], [], []]
    assert found["given_again"][0]["instead_of"] == "c1"


def test_a_withdrawal_of_nothing_changes_nothing_and_has_no_record(ledger: AnsweringLedger, subject: str) -> None:
    answer = call(ledger, "PUT", "/v1/me/consents", {"purpose": "4.7", "given": False}, ledger.resident(subject))
    assert answer.status_code == 200 and "ledger-position" not in answer.headers
    assert (answer.json()["changed"], answer.json()["position"], answer.json()["receipt"]) == (False, None, None)
    assert of_subject(ledger, subject) == []


def test_a_consent_dated_a_little_ahead_is_withdrawn_too(ledger: AnsweringLedger, subject: str) -> None:
    from api.recording import wall_clock
    from ledger.codec import rfc3339

    ahead = rfc3339(wall_clock() + 240_000_000)
    ledger.record(consent(subject=subject, time=ahead), event("preference.set", subject=subject, time=ahead, data={"channel": "sms", "allowed": True}))  # fmt: skip # noqa: E501
    found = put(ledger, subject, "consents", {"purpose": "4.7", "given": False})
    off = put(ledger, subject, "preferences/sms", {"allowed": False})
    assert found["changed"] and off["changed"]
    ledger.clock.ahead_us = 300_000_000
    try:
        assert consents(ledger, subject, off["position"]) == []
        shown = ledger.get("/v1/me/preferences", ledger.resident(subject)).json()["preferences"]
        assert [row["allowed"] for row in shown] == [False]
    finally:
        ledger.clock.ahead_us = 0


def test_wishes_at_the_same_time_are_granted_one_after_the_other(
    ledger: AnsweringLedger, subject: str, folder: Path
) -> None:
    data = {"consent_id": "c1", "purposes": ["4.7", "4.3", "4.4", "4.2"], "method": "web-form"}
    ledger.record(consent(subject=subject, data=data))
    with another_api(ledger, folder) as other, ThreadPoolExecutor(6) as pool:
        clients = [ledger.door.client, other.client]
        headers = {"authorization": f"Bearer {ledger.resident(subject)}"}

        def withdraw(number: int, purpose: str) -> int:
            body = {"purpose": purpose, "given": False}
            return clients[number % 2].put("/v1/me/consents", json=body, headers=headers).status_code

        wishes = ["4.7", "4.3", "4.4", "4.7", "4.3", "4.4"]
        assert set(pool.map(withdraw, range(6), wishes)) == {200}
    ledger.settle()
    assert [row["purposes"] for row in consents(ledger, subject)] == [["4.2"]], (
        "no withdrawal was lost, and nothing else"
    )
    with ThreadPoolExecutor(6) as pool:
        wish = {"purpose": "4.7", "given": True}
        found = list(pool.map(lambda _: put(ledger, subject, "consents", wish), range(6)))
    assert len({one["consent_id"] for one in found}) == 1 and sum(one["changed"] for one in found) == 1


def test_a_withdrawal_cut_short_is_finished_by_sending_it_again(ledger: AnsweringLedger, subject: str) -> None:
    """As if the process had died between the giving and the withdrawal: the giving alone is in the log."""
    from api.http.me_consents import _again, held_of
    from ledger.authority import Door, Principal
    from ledger.policy import Policy, my_san_jose
    from ledger.wishes import withdrawal
    from projections.rows import Consent

    data = {"consent_id": "c1", "purposes": ["4.7", "4.3"], "method": "web-form"}
    ledger.record(consent(subject=subject, data=data))
    index = ledger.door.runtime.index
    [(columns)] = index._ask(
        b"SELECT consent_id, \"partition\", state, since, since_offset, given_offset, source, purposes, categories,"
        b" operations, recipients, method, notice_id, expires_at FROM consents WHERE subject = %(s)s", {"s": subject}
    )  # fmt: skip
    held = held_of(Consent(*columns))
    assert held is not None
    [again] = withdrawal(Policy(my_san_jose()), [held], "4.7").again
    giving = _again(subject, held, again, "4.7", "2026-03-03T12:00:00.000000Z")
    mine = Principal("my-pages", {"self": ()}, subject)
    ledger.door.runtime.recorder.submit([giving], mine, Door.MY).result(30)
    found = put(ledger, subject, "consents", {"purpose": "4.7", "given": False})
    assert [one["consent_id"] for one in found["given_again"]] == [giving.data.consent_id]
    assert kinds(ledger, subject) == ["consent.given", "consent.given", "consent.withdrawn"]
    assert [row["purposes"] for row in consents(ledger, subject, found["position"])] == [["4.3"]]


@pytest.mark.parametrize(
    ("body", "pointer", "code"),
    [
        ({"purpose": "4.7"}, "/given", "missing"),
        ({"purpose": "jane@example.org", "given": True}, "/purpose", "pattern"),
        ({"purpose": "4.7", "given": True, "expires_at": "2020-01-01T00:00:00Z"}, "/expires_at", "in-the-past"),
        ({"purpose": "4.7", "given": True, "expires_at": "2096-02-30T00:00:00Z"}, "/expires_at", "no-such-time"),
        ({"purpose": "4.7", "given": False, "categories": ["email"]}, "/categories", "only-when-given"),
        ({"purpose": "4.7", "given": True, "categories": []}, "/categories", "array-length"),
        ({"purpose": "4.7", "given": True, "categories": ["email", "email"]}, "/categories", "repeated-item"),
        ({"purpose": "4.7", "given": True, "operations": ["share"]}, "", "unknown-field"),
    ],
)
def test_a_wish_that_breaks_the_contract_is_refused_by_its_place(
    ledger: AnsweringLedger, subject: str, body: Any, pointer: str, code: str
) -> None:
    answer = call(ledger, "PUT", "/v1/me/consents", body, ledger.resident(subject))
    assert (answer.status_code, answer.json()["errors"]) == (422, [{"pointer": pointer, "code": code}])
    assert "jane" not in answer.text
    assert of_subject(ledger, subject) == []


# --- preferences, anonymity ---------------------------------------------------------------------------------------


def test_a_preference_and_anonymity_are_states_and_each_change_is_one_event(
    ledger: AnsweringLedger, subject: str
) -> None:
    for wish, path, name, yes, no in (
        ("allowed", "preferences/mobile-notification", "preferences", "preference.set", "preference.set"),
        ("anonymous", "anonymity", "anonymity", "anonymity.chosen", "anonymity.ended"),
    ):
        before = len(of_subject(ledger, subject))
        on = put(ledger, subject, path, {wish: True})
        assert on["changed"] and receipt_positions(on["receipt"]) == [on["position"]]
        assert put(ledger, subject, path, {wish: True}) == {**on, "changed": False}
        off = put(ledger, subject, path, {wish: False})
        assert off["changed"] and put(ledger, subject, path, {wish: False}) == {**off, "changed": False}
        assert kinds(ledger, subject)[before:] == [yes, no]
        shown = ledger.get(f"/v1/me/{name}", ledger.resident(subject), {"ledger-position": off["position"]})
        assert [(row[wish], row["position"]) for row in shown.json()[name]] == [(False, off["position"])]
    assert {e["source"] for e in of_subject(ledger, subject)} == {"/my"}


def test_who_never_chose_anonymity_ends_nothing(ledger: AnsweringLedger, subject: str) -> None:
    found = put(ledger, subject, "anonymity", {"anonymous": False})
    assert (found["changed"], found["position"], found["receipt"]) == (False, None, None)
    assert of_subject(ledger, subject) == []


def test_a_channel_is_an_identifier(ledger: AnsweringLedger, subject: str) -> None:
    answer = call(ledger, "PUT", "/v1/me/preferences/Jane%20Doe", {"allowed": True}, ledger.resident(subject))
    assert (answer.status_code, answer.json()["errors"]) == (422, [{"pointer": "channel", "code": "pattern"}])
    assert "Jane" not in answer.text


# --- contests, complaints, access requests ------------------------------------------------------------------------


@pytest.mark.parametrize("number", range(3))
def test_a_key_is_recorded_once_by_whichever_process_and_after_a_restart(
    ledger: AnsweringLedger, subject: str, folder: Path, number: int
) -> None:
    _, path, body = WRITES[3 + number]
    key = f"key-{number}"
    first = post(ledger, subject, path.removeprefix("/v1/me/"), body, key)
    assert first.status_code == 201, first.text
    assert receipt_positions(first.json()["receipt"]) == [first.json()["position"]]
    headers = {"authorization": f"Bearer {ledger.resident(subject)}", "idempotency-key": f'"{key}"'}
    with another_api(ledger, folder) as other:  # a process that knows of the first by the log alone
        again = other.client.post(path, json=body, headers=headers)
    assert (again.status_code, again.content) == (201, first.content), "quoted as the draft has it, or not"
    assert len(of_subject(ledger, subject)) == 1
    one_more = post(ledger, subject, path.removeprefix("/v1/me/"), body)
    assert one_more.status_code == 201 and one_more.json() != first.json(), "without a key each call is its own"


def test_a_key_used_for_something_else_is_refused(ledger: AnsweringLedger, subject: str) -> None:
    body = {"kind": "complaint", "text": TEXT}
    assert post(ledger, subject, "complaints", body, "k").status_code == 201
    for path, other in (
        ("complaints", {**body, "text": TEXT + "."}),
        ("complaints", {**body, "kind": "question"}),
        ("access-requests", {"kind": "review"}),
    ):
        answer = post(ledger, subject, path, other, "k")
        assert (answer.status_code, answer.json()["errors"]) == (
            422,
            [{"pointer": "idempotency-key", "code": "reused"}],
        )
    stranger = new_resident()
    assert post(ledger, stranger, "complaints", body, "k").status_code == 201, "a key is its owner's own"
    assert len(of_subject(ledger, subject)) == 1


def test_the_same_key_at_the_same_time_is_recorded_once(ledger: AnsweringLedger, subject: str) -> None:
    body = {"categories": ["email"], "claim": TEXT}
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: post(ledger, subject, "contests", body, "k"), range(8)))
    assert {answer.content for answer in found} == {found[0].content} and found[0].status_code == 201
    assert len(of_subject(ledger, subject)) == 1


@pytest.mark.parametrize("key", ["", "a b", "x" * 65, "käse", '"', '""', "jane@example.org"])
def test_a_malformed_key_is_refused(ledger: AnsweringLedger, subject: str, key: str) -> None:
    headers = {"authorization": f"Bearer {ledger.resident(subject)}".encode(), "idempotency-key": key.encode()}
    answer = ledger.door.client.post("/v1/me/access-requests", json={"kind": "review"}, headers=headers)  # type: ignore[arg-type]
    assert (answer.status_code, answer.json()["errors"]) == (422, [{"pointer": "idempotency-key", "code": "pattern"}])


def test_free_text_is_sealed_in_the_log(ledger: AnsweringLedger, subject: str) -> None:
    post(ledger, subject, "contests", {"categories": ["email"], "claim": TEXT})
    post(ledger, subject, "complaints", {"kind": "comment", "text": TEXT, "about": {"source": "/a", "id": "e1"}})
    assert all(TEXT.encode() not in record.value for record in ledger.door.records())
    contested, complained = (e["data"] for e in of_subject(ledger, subject))
    assert set(contested["claim"]) == set(complained["text"]) == {"sealed"}
    assert complained["about"] == {"source": "/a", "id": "e1"}


def test_who_was_erased_can_say_nothing_that_would_have_to_be_sealed(ledger: AnsweringLedger, subject: str) -> None:
    put(ledger, subject, "anonymity", {"anonymous": True})
    erase(ledger, subject)
    assert post(ledger, subject, "complaints", {"kind": "comment", "text": TEXT}).status_code == 410
    assert put(ledger, subject, "anonymity", {"anonymous": False})["changed"]


# --- every door ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "path", "body"), WRITES, ids=[path for _, path, _ in WRITES])
def test_only_a_resident_writes_and_only_about_themselves(
    ledger: AnsweringLedger, method: str, path: str, body: Any
) -> None:
    before = ledger.door.heads()
    assert call(ledger, method, path, body).status_code == 401
    for token in (ledger.auditor, ledger.operator, ledger.service):
        assert call(ledger, method, path, body, token).status_code == 403
    for member in ("subject", "source", "time"):
        answer = call(ledger, method, path, {**body, member: "res_1"}, ledger.resident(new_resident()))
        assert (answer.status_code, answer.json()["errors"][0]["code"]) == (422, "unknown-field")
    mine = ledger.resident(new_resident())
    assert call(ledger, method, path, b"{", mine).status_code == 400
    assert call(ledger, method, path, b"[]", mine).status_code == 422
    half_a_pair = 400 if "text" in body else 422  # where there is no such member, that is what is wrong
    assert call(ledger, method, path, b'{"text":"\\ud800"}', mine).status_code == half_a_pair
    assert call(ledger, method, path, body, mine, {"content-type": "text/plain"}).status_code == 415
    assert call(ledger, method, path, b" " * 70_000, mine).status_code == 413
    assert ledger.door.heads() == before, "nothing was recorded"


def test_a_text_of_4000_characters_is_taken_however_json_writes_it_and_a_longer_one_is_not(
    ledger: AnsweringLedger, subject: str
) -> None:
    for text in ("ế" * 4_000, "😀" * 4_000):
        escaped = b'{"kind":"comment","text":' + json.dumps(text).encode() + b"}"
        assert call(ledger, "POST", "/v1/me/complaints", escaped, ledger.resident(subject)).status_code == 201
    for text, code in (("x" * 4_001, "text-length"), ("", "text-length")):
        answer = post(ledger, subject, "complaints", {"kind": "comment", "text": text})
        assert (answer.status_code, answer.json()["errors"]) == (422, [{"pointer": "/text", "code": code}])


def test_views_that_stand_still_are_no_ground_for_a_wish(ledger: AnsweringLedger, subject: str) -> None:
    with ledger.paused():
        ledger.record(consent(subject=subject), wait=False)
        answer = call(ledger, "PUT", "/v1/me/consents", {"purpose": "4.7", "given": False}, ledger.resident(subject))
        assert answer.status_code == 503 and answer.headers["retry-after"]
    ledger.settle()
    assert put(ledger, subject, "consents", {"purpose": "4.7", "given": False})["withdrawn"]

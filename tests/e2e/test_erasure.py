"""Erasure through the doors: what is destroyed, what stays, and who may."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog

from api import cli
from api.http import app, erasing
from api.http.paging import Place, Question
from ledger.log import Position
from ledger.recording import receipts
from ledger.tree.merkle import leaf_hash, verify_inclusion
from tests.answering import AnsweringLedger, new_resident, open_ledger, soon
from tests.door import complaint, event
from tests.erasing import (
    LIMIT_S,
    WORDS,
    erase,
    erasures_in_log,
    finished,
    no_eraser,
    partition,
    send,
    somebody,
    unsealed,
)
from tests.reference.tree import Tree
from tests.vaults import own_database


@pytest.fixture(scope="module")
def database(database_url: str) -> Iterator[str]:
    with own_database(database_url) as dsn:
        yield dsn


@pytest.fixture(scope="module")
def ledger(kafka_address: str, database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AnsweringLedger]:
    with open_ledger(kafka_address, database, tmp_path_factory.mktemp("erasure")) as opened:
        yield opened


@pytest.fixture
def subject(ledger: AnsweringLedger) -> str:
    return somebody(ledger)


# --- what it does -----------------------------------------------------------------------------------------------


def test_a_resident_s_words_are_gone_and_every_proof_holds_on(ledger: AnsweringLedger, subject: str) -> None:
    sent = complaint(WORDS, subject=subject, id="proved")
    answer = ledger.door.post(sent).json()
    at = Position.parse(answer["position"])
    before = partition(ledger, subject)
    tree = Tree([record.value for record in before])
    proof, root = tree.path(at.offset, len(before)), tree.root(len(before))

    done = erase(ledger, subject)
    assert (done["state"], done["categories"]) == ("done", None)
    assert unsealed(ledger, subject) == [None, None]

    after = partition(ledger, subject)
    assert [record.value for record in after[: len(before)]] == [record.value for record in before]
    record = ledger.get(f"/v1/records/{at}", ledger.resident(subject)).content
    verify_inclusion(at.offset, len(before), leaf_hash(record), proof, root)
    [line] = receipts.check(answer["receipt"].encode(), ledger.door.runtime.receipts_verifier)
    assert (line.position, line.leaf) == (at, leaf_hash(record))


def test_nothing_is_sealed_for_whoever_was_erased_and_other_facts_are_still_recorded(
    ledger: AnsweringLedger, subject: str
) -> None:
    erase(ledger, subject)
    again = ledger.door.post(complaint("more words", subject=subject))
    assert (again.status_code, again.json()["errors"]) == (410, [{"pointer": "/subject", "code": "erased"}])
    assert ledger.door.post(event(subject=subject)).status_code == 201


def test_the_log_says_what_was_asked_and_what_was_done_once_each(ledger: AnsweringLedger, subject: str) -> None:
    done = erase(ledger, subject)
    requested, erased = erasures_in_log(ledger, subject)
    assert [e["type"].split(".")[-2] for e in (requested, erased)] == ["requested", "erased"]
    assert requested["data"] == erased["data"] == {"erasure_id": done["erasure_id"]}
    assert {e["source"] for e in (requested, erased)} == {"/ledger"}
    assert {e["recordedby"] for e in (requested, erased)} == {"my-pages"}
    assert requested["time"] <= erased["time"]
    [line] = receipts.check(done["receipt"].encode(), ledger.door.runtime.receipts_verifier)
    assert str(line.position) == done["position"]
    [case] = ledger.get("/v1/me/cases", ledger.resident(subject), kind="erasure").json()["cases"]
    assert (case["outcome"], case["resolved_position"]) == ("erased", done["position"])


def test_with_categories_the_log_says_so_and_key_words_and_login_stay(ledger: AnsweringLedger, subject: str) -> None:
    done = erase(ledger, subject, categories=["email", "not.in/the-policy"])
    assert done["categories"] == ["email", "not.in/the-policy"]
    assert [e["data"]["categories"] for e in erasures_in_log(ledger, subject)] == [done["categories"]] * 2
    assert unsealed(ledger, subject) == [WORDS]
    assert ledger.door.post(complaint("more words", subject=subject)).status_code == 201
    [held] = ledger.get("/v1/me/data", ledger.resident(subject)).json()["data"]
    assert (held["category"], held["erased"] is not None) == ("email", True)


def test_a_resident_who_never_had_a_key_is_erased_too(ledger: AnsweringLedger) -> None:
    subject = new_resident()
    ledger.record(event(subject=subject))
    assert erase(ledger, subject)["state"] == "done"
    assert ledger.door.post(complaint(WORDS, subject=subject)).status_code == 410


def test_an_erasure_destroys_the_login_and_the_person_is_somebody_new_after_it(
    ledger: AnsweringLedger, tmp_path: Path
) -> None:
    logins = ledger.door.runtime.logins
    subject = logins.subject_for("https://id.example", "jane")
    logins.link("https://mail.example", "jane", subject)
    ledger.record(event(subject=subject))
    erase(ledger, subject)
    assert subject not in {logins.subject_for(f"https://{name}.example", "jane") for name in ("id", "mail")}


def test_the_eraser_waits_for_its_turn_and_the_door_says_that_it_is_not_done(
    ledger: AnsweringLedger, subject: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasing, "ANSWERED_WITHIN_S", 0.3)
    mine = ledger.resident(subject)
    with no_eraser(ledger):
        answer = send(ledger.door, mine, "/v1/me/erasure", key="patience")
        assert (answer.status_code, answer.json()["state"]) == (202, "in-progress")
        assert unsealed(ledger, subject) == [WORDS]
        again = send(ledger.door, mine, "/v1/me/erasure", key="patience")
        assert (again.status_code, again.json()) == (202, answer.json())
    finished(ledger, answer.json()["erasure_id"])
    soon(lambda: unsealed(ledger, subject) == [None], LIMIT_S)


def test_new_keys_make_no_second_erasure_while_the_same_is_in_progress(
    ledger: AnsweringLedger, subject: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasing, "ANSWERED_WITHIN_S", 0.1)
    mine = ledger.resident(subject)

    def ask_as(key: str, **body: Any) -> str:
        return str(send(ledger.door, mine, "/v1/me/erasure", body, key).json()["erasure_id"])

    keys = [f"key-{n}" for n in range(8)]
    with no_eraser(ledger):
        with ThreadPoolExecutor(4) as pool:
            [erasure_id] = set(pool.map(ask_as, keys))
        other = ask_as("other", categories=["email"])
        assert other != erasure_id
    for one in (erasure_id, other):
        finished(ledger, one)
    assert {ask_as(key) for key in keys} == {erasure_id}, "a key names the same erasure for ever"
    wrong = send(ledger.door, mine, "/v1/me/erasure", {"categories": ["email"]}, keys[1])
    assert wrong.status_code == 422
    assert len(erasures_in_log(ledger, subject)) == 4


# --- asking -----------------------------------------------------------------------------------------------------


def test_the_same_key_asks_once_and_gives_the_same_answer(ledger: AnsweringLedger, subject: str) -> None:
    mine = ledger.resident(subject)
    with ThreadPoolExecutor(4) as pool:
        asked = list(pool.map(lambda _: send(ledger.door, mine, "/v1/me/erasure", key="k-1"), range(8)))
    assert {answer.status_code for answer in asked} <= {200, 202}
    assert len({answer.json()["erasure_id"] for answer in asked}) == 1
    finished(ledger, asked[0].json()["erasure_id"])
    answers_ = [send(ledger.door, mine, "/v1/me/erasure", key="k-1") for _ in range(2)]
    assert [(a.status_code, a.content) for a in answers_] == [(200, answers_[0].content)] * 2
    assert len(erasures_in_log(ledger, subject)) == 2
    other = send(ledger.door, mine, "/v1/me/erasure", {"categories": ["email"]}, key="k-1")
    assert (other.status_code, other.json()["errors"]) == (422, [{"pointer": "idempotency-key", "code": "reused"}])


def test_a_key_is_its_owner_s_own(ledger: AnsweringLedger, subject: str) -> None:
    other = new_resident()
    ledger.record(event(subject=other))
    first, second = (
        send(ledger.door, ledger.resident(one), "/v1/me/erasure", {"categories": ["email"]}, key="shared").json()
        for one in (subject, other)
    )
    assert first["erasure_id"] != second["erasure_id"]
    for erasure_id, one in ((first["erasure_id"], subject), (second["erasure_id"], other)):
        assert finished(ledger, erasure_id)["subject"] == one


@pytest.mark.parametrize("key", [None, "", "jane@example.org", "x" * 65, "two words"])
def test_a_missing_or_misspelled_key_is_refused(ledger: AnsweringLedger, subject: str, key: str | None) -> None:
    headers = {"authorization": f"Bearer {ledger.resident(subject)}", "content-type": "application/json"}
    headers |= {} if key is None else {"idempotency-key": key}
    answer = ledger.door.client.post("/v1/me/erasure", content=b"{}", headers=headers)
    code = "missing" if key is None else "pattern"
    assert (answer.status_code, answer.json()["errors"]) == (422, [{"pointer": "idempotency-key", "code": code}])
    assert not erasures_in_log(ledger, subject)


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        (b"", 400, ("", "json")),
        (b"{", 400, ("", "json")),
        (b"\xff", 400, ("", "utf-8")),
        (b"[]", 422, ("", "type")),
        ({"reason": WORDS}, 422, ("", "unknown-field")),
        ({"subject": "res_other"}, 422, ("", "unknown-field")),
        ({"categories": []}, 422, ("/categories", "array-length")),
        ({"categories": None}, 422, ("/categories", "type")),
        ({"categories": ["e-mail", "e-mail"]}, 422, ("/categories", "repeated-item")),
        ({"categories": ["jane@example.org"]}, 422, ("/categories/0", "pattern")),
        (b'{"categories":["a"],"categories":["b"]}', 422, ("", "repeated-member")),
        (b" " * 20_000, 413, ("", "too-large")),
    ],
)
def test_a_body_that_is_not_understood_erases_nothing(
    ledger: AnsweringLedger, subject: str, body: Any, status: int, error: tuple[str, str]
) -> None:
    answer = send(ledger.door, ledger.resident(subject), "/v1/me/erasure", body)
    assert answer.status_code == status, answer.text
    assert [(e["pointer"], e["code"]) for e in answer.json()["errors"]] == [error]
    assert WORDS not in answer.text
    assert unsealed(ledger, subject) == [WORDS]


def test_only_json_is_taken(ledger: AnsweringLedger, subject: str) -> None:
    headers = {"authorization": f"Bearer {ledger.resident(subject)}", "idempotency-key": "x"}
    answer = ledger.door.client.post("/v1/me/erasure", data={"categories": "email"}, headers=headers)
    assert answer.status_code == 415


def test_nobody_but_the_resident_erases_at_once_and_nobody_but_operators_asks_for_others(
    ledger: AnsweringLedger, subject: str
) -> None:
    stranger, heads = ledger.resident(new_resident()), ledger.door.heads()
    waiting = ask(ledger, subject)
    doors = {
        ("POST", "/v1/me/erasure"): (None, ledger.service, ledger.auditor, ledger.operator),
        ("POST", "/v1/erasures"): (None, ledger.service, ledger.auditor, stranger, ledger.resident(subject)),
        ("GET", "/v1/erasures"): (None, ledger.service, ledger.auditor, stranger, ledger.resident(subject)),
        ("GET", f"/v1/erasures/{waiting}"): (None, ledger.service, ledger.auditor, stranger, ledger.resident(subject)),
        ("POST", f"/v1/erasures/{waiting}/approval"): (None, ledger.service, ledger.auditor, stranger),
        ("DELETE", f"/v1/erasures/{waiting}"): (None, ledger.service, ledger.auditor, stranger),
    }
    for (method, path), tokens in doors.items():
        for token in tokens:
            answer = send(
                ledger.door, token, path, {"subject": subject} if path == "/v1/erasures" else {}, method=method
            )
            assert answer.status_code == (401 if token is None else 403), (method, path)
            assert subject not in answer.text
    assert ledger.door.heads() == heads
    assert unsealed(ledger, subject) == [WORDS]


# --- two operators ----------------------------------------------------------------------------------------------


def ask(ledger: AnsweringLedger, subject: str, key: str = "", **body: Any) -> str:
    """An operator's asking; the erasure's id."""
    answer = send(ledger.door, ledger.operator, "/v1/erasures", {"subject": subject, **body}, key)
    assert answer.status_code == 202, answer.text
    assert answer.json()["state"] == "awaiting-approval"
    return str(answer.json()["erasure_id"])


def decide(ledger: AnsweringLedger, token: str, erasure_id: str, method: str = "POST") -> httpx.Response:
    more = "/approval" if method == "POST" else ""
    return send(ledger.door, token, f"/v1/erasures/{erasure_id}{more}", {}, None, method)


def test_an_operator_s_erasure_is_carried_out_when_another_approves_it(ledger: AnsweringLedger, subject: str) -> None:
    second, third = (ledger.door.issuer.operator(f"operator-{n}") for n in (2, 3))
    erasure_id = ask(ledger, subject, key="the-case")
    assert ask(ledger, subject, key="the-case") == erasure_id
    assert not erasures_in_log(ledger, subject)
    assert unsealed(ledger, subject) == [WORDS]

    own = decide(ledger, ledger.operator, erasure_id)
    assert (own.status_code, own.json()["errors"][0]["code"]) == (403, "same-client")
    in_disguise = ledger.door.issuer.mint("another-desk", {"operate": []}, subject="operator")
    same = decide(ledger, in_disguise, erasure_id)
    assert (same.status_code, same.json()["errors"][0]["code"]) == (403, "same-person")
    assert unsealed(ledger, subject) == [WORDS]

    approved = decide(ledger, second, erasure_id)
    assert approved.status_code in (200, 202), approved.text
    done = finished(ledger, erasure_id)
    assert (done["asked_by"], done["approved_by"], done["subject"]) == ("operator", "operator-2", subject)
    again = decide(ledger, second, erasure_id)
    assert (again.status_code, again.json()) == (200, done)
    for token, status in ((third, 409), (ledger.operator, 403)):
        assert decide(ledger, token, erasure_id).status_code == status
    assert [e["recordedby"] for e in erasures_in_log(ledger, subject)] == ["operator", "operator-2"]
    assert unsealed(ledger, subject) == [None]


def test_what_was_withdrawn_is_not_approved_and_what_was_approved_is_not_withdrawn(
    ledger: AnsweringLedger, subject: str
) -> None:
    second = ledger.door.issuer.operator("operator-2")
    withdrawn = ask(ledger, subject)
    for _ in range(2):
        answer = decide(ledger, second, withdrawn, "DELETE")
        assert (answer.status_code, answer.json()["state"]) == (200, "withdrawn")
    late = decide(ledger, second, withdrawn)
    assert (late.status_code, late.json()["errors"]) == (409, [{"pointer": "/state", "code": "withdrawn"}])
    assert not erasures_in_log(ledger, subject)

    approved = ask(ledger, subject, categories=["email"])
    decide(ledger, second, approved)
    finished(ledger, approved)
    late = decide(ledger, ledger.operator, approved, "DELETE")
    assert (late.status_code, late.json()["errors"]) == (409, [{"pointer": "/state", "code": "done"}])


def test_approving_and_withdrawing_at_once_ends_in_one_of_the_two(ledger: AnsweringLedger, subject: str) -> None:
    second = ledger.door.issuer.operator("operator-2")
    for _ in range(6):
        erasure_id = ask(ledger, subject, categories=["email"])
        before = len(erasures_in_log(ledger, subject))
        with ThreadPoolExecutor(2) as pool:
            approval = pool.submit(decide, ledger, second, erasure_id)
            withdrawal = pool.submit(decide, ledger, ledger.operator, erasure_id, "DELETE")
        statuses = (approval.result().status_code, withdrawal.result().status_code)
        assert statuses in ((200, 409), (202, 409), (409, 200))
        if statuses[0] != 409:
            finished(ledger, erasure_id)
        assert len(erasures_in_log(ledger, subject)) - before == (0 if statuses[0] == 409 else 2)


def test_an_erasure_of_a_resident_s_own_needs_and_takes_no_approval(ledger: AnsweringLedger, subject: str) -> None:
    done = erase(ledger, subject)
    assert decide(ledger, ledger.operator, done["erasure_id"]).status_code == 409
    assert decide(ledger, ledger.operator, "no-such-erasure").status_code == 404


@pytest.mark.parametrize("name", ["%00", "x%00", "%ff", "x" * 65, "jane%40example.org"])
def test_what_is_no_id_of_an_erasure_is_not_found(ledger: AnsweringLedger, name: str) -> None:
    assert ledger.get(f"/v1/erasures/{name}", ledger.operator).status_code == 404
    for method in ("POST", "DELETE"):
        assert decide(ledger, ledger.operator, name, method).status_code == 404


@pytest.mark.parametrize("instant", [2**62, 253_402_300_800_000_000])
def test_a_made_up_cursor_is_refused(ledger: AnsweringLedger, instant: int) -> None:
    cursor = Question("/v1/erasures").next_link(Place(instant, 0, "x")).split("cursor=")[1].split(">")[0]
    answer = ledger.get(f"/v1/erasures?cursor={cursor}", ledger.operator)
    assert (answer.status_code, answer.json()["errors"]) == (422, [{"pointer": "cursor", "code": "cursor"}])


def test_an_operator_s_slip_makes_no_resident(ledger: AnsweringLedger) -> None:
    nobody = new_resident()
    answer = send(ledger.door, ledger.operator, "/v1/erasures", {"subject": nobody})
    assert answer.status_code == 404
    assert nobody not in answer.text
    assert send(ledger.door, ledger.operator, "/v1/erasures", {"subject": "Jane Doe"}).status_code == 422
    assert send(ledger.door, ledger.operator, "/v1/erasures", {}).json()["errors"][0]["code"] == "missing"
    assert nobody not in ledger.get("/v1/erasures", ledger.operator).text


def test_operators_see_every_erasure_page_by_page(ledger: AnsweringLedger, subject: str) -> None:
    asked = [ask(ledger, subject, categories=["email"]) for _ in range(5)]
    everything, path = [], "/v1/erasures?state=awaiting-approval&limit=2"
    while path:
        page = ledger.get(path, ledger.operator)
        assert page.status_code == 200
        assert len(page.json()["erasures"]) <= 2
        everything += [e["erasure_id"] for e in page.json()["erasures"]]
        path = page.links["next"]["url"] if "next" in page.links else ""
    assert everything[:5] == asked[::-1]
    assert len(everything) == len(set(everything))
    for wrong in ("state=gone", "limit=0", "cursor=x", "subject=res_1"):
        assert ledger.get(f"/v1/erasures?{wrong}", ledger.operator).status_code == 422
    for erasure_id in asked:
        decide(ledger, ledger.operator, erasure_id, "DELETE")


@pytest.fixture
def command(ledger: AnsweringLedger, monkeypatch: pytest.MonkeyPatch, capfdbinary: Any) -> Any:
    """`consent-ledger erase ...` with the token of an operator: its exit code and what it said."""
    # The API runs in this process too: its log lines would stand among the command's.
    monkeypatch.setattr(app, "_log", structlog.wrap_logger(structlog.testing.ReturnLogger()))

    def run(*arguments: str, token: str = "") -> tuple[int, bytes, bytes]:
        monkeypatch.setenv("CONSENT_LEDGER_URL", ledger.door.url)
        monkeypatch.setenv("CONSENT_LEDGER_TOKEN", token or ledger.operator)
        capfdbinary.readouterr()
        code = cli.run(["erase", *arguments])
        said, errors = capfdbinary.readouterr()
        return code, said, errors

    return run


def asked_for(said: bytes, subject: str) -> list[tuple[str, str]]:
    """Id and categories of each erasure of this resident that a command said it asked for."""
    line = rf"([0-9a-f]{{32}})  awaiting-approval  {subject}  (.+?)  asked by operator"
    return [(found[1], found[2]) for found in re.finditer(line, said.decode())]


def test_the_command_says_when_it_has_not_listed_all(
    ledger: AnsweringLedger, subject: str, command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = [ask(ledger, subject, categories=["email"]) for _ in range(3)]
    monkeypatch.setattr("api.cli.erase._PAGE", 1)
    monkeypatch.setattr("api.cli.erase._MAX_PAGES", 2)
    code, said, errors = command("--list")
    assert (code, [one.encode() in said for one in asked]) == (3, [False, True, True])
    assert b"only the newest 2 are listed" in errors
    for erasure_id in asked:
        decide(ledger, ledger.operator, erasure_id, "DELETE")


def test_the_command_asks_lists_approves_and_withdraws(
    ledger: AnsweringLedger, subject: str, command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = ledger.door.issuer.operator("operator-2")
    # Lines of other threads may stand beside the command's: what it said is looked for, not taken as the whole.
    code, said, hint = command(subject, "--category", "email", "--category", "postal-address")
    [(erasure_id, what)] = asked_for(said, subject)
    assert (code, what) == (0, "email, postal-address")
    assert f"erase --approve {erasure_id}".encode() in hint
    assert erasure_id.encode() in command("--list")[1]
    code, said, _ = command("--withdraw", erasure_id)
    assert (code, f"{erasure_id}  withdrawn".encode() in said) == (0, True)
    code, said, errors = command("--approve", erasure_id, token=second)
    assert (code, erasure_id.encode() in said, b"this erasure is withdrawn" in errors) == (2, False, True)

    [(erasure_id, _)] = asked_for(command(subject)[1], subject)
    monkeypatch.setattr(erasing, "ANSWERED_WITHIN_S", 0.1)
    with no_eraser(ledger):
        code, said, errors = command("--approve", erasure_id, token=second)
        assert (code, b"in-progress" in said, b"being carried out" in errors) == (3, True, True)
    finished(ledger, erasure_id)
    assert unsealed(ledger, subject) == [None]


@pytest.mark.parametrize(
    "arguments",
    [[], ["res_1", "--list"], ["--approve", "x", "--withdraw", "x"], ["--list", "--category", "email"], ["Jane Doe"]],
)
def test_the_command_refuses_what_it_does_not_understand(command: Any, arguments: list[str]) -> None:
    code, said, errors = command(*arguments)
    assert (code, said) == (2, b"")
    assert errors


def test_the_command_does_not_find_what_is_not_there(command: Any) -> None:
    assert command(new_resident())[0] == command("--approve", "no/such-erasure")[0] == 3

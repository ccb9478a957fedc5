"""Who has no account can complain and read the answer by a code that nobody else can make or find."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from ledger.vault.codes import encode, fresh_secret, parse
from tests.answering import AnsweringLedger, open_ledger
from tests.door import event
from tests.erasing import another_api, erase
from tests.mine import call, kinds, of_subject, receipt_positions

TEXT, ANSWER = "walnut cobalt heron", "tamarind osprey slate"
BODY = {"kind": "question", "text": TEXT}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("anonymous")


@pytest.fixture(scope="module")
def ledger(kafka_address: str, database_url: str, folder: Path) -> Iterator[AnsweringLedger]:
    with open_ledger(
        kafka_address, database_url, folder, anonymous_per_address=1_000, anonymous_per_minute=1_000
    ) as opened:
        yield opened


def engage(ledger: AnsweringLedger, body: Any = None) -> dict[str, Any]:
    answer = call(ledger, "POST", "/v1/anonymous", BODY if body is None else body)
    assert answer.status_code == 201, answer.text
    assert answer.headers["cache-control"] == "no-store"
    found: dict[str, Any] = answer.json()
    return found


def read(ledger: AnsweringLedger, code: str, after: str | None = None, path: str = "/v1/anonymous") -> httpx.Response:
    headers = {"authorization": f"Receipt {code}"} | ({} if after is None else {"ledger-position": after})
    return ledger.door.client.get(path, headers=headers)


def subject_of(ledger: AnsweringLedger, code: str) -> str:
    subject: str = read(ledger, code).json()["entries"][0]["record"]["subject"]
    return subject


def test_an_engagement_is_two_events_of_a_fresh_pseudonym_and_is_read_back_by_its_code(ledger: AnsweringLedger) -> None:
    first, second = engage(ledger), engage(ledger)
    assert len(receipt_positions(first["receipt"])) == 2
    answer = read(ledger, first["code"], first["position"])
    assert answer.status_code == 200 and answer.headers["cache-control"] == "private, no-cache"
    entries = answer.json()["entries"]
    assert [entry["kind"] for entry in entries] == ["complaint.filed", "anonymity.chosen"]
    assert entries[0]["unsealed"] == {"text": TEXT}
    read(ledger, second["code"], second["position"])
    subject, other = (subject_of(ledger, found["code"]) for found in (first, second))
    assert subject != other and kinds(ledger, subject) == ["anonymity.chosen", "complaint.filed"]
    assert {(e["source"], e["recordedby"]) for e in of_subject(ledger, subject)} == {("/my", "anonymous")}
    assert all(TEXT.encode() not in record.value for record in ledger.door.records())


def test_the_answer_is_read_by_the_code_and_every_page_is_only_that_engagement_s(ledger: AnsweringLedger) -> None:
    found = engage(ledger)
    read(ledger, found["code"], found["position"])
    subject = subject_of(ledger, found["code"])
    data = {"complaint_id": found["complaint_id"], "outcome": "settled", "answer": ANSWER}
    [answered] = ledger.record(event("complaint.resolved", source="/offices/clerk", subject=subject, data=data))
    page = read(ledger, found["code"], path="/v1/anonymous?limit=1", after=answered)
    [entry] = page.json()["entries"]
    if entry["kind"] != "complaint.resolved":  # the clerk's own time may be earlier than the ledger's
        assert entry["kind"] == "complaint.filed"
    following = page.headers["link"].split(";")[0].strip("<>")
    assert following.startswith("/v1/anonymous?")
    everything = read(ledger, found["code"]).json()["entries"]
    assert {"answer": ANSWER} in [one.get("unsealed") for one in everything]
    assert {one["record"]["subject"] for one in everything} == {subject}
    assert read(ledger, found["code"], path=following).status_code == 200


def test_the_code_works_in_another_process_and_however_it_is_written(ledger: AnsweringLedger, folder: Path) -> None:
    code = engage(ledger)["code"]
    with another_api(ledger, folder) as other:
        for written in (code, code.lower().replace("-", ""), code.replace("0", "O")):
            answer = other.client.get("/v1/anonymous", headers={"authorization": f"Receipt {written}"})
            assert answer.status_code == 200, answer.text


def test_a_code_that_is_none_of_ours_opens_nothing(ledger: AnsweringLedger) -> None:
    code = engage(ledger)["code"]
    secret = parse(code)
    assert secret is not None
    wrong = [encode(fresh_secret()), code[:-1] + ("0" if code[-1] != "0" else "1"), "x" * 500, encode(bytes(16))]
    for header in [f"Receipt {one}" for one in wrong] + ["", "Receipt", f"Bearer {code}", f"Bearer {ledger.auditor}"]:
        answer = ledger.door.client.get("/v1/anonymous", headers={"authorization": header} if header else {})
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Receipt")
        assert answer.json()["errors"][0]["code"] in ("no-code", "unknown-code")
    assert call(ledger, "GET", "/v1/me/log", None, None, {"authorization": f"Receipt {code}"}).status_code == 401


def test_the_vault_keeps_neither_code_nor_secret_and_the_log_nothing_of_it(
    ledger: AnsweringLedger, database_url: str
) -> None:
    code = engage(ledger)["code"]
    secret = parse(code)
    assert secret is not None
    read(ledger, code)
    with psycopg.connect(database_url) as connection:
        rows = connection.execute("SELECT login FROM vault.logins").fetchall()
    stored = b"|".join(bytes(row[0]) for row in rows)
    logged = b"|".join(record.value for record in ledger.door.records())
    for kept in (secret, secret.hex().encode(), code.encode(), code.replace("-", "").encode()):
        assert kept not in stored and kept not in logged


def test_an_erased_engagement_s_code_leads_nowhere(ledger: AnsweringLedger) -> None:
    found = engage(ledger)
    read(ledger, found["code"], found["position"])
    erase(ledger, subject_of(ledger, found["code"]))
    assert read(ledger, found["code"]).status_code == 401


def test_what_breaks_the_contract_makes_no_pseudonym(ledger: AnsweringLedger) -> None:
    before = ledger.door.heads()
    for body, status in (
        (b"{", 400), ({"kind": "question"}, 422), ({**BODY, "subject": "res_1"}, 422), ({**BODY, "text": ""}, 422),
        (b" " * 70_000, 413),
    ):  # fmt: skip
        assert call(ledger, "POST", "/v1/anonymous", body).status_code == status
    assert call(ledger, "POST", "/v1/anonymous", BODY, None, {"content-type": "text/plain"}).status_code == 415
    assert ledger.door.heads() == before


def test_an_address_may_engage_and_guess_only_so_often(ledger: AnsweringLedger, folder: Path) -> None:
    code = engage(ledger)["code"]
    with another_api(ledger, folder, anonymous_per_address=2, anonymous_per_minute=3) as small:
        statuses = [small.client.post("/v1/anonymous", json=BODY).status_code for _ in range(4)]
        assert statuses == [201, 201, 429, 429]
        good, wrong = ({"authorization": f"Receipt {one}"} for one in (code, encode(fresh_secret())))
        assert [small.client.get("/v1/anonymous", headers=good).status_code for _ in range(4)] == [200] * 4
        assert [small.client.get("/v1/anonymous", headers=wrong).status_code for _ in range(2)] == [401, 401]
        refused = small.client.get("/v1/anonymous", headers=wrong)
        assert refused.status_code == 429 and 1 <= int(refused.headers["retry-after"]) <= 60
        assert small.client.get("/v1/anonymous", headers=good).status_code == 429, "a guess is not told apart either"

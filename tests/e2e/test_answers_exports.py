"""An export with pseudonyms is in the log of everyone who is in it before it is made; who may say so, and how often."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from api import cli
from tests.answering import AnsweringLedger, collection, new_resident, notice, open_ledger, use


@pytest.fixture(scope="module")
def ledger(
    kafka_address: str, database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AnsweringLedger]:
    with open_ledger(kafka_address, database_url, tmp_path_factory.mktemp("exports")) as opened:
        yield opened


def announce(ledger: AnsweringLedger, token: str | None, body: Any) -> httpx.Response:
    headers = {"content-type": "application/json"}
    if token is not None:
        headers["authorization"] = f"Bearer {token}"
    return ledger.door.client.post("/v1/audit/exports", content=orjson.dumps(body), headers=headers)


def test_everyone_in_an_export_has_it_in_their_log_once_however_often_it_is_said(ledger: AnsweringLedger) -> None:
    one, other = new_resident(), new_resident()
    ledger.record(use(one), use(other))
    body = {"export_id": "x-1", "subjects": [one, other]}
    for _ in range(2):
        response = announce(ledger, ledger.auditor, body)
        assert (response.status_code, response.json()) == (200, {"export_id": "x-1", "recorded": 2})
    for subject in (one, other):
        [view] = ledger.views_of(subject)
        assert (view["data"]["role"], view["data"]["scope"]) == ("auditor", "export/x-1")
    assert announce(ledger, ledger.auditor, {**body, "export_id": "x-2"}).status_code == 200
    assert [view["data"]["scope"] for view in ledger.views_of(one)] == ["export/x-1", "export/x-2"]


def test_who_may_not_export_or_names_nobody_leaves_no_record(ledger: AnsweringLedger) -> None:
    subject, nobody = new_resident(), new_resident()
    ledger.record(use(subject))
    heads = ledger.door.heads()
    body = {"export_id": "x-3", "subjects": [subject]}
    for token, status in ((None, 401), (ledger.resident(subject), 403), (ledger.service, 403), (ledger.operator, 403)):
        assert announce(ledger, token, body).status_code == status
    unknown = announce(ledger, ledger.auditor, {**body, "subjects": [subject, nobody]})
    assert (unknown.status_code, unknown.json()["errors"]) == (
        422, [{"pointer": "/subjects/1", "code": "unknown"}],
    )  # fmt: skip
    assert nobody not in unknown.text
    for wrong in (
        {**body, "export_id": "3-41"},
        {**body, "subjects": []},
        {**body, "subjects": [subject, subject]},
        {**body, "subjects": ["not a pseudonym"]},
        {**body, "subjects": [f"r{i}" for i in range(1_001)]},
        {**body, "surplus": 1},
        {"export_id": "x-3"},
    ):
        assert announce(ledger, ledger.auditor, wrong).status_code == 422, wrong
    assert ledger.door.heads() == heads


def run(ledger: AnsweringLedger, monkeypatch: pytest.MonkeyPatch, *arguments: str, token: str | None = None) -> int:
    monkeypatch.setenv("CONSENT_LEDGER_DATABASE", ledger.dsns.reader)
    monkeypatch.setenv("CONSENT_LEDGER_URL", str(ledger.door.client.base_url))
    monkeypatch.setenv("CONSENT_LEDGER_TOKEN", token or ledger.auditor)
    return cli.run(["export", *arguments])


def test_the_command_tells_everyone_before_it_exports_their_pseudonyms(
    ledger: AnsweringLedger, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    subject = new_resident()
    sent = use(subject)
    ledger.record(notice(subject), collection(subject), sent)
    numbered, named = tmp_path / "numbered", tmp_path / "named"
    assert run(ledger, monkeypatch, "--format", "ndjson", "-o", str(numbered)) == 0
    assert ledger.views_of(subject) == []
    assert not any(subject.encode() in file.read_bytes() for file in numbered.rglob("*.*"))
    refused = run(ledger, monkeypatch, "--format", "ndjson", "-o", str(named), "--with-subjects", token=ledger.service)
    assert (refused, named.exists(), ledger.views_of(subject)) == (2, False, [])
    assert run(ledger, monkeypatch, "--format", "ndjson", "-o", str(named), "--with-subjects") == 0
    [view] = ledger.views_of(subject)
    assert view["data"]["scope"].startswith("export/x-")
    rows = [orjson.loads(row) for file in named.glob("timeline/*") for row in file.read_bytes().splitlines()]
    [mine] = [row for row in rows if row["id"] == sent["id"]]
    assert (mine["resident"], orjson.loads(mine["record"])["subject"]) == (subject, subject)
    assert run(ledger, monkeypatch, "--format", "ndjson", "-o", str(named)) == 2


def test_history_on_the_command_line_says_what_changed(
    ledger: AnsweringLedger, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    subject = new_resident()
    position, _, late = ledger.record(use(subject), collection(subject), notice(subject))
    monkeypatch.setenv("CONSENT_LEDGER_URL", str(ledger.door.client.base_url))
    monkeypatch.setenv("CONSENT_LEDGER_TOKEN", ledger.auditor)
    capfdbinary.readouterr()
    assert cli.run(["history", position]) == 0
    said = capfdbinary.readouterr().out.decode()
    assert f"{position}  3 verdicts  data.used" in said
    assert f"brought by {late}  notice.given of" in said
    assert "outcome: was inconsistent, is consistent" in said
    assert "+ holds     purpose-limitation/stated-purpose  email" in said
    assert "- violated  purpose-limitation/purpose-not-told  email" in said
    assert cli.run(["history", position, "--json"]) == 0
    lines = [line for line in capfdbinary.readouterr().out.splitlines() if line.startswith(b"{")]
    assert [verdict["outcome"] for verdict in orjson.loads(lines[0])["verdicts"]][-1] == "consistent"
    other = new_resident()
    [wrong] = ledger.record(use(other, "no-such-purpose"))
    assert cli.run(["history", wrong]) == 1
    assert cli.run(["history", late]) == 3
    assert cli.run(["history", "x"]) == 2

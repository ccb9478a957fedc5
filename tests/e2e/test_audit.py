"""The auditor's counts and lists over HTTP, and the command that asks for them: real servers, real tokens."""

import json
from collections.abc import Iterator

import httpx
import pytest

from tests.answering import USED, AnsweringLedger, collection, new_resident, notice, open_ledger, use
from tests.door import complaint
from tests.e2e.city import run as run_as_process
from tests.unit.test_cli import run

pytestmark = pytest.mark.timeout(240)
SUMMARY, VERDICTS = "/v1/audit/summary", "/v1/audit/verdicts"


@pytest.fixture(scope="module")
def ledger(
    kafka_address: str, database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AnsweringLedger]:
    with open_ledger(kafka_address, database_url, tmp_path_factory.mktemp("audit")) as running:
        for _ in range(3):
            someone = new_resident()
            running.record(
                notice(someone),
                collection(someone),
                use(someone),
                use(someone, "4.9", time="2026-04-01T00:00:00Z"),
                complaint("They called me.", subject=someone),
                wait=False,
            )
        stranger = new_resident()
        running.record(use(stranger, time="2026-05-01T00:00:00Z", source="/services/parks"), wait=False)
        # The collection comes later, dated before the use: the use's outcome changes.
        running.record(
            notice(stranger),
            collection(stranger),
            use(new_resident(), source="=cmd()", time="2026-06-01T00:00:00Z"),
        )
        yield running


def settings(ledger: AnsweringLedger) -> dict[str, str]:
    return {"CONSENT_LEDGER_URL": ledger.door.url, "CONSENT_LEDGER_TOKEN": ledger.auditor}


def exit_code(ledger: AnsweringLedger, *arguments: str) -> int:
    return run("audit", *arguments, **settings(ledger)).returncode  # type: ignore[arg-type]


def audit(ledger: AnsweringLedger, *arguments: str) -> bytes:
    """What the command prints, as a process of its own: the door of these tests logs to this one's stdout."""
    done = run_as_process("audit", *arguments, **settings(ledger))  # type: ignore[arg-type]
    assert done.returncode == 0, done.stderr
    return done.stdout


def ask(ledger: AnsweringLedger, path: str, query: dict[str, str]) -> httpx.Response:
    return ledger.get(path, ledger.auditor, None, **query)


def listed(ledger: AnsweringLedger, **query: str) -> list[dict[str, object]]:
    """Every page of a list."""
    response = ask(ledger, VERDICTS, query)
    found = response.json()["verdicts"]
    while "next" in response.links:
        assert response.links["next"]["url"].startswith(VERDICTS)
        response = ledger.get(response.links["next"]["url"], ledger.auditor)
        assert response.status_code == 200
        found += response.json()["verdicts"]
    return list(found)


def test_the_summary_counts_by_outcome_purpose_service_kind_and_period(ledger: AnsweringLedger) -> None:
    response = ledger.get(SUMMARY, ledger.auditor)
    assert response.status_code == 200
    found = response.json()
    assert found["judged"] == 12
    assert found["judged"] == found["consistent"] + found["inconsistent"] + found["undetermined"]
    assert found["inconsistent"] == 3, "a use for 4.9 that nobody was told of"
    assert found["changed"] == 1
    assert {line["purpose"]: line["judged"] for line in found["by_purpose"]} == {"4.2": 9, "4.9": 3}
    assert {line["service"]: line["judged"] for line in found["by_service"]}["/services/parks"] == 1
    assert {line["kind"]: line["judged"] for line in found["by_kind"]} == {"data.used": 8, "data.collected": 4}
    assert [line["period"] for line in found["by_period"]] == ["2026-03", "2026-04", "2026-05", "2026-06"]
    assert found["complaints"] == {"open": 3, "answered": 0}
    assert found["halted"] == []
    heads = ledger.door.heads()
    reach = [f"{partition}-{head - 1}" for partition, head in sorted(heads.items())]
    assert found["complete_through"] == reach
    assert response.headers["ledger-complete-through"] == ", ".join(reach)
    days = ask(ledger, SUMMARY, {"period": "day", "to": USED}).json()
    assert [line["period"] for line in days["by_period"]] == ["2026-03-02"], "`to` is not within"


def test_a_line_says_where_and_why_and_not_whom(ledger: AnsweringLedger) -> None:
    lines = listed(ledger, outcome="inconsistent")
    assert len(lines) == 3
    for line in lines:
        assert set(line) == {
            "position", "service", "kind", "time", "purposes", "outcome", "first_outcome", "codes"
        }  # fmt: skip
        record = ledger.get(f"/v1/records/{line['position']}", ledger.auditor).json()
        assert (record["source"], record["data"]["purpose"]) == (line["service"], "4.9")
        assert line["time"] == "2026-04-01T00:00:00.000000Z"
        assert "purpose-limitation/violated/purpose-not-stated" in list(line["codes"])  # type: ignore[call-overload]
        assert record["subject"] not in json.dumps(lines)


def test_pages_are_in_log_order_and_together_the_whole(ledger: AnsweringLedger) -> None:
    whole = listed(ledger)
    assert len(whole) == 12
    assert listed(ledger, limit="2") == whole
    places = [tuple(map(int, str(line["position"]).split("-"))) for line in whole]
    assert places == sorted(places)
    parks = listed(ledger, service="/services/parks", limit="1")
    assert [(line["first_outcome"], line["outcome"]) for line in parks] == [("undetermined", "consistent")]
    assert listed(ledger, purpose="nowhere") == []


def test_an_audit_is_no_read_of_anybodys_log(ledger: AnsweringLedger) -> None:
    before = ledger.door.heads()
    ledger.get(SUMMARY, ledger.auditor)
    listed(ledger)
    assert ledger.door.heads() == before


@pytest.mark.parametrize("path", [SUMMARY, VERDICTS])
def test_only_an_auditor_is_told(ledger: AnsweringLedger, path: str) -> None:
    assert ledger.get(path).status_code == 401
    for token in (ledger.service, ledger.operator, ledger.resident(new_resident())):
        assert ledger.get(path, token).status_code == 403


@pytest.mark.parametrize(
    ("path", "query", "named"),
    [
        (SUMMARY, {"period": "year"}, "period"),
        (SUMMARY, {"limit": "5"}, ""),
        (SUMMARY, {"from": "yesterday"}, "from"),
        (SUMMARY, {"subject": "res_1"}, ""),
        (VERDICTS, {"outcome": "bad"}, "outcome"),
        (VERDICTS, {"kind": "consent.given"}, "kind"),
        (VERDICTS, {"limit": "501"}, "limit"),
        (VERDICTS, {"cursor": "AAAA"}, "cursor"),
        (VERDICTS, {"period": "day"}, ""),
    ],
)
def test_a_parameter_that_is_no_good_is_named(
    ledger: AnsweringLedger, path: str, query: dict[str, str], named: str
) -> None:
    response = ask(ledger, path, query)
    assert response.status_code == 422
    assert named in [error["pointer"] for error in response.json()["errors"]]


def test_a_cursor_fits_its_own_question_alone(ledger: AnsweringLedger) -> None:
    link = ledger.get(VERDICTS, ledger.auditor, limit="2").links["next"]["url"]
    assert ledger.get(link + "&outcome=inconsistent", ledger.auditor).status_code == 422
    assert ledger.get(link, ledger.auditor).status_code == 200


def test_what_the_reader_has_already_is_not_sent_again(ledger: AnsweringLedger) -> None:
    for path in (SUMMARY, VERDICTS):
        tag = ledger.get(path, ledger.auditor).headers["etag"]
        assert ledger.get(path, ledger.auditor, {"if-none-match": tag}).status_code == 304


# --- the command ------------------------------------------------------------------------------------------------


def test_the_command_prints_what_the_ledger_counts_and_so_does_the_log(ledger: AnsweringLedger) -> None:
    found = json.loads(audit(ledger, "--json"))
    assert found == ledger.get(SUMMARY, ledger.auditor).json()
    kafka = {
        "CONSENT_LEDGER_KAFKA": ledger.door.runtime.settings.kafka,
        "CONSENT_LEDGER_TOPIC": ledger.door.runtime.settings.topic,
    }
    from_log = run_as_process("audit", "--from-log", "--json", **kafka)  # type: ignore[arg-type]
    assert json.loads(from_log.stdout) == found
    told = audit(ledger).decode()
    assert "2026-04" in told
    assert "complaints: 3 open, 0 answered" in told


def test_the_command_fails_on_what_it_is_told_and_never_passes_on_nothing(ledger: AnsweringLedger) -> None:
    assert exit_code(ledger, "--fail-on", "inconsistent") == 1
    assert exit_code(ledger, "--list", "--fail-on", "inconsistent") == 1
    assert exit_code(ledger, "--fail-on", "undetermined", "--to", "2026-05-15T00:00:00Z") == 0
    assert exit_code(ledger, "--outcome", "consistent", "--fail-on", "inconsistent") == 0
    for nothing in (["--purpose", "nowhere"], ["--list", "--purpose", "nowhere"]):
        assert exit_code(ledger, *nothing, "--fail-on", "inconsistent") == 3
    for wrong in (
        ["--period", "year"],
        ["--workers", "2"],
        ["--from-log", "--list"],
        ["--limit", "3"],
        ["--from", "x"],
    ):
        assert exit_code(ledger, *wrong) == 2


def test_the_command_lists_as_text_ndjson_and_csv(ledger: AnsweringLedger) -> None:
    lines = [json.loads(line) for line in audit(ledger, "--list", "--json").splitlines()]
    assert lines == listed(ledger)
    text = audit(ledger, "--list", "--limit", "3").decode().splitlines()
    assert [line.split()[0] for line in text] == [line["position"] for line in lines[:3]]
    csv = audit(ledger, "--list", "--format", "csv")
    assert csv.count(b"\r\n") == len(lines) + 1
    assert csv.startswith(b"position,service,kind,time,purposes,outcome,first_outcome,codes\r\n")
    assert b",'=cmd(),data.used," in csv, "a service that looks like a formula stays text"
    assert b"\r\nservice,'=cmd(),1," in audit(ledger, "--format", "csv")

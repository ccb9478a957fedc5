"""Each command against a real ledger: a seeded city that `dev` keeps running for all of these tests."""

import contextlib
import json
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
from kafka import KafkaProducer
from psycopg.conninfo import make_conninfo

from api.city.story import expectations, story
from ledger.recording.receipts import check
from ledger.tree.checkpoint import open_checkpoint
from ledger.tree.note import Signer, Verifier
from tests.e2e.city import Dev, clean_environment, dev, family, gone, run, wait_for

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    folder = tmp_path_factory.mktemp("city")
    with dev(folder / "data", folder / "log", "--port", "0") as running:
        processes = family(running)
        yield running
        assert running.stop(signal.SIGINT) == 0, "Ctrl-C stops it cleanly"
        wait_for(lambda: gone(processes), "something survived Ctrl-C")
        assert b"Traceback" not in (folder / "log").read_bytes()


def objects(raw: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in raw.splitlines()]


def an_event(**changes: object) -> dict[str, Any]:
    event: dict[str, Any] = {
        "specversion": "1.0",
        "id": f"t-{uuid.uuid4().hex}",
        "source": "/services/permits",
        "type": "org.consent-ledger.preference.set.v1",
        "subject": f"res_{uuid.uuid4().hex[:8]}",
        "time": "2026-11-01T12:00:00Z",
        "datacontenttype": "application/json",
        "data": {"channel": "email", "allowed": True},
    }
    return {**event, **changes}


def ndjson(*events: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(event).encode() + b"\n" for event in events)


# --- dev --------------------------------------------------------------------------------------------------------


def test_dev_prints_one_line_of_the_promised_shape(city: Dev) -> None:
    ready = city.ready
    assert list(ready) == ["api", "kafka", "database", "vkeys", "tokens", "intake"]
    assert ready["api"].startswith("http://127.0.0.1:")
    assert not ready["api"].endswith("/")
    assert [Verifier.parse(vkey).name for vkey in ready["vkeys"]] == ["consent-ledger.local"]
    assert sorted(ready["tokens"]) == ["auditor", "operator", "residents", "second_operator", "service"]
    assert len(ready["tokens"]["residents"]) == 10


def test_dev_says_loudly_that_it_is_not_for_production(city: Dev) -> None:
    assert b"NOT FOR PRODUCTION" in city.log.read_bytes()


def test_a_data_directory_in_use_is_refused_by_name(city: Dev) -> None:
    done = run("dev", "--data-dir", city.folder)
    assert done.returncode == 3
    assert f"in use by process {city.process.pid}".encode() in done.stderr
    assert b"Traceback" not in done.stderr


def test_a_port_that_is_taken_is_refused(city: Dev, tmp_path: Path) -> None:
    port = city.ready["api"].rpartition(":")[2]
    done = run("dev", "--data-dir", tmp_path / "other", "--port", port)
    assert done.returncode == 3
    assert b"is taken" in done.stderr


# --- ask --------------------------------------------------------------------------------------------------------


def an_event_that_is(outcome: str) -> tuple[str, str]:
    return next(key for key, expect in expectations().items() if expect.outcome == outcome)


@pytest.mark.parametrize(("outcome", "code"), [("consistent", 0), ("inconsistent", 1), ("undetermined", 0)])
def test_ask_exits_1_for_an_inconsistent_verdict_alone(city: Dev, outcome: str, code: int) -> None:
    source, event_id = an_event_that_is(outcome)
    done = city.run("ask", "--source", source, "--id", event_id)
    assert (done.returncode, outcome in done.stdout.decode()) == (code, True)
    as_json = city.run("ask", "--json", "--source", source, "--id", event_id)
    [verdict] = objects(as_json.stdout)
    assert (verdict["outcome"], verdict["source"], verdict["id"]) == (outcome, source, event_id)
    by_position = city.run("ask", verdict["position"], "--json")
    assert objects(by_position.stdout)[0]["findings"] == verdict["findings"]


def test_ask_explains_with_statement_and_evidence(city: Dev) -> None:
    source, event_id = an_event_that_is("inconsistent")
    done = city.run("ask", "--source", source, "--id", event_id, "--explain")
    text = done.stdout.decode()
    assert "statement 8, evidence " in text
    assert "The City only uses or discloses personal information for the specified purposes" in text
    assert "policy.published" in text


def test_ask_known_at_gives_the_answer_of_then(city: Dev) -> None:
    source, event_id = next(k for k, e in expectations().items() if e.first_outcome != e.outcome)
    [now] = objects(city.run("ask", "--json", "--source", source, "--id", event_id).stdout)
    [then] = objects(city.run("ask", "--json", now["position"], "--known-at", now["position"]).stdout)
    assert then["outcome"] == now["first_outcome"] != now["outcome"]
    assert then["superseded_by"] is not None


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["99"], 2),
        (["0-1", "--known-at", "x"], 2),
        ([], 2),
        (["--source", "/services/permits"], 2),
        (["--source", "/services/permits", "--id", "nobody"], 3),
        (["0-0"], 3),  # a policy: nothing to judge
    ],
)
def test_ask_without_an_answer(city: Dev, arguments: list[str], code: int) -> None:
    done = city.run("ask", *arguments)
    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (code, b"", 1)


def test_ask_waits_no_longer_than_told_for_what_is_not_there_yet(city: Dev) -> None:
    assert city.run("ask", "0-0", "--known-at", "0-99999", "--patience", "0.5").returncode == 3


@pytest.mark.parametrize(("token", "code"), [("", 2), ("nonsense", 2)])
def test_ask_without_a_good_token(city: Dev, token: str, code: int) -> None:
    done = city.run("ask", "0-1", CONSENT_LEDGER_TOKEN=token)
    assert done.returncode == code
    assert b"CONSENT_LEDGER_TOKEN" in done.stderr


# --- emit -------------------------------------------------------------------------------------------------------


def test_emitting_twice_records_once(city: Dev) -> None:
    lines = ndjson(*(an_event() for _ in range(1_005)))
    first = city.run("emit", "-", "--json", role="service", stdin=lines)
    again = city.run("emit", "-", "--json", role="service", stdin=lines)
    assert (first.returncode, again.returncode) == (0, 0)
    assert objects(first.stdout) == [
        {"lines": 1_005, "recorded": 1_005, "known": 0, "conflict": 0, "refused": 0, "refusals": []}
    ]
    assert objects(again.stdout)[0]["known"] == 1_005


def test_emit_names_what_is_refused_by_line_and_code_and_never_by_value(city: Dev, tmp_path: Path) -> None:
    good = an_event()
    bad = an_event(data={"channel": "SECRET CHANNEL", "allowed": True})
    raw = ndjson(good) + b"\n" + b"SECRET not json\n" + ndjson(bad) + ndjson(an_event(source="/my")) + b"[1]\n"
    (tmp_path / "events.ndjson").write_bytes(raw + ndjson(an_event(id="SECRET" * 7_000)))
    done = city.run("emit", tmp_path / "events.ndjson", "--json", role="service")
    assert done.returncode == 2
    [summary] = objects(done.stdout)
    assert (summary["lines"], summary["recorded"], summary["refused"]) == (7, 1, 6)
    found = {r["line"]: [e["code"] for e in r["errors"]] for r in summary["refusals"]}
    assert found == {2: ["blank"], 3: ["json"], 4: ["pattern"], 5: ["source"], 6: ["type"], 7: ["too-large"]}
    in_words = city.run("emit", tmp_path / "events.ndjson", role="service")
    assert b"line 4: refused (/data/channel pattern)" in in_words.stderr
    assert b"SECRET" not in done.stdout + done.stderr + in_words.stdout + in_words.stderr


def test_emit_reports_a_conflict_with_the_first_position(city: Dev) -> None:
    event = an_event()
    assert city.run("emit", "-", role="service", stdin=ndjson(event)).returncode == 0
    other = {**event, "data": {"channel": "email", "allowed": False}}
    done = city.run("emit", "-", "--json", role="service", stdin=ndjson(other))
    assert done.returncode == 1
    [refusal] = objects(done.stdout)[0]["refusals"]
    assert (refusal["line"], refusal["outcome"]) == (1, "conflict")
    assert "-" in refusal["position"]


def test_emit_goes_on_where_it_stopped(city: Dev, tmp_path: Path) -> None:
    events = [an_event() for _ in range(6)]
    file, state = tmp_path / "events.ndjson", tmp_path / "state"
    file.write_bytes(ndjson(*events[:4]))
    command = ("emit", file, "--progress", state, "--batch-size", "2", "--json")
    assert objects(city.run(*command, role="service").stdout)[0]["recorded"] == 4
    file.write_bytes(ndjson(*events))
    [summary] = objects(city.run(*command, role="service").stdout)
    assert (summary["lines"], summary["recorded"], summary["known"]) == (6, 6, 0)
    file.write_bytes(ndjson(*reversed(events)))
    done = city.run(*command, role="service")
    assert done.returncode == 2
    assert b"another file" in done.stderr


def test_emit_of_nothing_is_not_clean(city: Dev) -> None:
    assert city.run("emit", "-", role="service").returncode == 3


def test_emit_with_a_token_that_may_not_emit(city: Dev) -> None:
    done = city.run("emit", "-", role="auditor", stdin=ndjson(an_event()))
    assert done.returncode == 2


def test_receipts_can_be_verified_with_the_key_that_vkey_prints(city: Dev, tmp_path: Path) -> None:
    receipts = tmp_path / "receipts"
    done = city.run("emit", "-", "--receipts", receipts, role="service", stdin=ndjson(an_event(), an_event()))
    assert done.returncode == 0
    [key] = json.loads(city.operate("vkey", "--json").stdout)["receipts"]
    lines = check(receipts.read_bytes().rstrip(b"\n") + b"\n", Verifier.parse(key))
    assert len(lines) == 2


# --- checkpoints, keys ------------------------------------------------------------------------------------------


def test_when_dev_is_ready_all_that_it_seeded_is_signed(city: Dev) -> None:
    done = city.operate("checkpoint", "--json")
    found = objects(done.stdout)
    assert (done.returncode, [one["partition"] for one in found]) == (0, list(range(6)))
    assert all(one["verified"] for one in found)
    assert sum(one["size"] for one in found) >= len(story())
    [vkey] = city.ready["vkeys"]
    for one in found:
        checkpoint = open_checkpoint(one["note"].encode(), [Verifier.parse(vkey)], one["partition"])
        assert (checkpoint.ledger, checkpoint.size) == ("consent-ledger.local", one["size"])


def test_checkpoints_are_verified_with_a_key_that_the_asker_has(city: Dev) -> None:
    [vkey] = city.ready["vkeys"]
    done = city.run("checkpoint", "3", "--trusted-key", vkey)
    assert done.returncode == 0
    checkpoint = open_checkpoint(done.stdout, [Verifier.parse(vkey)], 3)
    by_setting = city.run("checkpoint", "--json", CONSENT_LEDGER_CHECKPOINT_VKEYS=json.dumps([vkey]))
    assert (by_setting.returncode, len(objects(by_setting.stdout))) == (0, 6)
    assert objects(by_setting.stdout)[3]["size"] >= checkpoint.size
    other = Signer.generate("consent-ledger.local").verifier.vkey
    wrong = city.run("checkpoint", "3", "--trusted-key", other, "--json")
    assert (wrong.returncode, objects(wrong.stdout)[0]["verified"]) == (1, False)
    assert city.run("checkpoint", "3").returncode == 2, "no key, no trust"


def test_a_partition_without_a_checkpoint_is_incomplete(city: Dev) -> None:
    assert city.operate("checkpoint", "6").returncode == 3
    assert city.run("checkpoint", "6", "--trusted-key", city.ready["vkeys"][0]).returncode == 3


def test_the_ledger_shows_the_keys_that_dev_printed(city: Dev) -> None:
    with urllib.request.urlopen(city.ready["api"] + "/v1/keys", timeout=60) as answer:
        shown = json.load(answer)
    printed = json.loads(city.operate("vkey", "--json").stdout)
    assert shown == {"ledger": "consent-ledger.local", **printed}
    assert shown["checkpoints"] == city.ready["vkeys"]


def test_each_process_has_the_secrets_of_its_own_work_alone(city: Dev) -> None:
    given = {}
    for process in family(city):
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            command = process.cmdline()
            for name in ("serve", "project", "record", "sign"):
                if "api.cli" in command and name in command:
                    given[name] = {key for key in process.environ() if key.startswith("CONSENT_LEDGER_")}
    assert sorted(given) == ["project", "record", "serve", "sign"]
    vault = {"CONSENT_LEDGER_VAULT_DATABASE", "CONSENT_LEDGER_VAULT_KEY_FILE"}
    signer = {"CONSENT_LEDGER_SIGNER_DATABASE", "CONSENT_LEDGER_CHECKPOINT_KEY_FILE"}
    views, receipts = {"CONSENT_LEDGER_DATABASE"}, {"CONSENT_LEDGER_RECEIPTS_KEY_FILE"}
    assert given["serve"] >= vault | views | receipts
    assert given["sign"] >= signer
    assert not given["serve"] & signer
    assert not given["sign"] & (vault | views | receipts)
    assert given["project"] >= views
    assert not given["project"] & (vault | signer | receipts)
    assert given["record"] >= views
    assert not given["record"] & (vault | signer | receipts)


def test_what_is_produced_into_the_intake_topic_is_recorded_by_its_client(city: Dev) -> None:
    [topic] = city.ready["intake"]
    sent = an_event(id="by-kafka-1", subject="res_by_kafka")
    with contextlib.closing(KafkaProducer(bootstrap_servers=city.ready["kafka"], acks="all")) as producer:
        producer.send(topic, json.dumps(sent).encode(), key=b"res_by_kafka").get(30)

    query = urllib.parse.urlencode({"source": sent["source"], "id": sent["id"]})
    address = f"{city.ready['api']}/v1/records?{query}"
    headers = {"authorization": f"Bearer {city.ready['tokens']['auditor']}"}

    def found() -> bool:
        try:
            urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=60).close()
        except urllib.error.HTTPError:
            return False
        return True

    wait_for(found, "it is recorded and projected")
    done = city.operate("doctor", "--json", "--only", "intake", "--only", "workers")
    said = objects(done.stdout)
    assert [f["status"] for f in said] == ["ok"] * 3
    assert any("dev-intake: 1 offsets done with, 0 wait" in f["what"] for f in said)


# --- policy -----------------------------------------------------------------------------------------------------


def test_a_policy_is_published_once(city: Dev, tmp_path: Path) -> None:
    policy = json.loads(run("policy", "show").stdout)
    policy |= {"version": "2100-01-01", "effective_from": "2100-01-01T08:00:00Z"}
    file = tmp_path / "policy.json"
    file.write_text(json.dumps(policy))
    first = city.run("policy", "publish", file, role="service")
    again = city.run("policy", "publish", file, role="service")
    assert (first.returncode, again.returncode) == (0, 0)
    assert b"published" in first.stdout
    assert b"was published before" in again.stdout
    assert first.stdout.split()[0] == again.stdout.split()[0]
    shown = json.loads(city.run("policy", "show", "--live").stdout)
    assert "2100-01-01" in json.dumps(shown)


def test_a_policy_in_the_past_or_of_another_id_is_refused(city: Dev, tmp_path: Path) -> None:
    policy = json.loads(run("policy", "show").stdout)
    file = tmp_path / "policy.json"
    file.write_text(json.dumps({**policy, "policy_id": "another", "version": "1"}))
    done = city.run("policy", "publish", file, role="service")
    assert done.returncode == 2
    assert b"in-the-past" in done.stderr
    assert b"another-policy" in done.stderr


# --- doctor, replay, project ------------------------------------------------------------------------------------


def test_doctor_finds_nothing_wrong(city: Dev) -> None:
    done = city.operate("doctor", "--json")
    findings = objects(done.stdout)
    assert [f for f in findings if f["status"] != "ok"] == []
    checks = {
        "installation",
        "broker",
        "database",
        "schema",
        "lag",
        "signer",
        "keys",
        "vault",
        "clock",
        "workers",
        "intake",
    }
    assert {f["check"] for f in findings} >= checks
    assert done.returncode == 0


def test_doctor_says_what_is_wrong_and_what_to_do(city: Dev) -> None:
    done = city.operate("doctor", "--only", "broker", CONSENT_LEDGER_PARTITIONS="7")
    assert done.returncode == 1
    text = " ".join(done.stdout.decode().split())
    assert "partitions is 6, must be 7" in text
    assert "set CONSENT_LEDGER_PARTITIONS to what the topic has" in text


def test_doctor_says_what_is_away(city: Dev) -> None:
    done = city.operate("doctor", "--json", CONSENT_LEDGER_DATABASE="postgresql://x:SECRET@127.0.0.1:1/x")
    away = {f["check"] for f in objects(done.stdout) if f["status"] == "away"}
    assert (done.returncode, "database" in away) == (3, True)
    assert b"SECRET" not in done.stdout + done.stderr


def test_replay_compare_finds_the_live_views_to_be_what_the_log_says(city: Dev) -> None:
    done = city.operate("replay", "--compare", "--json")
    [found] = objects(done.stdout)
    assert (found["equal"], found["complete"], done.returncode) == (True, True, 0)
    assert found["records"] >= len(story())
    assert sum(view["live_rows"] for view in found["views"]) > 0


def test_project_follows_the_ledger_with_any_projection(city: Dev) -> None:
    """The reminders, as a process of its own, until the city's complaints are in its table."""
    password = (city.folder / "secrets" / "ledger_projector.password").read_text("ascii").strip()
    projector = make_conninfo(city.ready["database"], user="ledger_projector", password=password)
    settings = {"CONSENT_LEDGER_KAFKA": city.ready["kafka"], "CONSENT_LEDGER_DATABASE": projector}
    command = [sys.executable, "-m", "api.cli", "project", "--projection", "projections.reminders:Reminders"]
    worker = subprocess.Popen(command, env=clean_environment(**settings), stderr=subprocess.PIPE)
    filed = {e.data["complaint_id"] for e in story() if e.kind == "complaint.filed" and e.data["kind"] == "complaint"}
    assert filed
    deadline = time.monotonic() + 60
    found: set[str] = set()
    while not found >= filed:
        assert time.monotonic() < deadline, found
        assert worker.poll() is None, worker.communicate()
        with contextlib.suppress(psycopg.errors.UndefinedTable), psycopg.connect(city.ready["database"]) as connection:
            rows = connection.execute("SELECT case_id FROM projections.reminders WHERE kind = 'complaint'").fetchall()
            found = {str(row[0]) for row in rows}
        time.sleep(0.2)
    worker.send_signal(signal.SIGTERM)
    _, said = worker.communicate(timeout=60)
    assert (worker.returncode, b"Traceback" in said) == (0, False)


def test_a_projection_that_is_not_there_is_named(city: Dev) -> None:
    done = city.operate("project", "--projection", "nowhere:Nothing")
    assert done.returncode == 2
    assert b"nowhere:Nothing" in done.stderr


def test_project_refuses_partitions_that_are_not_there(city: Dev) -> None:
    assert city.operate("project", "--partitions", "0,6").returncode == 2
    assert city.operate("project", "--partitions", "x").returncode == 2

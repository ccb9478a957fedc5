"""`dev` killed in every way there is: nothing is left running, nothing is lost, and the next start works."""

import json
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import pytest

from ledger.kafka.reader import Reader
from tests.e2e.city import Dev, clean_environment, family, gone, start, wait_for

pytestmark = [pytest.mark.timeout(300), pytest.mark.long]


def events(count: int) -> bytes:
    lines = []
    for _ in range(count):
        event: dict[str, Any] = {
            "specversion": "1.0",
            "id": uuid.uuid4().hex,
            "source": "/services/permits",
            "type": "org.consent-ledger.preference.set.v1",
            "subject": f"res_{uuid.uuid4().hex[:4]}",
            "time": "2026-11-01T12:00:00Z",
            "datacontenttype": "application/json",
            "data": {"channel": "email", "allowed": True},
        }
        lines.append(json.dumps(event))
    return "\n".join(lines).encode() + b"\n"


def emit(running: Dev, lines: bytes) -> dict[str, Any]:
    done = running.run("emit", "-", "--json", role="service", stdin=lines)
    assert done.returncode == 0, done.stderr
    summary: dict[str, Any] = json.loads(done.stdout)
    return summary


def emit_while_the_broker_stands_still(running: Dev, folder: Path, before: int) -> None:
    """20,000 events, and 10 s without a broker in the middle of them: each is recorded, and none twice."""
    file = folder / "events.ndjson"
    file.write_bytes(events(20_000))
    token = running.ready["tokens"]["service"]
    environment = clean_environment(CONSENT_LEDGER_URL=running.ready["api"], CONSENT_LEDGER_TOKEN=token)
    command = [sys.executable, "-m", "api.cli", "emit", "--json", "--batch-size", "500", "--progress"]
    sending = subprocess.Popen([*command, str(folder / "state"), str(file)], env=environment, stdout=subprocess.PIPE)
    [broker] = [p for p in family(running) if "kafka.Kafka" in p.cmdline()]
    wait_for(lambda: (folder / "state").exists(), "some batches are sent")
    broker.suspend()
    time.sleep(10)
    broker.resume()
    said, _ = sending.communicate(timeout=120)
    summary = json.loads(said)
    assert (sending.returncode, summary["recorded"] + summary["known"], summary["conflict"]) == (0, 20_000, 0)
    with Reader(running.ready["kafka"]) as reader:
        heads = reader.heads()
    assert sum(heads.values()) == before + 20_000, "a batch sent again is not recorded again"


def test_a_killed_dev_leaves_no_process_loses_nothing_and_starts_again(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    sent = events(500)

    # Only the main process is killed: its children and servers go by themselves.
    first = start(folder, tmp_path / "log1", "--empty")
    processes = family(first)
    assert len(processes) >= 6, "dev, guard, Kafka, PostgreSQL, worker, API"
    assert emit(first, sent)["recorded"] == 500
    first.process.kill()
    first.process.wait()
    wait_for(lambda: gone(processes), f"still running: {[p for p in processes if p.is_running()]}")

    # Everything is killed at once, guard and servers too.
    second = start(folder, tmp_path / "log2", "--empty")
    assert second.ready["tokens"]["residents"].keys() == first.ready["tokens"]["residents"].keys()
    assert emit(second, sent) | {"lines": 0} == {"lines": 0, "recorded": 0, "known": 500, "conflict": 0} | {
        "refused": 0,
        "refusals": [],
    }
    more = events(500)
    assert emit(second, more)["recorded"] == 500
    for process in family(second):
        process.kill()
    second.process.wait()

    # The third has all of it. Its broker stands still for a while; then its worker dies, and everything stops.
    third = start(folder, tmp_path / "log3", "--empty")
    processes = family(third)
    assert emit(third, sent + more)["known"] == 1_000
    emit_while_the_broker_stands_still(third, tmp_path, before=1_000)
    next(p for p in processes if "project" in p.cmdline()).kill()
    assert third.process.wait(timeout=60) == 3
    said = json.loads((tmp_path / "log3").read_bytes().splitlines()[-1])
    assert "project was killed by SIGKILL" in said["detail"]
    wait_for(lambda: gone(processes), "something survived")

"""What the tests of erasure share: erasing through a ledger's doors, and looking what came of it."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import orjson

from api.http import answers
from ledger.log import LogRecord
from ledger.vault.database import Database
from ledger.vault.erasures import ERASER_LOCK
from tests.answering import AnsweringLedger, collection, new_resident, notice, soon
from tests.door import Door, complaint, serve

WORDS = "zebra lantern quartz"
NOW = "2026-03-03T12:00:00.000000Z"
LIMIT_S = 60


@contextlib.contextmanager
def another_api(ledger: AnsweringLedger, folder: Path, **changes: Any) -> Iterator[Door]:
    """One more API of the same ledger; what it starts with is what the next start would start with."""
    settings = ledger.door.runtime.settings.model_copy(update=changes)
    with serve(settings, folder, routers=tuple(answers.routers())) as door:
        yield door


def send(
    door: Door, token: str | None, path: str, body: Any = None, key: str | None = "", method: str = "POST"
) -> httpx.Response:
    """A call; `key` "": an idempotency key of its own, None: none."""
    headers = {"content-type": "application/json"}
    if token is not None:
        headers["authorization"] = f"Bearer {token}"
    if key is not None:
        headers["idempotency-key"] = key or uuid4().hex
    raw = body if isinstance(body, bytes) else orjson.dumps({} if body is None else body)
    return door.client.request(method, path, content=raw, headers=headers)


def erase(ledger: AnsweringLedger, subject: str, **body: Any) -> dict[str, Any]:
    """The resident's own erasure, to its end."""
    answer = send(ledger.door, ledger.resident(subject), "/v1/me/erasure", body)
    assert answer.status_code in (200, 202), answer.text
    finished(ledger, answer.json()["erasure_id"])
    ledger.settle()
    return finished(ledger, answer.json()["erasure_id"])


def finished(ledger: AnsweringLedger, erasure_id: str) -> dict[str, Any]:
    def found() -> dict[str, Any]:
        shown: dict[str, Any] = ledger.get(f"/v1/erasures/{erasure_id}", ledger.operator).json()
        return shown

    soon(lambda: found()["state"] == "done", LIMIT_S)
    return found()


def unsealed(ledger: AnsweringLedger, subject: str, door: Door | None = None) -> list[Any]:
    """The resident's own sealed texts as they read them, the newest first."""
    token = ledger.resident(subject)
    client = (door or ledger.door).client
    answer = client.get("/v1/me/log", headers={"authorization": f"Bearer {token}"})
    assert answer.status_code == 200, answer.text
    return [entry["unsealed"]["text"] for entry in answer.json()["entries"] if "unsealed" in entry]


def erasures_in_log(ledger: AnsweringLedger, subject: str) -> list[dict[str, Any]]:
    found = [orjson.loads(record.value) for record in ledger.door.records()]
    kinds = ("org.consent-ledger.erasure.requested.v1", "org.consent-ledger.data.erased.v1")
    return [e for e in found if e["type"] in kinds and e["subject"] == subject]


def partition(ledger: AnsweringLedger, subject: str) -> list[LogRecord]:
    at = ledger.partition_of(subject)
    return [record for record in ledger.door.records() if record.position.partition == at]


@contextlib.contextmanager
def no_eraser(ledger: AnsweringLedger) -> Iterator[None]:
    """Holds every eraser off."""
    held = Database(ledger.door.runtime.settings.vault_database, 1)
    try:
        deadline_s = time.monotonic() + LIMIT_S
        while True:
            with held.alone(ERASER_LOCK) as alone:
                if alone:
                    yield
                    return
            assert time.monotonic() < deadline_s, "an eraser is at work all the time"
            time.sleep(0.05)
    finally:
        held.close()


def shown(ledger: AnsweringLedger, erasure_id: str) -> dict[str, Any]:
    found: dict[str, Any] = ledger.get(f"/v1/erasures/{erasure_id}", ledger.operator).json()
    return found


def somebody(ledger: AnsweringLedger) -> str:
    """A resident with words of theirs in the log."""
    found = new_resident()
    ledger.record(notice(found), collection(found), complaint(WORDS, subject=found))
    assert unsealed(ledger, found) == [WORDS]
    return found

"""What the tests of a resident's own doors share: calls as a resident, and what came of them in the log."""

from collections.abc import Mapping
from typing import Any

import httpx
import orjson

from ledger.recording import receipts
from ledger.tree.note import Signer
from tests.answering import AnsweringLedger
from tests.door import NAME

RECEIPTS = Signer.from_seed(f"{NAME}/receipts", bytes(32)).verifier


def call(
    ledger: AnsweringLedger,
    method: str,
    path: str,
    body: Any = None,
    token: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> httpx.Response:
    """A call with a body; its content is JSON unless it is bytes."""
    sent = {"content-type": "application/json", **(headers or {})}
    if token is not None:
        sent["authorization"] = f"Bearer {token}"
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    return ledger.door.client.request(method, path, content=raw, headers=sent)


def put(ledger: AnsweringLedger, subject: str, path: str, body: Any) -> dict[str, Any]:
    """A wish that is granted."""
    answer = call(ledger, "PUT", f"/v1/me/{path}", body, ledger.resident(subject))
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    assert answer.headers.get("ledger-position") == found["position"]
    assert answer.headers["cache-control"] == "private, no-cache"
    return found


def post(ledger: AnsweringLedger, subject: str, path: str, body: Any, key: str | None = None) -> httpx.Response:
    headers = {} if key is None else {"idempotency-key": key}
    return call(ledger, "POST", f"/v1/me/{path}", body, ledger.resident(subject), headers)


def consents(ledger: AnsweringLedger, subject: str, after: str | None = None) -> list[dict[str, Any]]:
    """The resident's active consents, as they read them after the position of what they wrote."""
    headers = {} if after is None else {"ledger-position": after}
    answer = ledger.get("/v1/me/consents", ledger.resident(subject), headers)
    assert answer.status_code == 200, answer.text
    return [row for row in answer.json()["consents"] if row["active"]]


def of_subject(ledger: AnsweringLedger, subject: str) -> list[dict[str, Any]]:
    """Every record about a resident in the log itself, in its order."""
    found = [orjson.loads(record.value) for record in ledger.door.records()]
    return [event for event in found if event.get("subject") == subject]


def kinds(ledger: AnsweringLedger, subject: str) -> list[str]:
    """The kinds of these records."""
    return [e["type"].removeprefix("org.consent-ledger.").removesuffix(".v1") for e in of_subject(ledger, subject)]


def receipt_positions(receipt: str) -> list[str]:
    """The positions that a receipt vouches for, checked."""
    return [str(line.position) for line in receipts.check(receipt.encode(), RECEIPTS)]

"""A ledger that answers, for tests: the door, the answers' routers, and a projection worker, all on real servers.

with open_ledger(kafka_address, database_url, folder) as ledger:
    position = ledger.record(use("res_1"))
    ledger.get(f"/v1/records/{position}/verdict", ledger.auditor).json()["outcome"]
"""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import msgspec
import orjson

from api.http import answers
from api.recording import wall_clock
from ledger import codec
from ledger.log import Position
from ledger.policy import my_san_jose
from projections import schema, worker
from tests.door import PASSWORDS, Door, event, open_door, wait_until

MICROSECONDS = 1_000_000
TOLD = "2026-03-01T12:00:00Z"
COLLECTED = "2026-03-02T12:00:00Z"
USED = "2026-03-03T12:00:00Z"


class Clock:
    """The ledger's clock, which tests may set ahead."""

    def __init__(self) -> None:
        self.ahead_us = 0

    def __call__(self) -> int:
        return wall_clock() + self.ahead_us


@dataclass
class AnsweringLedger:
    """A running ledger; `auditor` and the like are tokens."""

    door: Door
    clock: Clock
    dsns: schema.Dsns
    schema: str
    _threads: list[tuple[threading.Event, threading.Thread]] = field(default_factory=list)

    @property
    def auditor(self) -> str:
        return self.door.tokens.setdefault("auditor", self.door.issuer.auditor())

    @property
    def operator(self) -> str:
        return self.door.tokens.setdefault("operator", self.door.issuer.operator())

    @property
    def service(self) -> str:
        return self.door.token

    def resident(self, subject: str) -> str:
        return self.door.tokens.setdefault(subject, self.door.issuer.resident(subject))

    def get(
        self, path: str, token: str | None = None, headers: Mapping[str, str] | None = None, **query: str
    ) -> httpx.Response:
        sent = dict(headers or {})
        if token is not None:
            sent["authorization"] = f"Bearer {token}"
        return self.door.client.get(path, headers=sent, params=query or None)

    def record(self, *events: Mapping[str, Any], wait: bool = True) -> list[str]:
        """Records events in order and, unless told not to, waits until they are in the views; their positions."""
        positions = []
        for one in events:
            response = self.door.post(dict(one))
            assert response.status_code in (200, 201), response.text
            positions.append(response.json()["position"])
        if wait:
            self.settle()
        return positions

    def settle(self) -> None:
        """Waits until the views have read all that is in the log."""
        heads = self.door.heads()

        def settled() -> bool:
            reached = self.door.runtime.index.projected()
            return all(reached.get(partition, 0) >= head for partition, head in heads.items())

        wait_until(settled)

    def views_of(self, subject: str) -> list[dict[str, Any]]:
        """The `log.viewed` about a resident in the log itself, in its order."""
        found = [orjson.loads(record.value) for record in self.door.records()]
        return [e for e in found if e["type"] == "org.consent-ledger.log.viewed.v1" and e["subject"] == subject]

    def partition_of(self, subject: str) -> int:
        return self.door.runtime.log.partition_of(subject)

    def resume(self) -> None:
        """Starts the projection worker."""
        stop = threading.Event()
        settings = worker.Settings(topic=self.door.runtime.settings.topic)
        thread = threading.Thread(
            target=worker.run,
            args=(self.door.runtime.settings.kafka, self.dsns.projector, self.schema),
            kwargs={"settings": settings, "stop": stop},
            name="worker",
        )
        thread.start()
        self._threads.append((stop, thread))

    def pause(self) -> None:
        """Stops the projection worker: the views stand still."""
        for stop, thread in self._threads:
            stop.set()
            thread.join(60)
            assert not thread.is_alive(), "the worker does not stop"
        self._threads.clear()

    @contextmanager
    def paused(self) -> Iterator[None]:
        self.pause()
        try:
            yield
        finally:
            self.resume()


@contextmanager
def open_ledger(
    kafka: str, database: str, folder: Path, *, policy: bool = True, **changes: Any
) -> Iterator[AnsweringLedger]:
    """A ledger of its own, with the My San Jose policy unless told not to; `changes` are settings."""
    name, clock = f"answers_{uuid4().hex[:12]}", Clock()
    with open_door(
        kafka, database, folder, clock=clock, routers=tuple(answers.routers()), name=name, **changes
    ) as door:
        ledger = AnsweringLedger(door, clock, schema.dsns_for(database, PASSWORDS, name), name)
        ledger.resume()
        try:
            if policy:
                ledger.record(a_policy())
            yield ledger
        finally:
            ledger.pause()


def a_policy(**data: Any) -> dict[str, Any]:
    """The My San Jose policy as an event, with members of its data replaced."""
    published = {**msgspec.to_builtins(my_san_jose()), **data}
    return event("policy.published", source="/policy", subject=None, time="2018-04-18T07:00:00Z", data=published)


def notice(subject: str, **members: Any) -> dict[str, Any]:
    """The resident was told of purpose 4.2 for their email."""
    data = {
        "notice_id": "n1",
        "policy_version": "2018-04-18",
        "purposes": ["4.2"],
        "categories": ["email"],
        "channel": "web",
        "language": "en",
    }
    return event("notice.given", **{"subject": subject, "time": TOLD, "data": data, **members})


def collection(subject: str, **members: Any) -> dict[str, Any]:
    """Their email was collected for 4.2."""
    data = {"categories": ["email"], "purposes": ["4.2"], "origin": "resident"}
    return event("data.collected", **{"subject": subject, "time": COLLECTED, "data": data, **members})


def use(subject: str, purpose: str = "4.2", **members: Any) -> dict[str, Any]:
    """Their email was used."""
    data = {"categories": ["email"], "purpose": purpose, "operation": "consult", "basis": {"kind": "stated-purpose"}}
    return event("data.used", **{"subject": subject, "time": USED, "data": data, **members})


def withholding(subject: str, about: Mapping[str, Any], until_us: int, **members: Any) -> dict[str, Any]:
    """A law holds that event back from its resident until then."""
    data = {
        "about": {"source": about["source"], "id": about["id"]},
        "citation": "Penal Code 832.7",
        "until": codec.rfc3339(until_us),
    }
    now = codec.rfc3339(wall_clock())
    return event(
        "disclosure.withheld", **{"source": "/legal", "subject": subject, "time": now, "data": data, **members}
    )


def new_resident() -> str:
    return f"res_{uuid4().hex[:12]}"


def before(position: str, records: int = 1) -> str:
    at = Position.parse(position)
    return str(Position(at.partition, at.offset - records))


def soon(true: Any, limit_s: float = 10) -> None:
    """Waits for something that is on its way."""
    deadline_s = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < deadline_s, "it did not come about"
        time.sleep(0.05)

"""A ledger's HTTP door on real servers, for tests: a topic and a schema of its own, a real uvicorn, real tokens.

with open_door(kafka_address, database_url, tmp_path) as door:
    door.post(event(id="e1"))        # as a service with every source
    door.heads()                     # {0: 0, 1: 1, …}
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
import orjson
import uvicorn
from fastapi import APIRouter
from pydantic import SecretStr

from api.http.app import create_app, server_config
from api.http.runtime import Runtime, opened
from api.issuer import AUDIENCE, ISSUER, Issuer
from api.recording import wall_clock
from api.settings import Settings
from ledger.kafka import topics
from ledger.log import LogRecord
from ledger.recording.record import Clock
from ledger.tree.note import Signer
from ledger.vault import store
from ledger.vault.keys import KeyEncryptionKey
from projections import schema

PASSWORDS = dict.fromkeys((*schema.ROLES, "ledger_vault"), "only-for-tests")
NAME = "ledger.test"
STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"


def event(kind: str = "anonymity.chosen", **members: Any) -> dict[str, Any]:
    """A well-formed event of a kind whose data is given; every member can be replaced, None leaves it out."""
    found: dict[str, Any] = {
        "specversion": "1.0",
        "id": f"e-{uuid4().hex}",
        "source": "/services/permits",
        "type": f"org.consent-ledger.{kind}.v1",
        "subject": f"res_{uuid4().hex[:12]}",
        "time": "2026-03-03T12:00:00Z",
        "datacontenttype": "application/json",
        "data": {},
    }
    found.update(members)
    return {name: value for name, value in found.items() if value is not None}


def consent(consent_id: str = "c1", **members: Any) -> dict[str, Any]:
    """A `consent.given`."""
    return event(
        "consent.given", **{"data": {"consent_id": consent_id, "purposes": ["4.7"], "method": "web-form"}, **members}
    )


def complaint(text: str, **members: Any) -> dict[str, Any]:
    """A `complaint.filed`, with free text that is sealed."""
    return event("complaint.filed", **{"data": {"complaint_id": "k1", "kind": "complaint", "text": text}, **members})


def service_registered(**members: Any) -> dict[str, Any]:
    """A reference fact."""
    data = {
        "service": "/services/permits",
        "names": {"en": "Permits", "es": "Permisos", "vi": "Giấy phép"},
        "department": "Planning",
        "purposes": ["4.2"],
    }
    return event("service.registered", **{"subject": None, "data": data, **members})


@dataclass
class Door:
    """A running door."""

    url: str
    runtime: Runtime
    issuer: Issuer
    client: httpx.Client
    tokens: dict[str, str] = field(default_factory=dict)

    @property
    def token(self) -> str:
        """A service's token with both scopes for every source."""
        return self.tokens.setdefault("service", self.issuer.service("permits-app"))

    def post(
        self, body: Any, token: str | None = "", media_type: str = STRUCTURED, headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """Sends a body (bytes as they are, anything else as JSON) with a token ("": the service's, None: none)."""
        sent = {"content-type": media_type, **(headers or {})}
        if token is not None:
            sent["authorization"] = f"Bearer {token or self.token}"
        raw = body if isinstance(body, bytes) else orjson.dumps(body)
        return self.client.post("/v1/events", content=raw, headers=sent)

    def batch(self, events: Any, token: str = "") -> list[dict[str, Any]]:
        """The results of a batch that is well-formed as such."""
        response = self.post(events, token, BATCH)
        assert response.status_code == 200, response.text
        results: list[dict[str, Any]] = response.json()["results"]
        return results

    def heads(self) -> dict[int, int]:
        """How many records each partition has."""
        return {p: self.runtime.log.head(p) for p in range(self.runtime.log.partitions)}

    def records(self) -> list[LogRecord]:
        """Every record in the log, by partition and offset."""
        found: list[LogRecord] = []
        for partition, head in self.heads().items():
            at = 0
            while at < head:
                read = self.runtime.log.read(partition, at, head)
                found += read
                at = read[-1].position.offset + 1
        return found


def settings_for(kafka: str, database: str, folder: Path, name: str | None = None, **changes: Any) -> Settings:
    """The settings of a ledger of its own: its topic and its schema are made."""
    name = name or f"door_{uuid4().hex[:12]}"
    topics.create(kafka, {name: (topics.Kind.RECORDS, 6)})
    dsns = schema.prepare(database, PASSWORDS, name)
    vault = store.install(database, PASSWORDS["ledger_vault"])
    issuer = Issuer(folder)
    values: dict[str, Any] = {
        "ledger_name": NAME,
        "kafka": kafka,
        "topic": name,
        "database": dsns.reader,
        "vault_database": vault,
        "vault_key": SecretStr(KeyEncryptionKey(bytes(range(64))).text),
        "receipts_key": SecretStr(Signer.from_seed(f"{NAME}/receipts", bytes(32)).secret),
        "issuer": ISSUER,
        "audience": AUDIENCE,
        "jwks_file": issuer.jwks_file,
    }
    return Settings(**{**values, **changes})


@contextmanager
def open_door(
    kafka: str,
    database: str,
    folder: Path,
    *,
    clock: Clock = wall_clock,
    routers: tuple[APIRouter, ...] = (),
    **changes: Any,
) -> Iterator[Door]:
    """A door of its own on the servers given."""
    with serve(settings_for(kafka, database, folder, **changes), folder, clock=clock, routers=routers) as door:
        yield door


@contextmanager
def serve(
    settings: Settings,
    folder: Path,
    *,
    clock: Clock = wall_clock,
    routers: tuple[APIRouter, ...] = (),
    ready: bool = True,
) -> Iterator[Door]:
    """A door with these settings, on a free port; `ready`: wait until it records."""
    app = create_app(lambda: opened(settings, clock), routers)
    server = uvicorn.Server(server_config(app, "127.0.0.1", 0, log_level="warning"))
    thread = threading.Thread(target=server.run, name="door")
    thread.start()
    try:
        wait_until(lambda: server.started or not thread.is_alive())
        assert thread.is_alive(), "the door did not start"
        port = server.servers[0].sockets[0].getsockname()[1]
        runtime: Runtime = app.state.runtime
        if ready:
            wait_until(lambda: runtime.recorder.status().problem is None)
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=90) as client:
            yield Door(f"http://127.0.0.1:{port}", runtime, Issuer(folder), client)
    finally:
        server.should_exit = True
        thread.join(60)
        assert not thread.is_alive(), "the door does not stop"


def wait_until(true: Any, limit_s: float = 30) -> None:
    """Waits for something to become true."""
    deadline = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < deadline, "it did not become true in time"
        time.sleep(0.02)

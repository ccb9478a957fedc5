"""Intake topics for tests: clients of their own, `record` in a thread or as a process, and what came of it.

with intaking(kafka_address, door.runtime.settings, {"a": ["/services/a"]}) as intake:
    intake.produce("a", [event(source="/services/a")])
    intake.wait_for_all()
"""

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
from kafka import KafkaProducer
from prometheus_client import CollectorRegistry

from api.cli import record
from api.cli.stack import environment
from api.intake import Metrics
from api.settings import Settings
from ledger.kafka import topics
from ledger.kafka.intake import standings, topic_of
from ledger.kafka.reader import Reader
from tests.door import wait_until

ROOT = Path(__file__).parent.parent
BOTH = ("events:write", "rules:write")


@dataclass
class Intaking:
    """A ledger's settings with intake clients, whose topics are there."""

    settings: Settings
    registry: CollectorRegistry

    def client(self, number: int = 0) -> str:
        """A client's name."""
        return list(self.settings.intake_clients)[number]

    def produce(
        self, client: str, values: Sequence[Any], *, keys: Sequence[str] | None = None, partition: int | None = None
    ) -> None:
        """As a service does with any Kafka client; a value is bytes, None, or an event."""
        producer = KafkaProducer(bootstrap_servers=self.settings.kafka, acks="all")
        try:
            sent = []
            for i, value in enumerate(values):
                raw = value if value is None or isinstance(value, bytes) else orjson.dumps(value)
                key = keys[i].encode() if keys else b"any" if raw is None else None
                sent.append(producer.send(topic_of(client), raw, key=key, partition=partition))
            for future in sent:
                future.get(30)
        finally:
            producer.close()

    def waiting(self) -> int:
        """How many records are not done with."""
        return sum(one.lag for one in standings(self.settings.kafka, self.settings.intake_clients))

    def wait_for_all(self, limit_s: float = 90) -> None:
        """Waits until everything that was produced is done with."""
        wait_until(lambda: self.waiting() == 0, limit_s)

    def rejected(self) -> list[dict[str, Any]]:
        """Every entry of the topic of refusals, each once: a crash may have written one again."""
        with Reader(self.settings.kafka, self.settings.rejected_topic) as reader:
            [head] = reader.heads(0).values()
            reader.assign({0: 0})
            found: dict[bytes, dict[str, Any]] = {}
            while reader.position(0) < head:
                for entry in reader.poll().get(0, []):
                    said = orjson.loads(entry.value)
                    found.setdefault(orjson.dumps([said["topic"], said["partition"], said["offset"]]), said)
        return list(found.values())

    @contextlib.contextmanager
    def recording(self) -> Iterator[None]:
        """`record` in a thread, for the while."""
        stop = threading.Event()
        arguments = (self.settings, stop, Metrics(self.registry))
        thread = threading.Thread(target=record.run, args=arguments, name="record")
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(60)
            assert not thread.is_alive(), "record does not stop"
            self.registry = CollectorRegistry()

    def process(self, log: Path) -> "subprocess.Popen[bytes]":
        """`consent-ledger record` as a process of its own."""
        clean = {k: v for k, v in os.environ.items() if not k.startswith("CONSENT_LEDGER_")}
        given = environment(self.settings, without=("vault_database", "vault_key", "vault_key_file", "receipts_key"))
        with log.open("ab") as said:
            return subprocess.Popen(
                [sys.executable, "-m", "api.cli", "record"], env={**clean, **given}, stderr=said, stdout=said, cwd=ROOT
            )


def prepared(settings: Settings, clients: Mapping[str, Sequence[str]], partitions: int = 2) -> Intaking:
    """The topics of clients whose names begin so, with these sources, and a topic of refusals of the test's own."""
    unique = uuid4().hex[:8]
    named = {f"{name}-{unique}": dict.fromkeys(BOTH, tuple(sources)) for name, sources in clients.items()}
    rejected = f"{settings.topic}.rejected.{unique}"
    wanted = {topic_of(name): (topics.Kind.INTAKE, partitions) for name in named}
    topics.create(settings.kafka, {**wanted, rejected: (topics.Kind.RECORDS, 1)})
    changed = {**settings.model_dump(exclude_unset=True), "intake_clients": named, "rejected_topic": rejected}
    return Intaking(Settings(**changed), CollectorRegistry())

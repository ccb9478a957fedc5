"""A seeded city for the tests of the command line: `consent-ledger dev --json` as a process of its own."""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from ledger.kafka.process import alive

START_S = 100
GONE_S = 45


def clean_environment(**more: str) -> dict[str, str]:
    """This environment without any setting of the product's, and with these."""
    return {**{k: v for k, v in os.environ.items() if not k.startswith("CONSENT_LEDGER_")}, **more}


def run(*arguments: str | Path, stdin: bytes = b"", **environment: str) -> "subprocess.CompletedProcess[bytes]":
    """One command to its end."""
    command = [sys.executable, "-m", "api.cli", *map(str, arguments)]
    return subprocess.run(command, input=stdin, capture_output=True, env=clean_environment(**environment), timeout=170)


@dataclass
class Dev:
    """A running `dev`: its process, the line it printed, its data."""

    process: "subprocess.Popen[bytes]"
    ready: dict[str, Any]
    folder: Path
    log: Path

    def run(
        self, *arguments: str | Path, role: str = "auditor", stdin: bytes = b"", **environment: str
    ) -> "subprocess.CompletedProcess[bytes]":
        """A command that is a client of this ledger, with the token of this role."""
        token = self.ready["tokens"][role] if role else ""
        environment = {"CONSENT_LEDGER_URL": self.ready["api"], "CONSENT_LEDGER_TOKEN": token, **environment}
        return run(*arguments, stdin=stdin, **environment)

    def operate(self, *arguments: str | Path, **environment: str) -> "subprocess.CompletedProcess[bytes]":
        """A command of an operator, with this ledger's settings."""
        environment = {"CONSENT_LEDGER_CONFIG": str(self.folder / "consent-ledger.env"), **environment}
        return run(*arguments, stdin=b"", **environment)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Stops it and waits for its end."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(timeout=60)


def start(folder: Path | None, log: Path, *arguments: str) -> Dev:
    """Starts `dev --json` and waits until it is ready."""
    where = () if folder is None else ("--data-dir", str(folder))
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "api.cli", "dev", "--json", *where, *arguments],
            stdout=subprocess.PIPE,
            stderr=errors,
            env=clean_environment(),
        )
    assert process.stdout is not None
    deadline = time.monotonic() + START_S
    while not select.select([process.stdout], [], [], 0.2)[0] and time.monotonic() < deadline:
        pass
    line = process.stdout.readline() if time.monotonic() < deadline else b""
    process.stdout.close()  # one line is all there is
    if not line:
        process.terminate()
        process.wait(timeout=60)
        raise AssertionError(log.read_text("utf-8"))
    return Dev(process, json.loads(line), folder or Path(), log)


@contextlib.contextmanager
def dev(folder: Path | None, log: Path, *arguments: str) -> Iterator[Dev]:
    """A `dev` that is stopped at the end, whatever happens."""
    running = start(folder, log, *arguments)
    try:
        yield running
    finally:
        running.stop()


def family(running: Dev) -> list[psutil.Process]:
    """Every process of a `dev`, itself and its guard included: they name it, or were started by it."""
    main = psutil.Process(running.process.pid)
    return [main, *main.children(recursive=True)]


def wait_for(condition: Callable[[], bool], what: str, timeout_s: float = GONE_S) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def gone(processes: list[psutil.Process]) -> bool:
    return not [p for p in processes if alive(p)]

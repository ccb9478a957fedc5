"""Processes that `dev` runs beside itself: started, watched, stopped, and never outliving it.

    with Children(folder) as children:
        children.start("api", ["serve"], environment)
        children.check()            # raises LocalServerError, with the end of its log, when one has ended

A child's stdin is a pipe that closes when its parent ends, however it ends: `stop_with_parent` in the child turns that
into SIGTERM. Each child writes to `<folder>/<name>.log`.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from ledger.errors import LocalServerError

STOP_PATIENCE_S = 15.0
WITH_PARENT = "CONSENT_LEDGER_WITH_PARENT"
_PREFIX = "CONSENT_LEDGER_"


class Children:
    """Child processes of this one, by name."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> "Children":
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self, name: str, arguments: Sequence[str], environment: Mapping[str, str]) -> int:
        """Starts `consent-ledger ARGUMENTS` with these settings and no others; returns its process id."""
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(_PREFIX)}
        with (self._folder / f"{name}.log").open("ab") as log:
            child = subprocess.Popen(
                [sys.executable, "-P", "-m", "api.cli", *arguments],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**inherited, **environment, WITH_PARENT: "1"},
                start_new_session=True,  # Ctrl-C reaches us; we stop them, in order
            )
        self._running[name] = child
        return child.pid

    def pid(self, name: str) -> int:
        """The process id of a child."""
        return self._running[name].pid

    def check(self) -> None:
        """Raises `LocalServerError` when a child has ended by itself."""
        for name, child in self._running.items():
            code = child.poll()
            if code is not None:
                how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
                raise LocalServerError(f"{name} {how}; the end of its log:\n{self.tail(name)}")

    def tail(self, name: str, lines: int = 15) -> str:
        """The last lines that a child printed."""
        try:
            text = (self._folder / f"{name}.log").read_bytes()[-16_384:].decode("utf-8", "replace")
        except OSError:
            text = ""
        return "\n".join("  " + line for line in text.splitlines()[-lines:]) or "  (it printed nothing)"

    def stop(self) -> None:
        """Asks all to stop, the last started first, waits, and kills what does not."""
        for child in reversed(self._running.values()):
            with contextlib.suppress(ProcessLookupError):
                child.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_PATIENCE_S
        for child in self._running.values():
            try:
                child.wait(timeout=max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
            if child.stdin is not None:
                child.stdin.close()
        self._running.clear()


def stop_with_parent() -> None:
    """In a child of `dev`: SIGTERM to ourselves when the parent has gone. Nothing in any other process."""
    if os.environ.get(WITH_PARENT) == "1":
        threading.Thread(target=_watch, name="parent", daemon=True).start()


def _watch() -> None:
    while os.read(0, 1_024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(STOP_PATIENCE_S)
    os._exit(3)

"""What `dev` leaves behind when it is killed outright: nothing, thanks to this process, its guard.

`dev` starts the guard before any server and tells it, one JSON object a line on the guard's stdin, which folders have
servers in them and what to do at the end:

    {"folder": "data/kafka", "signal": "SIGTERM"}     stop the server of this folder (ledger.kafka.process)
    {"remove": "data"}                                then remove this folder: it was a temporary one
    {"done": true}                                    everything was stopped in good order: just go

Stdin closes when `dev` ends, however it ends. Without `done` before that, the guard cleans up. Meanwhile it holds the
data directory's lock, which it inherited, so that a next start waits until it has finished.
"""

import contextlib
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

from ledger.errors import LocalServerError
from ledger.kafka import process

_PATIENCE_S = 20


class Guard:
    """The parent's side: starts the guard, and tells it things."""

    def __init__(self, lock: int) -> None:
        self._lock = lock
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Guard":
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "api.cli.guard"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(self._lock,),
            start_new_session=True,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._tell({"done": True})
        assert self._process is not None and self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        self._process.wait(timeout=30)

    def server(self, folder: Path, first: signal.Signals) -> None:
        """There is, or will be, a server in this folder."""
        self._tell({"folder": str(folder), "signal": first.name})

    def temporary(self, folder: Path) -> None:
        """This folder is to be removed at the end."""
        self._tell({"remove": str(folder)})

    def _tell(self, message: dict[str, Any]) -> None:
        assert self._process is not None and self._process.stdin is not None
        with contextlib.suppress(OSError):  # somebody killed the guard: then nobody guards, and all else goes on
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()


def main() -> None:
    """The guard's own side: listens until stdin closes, then cleans up unless all is done."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # it ends when its parent does
    servers: list[tuple[Path, signal.Signals]] = []
    removals: list[Path] = []
    for line in sys.stdin.buffer:
        message = json.loads(line)
        if message.get("done"):
            return
        if "folder" in message:
            servers.append((Path(message["folder"]), signal.Signals[message["signal"]]))
        if "remove" in message:
            removals.append(Path(message["remove"]))
    for folder, first in reversed(servers):
        with contextlib.suppress(LocalServerError, OSError):
            _stop(folder, first)
    for folder in removals:
        shutil.rmtree(folder, ignore_errors=True)


def _stop(folder: Path, first: signal.Signals) -> None:
    with process.Owner(folder, folder.name):
        running = process.leftover(folder)
        if running is not None:
            process.stop(running, first, patience_s=_PATIENCE_S)
        (folder / "server.pid").unlink(missing_ok=True)


if __name__ == "__main__":
    main()

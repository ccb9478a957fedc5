"""A server process on this machine: started, waited for, found again after a crash, stopped.

Kafka (`ledger.kafka.local`) and PostgreSQL (`projections.local`) stand on this. A server has a folder of its own:

- `owner.lock` is locked by whoever runs the server. The kernel frees it when that process ends, however it ends.
- `server.pid` holds the server's process id, written by the child itself before it becomes the server, so there is
  no moment at which a killed parent leaves a server that nobody can find.
- `server.log` takes what the server prints.

So when the lock is free and `server.pid` names a live process, that process is a leftover of a killed run. It is ours
only if it began before the file was written and names the folder on its command line: process ids are used again.

    with Owner(folder, "PostgreSQL"):
        process = leftover(folder) or spawn(folder, [...])
        wait_until(process, folder, "PostgreSQL", probe)
        ...
        stop(process, signal.SIGINT)
"""

import contextlib
import fcntl
import os
import pwd
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType

import psutil

from ledger.errors import LocalServerError

POLL_S = 0.05
# Not handed down to a server: they would change what it does, or hold secrets that it does not need.
_PRIVATE_ENVIRONMENT = ("CONSENT_LEDGER_", "PG", "KAFKA_")
# The child writes its own id into its standard input (the pid file), then becomes the server.
_BECOME = 'echo "$$" >&0 && exec "$@" </dev/null'

Say = Callable[[str], None]
"""Takes a line of progress, such as `typer.echo` to stderr."""


def silent(text: str) -> None:
    """A `Say` that says nothing."""


class Owner:
    """The one process that runs the server in `folder`; raises `LocalServerError` when there is another already."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._name = name
        self._lock = -1

    def __enter__(self) -> "Owner":
        self._lock = os.open(self._folder / "owner.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(self._lock, 20, 0).decode("ascii", "replace").strip()
            os.close(self._lock)
            raise LocalServerError(
                f"{self._name} in {self._folder} is in use by process {holder or 'unknown'}: "
                "stop that one, or choose another data directory"
            ) from error
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, str(os.getpid()).encode("ascii"), 0)
        return self

    def __exit__(self, *exception: object) -> None:
        os.close(self._lock)


def spawn(
    folder: Path, command: Sequence[str], *, environment: dict[str, str] | None = None, user: int | None = None
) -> psutil.Process:
    """Starts `command` in a session of its own (so that Ctrl-C does not reach it), as system user id `user`."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(_PRIVATE_ENVIRONMENT)}
    with (folder / "server.pid").open("w+b") as pid_file, (folder / "server.log").open("ab") as log:
        return psutil.Popen(
            ["/bin/sh", "-c", _BECOME, "sh", *command],
            stdin=pid_file,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=inherited | (environment or {}),
            start_new_session=True,
            user=user,
            group=None if user is None else pwd.getpwuid(user).pw_gid,
            extra_groups=None if user is None else [],
        )


def leftover(folder: Path) -> psutil.Process | None:
    """The server that a killed run has left behind in `folder`. Call it as the `Owner` only."""
    pid_file = folder / "server.pid"
    try:
        process = psutil.Process(int(pid_file.read_text("ascii")))
        began_before_its_file = process.create_time() <= pid_file.stat().st_mtime + 2
        names_the_folder = any(str(folder) in argument for argument in process.cmdline())
    except (OSError, ValueError, psutil.Error):
        return None
    return process if began_before_its_file and names_the_folder and alive(process) else None


def alive(process: psutil.Process) -> bool:
    """Whether the process still runs. Reaps it when it was our child and has ended."""
    if isinstance(process, psutil.Popen):
        return process.poll() is None
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def stop(process: psutil.Process, first: signal.Signals = signal.SIGTERM, patience_s: float = 20) -> bool:
    """Asks with `first`, then kills. True when it went by itself; returns only when the process has ended."""
    for number, wait_s in ((first, patience_s), (signal.SIGKILL, 30.0)):
        if not alive(process):
            return True
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)
            process.send_signal(signal.SIGCONT)  # a frozen one could not obey
        deadline = time.monotonic() + wait_s
        while time.monotonic() < deadline:
            if not alive(process):
                return number is first
            time.sleep(POLL_S)
    raise LocalServerError(f"process {process.pid} does not end, not even when killed")


def wait_until(
    process: psutil.Process, folder: Path, name: str, probe: Callable[[], bool], timeout_s: float = 90
) -> None:
    """Returns once `probe` is true; raises `LocalServerError` with the end of the log if that does not come."""
    deadline = time.monotonic() + timeout_s
    while True:
        running = alive(process)
        if running and probe():
            return
        if not running or time.monotonic() > deadline:
            what = f"did not answer within {timeout_s:.0f} s" if running else "ended while starting"
            raise LocalServerError(f"{name} {what}. The end of {folder / 'server.log'}:\n{tail(folder)}")
        time.sleep(POLL_S)


def tail(folder: Path, lines: int = 20) -> str:
    """The last lines that the server printed."""
    try:
        with (folder / "server.log").open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - 16_384))
            text = log.read().decode("utf-8", "replace")
    except OSError:
        return "(no log)"
    return "\n".join("  " + line for line in text.splitlines()[-lines:]) or "(the log is empty)"


def free_port(preferred: int | None = None) -> int:
    """A free TCP port on 127.0.0.1: the preferred one if it is free, so that clients find a restarted server."""
    for port in (preferred, 0):
        if port is None:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return int(probe.getsockname()[1])
    raise LocalServerError("this machine has no free TCP port on 127.0.0.1")


@contextlib.contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """Within it SIGTERM raises KeyboardInterrupt, as Ctrl-C does, so that context managers stop what they started.

    Does nothing outside the main thread, or when the program has a handler of its own.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt("SIGTERM")

    signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

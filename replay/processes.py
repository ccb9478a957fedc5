"""Several processes that rebuild one schema: started, watched, told to stop, never outliving the one that began them.

    with Processes(order, count=2) as processes:
        while processes.running():
            time.sleep(0.2)
    processes.halted          # {3: LogError("record 3-1041 cannot be read …")}

Each is told what to do over its standard input, which closes when its parent ends, however it ends: it then stops
behind the batch that it writes. (`multiprocessing` would run the program that began them anew in each of them.) They
have a session of their own, so Ctrl-C reaches the parent alone.
"""

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from types import TracebackType

import msgspec

from ledger.errors import ConsentLedgerError, LogError, Unavailable
from projections.worker import Progress
from replay.build import Order, build

STOP_PATIENCE_S = 60.0


class _Result(msgspec.Struct, frozen=True):
    """What a process says at its end, on its standard output."""

    halted: dict[int, str] = {}
    error: str | None = None


class Processes:
    """The processes of one rebuild. A context manager: on the way out all of them are stopped, and have ended."""

    def __init__(self, order: Order, count: int) -> None:
        self._order, self._count = order, count
        self._running: list[subprocess.Popen[bytes]] = []
        self.halted: dict[int, LogError] = {}

    @property
    def pids(self) -> Sequence[int]:
        """The processes that have not been seen to end."""
        return [process.pid for process in self._running]

    def __enter__(self) -> "Processes":
        paths = os.pathsep.join(path for path in sys.path if path)
        environment = {**os.environ, "PYTHONPATH": paths}
        for _ in range(self._count):
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "replay.processes"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=environment,
                start_new_session=True,
            )
            self._running.append(process)
            assert process.stdin is not None
            process.stdin.write(msgspec.json.encode(self._order) + b"\n")  # its connection strings hold passwords
            process.stdin.flush()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._running:
            assert process.stdin is not None
            process.stdin.close()
        for process in self._running:
            try:
                process.wait(STOP_PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            assert process.stdout is not None
            process.stdout.close()
        self._running.clear()

    def running(self) -> bool:
        """Whether any still works; raises `LogError` or `Unavailable` when one has failed or was killed."""
        for process in list(self._running):
            code = process.poll()
            if code is not None:
                self._running.remove(process)
                self._ended(process, code)
        return bool(self._running)

    def _ended(self, process: "subprocess.Popen[bytes]", code: int) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        said = process.stdout.read()
        process.stdin.close()
        process.stdout.close()
        try:
            result = msgspec.json.decode(said, type=_Result)
        except msgspec.MsgspecError:
            how = f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"
            raise Unavailable(f"a process of the rebuild {how}: the same command goes on from there") from None
        if result.error is not None:
            raise LogError(result.error)
        self.halted |= {partition: LogError(reason) for partition, reason in result.halted.items()}


def main() -> None:
    """What each process runs: the order from standard input, and at the end what stands still on standard output."""
    only_own_words()
    order = msgspec.json.decode(sys.stdin.buffer.readline(), type=Order)
    stop = threading.Event()

    def wait_for_parent() -> None:
        sys.stdin.buffer.read()  # returns when the parent closes it, or is gone
        stop.set()

    threading.Thread(target=wait_for_parent, daemon=True).start()
    try:
        halted = build(order, stop, Progress())
        result = _Result({partition: str(error) for partition, error in halted.items()})
    except ConsentLedgerError as error:
        result = _Result(error=str(error))
    sys.stdout.buffer.write(msgspec.json.encode(result))
    sys.stdout.flush()
    os._exit(0)  # a thread is left that waits for the parent


def only_own_words() -> None:
    """What a live worker logs of records was logged when they were new; a rebuild says its own result."""
    logging.getLogger("consent_ledger.project").setLevel(logging.CRITICAL)


if __name__ == "__main__":
    main()

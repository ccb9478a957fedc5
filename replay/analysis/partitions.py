"""Runs one function over every partition: here, in worker processes, or (`on_ray`) on a cluster. One result each.

    results = run(partial(of_partition, period="month"), shares, workers=2, progress=lambda done: print(sum(done)))

The function takes a share of the log and a callback for progress, and is the same wherever it runs: it must be one that
pickle can name. A worker has one partition at a time, so its memory is that of one partition. Workers end with their
parent, however it ends, and the first error of one ends them all.
"""

import contextlib
import logging
import multiprocessing
import pickle
import signal
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Generic, TypeVar

from ledger.errors import Unavailable
from replay.analysis.reading import Progress, Share

Result = TypeVar("Result")
Work = Callable[[Share, Progress], Result]
Watch = Callable[[Sequence[int]], None]
"""Told how many records of each share have been read."""
_LOOK_EVERY_S = 0.5
_STOPPED_WITHIN_S = 10.0


def run(work: Work[Result], shares: Sequence[Share], workers: int = 1, progress: Watch | None = None) -> list[Result]:
    """The results in the order of the shares. Raises what the function raises, and `Unavailable` for a lost worker."""
    watch = progress or (lambda _: None)
    done = [0] * len(shares)
    if min(workers, len(shares)) > 1:
        with _Workers(work, shares, min(workers, len(shares)), done, watch) as started:
            return started.results()
    results = []
    for i, share in enumerate(shares):

        def tell(records: int, i: int = i) -> None:
            done[i] = records
            watch(done)

        results.append(work(share, tell))
    return results


class _Workers(Generic[Result]):
    """Worker processes, each with a pipe: a share goes in, how far it is and then its result come out."""

    def __init__(
        self, work: Work[Result], shares: Sequence[Share], workers: int, done: list[int], watch: Watch
    ) -> None:
        self._work, self._shares, self._count = work, shares, workers
        self._done, self._watch = done, watch
        self._processes: dict[Connection, BaseProcess] = {}

    def __enter__(self) -> "_Workers[Result]":
        # Fresh processes: this one has threads and open connections, which a fork would take along.
        context = multiprocessing.get_context("spawn")
        try:
            for number in range(self._count):
                ours, theirs = context.Pipe()
                name = f"partitions-{number}"
                process = context.Process(target=_serve, args=(self._work, theirs), name=name, daemon=True)
                process.start()
                theirs.close()
                self._processes[ours] = process
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop()

    def results(self) -> list[Result]:
        """Hands out the largest share first, waits for all."""
        waiting = sorted(range(len(self._shares)), key=lambda i: self._shares[i].stop)
        busy: dict[Connection, int] = {}
        found: dict[int, Result] = {}
        for pipe in self._processes:
            self._hand_out(pipe, waiting, busy)
        while busy:
            ready = wait(list(busy), _LOOK_EVERY_S)
            for pipe in [pipe for pipe in busy if pipe in ready]:
                kind, value = self._receive(pipe)
                i = busy[pipe]
                if kind == "progress":
                    self._done[i] = value
                elif kind == "result":
                    found[i] = value
                    del busy[pipe]
                    self._hand_out(pipe, waiting, busy)
                else:
                    raise value
            self._watch(self._done)
        return [found[i] for i in range(len(self._shares))]

    def _hand_out(self, pipe: Connection, waiting: list[int], busy: dict[Connection, int]) -> None:
        if waiting:
            i = waiting.pop()
            busy[pipe] = i
            with _lost_worker():
                pipe.send(self._shares[i])

    def _receive(self, pipe: Connection) -> tuple[str, Any]:
        with _lost_worker():
            message: tuple[str, Any] = pipe.recv()
            return message

    def _stop(self) -> None:
        for pipe in self._processes:
            pipe.close()
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            process.join(_STOPPED_WITHIN_S)
            if process.is_alive():
                process.kill()
                process.join()
            process.close()
        self._processes.clear()


@contextlib.contextmanager
def _lost_worker() -> Iterator[None]:
    try:
        yield
    except (EOFError, OSError):
        what = "a worker process has gone before its partition was read (out of memory?): try again with fewer workers"
        raise Unavailable(what) from None


def _serve(work: Work[Result], pipe: Connection) -> None:
    """A worker: one share after the other, until its parent has gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends its workers
    logging.getLogger("kafka").addHandler(logging.NullHandler())  # its words reach no terminal, here as in the parent
    with contextlib.suppress(EOFError, OSError):
        while True:
            share: Share = pipe.recv()
            try:
                result = work(share, lambda records: pipe.send(("progress", records)))
            except (EOFError, OSError):
                raise
            except Exception as error:
                pipe.send(("error", _carried(error)))
            else:
                pipe.send(("result", result))


def _carried(error: Exception) -> Exception:
    """The error, when it survives being sent; else one that names its kind and keeps its words to itself."""
    with contextlib.suppress(Exception):
        if type(pickle.loads(pickle.dumps(error))) is type(error):  # noqa: S301 (our own bytes)
            return error
    return RuntimeError(f"a worker process failed: {type(error).__name__}")

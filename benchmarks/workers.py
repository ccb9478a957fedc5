"""Projection in processes of their own: one with every partition, or two with half of them each.

    done = project(bootstrap, dsns.projector, filled, processes=2)
    done.seconds, done.peak_mb, done.tree_share

The processes are started, and have loaded everything, before the clock runs. Each says at its end the most memory that
it ever held (peak RSS), and how long the trees took.
"""

import multiprocessing
import re
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NamedTuple

from prometheus_client import CollectorRegistry

from benchmarks.topic import Filled
from projections import worker
from projections.metrics import Metrics

_START_S, _END_S = 120.0, 3_600.0
# Forked from a server process that has loaded this module and has neither threads nor connections: a worker is
# there at once. A worker's memory counts what was loaded, as if it had loaded it itself.
_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(["benchmarks.workers"])


class Projected(NamedTuple):
    """How long the processes took together; the greatest memory of one; the trees' part of the processes' time."""

    seconds: float
    peak_mb: float
    tree_share: float


class _Done(NamedTuple):
    seconds: float
    peak_mb: float
    tree_s: float


def project(bootstrap: str, projector_dsn: str, filled: Filled, *, processes: int) -> Projected:
    """Projects a whole topic into an empty schema."""
    go, results = _processes.Event(), _processes.Queue()
    partitions = sorted(filled.heads)
    shares = [partitions[number::processes] for number in range(processes)]
    ready = [_processes.Event() for _ in shares]
    started: list[BaseProcess] = []
    try:
        for share, is_ready in zip(shares, ready, strict=True):
            until = {p: filled.heads[p] for p in share}
            arguments = (bootstrap, projector_dsn, filled.topic, until, is_ready, go, results)
            started.append(_processes.Process(target=_work, args=arguments, daemon=True))
            started[-1].start()
        for is_ready in ready:
            assert is_ready.wait(_START_S), "a worker process does not start"
        began = time.perf_counter()
        go.set()
        done = [_Done(*_result(results, started)) for _ in shares]
        seconds = time.perf_counter() - began
    finally:
        for process in started:
            process.join(5)
            if process.is_alive():
                process.kill()
                process.join()
    trees = sum(one.tree_s for one in done) / sum(one.seconds for one in done)
    return Projected(seconds, max(one.peak_mb for one in done), trees)


def _result(results: Any, processes: list[BaseProcess]) -> tuple[float, float, float]:
    """The next worker's result; a worker that dies is an error, not a wait."""
    deadline_s = time.monotonic() + _END_S
    while time.monotonic() < deadline_s:
        try:
            return results.get(timeout=0.5)  # type: ignore[no-any-return]
        except Exception as error:
            if type(error).__name__ != "Empty":
                raise
            failed = [process.exitcode for process in processes if process.exitcode]
            assert not failed, f"a worker process ended with {failed[0]}"
    raise TimeoutError("a worker process does not end")


def _work(bootstrap: str, dsn: str, topic: str, until: dict[int, int], is_ready: Any, go: Any, results: Any) -> None:
    """What each process runs."""
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    is_ready.set()
    go.wait()
    started = time.perf_counter()
    settings = worker.Settings(topic=topic)
    halted = worker.run(bootstrap, dsn, partitions=sorted(until), until=until, settings=settings, metrics=metrics)
    seconds = time.perf_counter() - started
    assert not halted, "the workload is readable"
    tree_s = registry.get_sample_value("consent_ledger_tree_seconds_total") or 0.0
    results.put((seconds, peak_mb(), tree_s))


@contextmanager
def following(bootstrap: str, projector_dsn: str, topic: str) -> Iterator[BaseProcess]:
    """A worker process that follows a topic for the while; whoever waits for its views asks whether it lives."""
    is_ready = _processes.Event()
    process = _processes.Process(target=_follow, args=(bootstrap, projector_dsn, topic, is_ready), daemon=True)
    process.start()
    try:
        assert is_ready.wait(_START_S), "a worker process does not start"
        yield process
    finally:
        process.terminate()  # SIGTERM: it stops between two batches
        process.join(30)
        if process.is_alive():
            process.kill()
            process.join()


def _follow(bootstrap: str, dsn: str, topic: str, is_ready: Any) -> None:
    is_ready.set()
    worker.run(bootstrap, dsn, settings=worker.Settings(topic=topic, poll_s=0.05))


def peak_mb() -> float:
    """The most memory (resident set, MB) that this process ever held.

    Not `ru_maxrss` where it can be helped: on Linux a new process inherits its parent's.
    """
    try:
        status = Path("/proc/self/status").read_text("ascii")
    except OSError:
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
    found = re.search(r"VmHWM:\s+([0-9]+) kB", status)
    assert found is not None, "Linux says how much memory a process held"
    return int(found[1]) * 1024 / 1e6

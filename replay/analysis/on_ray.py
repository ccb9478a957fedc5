"""The same function over every partition, on a Ray cluster (extra `ray`): the only place where Ray is imported.

    results = run(partial(of_partition, draft=draft, samples=5), shares, "auto")

Each partition is a task; the function is the one that `partitions.run` gives its processes. The product is installed
on every node. The cluster reads the log itself, so its nodes must reach the broker. A task whose node is lost is tried
again by Ray; progress is told as partitions are finished.
"""

import os
from collections.abc import Sequence
from typing import Any

from ledger.errors import ConfigurationError, ConsentLedgerError, Unavailable
from replay.analysis.partitions import Result, Watch, Work
from replay.analysis.reading import Share

_LOOK_EVERY_S = 0.5


def run(work: Work[Result], shares: Sequence[Share], address: str, progress: Watch | None = None) -> list[Result]:
    """The results in the order of the shares. `address`: `auto`, or host:port of a cluster's head.

    Raises `ConfigurationError` without the extra, `Unavailable` when there is no such cluster or a task is lost, and
    what the function raises.
    """
    ray = _ray()
    try:
        ray.init(address=address, log_to_driver=False, configure_logging=False)
    except (ConnectionError, ValueError, RuntimeError, TimeoutError) as error:
        raise Unavailable(f"no Ray cluster answers at the address of --ray ({type(error).__name__})") from None
    try:
        return _results(ray, work, shares, progress or (lambda _: None))
    finally:
        ray.shutdown()


def _results(ray: Any, work: Work[Result], shares: Sequence[Share], watch: Watch) -> list[Result]:
    task = ray.remote(max_retries=2)(_task)
    waiting = {task.remote(work, share): i for i, share in enumerate(shares)}
    done = [0] * len(shares)
    found: dict[int, Result] = {}
    while len(found) < len(shares):
        ready, _ = ray.wait(list(waiting), timeout=_LOOK_EVERY_S)
        for reference in ready:
            i = waiting.pop(reference)
            found[i] = _result(ray, reference)
            done[i] = shares[i].stop
        watch(done)
    return [found[i] for i in range(len(shares))]


def _task(work: Work[Result], share: Share) -> Result:
    """One partition, wherever Ray runs it."""
    return work(share, lambda _: None)


def _result(ray: Any, reference: Any) -> Any:
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        if isinstance(cause, ConsentLedgerError):
            raise cause from None
        raise RuntimeError(f"a task on the cluster failed: {type(cause).__name__}") from None
    except ray.exceptions.RayError as error:
        raise Unavailable(f"the cluster lost a partition's task ({type(error).__name__}): try again") from None


def _ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError:
        raise ConfigurationError(
            "--ray needs the extra `ray`: install consent-ledger[ray] here and on the cluster's nodes"
        ) from None
    return ray

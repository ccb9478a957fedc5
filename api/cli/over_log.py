"""What `what-if` and `audit --from-log` share: the log's partitions, in worker processes or on a Ray cluster.

    results = over_log(partial(of_partition, draft=draft, samples=5), OverLog(workers=2, until=("3-1041",)), "judging")

Needs CONSENT_LEDGER_KAFKA and no database. Progress says how fast it is and how long it takes: moving on a terminal,
else a line now and then.
"""

import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from api.cli import console
from ledger.log import Position

if TYPE_CHECKING:  # imported where they are used: other commands start without the servers' code
    from replay.analysis.partitions import Result, Work
    from replay.analysis.reading import Part

_SAY_EVERY_S = 5.0
MAX_WORKERS = 64

Workers = Annotated[
    int, typer.Option("--workers", min=1, max=MAX_WORKERS, help="Processes, each with a partition at a time.")
]
Until = Annotated[
    list[str] | None,
    typer.Option(
        "--until", metavar="P-O", help="Read this partition through this record only; once for each partition."
    ),
]
Ray = Annotated[
    str | None,
    typer.Option("--ray", metavar="ADDRESS", help="Spread partitions over this Ray cluster; `auto` finds one."),
]


class OverLog(NamedTuple):
    """How the log is to be read."""

    workers: int = 1
    until: Sequence[str] = ()
    ray: str | None = None


def over_log(work: "Work[Result]", how: OverLog, what: str) -> "list[Result]":
    """Runs the function over every partition; the results in the partitions' order."""
    from api.cli.serve import load_settings
    from replay.analysis import on_ray, partitions, reading

    until = [Position.parse(text) for text in how.until]
    settings = load_settings("kafka")
    shares = reading.shares_of(settings.kafka, settings.topic, until)
    with console.get().counting(what) as counter:
        watch = Watch(counter, what, sum(share.stop for share in shares))
        if how.ray is not None:
            return on_ray.run(work, shares, how.ray, watch.update)
        return partitions.run(work, shares, how.workers, watch.update)


class Watch:
    """How far it is, how fast, and how long it will take."""

    def __init__(self, counter: console.Counter, what: str, total: int) -> None:
        self._counter, self._what, self._total = counter, what, total
        self._began_s = self._said_s = time.monotonic()

    def update(self, done: Sequence[int]) -> None:
        """Called now and then with how many records of each partition have been read."""
        count, now_s = sum(done), time.monotonic()
        said = pace(count, self._total, now_s - self._began_s)
        self._counter.update(count, said)
        if now_s - self._said_s >= _SAY_EVERY_S:
            self._said_s = now_s
            if not self._counter.moving:
                console.get().say(f"{self._what}: {count:,} of {self._total:,} {said}")


def pace(count: int, total: int, spent_s: float) -> str:
    """Rate and time left in words.

    >>> pace(30_000, 90_000, 2.0), pace(0, 90_000, 1.0), pace(1_000, 1_000_000, 1.0)
    ('records, 15,000/s, 4 s left', 'records', 'records, 1,000/s, 17 min left')
    """
    if not count:
        return "records"
    rate = count / max(spent_s, 1e-3)
    left_s = max(0, total - count) / rate
    left = f"{left_s:.0f} s" if left_s < 100 else f"{left_s / 60:.0f} min"
    return f"records, {rate:,.0f}/s, {left} left"


def halted_lines(parts: "Iterable[Part]") -> list[str]:
    """What is said of partitions that could not be read to their end."""
    return [
        f"partition {part.partition} stops at record {part.halted.position} ({part.halted.code}): nothing from there on"
        " is counted"
        for part in parts
        if part.halted is not None
    ]

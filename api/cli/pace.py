"""How fast long work goes and when it will be done: a bar on a terminal, elsewhere a plain line every few seconds.

>>> pace = Pace(started_s=100.0, first=20_000)
>>> pace.line(120_000, 1_000_000, now_s=105.0)
'120,000 of 1,000,000 records, 20,000 a second, 44 s left'
>>> pace.line(1_000_000, 1_000_000, now_s=150.0)
'1,000,000 of 1,000,000 records, 19,600 a second'
"""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from api.cli import console

LINE_EVERY_S = 5.0


@dataclass(frozen=True)
class Pace:
    """When the work began, and how much of it an earlier run had done by then."""

    started_s: float
    first: int

    def line(self, done: int, total: int, now_s: float) -> str:
        """How far it is, the rate since it began, and the time left at that rate."""
        seconds = now_s - self.started_s
        rate = (done - self.first) / seconds if seconds > 0 else 0.0
        text = f"{done:,} of {total:,} records, {rate:,.0f} a second"
        return text if rate <= 0 or done >= total else f"{text}, {left((total - done) / rate)} left"


def left(seconds: float) -> str:
    """A time to wait, in words.

    >>> left(44.1), left(61), left(7_260)
    ('44 s', '1 min', '2 h 1 min')
    """
    if seconds < 60:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


@contextlib.contextmanager
def paced(out: console.Console, what: str) -> Iterator[Callable[[int, int, str], None]]:
    """A function to call often with (done, total, phase); total 0: not known yet. Silent with `--quiet`, `--json`."""
    if out.quiet or out.json:
        yield lambda done, total, phase: None
        return
    with out.counting(what) as counter:
        yield _Shown(out, what, counter, sys.stderr.isatty())


class _Shown:
    def __init__(self, out: console.Console, what: str, counter: console.Counter, moving: bool) -> None:
        self._out, self._what, self._counter, self._moving = out, what, counter, moving
        self._pace: Pace | None = None
        self._phase = ""
        self._said_s = time.monotonic()

    def __call__(self, done: int, total: int, phase: str) -> None:
        now_s = time.monotonic()
        if self._pace is None and total:
            self._pace = Pace(now_s, done)
        counted = phase == "records" and self._pace is not None
        text = self._pace.line(done, total, now_s) if counted and self._pace is not None else phase
        if self._moving:
            note = text.partition(" ")[2] if phase == "records" else text
            self._counter.update(done, note, total or None)
        elif text and (phase != self._phase or now_s - self._said_s >= LINE_EVERY_S):
            self._out.say(f"{self._what}: {text}")
            self._said_s = now_s
        self._phase = phase

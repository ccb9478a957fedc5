"""Measures the pure judge: verdicts a second on one core, fold included, by how much history a resident has.

Beside it a loop of plain Python (`calibration_s`): a machine on which its turns are few is slow, whatever the code, and
how many turns a verdict costs says how slow the code is, whatever the machine. Both are one thread without I/O, so the
clock is the process's own processor time: what others do on the machine does not count.
"""

import time
from collections.abc import Iterator

from benchmarks import workload
from benchmarks.report import Figure, Target, alone, beside
from benchmarks.stage import Stage, residents
from ledger.events import Event
from ledger.garbage import calm_collector
from ledger.history import PartitionHistory

SIZES = (10, 100, 1_000, 10_000)
TURNS = 1_000_000
_WORDS = ("email", "photo", "precise-location", "request-content", "phone")


def measure(stage: Stage) -> Iterator[Figure]:
    """Verdicts a second over many residents; microseconds a verdict by events a resident; the plain loop."""
    events = stage.plan.judged
    many = list(workload.city(residents(events), events))
    sizes = {size: list(workload.city(events // size, events)) for size in SIZES if size <= events}
    rates: list[float] = []
    turns: list[float] = []
    costs: dict[int, list[float]] = {size: [] for size in sizes}
    for _ in stage.rounds():
        turns.append(TURNS / calibration_s(TURNS))
        rates.append(1 / _cost_s(many))
        for size, of_size in sizes.items():
            costs[size].append(_cost_s(of_size))
    yield alone("plain Python loop", turns, "turns/s", note="how fast this machine's core is; benchmarks.judging")
    yield alone("judge, all rules, fold included, one core", rates, "verdicts/s", Target(low=50_000))
    in_turns = [turn / rate for turn, rate in zip(turns, rates, strict=True)]
    yield alone("a verdict, in turns of the plain loop", in_turns, "turns", note="the same on a slow machine")
    us = {size: [cost * 1e6 for cost in found] for size, found in costs.items()}
    for size, found in us.items():
        flat = None if size == 100 else Target(low=0.8, high=1.2)
        yield beside(f"verdict at {size:,} events a resident", found, "us", "100 events a resident", us[100], flat)


def calibration_s(turns: int) -> float:
    """Seconds for so many turns of a loop that does what the judge is made of: look up, count, compare, build."""
    seen: dict[int, tuple[str, int]] = {}
    total = 0
    with calm_collector():
        started = time.process_time()
        for i in range(turns):
            word = _WORDS[i % 5]
            held = seen.get(i & 1023)
            if held is None or held[1] < i:
                seen[i & 1023] = (word, i)
            total += len(word)
        seconds = time.process_time() - started
    assert total, "the loop ran"
    return seconds


def _cost_s(events: list[Event]) -> float:
    """Seconds a verdict."""
    history, verdicts = PartitionHistory(), 0
    with calm_collector():
        started = time.process_time()
        for offset, event in enumerate(events):
            verdicts += len(history.apply(offset, event))
        return (time.process_time() - started) / verdicts

"""Measures the pure judge: verdicts a second on one core, fold included, by how much history a resident has."""

import time

from benchmarks import workload
from benchmarks.report import Figure, middle
from ledger.events import Event
from ledger.history import PartitionHistory

SIZES = (10, 100, 1_000, 10_000)
COMMON_LOOP_S = 0.07
"""What `_loop_s` takes on a common machine: a slow or busy one is told apart from a slow judge."""


def measure(events: int, rounds: int) -> list[Figure]:
    """Verdicts a second over `events` events of many residents; microseconds a verdict by events a resident."""
    many = list(workload.city(residents=max(10, events // 50), events=events))
    rates, loops, costs = [], [], {size: list[float]() for size in SIZES}
    for _ in range(rounds):
        loops.append(_loop_s())
        rates.append(1 / _cost_s(many))
        for size in SIZES:
            residents = max(1, 10_000 // size)
            costs[size].append(_cost_s(list(workload.city(residents, residents * size + 2))))
    slower = middle(loops) / COMMON_LOOP_S
    figures = [
        Figure.alone("judge, fold included", middle(rates), "verdicts/s"),
        Figure.alone("judge, by a plain loop's speed, as on a common machine", middle(rates) * slower, "verdicts/s"),
    ]
    base = middle(costs[SIZES[1]])
    for size in SIZES:
        cost = middle(costs[size])
        name = f"judge, {size:,} events a resident"
        figures.append(Figure.against_limit(name, cost * 1e6, "us/verdict", "100 events a resident", base * 1e6))
    return figures


def _cost_s(events: list[Event]) -> float:
    history, verdicts = PartitionHistory(), 0
    started = time.perf_counter()
    for offset, event in enumerate(events):
        verdicts += len(history.apply(offset, event))
    return (time.perf_counter() - started) / max(1, verdicts)


def _loop_s() -> float:
    """What a million rounds of a plain loop take: 0.07 s on a common machine, idle."""
    total, started = 0, time.perf_counter()
    for i in range(1_000_000):
        total += i * i
    return time.perf_counter() - started

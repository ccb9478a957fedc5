"""Measures the pure judge: verdicts a second on one core, fold included, by how much history a resident has."""

import time

from benchmarks import workload
from benchmarks.report import Figure, middle
from ledger.events import Event
from ledger.history import PartitionHistory

SIZES = (10, 100, 1_000, 10_000)


def measure(events: int, rounds: int) -> list[Figure]:
    """Verdicts a second over `events` events of many residents; microseconds a verdict by events a resident."""
    many = list(workload.city(residents=max(10, events // 50), events=events))
    rates, costs = [], {size: list[float]() for size in SIZES}
    for _ in range(rounds):
        rates.append(1 / _cost_s([many]))
        for size in SIZES:
            copies = max(1, 5_000 // size)
            costs[size].append(_cost_s([list(workload.city(1, size + 2, seed)) for seed in range(copies)]))
    figures = [Figure.alone("judge, fold included", middle(rates), "verdicts/s")]
    base = middle(costs[SIZES[1]])
    for size in SIZES:
        cost = middle(costs[size])
        name = f"judge, {size:,} events a resident"
        figures.append(Figure.against_limit(name, cost * 1e6, "us/verdict", "100 events a resident", base * 1e6))
    return figures


def _cost_s(histories: list[list[Event]]) -> float:
    verdicts, spent = 0, 0.0
    for events in histories:
        history = PartitionHistory()
        started = time.perf_counter()
        for offset, event in enumerate(events):
            verdicts += len(history.apply(offset, event))
        spent += time.perf_counter() - started
    return spent / max(1, verdicts)

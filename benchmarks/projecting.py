"""Measures the projection: all views and verdicts from a full topic, beside a bare poll loop over the same topic."""

import time

import psycopg

from benchmarks.report import Figure, middle
from benchmarks.servers import Servers
from ledger.kafka.reader import Reader
from projections import worker


def measure(here: Servers, topic: str, records: int, rounds: int) -> tuple[list[Figure], str]:
    """Records a second: polled only, and projected by one process into an empty database.

    Returns the figures, and the reader's connection string of the last database, which holds the views.
    """
    polled, projected = [], []
    reader_dsn = ""
    for _ in range(rounds):
        polled.append(records / _poll_s(here, topic))
        seconds, reader_dsn = _project_s(here, topic)
        projected.append(records / seconds)
    limit = middle(polled)
    name = "projection, all views, one process"
    figures = [
        Figure.alone("bare poll loop", limit, "records/s"),
        Figure.against_limit(name, middle(projected), "records/s", "bare poll loop", limit, at_least=0.22),
    ]
    return figures, reader_dsn


def _poll_s(here: Servers, topic: str) -> float:
    with Reader(here.bootstrap, topic) as reader:
        heads = reader.heads()
        reader.assign(dict.fromkeys(heads, 0))
        left = sum(heads.values())
        started = time.perf_counter()
        while left:
            left -= sum(len(records) for records in reader.poll().values())
        return time.perf_counter() - started


def _project_s(here: Servers, topic: str) -> tuple[float, str]:
    dsns = here.new_database()
    with Reader(here.bootstrap, topic) as reader:
        heads = reader.heads()
    started = time.perf_counter()
    halted = worker.run(here.bootstrap, dsns.projector, until=heads, settings=worker.Settings(topic=topic))
    seconds = time.perf_counter() - started
    assert not halted, "the workload is readable"
    with psycopg.connect(dsns.owner, autocommit=True) as connection:
        connection.execute("ANALYZE")
    return seconds, dsns.reader

"""Measures the way in: the raw producer, the record path in process, and batches and single posts over HTTP.

All append the same events to topics with the same settings, with the same client settings. The raw producer gets
finished bytes; the record path seals, looks for repeats, stamps, encodes, appends and signs receipts; HTTP adds
tokens and the door's checks, in a server process of its own. The load generator's own cost is measured beside.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

import msgspec
import orjson
import uvloop

from api.http.runtime import Runtime
from benchmarks import workload
from benchmarks.door import Door, door, place, recording
from benchmarks.load import Sent, request, send
from benchmarks.report import Figure, Target, alone, beside
from benchmarks.stage import Stage, residents
from benchmarks.stats import quantile
from benchmarks.topic import fill
from ledger import codec
from ledger import events as e
from ledger.authority import Principal
from ledger.garbage import calm_collector

BATCH = 1_000
BODIES_AT_ONCE = 4
CONNECTIONS = 32
BULK_LINGER_MS, SINGLE_LINGER_MS = 5, 2
"""The raw producer's, and the product's default."""


def measure(stage: Stage) -> Iterator[Figure]:
    """Events a second by each way in; the 99th percentile of single posts beside a no-op's."""
    yield from _bulk(stage)
    yield from _single_posts(stage)


def _bulk(stage: Stage) -> Iterator[Figure]:
    here, count = stage.here, stage.plan.emitted
    raw: list[float] = []
    direct: list[float] = []
    http: list[float] = []
    busy: list[float] = []
    topic = here.new_topic()
    with tempfile.TemporaryDirectory() as folder:
        where = place(here, Path(folder), BULK_LINGER_MS)
        with recording(where) as runtime, door(here, BULK_LINGER_MS) as opened:
            for number in stage.rounds():
                city = list(workload.city(residents(count), count, number, f"r{number}"))
                facts = [event for event in city if not event.reference]
                records = [(str(event.subject), codec.encode(event)) for event in workload.stamped(iter(facts))]
                bodies = _bodies(facts)
                with calm_collector():
                    raw.append(len(facts) / fill(here.bootstrap, topic, records).seconds)
                    direct.append(len(facts) / _record_s(runtime, facts))
                    sent = _post(opened, bodies, "application/cloudevents-batch+json", BODIES_AT_ONCE)
                http.append(len(facts) / sent.seconds)
                busy.append(sent.cpu_s / sent.seconds)
    yield alone("raw kafka-python producer", raw, "records/s", note="same bytes, topic and client settings, crc32c")
    yield beside("record path in process", direct, "events/s", "raw producer", raw, Target(low=0.75))
    yield beside(
        "bulk emit over HTTP", http, "events/s", "raw producer", raw, Target(low=0.6), "batches of 1,000, 4 at a time"
    )
    yield alone("load generator, of one core, bulk", busy, "share")


def _bodies(facts: list[e.Event]) -> list[bytes]:
    spelled = [msgspec.to_builtins(event) for event in facts]
    return [orjson.dumps(spelled[at : at + BATCH]) for at in range(0, len(spelled), BATCH)]


def _record_s(runtime: Runtime, events: list[e.Event]) -> float:
    """Parsed events to acknowledged, with receipts, one batch after the other without waiting."""
    caller = Principal("bench", {e.EVENTS_WRITE: ("*",)})
    started = perf_counter()
    answers = [runtime.recorder.submit(events[at : at + BATCH], caller) for at in range(0, len(events), BATCH)]
    for answer in answers:
        assert answer.result().receipt is not None
    return perf_counter() - started


def _post(opened: Door, bodies: list[bytes], media_type: str, at_once: int, path: str = "/v1/events") -> Sent:
    headers = {"authorization": f"Bearer {opened.token}", "content-type": media_type}
    requests = [request("POST", path, body, headers) for body in bodies]
    sent = uvloop.run(send("127.0.0.1", opened.port, requests, at_once))
    assert set(sent.statuses) <= {200, 201}, f"the door refused: {sent.statuses}"
    return sent


def _single_posts(stage: Stage) -> Iterator[Figure]:
    count = stage.plan.single_posts
    no_op: list[float] = []
    posts: list[float] = []
    rates: list[float] = []
    busy: list[float] = []
    with door(stage.here, SINGLE_LINGER_MS) as opened:
        for number in stage.rounds():
            city = workload.city(residents(count), count + 2, number, f"s{number}")
            bodies = [codec.encode(event) for event in city if not event.reference]
            with calm_collector():
                nothing = _post(opened, bodies, "application/cloudevents+json", CONNECTIONS, "/noop")
                sent = _post(opened, bodies, "application/cloudevents+json", CONNECTIONS)
            no_op.append(quantile(nothing.latencies_s, 0.99) * 1_000)
            posts.append(quantile(sent.latencies_s, 0.99) * 1_000)
            rates.append(count / sent.seconds)
            busy.append(sent.cpu_s / sent.seconds)
    yield alone("no-op endpoint, 32 connections, p99", no_op, "ms", note="same server, middleware and bodies")
    yield beside("single post, 32 connections, p99", posts, "ms", "no-op, p99", no_op, Target(high=4, strict=True))
    yield alone("single posts, 32 connections", rates, "events/s")
    yield alone("load generator, of one core, single posts", busy, "share")

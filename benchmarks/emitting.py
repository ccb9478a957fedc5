"""Measures the way in: the raw producer, the record path in process, and batches and single posts over HTTP.

All append the same events to topics with the same settings, with the same client settings. The raw producer gets
finished bytes; the record path seals, looks for repeats, stamps, encodes, appends and signs receipts; HTTP adds
tokens and the door's checks, in a server process of its own.
"""

import asyncio
import multiprocessing
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.synchronize import Event as Flag
from pathlib import Path
from typing import Any

import httpx
import msgspec
import orjson
import uvicorn
import uvloop
from kafka import KafkaProducer
from pydantic import SecretStr

from api.http.app import create_app, server_config
from api.http.runtime import opened, parts
from api.issuer import AUDIENCE, ISSUER, Issuer
from api.settings import Settings
from benchmarks import workload
from benchmarks.report import Figure, middle
from benchmarks.servers import PARTITIONS, Servers
from ledger import codec
from ledger import events as e
from ledger.authority import Principal
from ledger.kafka import settings as kafka_settings
from ledger.kafka.log import partition_of
from ledger.tree.note import Signer
from ledger.vault import store
from ledger.vault.keys import KeyEncryptionKey

BATCH = 1_000
NAME = "bench.example"
CONNECTIONS = 32


def measure(here: Servers, events: int, residents: int, singles: int, rounds: int) -> tuple[list[Figure], str]:
    """Events a second by each way in. Returns the figures and a topic that holds the whole workload."""
    city = list(workload.city(residents, events))
    records = [(event.subject, codec.encode(event)) for event in workload.stamped(iter(city))]
    facts = [event for event in city if not event.reference]
    raw, direct, over_http = [], [], []
    for _ in range(rounds):
        topic = here.new_topic()
        raw.append(len(records) / _produce_s(here, topic, records))
        direct.append(len(facts) / _record_s(here, facts))
        over_http.append(len(facts) / _post_batches_s(here, facts))
    limit = middle(raw)
    ways = (("record path, in process", direct, 0.75), ("HTTP, batches of 1,000", over_http, 0.6))
    figures = [Figure.alone("raw producer", limit, "records/s")]
    for name, rates, target in ways:
        figure = Figure.against_limit(name, middle(rates), "events/s", "raw producer", limit, at_least=target)
        figures.append(figure)
    return [*figures, *_single_posts(here, facts[:singles])], topic


def _produce_s(here: Servers, topic: str, records: list[tuple[Any, bytes]]) -> float:
    producer = KafkaProducer(**kafka_settings.producer(here.bootstrap))
    try:
        started = time.perf_counter()
        futures = []
        for subject, value in records:
            if isinstance(subject, str):
                key, places = subject.encode(), [partition_of(subject, PARTITIONS)]
            else:
                key, places = None, list(range(PARTITIONS))
            futures += [producer.send(topic, key=key, value=value, partition=place) for place in places]
        for future in futures:
            future.get(timeout=60)
        return time.perf_counter() - started
    finally:
        producer.close()


def _settings(here: Servers, folder: Path) -> Settings:
    superuser = here.new_superuser_dsn()
    dsns = here.prepare(superuser)
    return Settings(
        ledger_name=NAME,
        kafka=here.bootstrap,
        topic=here.new_topic(),
        database=dsns.reader,
        vault_database=store.install(superuser, "bench"),
        vault_key=SecretStr(KeyEncryptionKey(bytes(range(64))).text),
        receipts_key=SecretStr(Signer.from_seed(f"{NAME}/receipts", bytes(32)).secret),
        issuer=ISSUER,
        audience=AUDIENCE,
        jwks_file=Issuer(folder).jwks_file,
        linger_ms=5,
        log_level="error",
        queue_events=1_000_000,
        client_events=1_000_000,
        tail_records=2_000_000,
    )


def _record_s(here: Servers, events: list[e.Event]) -> float:
    """Parsed events to acknowledged, with receipts, one batch after the other without waiting."""
    caller = Principal("bench", {e.EVENTS_WRITE: ("*",)})
    with tempfile.TemporaryDirectory() as folder, parts(_settings(here, Path(folder))) as runtime:
        while runtime.recorder.status().problem is not None:
            time.sleep(0.01)
        started = time.perf_counter()
        answers = [runtime.recorder.submit(events[at : at + BATCH], caller) for at in range(0, len(events), BATCH)]
        for answer in answers:
            assert answer.result().receipt is not None
        return time.perf_counter() - started


def _serve(settings: Settings, port: Any, stop: Flag) -> None:
    app = create_app(lambda: opened(settings), ())
    server = uvicorn.Server(server_config(app, "127.0.0.1", 0, log_level="error"))

    async def run() -> None:
        serving = asyncio.create_task(server.serve())
        while not server.started or app.state.runtime.recorder.status().problem is not None:
            await asyncio.sleep(0.02)
        port.put(server.servers[0].sockets[0].getsockname()[1])
        while not stop.is_set():
            await asyncio.sleep(0.1)
        server.should_exit = True
        await serving

    uvloop.run(run())


@contextmanager
def _door(here: Servers) -> Iterator[tuple[str, str]]:
    """A server process: its address and a service's token."""
    with tempfile.TemporaryDirectory() as folder:
        settings = _settings(here, Path(folder))
        token = Issuer(Path(folder)).service("bench")
        spawn = multiprocessing.get_context("spawn")
        port, stop = spawn.Queue(), spawn.Event()
        process = spawn.Process(target=_serve, args=(settings, port, stop))
        process.start()
        try:
            yield f"http://127.0.0.1:{port.get(timeout=60)}", token
        finally:
            stop.set()
            process.join(60)


def _post_batches_s(here: Servers, events: list[e.Event]) -> float:
    """Bodies of 1,000 events, four under way at a time."""
    spelled = [msgspec.to_builtins(event) for event in events]
    bodies = [orjson.dumps(spelled[at : at + BATCH]) for at in range(0, len(spelled), BATCH)]
    with _door(here) as (url, token):
        return asyncio.run(_post(url, token, bodies, "application/cloudevents-batch+json", 4))[0]


async def _post(url: str, token: str, bodies: list[bytes], media_type: str, at_once: int) -> tuple[float, list[float]]:
    headers = {"authorization": f"Bearer {token}", "content-type": media_type}
    waiting = list(reversed(bodies))
    latencies: list[float] = []
    async with httpx.AsyncClient(
        timeout=120, limits=httpx.Limits(max_connections=at_once, max_keepalive_connections=at_once)
    ) as client:

        async def one_after_the_other() -> None:
            while waiting:
                body = waiting.pop()
                started = time.perf_counter()
                response = await client.post(f"{url}/v1/events", content=body, headers=headers)
                latencies.append(time.perf_counter() - started)
                assert response.status_code in (200, 201), response.status_code

        await client.get(f"{url}/livez")
        started = time.perf_counter()
        await asyncio.gather(*(one_after_the_other() for _ in range(at_once)))
        return time.perf_counter() - started, latencies


async def _get(url: str, count: int, at_once: int) -> list[float]:
    latencies: list[float] = []
    async with httpx.AsyncClient(
        timeout=60, limits=httpx.Limits(max_connections=at_once, max_keepalive_connections=at_once)
    ) as client:

        async def one_after_the_other() -> None:
            while len(latencies) < count:
                started = time.perf_counter()
                await client.get(f"{url}/livez")
                latencies.append(time.perf_counter() - started)

        await asyncio.gather(*(one_after_the_other() for _ in range(at_once)))
    return latencies


def _single_posts(here: Servers, events: list[e.Event]) -> list[Figure]:
    bodies = [codec.encode(event) for event in events]
    with _door(here) as (url, token):
        no_op = asyncio.run(_get(url, len(bodies), CONNECTIONS))
        seconds, latencies = asyncio.run(_post(url, token, bodies, "application/cloudevents+json", CONNECTIONS))
    limit = _p99(no_op) * 1_000
    return [
        Figure.alone("single posts, 32 connections", len(bodies) / seconds, "events/s"),
        Figure.alone("no-op endpoint, p99", limit, "ms"),
        Figure.against_limit("single post, p99", _p99(latencies) * 1_000, "ms", "no-op, p99", limit, at_most=4),
    ]


def _p99(latencies: list[float]) -> float:
    return sorted(latencies)[int(len(latencies) * 0.99)]

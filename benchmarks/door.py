"""The ledger's door in a process of its own, with the product's own server settings, and a no-op endpoint beside it.

    with door(stage.here, linger_ms=2) as opened:
        opened.port, opened.token

`POST /noop` goes through the same server, framework and middleware, reads the body and answers 201: what is left is
what the ledger itself costs. `recording` is the same record path without HTTP, in this process.
"""

import asyncio
import logging
import multiprocessing
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import uvicorn
import uvloop
from fastapi import APIRouter
from pydantic import SecretStr
from starlette.requests import Request
from starlette.responses import Response

from api.http.app import configure_logging, create_app, server_config
from api.http.runtime import Runtime, opened, parts
from api.issuer import AUDIENCE, ISSUER, Issuer
from api.settings import Settings
from benchmarks.servers import Servers
from ledger.tree.note import Signer
from ledger.vault import store
from ledger.vault.keys import KeyEncryptionKey

NAME = "bench.example"
_START_S = 120.0
noop = APIRouter()


@noop.post("/noop")
async def do_nothing(request: Request) -> Response:
    """Reads the body and answers, as the cheapest door would."""
    await request.body()
    return Response(b'{"recorded":true}', 201, media_type="application/json")


class Door(NamedTuple):
    """Where the door is, a service's token, and the topic that it records to."""

    port: int
    token: str
    topic: str


class Place(NamedTuple):
    """Where a ledger is: the settings for its parts, its views, and its issuer's folder."""

    settings: Settings
    projector_dsn: str
    reader_dsn: str


def place(here: Servers, folder: Path, linger_ms: int, topic: str | None = None, dsn: str | None = None) -> Place:
    """A ledger of its own: a topic and a database with views and vault, unless they are given."""
    superuser = here.new_superuser_dsn() if dsn is None else here.superuser_of(dsn)
    dsns = here.prepare(superuser)
    settings = Settings(
        ledger_name=NAME,
        kafka=here.bootstrap,
        topic=topic or here.new_topic(),
        database=dsns.reader,
        vault_database=store.install(superuser, here.password),
        vault_key=SecretStr(KeyEncryptionKey(bytes(range(64))).text),
        receipts_key=SecretStr(Signer.from_seed(f"{NAME}/receipts", bytes(32)).secret),
        issuer=ISSUER,
        audience=AUDIENCE,
        jwks_file=Issuer(folder).jwks_file,
        linger_ms=linger_ms,
        log_level="error",
        # All is handed over at once and no worker follows, so that only the way in is measured.
        queue_events=1_000_000,
        client_events=1_000_000,
        tail_records=5_000_000,
    )
    return Place(settings, dsns.projector, dsns.reader)


@contextmanager
def recording(where: Place) -> Iterator[Runtime]:
    """The ledger's parts in this process, ready to record."""
    with parts(where.settings) as runtime:
        deadline_s = time.monotonic() + _START_S
        while runtime.recorder.status().problem is not None:
            assert time.monotonic() < deadline_s, "the recorder does not open"
            time.sleep(0.01)
        yield runtime


@contextmanager
def door(here: Servers, linger_ms: int) -> Iterator[Door]:
    """A server process."""
    with tempfile.TemporaryDirectory() as folder:
        settings = place(here, Path(folder), linger_ms).settings
        token = Issuer(Path(folder)).service("bench")
        spawn = multiprocessing.get_context("spawn")
        port, stop = spawn.Queue(), spawn.Event()
        process = spawn.Process(target=_serve, args=(settings, port, stop), daemon=True)
        process.start()
        try:
            yield Door(port.get(timeout=_START_S), token, settings.topic)
        finally:
            stop.set()
            process.join(60)
            if process.is_alive():
                process.kill()
                process.join()


def _serve(settings: Settings, port: Any, stop: Any) -> None:
    configure_logging(settings.log_level)
    logging.getLogger("kafka").setLevel(logging.ERROR)  # it warns of a machine that is busy: here it is
    app = create_app(lambda: opened(settings), (noop,))
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

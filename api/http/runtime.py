"""What the handlers share: the settings, the log, the recorder, the views, the trees, the vault, the tokens' verifier.

    async with opened(Settings()) as runtime:
        app = create_app(runtime)

Handlers reach it by `runtime_of(request)`, and who calls by `await principal_of(request)`.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass

from starlette.requests import Request

from api.auth import JwksFile, JwksSource, JwksUrl, TokenVerifier
from api.settings import Settings
from ledger.authority import Principal
from ledger.erasing.eraser import Eraser
from ledger.erasing.erasures import ErasuresInLog
from ledger.errors import ConfigurationError, LogDiffers
from ledger.garbage import calm_collector
from ledger.kafka.log import KafkaLog
from ledger.recording.record import Clock
from ledger.recording.recorder import Limits, Recorder
from ledger.tree.note import Verifier
from ledger.vault.erasures import Erasures
from ledger.vault.logins import LoginMap
from ledger.vault.store import VaultStore
from projections.index import AdvisoryLock, PostgresIndex
from projections.start_check import StartCheck
from projections.tlog import Trees

_logger = logging.getLogger("consent_ledger.start")
_TREE_CONNECTIONS = 4


@dataclass(frozen=True, slots=True)
class Runtime:
    """The parts that are open while the API serves."""

    settings: Settings
    log: KafkaLog
    index: PostgresIndex
    vault: VaultStore
    recorder: Recorder
    tokens: TokenVerifier
    receipts_verifier: Verifier
    trees: Trees
    logins: LoginMap
    erasures: Erasures
    eraser: Eraser
    clock: Clock


def wall_clock() -> int:
    """The ledger's clock: whole microseconds since 1970 UTC."""
    return time.time_ns() // 1_000


@contextmanager
def parts(settings: Settings, clock: Clock = wall_clock) -> Iterator[Runtime]:
    """Opens every part and the recorder; closes them in the other order, after what waits was recorded."""
    with ExitStack() as stack:
        signer = settings.receipts_signer()
        wrapper = settings.key_wrapper()
        tokens = token_verifier(settings)
        log = stack.enter_context(
            KafkaLog(settings.kafka, settings.topic, linger_ms=settings.linger_ms, deadline_s=settings.deadline_s)
        )
        index = PostgresIndex(settings.database)
        stack.callback(index.close)
        in_log = ErasuresInLog(log, index, settings.tail_records)
        vault = VaultStore(settings.vault_database, wrapper, guard=in_log)
        stack.callback(vault.close)
        trees = Trees(settings.database, pool_size=_TREE_CONNECTIONS)
        stack.callback(trees.close)
        limits = Limits(
            queue_events=settings.queue_events,
            client_events=settings.client_events,
            tail_records=settings.tail_records,
        )
        lock = AdvisoryLock(settings.database)
        comparison = start_check(settings)

        def check(stopping: Callable[[], bool]) -> Sequence[LogDiffers]:
            return [] if comparison is None else list(comparison(range(log.partitions), stopping).values())

        recorder = Recorder(log, index, vault, lock, clock=clock, signer=signer, check=check, limits=limits)
        logins, erasures = LoginMap(vault.database, wrapper, in_log), Erasures(vault.database)
        eraser = Eraser(erasures, in_log, recorder.submit, clock)
        # What cannot be undone rests on a log that was compared with its checkpoints.
        stack.enter_context(calm_collector())
        recorder.start(then=eraser.start)
        stack.callback(recorder.stop)
        stack.callback(eraser.stop)
        yield Runtime(
            settings, log, index, vault, recorder, tokens, signer.verifier, trees, logins, erasures, eraser, clock
        )


@asynccontextmanager
async def opened(settings: Settings, clock: Clock = wall_clock) -> AsyncIterator[Runtime]:
    """`parts` without holding up the event loop."""
    manager = parts(settings, clock)
    runtime = await asyncio.to_thread(manager.__enter__)
    try:
        yield runtime
    finally:
        await asyncio.to_thread(manager.__exit__, None, None, None)


def start_check(settings: Settings) -> StartCheck | None:
    """What compares the log with its checkpoints at the start; None where no key of checkpoints is trusted."""
    verifiers = settings.checkpoint_verifiers()
    if not verifiers:
        _logger.warning("the log is compared with no checkpoint: CONSENT_LEDGER_CHECKPOINT_VKEYS names no key")
        return None
    tail = settings.start_check == "tail"
    return StartCheck(
        settings.kafka,
        verifiers,
        settings.database,
        topic=settings.topic,
        checkpoints=settings.checkpoints_topic,
        tail=tail,
    )


def token_verifier(settings: Settings) -> TokenVerifier:
    """The verifier of the issuer that the settings name."""
    if bool(settings.jwks_url) == (settings.jwks_file is not None):
        raise ConfigurationError("set one of CONSENT_LEDGER_JWKS_URL and CONSENT_LEDGER_JWKS_FILE")
    source: JwksSource = JwksFile(settings.jwks_file) if settings.jwks_file else JwksUrl(settings.jwks_url)
    return TokenVerifier(
        issuer=settings.issuer, audience=settings.audience, source=source, algorithms=settings.token_algorithms
    )


def runtime_of(request: Request) -> Runtime:
    """The runtime of the application that serves this request."""
    runtime = request.app.state.runtime
    assert isinstance(runtime, Runtime), "the application is served without its runtime"
    return runtime


async def principal_of(request: Request) -> Principal:
    """Who calls; raises `Unauthenticated` or `BadToken`."""
    return await runtime_of(request).tokens.principal(request.headers.get("authorization"))

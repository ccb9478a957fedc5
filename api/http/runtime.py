"""What the handlers share: the settings, the log, the recorder, the views, the trees, the vault, the tokens' verifier.

    async with opened(Settings()) as runtime:
        app = create_app(runtime)

Handlers reach it by `runtime_of(request)`, and who calls by `await principal_of(request)`.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass

from starlette.requests import Request

from api.auth import JwksFile, JwksSource, JwksUrl, TokenVerifier
from api.provider import Provider
from api.recording import recording, wall_clock
from api.settings import Settings
from ledger.authority import Principal
from ledger.erasing.eraser import Eraser
from ledger.erasing.erasures import ErasuresInLog
from ledger.errors import ConfigurationError
from ledger.garbage import calm_collector
from ledger.kafka.log import KafkaLog
from ledger.recording.record import Clock
from ledger.recording.recorder import Recorder
from ledger.tree.note import Verifier
from ledger.vault.erasures import Erasures
from ledger.vault.logins import LoginMap
from ledger.vault.sessions import Sessions
from ledger.vault.store import VaultStore
from projections.index import PostgresIndex
from projections.tlog import Trees

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
    sessions: Sessions
    providers: dict[str, Provider]
    clock: Clock


@contextmanager
def parts(settings: Settings, clock: Clock = wall_clock) -> Iterator[Runtime]:
    """Opens every part and the recorder; closes them in the other order, after what waits was recorded."""
    with ExitStack() as stack:
        signer = settings.receipts_signer()
        wrapper = settings.key_wrapper()
        tokens = token_verifier(settings)
        providers = sign_in_providers(settings)
        opened: list[tuple[ErasuresInLog, VaultStore]] = []

        def vault_of(log: KafkaLog, index: PostgresIndex, closing: ExitStack) -> VaultStore:
            in_log = ErasuresInLog(log, index, settings.tail_records)
            vault = VaultStore(settings.vault_database, wrapper, guard=in_log)
            closing.callback(vault.close)
            opened.append((in_log, vault))
            return vault

        recorded = stack.enter_context(recording(settings, clock, vault_of, signer))
        log, index, recorder = recorded.log, recorded.index, recorded.recorder
        [(in_log, vault)] = opened
        trees = Trees(settings.database, pool_size=_TREE_CONNECTIONS)
        stack.callback(trees.close)
        logins, erasures = LoginMap(vault.database, wrapper, in_log), Erasures(vault.database)
        eraser = Eraser(erasures, in_log, recorder.submit, clock)
        # What cannot be undone rests on a log that was compared with its checkpoints.
        stack.enter_context(calm_collector())
        recorder.start(then=eraser.start)
        stack.callback(recorder.stop)  # before what it does not own is closed; a second time does nothing
        stack.callback(eraser.stop)
        yield Runtime(
            settings,
            log,
            index,
            vault,
            recorder,
            tokens,
            signer.verifier,
            trees,
            logins,
            erasures,
            eraser,
            Sessions(vault.database),
            providers,
            clock,
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


def sign_in_providers(settings: Settings) -> dict[str, Provider]:
    """Whom people sign in with, by who they are."""
    way_back = settings.public_url.rstrip("/") + "/sign-in/back"
    return {who: Provider(known, way_back) for who, known in settings.sign_in_providers().items()}


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
    """Who calls; raises `Unauthenticated` or `BadToken`.

    On a page it is who is signed in: `api.pages.visitor` has said so, and nothing but a page does.
    """
    known = getattr(request.state, "principal", None)
    if known is not None:
        assert isinstance(known, Principal)
        return known
    return await runtime_of(request).tokens.principal(request.headers.get("authorization"))

"""The whole product on this machine: broker, database, tables, keys, issuer, API, worker, intake, signer; one folder.

    with opened(Path("data"), port=None, say=print) as stack:
        stack.url, stack.tokens()
        stack.wait_for_views()
        stack.check()               # raises LocalServerError when a part has ended by itself

`dev`, `demo` and the tests stand on it. Everything is stopped on the way out, Ctrl-C and SIGTERM included; a guard
(`api.cli.guard`) does so when this process is killed. The data directory holds all there is, so that a next start goes
on where this one ended, with the same ports while they are free. For development only: secrets lie beside the data.
"""

import contextlib
import fcntl
import os
import secrets
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import orjson
import psutil

from api import issuer
from api.cli import provision
from api.cli.children import Children
from api.cli.guard import Guard
from api.issuer import Issuer
from api.settings import Settings, secret_file
from ledger.authority import ANY_SOURCE
from ledger.errors import LocalServerError
from ledger.events import EVENTS_WRITE, RULES_WRITE
from ledger.kafka import process
from ledger.kafka.local import ADDRESS_VARIABLE as KAFKA_VARIABLE
from ledger.kafka.local import local_kafka
from ledger.recording.receipts import KEY_NAME_SUFFIX
from ledger.tree.note import Signer
from ledger.vault.keys import KeyEncryptionKey
from projections.local import ADDRESS_VARIABLE as DATABASE_VARIABLE
from projections.local import local_postgres

LEDGER_NAME = "consent-ledger.local"
INTAKE_CLIENT = "dev-intake"
DEFAULT_PORT = 8080
READY_S = 60.0
VIEWS_S = 120.0
CHECKPOINTS_S = 30.0
_LOCK_WAIT_S = 60.0
# Each process gets the keys and passwords of its own work: as in production, where they are on hosts of their own.
_OF_THE_SIGNER = ("signer_database", "checkpoint_key_file")
_OF_THE_VAULT = ("vault_database", "vault_key_file")
_SIGNER_KNOWS = (
    *_OF_THE_SIGNER,
    "ledger_name",
    "kafka",
    "checkpoints_topic",
    "checkpoint_vkeys",
    "checkpoint_every_s",
    "log_level",
)
Say = Callable[[str], None]


@dataclass
class Stack:
    """The running product: where its parts are, and who may ask them."""

    folder: Path
    url: str
    kafka: str
    database: str
    settings: Settings
    issuer: Issuer
    children: Children
    subjects: Sequence[str]
    owner_dsn: str
    servers: dict[str, psutil.Process] = field(default_factory=dict)

    @property
    def config(self) -> Path:
        """A file with the settings of this ledger, for `CONSENT_LEDGER_CONFIG`."""
        return self.folder / "consent-ledger.env"

    def tokens(self) -> dict[str, Any]:
        """A token for each role; the service's has both write scopes for every source."""
        return {
            "service": self.issuer.service("dev-service"),
            "auditor": self.issuer.auditor(),
            "operator": self.issuer.operator(),
            "second_operator": self.issuer.operator("operator-2"),
            "residents": {subject: self.issuer.resident(subject) for subject in self.subjects},
        }

    def check(self) -> None:
        """Raises `LocalServerError` when a part has ended by itself."""
        self.children.check()
        for name, server in self.servers.items():
            if not process.alive(server):
                raise LocalServerError(f"{name} has ended by itself; its log is in {self.folder / name.lower()}")

    def wait_until(self, done: Callable[[], bool], what: str, timeout_s: float, why: Sequence[str] = ()) -> None:
        """Waits for something, and no longer than until a part ends; raises `LocalServerError`."""
        deadline = time.monotonic() + timeout_s
        while not done():
            self.check()
            if time.monotonic() > deadline:
                said = "; ".join([f"{what} within {timeout_s:.0f} s", *why])
                raise LocalServerError(f"{said}; the logs are in {self.folder / 'logs'}")
            time.sleep(0.05)

    def wait_for_api(self) -> None:
        """Waits until the API says that it is ready. A log that differs from its checkpoints is an error at once."""
        failing: list[str] = []
        headers = {"authorization": f"Bearer {self.issuer.operator()}"}
        with httpx.Client(base_url=self.url, headers=headers, timeout=5.0, trust_env=False) as client:

            def ready() -> bool:
                try:
                    answer = client.get("/readyz")
                except httpx.TransportError:
                    return False
                if answer.status_code == 200:
                    return True
                parts: dict[str, dict[str, Any]] = answer.json().get("parts", {})
                failing[:] = [f"{name}: {part.get('problem')}" for name, part in parts.items() if not part["ok"]]
                if parts.get("log", {}).get("differs_at"):  # this does not pass
                    look = f"`consent-ledger dev --servers-only --data-dir {self.folder}`"
                    raise LocalServerError(f"{parts['log']['problem']}; {look} starts what it needs to look")
                return False

            self.wait_until(ready, "the API did not become ready", READY_S, failing)

    def wait_for_checkpoints(self, timeout_s: float = CHECKPOINTS_S) -> list[int]:
        """Waits until all that the views have now is signed; returns the partitions of which it is not, in the end."""
        from projections.signer_store import coverage

        wanted = {p: found.tree_size for p, found in coverage(self.settings.database).items()}
        deadline = time.monotonic() + timeout_s
        while True:
            signed = {p: found.signed_size for p, found in coverage(self.settings.database).items()}
            left = [p for p, size in wanted.items() if signed.get(p, 0) < size]
            if not left or time.monotonic() > deadline:
                return left
            self.check()
            time.sleep(0.05)

    def wait_for_views(self) -> None:
        """Waits until the views have all that is in the log now."""
        from ledger.kafka.reader import Reader
        from projections.index import PostgresIndex

        index = PostgresIndex(self.settings.database, pool_size=1)
        try:
            with Reader(self.kafka, self.settings.topic) as reader:
                heads = reader.heads(*range(reader.partitions))

            def reached() -> bool:
                projected = index.projected()
                return all(projected.get(p, 0) >= head for p, head in heads.items())

            self.wait_until(reached, "the views did not reach the end of the log", VIEWS_S)
        finally:
            index.close()


@contextlib.contextmanager
def data_folder(wanted: Path | None) -> Iterator[tuple[Path, Guard]]:
    """The data directory, locked, and its guard; a temporary one, removed at the end, when none is wanted."""
    temporary = wanted is None
    folder = Path(tempfile.mkdtemp(prefix="consent-ledger-")) if wanted is None else wanted.absolute()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(folder / "dev.lock", os.O_CREAT | os.O_RDWR, 0o600)
    except OSError as error:
        raise LocalServerError(f"the data directory {folder} cannot be used: {error.strerror}") from None
    try:
        _lock(lock, folder)
        with Guard(lock) as guard:
            if temporary:
                guard.temporary(folder)
            try:
                yield folder, guard
            finally:
                if temporary:
                    shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(lock)


def _lock(lock: int, folder: Path) -> None:
    """Takes the data directory; waits for the guard of a killed run, but not for a run that goes on."""
    deadline = time.monotonic() + _LOCK_WAIT_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(lock, 20, 0).decode("ascii", "replace").strip()
            runs = holder.isdecimal() and psutil.pid_exists(int(holder))
            if runs or time.monotonic() > deadline:
                raise LocalServerError(
                    f"the data directory {folder} is in use by process {holder or 'unknown'}: "
                    "stop that one, or choose another with --data-dir"
                ) from None
            time.sleep(0.1)
        else:
            os.ftruncate(lock, 0)
            os.pwrite(lock, str(os.getpid()).encode("ascii"), 0)
            return


@contextlib.contextmanager
def opened(
    wanted: Path | None,
    *,
    port: int | None,
    say: Say,
    subjects: Sequence[str] = (),
    partitions: int = 6,
    servers_only: bool = False,
) -> Iterator[Stack]:
    """Starts broker, database, worker and signer, then what `serve` starts; stops all at the end.

    With `servers_only` neither worker nor signer: nothing writes, and whoever wants to look may.
    """
    with contextlib.ExitStack() as exits:
        exits.enter_context(_hangup_as_interrupt())
        exits.enter_context(process.terminated_as_interrupted())
        folder, guard = exits.enter_context(data_folder(wanted))
        say(f"data in {folder}" + ("" if wanted else " (temporary: --data-dir keeps it)"))
        chosen_port = _free_port(folder, port)
        servers: dict[str, psutil.Process] = {}
        kafka = _kafka(exits, folder, guard, servers, say)
        database = _database(exits, folder, guard, servers, say)
        say("making topics, roles and tables")
        made = provision.provision(
            kafka,
            database,
            _passwords(folder),
            partitions=partitions,
            intake_clients=[INTAKE_CLIENT],
            intake_partitions=partitions,
        )
        settings = _settings(folder, kafka, made, partitions, chosen_port)
        children = exits.enter_context(Children(folder / "logs"))
        stack = Stack(
            folder=folder,
            url=f"http://{settings.host}:{settings.port}",
            kafka=kafka,
            database=database,
            settings=settings,
            issuer=Issuer(folder / "secrets"),
            children=children,
            subjects=subjects,
            owner_dsn=made.dsns.owner,
            servers=servers,
        )
        if not servers_only:
            _follow(stack, made, say)
        _keep_settings(stack)
        yield stack


def _follow(stack: Stack, made: provision.Provisioned, say: Say) -> None:
    """Starts worker and signer."""
    say("starting the projection worker")
    # One worker has every partition: a group would only make a restart wait for the last one's session to end.
    every = ",".join(map(str, range(stack.settings.partitions)))
    as_projector = {
        **environment(stack.settings, without=(*_OF_THE_SIGNER, *_OF_THE_VAULT, "receipts_key_file")),
        "CONSENT_LEDGER_DATABASE": made.dsns.projector,
    }
    stack.children.start("project", ["project", "--partitions", every], as_projector)
    say("starting the signer")
    stack.children.start("sign", ["sign"], environment(stack.settings, only=_SIGNER_KNOWS))


def _keep_settings(stack: Stack) -> None:
    """The settings as a file that `CONSENT_LEDGER_CONFIG` may name, for `doctor` and `replay`. It holds passwords."""
    found = {**environment(stack.settings), "CONSENT_LEDGER_OWNER_DATABASE": stack.owner_dsn}
    text = "".join(f"{name}={_quoted(value)}\n" for name, value in found.items())
    fresh = stack.config.with_suffix(".part")
    fresh.touch(mode=0o600)
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(stack.config)


def _quoted(value: str) -> str:
    """A value as env files write it, with its own quotes kept."""
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def serve(stack: Stack, say: Say) -> None:
    """Starts the API and what records from Kafka, and waits until the API answers."""
    say("starting the API and the intake")
    stack.children.start("api", ["serve"], environment(stack.settings, without=_OF_THE_SIGNER))
    no_keys = (*_OF_THE_SIGNER, *_OF_THE_VAULT, "receipts_key_file")
    stack.children.start("record", ["record"], environment(stack.settings, without=no_keys))
    stack.wait_for_api()


def environment(settings: Settings, *, only: Sequence[str] = (), without: Sequence[str] = ()) -> dict[str, str]:
    """The settings as a child process reads them: only those that differ from the defaults, secrets by file."""
    found = {}
    for name in sorted(settings.model_fields_set):
        if name in without or (only and name not in only):
            continue
        value = getattr(settings, name)
        if value is not None:
            structured = isinstance(value, tuple | dict)
            found[f"CONSENT_LEDGER_{name.upper()}"] = orjson.dumps(value).decode() if structured else str(value)
    return found


def _kafka(
    exits: contextlib.ExitStack, folder: Path, guard: Guard, servers: dict[str, psutil.Process], say: Say
) -> str:
    given = os.environ.get(KAFKA_VARIABLE)
    if given:
        say(f"using the Kafka of {KAFKA_VARIABLE}")
        return given
    say("starting Kafka (the first time its jars are downloaded)")
    guard.server(folder / "kafka", signal.SIGTERM)
    broker = exits.enter_context(local_kafka(folder / "kafka", say))
    servers["Kafka"] = psutil.Process(broker.pid)
    return broker.bootstrap


def _database(
    exits: contextlib.ExitStack, folder: Path, guard: Guard, servers: dict[str, psutil.Process], say: Say
) -> str:
    given = os.environ.get(DATABASE_VARIABLE)
    if given:
        say(f"using the PostgreSQL of {DATABASE_VARIABLE}")
        return given
    say("starting PostgreSQL")
    guard.server(folder / "postgres", signal.SIGINT)
    server = exits.enter_context(local_postgres(folder / "postgres", say))
    guard.server(server.folder, signal.SIGINT)  # elsewhere when we are root
    servers["Postgres"] = psutil.Process(server.pid)
    return server.dsn


def _passwords(folder: Path) -> dict[str, str]:
    return {
        role: secret_file(folder / "secrets" / f"{role}.password", secrets.token_urlsafe(24))
        for role in provision.ROLES
    }


def _settings(folder: Path, kafka: str, made: provision.Provisioned, partitions: int, port: int) -> Settings:
    key_name = LEDGER_NAME + KEY_NAME_SUFFIX
    secret_file(folder / "secrets" / "vault.key", KeyEncryptionKey.generate().text)
    secret_file(folder / "secrets" / "receipts.key", Signer.generate(key_name).secret)
    checkpoints = secret_file(folder / "secrets" / "checkpoint.key", Signer.generate(LEDGER_NAME).secret)
    return Settings(
        # What the environment may hold for a real ledger plays no part in this one.
        vault_key=None,
        vault_old_keys_file=None,
        vault_kms="",
        receipts_key=None,
        checkpoint_key=None,
        jwks_url="",
        metrics_port=None,  # one for each process: a single number fits none of them
        rejected_topic="ledger.rejected",
        intake_clients={INTAKE_CLIENT: dict.fromkeys((EVENTS_WRITE, RULES_WRITE), (ANY_SOURCE,))},
        intake_partitions=partitions,
        ledger_name=LEDGER_NAME,
        kafka=kafka,
        partitions=partitions,
        database=made.dsns.reader,
        vault_database=made.vault,
        signer_database=made.dsns.signer,
        checkpoint_key_file=folder / "secrets" / "checkpoint.key",
        checkpoint_vkeys=tuple(Signer.parse(line).verifier.vkey for line in checkpoints.split()),
        vault_key_file=folder / "secrets" / "vault.key",
        receipts_key_file=folder / "secrets" / "receipts.key",
        issuer=issuer.ISSUER,
        audience=issuer.AUDIENCE,
        jwks_file=folder / "secrets" / "jwks.json",
        port=port,
        public_url=f"http://localhost:{port}",
        development_sign_in=True,
    )


def _free_port(folder: Path, wanted: int | None) -> int:
    """The port asked for, or the one of last time, or 8080, or any that is free."""
    kept = folder / "port"
    if wanted is not None:
        port = process.free_port(wanted)
        if wanted and port != wanted:
            raise LocalServerError(f"port {wanted} is taken: stop what uses it, or choose another with --port")
    else:
        with contextlib.suppress(OSError, ValueError):
            wanted = int(kept.read_text("ascii"))
        port = process.free_port(wanted or DEFAULT_PORT)
    kept.write_text(str(port), encoding="ascii")
    return port


@contextlib.contextmanager
def _hangup_as_interrupt() -> Iterator[None]:
    """A closed terminal stops us as Ctrl-C does."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt("SIGHUP")

    try:
        before = signal.signal(signal.SIGHUP, interrupt)
    except ValueError:  # not the main thread: a test's stack
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)

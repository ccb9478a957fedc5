"""Every setting of the product: environment variables `CONSENT_LEDGER_*`, or a file of `NAME=value` lines.

`CONSENT_LEDGER_CONFIG` names the file; the environment goes before it. Secrets come by environment or by a file of
their own (`…_FILE`), never by a flag.

>>> import os
>>> settings = Settings(kafka="broker:9092", ledger_name="ledger.example")
>>> settings.receipts_key_name, settings.partitions
('ledger.example/receipts', 6)
"""

import os
import re
from pathlib import Path
from typing import Literal, NamedTuple

import orjson
from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings.sources import DotEnvSettingsSource

from ledger.authority import Principal
from ledger.errors import ConfigurationError, InvalidNote
from ledger.events import EVENTS_WRITE, RULES_WRITE
from ledger.recording.receipts import KEY_NAME_SUFFIX
from ledger.tree.note import Signer, Verifier
from ledger.vault import kms
from ledger.vault.keys import KeyEncryptionKey, KeyRing, KeyWrapper

PREFIX = "CONSENT_LEDGER_"
CONFIG_FILE = PREFIX + "CONFIG"
_CLIENT = re.compile(r"(?!\.{1,2}\Z)[A-Za-z0-9._-]{1,64}", re.ASCII)


class ProviderSettings(NamedTuple):
    """What an identity provider knows us by."""

    issuer: str
    client_id: str
    client_secret: str
    scope: str = "openid"


class Settings(BaseSettings):
    """The product's settings; `docs/configuration.md` is made from the descriptions here."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", frozen=True)

    ledger_name: str = Field("consent-ledger.local", description="the ledger's name, in checkpoints and receipts")
    kafka: str = Field("", description="Kafka's bootstrap servers, host:port,…")
    topic: str = Field("ledger.events", description="the topic that holds the record")
    checkpoints_topic: str = Field("ledger.checkpoints", description="the topic of signed checkpoints")
    rejected_topic: str = Field("ledger.rejected", description="the topic of what the intake refused")
    intake_clients: dict[str, dict[str, tuple[str, ...]]] = Field(
        {},
        description="who has an intake topic, JSON: client to scope to the sources it emits for (docs/spec/intake.md)",
    )
    intake_partitions: int = Field(6, ge=1, le=10_000, description="how many partitions `setup` gives an intake topic")
    partitions: int = Field(6, ge=1, le=10_000, description="how many partitions the record's topic has")
    database: str = Field("", description="connection string of the views, role ledger_reader")
    vault_database: str = Field("", description="connection string of the vault, role ledger_vault")
    signer_database: str = Field("", description="connection string for `sign`, role ledger_signer")

    vault_key: SecretStr | None = Field(None, description="the vault's key-encryption key, base64")
    vault_key_file: Path | None = Field(None, description="a file that holds it, mode 0600")
    vault_old_keys_file: Path | None = Field(None, description="older vault keys, a line each, to read only")
    vault_kms: str = Field("", description="module:Class of a key management service that wraps instead of the key")
    receipts_key: SecretStr | None = Field(None, description="the key that signs receipts, PRIVATE+KEY+…")
    receipts_key_file: Path | None = Field(None, description="a file that holds it, mode 0600")

    receipts_old_vkeys: tuple[str, ...] = Field((), description="verifier keys of receipts' former keys, a JSON list")
    checkpoint_key: SecretStr | None = Field(
        None, description="for `sign`: the key of checkpoints, PRIVATE+KEY+…; two lines while one replaces another"
    )
    checkpoint_key_file: Path | None = Field(None, description="a file that holds it, mode 0600")
    checkpoint_vkeys: tuple[str, ...] = Field(
        (), description="verifier keys of checkpoints, past ones too, a JSON list; `vkey` prints them"
    )
    checkpoint_every_s: float = Field(1.0, gt=0, description="how often `sign` looks for something new to sign")
    start_check: Literal["full", "tail"] = Field(
        "full", description="how much of the log is compared with the last checkpoint at each start"
    )

    issuer: str = Field("", description="the `iss` of the tokens that are accepted")
    audience: str = Field("consent-ledger", description="the `aud` of the tokens that are accepted")
    jwks_url: str = Field("", description="where the issuer publishes its keys")
    jwks_file: Path | None = Field(None, description="a file of the issuer's keys, instead of an address")
    token_algorithms: tuple[str, ...] = Field(("ES256", "EdDSA"), description="signatures accepted, a JSON list")

    public_url: str = Field("", description="the pages' address as people type it, such as https://ledger.example")
    residents_issuer: str = Field("", description="the OpenID Connect provider that residents sign in with")
    residents_client_id: str = Field("", description="what that provider knows the pages by")
    residents_client_secret: SecretStr | None = Field(None, description="and their secret")
    residents_client_secret_file: Path | None = Field(None, description="a file that holds it, mode 0600")
    staff_issuer: str = Field("", description="the OpenID Connect provider that staff sign in with")
    staff_client_id: str = Field("", description="what that provider knows the pages by")
    staff_client_secret: SecretStr | None = Field(None, description="and their secret")
    staff_client_secret_file: Path | None = Field(None, description="a file that holds it, mode 0600")
    staff_roles_claim: str = Field(
        "consent_ledger_roles", description="the claim with their roles: auditor, operator, office:<source>"
    )
    development_sign_in: bool = Field(False, description="anybody signs in as made-up people: for `dev` alone")

    linger_ms: int = Field(2, ge=0, le=1_000, description="how long an append waits for company: 0 for single posts")
    deadline_s: float = Field(15.0, gt=0, description="how long an append may wait before its producer is replaced")
    queue_events: int = Field(20_000, ge=1_000, description="events that may wait to be recorded before a 503")
    client_events: int = Field(10_000, ge=1_000, description="events of one client that may wait before a 429")
    tail_records: int = Field(300_000, ge=1_000, description="records the views may be behind before a 503")

    queue_sources: tuple[str, ...] = Field(
        ("/offices/information-security",),
        description="whose staff (`rules:write` for one of these sources) read and answer the queue, a JSON list",
    )
    complaint_days: int = Field(30, ge=1, le=3_650, description="days until a complaint, question or comment is due")
    contest_days: int = Field(30, ge=1, le=3_650, description="days until a contest is due")
    access_days: int = Field(10, ge=1, le=3_650, description="days until a wish to see or update what is held is due")
    incident_days: int = Field(30, ge=1, le=3_650, description="days until an incident is to be contained")
    anonymous_per_minute: int = Field(
        60, ge=1, le=100_000, description="anonymous engagements that one API process takes in a minute before a 429"
    )
    anonymous_per_address: int = Field(
        5, ge=1, le=100_000, description="the same for one address; as many wrong receipt codes are let pass"
    )

    host: str = Field("127.0.0.1", description="the address the API listens on")
    port: int = Field(8080, ge=0, le=65_535, description="the port the API listens on")
    metrics_host: str = Field("127.0.0.1", description="the address of the workers' metrics, which carry no token")
    metrics_port: int | None = Field(
        None,
        ge=0,
        le=65_535,
        description="the port at which `project`, `record`, `sign` serve metrics; none: nowhere",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="least severe line logged")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then the environment, then the file that `CONSENT_LEDGER_CONFIG` names."""
        named = os.environ.get(CONFIG_FILE)
        if not named:
            return init_settings, env_settings
        if not Path(named).is_file():
            raise ConfigurationError(f"{CONFIG_FILE} names a file that is not there: create it, or unset the variable")
        return init_settings, env_settings, DotEnvSettingsSource(settings_cls, env_file=named)

    def intake_principals(self) -> list[Principal]:
        """Each client that has an intake topic, with what it may emit; raises `ConfigurationError`."""
        name = f"{PREFIX}INTAKE_CLIENTS"
        for client, scopes in self.intake_clients.items():
            if _CLIENT.fullmatch(client) is None:
                raise ConfigurationError(f"{name}: a client is named by 1 to 64 of A-Z a-z 0-9 . _ -, as its topic is")
            if not scopes or any(scope not in (EVENTS_WRITE, RULES_WRITE) for scope in scopes):
                raise ConfigurationError(f"{name}: {client} needs {EVENTS_WRITE} or {RULES_WRITE}, and nothing else")
            if not all(sources and all(sources) for sources in scopes.values()):
                raise ConfigurationError(f"{name}: each scope of {client} needs the sources that it may emit for")
        return [Principal(client, scopes) for client, scopes in self.intake_clients.items()]

    @property
    def receipts_key_name(self) -> str:
        """The name of the key that signs receipts."""
        return self.ledger_name + KEY_NAME_SUFFIX

    def key_encryption_key(self) -> KeyEncryptionKey:
        """The vault's key-encryption key; raises `ConfigurationError`."""
        return KeyEncryptionKey.parse(_secret("VAULT_KEY", self.vault_key, self.vault_key_file))

    def key_wrapper(self) -> KeyRing:
        """What wraps residents' keys: the vault's key, or the service named instead; older keys still unwrap.

        Raises `ConfigurationError`.
        """
        older: list[KeyWrapper] = []
        if self.vault_old_keys_file is not None:
            lines = _secret("VAULT_OLD_KEYS", None, self.vault_old_keys_file).splitlines()
            older += [KeyEncryptionKey.parse(line) for line in lines if line.strip()]
        if not self.vault_kms:
            return KeyRing(self.key_encryption_key(), older)
        if self.vault_key is not None or self.vault_key_file is not None:
            older.append(self.key_encryption_key())  # what it wrapped before the service came
        return KeyRing(kms.load(self.vault_kms), older)

    def receipts_signer(self) -> Signer:
        """The key that signs receipts; raises `ConfigurationError` when it is not this ledger's."""
        signer = Signer.parse(_secret("RECEIPTS_KEY", self.receipts_key, self.receipts_key_file))
        if signer.name != self.receipts_key_name:
            raise ConfigurationError(
                f"the key of {PREFIX}RECEIPTS_KEY is not named after the ledger: it must be {self.receipts_key_name}"
            )
        return signer

    @property
    def receipts_vkeys(self) -> tuple[str, ...]:
        """The verifier keys that receipts hold under: the present one first."""
        return (self.receipts_signer().verifier.vkey, *self.receipts_old_vkeys)

    def sign_in_providers(self) -> dict[str, ProviderSettings]:
        """Who people sign in with, by who they are; raises `ConfigurationError` for one that is half named."""
        found: dict[str, ProviderSettings] = {}
        for who in ("residents", "staff"):
            issuer, client_id = (str(getattr(self, f"{who}_{name}")) for name in ("issuer", "client_id"))
            if not issuer:
                continue
            if not client_id or not self.public_url:
                raise ConfigurationError(f"to sign in, set {PREFIX}PUBLIC_URL and {PREFIX}{who.upper()}_CLIENT_ID too")
            value, file = getattr(self, f"{who}_client_secret"), getattr(self, f"{who}_client_secret_file")
            secret = _secret(f"{who.upper()}_CLIENT_SECRET", value, file).strip()
            found[who] = ProviderSettings(issuer, client_id, secret)
        return found

    def checkpoint_signers(self) -> list[Signer]:
        """The keys that sign checkpoints: one, or two while a key is being replaced; raises `ConfigurationError`."""
        text = _secret("CHECKPOINT_KEY", self.checkpoint_key, self.checkpoint_key_file)
        try:
            signers = [Signer.parse(line) for line in text.split("\n") if line.strip()]
        except InvalidNote as error:
            raise ConfigurationError(f"{PREFIX}CHECKPOINT_KEY: {error}") from None
        if not 1 <= len(signers) <= 2:
            raise ConfigurationError(f"{PREFIX}CHECKPOINT_KEY holds one key, or two while one replaces the other")
        if any(signer.name != self.ledger_name for signer in signers):
            raise ConfigurationError(
                f"the key of {PREFIX}CHECKPOINT_KEY is not named after the ledger: it must be {self.ledger_name}"
            )
        return signers

    def checkpoint_verifiers(self) -> list[Verifier]:
        """The keys that checkpoints may be signed with, none where none are named; raises `ConfigurationError`."""
        try:
            verifiers = [Verifier.parse(vkey) for vkey in dict.fromkeys(self.checkpoint_vkeys)]
        except InvalidNote as error:
            raise ConfigurationError(f"{PREFIX}CHECKPOINT_VKEYS: {error}") from None
        if any(verifier.name != self.ledger_name for verifier in verifiers):
            raise ConfigurationError(
                f"a key of {PREFIX}CHECKPOINT_VKEYS is not named after the ledger: it must be {self.ledger_name}"
            )
        return verifiers


def documentation() -> str:
    """The table of docs/configuration.md, made from the settings themselves."""
    lines = ["| variable | default | what |", "| --- | --- | --- |"]
    for name, field in Settings.model_fields.items():
        default = "" if field.default in (None, "", {}) else f"`{_shown(field.default)}`"
        lines.append(f"| `{PREFIX}{name.upper()}` | {default} | {field.description} |")
    return "\n".join(lines) + "\n"


def _shown(default: object) -> str:
    return orjson.dumps(list(default)).decode() if isinstance(default, tuple) else str(default)


def _secret(name: str, value: SecretStr | None, file: Path | None) -> str:
    if value is not None:
        return value.get_secret_value()
    if file is None:
        raise ConfigurationError(f"set {PREFIX}{name} or {PREFIX}{name}_FILE")
    try:
        return file.read_text("ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"the file of {PREFIX}{name}_FILE cannot be read ({type(error).__name__})") from None


def secret_file(path: Path, make: str) -> str:
    """The secret in a file of mode 0600; the first caller's `make` is written when there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(make + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.link(fresh, path)  # unlike a rename, never over a secret that is there
    except FileExistsError:
        pass
    finally:
        fresh.unlink()
    return path.read_text("ascii").strip()

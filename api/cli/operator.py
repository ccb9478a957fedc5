"""`consent-ledger setup`: what a ledger needs before its first event. Once, and again after an upgrade.

    $ export CONSENT_LEDGER_KAFKA=broker:9092
    $ export CONSENT_LEDGER_SETUP_DATABASE=postgresql://postgres:...@db/ledger   # a superuser's, for this command only
    $ export CONSENT_LEDGER_OWNER_PASSWORD=... CONSENT_LEDGER_PROJECTOR_PASSWORD=... \\
             CONSENT_LEDGER_READER_PASSWORD=... CONSENT_LEDGER_SIGNER_PASSWORD=... \\
             CONSENT_LEDGER_VAULT_PASSWORD=...
    $ consent-ledger setup --make-keys

Makes the topics (one for each client of CONSENT_LEDGER_INTAKE_CLIENTS too), the roles with these passwords, and the
tables; changes no topic that is there. With `--make-keys` it also makes the vault's key and the receipts' key in the
files that CONSENT_LEDGER_VAULT_KEY_FILE and CONSENT_LEDGER_RECEIPTS_KEY_FILE name, unless they hold one already; and
that of checkpoints, where CONSENT_LEDGER_CHECKPOINT_KEY_FILE names a file: on the signer's own host, in production.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli import console
from ledger.errors import ConfigurationError

if TYPE_CHECKING:  # imported where it is used: other commands start without the servers' code
    from api.settings import Settings

_PREFIX = "CONSENT_LEDGER_"
SETUP_DATABASE = "SETUP_DATABASE"
OWNER_DATABASE = "OWNER_DATABASE"
_PASSWORDS = {
    "ledger_owner": "OWNER_PASSWORD",
    "ledger_projector": "PROJECTOR_PASSWORD",
    "ledger_reader": "READER_PASSWORD",
    "ledger_signer": "SIGNER_PASSWORD",
    "ledger_vault": "VAULT_PASSWORD",
}


def secret_setting(name: str) -> str:
    """A setting of operators' commands alone, from the environment or the configuration file; raises when missing."""
    import os

    from dotenv import dotenv_values

    from api.settings import CONFIG_FILE

    found = os.environ.get(_PREFIX + name)
    if not found and os.environ.get(CONFIG_FILE):
        found = dotenv_values(os.environ[CONFIG_FILE]).get(_PREFIX + name)
    if not found:
        raise ConfigurationError(f"set {_PREFIX}{name}")
    return found


def setup(
    make_keys: Annotated[
        bool, typer.Option("--make-keys", help="Make the key files too, where there are none.")
    ] = False,
) -> None:
    """Make topics, roles and tables, or bring them up to date."""
    from api.cli.provision import provision
    from api.cli.serve import load_settings

    out = console.get()
    settings = load_settings("kafka")
    principals = settings.intake_principals()
    passwords = {role: secret_setting(name) for role, name in _PASSWORDS.items()}
    keys = _make_keys(settings) if make_keys else []
    made = provision(
        settings.kafka,
        secret_setting(SETUP_DATABASE),
        passwords,
        topic=settings.topic,
        checkpoints_topic=settings.checkpoints_topic,
        rejected_topic=settings.rejected_topic,
        partitions=settings.partitions,
        intake_clients=[principal.client_id for principal in principals],
        intake_partitions=settings.intake_partitions,
    )
    if out.json:
        out.data({"topics_made": made.topics, "keys_made": keys})
    else:
        out.data(f"topics made: {', '.join(made.topics) or 'none, all were there'}")
        out.data(f"keys made: {', '.join(keys) or 'none'}")
        out.data("roles and tables are up to date")
    out.flush()


def _make_keys(settings: "Settings") -> list[str]:
    from api.settings import secret_file
    from ledger.tree.note import Signer
    from ledger.vault.keys import KeyEncryptionKey

    wanted: tuple[tuple[Path | None, str, Callable[[], str]], ...] = (
        (settings.vault_key_file, "VAULT_KEY_FILE", lambda: KeyEncryptionKey.generate().text),
        (settings.receipts_key_file, "RECEIPTS_KEY_FILE", lambda: Signer.generate(settings.receipts_key_name).secret),
    )
    if settings.checkpoint_key_file is not None:
        checkpoints = (settings.checkpoint_key_file, "", lambda: Signer.generate(settings.ledger_name).secret)
        wanted = (*wanted, checkpoints)
    made = []
    for path, name, make in wanted:
        if path is None:
            raise ConfigurationError(f"--make-keys needs {_PREFIX}{name}: the file to make")
        if not path.exists():
            secret_file(path, make())
            made.append(path.name)
    return made

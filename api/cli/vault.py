"""`consent-ledger vault`: replacing the key that wraps residents' keys.

    $ consent-ledger vault new-key keys/vault-2027.key      # makes a key, in a file of mode 0600
    $ cat keys/vault.key >> keys/old-vault.keys             # CONSENT_LEDGER_VAULT_OLD_KEYS_FILE: these still read
    $ export CONSENT_LEDGER_VAULT_KEY_FILE=keys/vault-2027.key
    ... restart every API with both ...
    $ consent-ledger vault rotate
    1,042 keys rewrapped; 1,042 under 5b0c9d6e2f7a8b91, 7 destroyed; older keys are not needed any more

`rotate` may be cut off and begun again, and runs beside the API. Once it says that older keys are not needed, destroy
them: with them go the copies of residents' keys in every older backup of the vault (docs/spec/sealing.md). Exit: 0; 3
when keys are still wrapped by an older one.
"""

import contextlib
from pathlib import Path
from typing import Annotated

import typer

from api.cli import console
from ledger.errors import ConfigurationError

app = typer.Typer(help="Replace the key that wraps residents' keys.", no_args_is_help=True)
_ROUNDS = 3


@app.command("new-key")
def new_key(file: Annotated[Path, typer.Argument(help="Where to put it.", metavar="FILE")]) -> None:
    """Make a new vault key in a file that is not there yet."""
    from api.settings import secret_file
    from ledger.vault.keys import KeyEncryptionKey

    if file.exists():
        raise ConfigurationError("there is a file of this name: a key is never overwritten")
    key = KeyEncryptionKey.generate()
    try:
        kept = secret_file(file, key.text)
    except OSError as error:
        raise ConfigurationError(f"the file cannot be made: {error.strerror}") from None
    if kept != key.text:
        raise ConfigurationError("there is a file of this name: a key is never overwritten")
    out = console.get()
    out.data({"key_id": key.id} if out.json else f"made the key {key.id}")
    out.flush()


@app.command()
def rotate() -> None:
    """Wrap every resident's key anew by the present vault key."""
    from api.cli.serve import load_settings
    from ledger.vault import rotation
    from ledger.vault.database import Database

    out = console.get()
    settings = load_settings("vault_database")
    ring = settings.key_wrapper()
    rewrapped = 0
    with contextlib.closing(Database(settings.vault_database, pool_size=1, statement_timeout_s=600)) as database:
        # An API that still has the older key alone may wrap new keys by it meanwhile: look again, but not for ever.
        for _ in range(_ROUNDS):
            with out.counting("keys rewrapped") as counter:
                done = 0
                for done in rotation.rewrap(database, ring):
                    counter.update(rewrapped + done)
            rewrapped += done
            found = rotation.counts(database, ring.id)
            if found.finished:
                break
    if out.json:
        out.data({"rewrapped": rewrapped, "key_id": ring.id, **found._asdict(), "finished": found.finished})
    else:
        left = (
            "older keys are not needed any more"
            if found.finished
            else f"{found.older:,} still under an older key: does an API run without the new one?"
        )
        out.data(
            f"{rewrapped:,} keys rewrapped; {found.current:,} under {ring.id}, {found.destroyed:,} destroyed; {left}"
        )
    out.flush()
    if not found.finished:
        raise typer.Exit(console.INCOMPLETE)

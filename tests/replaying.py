"""`consent-ledger replay` as a command of its own, for tests that run it, stop it or kill it with all its processes.

with replaying(address, topic, owner_dsn, "--workers", 2) as command:
    command.kill()
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from projections import schema
from projections.schema import Dsns

_SMALL_BATCHES = (
    "from replay.rebuild import rebuild; rebuild.__kwdefaults__['batch_events'] = {};from api.cli import main; main()"
)
ROOT = Path(__file__).parent.parent


@contextlib.contextmanager
def replaying(
    address: str,
    topic: str,
    owner_dsn: str,
    *arguments: object,
    hash_seed: int | None = None,
    batch_events: int | None = None,
) -> Iterator["subprocess.Popen[bytes]"]:
    """The running command; killed on the way out if it still runs."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CONSENT_LEDGER_")}
    settings = {"KAFKA": address, "TOPIC": topic, "OWNER_DATABASE": owner_dsn}
    environment = {**kept, **{f"CONSENT_LEDGER_{name}": value for name, value in settings.items()}}
    if hash_seed is not None:
        environment["PYTHONHASHSEED"] = str(hash_seed)
    program = ["-m", "api.cli"] if batch_events is None else ["-c", _SMALL_BATCHES.format(batch_events)]
    command = [sys.executable, *program, "replay", *map(str, arguments)]
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def replayed(
    address: str, topic: str, owner_dsn: str, *arguments: object, hash_seed: int | None = None
) -> "subprocess.CompletedProcess[bytes]":
    """The command, run to its end."""
    with replaying(address, topic, owner_dsn, *arguments, hash_seed=hash_seed) as process:
        out, err = process.communicate(timeout=300)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def beside(dsns: Dsns, name: str) -> Dsns:
    """The same roles, looking into another schema."""
    return Dsns(*(schema.at_schema(dsn, name) for dsn in dsns))

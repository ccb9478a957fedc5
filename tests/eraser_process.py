"""The eraser as a process of its own, for tests that kill it at a step of its work.

run(settings, die_at="destroyed")      # -SIGKILL: it killed itself right after that step
run(settings)                          # 0: everything there was to do is done
"""

import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import orjson

from api.cli.stack import environment
from api.recording import wall_clock
from api.settings import Settings
from ledger.erasing.eraser import Eraser
from ledger.erasing.erasures import ErasuresInLog
from ledger.kafka.log import KafkaLog
from ledger.recording.recorder import Recorder
from ledger.vault.erasures import Erasures
from ledger.vault.store import VaultStore
from projections.index import AdvisoryLock, PostgresIndex
from tests.door import wait_until

ROOT = Path(__file__).parent.parent
ORDER = "TEST_ERASER_ORDER"


def run(settings: Settings, die_at: str | None = None, log: Path | None = None) -> int:
    """Runs one eraser to its end; its exit code. What it says on stderr is added to `log`."""
    order = {"settings": _plain(settings), "die_at": die_at}
    command = [sys.executable, "-c", "from tests.eraser_process import main; main()"]
    with (log or Path(os.devnull)).open("ab") as errors:
        environment_ = {**os.environ, ORDER: orjson.dumps(order).decode()}
        return subprocess.run(command, cwd=ROOT, env=environment_, stderr=errors, timeout=100).returncode


def _plain(settings: Settings) -> dict[str, str]:
    secrets = {"CONSENT_LEDGER_VAULT_KEY": settings.vault_key, "CONSENT_LEDGER_RECEIPTS_KEY": settings.receipts_key}
    given = {name: secret.get_secret_value() for name, secret in secrets.items() if secret is not None}
    return {**environment(settings), **given}


def main() -> None:
    """What the process runs."""
    order = orjson.loads(os.environ[ORDER])
    os.environ.update(order["settings"])
    settings = Settings()

    def at(step: str) -> None:
        if step == order["die_at"]:
            os.kill(os.getpid(), signal.SIGKILL)

    with ExitStack() as stack:
        log = stack.enter_context(KafkaLog(settings.kafka, settings.topic))
        index = PostgresIndex(settings.database)
        stack.callback(index.close)
        in_log = ErasuresInLog(log, index)
        vault = VaultStore(settings.vault_database, settings.key_wrapper(), guard=in_log)
        stack.callback(vault.close)
        lock = AdvisoryLock(settings.database)
        recorder = Recorder(log, index, vault, lock, clock=wall_clock, signer=settings.receipts_signer())
        recorder.start()
        stack.callback(recorder.stop)
        wait_until(lambda: recorder.status().problem is None, 60)
        eraser = Eraser(Erasures(vault.database), in_log, recorder.submit, wall_clock, at)
        wait_until(eraser.look, 60)

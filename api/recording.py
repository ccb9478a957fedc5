"""What records: the log, the views that know repeats, and the recorder between them. For the API, and for `record`.

with recording(settings, wall_clock, vault_of, signer) as parts:
    parts.recorder.start()
    parts.recorder.submit(...)
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from api.settings import Settings
from ledger.errors import ConfigurationError, LogDiffers
from ledger.kafka.log import KafkaLog
from ledger.recording.record import Clock
from ledger.recording.recorder import Limits, Recorder
from ledger.tree.note import Signer
from ledger.vault import ResidentKey, Vault
from projections.index import AdvisoryLock, PostgresIndex
from projections.start_check import StartCheck

_logger = logging.getLogger("consent_ledger.start")


@dataclass(frozen=True, slots=True)
class Recording:
    """The parts that are open while events are recorded; the recorder is not started yet."""

    log: KafkaLog
    index: PostgresIndex
    recorder: Recorder


VaultOf = Callable[[KafkaLog, PostgresIndex, ExitStack], Vault]
"""Opens the vault beside log and views; what it opens, it leaves to the stack to close."""


def wall_clock() -> int:
    """The ledger's clock: whole microseconds since 1970 UTC."""
    return time.time_ns() // 1_000


@contextmanager
def recording(settings: Settings, clock: Clock, vault_of: VaultOf, signer: Signer | None) -> Iterator[Recording]:
    """Opens log, views and recorder, and closes them in the other order, after what waits was recorded.

    `signer`: of receipts; None where nobody is given one.
    """
    with ExitStack() as stack:
        log = stack.enter_context(
            KafkaLog(settings.kafka, settings.topic, linger_ms=settings.linger_ms, deadline_s=settings.deadline_s)
        )
        index = PostgresIndex(settings.database)
        stack.callback(index.close)
        vault = vault_of(log, index, stack)
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
        stack.callback(recorder.stop)
        yield Recording(log, index, recorder)


class NoVault:
    """For a recorder that is given nothing to seal: it holds no key, so it could not."""

    def keys_for(self, subjects: Sequence[str]) -> dict[str, ResidentKey | None]:
        """Refuses: what needs a key has no business here."""
        raise ConfigurationError("this process holds no key of residents: what is sealed goes over HTTP")

    def keys_by_id(self, key_ids: Sequence[str]) -> dict[str, ResidentKey | None]:
        """Knows none."""
        return {}


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

"""What is known at a position, read as the contract says: repeats dropped, instants compared.

>>> instant("2026-03-03T12:00:00Z") == instant("2026-03-03T04:00:00.000-08:00")
True
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from msgspec import UNSET

from ledger.events import Event
from tests.reference.policy import Policy


@dataclass(frozen=True, eq=False, slots=True)
class Record:
    """One record of the log, read once: `time` in microseconds since 1970; `policy` when it publishes one."""

    position: int
    time: int
    kind: str
    event: Event
    data: Any
    backdated: bool
    policy: Policy | None


@lru_cache(maxsize=100_000)
def instant(time: str) -> int:
    """ "compare instants, not strings" """
    return (datetime.fromisoformat(time) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def read(events: Iterable[tuple[int, Event]]) -> list[Record]:
    """The records with their instants, in log order."""
    return [
        Record(
            position,
            instant(event.time),
            event.kind,
            event,
            event.data,
            is_backdated(event),
            Policy(event.data) if event.kind == "policy.published" else None,
        )
        for position, event in events
    ]


def known(records: Sequence[Record], known_at: int | None) -> list[Record]:
    """ "the records of the partition up to log position K (default: all)"

    "A repeated (`source`, `id`, `subject`) is dropped": the first record in log order counts.
    """
    seen = set()
    kept = []
    for record in records:
        key = (record.event.source, record.event.id, record.event.subject)
        if key not in seen and (known_at is None or record.position <= known_at):
            kept.append(record)
        seen.add(key)
    return kept


BACKDATED_KINDS = (
    "notice.given",
    "data.collected",
    "consent.given",
    "preference.set",
    "anonymity.ended",
    "agreement.signed",
    "legal-demand.decided",
)


def is_backdated(event: Event) -> bool:
    """ "Backdated: `recordedtime` is more than 24 hours after `time` (for an agreement: after `valid_from`)" """
    # "Records without `recordedtime` are never backdated."
    if event.kind not in BACKDATED_KINDS or event.recordedtime is UNSET:
        return False
    since = instant(event.data.valid_from) if event.kind == "agreement.signed" else instant(event.time)
    return instant(event.recordedtime) - since > 24 * 60 * 60 * 1_000_000


def policy_in_force(t: int, records: Sequence[Record]) -> Record | None:
    """ "of the known `policy.published` with `effective_from` ≤ t, the one with the greatest (…)" """
    candidates = [r for r in records if r.kind == "policy.published" and instant(r.data.effective_from) <= t]
    return max(candidates, key=lambda r: (instant(r.data.effective_from), r.position), default=None)


def latest(records: Sequence[Record]) -> Record | None:
    """ "the latest (`time`, position)" """
    return max(records, key=lambda r: (r.time, r.position), default=None)

"""The counts of an audit by the pure fold over the log: what the views must come to as well.

>>> from ledger import codec
>>> line = (b'{"type":"org.consent-ledger.data.used.v1","specversion":"1.0","id":"e1","source":"/services/permits",'
...     b'"subject":"res_7f2c","time":"2026-03-03T12:00:00Z","datacontenttype":"application/json","data":'
...     b'{"categories":["email"],"purpose":"4.2","operation":"consult","basis":{"kind":"stated-purpose"}}}')
>>> fold = AuditFold(0)
>>> fold.take(7, codec.read(line))
>>> counts = fold.counts(Filters(), "month")
>>> counts.tally.summary(counts.open_complaints, counts.answered_complaints).json()["by_period"]
[{'period': '2026-03', 'judged': 1, 'consistent': 0, 'inconsistent': 0, 'undetermined': 1, 'changed': 0}]
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from ledger import events as e
from ledger.codec import instant
from ledger.history import event_subject
from ledger.stamps import Stamp
from projections.answers import Filters
from projections.cells import LAST_INSTANT
from projections.summary import Summary, Tally, period_of
from replay.analysis.judging import Judged, PartitionJudge, purposes_of
from replay.analysis.reading import Part, Progress, Share, read


class Counts(NamedTuple):
    """What one partition comes to."""

    tally: Tally
    open_complaints: int
    answered_complaints: int


class PartitionAudit(NamedTuple):
    """One partition: how far it was read, and its counts."""

    part: Part
    counts: Counts


@dataclass(slots=True)
class _Complaint:
    """The first opening by (time, position), as the views have it."""

    opened: Stamp | None = None
    source: str = ""
    answered: bool = False


class AuditFold:
    """Takes in one partition, then counts."""

    def __init__(self, partition: int) -> None:
        self._judge = PartitionJudge(partition)
        self._complaints: dict[tuple[str, str], _Complaint] = {}

    def take(self, offset: int, event: e.Event) -> None:
        """Takes in one record; a repeat counts for nothing."""
        if not self._judge.take(offset, event):
            return
        data = event.data
        if isinstance(data, e.ComplaintFiled | e.ComplaintResolved):
            key = (str(event_subject(event)), data.complaint_id)
            complaint = self._complaints.setdefault(key, _Complaint())
            if isinstance(data, e.ComplaintResolved):
                complaint.answered = True
                return
            stamp = (_moment(event), offset)
            if complaint.opened is None or stamp < complaint.opened:
                complaint.opened, complaint.source = stamp, event.source

    def counts(self, filters: Filters, period: str) -> Counts:
        """What is known now, of the verdicts that the filters let through."""
        tally = Tally()
        for found in self._judge.verdicts():
            if _wanted(found, filters):
                event, outcome = found.event, found.recorded.outcome
                changed = outcome != found.recorded.first_outcome
                when = period_of(instant(event.time), period)
                tally.count(event.kind, event.source, purposes_of(event), when, outcome, changed=changed)
        opened = [c for c in self._complaints.values() if _complained(c, filters)]
        answered = sum(complaint.answered for complaint in opened)
        return Counts(tally, len(opened) - answered, answered)


def of_partition(share: Share, progress: Progress, *, filters: Filters, period: str) -> PartitionAudit:
    """Reads and counts one partition of the log."""
    fold = AuditFold(share.partition)
    part = read(share, fold.take, progress)
    return PartitionAudit(part, fold.counts(filters, period))


def summary(partitions: Iterable[PartitionAudit]) -> Summary:
    """All partitions together."""
    tally, still_open, answered = Tally(), 0, 0
    for _, counts in partitions:
        tally.add(counts.tally)
        still_open += counts.open_complaints
        answered += counts.answered_complaints
    return tally.summary(still_open, answered)


def _moment(event: e.Event) -> int:
    """When it happened, as exact as the views know it."""
    return min(instant(event.time), LAST_INSTANT)


def _within(moment: int, filters: Filters) -> bool:
    since = filters.since is None or moment >= min(filters.since, LAST_INSTANT)
    return since and (filters.until is None or moment < min(filters.until, LAST_INSTANT))


def _wanted(found: Judged, filters: Filters) -> bool:
    event = found.event
    return (
        _within(_moment(event), filters)
        and filters.service in (None, event.source)
        and filters.outcome in (None, found.recorded.outcome)
        and filters.kind in (None, event.kind)
        and (filters.purpose is None or filters.purpose in purposes_of(event))
    )


def _complained(complaint: _Complaint, filters: Filters) -> bool:
    return (
        complaint.opened is not None
        and _within(complaint.opened[0], filters)
        and filters.service in (None, complaint.source)
    )

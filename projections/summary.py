"""What an audit counts: verdicts by outcome, purpose, service, kind and period, and complaints; by whichever road.

The views count it in SQL (`projections.audit`), the log by a fold (`replay.analysis.audit`): the same shape, so that
the one can be held against the other.

>>> tally = Tally()
>>> tally.count("data.used", "/services/permits", ("4.2",), "2026-03", "inconsistent", changed=True)
>>> summary = tally.summary(open_complaints=1, answered_complaints=0)
>>> summary.total, summary.groups["purpose"]
(Group(name='', consistent=0, inconsistent=1, undetermined=0, changed=1), [Group(name='4.2', consistent=0, \
inconsistent=1, undetermined=0, changed=1)])
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from ledger.codec import rfc3339
from ledger.verdict import CONSISTENT, INCONSISTENT, UNDETERMINED
from projections.cells import LAST_INSTANT

OUTCOMES = (CONSISTENT, INCONSISTENT, UNDETERMINED)
KINDS_OF_GROUP = ("purpose", "service", "kind", "period")
PERIODS = {"day": 10, "month": 7}
"""How many characters of an RFC 3339 time in UTC name each period."""
MAX_GROUPS = 10_000
"""So many groups of a kind are listed; how many more there are is said."""
_CHANGED = len(OUTCOMES)


class Group(NamedTuple):
    """How many verdicts of each outcome; `changed`: of how many the outcome was another one at first."""

    name: str
    consistent: int
    inconsistent: int
    undetermined: int
    changed: int

    @property
    def judged(self) -> int:
        """How many verdicts in all."""
        return self.consistent + self.inconsistent + self.undetermined

    def json(self) -> dict[str, Any]:
        """The counts."""
        return {"judged": self.judged, **self._asdict()}


class Summary(NamedTuple):
    """All counts. `left_off`: groups of a kind beyond those listed. An event with several purposes is in each's."""

    total: Group
    groups: dict[str, list[Group]]
    left_off: dict[str, int]
    open_complaints: int
    answered_complaints: int

    def json(self) -> dict[str, Any]:
        """The counts as every door sends them."""
        totals = self.total.json()
        del totals["name"]
        found: dict[str, Any] = {
            **totals,
            "complaints": {"open": self.open_complaints, "answered": self.answered_complaints},
        }
        for kind in KINDS_OF_GROUP:
            found[f"by_{kind}"] = [{kind: group.name, **_unnamed(group)} for group in self.groups[kind]]
        found["left_off"] = {kind: count for kind, count in self.left_off.items() if count}
        return found


def _unnamed(group: Group) -> dict[str, Any]:
    counts = group.json()
    del counts["name"]
    return counts


def period_of(instant: int, period: str) -> str:
    """The day or month of an instant, in UTC.

    >>> period_of(1_772_625_600_000_000, "month"), period_of(1_772_625_600_000_000, "day")
    ('2026-03', '2026-03-04')
    """
    return rfc3339(min(instant, LAST_INSTANT))[: PERIODS[period]]


def in_order(kind: str, groups: Iterable[Group]) -> list[Group]:
    """Periods in time; others by how many were judged, most first."""
    if kind == "period":
        return sorted(groups)
    return sorted(groups, key=lambda group: (-group.judged, group.name))


class Tally:
    """Counts one verdict after the other; tallies of several partitions can be added up."""

    def __init__(self) -> None:
        self.total = [0, 0, 0, 0]
        self.counts: dict[str, dict[str, list[int]]] = {kind: {} for kind in KINDS_OF_GROUP}

    def count(
        self, kind: str, service: str, purposes: Sequence[str], period: str, outcome: str, *, changed: bool
    ) -> None:
        """One more verdict."""
        at = OUTCOMES.index(outcome)
        names = {"purpose": purposes, "service": (service,), "kind": (kind,), "period": (period,)}
        lines = [self.total]
        lines += [self.counts[of].setdefault(name, [0, 0, 0, 0]) for of, given in names.items() for name in given]
        for line in lines:
            line[at] += 1
            line[_CHANGED] += changed

    def add(self, other: "Tally") -> None:
        """Takes in another's counts."""
        _add(self.total, other.total)
        for kind, counts in other.counts.items():
            for name, line in counts.items():
                _add(self.counts[kind].setdefault(name, [0, 0, 0, 0]), line)

    def summary(self, open_complaints: int, answered_complaints: int) -> Summary:
        """What was counted, at most `MAX_GROUPS` of a kind: those with the most verdicts."""
        groups, left_off = {}, {}
        for kind, counts in self.counts.items():
            found = sorted((Group(name, *line) for name, line in counts.items()), key=lambda g: (-g.judged, g.name))
            groups[kind] = in_order(kind, found[:MAX_GROUPS])
            left_off[kind] = max(0, len(found) - MAX_GROUPS)
        return Summary(Group("", *self.total), groups, left_off, open_complaints, answered_complaints)


def _add(line: list[int], other: Sequence[int]) -> None:
    for i, n in enumerate(other):
        line[i] += n

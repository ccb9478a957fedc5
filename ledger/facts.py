"""What is known of one resident. Fold events in, in log order; ask about any moment.

Facts answer "as of instant t" for every t, because verdicts look at the moment of use, not at the order of the log.
So each fact keeps its stamp in sorted lists, grouped by what it says: asking costs a binary search in each group,
which does not grow with how much a resident has done.

>>> facts = Facts()
>>> facts.fold(e.KINDS["preference.set"](id="e1", source="/my", subject="res_7f2c", time="1970-01-01T00:00:01Z",
...     data=e.PreferenceSet(channel="email", allowed=True)), offset=7)
>>> facts.last_preference("email", 1_000_000), facts.last_preference("email", 999_999)
((1000000, 7, True), None)

`Known` keeps facts twice once a grant is backdated: with, and without such grants (verdicts.md, "backdated").
Repeats are the caller's to drop.
"""

import copy
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from msgspec import UNSET

from ledger import events as e
from ledger.codec import instant
from ledger.policy import Policy
from ledger.stamps import DAY, FOREVER, Ids, Intervals, Stamp, place, until


class Coverage(NamedTuple):
    """What a consent covers; None: all, and for `recipients` nobody."""

    purposes: Ids
    categories: Ids | None
    operations: Ids | None
    recipients: Ids | None

    def covers(self, policy: Policy, purpose: str, category: str, operation: str) -> bool:
        """A consent covers (p, c) for the event's operation (verdicts.md)."""
        return (
            policy.within_any_purpose(purpose, self.purposes)
            and (self.categories is None or policy.has(self.categories, category))
            and (self.operations is None or policy.within_operation(operation, self.operations))
        )


class Facts:
    """What is known of one resident."""

    __slots__ = (
        "_consent_events",
        "_contest_events",
        "_resolved",
        "_told",
        "anonymity",
        "collected",
        "collections",
        "consents",
        "contests",
        "count",
        "erasures",
        "notices",
        "preferences",
    )

    def __init__(self) -> None:
        self.count = 0
        self.notices: dict[tuple[Ids, Ids], list[Stamp]] = {}  # by (categories, purposes)
        self.collections: dict[tuple[Ids, Ids], list[Stamp]] = {}  # by (categories, purposes)
        self.collected: dict[str, dict[str, list[Stamp]]] = {}  # the same by category, then purpose
        self._told: dict[str, dict[str, Stamp]] = {}  # the first notice, by category, then purpose
        self.erasures: dict[Ids | None, list[Stamp]] = {}  # by categories
        self.consents: dict[Coverage, Intervals] = {}
        self.preferences: dict[str, list[tuple[int, int, bool]]] = {}
        self.anonymity: list[tuple[int, int, bool]] = []
        self.contests: dict[Ids, Intervals] = {}  # by categories
        self._consent_events: dict[str, list[tuple[int, int, Coverage | None, int]]] = {}
        self._contest_events: dict[str, list[tuple[Stamp, Ids]]] = {}
        self._resolved: dict[str, int] = {}

    def fold(self, event: e.Event, offset: int) -> None:
        """Takes in one fact; events that are no facts change nothing."""
        data = event.data
        fold = _FOLDS.get(type(data))
        if fold is not None:
            fold(self, data, (instant(event.time), offset))
            self.count += 1

    def last_preference(self, channel: str, t: int) -> tuple[int, int, bool] | None:
        """The last preference about a channel: (instant, offset, allowed)."""
        return _last(self.preferences.get(channel), t)

    def anonymous(self, t: int) -> Stamp | None:
        """The record by which the resident is anonymous at t, if they are."""
        last = _last(self.anonymity, t)
        return last[:2] if last is not None and last[2] else None

    def erased_until(self, policy: Policy, category: str, t: int) -> int:
        """The instant of the latest erasure of the category with time <= t; -1 when there is none."""
        latest = -1
        for categories, stamps in self.erasures.items():
            if categories is None or policy.has(categories, category):
                at = until(stamps, t)
                if at:
                    latest = max(latest, stamps[at - 1][0])
        return latest

    def told(self, policy: Policy, purpose: str, category: str) -> Stamp | None:
        """The first notice that holds the category and a purpose which this one is within."""
        first: Stamp | None = None
        for c in policy.categories[category]:
            told = self._told.get(c)
            if told is not None:
                for p in policy.purposes[purpose]:
                    stamp = told.get(p)
                    if stamp is not None and (first is None or stamp < first):
                        first = stamp
        return first

    def consent(
        self, policy: Policy, purpose: str, category: str, operation: str, t: int, recipient: str | None = None
    ) -> Stamp | None:
        """The first active consent that covers (p, c), and names the recipient when one is asked for."""
        first: Stamp | None = None
        for coverage, intervals in self.consents.items():
            if recipient is not None and recipient not in (coverage.recipients or ()):
                continue
            found = intervals.first_covering(t)
            if (
                found is not None
                and (first is None or found < first)
                and coverage.covers(policy, purpose, category, operation)
            ):
                first = found
        return first

    def _fold_notice(self, data: e.NoticeGiven, stamp: Stamp) -> None:
        place(self.notices, (data.categories, data.purposes), stamp)
        for category in data.categories:
            told = self._told.get(category)
            if told is None:
                told = self._told[category] = {}
            for purpose in data.purposes:
                first = told.get(purpose)
                if first is None or stamp < first:
                    told[purpose] = stamp

    def _fold_collection(self, data: e.DataCollected, stamp: Stamp) -> None:
        place(self.collections, (data.categories, data.purposes), stamp)
        for category in data.categories:
            by_purpose = self.collected.get(category)
            if by_purpose is None:
                by_purpose = self.collected[category] = {}
            for purpose in data.purposes:
                place(by_purpose, purpose, stamp)

    def _fold_erasure(self, data: e.DataErased, stamp: Stamp) -> None:
        place(self.erasures, _or_none(data.categories), stamp)

    def _fold_consent_given(self, data: e.ConsentGiven, stamp: Stamp) -> None:
        coverage = Coverage(
            data.purposes, _or_none(data.categories), _or_none(data.operations), _or_none(data.recipients)
        )
        expires = FOREVER if data.expires_at is UNSET else instant(data.expires_at)
        self._place_consent(data.consent_id, (*stamp, coverage, expires))

    def _fold_consent_withdrawn(self, data: e.ConsentWithdrawn, stamp: Stamp) -> None:
        self._place_consent(data.consent_id, (*stamp, None, 0))

    def _place_consent(self, consent_id: str, entry: tuple[int, int, Coverage | None, int]) -> None:
        """Each given event is active until it expires or the same consent's next event begins."""
        line = self._consent_events.get(consent_id)
        if line is None:
            line = self._consent_events[consent_id] = []
        at = bisect_left(line, entry[:2], key=_stamp) if line else 0
        line.insert(at, entry)
        for i in (at - 1, at):
            if i >= 0:
                t, offset, coverage, expires = line[i]
                if coverage is not None:
                    end = min(expires, line[i + 1][0]) if i + 1 < len(line) else expires
                    intervals = self.consents.get(coverage)
                    if intervals is None:
                        intervals = self.consents[coverage] = Intervals()
                    intervals.put((t, offset), end)

    def _fold_preference(self, data: e.PreferenceSet, stamp: Stamp) -> None:
        place(self.preferences, data.channel, (*stamp, data.allowed))

    def _fold_anonymity_chosen(self, data: e.AnonymityChosen, stamp: Stamp) -> None:
        insort(self.anonymity, (*stamp, True))

    def _fold_anonymity_ended(self, data: e.AnonymityEnded, stamp: Stamp) -> None:
        insort(self.anonymity, (*stamp, False))

    def _fold_contest(self, data: e.DataContested, stamp: Stamp) -> None:
        self._contest_events.setdefault(data.contest_id, []).append((stamp, data.categories))
        end = self._resolved.get(data.contest_id, FOREVER)
        self.contests.setdefault(data.categories, Intervals()).put(stamp, end)

    def _fold_resolution(self, data: e.ContestResolved, stamp: Stamp) -> None:
        if stamp[0] >= self._resolved.get(data.contest_id, FOREVER):
            return
        self._resolved[data.contest_id] = stamp[0]
        for start, categories in self._contest_events.get(data.contest_id, []):
            self.contests[categories].put(start, stamp[0])


def _or_none(ids: Any) -> Ids | None:
    return None if ids is UNSET else ids


def _stamp(entry: tuple[int, int, Any, int]) -> Stamp:
    return entry[:2]


def _last(line: list[tuple[int, int, bool]] | None, t: int) -> tuple[int, int, bool] | None:
    if not line:
        return None
    if line[-1][0] <= t:
        return line[-1]
    at = bisect_right(line, (t, FOREVER))
    return line[at - 1] if at else None


_FOLDS: dict[type, Callable[..., None]] = {
    e.NoticeGiven: Facts._fold_notice,
    e.DataCollected: Facts._fold_collection,
    e.DataErased: Facts._fold_erasure,
    e.ConsentGiven: Facts._fold_consent_given,
    e.ConsentWithdrawn: Facts._fold_consent_withdrawn,
    e.PreferenceSet: Facts._fold_preference,
    e.AnonymityChosen: Facts._fold_anonymity_chosen,
    e.AnonymityEnded: Facts._fold_anonymity_ended,
    e.DataContested: Facts._fold_contest,
    e.ContestResolved: Facts._fold_resolution,
}


class _Foldable(Protocol):
    def fold(self, event: e.Event, offset: int) -> None: ...


_State = TypeVar("_State", bound=_Foldable)


class Known(Generic[_State]):
    """Facts as they are (`full`), and with every backdated grant left out (`clean`): one object until they differ."""

    __slots__ = ("clean", "full")

    def __init__(self, empty: _State) -> None:
        self.full = empty
        self.clean = empty

    @property
    def differ(self) -> bool:
        """Whether a backdated grant is known."""
        return self.clean is not self.full

    def fold(self, event: e.Event, offset: int) -> None:
        """Takes in one fact, on both sides where it counts on both."""
        if backdated(event):
            if self.clean is self.full:
                self.clean = copy.deepcopy(self.full)
            self.full.fold(event, offset)
            return
        self.full.fold(event, offset)
        if self.clean is not self.full:
            self.clean.fold(event, offset)


_GRANTS = frozenset(
    {
        e.NoticeGiven,
        e.DataCollected,
        e.ConsentGiven,
        e.PreferenceSet,
        e.AnonymityEnded,
        e.AgreementSigned,
        e.LegalDemandDecided,
    }
)


def backdated(event: e.Event) -> bool:
    """Whether this is a grant recorded more than 24 hours after the time it claims."""
    data = event.data
    if type(data) not in _GRANTS or event.recordedtime is UNSET:
        return False
    claimed = data.valid_from if type(data) is e.AgreementSigned else event.time
    return event.recordedtime != claimed and instant(event.recordedtime) - instant(claimed) > DAY


RESIDENT_FACTS = frozenset(_FOLDS)
"""The `data` types that are facts about a resident for a verdict."""

FACT_KINDS = tuple(kind for kind, event in e.KINDS.items() if event.__annotations__["data"] in RESIDENT_FACTS)
"""Their kinds, in the order of the catalogue."""

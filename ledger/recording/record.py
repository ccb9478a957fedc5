"""The rules of the record path: what is appended, what is a repeat, what is refused. No threads, no clock, no I/O.

An event that was parsed (`ledger.codec`) and authorised (`ledger.authority`) is sealed, compared with what is known
under its (`source`, `id`), held against the rules that depend on what the ledger knows, stamped and encoded.
`ledger.recording.recorder` runs these steps for groups of events against a real log.

>>> from ledger import codec
>>> from ledger.events import KINDS
>>> event = KINDS["anonymity.chosen"](id="e1", source="/my", subject="res_7f2c", time="2026-03-03T12:00:00Z", data={})
>>> now = codec.instant("2026-03-03T11:50:00Z")
>>> check_time(event, now)
Traceback (most recent call last):
ledger.errors.Malformed: the event breaks the contract: /time in-the-future
>>> b'"recordedtime":"2026-03-03T11:50:00.000000Z","recordedby":"web"' in codec.encode(stamp(event, now, "web"))
True
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import lru_cache
from typing import NamedTuple, Protocol

import msgspec
from msgspec import UNSET

from ledger import codec
from ledger.authority import MY_SOURCE
from ledger.errors import Conflict, ConsentLedgerError, Forbidden, Malformed, NotYet, Problem
from ledger.events import ConsentGiven, ConsentWithdrawn, Event, PolicyPublished
from ledger.log import Position
from ledger.recording.receipts import Line
from ledger.tree.merkle import leaf_hash

MAX_AHEAD_US = 5 * 60 * 1_000_000

_written = lru_cache(maxsize=16)(codec.rfc3339)
"""A whole group is recorded at one time."""

Key = tuple[str, str]
"""(`source`, `id`): with the subject, what makes an event the same event."""

Consent = tuple[str, str]
"""(`subject`, `consent_id`)."""

Clock = Callable[[], int]
"""The ledger's clock: whole microseconds since 1970 UTC."""


class Known(NamedTuple):
    """A record that the ledger already has: its position and its bytes."""

    position: Position
    value: bytes


class Index(Protocol):
    """What the projected views answer to the door. Every method raises `Unavailable` when they cannot be asked."""

    def projected(self) -> dict[int, int]:
        """For each partition the offset that the views have not reached yet: all before it is in them."""

    def find(self, keys: Sequence[Key]) -> dict[Key, list[Known]]:
        """The records with these (`source`, `id`), the first of every subject; nothing for a key not known."""

    def consent_owners(self, consents: Sequence[Consent]) -> dict[Consent, str]:
        """The source that first gave each of these consents; nothing for one not known."""

    def reference_facts(self) -> list[Known]:
        """Every partition's reference facts, by partition and offset."""


class ExclusiveLock(Protocol):
    """One holder at a time among all processes that write reference facts."""

    def hold(self) -> AbstractContextManager[None]:
        """Waits for the lock, within bounds, then holds it; raises `Unavailable`."""


class Busy(NotYet):
    """This client alone has too many events waiting: slow down (HTTP 429 with `Retry-After`)."""


class Recorded(NamedTuple):
    """An event that is in the log: `new` when this call put it there, else it was there before."""

    line: Line
    new: bool


Result = Recorded | ConsentLedgerError


class Answer(NamedTuple):
    """What a call gets: a result for each of its events, in order, and one receipt for those recorded."""

    results: tuple[Result, ...]
    receipt: str | None


def recorded(known: Known, new: bool) -> Recorded:
    """The result for a record in the log."""
    event = codec.read(known.value)
    assert isinstance(event.recordedtime, str), "a record in the log is stamped"
    return Recorded(Line(known.position, leaf_hash(known.value), event.recordedtime), new)


def stamp(event: Event, now_us: int, client_id: str) -> Event:
    """The event as the ledger appends it."""
    return msgspec.structs.replace(event, recordedtime=_written(now_us), recordedby=client_id)


def subject_of(event: Event) -> str | None:
    """The resident, or None for a reference fact."""
    return event.subject if isinstance(event.subject, str) else None


def is_reference(event: Event) -> bool:
    """Whether the event is a reference fact: it has no subject, and goes to every partition."""
    return event.subject is UNSET


def repeat_of(event: Event, known: Sequence[Known]) -> Recorded | None:
    """The first record of this very event; None when the id is new.

    `event` is sealed. Raises `Conflict` when the id is known with other content or under another subject.
    """
    if not known:
        return None
    of_subject: list[tuple[Position, Known, Event]] = []
    for candidate in known:
        other = codec.read(candidate.value)
        if subject_of(other) == subject_of(event):
            of_subject.append((candidate.position, candidate, other))
    if not of_subject:
        raise Conflict(str(min(k.position for k in known)))
    _, first, other = min(of_subject, key=lambda found: found[0])
    if not codec.same_content(event, other):
        raise Conflict(str(first.position))
    return recorded(first, new=False)


def check_time(event: Event, now_us: int) -> None:
    """Raises `Malformed` when the event says to have happened more than 5 minutes from now."""
    if codec.instant(event.time) > now_us + MAX_AHEAD_US:
        raise Malformed([Problem("/time", "in-the-future")])


def consent_of(event: Event) -> Consent | None:
    """The consent that the event gives or withdraws."""
    if isinstance(event.data, ConsentGiven | ConsentWithdrawn):
        return (str(event.subject), event.data.consent_id)
    return None


def check_consent(event: Event, owners: Mapping[Consent, str]) -> None:
    """Raises `Forbidden` when the consent is another source's; a resident may withdraw any of theirs."""
    consent = consent_of(event)
    if consent is None:
        return
    owner = owners.get(consent, event.source)
    if event.source == owner or (isinstance(event.data, ConsentWithdrawn) and event.source == MY_SOURCE):
        return
    raise Forbidden("consent", "this consent_id is another source's")


def check_policy(event: Event, now_us: int, policy_ids: Sequence[str]) -> None:
    """Raises `Malformed` for a policy that the ledger, having the policies of `policy_ids`, cannot take."""
    if not isinstance(event.data, PolicyPublished) or not policy_ids:
        return
    found = []
    if event.data.policy_id not in policy_ids:
        found.append(Problem("/data/policy_id", "another-policy"))
    if codec.instant(event.data.effective_from) < now_us:
        found.append(Problem("/data/effective_from", "in-the-past"))
    if found:
        raise Malformed(found)

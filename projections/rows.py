"""What the views answer with: plain rows, typed. Times are in UTC; `position` is the record that a row comes from.

>>> consent = Consent(
...     "c1", 3, "given", datetime(2026, 3, 1), 1041, 1041, "/my", ["4.7"], None, None, None, "web", None, None
... )
>>> str(consent.position)
'3-1041'
"""

from datetime import datetime
from typing import Any, NamedTuple

import orjson

from ledger import codec
from ledger.log import Position


class LogEntry(NamedTuple):
    """One event of a resident's log with today's outcome, None unless it is judged; `body` is the record's bytes."""

    position: Position
    kind: str
    source: str
    id: str
    occurred: datetime
    body: bytes
    outcome: str | None
    first_outcome: str | None


class LogPage(NamedTuple):
    """A page of a log in one snapshot: the first offset that the view has not `reached` in the resident's partition,
    and whether any law withholds, or withheld, something from the reader."""

    reached: int
    withholds: bool
    entries: list[LogEntry]


class Record(NamedTuple):
    """A record of the timeline; `subject` None: a reference fact."""

    position: Position
    subject: str | None
    kind: str
    source: str
    id: str
    occurred: datetime
    body: bytes


class Verdict(NamedTuple):
    """One verdict for the positions known_from <= K < known_until (None: still)."""

    position: Position
    known_from: int
    known_until: int | None
    subject: str
    source: str
    id: str
    kind: str
    outcome: str
    first_outcome: str
    policy_id: str | None
    policy_version: str | None
    basis: list[str]
    findings: str
    body: bytes

    def json(self, known_at: int) -> dict[str, Any]:
        """The contract's JSON, as known at offset `known_at` (ledger.history.verdict_json)."""
        superseded = None if self.known_until is None else str(Position(self.position.partition, self.known_until))
        policy = None if self.policy_id is None else {"policy_id": self.policy_id, "version": self.policy_version}
        return {
            "source": self.source,
            "id": self.id,
            "position": str(self.position),
            "subject": self.subject,
            "outcome": self.outcome,
            "first_outcome": self.first_outcome,
            "basis": self.basis,
            "findings": orjson.Fragment(self.findings),
            "policy": policy,
            "as_of": codec.read(self.body).time,
            "known_at": str(Position(self.position.partition, known_at)),
            "superseded_by": superseded,
        }


class Stated(NamedTuple):
    """What the views say of an event in one snapshot: the first offset that they have not `reached` in its partition,
    whether any law withholds, or withheld, something from the reader, and its verdict, if it has one."""

    reached: int
    withholds: bool
    verdict: Verdict | None


class Consent(NamedTuple):
    """A consent as its latest event left it; all from `source` on are None when only its withdrawal is known."""

    consent_id: str
    partition: int
    state: str
    since: datetime
    since_offset: int
    given_offset: int | None
    source: str | None
    purposes: list[str] | None
    categories: list[str] | None
    operations: list[str] | None
    recipients: list[str] | None
    method: str | None
    notice_id: str | None
    expires_at: datetime | None

    @property
    def position(self) -> Position:
        """The record that decides the state."""
        return Position(self.partition, self.since_offset)

    def active(self, now: datetime) -> bool:
        """Whether the consent holds at this moment."""
        return self.state == "given" and self.since <= now and (self.expires_at is None or now < self.expires_at)


class Preference(NamedTuple):
    """Whether messages on a channel are allowed."""

    channel: str
    partition: int
    allowed: bool
    since: datetime
    since_offset: int

    @property
    def position(self) -> Position:
        """The record that says so."""
        return Position(self.partition, self.since_offset)


class Anonymity(NamedTuple):
    """Whether the resident engages anonymously."""

    partition: int
    anonymous: bool
    since: datetime
    since_offset: int

    @property
    def position(self) -> Position:
        """The record that says so."""
        return Position(self.partition, self.since_offset)


class Holding(NamedTuple):
    """One category of one collection; `told`: of its declared purposes those that the resident had been told."""

    partition: int
    offset: int
    occurred: datetime
    category: str
    source: str
    purposes: list[str]
    told: list[str]
    origin: str
    notice_id: str | None
    erased: datetime | None
    erased_offset: int | None

    @property
    def position(self) -> Position:
        """The collection."""
        return Position(self.partition, self.offset)


class Case(NamedTuple):
    """A contest, complaint, access request, incident, erasure or demand; None in `resolved`: it waits."""

    partition: int
    kind: str
    case_id: str
    subject: str | None
    opened: datetime | None
    opened_offset: int | None
    source: str | None
    what: str | None
    about_source: str | None
    about_id: str | None
    categories: list[str] | None
    resolved: datetime | None
    resolved_offset: int | None
    outcome: str | None


class ReferenceFact(NamedTuple):
    """A rule as it stands; `key` names it within its kind."""

    partition: int
    offset: int
    kind: str
    key: str
    occurred: datetime
    body: str

    @property
    def position(self) -> Position:
        """The record."""
        return Position(self.partition, self.offset)


class Withheld(NamedTuple):
    """An event, by its offset and by source and id, that its resident may not see before `until`; the law behind it."""

    offset: int
    source: str
    id: str
    citation: str
    until: datetime


class Halted(NamedTuple):
    """A partition that stands still at a record, and why."""

    partition: int
    offset: int
    code: str
    since: datetime

    @property
    def position(self) -> Position:
        """The record that cannot be read."""
        return Position(self.partition, self.offset)

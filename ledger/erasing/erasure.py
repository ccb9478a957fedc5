"""An erasure: what was asked, how far it has come, and the events that say so. Pure.

    asked -> (approved, when an operator asked) -> erasure.requested is in the log -> key and logins are destroyed
          -> data.erased is in the log -> done

The intention is durable before anything else, and each step may be done again: the events' ids are made from the
erasure's own, so whoever repeats a step finds the first record.

>>> erasure = Erasure("x1", "res_7f2c", None, IN_PROGRESS, asked_by="my-pages", asked_time="2026-03-03T12:00:00Z",
...     requested_time="2026-03-03T12:00:00Z")
>>> event = requested_event(erasure)
>>> event.source, event.id, event.data.erasure_id, event.time
('/ledger', 'x1.requested', 'x1', '2026-03-03T12:00:00Z')

`categories` None means everything: the resident's key and logins are destroyed. With categories the log says that those
were erased; key, sealed fields and login stay.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

from msgspec import UNSET

from ledger.authority import LEDGER_SOURCE, Door, Principal
from ledger.errors import ConsentLedgerError
from ledger.events import KINDS, DataErased, ErasureRequested, Event
from ledger.log import Position
from ledger.recording.record import Answer

AWAITING, IN_PROGRESS, DONE, WITHDRAWN = "awaiting-approval", "in-progress", "done", "withdrawn"
STATES = (AWAITING, IN_PROGRESS, DONE, WITHDRAWN)
REQUESTED_SUFFIX, ERASED_SUFFIX = ".requested", ".erased"
Submit = Callable[[Sequence[Event | ConsentLedgerError], Principal, Door], "Future[Answer]"]
"""`Recorder.submit`."""


@dataclass(frozen=True, slots=True)
class Erasure:
    """One erasure. Times are those of its events, RFC 3339; positions where these stand. None: not so far yet."""

    erasure_id: str
    subject: str
    categories: tuple[str, ...] | None
    state: str
    asked_by: str
    asked_time: str
    approved_by: str | None = None
    requested_time: str | None = None
    requested: Position | None = None
    erased_time: str | None = None
    erased: Position | None = None
    receipt: str | None = None

    @property
    def everything(self) -> bool:
        """Whether the resident's key and logins go too."""
        return self.categories is None


class Asked(NamedTuple):
    """A new erasure, and under which idempotency key of whose it was asked for."""

    erasure: Erasure
    asked_as: str
    idempotency_key: str
    person: bytes | None = None
    """The operator's `sub`, under the vault's map key."""


class Logged(NamedTuple):
    """Where an erasure stands in the log. `categories` is what the first of its records there says."""

    erasure_id: str
    subject: str
    categories: tuple[str, ...] | None
    requested: Position | None
    erased: Position | None


class ErasureIndex(Protocol):
    """What the projected views know of erasures."""

    def erasures(self, subjects: Sequence[str] | None = None) -> tuple[dict[int, int], list[Logged]]:
        """For each partition the first offset not in the views, and the erasures before it (of these residents).

        One snapshot. Raises `Unavailable`.
        """

    def sealing_key(self, subject: str) -> str | None:
        """The id of the key that this resident's latest sealed record names."""


class ErasureTable(Protocol):
    """The durable table of erasures in the vault, as the eraser needs it. Each method may be called again."""

    def alone(self) -> AbstractContextManager[bool]:
        """Whether no other process erases now; holds them off until the block ends."""

    def unfinished(self, after: tuple[str, str] | None = None) -> list[Erasure]:
        """Those in progress, the oldest first; a bounded number. `after`: time and id of the last one before them."""

    def note_requested(self, erasure_id: str, position: Position) -> None:
        """`erasure.requested` is in the log."""

    def destroy(self, erasure: Erasure, time: str, key_id: str | None = None) -> Erasure:
        """Destroys key and logins, when everything is erased, and notes when, in one transaction.

        `key_id`: what to call the key in the row that says it was destroyed, where the vault does not know it; not
        taken when it is the name of another resident's.
        """

    def note_done(self, erasure_id: str, position: Position, receipt: str | None) -> None:
        """`data.erased` is in the log."""

    def adopt(self, erasure: Erasure) -> None:
        """Takes in what the log knows and the table does not."""

    def unknown(self, erasure_ids: Sequence[str]) -> set[str]:
        """Those of these that the table does not have, or has as not begun."""

    def not_destroyed(self, subjects: Sequence[str]) -> set[str]:
        """Those of these residents who have a key, no row that says it was destroyed, or a login."""


def requested_event(erasure: Erasure) -> Event:
    """The `erasure.requested` of an erasure that may begin."""
    assert erasure.requested_time is not None, "it may not begin yet"
    data = ErasureRequested(erasure_id=erasure.erasure_id, categories=_categories(erasure))
    return _event("erasure.requested", erasure, REQUESTED_SUFFIX, erasure.requested_time, data)


def erased_event(erasure: Erasure) -> Event:
    """The `data.erased` of an erasure whose key and logins are gone."""
    assert erasure.erased_time is not None, "nothing is destroyed yet"
    data = DataErased(erasure_id=erasure.erasure_id, categories=_categories(erasure))
    return _event("data.erased", erasure, ERASED_SUFFIX, erasure.erased_time, data)


def _event(kind: str, erasure: Erasure, suffix: str, time: str, data: Any) -> Event:
    event_id = erasure.erasure_id + suffix
    return KINDS[kind](id=event_id, source=LEDGER_SOURCE, subject=erasure.subject, time=time, data=data)


def _categories(erasure: Erasure) -> Any:
    return UNSET if erasure.categories is None else erasure.categories


def categories_of(data: ErasureRequested | DataErased) -> tuple[str, ...] | None:
    """The categories that a record names; None: everything."""
    return None if data.categories is UNSET else data.categories


def from_records(requested: tuple[Position, Event] | None, erased: tuple[Position, Event] | None) -> Erasure:
    """An erasure as its records in the log tell it; one of the two is there."""
    first = requested or erased
    assert first is not None and isinstance(first[1].data, ErasureRequested | DataErased)
    event = first[1]
    found = Erasure(
        erasure_id=event.data.erasure_id,
        subject=str(event.subject),
        categories=categories_of(event.data),
        state=DONE if erased else IN_PROGRESS,
        asked_by=str(event.recordedby),
        asked_time=event.time,
        requested_time=event.time,
        requested=requested[0] if requested else None,
    )
    return found if erased is None else replace(found, erased=erased[0], erased_time=erased[1].time)

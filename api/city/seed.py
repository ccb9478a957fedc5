"""Records the story through the record path, with the ledger's clock set to the story's own.

    clock = StoryClock()
    recorder = Recorder(log, index, vault, lock, clock=clock, signer=signer)
    recorder.start()
    seeded = seed(recorder, clock)        # Seeded(new=163, known=0); a second time Seeded(new=0, known=163)

Each event is sent by the client that would send it, through the door it would come in by. On a development data
directory only: nothing else may set the ledger's clock.

>>> clock = StoryClock()
>>> clock.set("2025-03-03T17:00:00Z"); clock()
1741021200000000
"""

import time
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import NamedTuple, Protocol

from api.city.entry import Entry
from api.city.places import principal_of
from api.city.story import story
from ledger import codec
from ledger.authority import Door, Principal
from ledger.errors import ConsentLedgerError, NotYet, Unavailable
from ledger.events import Event
from ledger.recording.record import Answer, Recorded

PATIENCE_S = 60.0
_AGAIN_AFTER_S = 0.2


class StoryClock:
    """The ledger's clock while the story is recorded: it stands still until it is set."""

    def __init__(self) -> None:
        self._now_us = 0

    def set(self, time: str) -> None:
        """Sets the clock to an RFC 3339 time."""
        self._now_us = codec.instant(time)

    def __call__(self) -> int:
        """The time, in whole microseconds since 1970."""
        return self._now_us


class _Answering(Protocol):
    def result(self, timeout: float | None = None) -> Answer: ...


class Records(Protocol):
    """What `seed` needs of the recorder."""

    def submit(
        self, items: Sequence[Event | ConsentLedgerError], principal: Principal, door: Door = Door.EVENTS
    ) -> _Answering:
        """Hands in a call."""


class Seeded(NamedTuple):
    """How many facts about residents were recorded now, and how many had been before.

    The few reference facts are not counted: a broadcast takes a record with its own bytes for its own, and under a
    clock that stands still an earlier seeding's are the same.
    """

    new: int
    known: int


def seed(
    recorder: Records,
    clock: StoryClock,
    entries: Sequence[Entry] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Seeded:
    """Records the story, one instant and client after the other; what is in the log already stays as it is.

    `progress` is told how many events are done, and of how many. Raises what the record path refused, `Conflict` when
    the log holds an earlier version of the story, or `Unavailable` when the recorder stays away for a minute.
    """
    told = story() if entries is None else entries
    new = known = done = 0
    for (recorded, source, subject), at_once in groupby(told, key=_call):
        clock.set(recorded)
        principal, door = principal_of(source, subject)
        events = [codec.parse(entry.raw) for entry in at_once]
        results = _recorded(recorder, events, principal, door)
        done += len(results)
        if subject is not None:
            new += sum(result.new for result in results)
            known += sum(not result.new for result in results)
        if progress is not None:
            progress(done, len(told))
    return Seeded(new, known)


def _call(entry: Entry) -> tuple[str, str, str | None]:
    return entry.recorded, entry.source, entry.subject


def _recorded(recorder: Records, events: Sequence[Event], principal: Principal, door: Door) -> list[Recorded]:
    """The records of one call; asks again while the recorder is not there yet."""
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            results = recorder.submit(events, principal, door).result(PATIENCE_S).results
            refused = next((r for r in results if not isinstance(r, Recorded)), None)
            if refused is not None:
                raise refused
            return [r for r in results if isinstance(r, Recorded)]
        except NotYet:
            if time.monotonic() > until:
                raise
        except TimeoutError:
            raise Unavailable("the recorder did not answer: is the broker up?") from None
        time.sleep(_AGAIN_AFTER_S)

"""Calls that wait to be recorded: bounded in all and for each client, taken in groups, answered once.

>>> from ledger.authority import Principal
>>> from ledger.errors import NotFound
>>> inbox = Inbox(queue_events=3, client_events=2)
>>> permits = Principal("permits-app", {})
>>> call = inbox.put(Call.of([NotFound("a"), NotFound("b")], permits, Door.EVENTS))
>>> inbox.put(Call.of([NotFound("c")], permits, Door.EVENTS))
Traceback (most recent call last):
ledger.recording.record.Busy: too many events of this client wait: send slower
>>> [len(c.items) for c in inbox.take(group_events=100, room=100)]
[2]
"""

import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from ledger.authority import Door, Principal
from ledger.errors import ConsentLedgerError, Unavailable
from ledger.events import Event
from ledger.recording import receipts
from ledger.recording.record import Answer, Busy, Recorded, Result
from ledger.tree.note import Signer


@dataclass(slots=True, eq=False)
class Call:
    """One call: its events (or why one is refused already), who sent them, and the answer to come."""

    items: Sequence[Event | ConsentLedgerError]
    principal: Principal
    door: Door
    answer: "Future[Answer]"
    results: list[Result | None]
    left: int

    @classmethod
    def of(cls, items: Sequence[Event | ConsentLedgerError], principal: Principal, door: Door) -> "Call":
        """A call with nothing answered yet."""
        answer: Future[Answer] = Future()
        answer.set_running_or_notify_cancel()  # a caller that goes away does not undo what it sent
        return cls(items, principal, door, answer, [None] * len(items), len(items))

    def finish(self, index: int, result: Result, signer: Signer | None) -> None:
        """Answers one event; the last one answers the call, with a receipt for all that are recorded.

        Without a signer there is no receipt.
        """
        assert self.results[index] is None, "an event is answered once"
        self.results[index] = result
        self.left -= 1
        if self.left:
            return
        results = tuple(r for r in self.results if r is not None)
        lines = [r.line for r in results if isinstance(r, Recorded)]
        receipt = receipts.issue(lines, signer) if lines and signer is not None else None
        self.answer.set_result(Answer(results, receipt))


@dataclass(slots=True, eq=False)
class Slot:
    """One event of a call, by its place there."""

    call: Call
    index: int
    event: Event


class Inbox:
    """Calls in order of arrival. Any thread puts, one takes."""

    def __init__(self, queue_events: int, client_events: int) -> None:
        self._queue_events = queue_events
        self._client_events = client_events
        self._guard = threading.Lock()
        self._calls: deque[Call] = deque()
        self._waiting_of: dict[str, int] = {}
        self._waiting = 0
        self._refusal: str | None = None

    def __len__(self) -> int:
        return self._waiting

    def refuse(self, why: str | None) -> None:
        """From now on every new call is `Unavailable` for this reason; None: taken again."""
        with self._guard:
            self._refusal = why

    @property
    def refusal(self) -> str | None:
        """Why new calls are refused."""
        return self._refusal

    def put(self, call: Call) -> Call:
        """Takes a call in, or raises `Unavailable` or `Busy` at once."""
        count, client = len(call.items), call.principal.client_id
        with self._guard:
            if self._refusal is not None:
                raise Unavailable(self._refusal)
            if self._waiting + count > self._queue_events:
                raise Unavailable("too many events wait to be recorded: send again")
            mine = self._waiting_of.get(client, 0) + count
            if mine > self._client_events:
                raise Busy("too many events of this client wait: send slower")
            self._waiting += count
            self._waiting_of[client] = mine
            self._calls.append(call)
        return call

    def take(self, group_events: int, room: int) -> list[Call]:
        """The calls that wait, up to about `group_events` events, and none when there is no `room`."""
        group: list[Call] = []
        events = 0
        with self._guard:
            while self._calls and events < room:
                count = len(self._calls[0].items)
                if group and events + count > group_events:
                    break
                call = self._calls.popleft()
                group.append(call)
                events += count
                self._waiting -= count
                left = self._waiting_of.pop(call.principal.client_id) - count
                if left:
                    self._waiting_of[call.principal.client_id] = left
        return group

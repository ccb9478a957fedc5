"""Reads a client's intake topic: in order, as a member of a group, from where the group has committed.

    with Intake("broker:9092", "permits-app") as intake:
        arrivals = intake.poll(0.5)
        ...                                          # record or reject each, and have that acknowledged
        intake.commit(arrivals)                      # only then

The group hands out the partitions, so several readers share a client's topic, and keeps the place, so a reader that
takes over goes on where the last one had acknowledgements for. Kafka's client never chooses a place by itself: records
that were deleted before they were read are an arrival of their own, and so is one that cannot be read.
"""

import time
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from kafka import KafkaAdminClient
from kafka.errors import CoordinatorLoadInProgressError, CoordinatorNotAvailableError, NotCoordinatorError

from ledger.errors import GivenAnew, MissingRecords, UnreadableRecord
from ledger.kafka import settings, topics
from ledger.kafka.errors import translated
from ledger.kafka.group import Membership
from ledger.kafka.reader import Reader
from ledger.log import Position
from ledger.recording.intake import DELETED_UNREAD

GROUP_PREFIX = "ledger.record."
SESSION_S = 10.0
RECORDS_A_POLL = 1_000
JOIN_S = 2.0
_COORDINATOR_S = 15.0


def topic_of(client: str) -> str:
    """The topic that this client alone may write."""
    return topics.INTAKE_PREFIX + client


def group_of(client: str) -> str:
    """The group of the processes that record what this client sends."""
    return GROUP_PREFIX + client


class Arrival(NamedTuple):
    """A record, or, with a `code`, what cannot be read; `next_offset` is where reading goes on behind it."""

    partition: int
    offset: int
    value: bytes
    next_offset: int
    code: str | None = None


class Intake:
    """One client's topic. A context manager, used by one thread; `poll` or `keep` at least every minute."""

    def __init__(self, bootstrap: str, client: str, *, security: Mapping[str, Any] | None = None) -> None:
        self.topic = topic_of(client)
        self._reader = Reader(bootstrap, self.topic, security=security)
        try:
            self._membership = Membership(
                bootstrap, self.topic, group_of(client), session_s=SESSION_S, security=security
            )
        except BaseException:
            self._reader.close()
            raise
        self._generation = 0
        self._next: dict[int, int] = {}
        self._waiting: list[Arrival] = []

    def __enter__(self) -> "Intake":
        return self

    def __exit__(self, *exception: object) -> None:
        self._membership.close()
        self._reader.close()

    def poll(self, timeout_s: float, limit: int = RECORDS_A_POLL) -> list[Arrival]:
        """What comes next of each partition that is ours, in order; it is read again until it is committed by `commit`.

        Raises `NotYet` or `LogError` when the broker is away or the topic is not what it was.
        """
        mine = self._membership.partitions(0 if self._next else timeout_s)
        if not self._membership.at_rest:
            mine = self._membership.partitions(JOIN_S)
        if not self._membership.at_rest:
            return []
        if self._membership.generation != self._generation or mine != self._next.keys():
            self._start(mine)
        if not self._next:
            return []
        if self._waiting:
            return self._waiting
        try:
            polled = self._reader.poll(timeout_s, limit)
        except UnreadableRecord as error:
            partition, offset = Position.parse(error.position)
            self._reader.seek(partition, offset + 1)
            self._waiting.append(Arrival(partition, offset, b"", offset + 1, error.code.replace(" ", "-")))
        except MissingRecords:
            self._place(self._next)
        else:
            for partition, records in polled.items():
                for record in records:
                    offset = record.position.offset
                    self._waiting.append(Arrival(partition, offset, record.value, offset + 1))
        return self._waiting

    def keep(self) -> None:
        """Says that we are still there while something takes its time; raises `GivenAnew` when ours may be others'."""
        mine = self._membership.partitions(0)
        moved = self._membership.generation != self._generation or mine != self._next.keys()
        if moved or not self._membership.at_rest:
            raise GivenAnew(f"the partitions of {self.topic} were given out anew")

    def commit(self, arrivals: Iterable[Arrival]) -> None:
        """These are done with. Raises `GivenAnew` or `Unavailable` when that cannot be kept: they are read again."""
        reached = {arrival.partition: arrival.next_offset for arrival in arrivals}
        self._membership.commit(reached)
        self._next |= reached
        self._waiting = []

    def lag(self) -> int:
        """How many offsets of our partitions are not done with."""
        heads = self._reader.heads(*self._next) if self._next else {}
        return sum(max(0, head - self._next[p]) for p, head in heads.items())

    def restart(self) -> None:
        """Forgets what was read: the next `poll` begins where the group has committed."""
        self._generation, self._next, self._waiting = -1, {}, []

    def _start(self, mine: frozenset[int]) -> None:
        committed = self._membership.committed(mine)
        self._place({partition: committed.get(partition, 0) for partition in mine})
        self._generation = self._membership.generation

    def _place(self, starts: Mapping[int, int]) -> None:
        """Reads on from these offsets, or from the oldest there is: what is gone between arrives as such, once."""
        oldest = self._reader.oldest(*starts) if starts else {}
        gone = [Arrival(p, start, b"", oldest[p], DELETED_UNREAD) for p, start in starts.items() if start < oldest[p]]
        self._reader.assign({p: max(start, oldest[p]) for p, start in starts.items()})
        self._next, self._waiting = dict(starts), gone


class Standing(NamedTuple):
    """How a partition of a client's topic stands: what was recorded of it, and what it still holds."""

    client: str
    partition: int
    committed: int
    oldest: int
    head: int

    @property
    def lag(self) -> int:
        """Records that wait."""
        return max(0, self.head - max(self.committed, self.oldest))

    @property
    def lost(self) -> int:
        """Records that were deleted before they were recorded."""
        return max(0, self.oldest - self.committed)


def standings(bootstrap: str, clients: Iterable[str], *, security: Mapping[str, Any] | None = None) -> list[Standing]:
    """For `doctor`: how far the intake of each client has come. Raises `LogError` for a topic that is not there."""
    found = []
    with translated("asking for the intake"), KafkaAdminClient(**settings.admin(bootstrap, security=security)) as admin:
        for client in clients:
            said = _group_offsets(admin, group_of(client))
            committed = {tp.partition: int(at.offset) for tp, at in said.items() if tp.topic == topic_of(client)}
            with Reader(bootstrap, topic_of(client), security=security) as reader:
                oldest, heads = reader.oldest(), reader.heads()
            found += [Standing(client, p, max(0, committed.get(p, 0)), oldest[p], heads[p]) for p in sorted(heads)]
    return found


def _group_offsets(admin: KafkaAdminClient, group: str) -> dict[Any, Any]:
    """What a group has committed. A broker that never had a group first makes its topic for them: asked again."""
    deadline_s = time.monotonic() + _COORDINATOR_S
    while True:
        try:
            found: dict[Any, Any] = admin.list_group_offsets([group]).get(group, {})
            return found
        except (CoordinatorNotAvailableError, NotCoordinatorError, CoordinatorLoadInProgressError):
            if time.monotonic() > deadline_s:
                raise
            time.sleep(0.2)

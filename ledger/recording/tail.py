"""The tail: what is in the log but not yet in the projected views, so that the door sees a repeat at once.

It starts at the views' positions, takes in the ledger's own appends as they are acknowledged, follows what other
writers append by reading, and lets go of what the views have reached. Reference facts are few and kept for good:
which partition has which is what a broadcast that was cut short is completed from.

    tail = Tail(log)
    tail.open(index)                     # reads from the views' positions to the head
    tail.find(("/services/permits", "e1"))
    tail.add(position, value, event)     # an append of our own
    tail.follow()                        # others' appends
    tail.prune(index.projected())

A record that cannot be read stops its partition here too: `stopped` names it.
"""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ledger import codec
from ledger.errors import ConsentLedgerError, LogError, Unavailable, UnreadableRecord
from ledger.events import ConsentGiven, Event, PolicyPublished
from ledger.log import Log, Position
from ledger.recording.record import Consent, Index, Key, Known, consent_of, is_reference

MAX_TAIL_RECORDS = 300_000
_EMPTY_READS = 50


@dataclass(slots=True)
class Reference:
    """A reference fact: its bytes, and its offset in each partition that has it."""

    value: bytes
    policy_id: str | None
    offsets: dict[int, int] = field(default_factory=dict)


class Tail:
    """What the log holds beyond the views. Belongs to one thread."""

    def __init__(self, log: Log, max_records: int = MAX_TAIL_RECORDS) -> None:
        self._log = log
        self._max_records = max_records
        self._next: dict[int, int] = {}
        self._order: dict[int, deque[tuple[int, Key, Consent | None]]] = {}
        self._records: dict[Key, list[Known]] = {}
        self._consents: dict[Consent, tuple[str, Position]] = {}
        self._references: dict[Key, Reference] = {}
        self.stopped: dict[int, UnreadableRecord] = {}

    def __len__(self) -> int:
        return sum(len(order) for order in self._order.values())

    @property
    def full(self) -> bool:
        """Whether the views are so far behind that nothing more may be appended."""
        return len(self) >= self._max_records

    def open(self, index: Index) -> None:
        """Starts from the views' positions and reads to the head; raises `Unavailable` when that is too far."""
        projected = index.projected()
        partitions = range(self._log.partitions)
        self._next = {p: projected.get(p, 0) for p in partitions}
        self._order = {p: deque() for p in partitions}
        self._records.clear()
        self._consents.clear()
        self._references.clear()
        self.stopped.clear()
        heads = self._log.heads()
        for p in partitions:
            if heads[p] < self._next[p]:
                place = Position(p, heads[p])
                raise LogError(f"the log ends before record {place}, and the views hold it: records are missing")
        if sum(heads[p] - self._next[p] for p in partitions) > self._max_records:
            raise Unavailable("the projected views are too far behind the log: start a projection worker", 10)
        for known in index.reference_facts():
            self._add_reference(known.position, known.value, codec.read(known.value))
        self.follow()

    def follow(self, heads: Mapping[int, int] | None = None) -> None:
        """Reads what others have appended, up to these heads (default: those of now).

        What is asked for has been added where it is our own: then there is nothing to read.
        """
        for partition, head in (self._log.heads() if heads is None else heads).items():
            if partition not in self.stopped:
                self._follow(partition, head)

    def _follow(self, partition: int, head: int) -> None:
        empty_reads = 0
        while self._next[partition] < head:
            try:
                records = self._log.read(partition, self._next[partition], head)
            except UnreadableRecord as error:
                self.stopped[partition] = error
                return
            for record in records:
                try:
                    event = codec.read(record.value)
                except ConsentLedgerError as error:
                    code = getattr(error, "code", "malformed")
                    self.stopped[partition] = UnreadableRecord(str(record.position), code)
                    return
                self._next[partition] = record.position.offset
                self.add(record.position, record.value, event)
            empty_reads = 0 if records else empty_reads + 1
            if empty_reads > _EMPTY_READS:
                raise Unavailable("the log cannot be read to its head")

    def add(self, position: Position, value: bytes, event: Event) -> None:
        """Takes in a record. One that is next in its partition moves the reading on; others wait to be read."""
        partition, offset = position
        if self._next[partition] == offset:
            self._next[partition] = offset + 1
        if is_reference(event):
            self._add_reference(position, value, event)
            return
        key = (event.source, event.id)
        known = Known(position, value)
        records = self._records.get(key)
        if records is None:
            self._records[key] = [known]
        elif any(other.position == position for other in records):
            return
        else:
            records.append(known)
        consent = consent_of(event) if isinstance(event.data, ConsentGiven) else None
        if consent is not None:
            self._consents.setdefault(consent, (event.source, position))
        self._order[partition].append((offset, key, consent))

    def _add_reference(self, position: Position, value: bytes, event: Event) -> None:
        reference = self._references.get((event.source, event.id))
        if reference is None:
            policy_id = event.data.policy_id if isinstance(event.data, PolicyPublished) else None
            reference = self._references[(event.source, event.id)] = Reference(value, policy_id)
        reference.offsets.setdefault(position.partition, position.offset)

    def prune(self, projected: Mapping[int, int]) -> None:
        """Lets go of what the views have reached."""
        for partition, order in self._order.items():
            until = projected.get(partition, 0)
            while order and order[0][0] < until:
                offset, key, consent = order.popleft()
                position = Position(partition, offset)
                left = [known for known in self._records.get(key, ()) if known.position != position]
                if left:
                    self._records[key] = left
                else:
                    self._records.pop(key, None)
                if consent is not None and self._consents.get(consent, (None, None))[1] == position:
                    del self._consents[consent]

    def find(self, key: Key) -> Sequence[Known]:
        """The records under this (`source`, `id`) that the views may not have; reference facts among them."""
        found: Sequence[Known] = self._records.get(key, ())
        reference = self._references.get(key)
        if reference is not None and reference.offsets:
            partition = min(reference.offsets)
            found = [*found, Known(Position(partition, reference.offsets[partition]), reference.value)]
        return found

    def consent_owner(self, consent: Consent) -> str | None:
        """The source that gave this consent, when the views may not know it."""
        return self._consents.get(consent, (None, None))[0]

    def policy_ids(self) -> list[str]:
        """The `policy_id` of every policy in the log."""
        return [r.policy_id for r in self._references.values() if r.policy_id is not None]

    def is_everywhere(self, key: Key) -> bool:
        """Whether a reference fact has reached every partition."""
        reference = self._references.get(key)
        return reference is not None and len(reference.offsets) == self._log.partitions

    def missing_references(self) -> Iterator[tuple[int, bytes, Key]]:
        """What a broadcast cut short left out: partition and bytes, in the order of partition 0.

        Raises `LogError` when a partition holds a reference fact that partition 0 does not.
        """
        for reference in self._references.values():
            if 0 not in reference.offsets:
                raise LogError("a partition holds a reference fact that partition 0 lacks: see `doctor`")
        order = sorted(self._references.items(), key=lambda item: item[1].offsets[0])
        for key, reference in order:
            for partition in range(1, self._log.partitions):
                if partition not in reference.offsets:
                    yield partition, reference.value, key

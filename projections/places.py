"""Where everything stands, kept in memory while a partition is rebuilt, so that its tables need hardly an index.

    places = Places(3, make_indexes)
    places.restore(connection)                  # after a kill: what the tables hold already
    places.first_records(connection, items)     # asks PostgreSQL only for keys that were there before
    places.wrote(batch)

Of every record that counts its key's hash and offset; of every resident the offsets of their facts, and the instants
and offsets of what was judged and collected: some 170 bytes an event. Rows are fetched by position, whose index comes
cheap when rows arrive in its order. A log that says nothing late and repeats nothing asks nothing at all.

Beyond `limit_bytes` the indexes of live views are made, once, and asked from then on: slower, never wrong, and bounded.
"""

from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import psycopg
from psycopg.rows import tuple_row

from ledger import events as e
from ledger.codec import instant
from ledger.facts import RESIDENT_FACTS
from projections.batch import Batch, First, Item, Key
from projections.cells import LAST_INSTANT
from projections.lookup import ByIndex, Connection, Facts, Rows, ask, first_among
from projections.named import demand_in
from projections.statements import statements

LIMIT_BYTES = 60_000_000
"""What one partition's places may take: those of some 350,000 records."""
_BYTES_OF_KEY, _BYTES_OF_RESIDENT, _BYTES_OF_PLACE = 120, 400, 16
_ROWS_AT_ONCE = 10_000


class _Resident:
    """Offsets of facts; of judged events and of collections instant and offset, alternating."""

    __slots__ = ("collected", "facts", "judged")

    def __init__(self) -> None:
        self.facts = array("q")
        self.judged = array("q")
        self.collected = array("q")


class Places:
    """A `Lookup` over what is in memory. `make_indexes` makes what `ByIndex` needs, unless it is there."""

    def __init__(self, partition: int, make_indexes: Callable[[], None], limit_bytes: int = LIMIT_BYTES) -> None:
        self._partition, self._make_indexes, self._limit_bytes = partition, make_indexes, limit_bytes
        self._indexed: ByIndex | None = None
        self._clear()

    def _clear(self) -> None:
        self._first: dict[int, int] = {}
        self._more: dict[int, list[int]] = {}  # several records under one hash: other subjects, or chance
        self._residents: dict[str, _Resident] = {}
        self._named: dict[str, dict[str, array[int]]] = {"recipient": {}, "demand": {}}
        self._latest_judged = self._latest_collected = -(2**63)
        self._entries = 0

    @property
    def size_bytes(self) -> int:
        """About how much memory the places take."""
        return (
            len(self._first) * _BYTES_OF_KEY
            + len(self._residents) * _BYTES_OF_RESIDENT
            + self._entries * _BYTES_OF_PLACE
        )

    # --- questions ------------------------------------------------------------------------------------------------

    def first_records(self, connection: Connection, items: Sequence[Item]) -> dict[Key, First]:
        """See `projections.lookup.Lookup`."""
        if self._indexed is not None:
            return self._indexed.first_records(connection, items)
        first = self._first
        repeated = [item for item in items if item.hash in first]
        if not repeated:
            return {}
        offsets = {first[item.hash] for item in repeated}
        offsets.update(offset for item in repeated for offset in self._more.get(item.hash, ()))
        return first_among(repeated, self._at(connection, "records at", offsets))

    def facts(self, connection: Connection, subjects: Sequence[str]) -> Facts:
        """See `projections.lookup.Lookup`."""
        if self._indexed is not None:
            return self._indexed.facts(connection, subjects)
        known = [(subject, self._residents[subject]) for subject in subjects if subject in self._residents]
        offsets = [offset for _, resident in known for offset in resident.facts]
        latest = {subject: max(resident.judged[::2]) for subject, resident in known if resident.judged}
        return Facts(self._at(connection, "bodies at", offsets), latest)

    def open_rows(self, connection: Connection, late: Mapping[str, int]) -> Rows:
        """See `projections.lookup.Lookup`."""
        if self._indexed is not None:
            return self._indexed.open_rows(connection, late)
        offsets: list[int] = []
        for subject, since in late.items():
            resident = self._residents.get(subject)
            if resident is not None:
                offsets += _since(resident.judged, since)
        return self._at(connection, "open rows at", offsets)

    def open_rows_under(self, connection: Connection, by: str, ids: Sequence[str], since: int) -> Rows:
        """See `projections.lookup.Lookup`."""
        if self._indexed is not None:
            return self._indexed.open_rows_under(connection, by, ids, since)
        if min(since, LAST_INSTANT) > self._latest_judged:
            return []
        if by == "all":
            return ByIndex(self._partition).open_rows_under(connection, by, ids, since)
        named = self._named[by]
        offsets = {offset for name in ids if name in named for offset in _since(named[name], since)}
        return self._at(connection, "open rows at", offsets)

    def holdings(
        self,
        connection: Connection,
        told_since: Mapping[str, int],
        erased_until: Mapping[str, int],
        policies_since: int | None,
    ) -> Rows:
        """See `projections.lookup.Lookup`."""
        if self._indexed is not None:
            return self._indexed.holdings(connection, told_since, erased_until, policies_since)
        found: Rows = []
        if policies_since is not None and min(policies_since, LAST_INSTANT) <= self._latest_collected:
            found = ByIndex(self._partition).holdings(connection, {}, {}, policies_since)
        offsets: set[int] = set()
        for subject, since in told_since.items():
            if subject in self._residents:
                offsets.update(_since(self._residents[subject].collected, since))
        for subject, until in erased_until.items():
            if subject in self._residents:
                offsets.update(_until(self._residents[subject].collected, until))
        return found + self._at(connection, "holdings at", offsets)

    def _at(self, connection: Connection, name: str, offsets: Iterable[int]) -> Rows:
        listed = sorted(offsets)
        return ask(connection, name, partition=self._partition, offsets=listed) if listed else []

    # --- what was written -----------------------------------------------------------------------------------------

    def wrote(self, batch: Batch) -> None:
        """Remembers where a batch's records stand."""
        if self._indexed is not None:
            return
        first, residents = self._first, self._residents
        for item in batch.items:  # once for every event: nothing is called that need not be
            offset = item.offset
            if first.setdefault(item.hash, offset) != offset:
                self._key(item.hash, offset)
            subject = item.key[2]
            if subject is None:
                continue
            data = item.event.data
            kind = type(data)
            is_fact = kind in RESIDENT_FACTS
            if not is_fact and kind not in _JUDGED:
                continue
            resident = residents.get(subject)
            if resident is None:
                resident = residents[subject] = _Resident()
            if is_fact:
                resident.facts.append(offset)
                self._entries += 1
            if kind in _JUDGED:
                time = min(instant(item.event.time), LAST_INSTANT)
                recipient = data.recipient if kind is e.DataShared else None
                demand_id = None if kind is e.DataCollected else demand_in(data.basis)
                self._judged(resident, time, offset, recipient, demand_id)
                if kind is e.DataCollected:
                    self._collected(resident, time, offset)
        self._bound()

    def restore(self, connection: Connection) -> None:
        """Takes in what the tables hold of this partition: one scan of each."""
        self._clear()
        with connection.transaction():
            for offset, key_hash, fact, subject in self._stream(connection, "places of records"):
                self._key(key_hash, offset)
                if fact:
                    self._resident(subject).facts.append(offset)
                    self._entries += 1
            for offset, time, subject, recipient, demand_id in self._stream(connection, "places of verdicts"):
                self._judged(self._resident(subject), time, offset, recipient, demand_id)
            for offset, time, subject in self._stream(connection, "places of holdings"):
                self._collected(self._resident(subject), time, offset)
        self._bound()

    def _stream(self, connection: Connection, name: str) -> Iterable[tuple[Any, ...]]:
        with psycopg.ServerCursor(connection, "places", row_factory=tuple_row) as cursor:
            cursor.itersize = _ROWS_AT_ONCE
            cursor.execute(statements("load")[name], {"partition": self._partition})
            for number, row in enumerate(cursor):
                yield row
                if number % _ROWS_AT_ONCE == 0 and self.size_bytes > self._limit_bytes:
                    return  # it will not be of use

    def _key(self, key_hash: int, offset: int) -> None:
        if self._first.setdefault(key_hash, offset) != offset:
            self._more.setdefault(key_hash, []).append(offset)
            self._entries += 8

    def _resident(self, subject: str) -> _Resident:
        found = self._residents.get(subject)
        if found is None:
            found = self._residents[subject] = _Resident()
        return found

    def _judged(
        self, resident: _Resident, time: int, offset: int, recipient: str | None, demand_id: str | None
    ) -> None:
        resident.judged.append(time)
        resident.judged.append(offset)
        if time > self._latest_judged:
            self._latest_judged = time
        self._entries += 1
        if recipient is not None:
            self._name("recipient", recipient, time, offset)
        if demand_id is not None:
            self._name("demand", demand_id, time, offset)

    def _name(self, by: str, name: str, time: int, offset: int) -> None:
        self._named[by].setdefault(name, array("q")).extend((time, offset))
        self._entries += 1

    def _collected(self, resident: _Resident, time: int, offset: int) -> None:
        resident.collected.extend((time, offset))
        self._latest_collected = max(self._latest_collected, time)
        self._entries += 1

    def _bound(self) -> None:
        if self.size_bytes > self._limit_bytes:
            self._make_indexes()
            self._indexed = ByIndex(self._partition)
            self._clear()


def _since(places: "array[int]", since: int) -> list[int]:
    """The offsets of what happened at an instant or later."""
    since = min(since, LAST_INSTANT)
    return [places[i + 1] for i in range(0, len(places), 2) if places[i] >= since]


def _until(places: "array[int]", until: int) -> list[int]:
    """The offsets of what happened at an instant or earlier."""
    until = min(until, LAST_INSTANT)
    return [places[i + 1] for i in range(0, len(places), 2) if places[i] <= until]


_JUDGED = frozenset((e.DataCollected, e.DataUsed, e.DataShared))

"""From records to the events that count: decode, and set repeats apart.

The first record with a (`source`, `id`, `subject`) counts; a later one is a repeat, and a conflict when it says
something else (events.md). What was seen before the batch comes in from the timeline, found by key hash.

    items, stopped = decode(log.read(3, 1041))
    batch = sift(3, items, known_keys)            # batch.items count, batch.repeats do not

A record that cannot be read ends the batch before it: nothing is skipped.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from msgspec import UNSET

from ledger import codec
from ledger.errors import Malformed, Unparsable, UnreadableRecord
from ledger.events import Event
from ledger.log import LogRecord
from projections.keys import key_hash

Key = tuple[str, str, str | None]
"""(source, id, subject): what makes two records the same."""


class Item(NamedTuple):
    """One readable record: its offset, what it says, its bytes, and its key with the hash of it."""

    offset: int
    event: Event
    body: bytes
    key: Key
    hash: int


class First(NamedTuple):
    """The record that first had a key."""

    offset: int
    body: bytes


class Repeat(NamedTuple):
    """A record that counts for nothing, and the one that it repeats."""

    offset: int
    first_offset: int
    conflict: bool
    body: bytes


class Batch(NamedTuple):
    """Consecutive records of one partition, sifted; `start` <= their offsets < `end`."""

    partition: int
    start: int
    end: int
    items: list[Item]
    repeats: list[Repeat]


def decode(records: Iterable[LogRecord]) -> tuple[list[Item], UnreadableRecord | None]:
    """Reads records up to the first that this version cannot read."""
    items: list[Item] = []
    for position, value, _ in records:
        try:
            event = codec.read(value)
        except (Unparsable, Malformed) as error:
            code = error.code if isinstance(error, Unparsable) else error.problems[0].code
            return items, UnreadableRecord(str(position), code)
        source, event_id, subject = event.source, event.id, event.subject
        key = (source, event_id, None if subject is UNSET else subject)
        items.append(Item(position[1], event, value, key, key_hash(source, event_id)))
    return items, None


def sift(partition: int, start: int, items: Sequence[Item], known: Mapping[Key, First]) -> Batch:
    """Sets apart the repeats of records in `known` or earlier in the batch."""
    first: dict[Key, Item | First] = {}
    counting: list[Item] = []
    repeats: list[Repeat] = []
    for item in items:
        earlier = (known.get(item.key) if known else None) or first.get(item.key)
        if earlier is None:
            first[item.key] = item
            counting.append(item)
        else:
            conflict = earlier.body != item.body and not codec.same_content(codec.read(earlier.body), item.event)
            repeats.append(Repeat(item.offset, earlier.offset, conflict, item.body))
    end = items[-1].offset + 1 if items else start
    return Batch(partition, start, end, counting, repeats)

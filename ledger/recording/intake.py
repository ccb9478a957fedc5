"""What a service puts into its intake topic: held against what the HTTP door would say, and how a refusal is written.

    item = examine(value)                          # an event for the recorder, or why it is refused
    rejected = rejection(Place("ledger.intake.permits-app", 0, 17), codes(item))

A record is refused with the codes that the door gives (docs/spec/intake.md), and never with its value: what stands in
`ledger.rejected` is where it was, and why.

>>> codes(examine(b'{"specversion": "1.0"}'))
('missing',)
>>> refused = rejection(Place("ledger.intake.permits-app", 0, 17), ("missing",))
>>> refused.key
'ledger.intake.permits-app/0/17'
>>> refused.value.decode()
'{"topic":"ledger.intake.permits-app","partition":0,"offset":17,"codes":["missing"]}'
"""

from typing import Any, NamedTuple

import orjson

from ledger import codec
from ledger.errors import (
    Conflict,
    ConsentLedgerError,
    Erased,
    Forbidden,
    Malformed,
    TooLarge,
    Unparsable,
)
from ledger.events import Event
from ledger.log import Entry

DELETED_UNREAD = "deleted-unread"
"""Records that were deleted, after seven days, before they were recorded: the entry has `until` too."""
_ONLY_PARTITION = 0


class Place(NamedTuple):
    """Where a record stood: topic, partition, offset; `until`: of several, the first offset behind them."""

    topic: str
    partition: int
    offset: int
    until: int | None = None


def examine(value: bytes) -> Event | ConsentLedgerError:
    """The event, as the door would read it, or the error by which it is refused.

    Kinds with sealed fields are refused (proofs.md): their free text would have stood in Kafka in clear.
    """
    try:
        event = codec.parse(value)
    except ConsentLedgerError as error:
        return error
    if event.data.sealed_fields:
        return Forbidden("sealed-kind", "a kind with sealed fields is sent over HTTP: its text must not lie in Kafka")
    return event


def codes(error: ConsentLedgerError | Event) -> tuple[str, ...]:
    """Why a record is refused for good, as the door says it; empty when it is not: whoever asks then tries again."""
    match error:
        case Malformed():
            return tuple(dict.fromkeys(problem.code for problem in error.problems))
        case Unparsable() | Forbidden():
            return (error.code,)
        case TooLarge():
            return ("too-large",)
        case Conflict():
            return ("conflict",)
        case Erased():
            return ("erased",)
        case _:
            return ()


def rejection(place: Place, why: tuple[str, ...]) -> Entry:
    """The entry of `ledger.rejected`. Made again after a crash it has the same key and, but for a rare code, bytes."""
    assert why, "a refusal has a code"
    said: dict[str, Any] = {"topic": place.topic, "partition": place.partition, "offset": place.offset}
    if place.until is not None:
        said["until"] = place.until
    key = f"{place.topic}/{place.partition}/{place.offset}"
    return Entry(_ONLY_PARTITION, key, orjson.dumps({**said, "codes": why}))

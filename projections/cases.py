"""Cases beyond one resident's list: the queue of those who answer, records behind cases, incidents of nobody yet.

    async with answers.auditor() as view:
        waiting = await queue(view, {"complaint": 30, "access": 10}, after=None, limit=50)     # those due first
        bodies = await records(view, 3, [41, 57])                                              # {41: b"…", 57: b"…"}

A case is due so many days of 24 hours after it was opened. Within a kind, those due first were opened first, so a page
costs what its rows cost, however many cases there are.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from ledger.log import Position
from projections.answers import View
from projections.rows import Case

_FILE = "cases"
_FIRST, _LAST = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)


class Place(NamedTuple):
    """Where a case stands in the queue: when it is due (or was answered), then the record that opened it."""

    at: datetime
    position: Position


class Queued(NamedTuple):
    """A case of the queue; `due`: when it should be answered."""

    due: datetime
    case: Case

    @property
    def opened(self) -> Position:
        """The record that opened it."""
        assert self.case.opened_offset is not None, "the queue holds what was opened"
        return Position(self.case.partition, self.case.opened_offset)


async def waiting(view: View, days: Mapping[str, int], after: Place | None, limit: int) -> list[Queued]:
    """Cases of these kinds that wait, those due first; the page begins after that place."""
    return await _page(view, "waiting", days, after or Place(_FIRST, Position(-1, -1)), limit)


async def answered(view: View, days: Mapping[str, int], after: Place | None, limit: int) -> list[Queued]:
    """Cases of these kinds that were answered, the latest answer first."""
    return await _page(view, "answered", days, after or Place(_LAST, Position(1 << 30, 1 << 60)), limit)


async def _page(view: View, name: str, days: Mapping[str, int], after: Place, limit: int) -> list[Queued]:
    parameters: dict[str, Any] = {"kinds": list(days), "days": list(days.values()), "limit": limit, "at": after.at}
    parameters |= {"partition": after.position.partition, "offset": after.position.offset}
    return await view._ask(name, parameters, _queued, _FILE)


async def opened_at(view: View, position: Position, days: Mapping[str, int]) -> Queued | None:
    """The case of one of these kinds that the record at this position opened."""
    parameters = {"kinds": list(days), "days": list(days.values()), **position._asdict()}
    found = await view._ask("opened at", parameters, _queued, _FILE)
    return found[0] if found else None


async def records(view: View, partition: int, offsets: Iterable[int]) -> dict[int, bytes]:
    """The bytes of the records at these offsets that count and may be seen."""
    parameters = {"partition": partition, "offsets": sorted(set(offsets))}
    return dict(await view._ask("records", parameters, lambda offset, body: (offset, body.encode()), _FILE))


async def incidents_of_nobody(view: View, partition: int) -> list[Case]:
    """Incidents reported when it was not known yet whom they touch, as this partition has them. An auditor's eyes."""
    return await view._ask("incidents of nobody", {"partition": partition}, Case, _FILE)


def _queued(due: datetime, *columns: Any) -> Queued:
    return Queued(due, Case(*columns))

"""When something happened and where it is recorded; and spans of time that are found by one binary search.

A *stamp* is (instant, offset): whole microseconds since 1970, and a place in one partition's log. Sorted lists of
stamps are what facts are made of, because every question is "as of instant t", whatever the order of the log.

>>> intervals = Intervals()
>>> intervals.put((10, 1), 20); intervals.put((15, 2), FOREVER)
>>> intervals.first_covering(17), intervals.first_covering(20), intervals.first_covering(9)
((10, 1), (15, 2), None)
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Hashable
from typing import Any, TypeVar

Stamp = tuple[int, int]
"""(instant, offset) of a record."""

FOREVER = 1 << 62
DAY = 86_400 * 1_000_000
Ids = tuple[str, ...]


class Intervals:
    """Spans of time, each from a stamp to an instant; finds the first that covers an instant in log time."""

    __slots__ = ("_ends", "_reach", "starts")

    def __init__(self) -> None:
        self.starts: list[Stamp] = []
        self._ends: list[int] = []
        self._reach: list[int] = []  # INVARIANT: _reach[i] == max(_ends[: i + 1])

    def put(self, start: Stamp, end: int) -> None:
        """Enters a span, or moves the end of the one with this start."""
        if not self.starts or self.starts[-1] < start:  # as nearly always: in order
            self.starts.append(start)
            self._ends.append(end)
            self._reach.append(max(end, self._reach[-1]) if self._reach else end)
            return
        at = bisect_left(self.starts, start)
        if at < len(self.starts) and self.starts[at] == start:
            self._ends[at] = end
        else:
            self.starts.insert(at, start)
            self._ends.insert(at, end)
            self._reach.insert(at, 0)
        reach = self._reach[at - 1] if at else 0
        for i in range(at, len(self.starts)):
            reach = max(reach, self._ends[i])
            self._reach[i] = reach

    def first_covering(self, t: int) -> Stamp | None:
        """The first span with start <= t < end."""
        at = bisect_right(self._reach, t)
        if at < len(self.starts) and self.starts[at][0] <= t:
            return self.starts[at]
        return None


def until(stamps: list[Stamp], t: int) -> int:
    """How many stamps have an instant <= t."""
    if stamps and stamps[-1][0] <= t:
        return len(stamps)
    return bisect_right(stamps, (t, FOREVER))


_Key = TypeVar("_Key", bound=Hashable)


def place(lines: dict[_Key, list[Any]], key: _Key, entry: Any) -> None:
    """Enters a stamp, or what begins with one, into the sorted line of this name; most come in order."""
    line = lines.get(key)
    if line is None:
        lines[key] = [entry]
    elif line[-1] < entry:
        line.append(entry)
    else:
        insort(line, entry)

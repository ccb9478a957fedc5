"""What an audit asks of the views: counts of verdicts, and lists of them, for auditors alone.

    async with answers.auditor() as view:
        found = await summary(view, Filters(since=march), "month")       # reads every verdict of its period
        page = await verdicts(view, Filters(outcome="inconsistent"), limit=50)
        following = await verdicts(view, Filters(outcome="inconsistent"), page.following, 50)

A list is in log order. A page looks at a bounded number of verdicts, so it may hold fewer than were asked for, even
none, and still have another behind it (`following`).
"""

from datetime import datetime
from typing import Any, NamedTuple

import psycopg

from ledger.errors import Unavailable
from ledger.log import Position
from ledger.verdict import CONSISTENT
from projections.answers import Filters, View
from projections.cells import moment
from projections.summary import KINDS_OF_GROUP, MAX_GROUPS, Group, Summary, in_order

SCAN = 10_000
"""So many verdicts a page looks at, at most."""
SUMMARY_TIMEOUT_S = 20
_FIRST_LOOK = 4
_WRITTEN = {"day": "YYYY-MM-DD", "month": "YYYY-MM"}
_BEFORE_ALL = (-1, -1)


class TooMuch(Unavailable):
    """The period asked for holds more verdicts than can be counted while somebody waits."""


class Line(NamedTuple):
    """One verdict of a list; `findings` is JSON. Whom it is about is not here."""

    position: Position
    source: str
    kind: str
    occurred: datetime
    purposes: list[str]
    outcome: str
    first_outcome: str
    findings: str


class Lines(NamedTuple):
    """A page, and the position behind which the next one begins; None: this is the last."""

    lines: list[Line]
    following: Position | None


async def summary(view: View, filters: Filters, period: str, timeout_s: float = SUMMARY_TIMEOUT_S) -> Summary:
    """The counts; complaints by when they were filed and with whom. Raises `TooMuch` when that takes too long."""
    parameters = {**_parameters(filters), "written": _WRITTEN[period], "groups": MAX_GROUPS}
    await view._ask("limits", {"timeout": f"{int(timeout_s * 1000)}ms"}, lambda *_: None, "audit")
    try:
        found = await view._ask("summary", parameters, _group, "audit")
        [complaints] = await view._ask("complaints", parameters, lambda *counts: counts, "audit")
    except psycopg.errors.QueryCanceled:
        raise TooMuch("counting takes too long: ask for a shorter period") from None
    groups: dict[str, list[Group]] = {kind: [] for kind in ("", *KINDS_OF_GROUP)}
    numbers = dict.fromkeys(KINDS_OF_GROUP, 0)
    for what, group, number in found:
        groups[what].append(group)
        numbers[what] = number
    [total] = groups.pop("") or [Group("", 0, 0, 0, 0)]
    left_off = {kind: max(0, numbers[kind] - MAX_GROUPS) for kind in KINDS_OF_GROUP}
    return Summary(total, {kind: in_order(kind, groups[kind]) for kind in KINDS_OF_GROUP}, left_off, *complaints)


async def verdicts(
    view: View, filters: Filters, after: Position | None = None, limit: int = 50, scan: int = SCAN
) -> Lines:
    """A page of the verdicts known now, in log order, from behind `after` on."""
    lines: list[Line] = []
    at, left = after, scan
    # A few are looked at first: most pages are full with these, and only what is rare takes all that may be looked at.
    for looks in (min(_FIRST_LOOK * (limit + 1), scan), scan):
        asked = min(looks, left)
        looked, last, found = await _look(view, filters, at, limit + 1 - len(lines), asked)
        lines += found
        if len(lines) > limit:
            return Lines(lines[:limit], lines[limit - 1].position)
        if looked < asked or last is None:
            return Lines(lines, None)
        at, left = last, left - looked
        if not left:
            break
    return Lines(lines, at)


async def _look(
    view: View, filters: Filters, after: Position | None, wanted: int, scan: int
) -> tuple[int, Position | None, list[Line]]:
    """How many verdicts were looked at behind `after`, the last of them, and those that the filters let through."""
    partition, offset = after or _BEFORE_ALL
    parameters = {
        **_parameters(filters),
        "after_partition": partition,
        "after_offset": offset,
        "rare": filters.outcome not in (None, CONSISTENT),
        "scan": scan,
        "limit": wanted,
    }
    found = await view._ask("page", parameters, lambda *columns: columns, "audit")
    if not found:
        return 0, None, []
    looked, *last = found[0][:3]
    lines = [Line(Position(*columns[3:5]), *columns[5:]) for columns in found if columns[3] is not None]
    return looked, Position(*last), lines


def _parameters(filters: Filters) -> dict[str, Any]:
    return {
        "since": "-infinity" if filters.since is None else moment(filters.since),
        "until": "infinity" if filters.until is None else moment(filters.until),
        "source": filters.service,
        "purpose": filters.purpose,
        "kind": filters.kind,
        "outcome": filters.outcome,
    }


def _group(what: str, name: str, *counts: int) -> tuple[str, Group, int]:
    *numbers, groups = counts
    return what, Group(name, *numbers), groups

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
    parameters = {**_parameters(filters), "period": period, "written": _WRITTEN[period], "groups": MAX_GROUPS}
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
    partition, offset = after or _BEFORE_ALL
    rare = filters.outcome not in (None, CONSISTENT)
    # Unfiltered, one more than the page holds tells whether there is another.
    scan = scan if any(value is not None for value in filters) else limit + 1
    parameters = {
        **_parameters(filters),
        "after_partition": partition,
        "after_offset": offset,
        "rare": rare,
        "scan": scan,
        "limit": limit + 1,
    }
    found = await view._ask("page", parameters, lambda *columns: columns, "audit")
    lines = [Line(Position(*columns[3:5]), *columns[5:]) for columns in found if columns[3] is not None]
    if len(lines) > limit:
        return Lines(lines[:limit], lines[limit - 1].position)
    if found and found[0][0] == scan:
        return Lines(lines, Position(*found[0][1:3]))
    return Lines(lines, None)


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

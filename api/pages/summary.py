"""The two lines on top of a resident's page: the last 30 days, and how complete the record is.

found = await summary.of(request, "res_7f2c", names)
found.uses, found.matched, found.complete_through, found.reporting, found.systems
"""

import asyncio
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from starlette.requests import Request

from api.http.runtime import runtime_of
from api.http.views import views_of
from api.pages.names import Names
from ledger.verdict import CONSISTENT, INCONSISTENT

DAYS = 30
_REPORTING_FOR_S = 60.0


class Summary(NamedTuple):
    """Uses and shares of the last 30 days by outcome; through when the record is complete; who reports here."""

    uses: int
    matched: int
    not_matched: int
    unclear: int
    complete_through: datetime
    reporting: int
    systems: int


async def of(request: Request, subject: str, names: Names) -> Summary:
    """Counts what this resident's page begins with."""
    runtime = runtime_of(request)
    now = datetime.fromtimestamp(runtime.clock() / 1_000_000, UTC)
    partition = runtime.log.partition_of(subject)
    async with views_of(request).resident(subject) as view:
        outcomes: Mapping[str, int] = await view.uses(subject, now - timedelta(days=DAYS), now)
        reached = (await view.projected()).get(partition, 0)
    # When the views have all that the log has, they are complete up to now.
    behind = await asyncio.to_thread(runtime.log.head, partition) > reached
    sources = tuple(names.registered)
    async with views_of(request).auditor() as view:
        last = await view.last_recorded(partition) if behind else None
    reporting = await _reporting(request, sources)
    uses = sum(outcomes.values())
    matched, not_matched = outcomes.get(CONSISTENT, 0), outcomes.get(INCONSISTENT, 0)
    return Summary(uses, matched, not_matched, uses - matched - not_matched, last or now, reporting, len(sources))


async def _reporting(request: Request, sources: tuple[str, ...]) -> int:
    """How many of the City's systems have ever reported anything; asked once a minute at most."""
    known: tuple[tuple[str, ...], float, int] | None = getattr(request.app.state, "reporting", None)
    if known is not None and known[0] == sources and time.monotonic() < known[1]:
        return known[2]
    async with views_of(request).auditor() as view:
        found = len(await view.reporting(sources))
    request.app.state.reporting = (sources, time.monotonic() + _REPORTING_FOR_S, found)
    return found

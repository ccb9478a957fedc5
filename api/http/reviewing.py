"""`data.reviewed`: that a resident opened what is held of them, recorded once for each opening.

    position = await record_review(request, principal, "res_7f2c", ["email", "name"])      # None: not recorded

An opening is the first page of `GET /v1/me/data`, also when it is answered 304: the resident looked again. Its later
pages are part of it. What is recorded are the kinds of data that the whole list showed as held; where nothing is held,
nothing.

A resident's right to see does not hang on our recording of it: when that fails, or takes more than 2 seconds, they are
answered all the same, without `Ledger-Position`, and `consent_ledger_reviews_total{recorded="no"}` counts it.
"""

import asyncio
from collections.abc import Sequence

from fastapi import Request
from prometheus_client import Counter

from api.http.runtime import runtime_of
from api.http.writing import event_id, event_of, later, record_all
from ledger.authority import Principal
from ledger.errors import ConsentLedgerError
from ledger.events import DataReviewed
from ledger.log import Position

RECORDED_WITHIN_S = 2.0
_MAX_CATEGORIES = 64
_REVIEWS = Counter("consent_ledger_reviews", "Openings of what is held by its resident.", ("recorded",))


async def record_review(
    request: Request, principal: Principal, subject: str, categories: Sequence[str]
) -> Position | None:
    """Records the opening; the position of its (last) event, or None when there is none."""
    if not categories:
        return None
    now = later(runtime_of(request))
    events = [
        event_of(
            "data.reviewed",
            subject,
            event_id(subject, None),
            DataReviewed(categories=tuple(categories[start : start + _MAX_CATEGORIES])),
            now,
        )
        for start in range(0, len(categories), _MAX_CATEGORIES)
    ]
    try:
        done = await asyncio.wait_for(record_all(request, principal, events), RECORDED_WITHIN_S)
    except (TimeoutError, ConsentLedgerError):
        _REVIEWS.labels("no").inc()
        return None
    _REVIEWS.labels("yes").inc()
    return done.positions[-1]

"""Every reading door, for `create_app`:

app = create_app(lambda: opened(settings), routers=answers.routers())
"""

from fastapi import APIRouter

from api.http import (
    anonymous,
    check,
    consent_records,
    erasing,
    evidence,
    health,
    me,
    me_consents,
    public,
    queue,
    records,
    residents,
    tlog,
    views,
    writing,
)


def routers() -> list[APIRouter]:
    """The routers; the first opens the views that the others ask."""
    return [
        views.router,
        health.router,
        public.router,
        records.router,
        evidence.router,
        residents.router,
        check.router,
        tlog.router,
        erasing.router,
        writing.router,
        me.router,
        me_consents.router,
        queue.router,
        anonymous.router,
        consent_records.router,
    ]

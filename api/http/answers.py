"""Every reading door, for `create_app`:

app = create_app(lambda: opened(settings), routers=answers.routers())
"""

from fastapi import APIRouter

from api.http import (
    anonymous,
    audit,
    check,
    consent_records,
    erasing,
    evidence,
    exports,
    health,
    history,
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
from api.pages import front, my, sign_in, site


def routers() -> list[APIRouter]:
    """The routers; the first opens the views that the others ask."""
    return [
        views.router,
        health.router,
        public.router,
        records.router,
        evidence.router,
        history.router,
        exports.router,
        residents.router,
        audit.router,
        check.router,
        tlog.router,
        erasing.router,
        writing.router,
        me.router,
        me_consents.router,
        queue.router,
        anonymous.router,
        site.router,
        sign_in.router,
        front.router,
        my.router,
        consent_records.router,
    ]

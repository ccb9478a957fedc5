"""Every reading door, for `create_app`:

app = create_app(lambda: opened(settings), routers=answers.routers())
"""

from fastapi import APIRouter

from api.http import audit, check, erasing, evidence, exports, health, history, public, records, residents, tlog, views


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
    ]

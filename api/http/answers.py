"""Every reading door, for `create_app`:

app = create_app(lambda: opened(settings), routers=answers.routers())
"""

from fastapi import APIRouter

from api.http import check, erasing, evidence, health, public, records, residents, tlog, views
from api.pages import front, my, sign_in, site


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
        site.router,
        sign_in.router,
        front.router,
        my.router,
    ]

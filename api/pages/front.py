"""The pages for anybody: the front page, and the policy statement by statement in the reader's language."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from api.http.views import views_of
from api.pages.sign_in import SOCIAL_ACCOUNTS
from api.pages.site import site
from api.pages.visitor import visitor_of
from ledger import codec
from ledger.events import PolicyPublished
from ledger.policy import my_san_jose

router = APIRouter(include_in_schema=False)


@router.get("/")
async def front(request: Request) -> Response:
    """The front page."""
    return site.page(request, "front.html", {"visitor": await visitor_of(request)})


@router.get("/policy")
async def policy(request: Request) -> Response:
    """The newest published policy; the one that ships where none has been published yet."""
    async with views_of(request).anyone() as view:
        published = await view.policies()
    newest = my_san_jose()
    if published:
        data = codec.read(published[-1].body.encode()).data
        assert isinstance(data, PolicyPublished), "asked for policies"
        newest = data
    context = {"visitor": await visitor_of(request), "policy": newest, "social": SOCIAL_ACCOUNTS}
    return site.page(request, "policy.html", context)

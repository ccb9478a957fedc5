"""What a page says when it cannot be shown: the way to sign in, or plain words and what to do next."""

from starlette.requests import Request
from starlette.responses import Response

from api.http import problems
from api.pages.site import site
from api.pages.visitor import MustSignIn, to_sign_in, visitor_of
from ledger.errors import ConsentLedgerError


def is_page(request: Request) -> bool:
    """Whether this is an address of the pages."""
    route = request.scope.get("route")
    return getattr(route, "path", "/v1") != "/v1" and not getattr(route, "include_in_schema", True)


def wanted_page(request: Request) -> bool:
    """Whether a browser asks for an address that is neither the API's nor anybody's."""
    path = request.url.path
    return "text/html" in request.headers.get("accept", "") and not path.startswith(("/v1", "/tlog", "/static"))


def page_of(request: Request, status: int) -> Response:
    """The page for an address that there is not, or that does not take this."""
    return site.page(request, "refused.html", {"status": status, "codes": []}, status=status)


async def refused(request: Request, error: ConsentLedgerError) -> Response:
    """The page for somebody whom an error of ours has stopped."""
    if isinstance(error, MustSignIn):
        return to_sign_in(request)
    body, headers = problems.describe(error)
    try:
        visitor = await visitor_of(request)
    except ConsentLedgerError:
        visitor = None
    status = int(body["status"])
    context = {"status": status, "codes": [e["code"] for e in body.get("errors", [])], "visitor": visitor}
    sent = {name: value for name, value in headers.items() if name.lower() == "retry-after"}
    return site.page(request, "refused.html", context, status=status, headers=sent)

"""The application: routers, problem documents for every refusal, a request id and a log line for every request.

    app = create_app(lambda: opened(Settings()), routers=[answers.router])
    uvicorn.Server(server_config(app, "127.0.0.1", 8080)).run()

`create_app` takes what opens the runtime, so that it is opened in the server's own event loop and closed after its last
request. Other modules bring an `APIRouter` each.
"""

import logging
import time
import traceback
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any
from uuid import uuid4

import structlog
import uvicorn
from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.http import events, openapi, problems
from api.http.runtime import Runtime
from api.pages import refusals
from ledger.errors import ConsentLedgerError, Problem

REQUEST_ID = "request-id"
_LISTEN_BACKLOG = 2_048
_log = structlog.get_logger("consent_ledger.http")

Opener = Callable[[], AbstractAsyncContextManager[Runtime]]


class Application(FastAPI):
    """FastAPI with a finished OpenAPI document, made when it is first asked for."""

    def openapi(self) -> dict[str, Any]:
        """The document."""
        if self.openapi_schema is None:
            self.openapi_schema = openapi.finished(super().openapi())
        return self.openapi_schema


def _operation_id(route: APIRoute) -> str:
    return route.name.replace("_", "-")


def create_app(opener: Opener, routers: Sequence[APIRouter] = ()) -> FastAPI:
    """The application; `opener` opens its runtime when it starts."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with opener() as runtime:
            app.state.runtime = runtime
            yield

    app = Application(
        title="Consent Ledger",
        version="1",
        description="Records what a city does with residents' data, and answers whether it was consistent.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
        redirect_slashes=False,
        generate_unique_id_function=_operation_id,
    )
    app.include_router(events.router)
    for router in routers:
        app.include_router(router)
    app.add_exception_handler(ConsentLedgerError, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_middleware(Outermost)
    return app


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, ConsentLedgerError)
    if refusals.is_page(request):
        return await refusals.refused(request, error)
    body, headers = problems.describe(error)
    if body["status"] >= 500:
        _log.warning("refused", status=body["status"], error=type(error).__name__, why=str(error))
    return problems.response(body, headers)


async def _invalid(_: Request, error: Exception) -> Response:
    """FastAPI's own validation of paths, queries and headers: where, and its code; its messages hold input."""
    assert isinstance(error, RequestValidationError)
    found = [
        Problem("/" + "/".join(_step(s) for s in e["loc"]), str(e["type"]).replace("_", "-")) for e in error.errors()
    ]
    return problems.response(problems.document(problems.MALFORMED, found))


def _step(step: int | str) -> str:
    return str(step).replace("~", "~0").replace("/", "~1")


_BY_STATUS = {
    kind.status: kind
    for kind in (
        problems.UNPARSABLE,
        problems.UNAUTHENTICATED,
        problems.FORBIDDEN,
        problems.NOT_FOUND,
        problems.METHOD,
        problems.TOO_LARGE,
        problems.MEDIA,
        problems.UNAVAILABLE,
    )
}


async def _http_error(request: Request, error: Exception) -> Response:
    """The framework's own refusals: no such address, no such method."""
    assert isinstance(error, HTTPException)
    if refusals.wanted_page(request):
        return refusals.page_of(request, error.status_code)
    kind = _BY_STATUS.get(error.status_code, problems.INTERNAL)
    return problems.response(problems.document(kind), dict(error.headers or {}))


class Outermost:
    """Gives each request an id, answers our own faults with a bare 500, and writes one log line, without any value."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id, started_s, status = uuid4().hex, time.perf_counter(), 0

        async def marked(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (REQUEST_ID.encode(), request_id.encode())]
            await send(message)

        try:
            await self._app(scope, receive, marked)
        except ClientDisconnect:
            status = 499
        except Exception as error:
            _log.error("failed", request_id=request_id, error=type(error).__name__, at=_where(error))
            if not status:
                await problems.response(problems.document(problems.INTERNAL))(scope, receive, marked)
        route = scope.get("route")
        _log.info(
            "served",
            request_id=request_id,
            method=scope["method"],
            # The route's pattern, never the path: a path may hold a resident.
            route=getattr(route, "path", None),
            status=status,
            milliseconds=round((time.perf_counter() - started_s) * 1_000, 1),
        )


def _where(error: BaseException) -> list[str]:
    """The places in our code, without texts and values."""
    return [f"{frame.filename}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)[-8:]]


def configure_logging(level: str = "info") -> None:
    """JSON lines on stderr, for structlog and for the standard library's loggers."""
    shared: list[structlog.types.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _without_texts,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for noisy in ("kafka", "httpx", "uvicorn.access", "psycopg.pool"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def _without_texts(_: object, __: str, line: structlog.types.EventDict) -> structlog.types.EventDict:
    """An exception leaves its class and its places in the code; its text may hold what somebody sent."""
    info = line.pop("exc_info", None)
    error = info[1] if isinstance(info, tuple) else info
    if isinstance(error, BaseException):
        line["error"] = type(error).__name__
        line["at"] = _where(error)
    return line


def server_config(app: FastAPI, host: str, port: int, *, log_level: str = "info") -> uvicorn.Config:
    """The server's settings: httptools and uvloop, no access log (ours has no values), quiet about itself."""
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        loop="uvloop",
        http="httptools",
        ws="none",
        access_log=False,
        server_header=False,
        log_config=None,
        log_level=log_level,
        backlog=_LISTEN_BACKLOG,
        timeout_graceful_shutdown=10,
    )

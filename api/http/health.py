"""`/livez`, `/readyz`, `/metrics`: is this process alive, can it do its work, and what has it done.

    GET /readyz  ->  503 {"ready": false, "failing": ["vault"], "parts": {"log": {"ok": true}, …,
                          "vault": {"ok": false, "problem": "the vault cannot be reached"}}}

Checkpoints are a part that is named and measured but fails nothing: what is not signed yet is recorded and answered all
the same. `/livez` and `/readyz` are open, as probes carry no token, and say nothing of anybody; `/metrics` needs the
scope `operate`. No label of a metric names a resident, a source or an id.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Mapping
from typing import Any

from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, Gauge, generate_latest
from starlette.responses import Response

from api.http.events import json
from api.http.openapi import OPEN
from api.http.runtime import Runtime, principal_of, runtime_of
from api.http.views import reached, views_of
from ledger.authority import OPERATE
from ledger.errors import ConsentLedgerError, Forbidden
from projections.signer_store import Coverage, coverage

PROBE_TIMEOUT_S = 3.0
REMEMBERED_S = 1.0
MAX_LAG_RECORDS = 50_000
MAX_UNSIGNED_S = 60.0
_ADVISORY = ("checkpoints",)
_SILENT = "it does not answer in time"
# A report whether ready or not, so no problem document.
_REPORT: dict[str, Any] = {
    "application/json": {"schema": {"type": "object", "required": ["ready", "failing", "parts"]}}
}

router = APIRouter()


@router.get("/livez", summary="Is the process alive?", response_class=Response, openapi_extra=OPEN)
async def livez() -> Response:
    """Says that this process serves requests."""
    return json({"alive": True})


@router.get(
    "/readyz",
    summary="Can it do its work?",
    response_class=Response,
    responses={
        200: {"description": "every part works", "content": _REPORT},
        503: {"description": "`failing` names the parts that do not", "content": _REPORT},
    },
    openapi_extra=OPEN,
)
async def readyz(request: Request) -> Response:
    """Asks every part, at most once a second however often it is asked itself."""
    report = await _readiness(request)
    return json(report, 200 if report["ready"] else 503)


@router.get("/metrics", summary="What it has done, for Prometheus", response_class=Response)
async def metrics(request: Request) -> Response:
    """The process's counters, and how recorder and views stand now."""
    principal = await principal_of(request)
    if not principal.has(OPERATE):
        raise Forbidden("scope", f"metrics need the scope {OPERATE}")
    text = generate_latest(REGISTRY) + generate_latest(await _gauges(request))
    return Response(text, 200, {"cache-control": "no-store"}, CONTENT_TYPE_LATEST)


async def _readiness(request: Request) -> dict[str, Any]:
    state = request.app.state
    known: tuple[float, dict[str, Any]] | None = getattr(state, "readiness", None)
    if known is not None and time.monotonic() - known[0] < REMEMBERED_S:
        return known[1]
    runtime = runtime_of(request)
    checks: Mapping[str, Awaitable[dict[str, Any]]] = {
        "log": _log(runtime),
        "database": _database(request),
        "projections": _projections(request),
        "vault": _vault(runtime),
        "checkpoints": _checkpoints(request),
    }
    found = await asyncio.gather(*(_asked(check) for check in checks.values()))
    parts = dict(zip(checks, found, strict=True))
    failing = [name for name, part in parts.items() if not part["ok"] and name not in _ADVISORY]
    report = {"ready": not failing, "failing": failing, "parts": parts}
    state.readiness = (time.monotonic(), report)
    return report


async def _asked(check: Awaitable[dict[str, Any]]) -> dict[str, Any]:
    """What a part says; errors of ours carry no values, so their words may be shown."""
    try:
        return await asyncio.wait_for(check, PROBE_TIMEOUT_S)
    except TimeoutError:
        return {"ok": False, "problem": _SILENT}
    except ConsentLedgerError as error:
        return {"ok": False, "problem": str(error)}


async def _log(runtime: Runtime) -> dict[str, Any]:
    status = runtime.recorder.status()
    if status.problem is not None:
        differs = {"differs_at": list(status.differs)} if status.differs else {}
        return {"ok": False, "problem": status.problem, **differs}
    await asyncio.to_thread(runtime.log.head, 0)
    return {"ok": True}


async def _database(request: Request) -> dict[str, Any]:
    await reached(request)
    return {"ok": True}


async def _projections(request: Request) -> dict[str, Any]:
    """How far the views are behind the log, and which partitions stand still."""
    log = runtime_of(request).log
    async with views_of(request).anyone() as view:
        halted = {row.partition: row for row in await view.halted()}
        first_unread = await view.projected()
    behind, found = 0, []
    for partition in range(log.partitions):
        lag = await asyncio.to_thread(log.head, partition) - first_unread.get(partition, 0)
        behind = max(behind, lag)
        if partition in halted:
            row = halted[partition]
            found.append({"partition": partition, "halted_at": str(row.position), "code": row.code})
        elif lag > MAX_LAG_RECORDS:
            found.append({"partition": partition, "lag": lag})
    said: dict[str, Any] = {"ok": not found, "lag": behind}
    if found:
        said |= {"problem": "partitions stand still or are far behind", "partitions": found}
    return said


async def _vault(runtime: Runtime) -> dict[str, Any]:
    await asyncio.to_thread(runtime.vault.keys_by_id, [])
    return {"ok": True}


async def _checkpoints(request: Request) -> dict[str, Any]:
    """How far the signer is behind the trees, and which partitions it has left alone for too long."""
    state, now_s = request.app.state, time.monotonic()
    found = await asyncio.to_thread(coverage, runtime_of(request).settings.database)
    seen: dict[int, tuple[int, float]] = getattr(state, "unsigned", {})
    # Since when we have seen a tree that is not all signed, with nothing new signed of it.
    state.unsigned = {
        p: seen[p] if p in seen and seen[p][0] == one.signed_size else (one.signed_size, now_s)
        for p, one in found.items()
        if not one.covered
    }
    late = [p for p, (_, since_s) in state.unsigned.items() if now_s - since_s > MAX_UNSIGNED_S]
    said: dict[str, Any] = {"ok": not late, "lag": max((one.lag for one in found.values()), default=0)}
    if late:
        partitions = [{"partition": p, "size": found[p].tree_size, "signed": found[p].signed_size} for p in late]
        said |= {"problem": "nothing is signed of some partitions: `doctor` says why", "partitions": partitions}
    return said


async def _gauges(request: Request) -> CollectorRegistry:
    """What is asked at the moment of scraping. A part that is away is left out, and `up` is 0 for it."""
    registry = CollectorRegistry()
    status = runtime_of(request).recorder.status()
    for name, text, value in (
        ("waiting", "Events that wait to be recorded.", status.waiting),
        ("in_flight", "Events handed to the log, not acknowledged yet.", status.in_flight),
        ("tail", "Records in the log that the views may not have yet.", status.tail),
        ("stopped", "1: events cannot be recorded.", int(status.problem is not None)),
    ):
        Gauge(f"consent_ledger_recorder_{name}", text, registry=registry).set(value)
    up = Gauge("consent_ledger_up", "1: the part works.", ("part",), registry=registry)
    report = await _readiness(request)
    for name, part in report["parts"].items():
        up.labels(name).set(int(part["ok"]))
    lag = report["parts"]["projections"].get("lag")
    if lag is not None:
        text = "Records by which the views are behind the log, of the partition that is most so."
        Gauge("consent_ledger_views_lag", text, registry=registry).set(lag)
    with contextlib.suppress(ConsentLedgerError):
        _measure(registry, await asyncio.to_thread(coverage, runtime_of(request).settings.database))
    return registry


def _measure(registry: CollectorRegistry, found: Mapping[int, Coverage]) -> None:
    """The checkpoints of each partition."""
    by_partition = ("partition",)
    size = Gauge("consent_ledger_checkpoint_size", "Leaves that are signed.", by_partition, registry=registry)
    lag = Gauge("consent_ledger_checkpoint_lag", "Leaves that are not signed yet.", by_partition, registry=registry)
    text = "When the last checkpoint was signed, in seconds since 1970."
    signed = Gauge("consent_ledger_checkpoint_time_seconds", text, by_partition, registry=registry)
    for partition, one in found.items():
        size.labels(str(partition)).set(one.signed_size)
        lag.labels(str(partition)).set(one.lag)
        if one.signed is not None:
            signed.labels(str(partition)).set(one.signed.timestamp())

"""Measures answers: the verdict at a position and the first page of a log, beside a bare prepared SELECT of the rows.

In process, on the resident's own read (an auditor's is recorded first, which is an append).
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

import psycopg
from psycopg.rows import tuple_row

from benchmarks.report import Figure
from ledger.log import Position
from projections.answers import Answers

BARE_VERDICT = """
SELECT v."partition", v."offset", v.known_from, v.known_until, v.subject, v.source, v.id, v.kind, v.outcome,
       v.first_outcome, v.policy_id, v.policy_version, v.basis, v.findings, t.body
FROM verdicts v JOIN timeline t ON t."partition" = v."partition" AND t."offset" = v."offset"
WHERE v."partition" = %s AND v."offset" = %s AND v.known_until IS NULL
"""
BARE_PAGE = """
SELECT t."partition", t."offset", t.kind, t.source, t.id, t.occurred, t.body, v.outcome, v.first_outcome FROM timeline t
LEFT JOIN verdicts v ON v."partition" = t."partition" AND v."offset" = t."offset" AND v.known_until IS NULL
WHERE t.subject = %s ORDER BY t.occurred DESC, t."offset" DESC LIMIT 50
"""
SAMPLE = """
SELECT "partition", "offset", subject FROM verdicts WHERE known_until IS NULL ORDER BY md5("offset"::text) LIMIT %s
"""


def measure(reader_dsn: str, superuser_asks: int) -> list[Figure]:
    """Latencies over that many questions; `reader_dsn` names a database that holds the views."""
    return asyncio.run(_measure(reader_dsn, superuser_asks))


async def _measure(dsn: str, questions: int) -> list[Figure]:
    figures: list[Figure] = []
    async with Answers(dsn, pool_size=1) as answers:
        connection = await psycopg.AsyncConnection.connect(dsn, autocommit=True, row_factory=tuple_row)
        async with connection:
            await connection.execute("SET ROLE ledger_auditor")
            sample = await (await connection.execute(SAMPLE, (questions,))).fetchall()

            async def bare_verdict(row: tuple[int, int, str]) -> None:
                await (await connection.execute(BARE_VERDICT, row[:2], prepare=True)).fetchall()

            async def bare_page(row: tuple[int, int, str]) -> None:
                await (await connection.execute(BARE_PAGE, row[2:], prepare=True)).fetchall()

            async def verdict(row: tuple[int, int, str]) -> None:
                async with answers.resident(row[2], once=True) as view:
                    assert (await view.stated(Position(row[0], row[1]))).verdict is not None

            async def page(row: tuple[int, int, str]) -> None:
                async with answers.resident(row[2], once=True) as view:
                    assert (await view.log(row[2], row[0], limit=50)).entries

            for name, ours, bare in (("verdict by position", verdict, bare_verdict), ("log page", page, bare_page)):
                figures += await _compare(name, ours, bare, sample)
    return figures


Ask = Callable[[tuple[int, int, str]], Awaitable[None]]


async def _compare(name: str, ours: Ask, bare: Ask, sample: list[tuple[int, int, str]]) -> list[Figure]:
    taken: dict[str, list[float]] = {"bare": [], "ours": []}
    for row in sample:
        for key, ask in (("bare", bare), ("ours", ours)):
            started = time.perf_counter()
            await ask(row)
            taken[key].append((time.perf_counter() - started) * 1_000)
    figures = []
    for label, share, target in (("p50", 0.50, 1.5), ("p99", 0.99, 3.0)):
        limit, value = (sorted(taken[key])[int(len(sample) * share)] for key in ("bare", "ours"))
        figures.append(Figure.alone(f"bare prepared SELECT, {name}, {label}", limit, "ms"))
        figures.append(
            Figure.against_limit(f"{name}, {label}", value, "ms", "bare prepared SELECT", limit, at_most=target)
        )
    return figures

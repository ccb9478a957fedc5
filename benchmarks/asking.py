"""Measures answers: the verdict at a position and the first page of a log, beside a bare prepared SELECT of the rows.

In process, on the resident's own read; an auditor's, which is recorded first, is reported beside. At each size of the
log, round by round, and beside each question about a verdict the same one to peer (b), which judges when it is asked.
Who of a pair is asked first takes turns, so that neither always finds the pages that the other has just brought in.
"""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import psycopg
from psycopg.rows import tuple_row

from benchmarks import audit_table, workload
from benchmarks.audit_table import AuditTable
from benchmarks.door import place, recording
from benchmarks.report import Figure, Point, Target, alone, beside
from benchmarks.stage import Stage
from benchmarks.stats import middle, quantile
from benchmarks.topic import fill
from benchmarks.viewing import record_view
from benchmarks.workers import project
from ledger import codec
from ledger.garbage import calm_collector
from ledger.log import Position
from projections.answers import Answers
from projections.schema import Dsns

# The rows of an answer and nothing else: no roles to switch, no snapshot, no look at how far the view reaches.
BARE_VERDICT = """
SELECT v."partition", v."offset", v.known_from, v.known_until, v.subject, v.source, v.id, v.kind, v.outcome,
       v.first_outcome, v.policy_id, v.policy_version, v.basis, v.findings, t.body
FROM verdicts v JOIN timeline t ON t."partition" = v."partition" AND t."offset" = v."offset"
WHERE v."partition" = %s AND v."offset" = %s AND v.known_until IS NULL
"""
BARE_PAGE = """
SELECT t."partition", t."offset", t.kind, t.source, t.id, t.occurred, t.body, v.outcome, v.first_outcome
FROM timeline t
LEFT JOIN verdicts v ON v."partition" = t."partition" AND v."offset" = t."offset" AND v.known_until IS NULL
WHERE t.subject = %s ORDER BY t.occurred DESC, t."offset" DESC LIMIT 50
"""
SAMPLE = """
SELECT "partition", "offset", subject, source, id FROM verdicts
WHERE known_until IS NULL AND kind IN ('data.used', 'data.shared') ORDER BY md5("partition" || '-' || "offset") LIMIT %s
"""
P50, P99 = Target(high=1.5), Target(high=3)
GROWTH = Target(high=1.5)


class Asked(NamedTuple):
    """What is asked about: a use or a share, by where our log has it and by its number in the audit table."""

    position: Position
    subject: str
    seq: int


Ask = Callable[[Asked], Awaitable[object]]
Taken = dict[str, list[list[float]]]
"""Milliseconds by who was asked what, a list for each round."""


class Questions(NamedTuple):
    """A log of one size: what is asked, and whom."""

    sample: list[Asked]
    pairs: tuple[tuple[str, Ask], ...]


def measure(stage: Stage) -> Iterator[Figure | Point]:
    """Latencies at each size, an auditor's, and those of residents with long histories."""
    found = asyncio.run(_by_size(stage))
    smallest, largest = stage.plan.growth[0], stage.plan.growth[-1]
    yield from _beside_bare(found[largest], largest)
    yield from _growth(found, smallest, largest)
    yield from asyncio.run(_auditor(stage))
    yield from asyncio.run(_long_histories(stage))


async def _by_size(stage: Stage) -> dict[int, Taken]:
    taken: dict[int, Taken] = {size: {} for size in stage.plan.growth}
    async with AsyncExitStack() as opened:
        questions = {}
        for size in stage.plan.growth:
            asking = _questions(stage.views(size), stage.audit_table(size), stage.plan.questions)
            questions[size] = await opened.enter_async_context(asking)
        stage.say("asking")
        for number in stage.rounds():
            for size, asked in questions.items():
                for name, milliseconds in (await _ask_all(asked, warm=number == 0)).items():
                    taken[size].setdefault(name, []).append(milliseconds)
    return taken


@asynccontextmanager
async def _questions(dsns: Dsns, table_dsn: str, count: int) -> AsyncIterator[Questions]:
    """Our answers, the bare SELECTs on a connection that sees all rows, and the audit table; a sample that all know."""
    async with (
        Answers(dsns.reader, pool_size=1) as answers,
        await psycopg.AsyncConnection.connect(dsns.reader, autocommit=True, row_factory=tuple_row) as bare,
        AuditTable(table_dsn) as table,
    ):
        await bare.execute("SET ROLE ledger_auditor")
        rows = await (await bare.execute(SAMPLE, (count,))).fetchall()
        numbers = await table.numbers([(row[3], row[4]) for row in rows])
        sample = [Asked(Position(*row[:2]), row[2], seq) for row, seq in zip(rows, numbers, strict=True)]

        async def bare_verdict(asked: Asked) -> object:
            return await (await bare.execute(BARE_VERDICT, asked.position, prepare=True)).fetchall()

        async def verdict(asked: Asked) -> object:
            async with answers.resident(asked.subject, once=True) as view:
                return (await view.stated(asked.position)).verdict

        async def bare_page(asked: Asked) -> object:
            return await (await bare.execute(BARE_PAGE, (asked.subject,), prepare=True)).fetchall()

        async def page(asked: Asked) -> object:
            async with answers.resident(asked.subject, once=True) as view:
                return (await view.log(asked.subject, asked.position.partition, limit=50)).entries

        async def peer_verdict(asked: Asked) -> object:
            return await table.verdict(asked.seq)

        async def peer_page(asked: Asked) -> object:
            return await table.log(asked.subject)

        pairs: tuple[tuple[str, Ask], ...] = (
            ("bare verdict", bare_verdict),
            ("verdict", verdict),
            ("peer verdict", peer_verdict),
            ("bare page", bare_page),
            ("page", page),
            ("peer page", peer_page),
        )
        yield Questions(sample, pairs)


async def _ask_all(questions: Questions, *, warm: bool) -> dict[str, list[float]]:
    """Every question about every one of the sample, each in its turn first; milliseconds."""
    taken: dict[str, list[float]] = {name: [] for name, _ in questions.pairs}
    if warm:
        for asked in questions.sample[:20]:
            for name, ask in questions.pairs:
                assert await ask(asked), f"{name} is answered"
    with calm_collector():
        for number, asked in enumerate(questions.sample):
            turn = number % len(questions.pairs)
            for name, ask in (*questions.pairs[turn:], *questions.pairs[:turn]):
                started = time.perf_counter()
                await ask(asked)
                taken[name].append((time.perf_counter() - started) * 1_000)
    return taken


def _beside_bare(taken: Taken, events: int) -> Iterator[Figure]:
    for what, bare, name in (
        ("verdict", "bare verdict", "verdict by position"),
        ("page", "bare page", "first page of a log"),
    ):
        for label, share, target in (("p50", 0.50, P50), ("p99", 0.99, P99)):
            limit, ours = _quantiles(taken[bare], share), _quantiles(taken[what], share)
            yield alone(f"bare prepared SELECT, {name}, {label}", limit, "ms", note=f"{events:,} events")
            yield beside(f"{name}, resident's own read, {label}", ours, "ms", "bare prepared SELECT", limit, target)


def _growth(found: dict[int, Taken], smallest: int, largest: int) -> Iterator[Figure | Point]:
    lines = (
        ("verdict", "verdict by position", "ours"),
        ("page", "first page of a log", "ours"),
        ("peer verdict", "verdict question", "peer (b)"),
        ("peer page", "log page with verdicts", "peer (b)"),
    )
    for key, name, whose in lines:
        p50 = {size: _quantiles(taken[key], 0.5) for size, taken in found.items()}
        for size, rounds in p50.items():
            yield Point(f"{whose}: {name}", "a question, p50", size, middle(rounds), "ms")
        title = name if whose == "ours" else f"peer (b), {name}"
        against, target = f"{smallest:,} events", GROWTH if whose == "ours" else None
        note = "" if largest == 1_000_000 else "the full run takes 1,000,000 against 10,000"
        yield alone(f"{title} at {smallest:,} events, p50", p50[smallest], "ms")
        yield beside(f"{title} at {largest:,} events, p50", p50[largest], "ms", against, p50[smallest], target, note)
    for size, taken in found.items():
        for key, name, _ in lines[:2]:
            ours, peer = _quantiles(taken[key], 0.5), _quantiles(taken[f"peer {key}"], 0.5)
            yield beside(f"{name} at {size:,} events, p50, beside peer (b)", ours, "ms", "peer (b)", peer)


def _quantiles(rounds: Sequence[Sequence[float]], share: float) -> list[float]:
    return [quantile(milliseconds, share) for milliseconds in rounds]


# --- an auditor -------------------------------------------------------------------------------------------------


async def _auditor(stage: Stage) -> list[Figure | Point]:
    """An auditor's verdict and page: recorded, acknowledged by the log, then read."""
    dsns = stage.views(stage.plan.growth[0])
    taken: dict[str, list[float]] = {"verdict by position": [], "first page of a log": []}
    with tempfile.TemporaryDirectory() as folder, recording(place(stage.here, Path(folder), 2)) as runtime:
        async with Answers(dsns.reader, pool_size=1) as answers:
            async with answers.auditor() as view:
                cursor = await view._connection.execute(SAMPLE, (stage.plan.auditor_reads,))
                sample = await cursor.fetchall()
            for _ in stage.rounds():
                times: dict[str, list[float]] = {name: [] for name in taken}
                for partition, offset, subject, *_rest in sample:
                    for name in times:
                        started = time.perf_counter()
                        await record_view(runtime, subject, "log")
                        async with answers.auditor(once=True) as view:
                            if name == "verdict by position":
                                await view.stated(Position(partition, offset))
                            else:
                                await view.log(subject, partition, limit=50)
                        times[name].append((time.perf_counter() - started) * 1_000)
                for name, milliseconds in times.items():
                    taken[name].append(quantile(milliseconds, 0.5))
    note = "one append to the log, then the read"
    return [alone(f"{name}, auditor's read, recorded first, p50", ms, "ms", note=note) for name, ms in taken.items()]


# --- long histories ---------------------------------------------------------------------------------------------


async def _long_histories(stage: Stage) -> list[Figure | Point]:
    """The latest verdict of residents who have a few events, and of residents who have many: ours and peer (b)'s."""
    sizes = stage.plan.long_histories
    people = {size: f"long{size}_000000" for size in sizes}
    histories = {size: list(workload.city(1, size + 2, 7, f"l{size}", f"long{size}")) for size in sizes}
    events = histories[sizes[0]][:2] + [event for size in sizes for event in histories[size][2:]]
    here = stage.here
    records = ((None if e.reference else str(e.subject), codec.encode(e)) for e in workload.stamped(events))
    filled = fill(here.bootstrap, here.new_topic(), records)
    dsns, table_dsn = here.new_database(), here.new_superuser_dsn()
    project(here.bootstrap, dsns.projector, filled, processes=1)
    with psycopg.connect(here.superuser_of(dsns.owner), autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
    audit_table.create(table_dsn)
    audit_table.load(table_dsn, events)
    results: list[Figure | Point] = []
    async with _questions(dsns, table_dsn, sum(sizes)) as questions:
        pairs = tuple(pair for pair in questions.pairs if pair[0] in ("verdict", "peer verdict"))
        taken: dict[int, Taken] = {size: {"verdict": [], "peer verdict": []} for size in sizes}
        for _ in stage.rounds():
            for size in sizes:
                theirs = [asked for asked in questions.sample if asked.subject == people[size]]
                latest = sorted(theirs, key=lambda asked: asked.position)[-5:]
                some = Questions(latest * max(1, stage.plan.questions // 50), pairs)
                for name, milliseconds in (await _ask_all(some, warm=True)).items():
                    taken[size][name].append(milliseconds)
    for size in sizes:
        ours, peer = (_quantiles(taken[size][name], 0.5) for name in ("verdict", "peer verdict"))
        name = f"latest verdicts of a resident with {size:,} events, p50"
        results.append(alone(f"peer (b), {name}", peer, "ms"))
        results.append(beside(name, ours, "ms", "peer (b)", peer))
    return results

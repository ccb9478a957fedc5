"""The views as they are asked: whose eyes a connection has, one snapshot, servers that go away, and the plans."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import psycopg
import pytest
from psycopg import sql

from ledger.errors import NotYet, Unavailable
from ledger.log import Position
from projections.answers import Answers, Cursor, Filters
from projections.datastore import application_name
from projections.schema import Dsns
from projections.statements import statements
from tests.projected import new_schema

_Found = TypeVar("_Found")
MANY = 20_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ENTRIES = """
INSERT INTO timeline ("offset", key_hash, occurred, "partition", fact, subject, source, id, kind, purposes, body)
SELECT g, g, '2025-01-01Z'::timestamptz + g * interval '1 minute', 0, false, %(subject)s, '/s', 'e' || g, 'data.used',
       ARRAY['4.2'], '{}'
FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS g
"""
_VERDICTS = """
INSERT INTO verdicts ("offset", known_from, occurred, "partition", subject, source, id, kind, purposes, outcome,
                      first_outcome, basis, findings)
SELECT t."offset", t."offset", t.occurred, t."partition", t.subject, t.source, t.id, t.kind, t.purposes, 'consistent',
       'consistent', '{}', '[]'
FROM timeline t
WHERE NOT EXISTS (SELECT FROM verdicts v WHERE v."partition" = t."partition" AND v."offset" = t."offset")
"""


@pytest.fixture
def dsns(fresh_database: str) -> Iterator[Dsns]:
    """Views with 40 entries of `one` at 0 to 39 and 40 of `other` behind them."""
    made = new_schema(fresh_database)
    add(made, "one", 0, 39)
    add(made, "other", 40, 79)
    yield made


def add(dsns: Dsns, subject: str, first: int, last: int) -> None:
    with psycopg.connect(dsns.owner) as connection:
        connection.execute(_ENTRIES.encode(), {"subject": subject, "first": first, "last": last})
        connection.execute(_VERDICTS.encode())
        name = application_name(0)
        connection.execute("DELETE FROM tracking WHERE application_name = %s", (name,))
        connection.execute("INSERT INTO tracking VALUES (%s, %s)", (name, last + 1))


def ask(dsns: Dsns, what: Callable[[Answers], Awaitable[_Found]]) -> _Found:
    async def run() -> _Found:
        async with Answers(dsns.reader, pool_size=1) as answers:
            return await what(answers)

    return asyncio.run(run())


@pytest.mark.parametrize("once", [True, False])
def test_a_connection_s_next_user_sees_nothing_of_the_resident_before(dsns: Dsns, once: bool) -> None:
    async def questions(answers: Answers) -> None:
        for subject, foreign in (("one", "other"), ("other", "one")):
            async with answers.resident(subject, once=once) as view:
                assert len((await view.log(subject, 0)).entries) == 40
            async with answers.resident(subject, once=once) as view:
                assert (await view.log(foreign, 0)).entries == []
            async with answers.resident(subject, once=once) as view:
                assert await view.knows(subject)
            async with answers.anyone(once=once) as view:
                assert not await view.knows(subject)
            with pytest.raises(RuntimeError):
                async with answers.resident(subject, once=once) as view:
                    assert await view.knows(subject)
                    raise RuntimeError("the door broke")
            async with answers.resident(foreign, once=once) as view:
                assert not await view.knows(subject)
        async with answers.auditor(once=once) as view:
            assert await view.knows("one")
        async with answers.anyone(once=once) as view:
            assert not await view.knows("one")

    ask(dsns, questions)


def test_a_verdict_is_its_own_resident_s_and_an_auditor_s(dsns: Dsns) -> None:
    async def outcome(answers: Answers, subject: str | None) -> str | None:
        seen = answers.auditor(once=True) if subject is None else answers.resident(subject, once=True)
        async with seen as view:
            found = await view.stated(Position(0, 7))
            assert found.reached == 80 and not found.withholds
            return None if found.verdict is None else found.verdict.outcome

    async def questions(answers: Answers) -> list[str | None]:
        return [await outcome(answers, subject) for subject in ("one", "other", None, "other", "one")]

    assert ask(dsns, questions) == ["consistent", None, "consistent", None, "consistent"]


@pytest.mark.parametrize(
    ("position", "known_at"), [(Position(0, 80), None), (Position(0, 7), 80), (Position(5, 0), None)]
)
def test_what_the_view_has_not_reached_is_not_yet_there(dsns: Dsns, position: Position, known_at: int | None) -> None:
    async def question(answers: Answers) -> None:
        async with answers.auditor(once=True) as view:
            await view.stated(position, known_at)

    with pytest.raises(NotYet):
        ask(dsns, question)


@pytest.mark.parametrize("role", ["resident", "auditor"])
def test_a_view_is_one_snapshot_however_many_questions(dsns: Dsns, role: str) -> None:
    async def questions(answers: Answers) -> None:
        seen = answers.resident("one") if role == "resident" else answers.auditor()
        async with seen as view:
            before = await view.projected()
            await asyncio.to_thread(add, dsns, "one", 80, 99)
            assert await view.projected() == before == {0: 80}
            page = await view.log("one", 0, limit=100)
            assert (page.reached, len(page.entries)) == (80, 40)
        async with answers.resident("one", once=True) as view:
            page = await view.log("one", 0, limit=100)
            assert (page.reached, len(page.entries)) == (100, 60)

    ask(dsns, questions)


def test_connections_that_the_server_closed_are_replaced_before_they_are_used(dsns: Dsns, fresh_database: str) -> None:
    async def questions(answers: Answers) -> None:
        for _ in range(3):
            async with answers.resident("one", once=True) as view:
                assert (await view.log("one", 0)).entries
            async with answers.auditor(once=True) as view:
                assert await view.knows("other")
            with psycopg.connect(fresh_database, autocommit=True) as connection:
                gone = connection.execute(
                    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = 'ledger_reader'"
                    " AND datname = current_database()"
                ).fetchall()
            assert gone == [(True,), (True,)]

    ask(dsns, questions)


def test_a_connection_that_breaks_in_use_is_unavailable_and_the_next_one_answers(
    dsns: Dsns, fresh_database: str
) -> None:
    async def questions(answers: Answers) -> None:
        with pytest.raises(Unavailable):
            async with answers.resident("one") as view:
                assert await view.knows("one")
                with psycopg.connect(fresh_database, autocommit=True) as connection:
                    connection.execute(
                        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                        " WHERE usename = 'ledger_reader' AND datname = current_database()"
                    )
                await view.knows("one")
        async with answers.resident("one", once=True) as view:
            assert await view.knows("one")

    ask(dsns, questions)


def test_a_reader_that_was_cancelled_leaves_nothing_of_the_resident(dsns: Dsns) -> None:
    async def patient(answers: Answers) -> None:
        async with answers.resident("one") as view:
            await view.knows("one")
            await asyncio.sleep(60)

    async def questions(answers: Answers) -> None:
        task: asyncio.Task[None] = asyncio.create_task(patient(answers))
        await asyncio.sleep(0.3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with answers.anyone() as view:
            assert not await view.knows("one")

    ask(dsns, questions)


@pytest.mark.parametrize("name", ["log page", "log page, filtered"])
@pytest.mark.parametrize("analyzed", [False, True])
def test_a_page_reads_no_more_rows_than_it_holds_however_long_the_log_is(dsns: Dsns, name: str, analyzed: bool) -> None:
    add(dsns, "long", 80, 80 + MANY)
    if analyzed:
        with psycopg.connect(dsns.owner, autocommit=True) as connection:
            connection.execute("ANALYZE")
    parameters: dict[str, Any] = {
        "eyes": "long",
        "application": application_name(0),
        "subject": "long",
        "before": "2025-01-07T00:00:00Z",
        "before_offset": MANY // 2,
        "limit": 51,
        "since": "-infinity",
        "until": "infinity",
        "source": None,
        "purpose": None,
        "outcome": None,
        "kind": "data.used",
    }

    async def question(answers: Answers) -> list[dict[str, Any]]:
        async with answers.resident("long") as view:
            connection = view._connection
            names: list[str] = []
            text = re.sub(r"%\((\w+)\)s", lambda match: numbered(names, match[1]), statements("answers")[name].decode())
            await connection.execute(f"PREPARE page AS {text.replace('%%', '%')}".encode())
            given = sql.SQL(", ").join(sql.Literal(parameters[key]) for key in names)
            explain = sql.SQL("EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE page({})").format(given)
            [(plan,)] = await (await connection.execute(explain)).fetchall()
            return list(nodes(plan[0]["Plan"]))

    plan = ask(dsns, question)
    read = [node for node in plan if node.get("Relation Name") in ("timeline", "verdicts")]
    assert {node["Relation Name"] for node in read} == {"timeline", "verdicts"}
    assert all(node["Node Type"] == "Index Scan" for node in read)
    assert sum(node["Actual Rows"] * node["Actual Loops"] for node in read) == 2 * 51
    assert all(node.get("Rows Removed by Filter", 0) == 0 for node in read)


def numbered(names: list[str], name: str) -> str:
    """The number of a parameter, in the order in which they first appear."""
    if name not in names:
        names.append(name)
    return f"${names.index(name) + 1}"


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every node of a plan."""
    yield plan
    for inner in plan.get("Plans", ()):
        yield from nodes(inner)


def test_pages_follow_each_other_without_a_gap_or_a_repeat(dsns: Dsns) -> None:
    async def questions(answers: Answers) -> list[int]:
        found: list[int] = []
        after = None
        while True:
            async with answers.resident("one", once=True) as view:
                page = await view.log("one", 0, Filters(kind="data.used"), after, limit=7)
            if not page.entries:
                return found
            found += [entry.position.offset for entry in page.entries]
            last = page.entries[-1]
            after = Cursor((last.occurred - EPOCH) // timedelta(microseconds=1), last.position.offset)

    assert ask(dsns, questions) == list(range(39, -1, -1))

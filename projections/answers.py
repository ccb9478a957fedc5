"""Questions to the views, for the doors: as one resident, or as an auditor, each in one read-only snapshot.

    async with Answers(dsns.reader) as answers:
        async with answers.resident("res_7f2c") as view:        # sees this resident's rows and nobody else's
            page = await view.log("res_7f2c", Filters(kind="data.used"), limit=50)
            reach = await view.projected()                       # {0: 1042, …}: complete through one less
        async with answers.auditor() as view:
            verdict = await view.verdict(Position(3, 1041), known_at=2210)

Row-level security in PostgreSQL decides what is seen; nothing here could widen it by mistake. Errors of the database
become `Unavailable`; what the view has not reached yet is `NotYet`.
"""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

import psycopg
from psycopg.rows import args_row, tuple_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from ledger.errors import NotYet, Unavailable
from ledger.log import MAX_OFFSET, Position
from projections import rows
from projections.cells import moment
from projections.keys import key_hash
from projections.statements import statements

MAX_PAGE = 500
POLL_S = 0.02
_APPLICATION = re.compile(r"ledger\[([0-9]+)\]")
_Row = TypeVar("_Row")
_Connection = psycopg.AsyncConnection[tuple[Any, ...]]


class Filters(NamedTuple):
    """Which entries of a log: `since` <= time < `until` in microseconds; a service is named by its source."""

    since: int | None = None
    until: int | None = None
    service: str | None = None
    purpose: str | None = None
    outcome: str | None = None
    kind: str | None = None


ALL = Filters()
"""Every entry."""


class Cursor(NamedTuple):
    """Where a page ended: the entry's time in microseconds, and its offset."""

    occurred: int
    offset: int


class Answers:
    """A pool of connections to the views. An async context manager."""

    def __init__(self, reader_dsn: str, *, pool_size: int = 8, timeout_s: float = 5.0) -> None:
        self._pool: AsyncConnectionPool[_Connection] = AsyncConnectionPool(
            reader_dsn,
            min_size=1,
            max_size=pool_size,
            timeout=timeout_s,
            open=False,
            kwargs={"autocommit": True, "row_factory": tuple_row, "connect_timeout": 5},
            check=AsyncConnectionPool.check_connection,
        )

    async def __aenter__(self) -> "Answers":
        await self._pool.open()
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connections."""
        await self._pool.close()

    @asynccontextmanager
    async def resident(self, subject: str) -> "AsyncIterator[View]":
        """The views as this resident may see them."""
        async with self._snapshot() as connection:
            await connection.execute(statements("answers")["see as resident"], {"subject": subject})
            yield View(connection)

    @asynccontextmanager
    async def auditor(self) -> "AsyncIterator[View]":
        """The views as an auditor may see them: all of them."""
        async with self._snapshot() as connection:
            await connection.execute(statements("answers")["see as auditor"])
            yield View(connection)

    @asynccontextmanager
    async def anyone(self) -> "AsyncIterator[View]":
        """The views without residents: the rules, and how far the views reach."""
        async with self._snapshot() as connection:
            yield View(connection)

    async def wait_until(self, position: Position, timeout_s: float = 2.0) -> None:
        """Read your own writes: returns when the view has reached a position; raises `NotYet` when it does not."""
        deadline_s = time.monotonic() + timeout_s
        while True:
            async with self.anyone() as view:
                reach = await view.projected()
            if reach.get(position.partition, 0) > position.offset:
                return
            if time.monotonic() >= deadline_s:
                raise NotYet("the view has not reached this position yet: ask again")
            await asyncio.sleep(POLL_S)

    @asynccontextmanager
    async def _snapshot(self) -> AsyncIterator[_Connection]:
        try:
            async with self._pool.connection() as connection, connection.transaction():
                await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
                yield connection
        except (psycopg.Error, PoolTimeout):
            raise Unavailable("the views cannot be asked now: try again") from None


class View:
    """One snapshot of the views, seen with somebody's eyes."""

    def __init__(self, connection: _Connection) -> None:
        self._connection = connection

    async def projected(self) -> dict[int, int]:
        """For each partition the first offset that is not in the views: they are complete through one less."""
        found = await self._ask("projected", {}, lambda name, offset: (name, offset))
        matches = ((_APPLICATION.fullmatch(name), offset) for name, offset in found)
        return {int(match[1]): offset for match, offset in matches if match is not None}

    async def halted(self) -> list[rows.Halted]:
        """The partitions that stand still."""
        return await self._ask("halted", {}, rows.Halted)

    async def log(
        self, subject: str, filters: Filters = ALL, after: Cursor | None = None, limit: int = 50
    ) -> list[rows.LogEntry]:
        """A page of a resident's log, newest first, with today's verdicts; the next page begins `after` its last."""
        assert 0 < limit <= MAX_PAGE, "pages are bounded"
        parameters = {
            "subject": subject,
            "before": "infinity" if after is None else moment(after.occurred),
            "before_offset": MAX_OFFSET if after is None else after.offset,
            "since": "-infinity" if filters.since is None else moment(filters.since),
            "until": "infinity" if filters.until is None else moment(filters.until),
            "source": filters.service,
            "purpose": filters.purpose,
            "outcome": filters.outcome,
            "kind": filters.kind,
            "limit": limit,
        }
        return await self._ask("log page", parameters, _log_entry)

    async def record(self, position: Position) -> rows.Record | None:
        """The record at a position that counts; None when there is none that may be seen."""
        return await self._one("record", position._asdict(), _record)

    async def repeated(self, position: Position) -> Position | None:
        """The record that the one at this position repeats."""
        return await self._one("repeat", position._asdict(), lambda first, *_: Position(position.partition, first))

    async def records(self, source: str, event_id: str) -> list[rows.Record]:
        """Every record with this source and id: a reference fact stands in each partition."""
        parameters = {"hash": key_hash(source, event_id), "source": source, "id": event_id}
        return await self._ask("records by id", parameters, _record)

    async def verdict(self, position: Position, known_at: int | None = None) -> rows.Verdict | None:
        """The verdict on the event at a position as known at offset `known_at` of its partition (default: now).

        None: no such event, none that is judged, or none known then. Raises `NotYet` beyond the view's reach.
        """
        reach = (await self.projected()).get(position.partition, 0)
        known_at = max(reach - 1, 0) if known_at is None else known_at
        if max(position.offset, known_at) >= reach:
            raise NotYet("the view has not reached this position yet: ask again")
        return await self._one("verdict", {**position._asdict(), "known_at": known_at}, _verdict)

    async def verdict_history(self, position: Position) -> list[rows.Verdict]:
        """Every verdict that the event has had, in order."""
        return await self._ask("verdict history", position._asdict(), _verdict)

    async def consents(self, subject: str) -> list[rows.Consent]:
        """A resident's consents."""
        return await self._ask("consents", {"subject": subject}, rows.Consent)

    async def preferences(self, subject: str) -> list[rows.Preference]:
        """A resident's preferences about channels."""
        return await self._ask("preferences", {"subject": subject}, rows.Preference)

    async def anonymity(self, subject: str) -> rows.Anonymity | None:
        """Whether a resident engages anonymously; None when they never said."""
        return await self._one("anonymity", {"subject": subject}, rows.Anonymity)

    async def holdings(self, subject: str) -> list[rows.Holding]:
        """What is held of a resident."""
        return await self._ask("holdings", {"subject": subject}, rows.Holding)

    async def cases(self, subject: str) -> list[rows.Case]:
        """A resident's contests, complaints, requests, incidents and erasures."""
        return await self._ask("cases", {"subject": subject}, rows.Case)

    async def policies(self, partition: int = 0) -> list[rows.ReferenceFact]:
        """Every policy that was published, in the order of the log."""
        return await self.reference_facts("policy.published", partition)

    async def services(self, partition: int = 0) -> list[rows.ReferenceFact]:
        """The services as last registered."""
        return await self.reference_facts("service.registered", partition)

    async def reference_facts(self, kind: str, partition: int = 0) -> list[rows.ReferenceFact]:
        """The reference facts of a kind as they stand."""
        return await self._ask("reference facts", {"partition": partition, "kind": kind}, rows.ReferenceFact)

    async def withheld(self, subject: str) -> list[rows.Withheld]:
        """Every event about a resident that a law holds, or held, back: its last citation and the last day."""
        return await self._ask("withheld", {"subject": subject}, rows.Withheld)

    async def facts(self, partition: int, subject: str) -> list[tuple[int, str | None, bytes]]:
        """What a verdict about this resident rests on: (offset, subject, body) of the partition's reference facts and
        of the resident's own, in the order of the log."""
        parameters = {"partition": partition, "subject": subject}
        return await self._ask("facts", parameters, lambda offset, of, body: (offset, of, body.encode()))

    async def uses(self, subject: str, since: datetime, now: datetime) -> dict[str, int]:
        """A resident's uses and shares since a moment, by today's outcome; without what is held back now."""
        parameters = {"subject": subject, "since": since, "now": now}
        return dict(await self._ask("uses", parameters, lambda outcome, count: (outcome, count), "summary"))

    async def last_recorded(self, partition: int) -> datetime | None:
        """When the last record of a partition that the views have was recorded."""
        return await self._one("last recorded", {"partition": partition}, lambda moment: moment, "summary")

    async def reporting(self, sources: Sequence[str]) -> list[str]:
        """Those of these sources that have said anything about any resident."""
        return await self._ask("reporting", {"sources": list(sources)}, lambda source: str(source), "summary")

    async def _one(
        self, name: str, parameters: dict[str, Any], make: Callable[..., _Row], file: str = "answers"
    ) -> _Row | None:
        found = await self._ask(name, parameters, make, file)
        return found[0] if found else None

    async def _ask(
        self, name: str, parameters: dict[str, Any], make: Callable[..., _Row], file: str = "answers"
    ) -> list[_Row]:
        async with self._connection.cursor(row_factory=args_row(make)) as cursor:
            await cursor.execute(statements(file)[name], parameters)
            return await cursor.fetchall()


def _log_entry(partition: int, offset: int, *columns: Any) -> rows.LogEntry:
    kind, source, event_id, occurred, body, *judged, withheld = columns
    judgement = None if judged[0] is None else rows.Judgement(*judged)
    return rows.LogEntry(
        Position(partition, offset), kind, source, event_id, occurred, body.encode(), judgement, withheld
    )


def _record(partition: int, offset: int, *columns: Any) -> rows.Record:
    subject, kind, source, event_id, occurred, body, withheld = columns
    return rows.Record(Position(partition, offset), subject, kind, source, event_id, occurred, body.encode(), withheld)


def _verdict(partition: int, offset: int, *columns: Any) -> rows.Verdict:
    *judged, body, withheld = columns
    return rows.Verdict._make((Position(partition, offset), *judged, body.encode(), withheld))

"""Questions to the views, for the doors: as one resident, or as an auditor, in one read-only snapshot.

    async with Answers(dsns.reader) as answers:
        async with answers.resident("res_7f2c") as view:        # sees this resident's rows and nobody else's
            held = await view.consents("res_7f2c")
            reach = await view.projected()                       # {0: 1042, …}: complete through one less
        async with answers.auditor(once=True) as view:          # one question, one round trip
            stated = await view.stated(Position(3, 1041), known_at=2210)

Row-level security in PostgreSQL decides what is seen; nothing here could widen it by mistake: residents and auditors
have connections of their own, and whose eyes a resident's connection has ends with its transaction. Errors of the
database become `Unavailable`; what the view has not reached yet is `NotYet`.
"""

import asyncio
import re
import select
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import args_row, tuple_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from ledger.errors import NotYet, Unavailable
from ledger.log import MAX_OFFSET, Position
from projections import rows
from projections.cells import moment
from projections.datastore import application_name
from projections.keys import key_hash
from projections.statements import statements

MAX_PAGE = 501
"""A page of 500 and the row behind it."""
POLL_S = 0.02
_APPLICATION = re.compile(r"ledger\[([0-9]+)\]")
_Row = TypeVar("_Row")
_Connection = psycopg.AsyncConnection[tuple[Any, ...]]
_Pool = AsyncConnectionPool[_Connection]
_SETTINGS = (
    "-c default_transaction_isolation=repeatable\\ read -c default_transaction_read_only=on"
    " -c plan_cache_mode=force_generic_plan -c enable_bitmapscan=off -c jit=off"
)
"""One snapshot a transaction, also where a statement is one by itself. A statement is planned once for a connection,
and walks the index that it is written for: which rows it finds is nothing that the planner could guess."""
_SAY_WHOSE = frozenset({"log page", "log page, filtered", "verdict"})
"""Statements that set `ledger.subject` themselves."""


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
    """Two pools of connections to the views, as a resident and as an auditor. An async context manager."""

    def __init__(self, reader_dsn: str, *, pool_size: int = 8, timeout_s: float = 5.0) -> None:
        self._residents = _pool(reader_dsn, pool_size, timeout_s)
        self._auditors = _pool(reader_dsn, pool_size, timeout_s, _become_auditor)

    async def __aenter__(self) -> "Answers":
        await self._residents.open()
        await self._auditors.open()
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connections."""
        await self._residents.close()
        await self._auditors.close()

    def resident(self, subject: str, *, once: bool = False) -> "AbstractAsyncContextManager[View]":
        """The views as this resident may see them; `once`: for one question, which is its own snapshot."""
        return self._view(self._residents, subject, once)

    def auditor(self, *, once: bool = False) -> "AbstractAsyncContextManager[View]":
        """The views as an auditor may see them: all of them; `once`: for one question, which is its own snapshot."""
        return self._view(self._auditors, None, once)

    def anyone(self, *, once: bool = False) -> "AbstractAsyncContextManager[View]":
        """The views without residents: the rules, and how far the views reach; `once` as above."""
        return self._view(self._residents, None, once)

    async def wait_until(self, position: Position, timeout_s: float = 2.0) -> None:
        """Read your own writes: returns when the view has reached a position; raises `NotYet` when it does not."""
        deadline_s = time.monotonic() + timeout_s
        while True:
            async with self.anyone(once=True) as view:
                reach = await view.projected()
            if reach.get(position.partition, 0) > position.offset:
                return
            if time.monotonic() >= deadline_s:
                raise NotYet("the view has not reached this position yet: ask again")
            await asyncio.sleep(POLL_S)

    @asynccontextmanager
    async def _view(self, pool: _Pool, eyes: str | None, once: bool) -> "AsyncIterator[View]":
        try:
            connection = await pool.getconn()
            try:
                if once:
                    yield View(connection, eyes, once=True)
                else:
                    async with connection:  # commits, or rolls back
                        yield View(connection, eyes, once=False)
            finally:
                await pool.putconn(connection)  # a new one in its place, if it broke
        except (psycopg.Error, PoolTimeout):
            raise Unavailable("the views cannot be asked now: try again") from None


def _pool(dsn: str, size: int, timeout_s: float, configure: "Callable[[_Connection], Any] | None" = None) -> _Pool:
    options = f"{conninfo_to_dict(dsn).get('options') or ''} {_SETTINGS}"
    return AsyncConnectionPool(
        make_conninfo(dsn, options=options),
        min_size=1,
        max_size=size,
        timeout=timeout_s,
        open=False,
        kwargs={"autocommit": True, "row_factory": tuple_row, "connect_timeout": 5, "prepare_threshold": 0},
        configure=configure,
        check=_check,
    )


async def _become_auditor(connection: _Connection) -> None:
    await connection.execute(statements("answers")["see as auditor"])


async def _check(connection: _Connection) -> None:
    """Whether an idle connection still holds: it has nothing to say, unless its server went away."""
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    if poll.poll(0):
        await AsyncConnectionPool.check_connection(connection)


class View:
    """The views, seen with somebody's eyes: one snapshot, which begins with the first question."""

    def __init__(self, connection: _Connection, eyes: str | None, *, once: bool) -> None:
        self._connection = connection
        self._eyes = eyes
        self._once = once
        self._asked = False

    async def projected(self) -> dict[int, int]:
        """For each partition the first offset that is not in the views: they are complete through one less."""
        found = await self._ask("projected", {}, lambda name, offset: (name, offset))
        matches = ((_APPLICATION.fullmatch(name), offset) for name, offset in found)
        return {int(match[1]): offset for match, offset in matches if match is not None}

    async def halted(self) -> list[rows.Halted]:
        """The partitions that stand still."""
        return await self._ask("halted", {}, rows.Halted)

    async def log(
        self, subject: str, partition: int, filters: Filters = ALL, after: Cursor | None = None, limit: int = 50
    ) -> rows.LogPage:
        """A page of a resident's log, newest first, with today's verdicts; the next page begins `after` its last.

        `partition` is the resident's."""
        assert 0 < limit <= MAX_PAGE, "pages are bounded"
        parameters: dict[str, Any] = {
            "eyes": self._eyes or "",
            "application": application_name(partition),
            "subject": subject,
            "before": "infinity" if after is None else moment(after.occurred),
            "before_offset": MAX_OFFSET if after is None else after.offset,
            "limit": limit,
        }
        name = "log page"
        if filters != ALL:
            name = "log page, filtered"
            parameters |= {
                "since": "-infinity" if filters.since is None else moment(filters.since),
                "until": "infinity" if filters.until is None else moment(filters.until),
                "source": filters.service,
                "purpose": filters.purpose,
                "outcome": filters.outcome,
                "kind": filters.kind,
            }
        found = await self._ask(name, parameters, lambda *row: row)
        reached, withholds = found[0][:2]
        return rows.LogPage(reached, withholds, [_log_entry(*row[2:]) for row in found if row[2] is not None])

    async def knows(self, subject: str) -> bool:
        """Whether anything is recorded about this resident."""
        return bool(await self._one("known", {"subject": subject}, bool))

    async def unknown(self, subjects: Sequence[str]) -> list[str]:
        """Those of these residents of whom nothing is recorded."""
        return await self._ask("unknown", {"subjects": list(subjects)}, str)

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
        return (await self.stated(position, known_at)).verdict

    async def stated(self, position: Position, known_at: int | None = None) -> rows.Stated:
        """The same with how far the view reaches, and whether anything is withheld from the reader."""
        parameters = {
            "eyes": self._eyes or "",
            "application": application_name(position.partition),
            **position._asdict(),
            "known_at": known_at,
        }
        [found] = await self._ask("verdict", parameters, _stated)
        if max(position.offset, known_at or 0) >= found.reached:
            raise NotYet("the view has not reached this position yet: ask again")
        return found

    async def verdict_history(self, position: Position, since: int, limit: int) -> list[rows.Verdict]:
        """The verdicts that the event has had, in order: up to `limit` of those known from offset `since` on."""
        return await self._ask("verdict history", {**position._asdict(), "since": since, "limit": limit}, _verdict)

    async def records_at(self, partition: int, offsets: Sequence[int]) -> list[rows.Record]:
        """The records at these offsets that count and may be seen, in order."""
        return await self._ask("records at", {"partition": partition, "offsets": list(offsets)}, _record)

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
        return dict(await self._ask("uses", parameters, lambda outcome, count: (outcome, count), "my"))

    async def findings(self, partition: int, offsets: Sequence[int]) -> dict[int, str]:
        """Today's findings of the judged events at these offsets, as JSON, by offset."""
        parameters = {"partition": partition, "offsets": list(offsets)}
        return dict(await self._ask("findings", parameters, lambda offset, text: (offset, text), "my"))

    async def last_recorded(self, partition: int) -> datetime | None:
        """When the last record of a partition that the views have was recorded."""
        return await self._one("last recorded", {"partition": partition}, lambda moment: moment, "my")

    async def reporting(self, sources: Sequence[str]) -> list[str]:
        """Those of these sources that have said anything about any resident."""
        return await self._ask("reporting", {"sources": list(sources)}, lambda source: str(source), "my")

    async def _one(
        self, name: str, parameters: dict[str, Any], make: Callable[..., _Row], file: str = "answers"
    ) -> _Row | None:
        found = await self._ask(name, parameters, make, file)
        return found[0] if found else None

    async def _ask(
        self, name: str, parameters: dict[str, Any], make: Callable[..., _Row], file: str = "answers"
    ) -> list[_Row]:
        assert not (self._once and self._asked), "once is for one question"
        cursor = self._connection.cursor(row_factory=args_row(make))
        statement = statements(file)[name]
        if self._asked or (self._once and (self._eyes is None or name in _SAY_WHOSE)):
            await cursor.execute(statement, parameters)
        else:
            # Sent together: a transaction, explicit or (libpq's pipeline) until the next sync, in one round trip.
            own = statements("answers")
            async with self._connection.pipeline():
                if not self._once:
                    await self._connection.execute(own["begin"])
                if self._eyes is not None:
                    await self._connection.execute(own["see as resident"], {"eyes": self._eyes})
                await cursor.execute(statement, parameters)
        self._asked = True
        return await cursor.fetchall()


def _log_entry(partition: int, offset: int, *columns: Any) -> rows.LogEntry:
    *known, body, outcome, first_outcome = columns
    return rows.LogEntry._make((Position(partition, offset), *known, body.encode(), outcome, first_outcome))


def _stated(reached: int, withholds: bool, *columns: Any) -> rows.Stated:
    return rows.Stated(reached, withholds, None if columns[0] is None else _verdict(*columns))


def _record(partition: int, offset: int, *columns: Any) -> rows.Record:
    *known, body = columns
    return rows.Record._make((Position(partition, offset), *known, body.encode()))


def _verdict(partition: int, offset: int, *columns: Any) -> rows.Verdict:
    *judged, body = columns
    return rows.Verdict._make((Position(partition, offset), *judged, body.encode()))

"""Peer (b): an audit table in PostgreSQL, as a city would write it, and the purpose-limitation rule as SQL over it.

    create(dsn)
    load(dsn, workload.city(1_000, 50_000))          # by COPY; `AuditTable.insert` is the single INSERT
    async with AuditTable(dsn) as table:
        found = await table.verdict(seq)              # [(…, category, result, code)]: judged when it is asked

The SQL is in sql/audit_table.sql. It is written as well as we can: the right indexes, what an id is within worked out
beforehand, and the search for a collection or consent ended at the first that fits.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec
import psycopg

from ledger import codec
from ledger import events as e

Row = tuple[Any, ...]
_FILE = Path(__file__).parent / "sql" / "audit_table.sql"


@lru_cache(maxsize=1)
def statements() -> dict[str, bytes]:
    """The statements by name, as `projections.statements` reads its own."""
    sections = _FILE.read_text("utf-8").split("\n-- name: ")[1:]
    return {name: body.strip().encode() for name, _, body in (section.partition("\n") for section in sections)}


def create(dsn: str) -> None:
    """Makes the tables, their indexes and the rule in an empty database."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        for name in ("tables", "indexes", "rule"):
            connection.execute(statements()[name])


def load(dsn: str, events: Iterable[e.Event]) -> None:
    """Fills the table by COPY, once and without repeats, and gives the planner its statistics."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        policies = []
        with connection.cursor().copy(statements()["copy"]) as copy:
            for event in events:
                copy.write_row(columns(event))
                if isinstance(event.data, e.PolicyPublished):
                    policies.append(event.data)
        for policy in policies:
            publish(connection, policy)
        connection.execute("VACUUM ANALYZE")


def columns(event: e.Event) -> Row:
    """An event as the columns of the table."""
    data = msgspec.to_builtins(event.data)
    purposes = [data["purpose"]] if "purpose" in data else data.get("purposes")
    policy = isinstance(event.data, e.PolicyPublished)
    basis: Mapping[str, str] = data.get("basis", {})
    return (
        event.time,
        data.get("expires_at"),
        event.source,
        event.id,
        event.subject if isinstance(event.subject, str) else None,
        event.kind,
        None if policy or purposes is None else list(purposes),
        None if policy or "categories" not in data else list(data["categories"]),
        None if policy or "operations" not in data else list(data["operations"]),
        data.get("operation"),
        data.get("consent_id"),
        basis.get("kind"),
        basis.get("legal_basis"),
        basis.get("citation"),
        codec.encode(event).decode(),
    )


def publish(connection: psycopg.Connection[Any], policy: e.PolicyPublished) -> None:
    """Takes in a policy, the next number after those before it."""
    with connection.transaction(), connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO policies SELECT coalesce(max(number), 0) + 1, %s FROM policies RETURNING number",
            (policy.effective_from,),
        )
        found = cursor.fetchone()
        assert found is not None
        number = found[0]
        words = _up("purpose", policy.purposes) + _up("category", policy.categories)
        words += _up("operation", policy.operations)
        words += [("legal-basis", basis.id, [basis.id]) for basis in policy.legal_bases]
        cursor.executemany("INSERT INTO policy_words VALUES (%s, %s, %s, %s)", [(number, *word) for word in words])
        pairs = {(number, pair.purpose, pair.with_) for pair in policy.consistent}
        cursor.executemany("INSERT INTO policy_consistent VALUES (%s, %s, %s)", sorted(pairs))


def _up(what: str, items: Sequence[Any]) -> list[tuple[str, str, list[str]]]:
    """Each id with itself and the ids above it."""
    parents = {item.id: item.parent for item in items}
    found = []
    for item in items:
        up, at = [], item.id
        while at is not None:
            up.append(at)
            at = parents[at]
        found.append((what, item.id, up))
    return found


class AuditTable:
    """One connection to the table; an async context manager. Every statement is prepared, every INSERT a commit."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._connection: psycopg.AsyncConnection[Row] | None = None

    async def __aenter__(self) -> "AuditTable":
        # Planned once: to plan the rule anew for every question would cost more than to answer it.
        options = "-c plan_cache_mode=force_generic_plan -c jit=off -c timezone=UTC"
        self._connection = await psycopg.AsyncConnection.connect(self._dsn, autocommit=True, options=options)
        return self

    async def __aexit__(self, *exception: object) -> None:
        assert self._connection is not None
        await self._connection.close()

    async def insert(self, event: e.Event) -> int | None:
        """Enters one event; its number, or None when it was there."""
        found = await self._ask("insert", columns(event))
        return int(found[0][0]) if found else None

    async def numbers(self, keys: Sequence[tuple[str, str]]) -> list[int]:
        """The number of each event, by (source, id)."""
        sources, ids = [source for source, _ in keys], [event_id for _, event_id in keys]
        found = {(source, event_id): seq for source, event_id, seq in await self._ask("numbers", (sources, ids))}
        return [int(found[key]) for key in keys]

    async def verdict(self, seq: int) -> list[Row]:
        """The rule's findings about a use or a share, judged now: a row for each category."""
        return await self._ask("verdict", (seq,))

    async def record(self, seq: int) -> list[Row]:
        """One entry."""
        return await self._ask("record", (seq,))

    async def log(self, subject: str, purpose: str | None = None) -> list[Row]:
        """The newest 50 entries of a resident, each use and share judged now."""
        return await self._ask("log page", (subject, purpose, purpose))

    async def holdings(self, subject: str) -> list[Row]:
        """What is held of a resident."""
        return await self._ask("holdings", (subject,))

    async def consents(self, subject: str) -> list[Row]:
        """The latest word on each consent of a resident."""
        return await self._ask("consents", (subject,))

    async def _ask(self, name: str, parameters: Sequence[Any]) -> list[Row]:
        assert self._connection is not None, "opened"
        cursor = await self._connection.execute(statements()[name], parameters, prepare=True)
        return await cursor.fetchall()

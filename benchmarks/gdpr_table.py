"""GDPRbench's operations on peer (b), the audit table: the same facts by single INSERTs, the same questions by SQL.

| operation | on the audit table |
| --- | --- |
| insert, update, update-meta-* | one INSERT of the same fact, one commit |
| delete-by-key | two INSERTs, `erasure.requested` and `data.erased`, a commit each |
| read | SELECT by primary key |
| read-meta-by-purpose | the newest 50 entries of the resident about the purpose, each judged now |
| read-meta-by-user | what is held of the resident, and the latest word on each consent |
| read-meta, log (regulator) | INSERT of `log.viewed`; then the same as by user, or the newest 50 entries, judged now |
"""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from uuid import uuid4

from api.recording import wall_clock
from benchmarks.audit_table import AuditTable
from benchmarks.gdpr_ledger import Facts, Key
from benchmarks.gdprbench import Operation
from benchmarks.viewing import viewed
from ledger.authority import LEDGER_SOURCE
from ledger.codec import rfc3339
from ledger.events import KINDS, Data, DataErased, ErasureRequested


class TableSide:
    """The audit table, with a connection for each client; an async context manager."""

    def __init__(self, dsn: str, keys: Sequence[Key], clients: int) -> None:
        self._tables = [AuditTable(dsn) for _ in range(clients)]
        self._facts = Facts(keys)
        self._numbers: list[int] = []
        self._opened = AsyncExitStack()

    async def __aenter__(self) -> "TableSide":
        for table in self._tables:
            await self._opened.enter_async_context(table)
        self._numbers = await self._tables[0].numbers([(key.source, key.id) for key in self._facts.keys])
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._opened.aclose()

    async def do(self, client: int, operation: Operation) -> None:
        """One operation, to its end."""
        key, table, kind = self._facts.keys[operation.key], self._tables[client], operation.kind
        if kind == "read":
            assert await table.record(self._numbers[operation.key])
        elif kind == "read-meta-by-purpose":
            await table.log(key.subject, key.purposes[0])
        elif kind == "read-meta-by-user":
            await self._meta(table, key)
        elif kind == "delete-by-key":
            await self._erase(table, key)
        elif kind in ("read-meta", "log"):
            await table.insert(viewed(key.subject, kind))
            await (table.log(key.subject) if kind == "log" else self._meta(table, key))
        else:
            assert await table.insert(self._facts.event(operation)) is not None

    async def settle(self) -> None:
        """Whoever reads a table sees what is committed."""

    async def _meta(self, table: AuditTable, key: Key) -> None:
        await table.holdings(key.subject)
        await table.consents(key.subject)

    async def _erase(self, table: AuditTable, key: Key) -> None:
        erasure_id, categories = uuid4().hex, tuple(key.categories)
        said: tuple[tuple[str, Data], ...] = (
            ("erasure.requested", ErasureRequested(erasure_id=erasure_id, categories=categories)),
            ("data.erased", DataErased(erasure_id=erasure_id, categories=categories)),
        )
        for kind, data in said:
            event = KINDS[kind](
                id=f"{erasure_id}.{kind}",
                source=LEDGER_SOURCE,
                subject=key.subject,
                time=rfc3339(wall_clock()),
                data=data,
            )
            assert await table.insert(event) is not None

"""One writer at a time about one resident, among all processes: for doors that read a state and then change it.

    async with turns.of("res_7f2c"):      # read, decide, append: nobody else's wish comes in between
        ...

The lock is PostgreSQL's, of the transaction that holds it, so it goes away with its holder however that ends. Whoever
waits in this process holds no connection meanwhile. Raises `Unavailable` when the turn does not come in time.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from ledger.errors import Unavailable
from projections.keys import key_hash
from projections.statements import statements

WAIT_S = 5.0
_SPACE = "turn"
"""A name that no source has, so that these locks are no others'."""


class Turns:
    """The turns of one process; belongs to one event loop. An async context manager."""

    def __init__(self, reader_dsn: str, *, pool_size: int = 8) -> None:
        self._here: dict[str, tuple[asyncio.Lock, int]] = {}
        self._pool: AsyncConnectionPool[psycopg.AsyncConnection[tuple[Any, ...]]] = AsyncConnectionPool(
            reader_dsn,
            min_size=0,
            max_size=pool_size,
            timeout=WAIT_S,
            open=False,
            kwargs={"autocommit": True, "connect_timeout": 5, "application_name": "consent-ledger turns"},
            check=AsyncConnectionPool.check_connection,
        )

    async def __aenter__(self) -> "Turns":
        await self._pool.open()
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._pool.close()

    @asynccontextmanager
    async def of(self, subject: str) -> AsyncIterator[None]:
        """Holds the turn about this resident while the block runs."""
        async with self._of_this_process(subject):
            try:
                async with self._pool.connection() as connection, connection.transaction():
                    await connection.execute(statements("turns")["wait at most"], {"ms": f"{int(WAIT_S * 1_000)}ms"})
                    await connection.execute(statements("turns")["turn"], {"key": key_hash(_SPACE, subject)})
                    yield
            except (psycopg.Error, PoolTimeout):
                raise Unavailable("others change this too, or the database is away: send again") from None

    @asynccontextmanager
    async def _of_this_process(self, subject: str) -> AsyncIterator[None]:
        lock, waiting = self._here.get(subject, (asyncio.Lock(), 0))
        self._here[subject] = (lock, waiting + 1)
        try:
            try:
                await asyncio.wait_for(lock.acquire(), WAIT_S)
            except TimeoutError:
                raise Unavailable("others change this too: send again") from None
            try:
                yield
            finally:
                lock.release()
        finally:
            lock, waiting = self._here.pop(subject)
            if waiting > 1:
                self._here[subject] = (lock, waiting - 1)

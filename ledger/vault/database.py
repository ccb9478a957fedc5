"""The vault's connections: statements by name, transactions, errors as ours. `psycopg` is imported here and in `store`.

    database = Database("host=... user=ledger_vault")
    database.run(statements("keys")["for subjects"], {"subjects": ["res_7f2c"]})
    database.atomically(lambda run: [run(lock, {...}), run(delete, {...})])
    with database.alone(KEY) as alone:        # one holder among all processes, until the block ends
        ...

Everything given to `run` and `atomically` may run twice: a connection that a restart of the server has cut is tried
once more.

>>> sorted(statements("keys"))[:3]
['by id', 'counts', 'for subjects']
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from importlib import resources
from typing import Any, TypeVar

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg_pool import ConnectionPool, PoolTimeout

from ledger.errors import ConfigurationError, Unavailable

_POOL_TIMEOUT_S = 5.0
STATEMENT_TIMEOUT_S = 5
_WATCH = {"tcp_user_timeout": "5000", "keepalives_idle": "5", "keepalives_interval": "2", "keepalives_count": "3"}
"""A connection whose other end has vanished must not hold up the recorder for minutes."""
_MARK = "-- name: "
Row = tuple[Any, ...]
Run = Callable[[bytes, Mapping[str, Any]], list[Row]]
_T = TypeVar("_T")


def text_of(file: str) -> bytes:
    """One of this package's SQL files."""
    return resources.files("ledger.vault").joinpath("sql", f"{file}.sql").read_bytes()


@lru_cache(maxsize=8)
def statements(file: str) -> dict[str, bytes]:
    """The named statements of one file."""
    found: dict[str, bytes] = {}
    for section in text_of(file).split(f"\n{_MARK}".encode())[1:]:
        name, _, body = section.partition(b"\n")
        found[name.strip().decode()] = body.strip()
    return found


class Database:
    """A pool of connections under the vault's role. Used from one thread or several."""

    def __init__(self, conninfo: str, pool_size: int = 3, statement_timeout_s: int = STATEMENT_TIMEOUT_S) -> None:
        conninfo = self._conninfo = _watched(conninfo, statement_timeout_s)
        self._pool: ConnectionPool[psycopg.Connection[Row]] = ConnectionPool(
            conninfo,
            min_size=1,
            max_size=pool_size,
            open=True,
            timeout=_POOL_TIMEOUT_S,
            kwargs={"autocommit": True, "application_name": "consent-ledger vault"},
        )

    def close(self) -> None:
        """Gives the connections back."""
        self._pool.close()

    def run(self, statement: bytes, parameters: Mapping[str, Any]) -> list[Row]:
        """One statement; its rows, if it has any. Raises `Unavailable` when the vault is away."""
        return self._tried(lambda connection: _rows(connection, statement, parameters))

    def atomically(self, work: Callable[[Run], _T]) -> _T:
        """Several statements in one transaction: all of them or none."""

        def whole(connection: "psycopg.Connection[Row]") -> _T:
            with connection.transaction():
                return work(lambda statement, parameters: _rows(connection, statement, parameters))

        return self._tried(whole)

    @contextmanager
    def alone(self, key: int) -> Iterator[bool]:
        """Whether this is the only holder of the key now, among all processes; given back at the end, or by dying."""
        with translated():
            connection = psycopg.connect(self._conninfo, autocommit=True)
        with connection:
            with translated():
                [(held,)] = _rows(connection, statements("erasures")["alone"], {"key": key})
            yield bool(held)

    def _tried(self, work: "Callable[[psycopg.Connection[Row]], _T]") -> _T:
        with translated():
            try:
                with self._pool.connection() as connection:
                    return work(connection)
            except (PoolTimeout, psycopg.errors.QueryCanceled):
                raise  # it has been waited for long enough
            except psycopg.OperationalError:
                # A connection that a restart of the server has cut: the pool has let it go.
                with self._pool.connection() as connection:
                    return work(connection)


def _watched(conninfo: str, statement_timeout_s: int) -> str:
    """The connection string with our bounds of waiting, where it says nothing of its own."""
    with translated():
        given = conninfo_to_dict(conninfo)
        options = f"-c statement_timeout={statement_timeout_s}s {given.pop('options', '') or ''}".strip()
        bounded: dict[str, Any] = {"connect_timeout": "5", **_WATCH, **given, "options": options}
        return make_conninfo(**bounded)


def _rows(connection: "psycopg.Connection[Any]", statement: bytes, parameters: Mapping[str, Any]) -> list[Row]:
    cursor = connection.execute(statement, parameters)
    return cursor.fetchall() if cursor.description else []


@contextmanager
def translated() -> Iterator[None]:
    """The library's errors as ours; their texts may hold row values, so they go no further."""
    try:
        yield
    except (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout):
        raise Unavailable("the vault cannot be reached") from None
    except psycopg.Error as error:
        raise ConfigurationError(
            f"the vault does not answer as it should ({type(error).__name__}): check its schema and role, "
            "or run `consent-ledger setup`"
        ) from None

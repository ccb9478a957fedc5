"""The vault's store in PostgreSQL: wrapped keys, made at first use, one query for a whole group of residents.

    vault = VaultStore("host=... user=ledger_vault", KeyEncryptionKey.parse(text))
    vault.keys_for(["res_7f2c", "res_91aa"])      # {"res_7f2c": ResidentKey(id='k_…'), "res_91aa": …}
    vault.close()

The role needs USAGE on schema `vault` and SELECT and INSERT on its table, nothing else (see sql/schema.sql).
"""

import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import resources
from typing import Any, LiteralString

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg_pool import ConnectionPool, PoolTimeout

from ledger.errors import ConfigurationError, Unavailable
from ledger.vault.keys import KeyWrapper
from ledger.vault.sealing import KEY_BYTES, ResidentKey

_KEY_ID_BYTES = 16
_POOL_TIMEOUT_S = 5.0
_Row = tuple[str, str, bytes | None, str]


def _sql(name: str) -> LiteralString:
    # The text is a file of this package, never input.
    return resources.files("ledger.vault").joinpath("sql", f"{name}.sql").read_text()


_KEYS_FOR, _KEYS_BY_ID, _MAKE_KEYS = _sql("keys_for"), _sql("keys_by_id"), _sql("make_keys")


def install(superuser_dsn: str, password: str) -> str:
    """Makes the vault's role and schema, or finds them and sets the role's password; returns the role's own DSN.

    May run again.
    """
    with _translated(), psycopg.connect(superuser_dsn, autocommit=True, connect_timeout=10) as connection:
        connection.execute(_sql("schema"))
        connection.execute(sql.SQL("ALTER ROLE ledger_vault LOGIN PASSWORD {}").format(sql.Literal(password)))
    return dsn_for(superuser_dsn, password)


def dsn_for(dsn: str, password: str) -> str:
    """The connection string of the vault's role on the server and database that `dsn` names."""
    return make_conninfo(dsn, user="ledger_vault", password=password, options="-c timezone=UTC")


class VaultStore:
    """Residents' keys in PostgreSQL. Used from one thread or several."""

    def __init__(self, conninfo: str, wrapper: KeyWrapper, pool_size: int = 2) -> None:
        self._wrapper = wrapper
        self._pool: ConnectionPool[psycopg.Connection[_Row]] = ConnectionPool(
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

    def keys_for(self, subjects: Sequence[str]) -> dict[str, ResidentKey | None]:
        """The key of every resident named, made at first use; None for one that was destroyed."""
        wanted = sorted(dict.fromkeys(subjects))
        rows = self._run(_KEYS_FOR, {"subjects": wanted})
        missing = sorted(set(wanted) - {row[0] for row in rows})
        if missing:
            self._run(_MAKE_KEYS, self._new_keys(missing))
            rows += self._run(_KEYS_FOR, {"subjects": missing})
        return {row[0]: self._unwrapped(row) for row in rows}

    def keys_by_id(self, key_ids: Sequence[str]) -> dict[str, ResidentKey | None]:
        """The keys of these ids; None for a destroyed one, and nothing for one that was never here."""
        rows = self._run(_KEYS_BY_ID, {"key_ids": list(key_ids)})
        return {row[1]: self._unwrapped(row) for row in rows}

    def _run(self, statement: LiteralString, parameters: dict[str, Any]) -> list[_Row]:
        with _translated():
            try:
                return self._once(statement, parameters)
            except psycopg.OperationalError:
                # A connection that a restart of the server has cut: the pool has let it go. Every statement here may
                # run twice.
                return self._once(statement, parameters)

    def _once(self, statement: LiteralString, parameters: dict[str, Any]) -> list[_Row]:
        with self._pool.connection() as connection:
            cursor = connection.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []

    def _new_keys(self, subjects: Sequence[str]) -> dict[str, Any]:
        # Both random: a key id says nothing of its resident.
        key_ids = [f"k_{secrets.token_hex(_KEY_ID_BYTES)}" for _ in subjects]
        wrapped = [
            self._wrapper.wrap(os.urandom(KEY_BYTES), subject, key_id)
            for subject, key_id in zip(subjects, key_ids, strict=True)
        ]
        wrapping = [self._wrapper.id] * len(subjects)
        return {"subjects": list(subjects), "key_ids": key_ids, "wrapped": wrapped, "wrapping": wrapping}

    def _unwrapped(self, row: _Row) -> ResidentKey | None:
        subject, key_id, wrapped, wrapping_key_id = row
        if wrapped is None:
            return None
        if wrapping_key_id != self._wrapper.id:
            raise ConfigurationError("the vault holds keys wrapped by another key: give the key it was made with")
        return ResidentKey(key_id, self._wrapper.unwrap(bytes(wrapped), subject, key_id))


@contextmanager
def _translated() -> Iterator[None]:
    """The library's errors as ours; their texts may hold row values, so they go no further."""
    try:
        yield
    except (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout):
        raise Unavailable("the vault cannot be reached") from None
    except psycopg.Error as error:
        raise ConfigurationError(
            f"the vault does not answer as it should ({type(error).__name__}): check its schema and role"
        ) from None

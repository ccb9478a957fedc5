"""The vault's store in PostgreSQL: wrapped keys, made at first use, one query for a whole group of residents.

    vault = VaultStore("host=... user=ledger_vault", KeyEncryptionKey.parse(text), guard=in_log)
    vault.keys_for(["res_7f2c", "res_91aa"])      # {"res_7f2c": ResidentKey(id='k_…'), "res_91aa": …}
    vault.close()

No key is kept in memory beyond the call. With a guard (`ledger.erasing.erasures.ErasuresInLog`) no key is given out,
and none made, for a resident whose erasure stands in the log, whatever the store holds: a backup that was restored
brings no destroyed key back. The role's grants are in sql/schema.sql.
"""

import os
import secrets
from collections.abc import Collection, Sequence
from typing import Any, Protocol

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from ledger.vault.database import Database, Row, statements, text_of, translated
from ledger.vault.keys import KeyWrapper
from ledger.vault.sealing import KEY_BYTES, ResidentKey

_KEY_ID_BYTES = 16


class Guard(Protocol):
    """What knows who was erased, whatever the vault says."""

    def erased(self, subjects: Collection[str]) -> set[str]:
        """Those of these residents whose erasure, of everything, is in the log now. Raises `Unavailable`."""

    def came_back(self) -> None:
        """The vault holds a key or login of somebody erased: it is to be destroyed again."""


def install(superuser_dsn: str, password: str) -> str:
    """Makes the vault's role and schema, or finds them and sets the role's password; returns the role's own DSN.

    May run again.
    """
    with translated(), psycopg.connect(superuser_dsn, autocommit=True, connect_timeout=10) as connection:
        connection.execute(text_of("schema"))
        connection.execute(sql.SQL("ALTER ROLE ledger_vault LOGIN PASSWORD {}").format(sql.Literal(password)))
    return dsn_for(superuser_dsn, password)


def dsn_for(dsn: str, password: str) -> str:
    """The connection string of the vault's role on the server and database that `dsn` names."""
    return make_conninfo(dsn, user="ledger_vault", password=password, options="-c timezone=UTC")


def new_key_id() -> str:
    """An id for a key: random, so it says nothing of its resident."""
    return f"k_{secrets.token_hex(_KEY_ID_BYTES)}"


class VaultStore:
    """Residents' keys in PostgreSQL. Used from one thread or several."""

    def __init__(self, conninfo: str, wrapper: KeyWrapper, pool_size: int = 3, *, guard: Guard | None = None) -> None:
        self.database = Database(conninfo, pool_size)
        self._wrapper = wrapper
        self._guard = guard
        self._sql = statements("keys")

    def close(self) -> None:
        """Gives the connections back."""
        self.database.close()

    def keys_for(self, subjects: Sequence[str]) -> dict[str, ResidentKey | None]:
        """The key of every resident named, made at first use; None for one that was destroyed."""
        wanted = sorted(dict.fromkeys(subjects))
        erased = self._erased(wanted)
        rows = self.database.run(self._sql["for subjects"], {"subjects": wanted})
        found = self._opened(rows, erased)
        missing = [subject for subject in wanted if subject not in erased and subject not in {row[0] for row in rows}]
        if missing:
            self.database.run(self._sql["make"], self._new_keys(missing))
            found += self._opened(self.database.run(self._sql["for subjects"], {"subjects": missing}), erased)
        return {**dict.fromkeys(erased), **{subject: key for subject, _, key in found}}

    def keys_by_id(self, key_ids: Sequence[str]) -> dict[str, ResidentKey | None]:
        """The keys of these ids; None for a destroyed one, and nothing for one that was never here."""
        rows = self.database.run(self._sql["by id"], {"key_ids": list(key_ids)})
        erased = self._erased([row[0] for row in rows if row[2] is not None])
        return {key_id: key for _, key_id, key in self._opened(rows, erased)}

    def _erased(self, subjects: Collection[str]) -> set[str]:
        return self._guard.erased(subjects) if self._guard is not None and subjects else set()

    def _opened(self, rows: Sequence[Row], erased: Collection[str]) -> list[tuple[str, str, ResidentKey | None]]:
        """Rows as (subject, key id, key). What should not be there any more is not even unwrapped."""
        if self._guard is not None and any(
            wrapped is not None and subject in erased for subject, _, wrapped, _ in rows
        ):
            self._guard.came_back()
        return [(row[0], row[1], None if row[0] in erased else self._unwrapped(row)) for row in rows]

    def _new_keys(self, subjects: Sequence[str]) -> dict[str, Any]:
        key_ids = [new_key_id() for _ in subjects]
        wrapped = [
            self._wrapper.wrap(os.urandom(KEY_BYTES), subject, key_id)
            for subject, key_id in zip(subjects, key_ids, strict=True)
        ]
        wrapping = [self._wrapper.id] * len(subjects)
        return {"subjects": list(subjects), "key_ids": key_ids, "wrapped": wrapped, "wrapping": wrapping}

    def _unwrapped(self, row: Row) -> ResidentKey | None:
        subject, key_id, wrapped, wrapping_key_id = row
        if wrapped is None:
            return None
        return ResidentKey(key_id, self._wrapper.unwrap(bytes(wrapped), subject, key_id, wrapping_key_id))

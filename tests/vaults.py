"""A vault of a test's own, and what a restored backup of one is like."""

import contextlib
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import psycopg
from psycopg import sql

TABLES = ("keys", "map_key", "logins", "erasures", "erasure_references")
Backup = dict[str, list[tuple[Any, ...]]]


@contextlib.contextmanager
def own_database(database_url: str) -> Iterator[str]:
    """The superuser's DSN of an empty database: erasers of other ledgers must not find a test's erasures."""
    name = f"vault_{uuid4().hex}"
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
    try:
        yield psycopg.conninfo.make_conninfo(database_url, dbname=name)
    finally:
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


def backup(dsn: str) -> Backup:
    """Every row of the vault."""
    with psycopg.connect(dsn) as connection:
        return {
            table: connection.execute(sql.SQL("SELECT * FROM vault.{}").format(sql.Identifier(table))).fetchall()
            for table in TABLES
        }


def restore(dsn: str, kept: Backup, *tables: str) -> None:
    """Puts the vault's tables back to what they were, as a superuser restoring a backup does."""
    with psycopg.connect(dsn) as connection:
        for table in tables or TABLES:
            name = sql.Identifier(table)
            connection.execute(sql.SQL("DELETE FROM vault.{}").format(name))
            for row in kept[table]:
                values = sql.SQL(", ").join(sql.Placeholder() for _ in row)
                connection.execute(sql.SQL("INSERT INTO vault.{} VALUES ({})").format(name, values), row)


def alive(dsn: str, subject: str) -> bool:
    """Whether the vault holds a key of this resident."""
    with psycopg.connect(dsn) as connection:
        found = connection.execute("SELECT wrapped FROM vault.keys WHERE subject = %s", (subject,)).fetchone()
    return found is not None and found[0] is not None

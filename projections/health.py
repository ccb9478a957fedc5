"""What `doctor` wants to know of the database: its version and clock, the views' version, partitions that stand still.

    found = look(dsns.reader)
    found.schema_version == found.newest_version, found.halted      # True, {3: "3-1041 (json)"}

Asked with the reader's role: it sees none of a resident's rows, and needs none.
"""

import time
from collections.abc import Mapping
from typing import NamedTuple

import psycopg

from ledger.errors import ConfigurationError, Unavailable
from ledger.log import Position
from projections.assignments import Holder, holders
from projections.statements import migrations, statements


class Health(NamedTuple):
    """How the database is; `schema_version` is None where there are no views, `clock_ahead_s` compares with ours."""

    server_version: int
    clock_ahead_s: float
    schema_version: int | None
    newest_version: int
    halted: dict[int, str]


def look(dsn: str) -> Health:
    """Asks the database; raises `Unavailable` when it does not answer or refuses this role."""
    named = statements("health")
    try:
        with psycopg.connect(dsn, autocommit=True, connect_timeout=5) as connection:
            before_s = time.time()
            row = connection.execute(named["server"]).fetchone()
            middle_s = (before_s + time.time()) / 2
            assert row is not None, "the query has no condition"
            version, halted = _views(connection)
    except psycopg.Error:
        raise Unavailable("PostgreSQL does not answer, or refuses this role: check address and password") from None
    return Health(int(row[0]), float(row[1]) - middle_s, version, migrations()[-1][0], halted)


def holders_of(dsn: str) -> Mapping[int, Holder]:
    """Which worker has each partition; raises `Unavailable` as `look` does, `ConfigurationError` without the table."""
    try:
        with psycopg.connect(dsn, autocommit=True, connect_timeout=5) as connection:
            return holders(connection)
    except psycopg.errors.UndefinedTable:
        raise ConfigurationError("the views are of an older version: run `consent-ledger setup`") from None
    except psycopg.Error:
        raise Unavailable("PostgreSQL does not answer, or refuses this role: check address and password") from None


def _views(connection: "psycopg.Connection[tuple[object, ...]]") -> tuple[int | None, dict[int, str]]:
    named = statements("health")
    try:
        row = connection.execute(named["version"]).fetchone()
        found = connection.execute(named["halted"]).fetchall()
    except (psycopg.errors.UndefinedTable, psycopg.errors.InsufficientPrivilege):
        return None, {}
    assert row is not None, "an aggregate has one row"
    halted = {int(str(p)): f"{Position(int(str(p)), int(str(o)))} ({code})" for p, o, code in found}
    return int(str(row[0])), halted

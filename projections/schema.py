"""Roles and tables in PostgreSQL: who may connect, and the views in a schema of their own.

    dsns = prepare(superuser_dsn, passwords)      # roles, and the schema `live` by migrations
    dsns.projector, dsns.reader                   # each finds the schema by its search path

Five roles. `ledger_owner` makes tables. `ledger_projector` writes the views. `ledger_reader` answers: it sees one
resident's rows while `ledger.subject` names them (projections.answers), everybody's only after SET ROLE
`ledger_auditor`, and nobody's otherwise. `ledger_signer` sees the trees' hashes and keeps the signer's state, in a
schema beside the views' (`signer`): a rebuild never touches it. Passwords are the caller's to make and keep.

A live schema grows by migrations; a rebuild makes the same tables from `schema.sql` in one go, its indexes last
(projections.building).
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

import psycopg
from eventsourcing.postgres import PostgresTrackingRecorder
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from ledger.errors import ConfigurationError, Unavailable
from projections.datastore import TRACKING_TABLE, Datastore
from projections.statements import migrations, statements

LIVE = "live"
PROJECTIONS = "projections"
"""Where projections of the eventsourcing library make their own tables."""
ROLES = ("ledger_owner", "ledger_projector", "ledger_reader", "ledger_signer")
_OLDEST_SERVER = 160_000
_USAGE = b"GRANT USAGE ON SCHEMA {schema} TO ledger_projector, ledger_reader, ledger_auditor, ledger_signer"
_MIGRATION_LOCK = 0x6C_65_64_67_65_72  # "ledger": one migration at a time in a database


class Dsns(NamedTuple):
    """One connection string for each role, its search path set to the schema."""

    owner: str
    projector: str
    reader: str
    signer: str


def prepare(superuser_dsn: str, passwords: Mapping[str, str], schema: str = LIVE) -> Dsns:
    """Makes the roles with these passwords (by role name) and brings the schema up to date. May run again."""
    create_roles(superuser_dsn, passwords)
    dsns = dsns_for(superuser_dsn, passwords, schema)
    migrate(dsns.owner, schema)
    return dsns


def dsns_for(dsn: str, passwords: Mapping[str, str], schema: str = LIVE) -> Dsns:
    """The connection strings of the roles on the server and database that `dsn` names."""
    return Dsns(*(make_conninfo(at_schema(dsn, schema), user=role, password=passwords[role]) for role in ROLES))


def at_schema(dsn: str, schema: str) -> str:
    """The same connection string, its search path set to another schema and its signer's, times in UTC."""
    return make_conninfo(dsn, options=f"-c search_path={schema},{signer_schema(schema)} -c timezone=UTC")


def signer_schema(schema: str) -> str:
    """Where the state of the signer of these views is."""
    return "signer" if schema == LIVE else f"{schema}_signer"


def create_roles(superuser_dsn: str, passwords: Mapping[str, str]) -> None:
    """Makes the roles, or gives those that are there these passwords."""
    named = statements("roles")
    with connect(superuser_dsn) as connection:
        if connection.info.server_version < _OLDEST_SERVER:
            raise ConfigurationError("the views need PostgreSQL 16 or newer: upgrade the server")
        database = sql.Identifier(connection.info.dbname)
        with connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (_MIGRATION_LOCK,))
            connection.execute(named["create roles"])
            for role in ROLES:
                statement = composed(
                    named["set password"], role=sql.Identifier(role), password=sql.Literal(passwords[role])
                )
                connection.execute(statement)
            connection.execute(composed(named["may create schemas"], database=database))


def migrate(owner_dsn: str, schema: str = LIVE) -> int:
    """Brings a schema up to the newest version, from nothing if need be; returns how many migrations that took."""
    with _alone(owner_dsn):
        with connect(owner_dsn) as connection, connection.transaction():
            if connection.info.parameter_status("server_encoding") != "UTF8":
                raise ConfigurationError("records are UTF-8: create the database with ENCODING 'UTF8'")
            make_schema(connection, schema)
            done = _version(connection)
            due = [migration for migration in migrations() if migration[0] > done]
            for version, _, text in due:
                connection.execute(text.encode())
                connection.execute("INSERT INTO schema_version (version) VALUES (%s)", (version,))
        make_tracking(owner_dsn, schema)
        grant(owner_dsn, schema)
        _make_signer(owner_dsn, schema)
        _make_room_for_projections(owner_dsn)
    return len(due)


@contextmanager
def _alone(dsn: str) -> Iterator[None]:
    """One at a time makes tables in a database; the lock goes away with its holder."""
    with connect(dsn) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", (_MIGRATION_LOCK,))
        yield


def exists(owner_dsn: str, schema: str) -> bool:
    """Whether there is such a schema."""
    with connect(owner_dsn) as connection:
        return connection.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", (schema,)).fetchone() is not None


def drop(owner_dsn: str, schema: str) -> None:
    """Drops a schema with all that is in it."""
    with connect(owner_dsn) as connection:
        connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(schema)))


def make_schema(connection: psycopg.Connection, schema: str) -> None:
    """Makes an empty schema with its version table, and looks into it from now on in this transaction."""
    connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(schema)))
    connection.execute(sql.SQL("SET LOCAL search_path = {}").format(sql.Identifier(schema)))
    connection.execute(
        "CREATE TABLE IF NOT EXISTS schema_version"
        " (version integer PRIMARY KEY, applied timestamptz NOT NULL DEFAULT now())"
    )


def _version(connection: psycopg.Connection) -> int:
    row = connection.execute("SELECT coalesce(max(version), 0) FROM schema_version").fetchone()
    assert row is not None
    return int(row[0])


def make_tracking(owner_dsn: str, schema: str) -> None:
    """eventsourcing's own tracking table, made and migrated by eventsourcing itself."""
    with Datastore(owner_dsn, schema) as datastore:
        PostgresTrackingRecorder(datastore, tracking_table_name=TRACKING_TABLE).create_table()


def grant(owner_dsn: str, schema: str) -> None:
    """Lets each role do in the schema what it is there for."""
    named = sql.Identifier(schema)
    with connect(owner_dsn) as connection, connection.transaction():
        connection.execute(composed(_USAGE, schema=named))
        connection.execute(composed(statements("schema")["grants"], schema=named))


def _make_signer(owner_dsn: str, schema: str) -> None:
    """The signer's state: there or made, never changed."""
    named = sql.Identifier(signer_schema(schema))
    with connect(owner_dsn) as connection, connection.transaction():
        connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(named))
        connection.execute(sql.SQL("SET LOCAL search_path = {}").format(named))
        connection.execute(statements("signer")["tables"])
        connection.execute(composed(_USAGE, schema=named))
        connection.execute(composed(statements("signer")["grants"], schema=named))


def _make_room_for_projections(owner_dsn: str) -> None:
    named = sql.Identifier(PROJECTIONS)
    with connect(owner_dsn) as connection, connection.transaction():
        connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(named))
        connection.execute(sql.SQL("GRANT USAGE, CREATE ON SCHEMA {} TO ledger_projector").format(named))


def composed(statement: bytes, **parts: sql.Composable) -> sql.Composed:
    """A statement of ours with names and literals put in by psycopg."""
    return sql.SQL(statement.decode()).format(**parts)


def connect(dsn: str) -> psycopg.Connection:
    """A connection in autocommit; raises `Unavailable` that names the host."""
    try:
        return psycopg.connect(dsn, autocommit=True, connect_timeout=10)
    except psycopg.OperationalError:
        host = conninfo_to_dict(dsn).get("host", "the default host")
        raise Unavailable(f"PostgreSQL at {host} does not answer or refuses the role: check the address") from None

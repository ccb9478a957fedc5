"""Roles and tables: migrations give the schema as written, and nobody sees a resident without saying whose eyes."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from psycopg import sql

from ledger.kafka.log import KafkaLog
from projections import schema
from projections.schema import Dsns
from projections.statements import migrations
from tests.projected import PASSWORDS, VIEWS, append, history, new_schema, project, schema_of

RESIDENT_TABLES = ("timeline", "verdicts", "consents", "preferences", "anonymity", "holdings", "cases", "withheld")
CATALOGUE = (
    # columns with their types, collations and constraints
    (
        "SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, l.collname, a.attnum,"
        " pg_get_expr(d.adbin, d.adrelid)"
        " FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped"
        " LEFT JOIN pg_collation l ON l.oid = a.attcollation"
        " LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum"
        " WHERE c.relnamespace = %(schema)s::regnamespace ORDER BY 1, 6"
    ),
    "SELECT replace(indexdef, %(schema)s || '.', '') FROM pg_indexes WHERE schemaname = %(schema)s ORDER BY 1",
    (
        "SELECT c.relname, k.conname, pg_get_constraintdef(k.oid)"
        " FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid"
        " WHERE k.connamespace = %(schema)s::regnamespace ORDER BY 1, 2"
    ),
    (
        "SELECT tablename, policyname, permissive, roles, cmd, qual, with_check FROM pg_policies"
        " WHERE schemaname = %(schema)s ORDER BY 1, 2"
    ),
    (
        "SELECT relname, relrowsecurity, relkind, relowner::regrole::text, relacl::text FROM pg_class"
        " WHERE relnamespace = %(schema)s::regnamespace ORDER BY 1"
    ),
)


def catalogue(dsns: Dsns) -> list[list[tuple[Any, ...]]]:
    with psycopg.connect(dsns.owner) as connection:
        parameters = {"schema": schema_of(dsns)}
        return [connection.execute(query.encode(), parameters).fetchall() for query in CATALOGUE]


def test_migrations_give_the_schema_as_it_is_written(fresh_database: str) -> None:
    migrated = new_schema(fresh_database)
    written = schema.dsns_for(fresh_database, PASSWORDS, "written")
    schema.create_unindexed(written.owner, "written")
    schema.finish(written.owner)
    for one, other in zip(catalogue(migrated), catalogue(written), strict=True):
        assert one, "the catalogue has something to compare"
        assert one == other


def test_preparing_again_changes_nothing_and_keeps_every_row(
    kafka_address: str, fresh_database: str, make_log: Callable[..., KafkaLog], make_topic: Callable[..., str]
) -> None:
    topic = make_topic(1)
    log = make_log(topic=topic)
    append(log, 0, history(31))
    dsns = new_schema(fresh_database, "again")
    project(kafka_address, topic, dsns, log)
    before = catalogue(dsns)
    assert new_schema(fresh_database, "again") == dsns
    assert schema.migrate(dsns.owner, "again") == 0
    assert catalogue(dsns) == before
    with psycopg.connect(dsns.owner) as connection:
        assert connection.execute("SELECT count(*) FROM timeline").fetchone() != (0,)
        assert connection.execute("SELECT max(version) FROM schema_version").fetchone() == (migrations()[-1][0],)


@pytest.fixture
def filled(
    kafka_address: str, fresh_database: str, make_log: Callable[..., KafkaLog], make_topic: Callable[..., str]
) -> Dsns:
    topic = make_topic(1)
    log = make_log(topic=topic)
    for seed in range(40, 43):
        append(log, 0, history(seed))
    dsns = new_schema(fresh_database)
    project(kafka_address, topic, dsns, log)
    return dsns


def subjects(connection: "psycopg.Connection[Any]", table: str) -> set[str | None]:
    statement = sql.SQL("SELECT DISTINCT subject FROM {}").format(sql.Identifier(table))
    return {row[0] for row in connection.execute(statement)}


def test_a_connection_that_does_not_say_whose_sees_no_resident(filled: Dsns) -> None:
    with psycopg.connect(filled.reader) as connection:
        for table in (*RESIDENT_TABLES, "repeats"):
            statement = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table))
            assert connection.execute(statement).fetchone() == (0,), table
        connection.execute("SELECT set_config('ledger.subject', '', true)")
        assert subjects(connection, "timeline") == set()


def test_a_resident_sees_their_own_rows_and_an_auditor_all(filled: Dsns) -> None:
    everybody = {"p0r0", "p0r1", "p0r2"}
    with psycopg.connect(filled.reader) as connection:
        connection.execute("SELECT set_config('ledger.subject', 'p0r1', true)")
        for table in RESIDENT_TABLES:
            assert subjects(connection, table) <= {"p0r1"}, table
        assert subjects(connection, "timeline") == subjects(connection, "verdicts") == {"p0r1"}
        connection.execute("SET LOCAL ROLE ledger_auditor")
        assert subjects(connection, "timeline") == {*everybody, None}
        assert subjects(connection, "verdicts") == everybody
    with psycopg.connect(filled.reader) as connection:
        assert subjects(connection, "timeline") == set(), "neither outlives its transaction"


def test_the_reader_writes_nothing(filled: Dsns) -> None:
    for role in ("ledger_reader", "ledger_auditor"):
        for table in (*VIEWS, "tracking", "halted"):
            with psycopg.connect(filled.reader) as connection:
                connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(table)))


def test_the_projector_makes_no_tables_in_the_views_and_may_not_be_another_role(filled: Dsns) -> None:
    with psycopg.connect(filled.projector, autocommit=True) as connection:
        for statement in ("CREATE TABLE another (x int)", "SET ROLE ledger_owner", "SET ROLE ledger_auditor"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement.encode())


def test_a_wrong_password_is_refused(filled: Dsns) -> None:
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(psycopg.conninfo.make_conninfo(filled.reader, password="wrong"))


def test_several_at_once_may_prepare_the_same_database(fresh_database: str) -> None:
    with ThreadPoolExecutor(4) as threads:
        made = list(threads.map(lambda _: new_schema(fresh_database, "shared"), range(4)))
    assert len(set(made)) == 1
    assert schema.migrate(made[0].owner, "shared") == 0

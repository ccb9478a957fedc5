"""A schema of views that is being rebuilt: tables with hardly an index first, the others last.

    building = Building(dsns.owner, fresh_name())       # "rebuild_v2_20260304t120000_5e1f"
    with building.alone():                              # one `replay` at a time works on it
        building.create(Purpose("ledger.events", None, REPLAY))
        ...                                             # rows arrive, partition by partition
        building.finish()                               # the indexes, and what the planner wants to know

What it is for, and whether it is complete, its comment says (projections.rebuilds).
"""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from typing import Any

import msgspec
import psycopg
from psycopg import sql

from ledger.errors import ConfigurationError, Unavailable
from projections import schema as schemas
from projections.reach import lock_key, reachable, try_lock
from projections.rebuilds import COMPLETE, HALTED, Comment, Purpose, State, newest_version, read
from projections.statements import migrations, statements

CONNECTIONS = 2
"""How many indexes are made at a time."""
_ENDING_S = 2.0
_MAINTENANCE_MEMORY = "128MB"


class Building:
    """One schema that is rebuilt, through the owner's connection string (which may name any schema)."""

    def __init__(self, owner_dsn: str, schema: str) -> None:
        self.schema = schema
        self.owner_dsn = schemas.at_schema(owner_dsn, schema)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Nobody else rebuilds this schema for the while; raises `Unavailable` when somebody does."""
        with reachable(), closing(schemas.connect(self.owner_dsn)) as connection:
            deadline_s = time.monotonic() + _ENDING_S
            while not try_lock(connection, f"{self.schema}/rebuild"):
                if time.monotonic() > deadline_s:  # the session of one that was killed just now may not have ended yet
                    raise Unavailable(f"another replay is at work on the schema {self.schema}: wait for it, or stop it")
                time.sleep(0.1)
            yield

    def create(self, purpose: Purpose) -> None:
        """Makes the tables, unless they are there: after a kill all goes on from where it was."""
        named = statements("schema")
        with reachable(), schemas.connect(self.owner_dsn) as connection, connection.transaction():
            if self.state(connection) is None:
                schemas.make_schema(connection, self.schema)
                for section in ("tables", "indexes for building", "row security"):
                    connection.execute(named[section])
                for version, _, _ in migrations():
                    connection.execute("INSERT INTO schema_version (version) VALUES (%s)", (version,))
                started = datetime.now(UTC).isoformat(timespec="seconds")
                self._say(connection, State(*purpose, version=newest_version(), started=started))
        schemas.make_tracking(self.owner_dsn, self.schema)
        schemas.grant(self.owner_dsn, self.schema)

    def state(self, connection: "psycopg.Connection[Any] | None" = None) -> State | None:
        """What the schema says of itself; None when it is not there. Raises when it is there and no rebuild."""
        if connection is None:
            with schemas.connect(self.owner_dsn) as own:
                return self.state(own)
        row = connection.execute(statements("rebuild")["comment"], {"schema": self.schema}).fetchone()
        if row is None:
            return None
        found = read(row[0])
        if found is None:
            raise ConfigurationError(f"the schema {self.schema} is there already, and no rebuild: choose another name")
        return found

    def make_lookups(self) -> None:
        """The indexes that a live worker asks, unless they are there. From any process, while rows arrive."""
        self._make_indexes("indexes for looking up")

    def finish(self, *, halted: bool = False, stop: threading.Event | None = None) -> bool:
        """Makes what is missing of the indexes, and the planner's statistics; from then on it is complete.

        `halted`: some partition stands still, so all is in it that can be read. False when it was stopped before.
        """
        stop = stop or threading.Event()
        self._make_indexes("indexes for looking up", "indexes for reading", stop=stop)
        if stop.is_set():
            return False
        with reachable(), schemas.connect(self.owner_dsn) as connection:
            tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = %s", (self.schema,))
            for (table,) in tables.fetchall():
                connection.execute(sql.SQL("ANALYZE {}").format(sql.Identifier(self.schema, table)))
            state = self.state(connection)
            assert state is not None, "it was created"
            self._say(connection, msgspec.structs.replace(state, state=HALTED if halted else COMPLETE))
        return True

    def _make_indexes(self, *sections: str, stop: threading.Event | None = None) -> None:
        """Each at most once, two at a time."""
        wanted = [s for section in sections for s in statements("schema")[section].split(b";\n")]
        due = iter(wanted)
        taking = threading.Lock()

        def make() -> None:
            with schemas.connect(self.owner_dsn) as connection:
                connection.execute("SELECT set_config('maintenance_work_mem', %s, false)", (_MAINTENANCE_MEMORY,))
                while stop is None or not stop.is_set():
                    with taking:
                        statement = next(due, None)
                    if statement is None:
                        return
                    try:
                        connection.execute(statement)
                    except (psycopg.errors.UniqueViolation, psycopg.errors.DuplicateTable):
                        connection.execute(statement)  # a killed run's has come to its end just now

        with reachable(), schemas.connect(self.owner_dsn) as alone:
            alone.execute(statements("rebuild")["lock"], {"key": lock_key(f"{self.schema}/indexes")})
            with ThreadPoolExecutor(CONNECTIONS, "index") as threads:
                for done in [threads.submit(make) for _ in range(CONNECTIONS)]:
                    done.result()

    def _say(self, connection: "psycopg.Connection[Any]", state: State) -> None:
        comment = sql.Literal(Comment(state).text)
        connection.execute(sql.SQL("COMMENT ON SCHEMA {} IS {}").format(sql.Identifier(self.schema), comment))

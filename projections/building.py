"""A schema of views that is being rebuilt: tables with hardly an index first, the others last; what it is, and whose.

    building = Building(dsns.owner, "rebuild_v2_20260304t120000_5e1f")
    with building.alone():                              # one `replay` at a time works on it
        building.create(Purpose("ledger.events", None, "replay"))
        ...                                             # rows arrive, partition by partition
        building.finish()                               # the indexes, and what the planner wants to know
    unfinished(dsns.owner, Purpose("ledger.events", None, "replay"))     # None: it is complete

What a rebuild is for stands in the comment of its schema, as JSON: it is no table, so that a finished rebuild has just
the tables of a live schema, and it changes with the transaction that changes the schema.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, NamedTuple, TypeVar
from uuid import uuid4

import msgspec
import psycopg
from psycopg import sql

from ledger.errors import ConfigurationError, Unavailable
from projections import rowwise
from projections import schema as schemas
from projections.statements import migrations, statements

CONNECTIONS = 2
"""How many indexes are made at a time."""
_MAINTENANCE_MEMORY = "128MB"
_T = TypeVar("_T")
_BUILDING, _HALTED, _COMPLETE = "building", "halted", "complete"
REPLAY, COMPARE, SWAP = "replay", "compare", "swap"


class Purpose(NamedTuple):
    """What makes two rebuilds the same: the topic, the end that was asked for (None: where the log ends), and why."""

    topic: str
    until: dict[int, int] | None
    why: str

    @property
    def lasts(self) -> bool:
        """Whether a complete rebuild still has something to be done with it: to be compared, or to become live."""
        return self.why in (COMPARE, SWAP)


class State(msgspec.Struct, frozen=True):
    """What the comment of a rebuild's schema says."""

    topic: str
    until: dict[int, int] | None
    why: str
    version: int
    started: str
    state: str = _BUILDING

    @property
    def complete(self) -> bool:
        """Whether every record up to its end is in it, and every index."""
        return self.state == _COMPLETE

    @property
    def readable(self) -> bool:
        """Whether all is in it that can be read, and every index."""
        return self.state in (_COMPLETE, _HALTED)


class _Comment(msgspec.Struct, frozen=True):
    rebuild: State


@contextmanager
def reachable() -> Iterator[None]:
    """The library's errors as ours; their texts may hold row values, so they go no further."""
    try:
        yield
    except psycopg.errors.InsufficientPrivilege:
        raise ConfigurationError("a rebuild needs the role ledger_owner: connect as it") from None
    except (psycopg.OperationalError, psycopg.InterfaceError):
        raise Unavailable("the database of the views was away: check its address, then go on") from None


def newest_version() -> int:
    """The version of the tables as they are made now."""
    return migrations()[-1][0]


def fresh_name() -> str:
    """A name for a schema that nobody uses yet: the version of the tables, when, and four random digits."""
    return f"rebuild_v{newest_version()}_{datetime.now(UTC):%Y%m%dt%H%M%S}_{uuid4().hex[:4]}"


class Building:
    """One schema that is rebuilt, through the owner's connection string (which may name any schema)."""

    def __init__(self, owner_dsn: str, schema: str) -> None:
        self.schema = schema
        self.owner_dsn = schemas.at_schema(owner_dsn, schema)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Nobody else rebuilds this schema for the while; raises `Unavailable` when somebody does."""
        with reachable(), schemas.connect(self.owner_dsn) as connection:
            if not _try_lock(connection, f"{self.schema}/rebuild"):
                raise Unavailable(f"another replay is at work on the schema {self.schema}: wait for it, or stop it")
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
        row = connection.execute(_COMMENT, (self.schema,)).fetchone()
        if row is None:
            return None
        found = _read(row[0])
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
            self._say(connection, msgspec.structs.replace(state, state=_HALTED if halted else _COMPLETE))
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
            alone.execute("SELECT pg_advisory_lock(%s)", (_key(f"{self.schema}/indexes"),))
            with ThreadPoolExecutor(CONNECTIONS, "index") as threads:
                for done in [threads.submit(make) for _ in range(CONNECTIONS)]:
                    done.result()

    def _say(self, connection: "psycopg.Connection[Any]", state: State) -> None:
        comment = sql.Literal(msgspec.json.encode(_Comment(state)).decode())
        connection.execute(sql.SQL("COMMENT ON SCHEMA {} IS {}").format(sql.Identifier(self.schema), comment))


def unfinished(owner_dsn: str, purpose: Purpose) -> str | None:
    """The latest rebuild, of tables as they are made now, whose purpose is this one and not yet served."""
    found = [
        (state.started, name)
        for name, state in rebuilds(owner_dsn).items()
        if (purpose.lasts or not state.complete)
        and (state.topic, state.until, state.why) == tuple(purpose)
        and state.version == newest_version()
    ]
    return max(found)[1] if found else None


def rebuilds(owner_dsn: str) -> dict[str, State]:
    """Every schema of the database that says it is a rebuild."""
    with schemas.connect(owner_dsn) as connection:
        rows = connection.execute(COMMENTS).fetchall()
    return {name: state for name, comment in rows if (state := _read(comment)) is not None}


class Reach:
    """How far a schema is, asked again and again over one connection."""

    def __init__(self, owner_dsn: str) -> None:
        self._dsn = owner_dsn
        self._connection: psycopg.Connection[Any] | None = None

    def positions(self) -> dict[int, int]:
        """For each partition the first offset that is not in the tables. Raises `Unavailable`, as `records` does."""
        return self._ask(rowwise.tracked)

    def records(self) -> int:
        """How many records are in the tables: each is a leaf of a tree."""
        return self._ask(_leaves)

    def halted(self) -> list[str]:
        """The records that partitions stand still at."""
        return self._ask(_halted)

    def close(self) -> None:
        """Gives the connection back."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _ask(self, question: Callable[["psycopg.Connection[Any]"], _T]) -> _T:
        self._connection = self._connection or schemas.connect(self._dsn)
        try:
            return question(self._connection)
        except psycopg.OperationalError:
            self.close()
            raise Unavailable("the database of the views does not answer: check its address") from None


def _leaves(connection: "psycopg.Connection[Any]") -> int:
    row = connection.execute("SELECT coalesce(sum(size), 0)::bigint FROM trees").fetchone()
    assert row is not None, "an aggregate has one row"
    return int(row[0])


def _halted(connection: "psycopg.Connection[Any]") -> list[str]:
    rows = connection.execute('SELECT "partition" || \'-\' || "offset" FROM halted ORDER BY "partition"')
    return [str(row[0]) for row in rows]


class Claims:
    """Which partitions this process rebuilds: locks of its session, which end with it, however it ends."""

    def __init__(self, building: Building) -> None:
        self._building = building
        self._connection: psycopg.Connection[Any] | None = None

    def reached(self) -> dict[int, int]:
        """For each partition the first offset that is not in the tables; raises psycopg's errors."""
        return rowwise.tracked(self._connected())

    def take(self, partition: int) -> bool:
        """Whether the partition is this process's now; raises psycopg's errors."""
        return _try_lock(self._connected(), f"{self._building.schema}/{partition}")

    def close(self) -> None:
        """Gives all of them up."""
        if self._connection is not None:
            with suppress(psycopg.Error):
                self._connection.close()
            self._connection = None

    def _connected(self) -> "psycopg.Connection[Any]":
        if self._connection is None or self._connection.closed:
            self._connection = schemas.connect(self._building.owner_dsn)
        return self._connection


_COMMENT = "SELECT obj_description(oid, 'pg_namespace') FROM pg_namespace WHERE nspname = %s"
COMMENTS = "SELECT nspname, obj_description(oid, 'pg_namespace') FROM pg_namespace"


def _read(comment: str | None) -> State | None:
    try:
        return None if comment is None else msgspec.json.decode(comment, type=_Comment).rebuild
    except msgspec.MsgspecError:
        return None


def _try_lock(connection: "psycopg.Connection[Any]", name: str) -> bool:
    row = connection.execute("SELECT pg_try_advisory_lock(%s)", (_key(name),)).fetchone()
    assert row is not None, "the query has no condition"
    return bool(row[0])


def _key(name: str) -> int:
    """A lock's number: 64 bits that no other lock of ours is likely to have."""
    return int.from_bytes(blake2b(b"consent-ledger/" + name.encode(), digest_size=8).digest(), "big", signed=True)


def asked(until: Mapping[int, int] | None) -> dict[int, int] | None:
    """An end in the order that makes two of them comparable."""
    return None if until is None else dict(sorted(until.items()))

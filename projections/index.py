"""What the door asks the projected views: is this (source, id) known, whose is this consent, how far do views reach.

    index = PostgresIndex(dsns.reader)
    index.projected()                                   # {0: 1042, 1: 998, …}: the first offset not yet in the views
    index.find([("/services/permits", "e1")])           # {("/services/permits", "e1"): [Known(position, bytes)]}

The reader's role becomes the auditor's (row security shows a plain reader no resident). One question for a whole
group of events; the texts behind equal hashes are compared.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg_pool import ConnectionPool, PoolTimeout

from ledger.erasing.erasure import Logged
from ledger.errors import ConfigurationError, Unavailable
from ledger.log import Position
from ledger.recording.record import Consent, Key, Known
from projections.keys import key_hash
from projections.statements import statements

_APPLICATION = re.compile(r"ledger\[([0-9]+)\]")
_POOL_TIMEOUT_S = 5.0
REFERENCE_LOCK = 0x72_65_66_65_72_65_6E_63  # "referenc": one writer of reference facts at a time
LOCK_WAIT_MS = 20_000


class PostgresIndex:
    """The views of one schema, asked by the door. Used from one thread or several."""

    def __init__(self, reader_dsn: str, pool_size: int = 2) -> None:
        named = statements("index")
        self._projected = named["projected"]
        self._find = named["find"]
        self._owners = named["consent owners"]
        self._references = named["reference facts"]
        self._erasures, self._sealing_key = named["erasures"], named["sealing key"]
        self._pool: ConnectionPool[psycopg.Connection[tuple[Any, ...]]] = ConnectionPool(
            reader_dsn,
            min_size=1,
            max_size=pool_size,
            open=True,
            timeout=_POOL_TIMEOUT_S,
            kwargs={"autocommit": True, "application_name": "consent-ledger door"},
            configure=_as_auditor,
        )

    def close(self) -> None:
        """Gives the connections back."""
        self._pool.close()

    def projected(self) -> dict[int, int]:
        """For each partition the first offset that is not yet in the views."""
        found = {}
        for name, offset in self._ask(self._projected, {}):
            match = _APPLICATION.fullmatch(name)
            if match:
                found[int(match[1])] = int(offset)
        return found

    def find(self, keys: Sequence[Key]) -> dict[Key, list[Known]]:
        """The records with these (source, id), the first of every subject."""
        wanted = dict.fromkeys(keys)
        found: dict[Key, list[Known]] = {}
        # As text: the client would look at each of some thousand numbers for the type that fits it best.
        hashes = f"{{{','.join([str(key_hash(*key)) for key in wanted])}}}"
        for partition, offset, source, event_id, body in self._ask(self._find, {"hashes": hashes}):
            if (source, event_id) in wanted:
                found.setdefault((source, event_id), []).append(Known(Position(partition, offset), body.encode()))
        return found

    def consent_owners(self, consents: Sequence[Consent]) -> dict[Consent, str]:
        """The source that gave each of these consents."""
        parameters = {"subjects": [c[0] for c in consents], "consent_ids": [c[1] for c in consents]}
        return {(subject, consent_id): source for subject, consent_id, source in self._ask(self._owners, parameters)}

    def reference_facts(self) -> list[Known]:
        """Every partition's reference facts, by partition and offset."""
        rows = self._ask(self._references, {})
        return [Known(Position(partition, offset), body.encode()) for partition, offset, body in rows]

    def erasures(self, subjects: Sequence[str] | None = None) -> tuple[dict[int, int], list[Logged]]:
        """For each partition the first offset not in the views, and the erasures before it (of these residents)."""
        reached: dict[int, int] = {}
        found: list[Logged] = []
        asked = None if subjects is None else list(subjects)
        for name, first_unread, erasure_id, subject, categories, *places in self._ask(
            self._erasures, {"subjects": asked}
        ):
            match = _APPLICATION.fullmatch(name or "")
            if match:
                reached[int(match[1])] = int(first_unread)
            elif name is None:
                partition, *offsets = places
                requested, erased = (None if offset is None else Position(partition, offset) for offset in offsets)
                said = None if categories is None else tuple(categories)
                found.append(Logged(erasure_id, subject, said, requested, erased))
        return reached, found

    def sealing_key(self, subject: str) -> str | None:
        """The id of the key that this resident's latest sealed record names."""
        rows = self._ask(self._sealing_key, {"subject": subject, "sealed": '%"sealed":{"key":"%'})
        return str(rows[0][0]) if rows else None

    def _ask(self, statement: bytes, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
        with _translated("the projected views"):
            try:
                return self._once(statement, parameters)
            except PoolTimeout:
                raise  # it has been waited for long enough
            except psycopg.OperationalError:
                # A connection that a restart of the server has cut: the pool has let it go. Checking each one before
                # its use would cost a round trip a question.
                return self._once(statement, parameters)

    def _once(self, statement: bytes, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
        with self._pool.connection() as connection:
            return connection.execute(statement, parameters).fetchall()


class AdvisoryLock:
    """One writer of reference facts at a time, among all processes that use this database.

    The lock is the session's: it goes away with its holder, however that ends.
    """

    def __init__(self, dsn: str, wait_ms: int = LOCK_WAIT_MS) -> None:
        self._dsn = dsn
        self._wait_ms = wait_ms

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Holds the lock; raises `Unavailable` when somebody else keeps it for too long."""
        with _translated("the lock of reference facts"):
            connection = psycopg.connect(self._dsn, autocommit=True, connect_timeout=5)
        with connection:
            with _translated("the lock of reference facts"):
                connection.execute("SELECT set_config('lock_timeout', %(ms)s, false)", {"ms": f"{self._wait_ms}ms"})
                connection.execute(statements("index")["lock"], {"key": REFERENCE_LOCK})
            yield


def _as_auditor(connection: "psycopg.Connection[tuple[Any, ...]]") -> None:
    connection.execute("SET ROLE ledger_auditor")


@contextmanager
def _translated(what: str) -> Iterator[None]:
    """The library's errors as ours; their texts may hold row values, so they go no further."""
    try:
        yield
    except (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout):
        raise Unavailable(f"{what} cannot be reached") from None
    except psycopg.Error as error:
        raise ConfigurationError(
            f"{what} do not answer as they should ({type(error).__name__}): check schema and role with `doctor`"
        ) from None

"""The servers that are measured on: one broker and one PostgreSQL, fresh, started for the run and removed after it.

    with servers(say) as here:
        topic = here.new_topic()
        dsns = here.new_database()

Always servers of the run's own, whatever `CONSENT_LEDGER_KAFKA` and `CONSENT_LEDGER_DATABASE` name: a run sets roles'
passwords and writes millions of rows.
"""

import secrets
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from ledger.kafka import topics
from ledger.kafka.local import local_kafka
from projections import schema
from projections.local import local_postgres

PARTITIONS = 6
_names = count(1)


@dataclass(frozen=True)
class Servers:
    """Where the servers are; topics and databases on them are never used twice. `password`: of the ledger's roles."""

    bootstrap: str
    superuser_dsn: str
    password: str = "bench"
    run: str = field(default_factory=lambda: secrets.token_hex(4))

    def new_topic(self) -> str:
        """A topic with the settings of `ledger.events`."""
        name = f"bench.{self.run}.{next(_names)}"
        topics.create(self.bootstrap, {name: (topics.Kind.RECORDS, PARTITIONS)})
        return name

    def new_superuser_dsn(self) -> str:
        """A database of its own, as the superuser."""
        name = f"bench_{self.run}_{next(_names)}"
        with psycopg.connect(self.superuser_dsn, autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"'.encode())
        return make_conninfo(self.superuser_dsn, dbname=name)

    def new_database(self) -> schema.Dsns:
        """A database with the views' schema, and its roles' connection strings."""
        return self.prepare(self.new_superuser_dsn())

    def prepare(self, superuser_dsn: str) -> schema.Dsns:
        """The views' schema in a database."""
        return schema.prepare(superuser_dsn, dict.fromkeys(schema.ROLES, self.password))

    def superuser_of(self, dsn: str) -> str:
        """The superuser in the database that this connection string names."""
        return make_conninfo(self.superuser_dsn, dbname=str(conninfo_to_dict(dsn)["dbname"]))

    def drop_database(self, dsn: str) -> None:
        """Removes the database that this connection string names, which frees its disk."""
        with psycopg.connect(self.superuser_dsn, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE "{conninfo_to_dict(dsn)["dbname"]}" WITH (FORCE)'.encode())

    def drop_topic(self, topic: str) -> None:
        """Removes a topic."""
        topics.delete(self.bootstrap, [topic])


@contextmanager
def servers(say: Callable[[str], None]) -> Iterator[Servers]:
    """Starts both servers in a folder that is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="consent-ledger-bench-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o711)
        with (
            local_kafka(Path(folder) / "kafka", say) as broker,
            local_postgres(Path(folder) / "postgres", say) as server,
        ):
            yield Servers(broker.bootstrap, server.dsn)

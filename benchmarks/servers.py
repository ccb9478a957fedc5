"""The servers that are measured on: one broker and one PostgreSQL, fresh, started for the run and removed after it.

with servers(say) as here:
    topic = here.new_topic()
    dsns = here.new_database()
"""

import secrets
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo

from ledger.kafka import topics
from ledger.kafka.local import kafka
from projections import schema
from projections.local import database

PARTITIONS = 6
_names = count(1)


@dataclass(frozen=True)
class Servers:
    """Where the servers are; topics and databases on them are never used twice."""

    bootstrap: str
    superuser_dsn: str
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
        return schema.prepare(superuser_dsn, dict.fromkeys(schema.ROLES, "bench"))


@contextmanager
def servers(say: Callable[[str], None]) -> Iterator[Servers]:
    """Starts both servers in a folder that is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="consent-ledger-bench-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o711)
        with kafka(Path(folder) / "kafka", say) as bootstrap, database(Path(folder) / "postgres", say) as dsn:
            yield Servers(bootstrap, dsn)

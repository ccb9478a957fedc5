"""The connection of a projection: eventsourcing's PostgreSQL datastore, made from a connection string.

    with Datastore(dsns.projector, "live") as datastore:
        recorder = PostgresTrackingRecorder(datastore, tracking_table_name=TRACKING_TABLE)

One connection: a worker does one thing at a time. An idle transaction is ended by the server after 5 seconds
(eventsourcing's default), so whoever thinks longer than that does so before opening one.
"""

import os
import re
import secrets
import socket
from typing import Any

from eventsourcing.postgres import PostgresDatastore
from psycopg.conninfo import conninfo_to_dict

TRACKING_TABLE = "tracking"
IDLE_IN_TRANSACTION_LIMIT_S = 5.0
_PLANS = "-c enable_seqscan=off -c enable_hashjoin=off -c enable_mergejoin=off -c jit=off"
"""A worker asks for few rows of big tables, which grow faster than their statistics: by index, whatever these say."""


def application_name(partition: int) -> str:
    """What a partition is called in the tracking table: eventsourcing's name of an application.

    >>> application_name(3)
    'ledger[3]'
    """
    return f"ledger[{partition}]"


def worker_name() -> str:
    """A name for one worker of this process: host, process id, and what tells it from any other before and after it.

    It says nothing of any person; PostgreSQL keeps 63 bytes of it, and it has fewer.

    >>> re.fullmatch("project [A-Za-z0-9.-]{1,24}/[0-9]+/[0-9a-f]{8}", worker_name()) is not None
    True
    """
    host = re.sub("[^A-Za-z0-9.-]", "-", socket.gethostname())[:24] or "-"
    return f"project {host}/{os.getpid()}/{secrets.token_hex(4)}"


class Datastore(PostgresDatastore):
    """A datastore whose every connection parameter comes from one connection string.

    `worker`: what its connections are called in PostgreSQL, so that others see whether they are still there.
    """

    def __init__(self, dsn: str, schema: str, *, pool_size: int = 1) -> None:
        given: dict[str, Any] = conninfo_to_dict(dsn)
        self.worker = worker_name()
        super().__init__(
            dbname=given.get("dbname", "postgres"),
            host=given.get("host", ""),
            port=given.get("port", 5432),
            user=given.get("user", ""),
            password=given.get("password", ""),
            connect_timeout=5.0,
            idle_in_transaction_session_timeout=IDLE_IN_TRANSACTION_LIMIT_S,
            pool_size=pool_size,
            schema=schema,
        )
        kwargs = self.pool.kwargs
        assert isinstance(kwargs, dict)
        kwargs.update({name: value for name, value in given.items() if name not in kwargs})
        kwargs["application_name"] = self.worker
        kwargs["options"] = f"-c search_path={schema} -c timezone=UTC {_PLANS}"
        kwargs.setdefault("connect_timeout", 5)

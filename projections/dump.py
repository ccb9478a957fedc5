"""Timeline and verdicts as they stand at one moment, streamed row by row: what `replay.export` writes to files.

    with Dump(dsns.reader, Period()) as dump:
        dump.positions, dump.counts["timeline"]                 # {0: 1042, …}, {0: 1039, …}
        for rows in dump.rows("verdicts", partition=3):         # some thousand tuples at a time
            …

One connection, as an auditor, in one read-only snapshot: a worker may write meanwhile, and no row is seen twice or
missed. Memory does not grow with the rows: a cursor of the server's hands them out.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import psycopg

from ledger.errors import Unavailable
from projections.cells import moment
from projections.statements import statements

VIEWS = ("timeline", "verdicts")
_ROWS_AT_ONCE, _WHOLE_AT_ONCE = 10_000, 2_000
_APPLICATION = re.compile(r"ledger\[([0-9]+)\]")


class Period(NamedTuple):
    """Events at or after `since` and before `until`, in microseconds since 1970 UTC; None: no bound."""

    since: int | None = None
    until: int | None = None

    def parameters(self) -> dict[str, str]:
        """For the statements."""
        return {
            "since": "-infinity" if self.since is None else moment(self.since),
            "until": "infinity" if self.until is None else moment(self.until),
        }


class Dump:
    """The views at one moment. A context manager.

    `positions`: for each partition the first offset that is not in the views; `counts`: rows by view and partition.
    `whole`: with the ids and bytes of records.
    """

    def __init__(self, reader_dsn: str, period: Period, *, whole: bool = False) -> None:
        self._parameters: dict[str, Any] = {**period.parameters(), "whole": whole}
        with _translated():
            self._connection: psycopg.Connection[Any] = psycopg.connect(reader_dsn, connect_timeout=10)
        try:
            with _translated():
                self._begin()
        except BaseException:
            self._connection.close()
            raise

    def _begin(self) -> None:
        self._connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        self._connection.read_only = True
        self._connection.execute(statements("answers")["see as auditor"])
        self.positions: dict[int, int] = {}
        for name, offset in self._connection.execute(statements("answers")["projected"].replace(b"%%", b"%")):
            match = _APPLICATION.fullmatch(name)
            if match is not None:
                self.positions[int(match[1])] = int(offset)
        self.counts: dict[str, dict[int, int]] = {view: {} for view in VIEWS}
        for view, partition, count in self._connection.execute(statements("export")["counts"], self._parameters):
            self.counts[view][partition] = count
        [(self.schema_version,)] = self._connection.execute(statements("export")["schema version"]).fetchall()

    def __enter__(self) -> "Dump":
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def subjects(self, at_once: int) -> Iterator[list[str]]:
        """Everyone whom a row is about, some at a time, in no order."""
        for rows in self._stream("subjects", self._parameters, at_once):
            yield [subject for (subject,) in rows]

    def rows(self, view: str, partition: int) -> Iterator[list[tuple[Any, ...]]]:
        """The rows of a view in one partition, in the order of the log, as tuples in the order of the statement."""
        assert view in VIEWS, "only these are exported"
        at_once = _WHOLE_AT_ONCE if self._parameters["whole"] else _ROWS_AT_ONCE
        yield from self._stream(view, {**self._parameters, "partition": partition}, at_once)

    def _stream(self, name: str, parameters: Mapping[str, Any], at_once: int) -> Iterator[list[tuple[Any, ...]]]:
        with _translated(), self._connection.cursor(f"export_{name}") as cursor:
            cursor.execute(statements("export")[name], parameters)
            while rows := cursor.fetchmany(at_once):
                yield rows


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except psycopg.Error:
        raise Unavailable("the database of the views does not answer, or refuses the role: try again") from None

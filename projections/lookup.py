"""What a projector asks of what it has written: by index, as live workers do.

    found = ByIndex(3)
    found.first_records(connection, items)             # {("/services/permits", "e1", "res_7f2c"): First(1041, b"{...")}
    found.open_rows(connection, {"res_7f2c": since})   # rows of the table `verdicts`, as projections.load reads them

`Lookup` is the port. A rebuild answers most of the same questions from memory (projections.places), so that tables
which nobody reads yet need hardly an index while they fill.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import psycopg
from psycopg.rows import tuple_row

from projections.batch import Batch, First, Item, Key
from projections.cells import moment
from projections.statements import statements

Connection = psycopg.Connection[Any]
Rows = list[tuple[Any, ...]]
_MAX_SUBJECTS_AT_ONCE = 5_000


class Facts(NamedTuple):
    """Of some residents the facts as (offset, body), and when the latest judged event of each happened."""

    bodies: Rows
    latest: dict[str, int]


class Lookup(Protocol):
    """What was written of one partition. Instants are microseconds since 1970."""

    def first_records(self, connection: Connection, items: Sequence[Item]) -> dict[Key, First]:
        """The records known before under the keys of these."""

    def facts(self, connection: Connection, subjects: Sequence[str]) -> Facts:
        """What is known of these residents, each resident's facts in the order of the log."""

    def open_rows(self, connection: Connection, late: Mapping[str, int]) -> Rows:
        """Open verdicts of each resident on what happened at the instant or later."""

    def open_rows_under(self, connection: Connection, by: str, ids: Sequence[str], since: int) -> Rows:
        """Open verdicts by `recipient` or `demand` with one of these ids, or by `all`, since an instant."""

    def holdings(
        self,
        connection: Connection,
        told_since: Mapping[str, int],
        erased_until: Mapping[str, int],
        policies_since: int | None,
    ) -> Rows:
        """Holdings of residents at the instant or later, at the instant or earlier, and of all since an instant."""

    def wrote(self, batch: Batch) -> None:
        """This batch has been judged and goes into the tables now."""

    def restore(self, connection: Connection) -> None:
        """Takes in what the tables hold; nothing has been asked yet."""


class ByIndex:
    """Asks PostgreSQL, which finds everything by index."""

    def __init__(self, partition: int) -> None:
        self._partition = partition

    def first_records(self, connection: Connection, items: Sequence[Item]) -> dict[Key, First]:
        """See `Lookup`."""
        hashes = [item.hash for item in items]
        return first_among(items, self._ask(connection, "first records", hashes=hashes))

    def facts(self, connection: Connection, subjects: Sequence[str]) -> Facts:
        """See `Lookup`."""
        bodies: Rows = []
        latest: dict[str, int] = {}
        for at in range(0, len(subjects), _MAX_SUBJECTS_AT_ONCE):
            some = list(subjects[at : at + _MAX_SUBJECTS_AT_ONCE])
            bodies += self._ask(connection, "facts", subjects=some)
            latest |= dict(self._ask(connection, "latest judged", subjects=some))
        return Facts(bodies, latest)

    def open_rows(self, connection: Connection, late: Mapping[str, int]) -> Rows:
        """See `Lookup`."""
        return self._ask(connection, "open rows of residents", **_since(late)) if late else []

    def open_rows_under(self, connection: Connection, by: str, ids: Sequence[str], since: int) -> Rows:
        """See `Lookup`."""
        return self._ask(connection, f"open rows by {by}", ids=list(ids), since=moment(since))

    def holdings(
        self,
        connection: Connection,
        told_since: Mapping[str, int],
        erased_until: Mapping[str, int],
        policies_since: int | None,
    ) -> Rows:
        """See `Lookup`."""
        found: Rows = []
        if told_since:
            found += self._ask(connection, "holdings after notices", **_since(told_since))
        if erased_until:
            found += self._ask(connection, "holdings before erasures", **_since(erased_until, "untils"))
        if policies_since is not None:
            found += self._ask(connection, "holdings under policies", since=moment(policies_since))
        return found

    def wrote(self, batch: Batch) -> None:
        """Nothing to remember: it is in the tables."""

    def restore(self, connection: Connection) -> None:
        """Nothing to remember."""

    def _ask(self, connection: Connection, name: str, **parameters: Any) -> Rows:
        return ask(connection, name, partition=self._partition, **parameters)


def ask(connection: Connection, name: str, /, **parameters: Any) -> Rows:
    """The rows of a statement of `load.sql`."""
    with connection.cursor(row_factory=tuple_row) as cursor:
        return cursor.execute(statements("load")[name], parameters).fetchall()


def first_among(items: Iterable[Item], rows: Rows) -> dict[Key, First]:
    """Those of the rows (offset, source, id, subject, body) that have the key of one of these."""
    wanted = {item.key for item in items}
    return {
        (source, event_id, subject): First(offset, body.encode())
        for offset, source, event_id, subject, body in rows
        if (source, event_id, subject) in wanted
    }


def _since(instants: Mapping[str, int], name: str = "sinces") -> dict[str, list[str]]:
    return {"subjects": list(instants), name: [moment(instant) for instant in instants.values()]}

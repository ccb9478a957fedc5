"""The table of erasures in the vault, and the step that destroys: `ledger.erasing.erasure.ErasureTable` on PostgreSQL.

    table = Erasures(vault.database)
    erasure = table.ask(Asked(erasure, "/my/res_7f2c", "key-1"))     # the first one under this idempotency key
    table.destroy(erasure, "2026-03-03T12:00:01.000000Z")

A row here is the durable intention: it is there before anything is appended or destroyed, and says how far it has come.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

from ledger.erasing.erasure import IN_PROGRESS, Asked, Erasure
from ledger.log import Position
from ledger.vault.database import Database, Row, Run, statements
from ledger.vault.store import new_key_id

ERASER_LOCK = 0x65_72_61_73_69_6E_67  # "erasing": one eraser at a time among all processes
MAX_UNFINISHED = 100
_COLUMNS = (
    b"erasure_id, subject, categories, state, asked_by, asked_time, approved_by, requested_time, requested,"
    b" erased_time, erased, receipt"
)


class Erasures:
    """Erasures asked for, in progress, done and withdrawn. Used from one thread or several."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sql = {name: text.replace(b"{columns}", _COLUMNS) for name, text in statements("erasures").items()}

    # --- the doors ----------------------------------------------------------------------------------------------

    def ask(self, asked: Asked) -> Erasure:
        """Notes a new erasure, or finds the one that was asked for under the same idempotency key.

        One that is to begin at once finds the like of it that is in progress too: its key names that one from then on.
        """
        erasure, key = asked.erasure, {"asked_as": asked.asked_as, "idempotency_key": asked.idempotency_key}
        values = {
            **key,
            "erasure_id": erasure.erasure_id,
            "subject": erasure.subject,
            "categories": None if erasure.categories is None else list(erasure.categories),
            "state": erasure.state,
            "asked_by": erasure.asked_by,
            "asked_person": asked.person,
            "asked_time": erasure.asked_time,
            "requested_time": erasure.requested_time,
        }

        def work(run: Run) -> Row:
            run(statements("logins")["lock"], values)
            rows = run(self._sql["of idempotency key"], key)
            if not rows and erasure.state == IN_PROGRESS:
                rows = run(self._sql["like it"], values)
                if rows:
                    run(self._sql["refer"], {**key, "erasure_id": rows[0][0]})
            if not rows:
                run(self._sql["ask"], values)
                rows = run(self._sql["of idempotency key"], key)
            return rows[0]

        return _erasure(self._database.atomically(work))

    def asked(self, asked_as: str, idempotency_key: str) -> Erasure | None:
        """The erasure that was asked for under this idempotency key."""
        rows = self._run("of idempotency key", {"asked_as": asked_as, "idempotency_key": idempotency_key})
        return _erasure(rows[0]) if rows else None

    def get(self, erasure_id: str) -> Erasure | None:
        """The erasure of this id."""
        rows = self._run("of id", {"erasure_id": erasure_id})
        return _erasure(rows[0]) if rows else None

    def person(self, erasure_id: str) -> bytes | None:
        """Who asked for it, as the map key hides it; None when no operator did."""
        rows = self._run("person", {"erasure_id": erasure_id})
        return bytes(rows[0][0]) if rows and rows[0][0] is not None else None

    def page(self, state: str | None, after: tuple[str, str] | None, limit: int) -> list[Erasure]:
        """Erasures, the newest first; `after`: time and id of the last one of the page before."""
        time, erasure_id = after or (None, None)
        rows = self._run("page", {"state": state, "time": time, "erasure_id": erasure_id, "limit": limit})
        return [_erasure(row) for row in rows]

    def approve(self, erasure_id: str, approved_by: str, requested_time: str) -> None:
        """Lets an erasure begin that still waits for it; else nothing."""
        values = {"erasure_id": erasure_id, "approved_by": approved_by, "requested_time": requested_time}
        self._run("approve", values)

    def withdraw(self, erasure_id: str) -> None:
        """Ends an erasure that still waits for approval; else nothing."""
        self._run("withdraw", {"erasure_id": erasure_id})

    def knows(self, subject: str) -> bool:
        """Whether the vault has ever held a key for this resident, or holds a login."""
        return bool(self._run("known", {"subject": subject})[0][0])

    # --- the eraser ---------------------------------------------------------------------------------------------

    def alone(self) -> AbstractContextManager[bool]:
        """Whether no other process erases now; holds them off until the block ends."""
        return self._database.alone(ERASER_LOCK)

    def unfinished(self, after: tuple[str, str] | None = None) -> list[Erasure]:
        """Those in progress, the oldest first, at most 100; `after`: time and id of the last one of those before."""
        time, erasure_id = after or (None, None)
        values = {"time": time, "erasure_id": erasure_id, "limit": MAX_UNFINISHED}
        return [_erasure(row) for row in self._run("unfinished", values)]

    def note_requested(self, erasure_id: str, position: Position) -> None:
        """`erasure.requested` is in the log."""
        self._run("requested", {"erasure_id": erasure_id, "position": str(position)})

    def destroy(self, erasure: Erasure, time: str, key_id: str | None = None) -> Erasure:
        """Destroys key and logins, when everything is erased, and notes when, in one transaction."""
        whom = {"subject": erasure.subject, "key_id": key_id, "fresh": new_key_id()}
        what = {"erasure_id": erasure.erasure_id, "time": time}
        logins, sessions = statements("logins"), statements("sessions")

        def work(run: Run) -> Row:
            if erasure.everything:
                run(logins["lock"], whom)
                run(self._sql["destroy key"], whom)
                run(logins["forget"], whom)
                run(sessions["forget"], whom)
            run(self._sql["destroyed"], what)
            [row] = run(self._sql["of id"], what)
            return row

        return _erasure(self._database.atomically(work))

    def note_done(self, erasure_id: str, position: Position, receipt: str | None) -> None:
        """`data.erased` is in the log."""
        self._run("done", {"erasure_id": erasure_id, "position": str(position), "receipt": receipt})

    def adopt(self, erasure: Erasure) -> None:
        """Takes in what the log knows and the table does not, or not yet."""
        values: dict[str, Any] = {name: getattr(erasure, name) for name in Erasure.__dataclass_fields__}
        values["categories"] = None if erasure.categories is None else list(erasure.categories)
        for name in ("requested", "erased"):
            values[name] = None if values[name] is None else str(values[name])
        self._run("adopt", values)

    def unknown(self, erasure_ids: Sequence[str]) -> set[str]:
        """Those of these that the table does not have, or has as not begun."""
        return {str(row[0]) for row in self._run("unknown", {"erasure_ids": list(erasure_ids)})}

    def not_destroyed(self, subjects: Sequence[str]) -> set[str]:
        """Those of these residents who have a key, no row that says it was destroyed, or a login."""
        return {str(row[0]) for row in self._run("not destroyed", {"subjects": list(subjects)})}

    def _run(self, name: str, values: dict[str, Any]) -> list[Row]:
        return self._database.run(self._sql[name], values)


def _erasure(row: Row) -> Erasure:
    (erasure_id, subject, categories, state, asked_by, asked_time, approved_by, requested_time, requested) = row[:9]
    erased_time, erased, receipt = row[9:]
    return Erasure(
        erasure_id=erasure_id,
        subject=subject,
        categories=None if categories is None else tuple(categories),
        state=state,
        asked_by=asked_by,
        asked_time=asked_time,
        approved_by=approved_by,
        requested_time=requested_time,
        requested=None if requested is None else Position.parse(requested),
        erased_time=erased_time,
        erased=None if erased is None else Position.parse(erased),
        receipt=receipt,
    )

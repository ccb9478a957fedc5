"""Reminders of complaints and contests that nobody has answered: an eventsourcing projection like any other.

    consent-ledger project --projection projections.reminders:Reminders

A complaint or contest is due for an answer 14 days after it was made (`CONSENT_LEDGER_REMIND_AFTER_DAYS`). Each case
has one row, written in one transaction with the position it comes from; a question or comment needs no answer.
The policy promises an answer to complaints (statement "complaints"), the 14 days are this product's choice.
"""

import os
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from eventsourcing.dispatch import singledispatchmethod
from eventsourcing.persistence import Tracking
from eventsourcing.postgres import PostgresDatastore, PostgresTrackingRecorder
from eventsourcing.projection import Projection
from psycopg import sql

from ledger.errors import ConfigurationError
from ledger.events import KINDS
from projections.cells import timestamp

AFTER_DAYS_VARIABLE = "CONSENT_LEDGER_REMIND_AFTER_DAYS"
DEFAULT_AFTER_DAYS = 14


class Reminder(NamedTuple):
    """A case that waits for an answer since `opened`; the answer was due at `due`."""

    position: str
    kind: str
    case_id: str
    subject: str
    opened: datetime
    due: datetime


def after_days() -> int:
    """After how many days an answer is due."""
    given = os.environ.get(AFTER_DAYS_VARIABLE, str(DEFAULT_AFTER_DAYS))
    if not given.isascii() or not given.isdigit() or not 1 <= int(given) <= 365:
        raise ConfigurationError(f"{AFTER_DAYS_VARIABLE} must be a number of days from 1 to 365")
    return int(given)


class RemindersView(PostgresTrackingRecorder):
    """The table of reminders, with eventsourcing's tracking beside it."""

    def __init__(self, datastore: PostgresDatastore, **kwargs: Any) -> None:
        super().__init__(datastore, **kwargs)
        self._table = sql.Identifier(datastore.schema, "reminders")
        create = sql.SQL(
            "CREATE TABLE IF NOT EXISTS {} (log text NOT NULL, kind text NOT NULL, case_id text NOT NULL,"
            " subject text NOT NULL, opened timestamptz, opened_id bigint, answered timestamptz,"
            " PRIMARY KEY (log, kind, case_id, subject))"
        )
        self.sql_create_statements.append(create.format(self._table))

    def opened(self, tracking: Tracking, kind: str, case_id: str, subject: str, time: str) -> None:
        """A case was opened; of two openings the earlier counts."""
        statement = sql.SQL(
            "INSERT INTO {} AS held (log, kind, case_id, subject, opened, opened_id)"
            " VALUES (%(log)s, %(kind)s, %(case_id)s, %(subject)s, %(time)s, %(id)s)"
            " ON CONFLICT (log, kind, case_id, subject) DO UPDATE"
            " SET opened = excluded.opened, opened_id = excluded.opened_id"
            " WHERE held.opened IS NULL OR (excluded.opened, excluded.opened_id) < (held.opened, held.opened_id)"
        )
        self._record(statement, tracking, kind, case_id, subject, time)

    def answered(self, tracking: Tracking, kind: str, case_id: str, subject: str, time: str) -> None:
        """A case was answered, perhaps before its opening came in."""
        statement = sql.SQL(
            "INSERT INTO {} AS held (log, kind, case_id, subject, answered)"
            " VALUES (%(log)s, %(kind)s, %(case_id)s, %(subject)s, %(time)s)"
            " ON CONFLICT (log, kind, case_id, subject) DO UPDATE"
            " SET answered = least(held.answered, excluded.answered)"
        )
        self._record(statement, tracking, kind, case_id, subject, time)

    def unanswered(self, now: datetime | None = None, days: int | None = None) -> list[Reminder]:
        """The cases whose answer is overdue, the longest waiting first."""
        waited = timedelta(days=after_days() if days is None else days)
        due_until = (now or datetime.now(UTC)) - waited
        statement = sql.SQL(
            "SELECT log, opened_id, kind, case_id, subject, opened FROM {}"
            " WHERE opened <= %s AND answered IS NULL ORDER BY opened, log, opened_id"
        )
        with self.datastore.get_connection() as connection:
            found = connection.execute(statement.format(self._table), (due_until,)).fetchall()
        reminders = []
        for row in found:
            partition = row["log"].removeprefix("ledger[").removesuffix("]")
            position = f"{partition}-{row['opened_id'] - 1}"
            case = (row["kind"], row["case_id"], row["subject"], row["opened"])
            reminders.append(Reminder(position, *case, row["opened"] + waited))
        return reminders

    def _record(self, statement: sql.SQL, tracking: Tracking, kind: str, case_id: str, subject: str, time: str) -> None:
        parameters = {
            "log": tracking.application_name,
            "kind": kind,
            "case_id": case_id,
            "subject": subject,
            "time": timestamp(time),
            "id": tracking.notification_id,
        }
        with self.datastore.transaction(commit=True) as cursor:
            cursor.execute(statement.format(self._table), parameters)
            self._insert_tracking(cursor, tracking)


_FILED, _SETTLED = KINDS["complaint.filed"], KINDS["complaint.resolved"]
_CONTESTED, _RESOLVED = KINDS["data.contested"], KINDS["contest.resolved"]


class Reminders(Projection[RemindersView]):
    """Keeps one reminder for each complaint and contest."""

    name = "reminders"
    topics = (_FILED.type, _SETTLED.type, _CONTESTED.type, _RESOLVED.type)

    @singledispatchmethod
    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        """Other events pass: only the position is kept."""
        self.view.insert_tracking(tracking)

    @process_event.register(_FILED)
    def _filed(self, event: Any, tracking: Tracking) -> None:
        if event.data.kind == "complaint":
            self.view.opened(tracking, "complaint", event.data.complaint_id, event.subject, event.time)
        else:
            self.view.insert_tracking(tracking)

    @process_event.register(_SETTLED)
    def _settled(self, event: Any, tracking: Tracking) -> None:
        self.view.answered(tracking, "complaint", event.data.complaint_id, event.subject, event.time)

    @process_event.register(_CONTESTED)
    def _contested(self, event: Any, tracking: Tracking) -> None:
        self.view.opened(tracking, "contest", event.data.contest_id, event.subject, event.time)

    @process_event.register(_RESOLVED)
    def _resolved(self, event: Any, tracking: Tracking) -> None:
        self.view.answered(tracking, "contest", event.data.contest_id, event.subject, event.time)

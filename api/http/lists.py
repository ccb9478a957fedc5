"""The shorter lists about a resident: consents, data held, preferences, anonymity, cases; newest first, in pages.

    found = await page(view, "consents", "res_7f2c", question, held, now_us)     # inside the snapshot

A list is asked for whole and cut into pages here: it holds a row for each consent, channel, case, or category of a
collection, which is little beside the log. Times are written as the ledger writes them, `position` is the record that
says so.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from api.http.paging import Found, Place, Question, microseconds, written
from api.http.withheld import HeldBack, in_order, shown_before
from ledger.authority import MY_SOURCE
from ledger.log import Position
from projections.answers import View
from projections.rows import Anonymity, Case, Consent, Holding, Preference, Withheld

CASE_KINDS = ("contest", "complaint", "access", "incident", "demand", "erasure")


class Row(NamedTuple):
    """One row of a list: where it stands, what it is about, and what is answered. `offsets` are its records'."""

    place: Place
    offsets: tuple[int | None, ...]
    source: str | None
    about: tuple[str, str] | None
    purposes: Sequence[str]
    kind: str | None
    body: dict[str, Any]


class List(NamedTuple):
    """A list: its filters, and how its rows are asked for."""

    filters: tuple[str, ...]
    ask: Callable[[View, str, int], Awaitable[Iterable[Row]]]


async def page(
    view: View,
    name: str,
    subject: str,
    question: Question,
    held: HeldBack | None,
    now_us: int,
    more: Iterable[Row] = (),
) -> Found:
    """One page. `held`: what is held back from the reader; None for one who sees everything. `more`: further rows."""
    rows = [*await LISTS[name].ask(view, subject, now_us), *more]
    hidden: dict[tuple[str, str], Withheld] = {}
    shown = []
    for row in rows:
        by = None if held is None else _held_by(held, row)
        if by is not None:
            hidden[by.source, by.id] = by
        elif _wanted(row, question):
            shown.append(row)
    shown.sort(key=_newest_first)
    categories = {row.body["category"]: None for row in shown if name == "data" and row.body["erased"] is None}
    if question.after is not None:
        after = _order(question.after)
        shown = [row for row in shown if _newest_first(row) > after]
    before = in_order(hidden.values()) if shown_before(question) else []
    some, further = shown[: question.limit], len(shown) > question.limit
    body = {name: [*before, *(row.body for row in some)]}
    return Found(body, some[-1].place if further else None, tuple(sorted(categories)))


def _held_by(held: HeldBack, row: Row) -> Withheld | None:
    by = held.at(*row.offsets)
    if by is None and row.about is not None and row.source != MY_SOURCE:
        by = held.of(*row.about)
    return by


def _wanted(row: Row, question: Question) -> bool:
    asked = question.filters
    return (
        (question.since is None or row.place.instant >= question.since)
        and (question.until is None or row.place.instant < question.until)
        and asked.get("service", row.source) == row.source
        and asked.get("kind", row.kind) == row.kind
        and ("purpose" not in asked or asked["purpose"] in row.purposes)
    )


def _order(place: Place) -> tuple[int, int, str]:
    return (-place.instant, -place.offset, place.name)


def _newest_first(row: Row) -> tuple[int, int, str]:
    return _order(row.place)


def _position(partition: int, offset: int | None) -> str | None:
    return None if offset is None else str(Position(partition, offset))


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else written(moment)


# --- the lists --------------------------------------------------------------------------------------------------


async def _consents(view: View, subject: str, now_us: int) -> list[Row]:
    return [_consent(row, now_us) for row in await view.consents(subject)]


def _consent(row: Consent, now_us: int) -> Row:
    expired = row.expires_at is not None and microseconds(row.expires_at) <= now_us
    body = {
        "consent_id": row.consent_id,
        "state": row.state,
        "active": row.state == "given" and microseconds(row.since) <= now_us and not expired,
        "since": written(row.since),
        "position": str(row.position),
        "given_position": _position(row.partition, row.given_offset),
        "source": row.source,
        "purposes": row.purposes,
        "categories": row.categories,
        "operations": row.operations,
        "recipients": row.recipients,
        "method": row.method,
        "notice_id": row.notice_id,
        "expires_at": _time(row.expires_at),
    }
    place = Place(microseconds(row.since), row.since_offset, row.consent_id)
    return Row(place, (row.since_offset, row.given_offset), row.source, None, row.purposes or (), None, body)


async def _data(view: View, subject: str, _: int) -> list[Row]:
    return [_holding(row) for row in await view.holdings(subject)]


def _holding(row: Holding) -> Row:
    body = {
        "category": row.category,
        "position": str(row.position),
        "collected": written(row.occurred),
        "source": row.source,
        "origin": row.origin,
        "purposes": row.purposes,
        "told": row.told,
        "notice_id": row.notice_id,
        "erased": _time(row.erased),
        "erased_position": _position(row.partition, row.erased_offset),
    }
    place = Place(microseconds(row.occurred), row.offset, row.category)
    return Row(place, (row.offset,), row.source, None, row.purposes, None, body)


async def _preferences(view: View, subject: str, _: int) -> list[Row]:
    return [_preference(row) for row in await view.preferences(subject)]


def _preference(row: Preference) -> Row:
    body = {
        "channel": row.channel,
        "allowed": row.allowed,
        "since": written(row.since),
        "position": str(row.position),
    }
    place = Place(microseconds(row.since), row.since_offset, row.channel)
    return Row(place, (row.since_offset,), None, None, (), None, body)


async def _anonymity(view: View, subject: str, _: int) -> list[Row]:
    row: Anonymity | None = await view.anonymity(subject)
    if row is None:
        return []
    body = {"anonymous": row.anonymous, "since": written(row.since), "position": str(row.position)}
    return [Row(Place(microseconds(row.since), row.since_offset), (row.since_offset,), None, None, (), None, body)]


async def _cases(view: View, subject: str, _: int) -> list[Row]:
    return [case_row(row) for row in await view.cases(subject)]


def case_row(row: Case) -> Row:
    """A case as a row of the list. An incident's `touches` says whether it was reported about the resident."""
    touches = None
    if row.kind == "incident":
        touches = "kinds-held" if row.subject is None else "you"
    about = None
    if row.about_source is not None and row.about_id is not None:
        about = (row.about_source, row.about_id)
    body = {
        "kind": row.kind,
        "case_id": row.case_id,
        "what": row.what,
        "source": row.source,
        "about": None if about is None else {"source": about[0], "id": about[1]},
        "categories": row.categories,
        "touches": touches,
        "opened": _time(row.opened),
        "position": _position(row.partition, row.opened_offset),
        "resolved": _time(row.resolved),
        "resolved_position": _position(row.partition, row.resolved_offset),
        "outcome": row.outcome,
    }
    moment = row.opened or row.resolved
    assert moment is not None, "a case was opened or answered"
    offset = row.opened_offset if row.opened_offset is not None else row.resolved_offset
    place = Place(microseconds(moment), offset or 0, f"{row.kind}/{row.case_id}")
    return Row(place, (row.opened_offset, row.resolved_offset), row.source, about, (), row.kind, body)


LISTS = {
    "consents": List(("from", "to", "service", "purpose"), _consents),
    "data": List(("from", "to", "service", "purpose"), _data),
    "preferences": List((), _preferences),
    "anonymity": List((), _anonymity),
    "cases": List(("from", "to", "service", "kind"), _cases),
}
"""Every list by its name, which is its path's last word and the member that holds its rows."""

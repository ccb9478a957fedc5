"""A page of a resident's log: each event with its record and, where it is judged, today's outcome.

    entries = await page(view, "res_7f2c", 3, question, held)   # inside the snapshot
    found = await told(entries, vault)                          # the resident's own sealed texts in the clear

Entries that a law holds back stand before the first page, without their place (`api.http.withheld`).
"""

import asyncio
from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from api.http.paging import WITHHELD, Found, Place, Question, microseconds
from api.http.withheld import HeldBack, only_withheld, shown_before
from ledger import codec
from ledger.errors import Erased
from ledger.events import Event, Sealed
from ledger.vault import ResidentKey, Vault
from ledger.vault.sealing import key_ids, unseal
from projections.answers import Cursor, Filters, View
from projections.rows import LogEntry, LogPage

_TEXTS = ("service", "purpose", "outcome", "kind")


class Entries(NamedTuple):
    """The rows of a page before they are written out, what stands before them, and the first offset of the
    partition that the view has not `reached`."""

    before: list[dict[str, Any]]
    rows: list[LogEntry]
    following: Place | None
    reached: int


def asked(question: Question) -> tuple[Filters, Cursor | None, int]:
    """Which entries, after which one, and how many: one more than the page, to know whether there is another page."""
    filters = Filters(question.since, question.until, **{name: question.filters.get(name) for name in _TEXTS})
    cursor = None if question.after is None else Cursor(question.after.instant, question.after.offset)
    return filters, cursor, question.limit + 1


async def page(view: View, subject: str, partition: int, question: Question, held: HeldBack) -> Entries:
    """The page's rows without those that are held back from the reader."""
    filters, cursor, size = asked(question)
    rows: list[LogEntry] = []
    while True:
        found = await view.log(subject, partition, filters, cursor, size)
        rows += [row for row in found.entries if held.of(row.source, row.id, row.body) is None]
        if len(found.entries) < size or len(rows) > question.limit:
            return entries(question, found._replace(entries=rows), held)
        last = found.entries[-1]
        cursor = Cursor(microseconds(last.occurred), last.position.offset)


def entries(question: Question, found: LogPage, held: HeldBack | None) -> Entries:
    """The page out of rows that the reader may see. `held`: what is held back; None for one who sees everything."""
    before = held.json() if held is not None and shown_before(question) else []
    rows = found.entries
    if question.filters.get("kind") == WITHHELD:
        return Entries(before if only_withheld(question) else [], [], None, found.reached)
    if len(rows) <= question.limit:
        return Entries(before, rows, None, found.reached)
    last = rows[question.limit - 1]
    place = Place(microseconds(last.occurred), last.position.offset)
    return Entries(before, rows[: question.limit], place, found.reached)


async def told(entries: Entries, vault: Vault | None) -> Found:
    """The page as JSON; with the vault, sealed texts in the clear beside their records."""
    events = [codec.read(row.body) for row in entries.rows]
    keys: Mapping[str, ResidentKey | None] = {}
    wanted = key_ids(events) if vault is not None else []
    if vault is not None and wanted:
        keys = await asyncio.to_thread(vault.keys_by_id, wanted)
    shown = [_entry(row, event) for row, event in zip(entries.rows, events, strict=True)]
    if vault is not None:
        for entry, event in zip(shown, events, strict=True):
            texts = _unsealed(event, keys)
            if texts:
                entry["unsealed"] = texts
    return Found({"entries": [*entries.before, *shown]}, entries.following)


def _entry(row: LogEntry, event: Event) -> dict[str, Any]:
    return {
        "position": str(row.position),
        "kind": row.kind,
        "source": row.source,
        "id": row.id,
        "time": event.time,
        "recordedtime": event.recordedtime if isinstance(event.recordedtime, str) else None,
        "outcome": row.outcome,
        "first_outcome": row.first_outcome,
        "record": orjson.Fragment(row.body),
    }


def _unsealed(event: Event, keys: Mapping[str, ResidentKey | None]) -> dict[str, str | None]:
    """The event's sealed texts in the clear; null for those whose key was destroyed."""
    names = [name for name in event.data.sealed_fields if isinstance(getattr(event.data, name), Sealed)]
    if not names:
        return {}
    try:
        opened = unseal(event, keys)
    except Erased:
        return dict.fromkeys(names)
    return {name: getattr(opened.data, name) for name in names}

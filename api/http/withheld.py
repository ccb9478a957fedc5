"""What a resident sees of an entry that a law holds back: that there is one, which law, and until when; no more.

>>> from datetime import UTC, datetime
>>> from projections.rows import Withheld
>>> found = Withheld(41, "/services/police", "e7", "Penal Code 832.7", datetime(2027, 1, 1, tzinfo=UTC))
>>> held = HeldBack([found], now_us=1_772_625_600_000_000)
>>> held.json()
[{'kind': 'withheld', 'citation': 'Penal Code 832.7', 'until': '2027-01-01T00:00:00.000000Z'}]

Neither position nor time is told, and no filter finds one: each would say something of what is held back. So lists
leave such entries out of their order and name them before their first page. With the entry goes whatever else names
it: the `disclosure.withheld` itself, others' reports about it, that somebody read it, and its place in the evidence
of a verdict.
"""

from collections.abc import Iterable
from typing import Any

import orjson
from msgspec import UNSET

from api.http.paging import WITHHELD, Question, microseconds, written
from ledger import codec
from ledger.authority import MY_SOURCE
from ledger.errors import Malformed
from ledger.events import About, LogViewed
from ledger.log import Position
from projections.answers import View
from projections.rows import Withheld


class HeldBack:
    """The entries about one resident that a law holds back at this moment."""

    def __init__(self, found: Iterable[Withheld] = (), now_us: int = 0) -> None:
        self._held = {(held.source, held.id): held for held in found if now_us < microseconds(held.until)}

    def __bool__(self) -> bool:
        return bool(self._held)

    def of(self, source: str, event_id: str, body: bytes | None = None) -> Withheld | None:
        """What holds this entry back, if anything does; by its `body` also what names an entry held back."""
        held = self._held.get((source, event_id))
        if held is None and self._held and body is not None and source != MY_SOURCE:
            data = codec.read(body).data
            about = getattr(data, "about", UNSET)
            if isinstance(about, About):
                held = self._held.get((about.source, about.id))
            elif isinstance(data, LogViewed):
                held = self._viewed(data.scope)
        return held

    def _viewed(self, scope: str) -> Withheld | None:
        """What holds back the entry that somebody read, when a `log.viewed` names one: `record/3-41`."""
        _, _, position = scope.partition("/")
        try:
            return self.at(Position.parse(position).offset) if position else None
        except Malformed:
            return None

    def uncited(self, findings: str) -> str:
        """The findings of a verdict without the places of entries held back.

        >>> HeldBack().uncited('[{"evidence":["3-41"]}]')
        '[{"evidence":["3-41"]}]'
        """
        if not self._held:
            return findings
        shown = orjson.loads(findings)
        for finding in shown:
            cited = [p for p in finding["evidence"] if self.at(Position.parse(p).offset) is None]
            if "evidence_total" in finding:
                finding["evidence_total"] -= len(finding["evidence"]) - len(cited)
            finding["evidence"] = cited
        return orjson.dumps(shown).decode()

    def at(self, *offsets: int | None) -> Withheld | None:
        """What holds back an entry at one of these offsets."""
        return next((held for held in self._held.values() if held.offset in offsets), None) if self._held else None

    def json(self) -> list[dict[str, Any]]:
        """All of them as their resident sees them."""
        return in_order(self._held.values())


def in_order(found: Iterable[Withheld]) -> list[dict[str, Any]]:
    """Entries held back, as their resident sees them, by the end of the withholding."""
    return [withheld_json(held) for held in sorted(found, key=lambda h: (h.until, h.citation))]


async def held_back(view: View, subject: str, now_us: int) -> HeldBack:
    """What is held back from this resident."""
    return HeldBack(await view.withheld(subject), now_us)


def withheld_json(held: Withheld) -> dict[str, Any]:
    """One entry, as its resident sees it."""
    return {"kind": WITHHELD, "citation": held.citation, "until": written(held.until)}


def shown_before(question: Question) -> bool:
    """Whether this page begins with the entries held back: the first one of all, or of those alone."""
    return question.after is None and (not question.filtered or only_withheld(question))


def only_withheld(question: Question) -> bool:
    """Whether nothing but the entries held back is asked for."""
    return question.filters == {"kind": WITHHELD} and question.since is None and question.until is None

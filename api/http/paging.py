"""Pages of a long answer: strict query parameters, opaque cursors, `Link: <…>; rel="next"`.

A page begins after the last row of the one before it (keyset), so rows that come in meanwhile neither repeat nor hide
others. A cursor holds that row's place, and fits only the question it was made for:

>>> question = Question.parse("/v1/me/log", [("purpose", "4.2"), ("limit", "2")], LOG_FILTERS)
>>> question.filters["purpose"], question.limit, question.after
('4.2', 2, None)
>>> following = question.next_link(Place(1_772_625_600_000_000, 41))
>>> following.split("cursor=")[0], following.endswith('>; rel="next"')
('</v1/me/log?purpose=4.2&limit=2&', True)
>>> query = [("purpose", "4.2"), ("limit", "2"), ("cursor", following.split("cursor=")[1].split(">")[0])]
>>> Question.parse("/v1/me/log", query, LOG_FILTERS).after
Place(instant=1772625600000000, offset=41, name='')

A parameter that is unknown, repeated or misspelled is a `Malformed` that names it: a filter that is silently dropped
would show more than was asked for.
"""

import re
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, NamedTuple
from urllib.parse import urlencode

import msgspec

from ledger.codec import instant, rfc3339
from ledger.errors import Malformed, Problem
from ledger.events import KINDS, Identifier, Source, Time
from ledger.verdict import CONSISTENT, INCONSISTENT, UNDETERMINED

DEFAULT_LIMIT = 50
MAX_LIMIT = 500
WITHHELD = "withheld"
LEDGER_POSITION = "ledger-position"
LOG_FILTERS = ("from", "to", "service", "purpose", "outcome", "kind")
LOG_KINDS = (*KINDS, WITHHELD)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LIMIT = re.compile(r"[1-9][0-9]{0,3}", re.ASCII)
_FITS_BYTES = 8
_YEAR_10000 = 253_402_300_800_000_000  # µs: no time can be written from here on
_HEAD = struct.Struct(f">qq{_FITS_BYTES}s")
_MAX_NAME_BYTES = 128


class Place(NamedTuple):
    """Where a row stands among the others: when it happened (µs), its offset, and a name where these are shared."""

    instant: int
    offset: int
    name: str = ""


class Found(NamedTuple):
    """A page: its body, and the row after which the next one begins (None: this is the last).

    `held` are the categories that the whole list shows as held, where it is one of what is held.
    """

    body: dict[str, Any]
    following: Place | None
    held: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Question:
    """What a page was asked for. `filters` holds checked texts, `since` and `until` instants in µs."""

    path: str
    filters: Mapping[str, str] = field(default_factory=dict)
    since: int | None = None
    until: int | None = None
    limit: int = DEFAULT_LIMIT
    after: Place | None = None
    given: Sequence[tuple[str, str]] = ()

    @classmethod
    def parse(
        cls, path: str, query: Sequence[tuple[str, str]], filters: Sequence[str], kinds: Sequence[str] = LOG_KINDS
    ) -> "Question":
        """Reads the query; raises `Malformed` naming each parameter that is no good."""
        values = only(query, (*filters, "limit", "cursor"))
        checked = [(name, _wrong(name, values[name], kinds)) for name in filters if name in values]
        found = [Problem(name, code) for name, code in checked if code is not None]
        limit = values.get("limit", str(DEFAULT_LIMIT))
        if not _LIMIT.fullmatch(limit) or int(limit) > MAX_LIMIT:
            found.append(Problem("limit", "limit"))
        after = None
        if "cursor" in values:
            after = _read_cursor(values["cursor"], _fits(path, values))
            if after is None:
                found.append(Problem("cursor", "cursor"))
        if found:
            raise Malformed(found, "the query is not one that is understood")
        since, until = (instant(values[name]) if name in values else None for name in ("from", "to"))
        texts = {name: values[name] for name in filters if name in values and name not in ("from", "to")}
        return cls(path, texts, since, until, int(limit), after, tuple(query))

    @property
    def filtered(self) -> bool:
        """Whether anything is asked for but the next rows."""
        return bool(self.filters) or self.since is not None or self.until is not None

    def next_link(self, last: Place) -> str:
        """The `Link` to the page after this row."""
        kept = [(name, value) for name, value in self.given if name != "cursor"]
        cursor = _cursor(last, _fits(self.path, dict(kept)))
        return f'<{self.path}?{urlencode([*kept, ("cursor", cursor)])}>; rel="next"'


def only(query: Sequence[tuple[str, str]], allowed: Sequence[str]) -> dict[str, str]:
    """The query as a mapping; raises `Malformed` for a parameter that is unknown or repeated."""
    found: list[Problem] = []
    values: dict[str, str] = {}
    for name, value in query:
        if name not in allowed:
            # The name is what somebody sent, so it is not repeated; the allowed ones are ours.
            found.append(Problem("", "unknown-parameter"))
        elif name in values:
            found.append(Problem(name, "repeated-parameter"))
        values[name] = value
    if found:
        raise Malformed(found, f"the query may hold {', '.join(allowed)}, each once")
    return values


def _wrong(name: str, value: str, kinds: Sequence[str]) -> str | None:
    if name in ("from", "to"):
        try:
            msgspec.convert(value, Time)
            instant(value)
        except (msgspec.ValidationError, ValueError, OverflowError):
            return "time"
        return None
    if name == "outcome":
        return None if value in (CONSISTENT, INCONSISTENT, UNDETERMINED) else "unknown-value"
    if name == "kind":
        return None if value in kinds else "unknown-value"
    try:
        msgspec.convert(value, Source if name == "service" else Identifier)
    except msgspec.ValidationError:
        return "pattern"
    return None


_SAID = {
    "from": "events at this time or later, RFC 3339",
    "to": "events before this time, RFC 3339",
    "service": "of this source",
    "purpose": "that name this purpose",
    "outcome": "with this verdict now",
    "kind": "of this kind",
    "period": "day or month, else month: what by_period counts by, in UTC",
    "limit": f"rows of a page: 1 to {MAX_LIMIT}, else {DEFAULT_LIMIT}",
    "cursor": "where the page before ended, as its Link says",
    "known_at": "the verdict as it was known at this position, P-O",
    "source": "the record's source",
    "id": "the record's id",
    LEDGER_POSITION: "wait, 2 s at most, until the views have reached this position, P-O",
}


def described(*names: str, required: bool = False) -> dict[str, Any]:
    """What OpenAPI says of query parameters, and of the header that every reading door takes."""
    text = {"type": "string"}
    found = [
        {"name": name, "in": "query", "required": required, "description": _SAID[name], "schema": text}
        for name in names
    ]
    header = {"name": LEDGER_POSITION, "in": "header", "required": False, "description": _SAID[LEDGER_POSITION]}
    return {"parameters": [*found, {**header, "schema": text}]}


def microseconds(moment: datetime) -> int:
    """A moment as whole microseconds since 1970 UTC."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def written(moment: datetime) -> str:
    """A moment of the views as the ledger writes times."""
    return rfc3339(microseconds(moment))


def _fits(path: str, values: Mapping[str, str]) -> bytes:
    """What a cursor is bound to: the resource and its filters, but not the size of the page."""
    filters = sorted((name, value) for name, value in values.items() if name not in ("cursor", "limit"))
    return sha256(repr((path, filters)).encode()).digest()[:_FITS_BYTES]


def _cursor(place: Place, fits: bytes) -> str:
    raw = _HEAD.pack(place.instant, place.offset, fits) + place.name.encode()
    return urlsafe_b64encode(raw).decode("ascii").rstrip("=")


def _read_cursor(text: str, fits: bytes) -> Place | None:
    try:
        raw = urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
        at, offset, bound = _HEAD.unpack(raw[: _HEAD.size])
        place = Place(at, offset, raw[_HEAD.size :].decode("utf-8"))
    except (Base64Error, ValueError, struct.error):
        return None
    exact = _cursor(place, bound) == text and 0 <= at < _YEAR_10000 and offset >= 0 and "\0" not in place.name
    return place if exact and bound == fits and len(raw) <= _HEAD.size + _MAX_NAME_BYTES else None

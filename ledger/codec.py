"""Bytes to events and back: versions, upcasters, and the checks that a shape alone cannot make.

Two roads in. `parse` is the door's: what somebody sends, closed and complete, nothing the ledger sets
itself. `read` is the log's: what was recorded once, older versions brought up to today's by upcasters.

>>> event = read(b'{"type":"org.consent-ledger.consent.withdrawn.v1","specversion":"1.0","id":"e6",'
...              b'"source":"/my","subject":"res_7f2c","time":"2026-03-04T12:00:00Z",'
...              b'"datacontenttype":"application/json","data":{"consent_id":"c1"}}')
>>> event.kind, event.data.consent_id, instant(event.time)
('consent.withdrawn', 'c1', 1772625600000000)
>>> parse(b'{"type": "org.consent-ledger.consent.withdrawn.v1"}')
Traceback (most recent call last):
ledger.errors.Malformed: the event breaks the contract: /specversion missing

`encode` is the only spelling of a record: the struct's fields in their order, no spaces, UTF-8 unescaped.
Bytes once in the log are never encoded again. No error carries what was sent.
"""

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Union

import msgspec
import orjson
from msgspec import UNSET

from ledger import policy as policy_module
from ledger.errors import ConsentLedgerError, Malformed, Problem, TooLarge, Unparsable
from ledger.events import (
    EVENTS,
    MAX_EVENT_BYTES,
    ConsentGiven,
    ConsentWithdrawn,
    Data,
    DataCollected,
    DataShared,
    DataUsed,
    DisclosureWithheld,
    Event,
    NoticeGiven,
    PolicyPublished,
    PreferenceSet,
    Sealed,
)

Upcaster = Callable[[dict[str, Any]], dict[str, Any]]
MAX_BATCH_EVENTS = 1_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAIVE_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - what is taken from it has no zone either
_DECODER: "msgspec.json.Decoder[Event]" = msgspec.json.Decoder(Union[tuple(EVENTS.values())])  # noqa: UP007
_ENCODE = msgspec.json.Encoder().encode
_BATCH = msgspec.json.Decoder(list[msgspec.Raw])
_REQUIRED_ON_THE_WIRE = ("specversion", "id", "source", "type", "time", "datacontenttype", "data")
_SET_BY_THE_LEDGER = ("recordedtime", "recordedby")


@lru_cache(maxsize=65_536)
def instant(time: str) -> int:
    """An RFC 3339 time as whole microseconds since 1970 UTC; raises ValueError when there is no such day."""
    if time[-1] == "Z":  # as nearly always; without a zone it takes half as long
        delta = datetime.fromisoformat(time[:-1]) - _NAIVE_EPOCH
    else:
        delta = datetime.fromisoformat(time) - _EPOCH
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


def rfc3339(microseconds: int) -> str:
    """An instant as the ledger writes it: UTC, microseconds, `Z`."""
    seconds, fraction = divmod(microseconds, 1_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{fraction:06d}Z"


def encode(event: Event) -> bytes:
    """The record's bytes: one spelling for one event.

    msgspec writes what orjson would (test: every character, every kind), a quarter as dear: nothing is copied first.
    """
    return _ENCODE(event)


def read(raw: bytes, upcasters: Mapping[str, Upcaster] | None = None) -> Event:
    """Reads a recorded event, or one of an offline history; raises `Unparsable` or `Malformed`."""
    try:
        event = _DECODER.decode(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        upgraded = _upcast(raw, upcasters or UPCASTERS)
        if upgraded is None:
            raise _refusal(error) from None
        event = upgraded
    found = problems(event)
    if found:
        raise Malformed(found)
    return event


def read_strict(raw: bytes) -> Event:
    """As `read`, for bytes that no door has checked: member names that repeat are refused too."""
    strict_members(raw)
    return read(raw)


def parse(raw: bytes) -> Event:
    """Reads one event that somebody sends; raises `TooLarge`, `Unparsable` or `Malformed`."""
    if len(raw) > MAX_EVENT_BYTES:
        raise TooLarge(f"an event is at most {MAX_EVENT_BYTES} bytes: send less text, or more events")
    known = _plain(raw)
    if known is not None:
        return known
    members = strict_members(raw)
    for name in _REQUIRED_ON_THE_WIRE:
        if name not in members:
            raise Malformed([Problem(f"/{name}", "missing")])
    found = [Problem(f"/{name}", "set-by-the-ledger") for name in _SET_BY_THE_LEDGER if name in members]
    if found:
        raise Malformed(found)
    event = read(raw, {})
    for name in _sealed(event):
        raise Malformed([Problem(f"/data/{name}", "type")])
    return event


def _plain(raw: bytes) -> Event | None:
    """The event when it is plain at a glance that nothing is wrong with it; None: to be looked at closely.

    INVARIANT: whatever is accepted here `parse` would accept without it, as the same event. What the decoder does not
    see is a name that repeats and a member left out that has a default. Where nothing is escaped, a string is two
    quotes; a repeated name adds quotes that the event, written again, lacks, and only the two members with a default
    could make up for it, whose names (a colon behind them) must be there.
    """
    if b"\\" in raw or _VERSION(raw) is None or _CONTENT_TYPE(raw) is None:
        return None
    try:
        event = _DECODER.decode(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None
    if raw.count(b'"') != _ENCODE(event).count(b'"'):
        return None
    if event.recordedtime is not UNSET or event.recordedby is not UNSET or _sealed(event) or problems(event):
        return None
    return event


_VERSION = re.compile(rb'"specversion"[ \t\r\n]*:').search
_CONTENT_TYPE = re.compile(rb'"datacontenttype"[ \t\r\n]*:').search


def _sealed(event: Event) -> list[str]:
    """The fields that somebody has sealed already: only the ledger does."""
    return [name for name in event.data.sealed_fields if isinstance(getattr(event.data, name), Sealed)]


def parse_batch(raw: bytes) -> list[Event | ConsentLedgerError]:
    """Reads a JSON array of events: each one, or why it is refused; raises when the array itself is no good."""
    try:
        items = _BATCH.decode(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        strict_members(raw, expect=list)
        raise _refusal(error) from None
    if not 1 <= len(items) <= MAX_BATCH_EVENTS:
        raise Malformed([Problem("", "batch-length")], f"a batch holds 1 to {MAX_BATCH_EVENTS} events")
    results: list[Event | ConsentLedgerError] = []
    for item in items:
        try:
            results.append(parse(bytes(item)))
        except ConsentLedgerError as error:
            results.append(error)
    return results


def same_content(one: Event, other: Event) -> bool:
    """Whether two sealed events say the same, but for what the ledger adds."""
    return _unstamped(one) == _unstamped(other)


def _unstamped(event: Event) -> Event:
    return msgspec.structs.replace(event, recordedtime=UNSET, recordedby=UNSET)


# --- what a shape alone cannot say ------------------------------------------------------------------------------


def problems(event: Event) -> list[Problem]:
    """What breaks events.md in an event whose shape is right."""
    if _fine(event):
        return []
    data = event.data
    found = _time_problems(event.time, "/time")
    if event.recordedtime is not UNSET:
        found += _time_problems(event.recordedtime, "/recordedtime")
    found += common_problems(data, "/data")
    if found:
        return found
    if isinstance(data, DataUsed):
        if data.operation == "notify" and data.channel is UNSET:
            found.append(Problem("/data/channel", "missing"))
    elif isinstance(data, DataCollected):
        if data.provider is not UNSET and data.origin != "social-login":
            found.append(Problem("/data/provider", "only-with-social-login"))
        if data.from_ is not UNSET and data.origin != "third-party":
            found.append(Problem("/data/from", "only-with-third-party"))
    elif isinstance(data, DisclosureWithheld):
        if instant(data.until) > _one_year_on(event.time):
            found.append(Problem("/data/until", "more-than-one-year"))
    elif isinstance(data, PolicyPublished):
        found += [Problem("/data" + p.pointer, p.code) for p in policy_module.problems(data)]
    return found


def _fine(event: Event) -> bool:
    """Whether nothing can be wrong with it, told quickly: False where `problems` has to look closer."""
    data = event.data
    shape = _QUICK.get(type(data))
    if shape is None:
        return False
    times, lists = shape
    try:
        if instant(event.time) < 0 or (event.recordedtime is not UNSET and instant(event.recordedtime) < 0):
            return False
        for name in times:
            time = getattr(data, name)
            if time is not UNSET and instant(time) < 0:
                return False
    except (ValueError, OverflowError):
        return False
    for name in lists:
        items = getattr(data, name)
        if items is not UNSET and len(items) > 1 and len(set(items)) != len(items):
            return False
    if type(data) is DataUsed:
        return data.operation != "notify" or data.channel is not UNSET
    return type(data) is not DataCollected or (data.provider is UNSET and data.from_ is UNSET)


def _one_year_on(time: str) -> int:
    moment = datetime.fromisoformat(time)
    try:
        return instant(moment.replace(year=moment.year + 1).isoformat())
    except ValueError:  # 29 February, or the last year that there is
        return instant(time) + 366 * 86_400 * 1_000_000


_TIME_FIELDS = ("valid_from", "valid_until", "expires_at", "until", "contained_at", "effective_from")
_SHAPES: dict[type, tuple[tuple[str, ...], tuple[str, ...]]] = {}


def common_problems(data: Data, pointer: str) -> list[Problem]:
    """Times that no calendar has, and arrays whose items repeat, anywhere in a kind's `data`."""
    shape = _SHAPES.get(type(data))
    if shape is None:
        fields = type(data).__struct_fields__
        times = tuple(f for f in fields if f in _TIME_FIELDS)
        shape = _SHAPES[type(data)] = (times, tuple(f for f in fields if f not in times))
    found: list[Problem] = []
    for name in shape[0]:
        value = getattr(data, name)
        if value is not UNSET:
            found += _time_problems(value, f"{pointer}/{name}")
    for name in shape[1]:
        value = getattr(data, name)
        if type(value) is tuple and value:
            found += _repeat_problems(value, f"{pointer}/{name.rstrip('_')}")
        elif isinstance(value, Data):
            found += common_problems(value, f"{pointer}/{name}")
    return found


_QUICK: dict[type, tuple[tuple[str, ...], tuple[str, ...]]] = {
    NoticeGiven: ((), ("purposes", "categories")),
    DataCollected: ((), ("categories", "purposes")),
    DataUsed: ((), ("categories",)),
    DataShared: ((), ("categories",)),
    ConsentGiven: (("expires_at",), ("purposes", "categories", "operations", "recipients")),
    ConsentWithdrawn: ((), ()),
    PreferenceSet: ((), ()),
}
"""The kinds there are most of: their times, and their arrays of identifiers."""


def _repeat_problems(items: tuple[Any, ...], pointer: str) -> list[Problem]:
    found = []
    if isinstance(items[0], str):
        if len(set(items)) != len(items):
            found.append(Problem(pointer, "repeated-item"))
        return found
    for i, item in enumerate(items):
        if isinstance(item, Data):
            found += common_problems(item, f"{pointer}/{i}")
            if item in items[:i]:
                found.append(Problem(f"{pointer}/{i}", "repeated-item"))
    return found


def _time_problems(time: str, pointer: str) -> list[Problem]:
    try:
        return [] if instant(time) >= 0 else [Problem(pointer, "before-1970")]
    except (ValueError, OverflowError):
        return [Problem(pointer, "no-such-time")]


# --- from a library's errors to ours ----------------------------------------------------------------------------

_PATH = re.compile(r" - at `\$(.*)`\Z", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `([a-z_]+)`")
_CODES = (
    ("Object contains unknown field", "unknown-field"),
    ("Invalid enum value", "unknown-value"),
    ("Expected `str` of length", "text-length"),
    ("Expected `array` of length", "array-length"),
    ("Expected `object` of length", "object-length"),
    ("Expected `str` matching regex", "pattern"),
    ("Expected `", "type"),
)


def problem_of(error: Exception) -> Problem:
    """Where and what, out of msgspec's message; never the value that somebody sent."""
    message = str(error)
    path = _PATH.search(message)
    steps = re.findall(r"\.([a-z_]+)|\[([0-9]+)\]", path[1]) if path else []
    pointer = "".join(f"/{name or index}" for name, index in steps)
    missing = _MISSING.match(message)
    if missing:
        return Problem(f"{pointer}/{missing[1]}", "missing")
    if message.startswith("Invalid value"):
        return Problem(pointer, "unknown-type" if pointer == "/type" else "unknown-value")
    code = next((code for start, code in _CODES if message.startswith(start)), "malformed")
    return Problem(pointer, code)


def _refusal(error: Exception) -> ConsentLedgerError:
    if isinstance(error, msgspec.ValidationError):
        return Malformed([problem_of(error)])
    if isinstance(error, UnicodeDecodeError):
        return Unparsable("utf-8")
    return Unparsable("nesting" if isinstance(error, RecursionError) else "json")


def strict_members(raw: bytes, expect: type = dict) -> dict[str, Any]:
    """The members of the JSON object: refuses what JSON readers disagree about (names that repeat, NaN, BOM)."""
    repeated = False

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal repeated
        found = dict(pairs)
        repeated = repeated or len(found) != len(pairs)
        return found

    try:
        value = json.loads(raw.decode("utf-8"), object_pairs_hook=members, parse_constant=_no_constant)
    except UnicodeDecodeError:
        raise Unparsable("utf-8") from None
    except RecursionError:
        raise Unparsable("nesting") from None
    except ValueError:
        raise Unparsable("json") from None
    if not isinstance(value, expect):
        raise Malformed([Problem("", "type")])
    if repeated:
        raise Malformed([Problem("", "repeated-member")])
    return value if isinstance(value, dict) else {}


def _no_constant(name: str) -> Any:
    raise ValueError("JSON has no such number")


# --- versions ---------------------------------------------------------------------------------------------------

UPCASTERS: dict[str, Upcaster] = {}
"""Old `type` to a function from the old event's JSON object to the next version's. None is needed yet."""


def _upcast(raw: bytes, upcasters: Mapping[str, Upcaster]) -> Event | None:
    """The event in today's version when its `type` is an old one; chains of versions are followed."""
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(value, dict) or not isinstance(value.get("type"), str) or value["type"] not in upcasters:
        return None
    for _ in range(len(upcasters)):
        step = upcasters.get(value["type"])
        if step is None:
            break
        value = step(value)
    try:
        return _DECODER.decode(orjson.dumps(value))
    except msgspec.DecodeError as error:
        raise _refusal(error) from None

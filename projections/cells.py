"""How values are written into PostgreSQL's columns: times, lists of identifiers, free text in a line of COPY.

>>> timestamp("2026-03-03T12:00:00Z"), timestamp("2026-03-03T12:00:00+23:59")
('2026-03-03T12:00:00Z', '2026-03-02T12:01:00.000000Z')
>>> text_array(("4.2", "null"))
'{"4.2","null"}'
>>> escaped("a" + chr(9) + "b") == "a" + chr(92) + "tb"
True
"""

from functools import lru_cache
from typing import Any

from msgspec import UNSET

from ledger.codec import instant, rfc3339

LAST_INSTANT = 253_402_300_799_999_999
"""9999-12-31T23:59:59.999999Z in microseconds: the last moment that PostgreSQL's clients can read back."""


def timestamp(time: str) -> str:
    """An event's time for a timestamptz column; PostgreSQL does not read every offset that RFC 3339 allows."""
    return time if time[-1] == "Z" else moment(instant(time))


def moment(microseconds: int) -> str:
    """An instant for a timestamptz column; moments after the year 9999 become its end."""
    return rfc3339(min(microseconds, LAST_INSTANT))


def optional_timestamp(time: Any) -> str | None:
    """The same for a time that may be unset."""
    return None if time is UNSET else timestamp(time)


def optional(value: Any) -> Any:
    """None for what is unset."""
    return None if value is UNSET else value


@lru_cache(maxsize=65_536)
def text_array(identifiers: tuple[str, ...]) -> str:
    """Identifiers as a text[] literal; their alphabet has neither quotes nor backslashes."""
    return '{"' + '","'.join(identifiers) + '"}' if identifiers else "{}"


NULL = "\\N"
"""What stands for null in a line of COPY; no text can be mistaken for it, for `escaped` doubles its backslash."""


def escaped(text: str) -> str:
    """Free text as a field of COPY's text format; whatever has none of these characters may be written as it is."""
    if "\\" in text:
        text = text.replace("\\", "\\\\")
    if "\n" in text:
        text = text.replace("\n", "\\n")
    if "\r" in text:
        text = text.replace("\r", "\\r")
    if "\t" in text:
        text = text.replace("\t", "\\t")
    return text

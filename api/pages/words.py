"""The words of the pages in three languages: texts, plurals, dates, numbers and lists.

>>> es = Words("es")
>>> es.text("The City had decided to disclose.")
'La Ciudad había decidido divulgar.'
>>> es.day(date(2026, 6, 3)), Words("en").day(date(2026, 6, 3))
('3 de junio de 2026', 'June 3, 2026')
>>> es.text("A text that nobody has translated"), es.knows("A text that nobody has translated")
('A text that nobody has translated', False)

English is what is written in code and templates; the others are gettext catalogues, `locale/<language>/*.po`, one file
for each part of the site. An entry marked `fuzzy` was made by machine and waits for a human reader: it is shown, and
`unreviewed` says so to the page. A text that comes from data (a policy that the City published yesterday) may be in no
catalogue: it is shown in English, and `knows` tells the page to mark it as English.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from functools import lru_cache
from importlib import resources
from io import BytesIO
from zoneinfo import ZoneInfo

from babel import Locale, dates, lists, numbers
from babel.core import negotiate_locale
from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.support import Translations

LANGUAGES: Mapping[str, str] = {"en": "English", "es": "Español", "vi": "Tiếng Việt"}
"""The languages, by their codes (BCP 47), each by its own name."""
SOURCE = "en"
CITY = ZoneInfo("America/Los_Angeles")
"""The city's clock: days and times on pages are its own."""


class Words:
    """One language's words. Made once a process: `words(language)`."""

    def __init__(self, language: str) -> None:
        assert language in LANGUAGES, "asked for by `chosen`"
        self.language = language
        self.locale = Locale.parse(language)
        self._catalogs = () if language == SOURCE else tuple(catalogs(language).values())
        self._known = frozenset(_first(m.id) for c in self._catalogs for m in c if m.id and m.string)
        self.unreviewed = any(message.fuzzy for c in self._catalogs for message in c if message.id)
        self.translations = Translations()
        for catalog in self._catalogs:
            compiled = BytesIO()
            write_mo(compiled, catalog, use_fuzzy=True)
            compiled.seek(0)
            self.translations.merge(Translations(compiled))

    def text(self, message: str, **values: object) -> str:
        """A text in this language; `values` fill its `%(name)s`."""
        found: str = self.translations.gettext(message)
        return found % values if values else found

    def plural(self, one: str, many: str, count: int, **values: object) -> str:
        """A text that depends on a number; `%(count)s` in it is that number as it is written here."""
        found: str = self.translations.ngettext(one, many, count)
        return found % {"count": self.number(count), **values}

    def knows(self, message: str) -> bool:
        """Whether this is how the text stands in this language."""
        return self.language == SOURCE or message in self._known

    def number(self, value: float) -> str:
        """A number with this language's separators."""
        return numbers.format_decimal(value, locale=self.locale)

    def percent(self, share: float) -> str:
        """A share of one as a percentage."""
        return numbers.format_percent(share, locale=self.locale)

    def day(self, when: date | datetime) -> str:
        """A day, by the city's clock."""
        local = when.astimezone(CITY).date() if isinstance(when, datetime) else when
        return dates.format_date(local, format="long", locale=self.locale)

    def time(self, when: datetime) -> str:
        """A time of day, by the city's clock."""
        return dates.format_time(when, format="short", tzinfo=CITY, locale=self.locale)

    def moment(self, when: datetime) -> str:
        """Day and time, by the city's clock."""
        return f"{self.day(when)}, {self.time(when)}"

    def list(self, items: Iterable[str]) -> str:
        """Several things in a row: `a, b, and c`."""
        return lists.format_list(list(items), locale=self.locale)


@lru_cache(maxsize=len(LANGUAGES))
def words(language: str) -> Words:
    """The words of a language."""
    return Words(language)


def catalogs(language: str) -> dict[str, Catalog]:
    """A language's catalogues by the names of their files, in that order."""
    folder = resources.files("api.pages").joinpath("locale", language)
    found = sorted((f.name.removesuffix(".po"), f.read_bytes()) for f in folder.iterdir() if f.name.endswith(".po"))
    return {name: read_po(BytesIO(text), locale=language, charset="utf-8") for name, text in found}


def chosen(asked: str | None, remembered: str | None, accepted: str | None) -> str:
    """The language of a page: what is asked for, else what was chosen before, else what the browser accepts.

    >>> chosen(None, "vi", "es-MX,es;q=0.9"), chosen(None, None, "fr, es-MX;q=0.9, en;q=0.8"), chosen("xx", None, None)
    ('vi', 'es', 'en')
    """
    for named in (asked, remembered):
        if named in LANGUAGES:
            return str(named)
    found = negotiate_locale(_accepted(accepted or ""), list(LANGUAGES), sep="-")
    return found or SOURCE


def _accepted(header: str) -> list[str]:
    """The languages of an Accept-Language header (RFC 9110 § 12.5.4), the most wanted first; at most twenty."""
    weighed = []
    for part in header.split(",")[:20]:
        name, _, weight = part.strip().partition(";q=")
        try:
            weighed.append((-float(weight or 1), name))
        except ValueError:
            continue
    return [name for _, name in sorted(weighed, key=lambda pair: pair[0])]


def _first(message: str | Sequence[str]) -> str:
    return message if isinstance(message, str) else message[0]

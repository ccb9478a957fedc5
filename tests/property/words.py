"""The small alphabets of generated histories, and how to draw from them; times that collide.

>>> from tests.property.dice import Dice
>>> set(purposes(Dice(1))) <= {*PURPOSES, UNKNOWN_PURPOSE}
True
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from msgspec import UNSET

from tests.property.dice import Dice

PURPOSES = ("run", "run/report", "run/report/photo", "talk", "talk/push", "trends")
ROOTS = ("run", "talk", "trends")
CATEGORIES = ("email", "contact", "phone", "place", "usage")
OPERATIONS = ("consult", "analyse", "profile", "share", "disclose", "notify")
NATURAL_PARENT = {
    "run/report": "run",
    "run/report/photo": "run/report",
    "talk/push": "talk",
    "email": "contact",
    "phone": "contact",
    "profile": "analyse",
    "share": "disclose",
}
STATEMENTS = ("1", "2", "3", "4.8", "5", "6", "8", "social")
KINDS_OF_RECIPIENT = ("service-provider", "agency", "public", "social-provider", "other")
RECIPIENTS = ("paver", "mailer", "google")
RECIPIENT_LISTS: tuple[Any, ...] = (("paver",), ("paver", "mailer"), RECIPIENTS, ("paver",), UNSET)
PROVIDERS = ("google", "facebook")
CHANNELS = ("push", "mail")
LEGAL_BASES = ("records-act", "court")
UNKNOWN_PURPOSE, UNKNOWN_CATEGORY = "sell", "shoe-size"
TICK = timedelta(hours=6)
TICKS = 40
BASE = datetime(2026, 3, 1, 12, tzinfo=UTC)
Told = tuple[tuple[str, ...], tuple[str, ...]]
"""The (purposes, categories) of an earlier fact, for a later one to speak of."""


def spelled(dice: Dice, moment: datetime) -> str:
    """One of the spellings of this instant."""
    hours = (0, 0, 0, -8, 5.5)[dice.below(5)]
    text = moment.astimezone(timezone(timedelta(hours=hours))).isoformat()
    if "." not in text and dice.chance(10):
        text = text[:19] + (".0" if dice.chance(50) else ".000000") + text[19:]
    return text.replace("+00:00", "Z") if dice.chance(80) else text


def moment_of(dice: Dice, tick: int) -> datetime:
    """The instant of this tick, now and then a microsecond beside it."""
    beside = dice.pick((0, 1, -1)) if dice.chance(6) else 0
    return BASE + tick * TICK + timedelta(microseconds=beside)


def any_time(dice: Dice, around: int, spread: int = 14) -> str:
    """A time near this tick."""
    return spelled(dice, moment_of(dice, around + dice.below(2 * spread + 1) - spread))


def broad(dice: Dice, known: Sequence[str], often: int = 55) -> tuple[str, ...]:
    """Half of the time a list that has nearly everything."""
    if dice.chance(often):
        return tuple(c for c in ("contact", "place", "usage") if c in known)
    return dice.some(known, 1, 2)


def purposes(dice: Dice, most: int = 2) -> tuple[str, ...]:
    """Purposes, now and then one that no policy knows."""
    return dice.some((*PURPOSES, UNKNOWN_PURPOSE) if dice.chance(8) else PURPOSES, 1, most)


def categories(dice: Dice, most: int = 3) -> tuple[str, ...]:
    """Categories, now and then one that no policy knows."""
    return dice.some((*CATEGORIES, UNKNOWN_CATEGORY) if dice.chance(12) else CATEGORIES, 1, most)


def words(dice: Dice, echoes: Sequence[Told], most: int) -> Told:
    """Purposes and categories: often those of an earlier fact, or some of them."""
    if echoes and dice.chance(65):
        said = dice.pick(echoes)
        return dice.some(said[0], 1, most), dice.some(said[1], 1, 2) if dice.chance(70) else categories(dice, 2)
    return purposes(dice, most), categories(dice)

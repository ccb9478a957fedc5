"""Random histories of one partition: small alphabets, so that everything collides with everything.

A history is what a log may hold, not what a tidy city would send: late events, equal instants in different
spellings, repeats with the same and with other content, renewals, withdrawals before grants, policies that
change and arrive late, agreements that end before they begin, unknown words everywhere.

>>> history = random_history(Dice(1))
>>> [position for position, _ in history] == sorted({position for position, _ in history})
True
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from hypothesis import strategies as st
from msgspec import UNSET

from ledger import events as e
from tests.property.dice import Dice
from tests.property.reference_facts import policy, reference_fact
from tests.property.resident_facts import EARLY, WEIGHTED, resident_fact
from tests.property.words import BASE, CATEGORIES, TICK, TICKS, Told, moment_of, spelled

History = list[tuple[int, e.Event]]
"""Positions, ascending with gaps, and their events: one partition's log."""

SEEDS = st.integers(0, 2**64 - 1)
FATES = st.binary(min_size=256, max_size=256)
"""A byte for each event; when it is below 4, the event falls out."""
SUBJECTS = (("r1",),) * 9 + (("r1", "r2", "r3"),)


class Happening(NamedTuple):
    """An event before it has a place in the log: `tick` is when it happened, `late` by how much it comes late."""

    tick: int
    late: int
    event: e.Event


def happening(dice: Dice, number: int, subject: str | None, tick: int, kind: str, data: e.Data) -> Happening:
    """Dresses a fact: times, lateness, what the ledger recorded."""
    moment = moment_of(dice, tick)
    late = 1 + dice.below(30) if dice.chance(26) else 0
    recorded: Any = UNSET
    if dice.chance(85):
        since = moment if kind != "agreement.signed" else datetime.fromisoformat(data.valid_from)  # type: ignore[attr-defined]
        exactly = since + timedelta(hours=24)
        choices = (moment + late * TICK, exactly, exactly + timedelta(microseconds=1), since + timedelta(hours=48))
        recorded = choices[dice.below(4) if late and dice.chance(60) else 0]
    event = e.KINDS[kind](
        id=f"e{number}",
        source=dice.pick(("/s/permits", "/s/parks")),
        subject=UNSET if subject is None else subject,
        time=spelled(dice, moment),
        recordedtime=UNSET if recorded is UNSET else spelled(dice, recorded),
        recordedby=UNSET if recorded is UNSET else "permits",
        data=data,
    )
    return Happening(tick, late, event)


def likely_tick(dice: Dice, kind: str) -> int:
    """When: grants rather early, uses rather late, everything possible."""
    ticks = (dice.below(TICKS), dice.below(TICKS))
    if kind in ("data.used", "data.shared"):
        return max(ticks)
    return min(ticks) if kind in EARLY else min(*ticks, dice.below(TICKS)) if kind == "reference" else ticks[0]


def ticks_within(data: e.Data) -> list[int]:
    """The ticks at which what this fact says begins or ends: just then is the moment to use something."""
    times = [getattr(data, name, UNSET) for name in ("valid_from", "valid_until", "expires_at", "effective_from")]
    since = [datetime.fromisoformat(time) - BASE for time in times if time is not UNSET]
    return [tick for tick in (round(delta / TICK) for delta in since) if 0 <= tick < TICKS]


def random_history(dice: Dice, subjects: Sequence[str] = ("r1",), most: int = 44) -> History:
    """One partition's log: its reference facts, and about two dozen facts of each of these residents."""
    made: list[Happening] = []
    notable: list[int] = []

    def add(subject: str | None, tick: int, kind: str, data: e.Data) -> None:
        made.append(happening(dice, len(made), subject, tick, kind, data))
        notable.extend(ticks_within(data))

    if not dice.chance(2):
        made.append(happening(dice, 0, None, -2, "policy.published", policy(dice, 0))._replace(late=0))
    while dice.chance(30):
        tick = dice.below(TICKS)
        add(None, tick, "policy.published", policy(dice, tick))
    while len(made) < 13 and dice.chance(90):
        tick = likely_tick(dice, "reference")
        kind, data = reference_fact(dice, tick)
        add(None, likely_tick(dice, "data.used") if kind == "agreement.ended" else tick, kind, data)
    for subject in subjects:
        start = len(made)
        echoes: list[Told] = []
        while len(made) - start < most and dice.chance(98):
            kind = dice.pick(WEIGHTED)
            tick = likely_tick(dice, kind)
            if notable and kind in e.JUDGED and dice.chance(25):
                tick = dice.pick(notable)
            kind, data = resident_fact(dice, tick, echoes, kind)
            add(subject, tick, kind, data)
            if isinstance(data, e.NoticeGiven | e.DataCollected | e.ConsentGiven):
                echoes.append((data.purposes, CATEGORIES if data.categories is UNSET else data.categories))
    made += repeats(dice, made)
    made.sort(key=lambda h: h.tick + h.late)
    position = 0
    history = []
    for one in made:
        position += 1 + (dice.below(3) if dice.chance(10) else 0)
        history.append((position, one.event))
    return history


def repeats(dice: Dice, made: Sequence[Happening]) -> list[Happening]:
    """The same (source, id, subject) again: the same content, or another event's; and the same id elsewhere."""
    again: list[Happening] = []
    while made and dice.chance(45):
        one, other = dice.pick(made), dice.pick(made)
        late = one.late + dice.below(12)
        if dice.chance(50):
            again.append(one._replace(late=late))
            continue
        both_about_somebody = one.event.subject is not UNSET and other.event.subject is not UNSET
        subject = one.event.subject if both_about_somebody and not dice.chance(25) else other.event.subject
        changed = type(other.event)(
            id=one.event.id,
            source=one.event.source,
            subject=subject,
            time=other.event.time,
            recordedtime=other.event.recordedtime,
            recordedby=other.event.recordedby,
            data=other.event.data,
        )
        again.append(Happening(other.tick, late, changed))
    return again


class Case(NamedTuple):
    """A history of one partition, how many residents it has, and indexes into it to look at the log from."""

    history: History
    residents: int
    looks: tuple[int, ...]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """One resident mostly, sometimes three, with the partition's reference facts.

    Hypothesis draws a seed, and which events fall out: so it shrinks a failing history by leaving events out. Both
    are one draw each; drawn piece by piece, Hypothesis varies the pieces of one history instead of making new ones.
    """
    dice = Dice(draw(SEEDS))
    subjects = dice.pick(SUBJECTS)
    history = random_history(dice, subjects)
    fates = draw(FATES)
    assert len(history) <= len(fates)
    history = [one for one, fate in zip(history, fates, strict=False) if fate >= 4]
    looks = tuple(dice.below(len(history)) for _ in range(3)) if history else ()
    return Case(history, len(subjects), looks)

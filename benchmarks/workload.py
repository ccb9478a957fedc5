"""The work that is measured: what a city's services send, the same for the same seed.

>>> events = list(city(residents=10, events=100, seed=1))
>>> len(events), events[0].kind
(100, 'policy.published')

In order of time, nothing late: notices and collections first for each resident, then about six uses in ten events,
one share in ten, consents, preferences. Times are spread over a year. `records` are the same as a topic holds them.
"""

import random
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from ledger import codec
from ledger import events as e
from ledger.policy import my_san_jose

START_US = codec.instant("2025-01-01T00:00:00Z")
YEAR_US = 365 * 86_400 * 1_000_000
CATEGORIES = ("email", "precise-location", "photo", "request-content")
PURPOSES = ("4.2", "4.2/pothole-report", "4.6", "4.7")
SOURCES = ("/services/permits", "/services/311", "/services/parks", "/services/library")
SHARE_TO = "acme-dispatch"


def city(residents: int, events: int, seed: int = 1, prefix: str = "e", who: str = "res") -> Iterator[e.Event]:
    """`events` events of `residents` residents, the policy and one agreement first; ids begin with the prefix."""
    dice = random.Random(seed)
    yield _event("policy.published", f"{prefix}-p", START_US - YEAR_US, None, my_san_jose())
    signed = e.AgreementSigned(
        agreement_id="a-1",
        recipient=SHARE_TO,
        purposes=("4.2",),
        categories=CATEGORIES,
        safeguards=("encryption",),
        valid_from=codec.rfc3339(START_US - YEAR_US),
    )
    yield _event("agreement.signed", f"{prefix}-a", START_US - YEAR_US, None, signed)
    seen: dict[int, int] = {}
    for i in range(events - 2):
        resident = dice.randrange(residents)
        step = seen.get(resident, 0)
        seen[resident] = step + 1
        kind, data = _next(dice, i, step, prefix)
        yield _event(kind, f"{prefix}-{i}", START_US + i * YEAR_US // events, f"{who}_{resident:06d}", data)


def records(residents: int, events: int, seed: int = 1) -> Iterator[tuple[str | None, bytes]]:
    """The same as records of a topic, by (subject, bytes)."""
    for event in stamped(city(residents, events, seed)):
        yield (event.subject if isinstance(event.subject, str) else None), codec.encode(event)


def stamped(events: Iterable[e.Event]) -> Iterator[e.Event]:
    """The same events as records: recorded when they happened."""
    for event in events:
        yield msgspec.structs.replace(event, recordedtime=event.time, recordedby="bench")


def _event(kind: str, event_id: str, at_us: int, subject: str | None, data: Any) -> e.Event:
    fields: dict[str, Any] = {} if subject is None else {"subject": subject}
    source = "/policy-office" if subject is None else SOURCES[hash_of(event_id) % len(SOURCES)]
    return e.KINDS[kind](id=event_id, source=source, time=codec.rfc3339(at_us), data=data, **fields)


def hash_of(text: str) -> int:
    """A small number out of a text, the same in every process."""
    return sum(text.encode())


def _next(dice: random.Random, i: int, step: int, prefix: str) -> tuple[str, Any]:
    if step == 0:
        notice = e.NoticeGiven(
            notice_id=f"{prefix}-n{i}",
            policy_version="2018-04-18",
            purposes=("4.2",),
            categories=CATEGORIES,
            channel="web",
            language="en",
        )
        return "notice.given", notice
    if step == 1:
        return "data.collected", e.DataCollected(categories=CATEGORIES, purposes=("4.2",), origin="resident")
    some = tuple(sorted(dice.sample(CATEGORIES, dice.randint(1, 2))))
    roll = dice.random()
    if roll < 0.62:
        used = e.DataUsed(categories=some, purpose=dice.choice(PURPOSES), operation="consult", basis=e.StatedPurpose())
        return "data.used", used
    if roll < 0.72:
        shared = e.DataShared(
            categories=some,
            purpose="4.2",
            recipient=SHARE_TO,
            recipient_kind="service-provider",
            basis=e.StatedPurpose(),
        )
        return "data.shared", shared
    if roll < 0.82:
        return "data.collected", e.DataCollected(categories=some, purposes=("4.2",), origin="resident")
    if roll < 0.90:
        return "consent.given", e.ConsentGiven(consent_id=f"{prefix}-c{i}", purposes=("4.7",), method="web-form")
    if roll < 0.95:
        return "preference.set", e.PreferenceSet(channel="mobile-notification", allowed=dice.random() < 0.5)
    return "data.reviewed", e.DataReviewed(categories=some)

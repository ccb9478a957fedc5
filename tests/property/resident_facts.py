"""Random facts about a resident; later ones often speak of what earlier ones named.

>>> from tests.property.dice import Dice
>>> resident_fact(Dice(1), 0, [], "consent.withdrawn")[0]
'consent.withdrawn'
"""

from collections.abc import Sequence
from typing import Any

from msgspec import UNSET

from ledger import events as e
from tests.property.dice import Dice
from tests.property.words import (
    CHANNELS,
    KINDS_OF_RECIPIENT,
    OPERATIONS,
    PROVIDERS,
    PURPOSES,
    RECIPIENT_LISTS,
    RECIPIENTS,
    UNKNOWN_PURPOSE,
    Told,
    any_time,
    categories,
    purposes,
    words,
)

WEIGHTS = (
    ("notice.given", 15),
    ("data.collected", 28),
    ("data.used", 27),
    ("data.shared", 41),
    ("consent.given", 15),
    ("consent.withdrawn", 4),
    ("preference.set", 8),
    ("anonymity.chosen", 3),
    ("anonymity.ended", 2),
    ("data.contested", 3),
    ("contest.resolved", 4),
    ("data.erased", 3),
    ("bystander", 2),
)
EARLY = ("notice.given", "data.collected", "consent.given", "preference.set", "anonymity.chosen")
WEIGHTED = tuple(kind for kind, weight in WEIGHTS for _ in range(weight))


def notice(dice: Dice) -> e.NoticeGiven:
    """A notice, mostly a broad one."""
    return e.NoticeGiven(
        notice_id="n1",
        policy_version=dice.pick(("v1", "v2")),
        purposes=purposes(dice, 3),
        categories=categories(dice, 3) if dice.chance(40) else ("contact", "place", "usage"),
        channel="mail",
        language="en",
    )


def collection(dice: Dice, echoes: Sequence[Told]) -> e.DataCollected:
    """A collection of any origin."""
    purposes, categories = words(dice, echoes, 2)
    origin: Any = dice.pick(
        (
            "resident",
            "social-login",
            "automatic",
            "third-party",
            "automatic",
            "automatic",
            "social-login",
            "social-login",
        )
    )
    provider: Any = (
        dice.pick(("google", "google", "google", *PROVIDERS, "myspace", UNSET)) if origin == "social-login" else UNSET
    )
    return e.DataCollected(
        categories=categories,
        purposes=purposes,
        origin=origin,
        provider=provider,
        from_="county" if origin == "third-party" and dice.chance(50) else UNSET,
        notice_id="n1" if dice.chance(20) else UNSET,
    )


def basis(dice: Dice) -> e.Basis:
    """The emitter's claim."""
    roll = dice.below(100)
    if roll < 40:
        return e.StatedPurpose()
    if roll < 52:
        return e.ByConsent(consent_id=dice.pick(("c1", "c2")))
    return e.ByLaw(
        legal_basis=dice.pick((*("records-act",) * 6, "court", "court", "king")),
        citation="" if dice.chance(7) else "§ 1",
        demand_id=dice.pick(("d1", "d1", "d1", "d2")) if dice.chance(92) else UNSET,
    )


def use(dice: Dice, echoes: Sequence[Told]) -> e.DataUsed:
    """A use, over a channel or not."""
    purposes, categories = words(dice, echoes, 1)
    operation = dice.pick((*OPERATIONS, "weigh"))
    channel = dice.pick(("push", *CHANNELS)) if operation == "notify" or dice.chance(35) else UNSET
    return e.DataUsed(
        categories=categories,
        purpose=purposes[0],
        operation=operation,
        basis=basis(dice),
        channel=channel,
    )


def share(dice: Dice, echoes: Sequence[Told]) -> e.DataShared:
    """A share with anybody."""
    purposes, categories = words(dice, echoes, 1)
    kind: Any = dice.pick((*KINDS_OF_RECIPIENT, "service-provider", "other", "service-provider", "agency", "other"))
    return e.DataShared(
        categories=categories,
        purpose=purposes[0],
        recipient=dice.pick(("paver", "paver", "paver", "paver", *RECIPIENTS, "facebook")),
        recipient_kind=kind,
        basis=basis(dice),
    )


def consent(dice: Dice, tick: int) -> e.ConsentGiven:
    """A consent of two names, so that renewals are common; it may name what no policy knows."""
    return e.ConsentGiven(
        consent_id=dice.pick(("c1", "c2")),
        purposes=dice.some((*PURPOSES, UNKNOWN_PURPOSE), 1, 3),
        categories=categories(dice, 4) if dice.chance(40) else UNSET,
        operations=dice.some(OPERATIONS, 1, 4) if dice.chance(30) else UNSET,
        recipients=dice.pick(RECIPIENT_LISTS),
        method="web",
        expires_at=any_time(dice, tick + 10, 12) if dice.chance(25) else UNSET,
    )


def bystander(dice: Dice) -> tuple[str, e.Data]:
    """A fact that no verdict rests on."""
    return dice.pick(
        (
            ("data.reviewed", e.DataReviewed(categories=("email",))),
            ("access.requested", e.AccessRequested(request_id="q1", kind="review")),
            ("complaint.filed", e.ComplaintFiled(complaint_id="k1", kind="comment", text="t")),
            ("log.viewed", e.LogViewed(role="auditor", scope="log")),
            ("erasure.requested", e.ErasureRequested(erasure_id="x1")),
            ("incident.reported", e.IncidentReported(incident_id="i2", kind="loss", categories=("email",))),
        )
    )


def resident_fact(dice: Dice, tick: int, echoes: Sequence[Told], kind: str) -> tuple[str, e.Data]:
    """Any fact about a resident."""
    contests = ("k1", "k1", "k2")
    if kind == "bystander":
        return bystander(dice)
    made: dict[str, Any] = {
        "notice.given": lambda: notice(dice),
        "data.collected": lambda: collection(dice, echoes),
        "data.used": lambda: use(dice, echoes),
        "data.shared": lambda: share(dice, echoes),
        "consent.given": lambda: consent(dice, tick),
        "consent.withdrawn": lambda: e.ConsentWithdrawn(consent_id=dice.pick(("c1", "c2"))),
        "preference.set": lambda: e.PreferenceSet(channel=dice.pick(("push", *CHANNELS)), allowed=not dice.chance(25)),
        "anonymity.chosen": e.AnonymityChosen,
        "anonymity.ended": e.AnonymityEnded,
        "data.contested": lambda: e.DataContested(
            contest_id=dice.pick(contests), categories=categories(dice), claim="c"
        ),
        "contest.resolved": lambda: e.ContestResolved(contest_id=dice.pick(contests), outcome="upheld"),
        "data.erased": lambda: e.DataErased(
            erasure_id="x1", categories=categories(dice, 2) if dice.chance(75) else UNSET
        ),
    }
    return kind, made[kind]()

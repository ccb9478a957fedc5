"""Random reference facts: policies, agreements, decisions on demands.

>>> from tests.property.dice import Dice
>>> from ledger.policy import problems
>>> problems(policy(Dice(1), 0))
[]
"""

from collections.abc import Sequence

from msgspec import UNSET

from ledger import events as e
from tests.property.dice import Dice
from tests.property.words import (
    CATEGORIES,
    CHANNELS,
    KINDS_OF_RECIPIENT,
    LEGAL_BASES,
    NATURAL_PARENT,
    OPERATIONS,
    PROVIDERS,
    PURPOSES,
    RECIPIENTS,
    ROOTS,
    STATEMENTS,
    any_time,
    broad,
    purposes,
)


def tree(dice: Dice, ids: Sequence[str], kept: int = 92) -> list[tuple[str, str | None]]:
    """(id, parent) of the ids that this policy knows; a parent always comes before its children."""
    known: list[tuple[str, str | None]] = []
    order = [i for i in ids if i not in NATURAL_PARENT] + [i for i in ids if i in NATURAL_PARENT]
    for one in order:
        if not dice.chance(kept):
            continue
        earlier = [name for name, _ in known]
        parent = NATURAL_PARENT.get(one)
        if earlier and dice.chance(8):
            parent = dice.pick([*earlier, None])
        known.append((one, parent if parent in earlier else None))
    return known


def policy(dice: Dice, around: int) -> e.PolicyPublished:
    """A policy over the alphabets; whole enough that most uses are judged on more than an unknown word."""
    purposes, categories = tree(dice, PURPOSES), tree(dice, CATEGORIES)
    operations = tree(dice, OPERATIONS)
    known_p = [p for p, _ in purposes] or ["run"]
    known_c = [c for c, _ in categories]
    if not purposes:
        purposes = [("run", None)]
    pairs = [(dice.pick(known_p), dice.pick(known_p)) for _ in range(dice.below(11))]
    return e.PolicyPublished(
        policy_id="small-city",
        version=dice.pick(("v1", "v2", "v3")),
        title="t",
        effective_from=any_time(dice, around, 4),
        statements=tuple(e.Statement(id=i, text=i) for i in STATEMENTS),
        purposes=tuple(
            e.Purpose(id=p, text=p, parent=parent, categories=necessary(dice, known_c)) for p, parent in purposes
        ),
        categories=tuple(
            e.Category(id=c, label=c, identifying=dice.chance(45), parent=parent) for c, parent in categories
        ),
        operations=tuple(e.Operation(id=o, label=o, parent=parent) for o, parent in operations),
        consistent=tuple(e.ConsistentPair(purpose=p, with_=q, because="b") for p, q in dict.fromkeys(pairs)),
        recipients=tuple(
            e.RecipientKind(kind=k, statement="6", requires_agreement=dice.chance(80))
            for k in KINDS_OF_RECIPIENT
            if dice.chance(75 if k == "service-provider" else 30)
        ),
        automatic=e.Automatic(categories=broad(dice, known_c) if dice.chance(62) else ()),
        social_login=e.SocialLogin(
            providers=dice.pick((PROVIDERS, PROVIDERS[:1], PROVIDERS, PROVIDERS[:1], ())),
            categories=broad(dice, known_c, 80),
            purposes=tuple(p for p in known_p if p in ROOTS) if dice.chance(80) else dice.some(known_p, 1, 3),
        ),
        channels={
            c: e.Channel(requires_preference=dice.chance(85), statement="4.8") for c in dice.some(CHANNELS, 1, 2)
        },
        legal_bases=tuple(
            e.LegalBasis(id=b, citation="law", requires_decision=dice.chance(85 if b == "records-act" else 25))
            for b in LEGAL_BASES
            if dice.chance(96)
        ),
    )


def necessary(dice: Dice, known: Sequence[str]) -> tuple[str, ...] | None:
    """A purpose's list: its parent's, nearly everything, or anything."""
    if dice.chance(30):
        return None
    return broad(dice, known) if dice.chance(60) else dice.some(known, 0, 4)


def agreement(dice: Dice, tick: int) -> e.AgreementSigned:
    """An agreement of few names, so that renewals under one id are common."""
    return e.AgreementSigned(
        agreement_id=dice.pick(("a1", "a1", "a2")),
        recipient=dice.pick(("paver", "paver", "paver", "paver", "mailer")),
        purposes=purposes(dice, 6) if dice.chance(50) else ROOTS,
        categories=dice.some(CATEGORIES, 1, 5) if dice.chance(30) else ("contact", "place", "usage"),
        safeguards=("encryption",),
        valid_from=any_time(dice, max(0, tick - 8), 8),
        valid_until=any_time(dice, tick + 14, 16) if dice.chance(45) else UNSET,
    )


def decision(dice: Dice) -> e.LegalDemandDecided:
    """A decision on one of two demands."""
    return e.LegalDemandDecided(
        demand_id=dice.pick(("d1", "d1", "d1", "d2")),
        legal_basis=LEGAL_BASES[dice.chance(10)],
        recipient=dice.pick(RECIPIENTS) if dice.chance(18) else UNSET,
        disclose=not dice.chance(38),
        exempt_categories=dice.some(CATEGORIES, 1, 2) if dice.chance(72) else (),
    )


def reference_fact(dice: Dice, tick: int) -> tuple[str, e.Data]:
    """Any reference fact."""
    kind = dice.pick(("agreement.signed",) * 8 + ("legal-demand.decided",) * 8 + ("agreement.ended",) * 3 + ("other",))
    if kind == "agreement.signed":
        return kind, agreement(dice, tick)
    if kind == "agreement.ended":
        return kind, e.AgreementEnded(agreement_id=dice.pick(("a1", "a1", "a2")), reason="r")
    if kind == "legal-demand.decided":
        return kind, decision(dice)
    if dice.chance(50):
        names = e.Names(en="n", es="n", vi="n")
        return "service.registered", e.ServiceRegistered(
            service="/s/permits", names=names, department="d", purposes=("run",)
        )
    return "incident.reported", e.IncidentReported(incident_id="i1", kind="loss", categories=("email",))

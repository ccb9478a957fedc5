"""What is held of a resident: each category of each collection, what they had been told of it, and what erased it.

`told` are the declared purposes q with told(q, c, t): a notice by the time of collection, holding c, with q within one
of its purposes (verdicts.md), under the policy in force at the collection. `erased` is the first erasure by time that
is not earlier than the collection and has the category. Late notices, erasures and policies change both, so the rows
that such a fact can touch are worked out again from the facts as they stand after the batch.
"""

from bisect import bisect_left
from typing import NamedTuple

from ledger.events import Automatic, PolicyPublished, SocialLogin
from ledger.facts import Facts
from ledger.policy import Policy
from ledger.rules import Rules
from ledger.stamps import Stamp

NO_POLICY = Policy(
    PolicyPublished(
        policy_id="none",
        version="none",
        title="",
        effective_from="1970-01-01T00:00:00Z",
        statements=(),
        purposes=(),
        categories=(),
        operations=(),
        consistent=(),
        recipients=(),
        automatic=Automatic(categories=()),
        social_login=SocialLogin(providers=(), categories=(), purposes=()),
        channels={},
        legal_bases=(),
    )
)
"""Every id is within itself only."""


class Holding(NamedTuple):
    """One category of one collection: what the log says of it, and what is stored about it (None: nothing yet)."""

    offset: int
    instant: int
    subject: str
    category: str
    purposes: tuple[str, ...]


class State(NamedTuple):
    """What follows from the other facts."""

    told: tuple[str, ...]
    erased: Stamp | None


def state_of(holding: Holding, facts: Facts, rules: Rules) -> State:
    """What the resident had been told of a holding, and the erasure that took it."""
    in_force = rules.policy_at(holding.instant)
    policy = NO_POLICY if in_force is None else in_force[2]
    told = tuple(q for q in holding.purposes if _told(policy, facts, q, holding))
    return State(told, _erased(policy, facts, holding))


def _told(policy: Policy, facts: Facts, purpose: str, holding: Holding) -> bool:
    first = facts.told(policy, purpose, holding.category)
    return first is not None and first[0] <= holding.instant


def _erased(policy: Policy, facts: Facts, holding: Holding) -> Stamp | None:
    first: Stamp | None = None
    for categories, stamps in facts.erasures.items():
        at = bisect_left(stamps, (holding.instant, -1))
        if at == len(stamps) or (first is not None and stamps[at] >= first):
            continue
        if categories is None or policy.has(categories, holding.category):
            first = stamps[at]
    return first

"""What a resident's wish about a consent takes: which consents end, and what is given again instead. No I/O.

A wish names a purpose and with it everything within it: a use for a child is a use for its parent. To withdraw it,
every active consent that meets it ends, and what else each of these covered is given again, so that nothing is lost
or widened:

>>> from ledger.policy import my_san_jose
>>> policy = Policy(my_san_jose())
>>> both = Held("c1", Coverage(("4.7", "4.3"), None, None, None), None, 41, 0)
>>> [(again.of, again.coverage.purposes) for again in withdrawal(policy, [both], "4.7").again]
[('c1', ('4.3',))]

A consent for a wider purpose covers what is withdrawn, so it ends too; its other parts are given again one by one:

>>> wide = Held("c2", Coverage(("4.7",), None, None, None), None, 42, 0)
>>> withdrawal(policy, [wide], "4.7/newsletter").again[0].coverage.purposes
('4.7/event-invitation',)

The wider purpose itself cannot be kept: a consent to it is one to all that is within it. So afterwards the coverage of
every (purpose, category, operation, recipient) is what it was, but for the purposes within the one withdrawn and those
that it is within, which nothing covers any more. tests/property/test_wishes.py holds this.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ledger.facts import Coverage
from ledger.policy import Policy
from ledger.stamps import Ids

MAX_PURPOSES = 64
"""How many purposes one consent may name (events.md)."""


class Held(NamedTuple):
    """A consent that stands given: by which record, `since` when, and when it `expires` (µs; None: never)."""

    consent_id: str
    coverage: Coverage
    expires: int | None
    given_offset: int
    since: int

    def active(self, now_us: int) -> bool:
        """Whether it has not expired. One dated a little ahead of the ledger's clock counts: it is about to begin."""
        return self.expires is None or now_us < self.expires


class Again(NamedTuple):
    """What is given again in place of the consent `of`; more than one where the purposes are more than one may name."""

    of: str
    coverage: Coverage
    expires: int | None


class Withdrawal(NamedTuple):
    """The consents that end, and what is given again in their place."""

    ends: tuple[Held, ...]
    again: tuple[Again, ...]


def withdrawal(policy: Policy, active: Sequence[Held], purpose: str) -> Withdrawal:
    """What it takes that no active consent covers this purpose, or one within it, any more."""
    ends = tuple(held for held in active if any(_meets(policy, q, purpose) for q in held.coverage.purposes))
    again: list[Again] = []
    for held in ends:
        left = remaining(policy, held.coverage.purposes, purpose)
        for start in range(0, len(left), MAX_PURPOSES):
            coverage = held.coverage._replace(purposes=left[start : start + MAX_PURPOSES])
            again.append(Again(held.consent_id, coverage, held.expires))
    return Withdrawal(ends, tuple(again))


def standing(active: Sequence[Held], policy: Policy, wish: Coverage, expires: int | None) -> Held | None:
    """The consent by which a wish to consent is the state already: one that covers it and lasts as long."""
    for held in active:
        lasts = held.expires is None or (expires is not None and held.expires >= expires)
        if lasts and covers(policy, held.coverage, wish):
            return held
    return None


def covers(policy: Policy, consent: Coverage, wish: Coverage) -> bool:
    """Whether a consent covers all that is wished: its purposes, categories, operations and recipients."""
    return (
        all(policy.within_any_purpose(p, consent.purposes) for p in wish.purposes)
        and (
            consent.categories is None
            or (wish.categories is not None and all(policy.has(consent.categories, c) for c in wish.categories))
        )
        and (
            consent.operations is None
            or (
                wish.operations is not None
                and all(policy.within_operation(o, consent.operations) for o in wish.operations)
            )
        )
        and set(wish.recipients or ()) <= set(consent.recipients or ())
    )


def remaining(policy: Policy, purposes: Ids, purpose: str) -> Ids:
    """The purposes that a consent for these covers beside the one withdrawn, each once, in their order."""
    return tuple(dict.fromkeys(kept for q in purposes for kept in _without(policy, q, purpose)))


def _meets(policy: Policy, q: str, purpose: str) -> bool:
    return policy.within_purpose(q, purpose) or policy.within_purpose(purpose, q)


def _without(policy: Policy, q: str, purpose: str) -> Iterator[str]:
    """What is left of q: itself where it does not meet the purpose, else those of its children's that do not."""
    waiting = [q]
    while waiting:
        at = waiting.pop(0)
        if not _meets(policy, at, purpose):
            yield at
        elif not policy.within_purpose(at, purpose):
            waiting[:0] = [p.id for p in policy.data.purposes if p.parent == at]

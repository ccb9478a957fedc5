"""The library (res_04ea): a card from before the policy, mailings through a provider, friends who may and may not.

The card was filled in before 18 April 2018 and entered in 2024: no policy judges how it was collected. What rests on it
says so (`backdated`).

>>> [(e.id, e.expect.outcome) for e in library() if e.id.endswith("2018")]
[('04ea.card-2018', 'undetermined')]
"""

from collections.abc import Iterator

from api.city.entry import Entry, Expect, Person, consistent, inconsistent, proper, undetermined
from api.city.places import LIBRARY, MY
from api.city.rules import MAILING

PERSON = Person("res_04ea")
FRIENDS = ("other", "friends-of-the-library")
_CONSENT = "purpose-limitation holds/consent [name, postal-address]"


def library() -> Iterator[Entry]:
    """The whole story."""
    yield from _cards()
    yield from _mailings()
    yield from _friends()


def _cards() -> Iterator[Entry]:
    p = PERSON
    yield p.collected(
        "2024-11-20 18:00",
        LIBRARY,
        "card-2018",
        "name postal-address",
        "4.2",
        # Six weeks before the policy: nothing to judge by.
        undetermined("policy-in-force unknown/no-policy-in-force", version=None),
        happened="2018-03-05 18:00",
    )
    yield p.used(
        "2024-12-04 18:00",
        LIBRARY,
        "overdue",
        "postal-address",
        "4.2",
        "consult",
        # The card declared 4.2, but no notice is on record. The card is dated back: without it there would be no
        # collection at all, and the answer undetermined instead, so the caution.
        inconsistent("purpose-limitation violated/purpose-not-told [postal-address]", "evidence caution/backdated"),
    )
    yield p.notice("2025-01-15 18:00", LIBRARY, "card.notice", "4.2", "name contact")
    given = "name email postal-address"
    yield p.collected("2025-01-15 18:10", LIBRARY, "card", given, "4.2", consistent(*proper(given)))
    yield p.used(
        "2025-01-22 18:00",
        LIBRARY,
        "reserved",
        "email name",
        "4.2",
        "notify",
        # Rests on the new card alone, so nothing backdated matters.
        consistent("purpose-limitation holds/stated-purpose [email, name]"),
        channel="email",
    )


def _mailings() -> Iterator[Entry]:
    p = PERSON
    consent = {"categories": ["name", "postal-address"], "method": "paper-form"}
    yield p.consents("2025-02-05 18:00", LIBRARY, "consent-1", "programme", "4.7", **consent)
    # Consent to 4.7 covers an invitation to an event; a service provider is described; the agreement has 4.7 and both
    # categories, from 1 February 2025 until 1 February 2026.
    covered = consistent(_CONSENT, "recipient holds/described", "safeguards holds/agreement-active")
    uncovered = inconsistent(_CONSENT, "recipient holds/described", "safeguards violated/no-active-agreement")
    yield _mailing("2025-02-12 18:00", "programme-1", covered)
    yield _mailing("2025-09-10 18:00", "programme-2", covered)
    yield _mailing("2026-02-11 18:00", "programme-3", uncovered)


def _mailing(at: str, about: str, expect: Expect) -> Entry:
    basis = PERSON.by_consent("programme")
    return PERSON.shared(at, LIBRARY, about, "name postal-address", "4.7/event-invitation", MAILING, expect, basis)


def _friends() -> Iterator[Entry]:
    p = PERSON
    named = {"categories": ["name", "contact"], "operations": ["share"], "recipients": [FRIENDS[1]]}
    yield p.consents("2026-04-08 18:00", LIBRARY, "consent-2", "friends", "4.7/event-invitation", **named)
    # The policy describes no such recipient; the resident's consent names it.
    yield _to_friends("2026-04-14 18:00", "friends-1", consistent(_CONSENT, "recipient holds/consent"))
    yield p.withdraws("2026-05-20 04:00", MY, "consent-2.end", "friends")
    # The purpose is still covered by the consent to 4.7, which names no recipient: so not these friends any more.
    yield _to_friends(
        "2026-06-10 18:00", "friends-2", inconsistent(_CONSENT, "recipient violated/recipient-not-described")
    )


def _to_friends(at: str, about: str, expect: Expect) -> Entry:
    basis = PERSON.by_consent("friends")
    return PERSON.shared(at, LIBRARY, about, "name postal-address", "4.7/event-invitation", FRIENDS, expect, basis)

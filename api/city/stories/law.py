"""The law (res_9d0b): a subpoena, a refused demand, a warrant, an informal request, and entries held back by law.

A law needs a citation and must be one the policy knows; some need the City's decision as well. An entry that a law
holds back (`disclosure.withheld`) is judged like any other; only the resident does not see it before its day.

>>> [(e.id, e.expect.outcome) for e in law() if e.kind == "data.shared"]  # doctest: +NORMALIZE_WHITESPACE
[('9d0b.subpoena', 'undetermined'), ('9d0b.refused', 'inconsistent'), ('9d0b.informal', 'inconsistent'),
 ('9d0b.warrant', 'consistent')]
"""

from collections.abc import Iterator

from api.city.entry import Entry, Person, by_law, consistent, inconsistent, proper, undetermined
from api.city.places import PRIVACY_OFFICE, REQUESTS
from api.city.rules import COURT, OPEN_SUBPOENA, PRESS, REFUSED_DEMAND, SHERIFF

PERSON = Person("res_9d0b")
_JUNK = "4.2/junk-pickup"


def law() -> Iterator[Entry]:
    """The whole story."""
    yield from _pickup()
    yield from _demands()
    yield from _sheriff()
    yield from _court_order()


def _pickup() -> Iterator[Entry]:
    p = PERSON
    given = "name phone postal-address request-content"
    yield p.notice("2025-02-17 18:00", REQUESTS, "pickup.notice", _JUNK, "name contact request-content")
    yield p.collected("2025-02-17 18:05", REQUESTS, "pickup", given, _JUNK, consistent(*proper(given)))
    yield p.used(
        "2025-02-19 15:00",
        REQUESTS,
        "pickup.crew",
        "phone postal-address",
        _JUNK,
        "consult",
        consistent("purpose-limitation holds/stated-purpose [phone, postal-address]"),
    )


def _demands() -> Iterator[Entry]:
    p = PERSON
    yield p.shared(
        "2025-05-26 18:00",
        REQUESTS,
        "subpoena",
        "name postal-address",
        _JUNK,
        COURT,
        # A subpoena needs the City's decision, and there never was one.
        undetermined(
            "purpose-limitation holds/law [name, postal-address]",
            "recipient holds/law",
            "legal-demand unknown/undecided-demand",
        ),
        by_law("subpoena", "Code Civ. Proc. 1985", OPEN_SUBPOENA),
    )
    # Held back for half a year, which is over: the resident sees it now.
    yield _withheld("2025-05-26 18:05", "subpoena", "Code Civ. Proc. 1985.3", "2025-11-24T08:00:00Z")
    yield p.shared(
        "2025-09-22 18:00",
        REQUESTS,
        "refused",
        "request-content",
        _JUNK,
        PRESS,
        # The City had refused on the 15th.
        inconsistent(
            "purpose-limitation holds/law [request-content]",
            "recipient holds/law",
            "legal-demand violated/disclosure-refused",
        ),
        by_law("public-records-act", "Gov. Code 7922.530", REFUSED_DEMAND),
    )


def _sheriff() -> Iterator[Entry]:
    p = PERSON
    yield p.shared(
        "2025-12-08 19:00",
        REQUESTS,
        "informal",
        "name phone",
        _JUNK,
        SHERIFF,
        # The policy knows no such basis; so no law excuses the recipient, which the policy does not describe either.
        inconsistent(
            "purpose-limitation violated/unknown-legal-basis [name, phone]",
            "recipient violated/recipient-not-described",
        ),
        by_law("informal-request", "Telephone call of 8 December 2025"),
    )
    yield p.shared(
        "2026-01-14 19:00",
        REQUESTS,
        "warrant",
        "name phone",
        _JUNK,
        SHERIFF,
        # A warrant needs no decision of the City: consistent, with the caution that only the service says so.
        consistent(
            "purpose-limitation holds/law [name, phone]",
            "recipient holds/law",
            "legal-demand caution/claimed-only",
        ),
        by_law("search-warrant", "Warrant 26-SW-0113"),
    )
    # Held back until 10 January 2027: not one of the resident's own doors shows it before.
    yield _withheld("2026-01-14 19:05", "warrant", "Penal Code 1546.2", "2027-01-10T08:00:00Z")


def _withheld(at: str, about: str, citation: str, until: str) -> Entry:
    data = {"about": PERSON.about(REQUESTS, about), "citation": citation, "until": until}
    return PERSON.tells(at, PRIVACY_OFFICE, f"{about}.withheld", "disclosure.withheld", data)


def _court_order() -> Iterator[Entry]:
    p = PERSON
    yield p.used(
        "2026-06-08 18:00",
        REQUESTS,
        "order-1",
        "request-content",
        _JUNK,
        "consult",
        # An order of a court needs no decision either.
        consistent("purpose-limitation holds/law [request-content]", "legal-demand caution/claimed-only"),
        by_law("court-order", "Order 26-CV-0077"),
    )
    yield p.used(
        "2026-06-22 18:00",
        REQUESTS,
        "order-2",
        "request-content",
        _JUNK,
        "consult",
        # The same law without a citation. A claim of law is judged as such, although the purpose itself was told.
        inconsistent("purpose-limitation violated/unknown-legal-basis [request-content]"),
        by_law("court-order", ""),
    )

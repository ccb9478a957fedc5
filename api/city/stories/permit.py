"""The permit (res_1b94): a provider whose agreement ends, a demand for public records, an address that was wrong.

The first file went to the newspaper before the City's decision was on record: undetermined until it was, consistent
since. The second, a day later, held a telephone number that the same decision had exempted. The inspections went
through a provider; when its agreement had ended, the same sharing was no longer covered.

>>> [e.expect.first_outcome for e in permit() if e.id == "1b94.press-1"]
['undetermined']
"""

from collections.abc import Iterator

from api.city.entry import Entry, Expect, Person, by_law, consistent, inconsistent, proper
from api.city.places import MY, PERMITS, PRIVACY_OFFICE, SECURITY_OFFICE
from api.city.rules import INSPECTIONS, PRESS, PRESS_DEMAND

PERSON = Person("res_1b94")
_STATED = "purpose-limitation holds/stated-purpose"
_INSPECTION = "4.2/permit/inspection"
_FOR_INSPECTION = "name phone postal-address"
_PRA = by_law("public-records-act", "Gov. Code 7922.530", PRESS_DEMAND)


def permit() -> Iterator[Entry]:
    """The whole story."""
    yield from _application()
    yield from _press()
    yield from _contest()
    yield from _inspections()
    yield from _afterwards()


def _application() -> Iterator[Entry]:
    p = PERSON
    told = "name contact precise-location request-content permit-application government-id"
    given = "name email phone postal-address precise-location request-content permit-application government-id"
    yield p.notice("2025-01-13 18:00", PERMITS, "permit.notice", "4.2/permit", told, "vi")
    # `contact` was told, and e-mail, phone and postal address are within it; the policy lists all eight for a permit.
    yield p.collected("2025-01-13 18:05", PERMITS, "permit", given, "4.2/permit", consistent(*proper(given)))
    yield p.used(
        "2025-01-16 19:00",
        PERMITS,
        "permit.check",
        "government-id name",
        "4.2/permit",
        "consult",
        consistent(f"{_STATED} [government-id, name]"),
        operator="emp-31",
    )
    yield p.used(
        "2025-02-18 17:30",
        PERMITS,
        "permit.news",
        "email",
        "4.6/request-update",
        "notify",
        # 4.6 is consistent with 4.2, which a permit is under.
        consistent("purpose-limitation holds/consistent-purpose [email]"),
        channel="email",
    )


def _press() -> Iterator[Entry]:
    p = PERSON
    yield p.shared(
        "2025-03-17 22:00",
        PERMITS,
        "press-1",
        "permit-application request-content",
        "4.2/permit",
        PRESS,
        # A known law with a citation; the recipient need not be described. The decision of 17:00 was entered the next
        # morning, so at first nothing was decided. It discloses, and neither category is contact or government-id.
        consistent(
            "purpose-limitation holds/law [permit-application, request-content]",
            "recipient holds/law",
            "legal-demand holds/disclosure-decided",
            "evidence caution/recorded-later",
            first="undetermined",
        ),
        basis=_PRA,
    )
    yield p.shared(
        "2025-03-18 22:00",
        PERMITS,
        "press-2",
        "permit-application phone",
        "4.2/permit",
        PRESS,
        # The decision exempts contact details, and a phone number is one.
        inconsistent(
            "purpose-limitation holds/law [permit-application, phone]",
            "recipient holds/law",
            "legal-demand violated/exempt-from-disclosure [phone]",
        ),
        basis=_PRA,
    )
    incident: dict[str, object] = {
        "incident_id": "inc-2025-03",
        "kind": "disclosure",
        "categories": ["phone"],
        "recipient": PRESS[1],
    }
    incident |= {"about": p.about(PERMITS, "press-2"), "contained_at": "2025-03-19T20:00:00Z"}
    yield p.tells("2025-03-20 17:00", SECURITY_OFFICE, "press-2.incident", "incident.reported", incident)
    complaint = {"complaint_id": p.id("complaint-1"), "kind": "complaint", "about": p.about(PERMITS, "press-2")}
    complaint |= {"text": "A reporter called me on my private telephone."}
    yield p.tells("2025-03-21 01:30", MY, "complaint-1", "complaint.filed", complaint)
    answer = "Your number should have been blacked out. The newspaper has destroyed its copy; we now check twice."
    resolved = {"complaint_id": p.id("complaint-1"), "outcome": "upheld", "answer": answer}
    yield p.tells("2025-04-02 17:00", SECURITY_OFFICE, "complaint-1.answer", "complaint.resolved", resolved)


def _contest() -> Iterator[Entry]:
    p = PERSON
    contest = {"contest_id": p.id("contest-1"), "categories": ["postal-address"]}
    yield p.tells(
        "2025-06-02 04:00", MY, "contest-1", "data.contested", {**contest, "claim": "The house number is 214, not 241."}
    )
    # The address serves the purpose told, but the resident says that it is wrong and nobody has answered: a caution.
    while_open = consistent(f"{_STATED} [postal-address]", "accuracy caution/contested [postal-address]")
    yield _visit("2025-06-05 16:00", "visit-1", while_open)
    updated = {"categories": ["postal-address"], "by": "service", "contest_id": p.id("contest-1"), "operator": "emp-31"}
    yield p.tells("2025-06-12 17:00", PERMITS, "contest-1.update", "data.updated", updated)
    resolved = {"contest_id": p.id("contest-1"), "outcome": "corrected", "answer": "Corrected, with our apologies."}
    yield p.tells("2025-06-12 17:05", PRIVACY_OFFICE, "contest-1.answer", "contest.resolved", resolved)
    # Resolved a week before.
    yield _visit("2025-06-19 16:00", "visit-2", consistent(f"{_STATED} [postal-address]"))


def _visit(at: str, about: str, expect: Expect) -> Entry:
    return PERSON.used(at, PERMITS, about, "postal-address", _INSPECTION, "consult", expect, operator="emp-40")


def _inspections() -> Iterator[Entry]:
    stated = f"{_STATED} [name, phone, postal-address]"
    # An inspection is under the permit that was told. The kind of recipient is described in statement 6, and one
    # agreement covers purpose and all three categories (phone and postal address as contact details).
    covered = consistent(stated, "recipient holds/described", "safeguards holds/agreement-active")
    # The agreement ended on 29 August; the next begins on 3 November.
    uncovered = inconsistent(stated, "recipient holds/described", "safeguards violated/no-active-agreement")
    yield _inspection("2025-02-10 18:00", "inspection-1", covered)
    yield _inspection("2025-09-08 18:00", "inspection-2", uncovered)
    yield _inspection("2025-11-10 18:00", "inspection-3", covered)


def _inspection(at: str, about: str, expect: Expect) -> Entry:
    return PERSON.shared(at, PERMITS, about, _FOR_INSPECTION, _INSPECTION, INSPECTIONS, expect)


def _afterwards() -> Iterator[Entry]:
    p = PERSON
    yield p.used(
        "2026-02-09 20:00",
        PERMITS,
        "study",
        "permit-application",
        "4.2/service-development",
        "analyse",
        # A sibling of the permit under 4.2, not within it; and nothing makes it consistent with a permit.
        inconsistent("purpose-limitation violated/purpose-not-stated [permit-application]"),
    )
    yield p.tells("2026-05-18 03:00", MY, "review-1", "data.reviewed", {"categories": ["name", "contact"]})

"""The newsletter (res_7f2c): an address given for a pothole, used for a newsletter; consent, withdrawal, renewal.

The address may be used to say how the report is getting on, since that is consistent with the report. A newsletter is
not, until the resident consents. The withdrawal came by letter and was entered two weeks late: the issue sent in
between was consistent when it was recorded, and is not now.

>>> [(e.id, e.expect.outcome) for e in newsletter() if e.id == "7f2c.issue-2025-10"]
[('7f2c.issue-2025-10', 'inconsistent')]
"""

from collections.abc import Iterator

from api.city.entry import Entry, Expect, Person, consistent, inconsistent, proper
from api.city.places import MY, NOTIFICATIONS, REQUESTS, SECURITY_OFFICE

PERSON = Person("res_7f2c")
_STATED = "purpose-limitation holds/stated-purpose"
_CONSENT = "purpose-limitation holds/consent [email]"
_NOT_STATED = "purpose-limitation violated/purpose-not-stated [email]"


def newsletter() -> Iterator[Entry]:
    """The whole story."""
    yield from _pothole()
    yield from _without_consent()
    yield from _with_consent()
    yield from _after_withdrawal()
    yield from _renewed()


def _pothole() -> Iterator[Entry]:
    p = PERSON
    categories = "email precise-location photo request-content"
    yield p.notice("2024-11-04 17:00", REQUESTS, "pothole.notice", "4.2/pothole-report", categories, "es")
    yield p.collected(
        "2024-11-04 17:02",
        REQUESTS,
        "pothole",
        categories,
        "4.2/pothole-report",
        # All four were told, and all four are on the policy's list for a pothole report.
        consistent(*proper(categories)),
        notice_id=p.id("pothole.notice"),
    )
    yield p.used(
        "2024-11-05 16:30",
        REQUESTS,
        "pothole.crew",
        "photo precise-location request-content",
        "4.2/pothole-report",
        "consult",
        # The very purpose that was told.
        consistent(f"{_STATED} [photo, precise-location, request-content]"),
        operator="emp-12",
    )
    yield p.used(
        "2024-11-08 22:00",
        REQUESTS,
        "pothole.done",
        "email",
        "4.6/request-update",
        "notify",
        # Never told, but 4.6 is consistent with 4.2, which a pothole report is under. E-mail needs no preference.
        consistent("purpose-limitation holds/consistent-purpose [email]"),
        channel="email",
    )


def _without_consent() -> Iterator[Entry]:
    p = PERSON
    yield p.used(
        "2024-12-02 16:00",
        NOTIFICATIONS,
        "issue-2024-12",
        "email",
        "4.7/newsletter",
        "notify",
        # 4.7 is neither told nor consistent with 4.2, and there is no consent yet.
        inconsistent(_NOT_STATED),
        channel="email",
    )
    complaint = {"complaint_id": p.id("complaint-1"), "about": p.about(NOTIFICATIONS, "issue-2024-12")}
    complaint |= {"kind": "complaint", "text": "I gave my address for a pothole. Why do I get the newsletter?"}
    yield p.tells("2024-12-03 03:10", MY, "complaint-1", "complaint.filed", complaint)
    answer = "You are right: nobody had asked you. We have taken your address off the list. You may join it any time."
    resolved = {"complaint_id": p.id("complaint-1"), "outcome": "upheld", "answer": answer}
    yield p.tells("2024-12-12 18:00", SECURITY_OFFICE, "complaint-1.answer", "complaint.resolved", resolved)


def _with_consent() -> Iterator[Entry]:
    p = PERSON
    yield p.consents("2025-01-10 20:00", NOTIFICATIONS, "consent-1", "newsletter", "4.7/newsletter")
    for month in ("02-03", "03-03", "04-07", "05-05", "06-02", "07-07", "08-04", "09-08"):
        # Each issue within the consent: given on 10 January, not yet withdrawn.
        yield _issue(f"2025-{month} 16:00", consistent(_CONSENT))


def _after_withdrawal() -> Iterator[Entry]:
    p = PERSON
    # Withdrawn by letter on 6 October, entered on the 20th. The issue of the 13th was sent in between: when it was
    # recorded the consent still stood, so the first answer was consistent; by what is known now it had ended.
    sent_between = inconsistent(_NOT_STATED, "evidence caution/recorded-later", first="consistent")
    yield _issue("2025-10-13 16:00", sent_between)
    yield p.withdraws("2025-10-20 18:00", NOTIFICATIONS, "consent-1.end", "newsletter", happened="2025-10-06 17:00")


def _renewed() -> Iterator[Entry]:
    p = PERSON
    yield p.consents(
        "2026-02-02 15:00",
        NOTIFICATIONS,
        "consent-2",
        "newsletter",
        "4.7/newsletter",
        expires_at="2026-08-01T07:00:00Z",
    )
    for month in ("03-02", "05-04", "06-01", "07-06"):
        # The same consent given again renews it; none of these falls into the trial of March and April.
        yield _issue(f"2026-{month} 16:00", consistent(_CONSENT))
    # It expired on 1 August.
    yield _issue("2026-08-03 16:00", inconsistent(_NOT_STATED))
    complaint = {"complaint_id": p.id("complaint-2"), "about": p.about(NOTIFICATIONS, "issue-2026-08")}
    complaint |= {"kind": "complaint", "text": "My consent was for half a year, and that is over."}
    # The one complaint of the story that nobody has answered.
    yield p.tells("2026-08-04 02:00", MY, "complaint-2", "complaint.filed", complaint)


def _issue(at: str, expect: Expect) -> Entry:
    p = PERSON
    about = f"issue-{at[:7]}"
    basis = p.by_consent("newsletter")
    return p.used(at, NOTIFICATIONS, about, "email", "4.7/newsletter", "notify", expect, basis=basis, channel="email")

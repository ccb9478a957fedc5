"""Staying anonymous (res_c3d8): sign-in through a social account, notifications as preferred, a month without a name.

Notifications on the telephone wait for the resident's preference (4.8). In August 2025 the resident chose to stay
anonymous (statement 1): what was then collected without identifying anybody was right; a telephone number was not.

>>> [e.expect.outcome for e in anonymous() if e.kind == "data.collected"]
['consistent', 'consistent', 'consistent', 'inconsistent']
"""

from collections.abc import Iterator

from api.city.entry import Entry, Expect, Person, consistent, inconsistent, proper
from api.city.places import MY, NOTIFICATIONS, PRIVACY_OFFICE, REQUESTS, SECURITY_OFFICE

PERSON = Person("res_c3d8")
_PUSH = "purpose-limitation holds/stated-purpose [push-token]"
_PREFERRED = "communication-preference holds/preferred"
_NOT_PREFERRED = "communication-preference violated/notification-not-preferred"


def anonymous() -> Iterator[Entry]:
    """The whole story."""
    yield from _sign_in()
    yield from _notifications()
    yield from _month_without_a_name()
    yield from _afterwards()


def _sign_in() -> Iterator[Entry]:
    p = PERSON
    sign_in = "registration authentication"
    yield p.notice("2025-02-03 19:00", REQUESTS, "account.notice", sign_in, "name email")
    yield p.collected(
        "2025-02-03 19:01",
        REQUESTS,
        "account",
        "name email",
        sign_in,
        # Name and e-mail address, for registration and authentication, through one of the three accounts named.
        consistent(*proper("name email"), "social-login holds/within-social-login"),
        origin="social-login",
        provider="google",
    )
    yield p.notice("2025-02-03 19:05", NOTIFICATIONS, "push.notice", "4.8", "push-token")
    yield p.collected(
        "2025-02-03 19:06",
        NOTIFICATIONS,
        "push",
        "push-token",
        "4.8/request-status",
        # News of a request is under 4.8, which was told, and takes 4.8's list.
        consistent(*proper("push-token")),
    )


def _notifications() -> Iterator[Entry]:
    p = PERSON
    # Told and stated; but over a channel that waits for the resident's preference, and there is none.
    yield _push("2025-02-10 17:00", "push-1", inconsistent(_PUSH, _NOT_PREFERRED))
    yield _prefers("2025-02-12 05:00", "prefer-1", allowed=True)
    yield _push("2025-02-14 17:00", "push-2", consistent(_PUSH, _PREFERRED))
    yield _prefers("2025-05-01 05:00", "prefer-2", allowed=False)
    # The last preference says no.
    yield _push("2025-05-06 17:00", "push-3", inconsistent(_PUSH, _NOT_PREFERRED))
    complaint = {"complaint_id": p.id("complaint-1"), "kind": "complaint", "about": p.about(NOTIFICATIONS, "push-3")}
    complaint |= {"text": "I switched this off five days ago."}
    yield p.tells("2025-05-07 04:00", MY, "complaint-1", "complaint.filed", complaint)
    answer = "The list was a week old. It is now read afresh before every message."
    resolved = {"complaint_id": p.id("complaint-1"), "outcome": "settled", "answer": answer}
    yield p.tells("2025-05-21 17:00", SECURITY_OFFICE, "complaint-1.answer", "complaint.resolved", resolved)
    yield _prefers("2025-06-09 05:00", "prefer-3", allowed=True)
    yield _push("2025-06-16 17:00", "push-4", consistent(_PUSH, _PREFERRED))


def _push(at: str, about: str, expect: Expect) -> Entry:
    return PERSON.used(
        at, NOTIFICATIONS, about, "push-token", "4.8/request-status", "notify", expect, channel="mobile-notification"
    )


def _prefers(at: str, about: str, *, allowed: bool) -> Entry:
    return PERSON.tells(at, MY, about, "preference.set", {"channel": "mobile-notification", "allowed": allowed})


def _month_without_a_name() -> Iterator[Entry]:
    p = PERSON
    told = "request-content coarse-location phone"
    yield p.notice("2025-08-04 17:00", REQUESTS, "tip.notice", "4.2", told, anonymous_offered=True)
    yield p.tells("2025-08-04 17:02", MY, "anonymous", "anonymity.chosen", {})
    without_name = "coarse-location request-content"
    yield p.collected(
        "2025-08-04 17:05",
        REQUESTS,
        "tip",
        without_name,
        "4.2",
        # Neither category identifies anybody, by the policy's own flags.
        consistent(*proper(without_name), "anonymity holds/anonymous-respected"),
    )
    yield p.used(
        "2025-08-06 18:00",
        REQUESTS,
        "tip.study",
        "request-content",
        "4.2/service-development",
        "consult",
        # Under 4.2, which was told; and nothing that identifies, so no caution.
        consistent("purpose-limitation holds/stated-purpose [request-content]"),
    )
    yield p.collected(
        "2025-08-07 21:00",
        REQUESTS,
        "tip.phone",
        "phone",
        "4.2",
        # Told and necessary, but it identifies, and the resident had chosen to stay anonymous.
        inconsistent(*proper("phone"), "anonymity violated/identifying-while-anonymous [phone]"),
    )
    yield p.used(
        "2025-08-12 16:00",
        NOTIFICATIONS,
        "alert-1",
        "email",
        "4.9/security-alert",
        "notify",
        # 4.9 is consistent with 4.1, which registration is under. The address identifies: a caution, no violation.
        consistent(
            "purpose-limitation holds/consistent-purpose [email]",
            "anonymity caution/identified-while-anonymous [email]",
        ),
        channel="email",
    )
    yield p.tells("2025-09-01 18:00", MY, "anonymous.end", "anonymity.ended", {})


def _afterwards() -> Iterator[Entry]:
    p = PERSON
    # The number was told under 4.2, and 4.6 is consistent with that. Nobody is anonymous any more.
    call = "purpose-limitation holds/consistent-purpose [phone]"
    yield _call("2025-09-03 18:00", "call-1", consistent(call))
    claim = "You were not to have this number; take it out."
    contest = {"contest_id": p.id("contest-1"), "categories": ["phone"], "claim": claim}
    yield p.tells("2025-09-05 04:00", MY, "contest-1", "data.contested", contest)
    # Contested on the 5th, answered on the 16th.
    yield _call("2025-09-09 18:00", "call-2", consistent(call, "accuracy caution/contested [phone]"))
    upheld = {"contest_id": p.id("contest-1"), "outcome": "upheld", "answer": "We have taken it out of your file."}
    yield p.tells("2025-09-16 17:00", PRIVACY_OFFICE, "contest-1.answer", "contest.resolved", upheld)
    yield _push("2026-09-21 17:00", "push-5", consistent(_PUSH, _PREFERRED))


def _call(at: str, about: str, expect: Expect) -> Entry:
    return PERSON.used(at, REQUESTS, about, "phone", "4.6/request-update", "notify", expect, channel="phone")

"""The platform (res_2fb6, res_8e37): what the app collects by itself, and what came with a social account.

Statement 3's list is blank, so automatic collection is undetermined; during the made-up trial of March 2026 it was not.
A social account may give name and e-mail address, for registration and authentication, and gets nothing back.

>>> [e.expect.outcome for e in analytics() if e.data.get("origin") == "automatic"]
['undetermined', 'consistent', 'inconsistent', 'undetermined']
"""

from collections.abc import Iterator

from api.city.entry import TRIAL, Entry, Expect, Person, consistent, inconsistent, necessary, proper, undetermined
from api.city.places import ANALYTICS, MY, NOTIFICATIONS, REQUESTS, SECURITY_OFFICE
from api.city.rules import METRICS

APP = Person("res_2fb6")
SOCIAL = Person("res_8e37")
_STATED = "purpose-limitation holds/stated-purpose"
_NOT_STATED = "purpose-limitation violated/purpose-not-stated [usage-activity]"


def analytics() -> Iterator[Entry]:
    """The story of res_2fb6."""
    yield from _counted()
    yield from _personalized()
    yield from _trial()


def _counted() -> Iterator[Entry]:
    p = APP
    yield p.notice("2025-01-06 18:00", ANALYTICS, "app.notice", "4.4 4.5", "usage-activity device-id ip-address", "vi")
    # Told and necessary; whether it may be collected automatically the policy does not say.
    silent = undetermined(*proper("device-id usage-activity"), "automatic unknown/policy-silent")
    yield _automatic("2025-01-06 18:01", "app-1", "device-id usage-activity", "4.4", silent)
    for day in ("2025-01-31", "2025-04-30", "2025-07-31", "2025-10-31", "2026-01-30", "2026-04-30", "2026-07-31"):
        # Statistics are under 4.4, which was told; that the collection itself is undetermined is its own verdict.
        yield p.used(
            f"{day} 23:30",
            ANALYTICS,
            f"count-{day[:7]}",
            "usage-activity",
            "4.4/usage-statistics",
            "analyse",
            consistent(f"{_STATED} [usage-activity]"),
        )
    yield p.shared(
        "2025-11-17 18:00",
        ANALYTICS,
        "metrics",
        "usage-activity",
        "4.4",
        METRICS,
        # The purpose was told and the kind of recipient is described; but nobody ever signed with this provider.
        inconsistent(
            f"{_STATED} [usage-activity]", "recipient holds/described", "safeguards violated/no-active-agreement"
        ),
    )
    incident: dict[str, object] = {
        "incident_id": "inc-2026-01",
        "kind": "unauthorized-access",
        "contained_at": "2026-01-13T02:00:00Z",
    }
    incident["categories"] = ["device-id", "usage-activity"]
    yield p.tells("2026-01-14 17:00", SECURITY_OFFICE, "inc-2026-01", "incident.reported", incident)


def _personalized() -> Iterator[Entry]:
    p = APP
    # Collected for 4.4; 4.3 is another purpose.
    yield _personal("2025-03-10 18:00", "personal-1", "profile", inconsistent(_NOT_STATED))
    limited = {"categories": ["usage-activity"], "operations": ["analyse"]}
    yield p.consents("2025-03-20 04:00", MY, "consent-1", "personal", "4.3", **limited)
    # To profile is to analyse, in the policy's tree of operations.
    covered = consistent("purpose-limitation holds/consent [usage-activity]")
    yield _personal("2025-04-07 18:00", "personal-2", "profile", covered)
    # To combine is not.
    yield _personal("2025-04-21 18:00", "personal-3", "combine", inconsistent(_NOT_STATED))


def _personal(at: str, about: str, operation: str, expect: Expect) -> Entry:
    basis = APP.by_consent("personal")
    return APP.used(at, ANALYTICS, about, "usage-activity", "4.3", operation, expect, basis)


def _trial() -> Iterator[Entry]:
    crash = "device-id usage-activity/crash-report"
    # The trial lists use of the app and device; a crash report is within use of the app, for list, notice and need.
    yield _automatic(
        "2026-03-12 18:00", "app-2", crash, "4.4", consistent(*proper(crash), "automatic holds/listed", version=TRIAL)
    )
    address = "ip-address usage-activity"
    yield _automatic(
        "2026-03-16 18:00",
        "app-3",
        address,
        "4.5",
        # Told, and necessary to find abuse; but an internet address is not on the trial's list.
        inconsistent(*proper(address), "automatic violated/not-listed [ip-address]", version=TRIAL),
    )
    yield APP.used(
        "2026-03-20 18:00",
        ANALYTICS,
        "abuse",
        "ip-address",
        "4.5/abuse-investigation",
        "consult",
        # Under 4.5, which was told.
        consistent(f"{_STATED} [ip-address]", version=TRIAL),
    )
    # The trial is over, and the list blank again.
    silent = undetermined(*proper("device-id usage-activity"), "automatic unknown/policy-silent")
    yield _automatic("2026-04-13 18:00", "app-4", "device-id usage-activity", "4.4", silent)


def _automatic(at: str, about: str, categories: str, purposes: str, expect: Expect) -> Entry:
    return APP.collected(at, ANALYTICS, about, categories, purposes, expect, origin="automatic")


def social() -> Iterator[Entry]:
    """The story of res_8e37."""
    p = SOCIAL
    sign_in = "registration authentication"
    yield p.notice("2025-10-06 18:00", REQUESTS, "account.notice", sign_in, "name email social-profile")
    yield p.collected(
        "2025-10-06 18:01",
        REQUESTS,
        "account",
        "name email social-profile",
        "registration",
        # More than name and e-mail address; and not necessary for registration, although it was told.
        inconsistent(
            *necessary("name email"),
            "necessary violated/category-not-necessary [social-profile]",
            "notice holds/notice-given [email, name, social-profile]",
            "social-login violated/social-login-exceeds",
        ),
        origin="social-login",
        provider="facebook",
    )
    yield p.collected(
        "2025-10-20 18:00",
        REQUESTS,
        "account-2",
        "email",
        "authentication",
        # As it should be, but for an account that the policy does not name.
        inconsistent(*proper("email"), "social-login violated/unknown-provider"),
        origin="social-login",
        provider="friendbook",
    )
    named = {"categories": ["email"], "operations": ["share"], "recipients": ["facebook"]}
    yield p.consents("2025-11-03 18:00", NOTIFICATIONS, "consent-1", "audience", "4.7", **named)
    yield p.shared(
        "2025-11-05 18:00",
        NOTIFICATIONS,
        "audience",
        "email",
        "4.7",
        ("social-provider", "facebook"),
        # Consented to, purpose and recipient; the policy promises that social providers get nothing all the same.
        inconsistent(
            "purpose-limitation holds/consent [email]",
            "recipient holds/consent",
            "social-provider violated/shared-with-social-provider",
        ),
        p.by_consent("audience"),
    )
    yield p.withdraws("2025-11-06 04:00", MY, "consent-1.end", "audience")
    # Registration is part of 4.1, and 4.9 and 4.5 are consistent with 4.1.
    from_registration = consistent("purpose-limitation holds/consistent-purpose [email]")
    maintenance = "4.9/maintenance-notice"
    yield p.used(
        "2026-01-20 18:00", NOTIFICATIONS, "down", "email", maintenance, "notify", from_registration, channel="email"
    )
    yield p.used("2026-05-11 18:00", ANALYTICS, "fraud", "email", "4.5/fraud-detection", "analyse", from_registration)

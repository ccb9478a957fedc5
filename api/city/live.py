"""What happens in the city today: a handful of events for `demo` to send through the HTTP door, after the story.

The quiet neighbour (res_e519) reports a broken street light. Times lie in the last seconds before `now_us`, so that
nothing is late; ids carry the moment, so that a second demo on the same data sends new events. What is expected does
not depend on when it is sent, as long as the story is over.

>>> today = live_events(1_795_377_600_000_000)
>>> [(e.kind, e.expect.outcome) for e in today if e.expect]  # doctest: +NORMALIZE_WHITESPACE
[('data.collected', 'consistent'), ('data.used', 'consistent'), ('data.used', 'inconsistent'),
 ('data.used', 'consistent'), ('data.used', 'inconsistent'), ('data.shared', 'inconsistent'),
 ('data.collected', 'undetermined')]
"""

from collections.abc import Sequence

from api.city.entry import Entry, Expect, Person, consistent, inconsistent, proper, undetermined
from api.city.places import ANALYTICS, NOTIFICATIONS, REQUESTS
from api.city.stories.neighbour import PERSON
from ledger.codec import rfc3339

_SECOND = 1_000_000
_LIGHT = "4.2/streetlight-report"
_PRINTER = ("service-provider", "quickprint-posters")
_NOT_STATED = "purpose-limitation violated/purpose-not-stated [email]"


def live_events(now_us: int) -> Sequence[Entry]:
    """Today's events, in the order in which to send them; `recorded` is when the ledger would record them."""
    return [*_report(now_us), *_invitations(now_us), *_platform(now_us)]


def _at(now_us: int, seconds_ago: int) -> str:
    """The moment as the story writes it: a day and a time of day in UTC, to the microsecond."""
    return rfc3339(now_us - seconds_ago * _SECOND).removesuffix("Z").replace("T", " ")


def _named(now_us: int, about: str) -> str:
    return f"live-{now_us}.{about}"


def _report(now_us: int) -> list[Entry]:
    p: Person = PERSON
    told = "email photo precise-location request-content"
    notice, report = _named(now_us, "light.notice"), _named(now_us, "light")
    return [
        p.notice(_at(now_us, 9), REQUESTS, notice, _LIGHT, told),
        p.collected(_at(now_us, 8), REQUESTS, report, told, _LIGHT, consistent(*proper(told)), notice_id=p.id(notice)),
        p.used(
            _at(now_us, 7),
            REQUESTS,
            _named(now_us, "light.crew"),
            "photo precise-location",
            _LIGHT,
            "consult",
            # The purpose that was told.
            consistent("purpose-limitation holds/stated-purpose [photo, precise-location]"),
        ),
    ]


def _invitations(now_us: int) -> list[Entry]:
    p = PERSON
    consent = _named(now_us, "events")
    withdrawn = {"consent_id": p.id(consent)}
    return [
        # The address was given for reports; an event of the City is another purpose.
        _invitation(now_us, 6, "invitation-1", consent, inconsistent(_NOT_STATED)),
        p.consents(_at(now_us, 5), NOTIFICATIONS, _named(now_us, "consent"), consent, "4.7/event-invitation"),
        _invitation(now_us, 4, "invitation-2", consent, consistent("purpose-limitation holds/consent [email]")),
        p.tells(_at(now_us, 3), NOTIFICATIONS, _named(now_us, "consent.end"), "consent.withdrawn", withdrawn),
        _invitation(now_us, 2, "invitation-3", consent, inconsistent(_NOT_STATED)),
    ]


def _invitation(now_us: int, seconds_ago: int, about: str, consent: str, expect: Expect) -> Entry:
    return PERSON.used(
        _at(now_us, seconds_ago),
        NOTIFICATIONS,
        _named(now_us, about),
        "email",
        "4.7/event-invitation",
        "notify",
        expect,
        PERSON.by_consent(consent),
        channel="email",
    )


def _platform(now_us: int) -> list[Entry]:
    p = PERSON
    return [
        p.shared(
            _at(now_us, 1),
            REQUESTS,
            _named(now_us, "poster"),
            "photo",
            _LIGHT,
            _PRINTER,
            # Told, and a kind of recipient the policy describes; but nobody has signed an agreement with it.
            inconsistent(
                "purpose-limitation holds/stated-purpose [photo]",
                "recipient holds/described",
                "safeguards violated/no-active-agreement",
            ),
        ),
        p.notice(_at(now_us, 0), ANALYTICS, _named(now_us, "app.notice"), "4.4", "usage-activity"),
        p.collected(
            _at(now_us, 0),
            ANALYTICS,
            _named(now_us, "app"),
            "usage-activity",
            "4.4",
            # A notice at the very instant is in time; statement 3 lists nothing.
            undetermined(*proper("usage-activity"), "automatic unknown/policy-silent"),
            origin="automatic",
        ),
    ]

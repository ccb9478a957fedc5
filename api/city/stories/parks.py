"""Parks (res_5a61 and res_b672): a consent dated back, a sponsor, a shirt size, a telephone number nobody had told of.

res_5a61: an invitation went out before any consent was on record; a form dated two days before it was entered ten days
later. The answer turned consistent, and says that it rests on a record dated back. res_b672: what parks collected for a
summer camp, with purposes and categories that the policy does not know.

>>> [e.expect.first_outcome for e in dated_back() if e.id == "5a61.invitation-1"]
['inconsistent']
"""

from collections.abc import Iterator

from api.city.entry import Entry, Expect, Person, consistent, inconsistent, necessary, proper, undetermined
from api.city.places import MY, PARKS, PRIVACY_OFFICE, REQUESTS, SECURITY_OFFICE

FORM = Person("res_5a61")
CAMP = Person("res_b672")
_CONSENT = "purpose-limitation holds/consent [email]"
_UNKNOWN = "purpose-limitation violated/unknown-purpose [email]"


def dated_back() -> Iterator[Entry]:
    """The story of res_5a61."""
    p = FORM
    yield p.notice("2025-04-01 17:00", PARKS, "class.notice", "4.2", "name contact", "es")
    yield p.collected("2025-04-01 17:05", PARKS, "class", "name email", "4.2", consistent(*proper("name email")))
    # Sent without a consent on record: inconsistent. The form entered on the 20th is dated the 10th, so by what is
    # known now the consent was there; without that form the answer would still be inconsistent.
    turned = consistent(_CONSENT, "evidence caution/recorded-later", "evidence caution/backdated", first="inconsistent")
    yield _invitation("2025-05-12 17:00", "invitation-1", turned)
    form = {"method": "paper-form", "happened": "2025-05-10 18:00"}
    yield p.consents("2025-05-20 18:00", PARKS, "consent-1", "events", "4.7/event-invitation", **form)
    # Consistent from the start, but resting on the form dated back alone.
    yield _invitation("2025-06-12 17:00", "invitation-2", consistent(_CONSENT, "evidence caution/backdated"))
    yield p.consents("2025-07-01 18:00", PARKS, "consent-2", "events", "4.7/event-invitation")
    # Given again on time: the form no longer matters.
    yield _invitation("2025-07-10 17:00", "invitation-3", consistent(_CONSENT))
    question = {"complaint_id": p.id("question-1"), "kind": "question", "text": "Who else can see that I take classes?"}
    yield p.tells("2025-12-15 05:00", MY, "question-1", "complaint.filed", question)
    answer = {"complaint_id": p.id("question-1"), "outcome": "settled", "answer": "The instructor and the front desk."}
    yield p.tells("2025-12-18 17:00", SECURITY_OFFICE, "question-1.answer", "complaint.resolved", answer)
    claim = "I have moved, and none of my contact details are right any more."
    contest = {"contest_id": p.id("contest-1"), "categories": ["contact"], "claim": claim}
    # The one contest of the story that nobody has answered.
    yield p.tells("2026-06-15 05:00", MY, "contest-1", "data.contested", contest)
    yield p.used(
        "2026-07-01 17:00",
        PARKS,
        "class.moved",
        "email",
        "4.2",
        "notify",
        # Told for 4.2. E-mail is a contact detail, and those are contested.
        consistent("purpose-limitation holds/stated-purpose [email]", "accuracy caution/contested [email]"),
        channel="email",
    )


def _invitation(at: str, about: str, expect: Expect) -> Entry:
    basis = FORM.by_consent("events")
    return FORM.used(at, PARKS, about, "email", "4.7/event-invitation", "notify", expect, basis, channel="email")


def camp() -> Iterator[Entry]:
    """The story of res_b672."""
    yield from _sponsor()
    yield from _telephone()
    yield from _access()


def _sponsor() -> Iterator[Entry]:
    p = CAMP
    yield p.notice("2025-03-03 18:00", PARKS, "camp.notice", "4.2", "email shirt-size")
    yield p.collected(
        "2025-03-03 18:05",
        PARKS,
        "camp",
        "email shirt-size",
        "4.2",
        # Both were told. The policy has no such category as a shirt size.
        inconsistent(
            *necessary("email"),
            "necessary violated/unknown-category [shirt-size]",
            "notice holds/notice-given [email, shirt-size]",
        ),
    )
    yield p.notice("2025-03-05 18:00", PARKS, "sponsor.notice", "sponsor-offers", "email")
    yield p.collected(
        "2025-03-05 18:05",
        PARKS,
        "sponsor",
        "email",
        "sponsor-offers",
        # Told, but the policy does not state this purpose, and a purpose it does not know makes nothing necessary.
        inconsistent(
            "purposes-known violated/unknown-purpose",
            "necessary violated/category-not-necessary [email]",
            "notice holds/notice-given [email]",
        ),
    )
    # Having been told does not help: the policy does not know the purpose, and there is no consent.
    yield _offer("2025-03-12 18:00", "offer-1", inconsistent(_UNKNOWN))
    yield p.consents("2025-03-14 18:00", PARKS, "consent-1", "sponsor", "sponsor-offers")
    # A consent may name a purpose that the policy does not know.
    yield _offer("2025-03-19 18:00", "offer-2", consistent(_CONSENT))
    yield p.withdraws("2025-04-02 04:00", MY, "consent-1.end", "sponsor")
    yield _offer("2025-04-09 18:00", "offer-3", inconsistent(_UNKNOWN))


def _offer(at: str, about: str, expect: Expect) -> Entry:
    return CAMP.used(at, PARKS, about, "email", "sponsor-offers", "notify", expect, channel="email")


def _telephone() -> Iterator[Entry]:
    p = CAMP
    yield p.collected(
        "2025-07-14 18:00",
        REQUESTS,
        "phone",
        "phone",
        "4.6",
        # On the list for 4.6, but no notice of res_b672 holds a telephone number.
        inconsistent(*necessary("phone"), "notice violated/no-notice [phone]"),
    )
    yield p.used(
        "2025-07-16 18:00",
        REQUESTS,
        "phone.call",
        "phone",
        "4.6/request-update",
        "notify",
        # Under 4.6, which the collection declared and nobody was told.
        inconsistent("purpose-limitation violated/purpose-not-told [phone]"),
        channel="phone",
    )
    yield p.used(
        "2025-08-20 18:00",
        PARKS,
        "photo",
        "photo",
        "4.2",
        "consult",
        # Nothing on record says where a photograph came from.
        undetermined("purpose-limitation unknown/no-collection-on-record [photo]"),
    )


def _access() -> Iterator[Entry]:
    p = CAMP
    request = {"request_id": p.id("access-1"), "kind": "review"}
    yield p.tells("2025-08-25 04:00", MY, "access-1", "access.requested", request)
    answer = {"request_id": p.id("access-1"), "outcome": "granted", "answer": "All that is held is on your page now."}
    yield p.tells("2025-09-04 17:00", PRIVACY_OFFICE, "access-1.answer", "access.answered", answer)
    yield p.tells("2025-09-05 04:00", MY, "access-1.read", "data.reviewed", {"categories": ["email", "phone"]})
    yield p.notice("2026-01-30 18:00", PARKS, "league.notice", "4.2", "phone")
    yield p.collected(
        "2026-02-02 18:00",
        PARKS,
        "league",
        "phone",
        "4.2",
        # Through the league, but told beforehand and on the list for 4.2.
        consistent(*proper("phone")),
        origin="third-party",
        **{"from": "youth-league"},
    )

"""The quiet neighbour (res_e519): graffiti reported three times, as it should be; one question too many at the library.

Most of what a city does is like this. `demo` sends what happens today to this resident too (see `api.city.live`).

>>> sum(e.expect.outcome == "consistent" for e in neighbour() if e.expect)
9
"""

from collections.abc import Iterator

from api.city.entry import Entry, Person, consistent, inconsistent, necessary, proper
from api.city.places import LIBRARY, MY, PRIVACY_OFFICE, REQUESTS

PERSON = Person("res_e519")
_GRAFFITI = "4.2/graffiti-report"


def neighbour() -> Iterator[Entry]:
    """The whole story."""
    yield from _reports()
    yield from _card()


def _reports() -> Iterator[Entry]:
    p = PERSON
    told = "email precise-location photo request-content"
    yield p.notice("2024-11-12 18:00", REQUESTS, "graffiti.notice", _GRAFFITI, told)
    for number, month in enumerate(("2024-11", "2025-06", "2026-10"), start=1):
        about = f"graffiti-{number}"
        yield p.collected(f"{month}-12 18:05", REQUESTS, about, told, _GRAFFITI, consistent(*proper(told)))
        yield p.used(
            f"{month}-13 15:00",
            REQUESTS,
            f"{about}.crew",
            "photo precise-location",
            _GRAFFITI,
            "consult",
            consistent("purpose-limitation holds/stated-purpose [photo, precise-location]"),
            operator="emp-12",
        )
        yield p.used(
            f"{month}-19 22:00",
            REQUESTS,
            f"{about}.done",
            "email",
            "4.6/request-update",
            "notify",
            # 4.6 is consistent with 4.2, which a graffiti report is under.
            consistent("purpose-limitation holds/consistent-purpose [email]"),
            channel="email",
        )


def _card() -> Iterator[Entry]:
    p = PERSON
    yield p.notice("2025-10-20 18:00", LIBRARY, "card.notice", "4.2", "name government-id")
    yield p.collected(
        "2025-10-20 18:10",
        LIBRARY,
        "card",
        "name government-id",
        "4.2",
        # Told; but an identity document is on the list for a permit, not on that for requests at large.
        inconsistent(
            *necessary("name"),
            "necessary violated/category-not-necessary [government-id]",
            "notice holds/notice-given [government-id, name]",
        ),
    )
    request = {"request_id": p.id("access-1"), "kind": "update", "categories": ["name"]}
    yield p.tells("2025-11-02 04:00", MY, "access-1", "access.requested", request)
    answer = {"request_id": p.id("access-1"), "outcome": "partly", "answer": "Your name is corrected on the card only."}
    yield p.tells("2025-11-10 18:00", PRIVACY_OFFICE, "access-1.answer", "access.answered", answer)
    yield p.tells("2025-11-11 04:00", MY, "access-1.update", "data.updated", {"categories": ["name"], "by": "resident"})

"""The city's rules over two years: its policy, its services, its agreements with providers, its decisions on demands.

The city keeps to the My San Jose policy of 2018-04-18. Statement 3 of that policy lists nothing ("including:" and a
blank), so under it no automatic collection can be more than undetermined. To show the two findings that need a list,
the story has a **made-up trial**: for four weeks of March 2026 a version with a list for statement 3, published ahead
like any other, and after it the text of 2018-04-18 again, under its old version. The trial is the story's alone; the
City of San José published no such list.

>>> [e.data["version"] for e in rules() if e.kind == "policy.published"]
['2018-04-18', '2026-03-09-trial', '2018-04-18']
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from api.city.entry import TRIAL, Entry, entry
from api.city.places import PRIVACY_OFFICE, SECURITY_OFFICE, SERVICES
from ledger import policy
from ledger.events import Automatic, PolicyPublished, Statement

TRIAL_CATEGORIES = ("usage-activity", "device-id")
_TRIAL_MARK = "(made up for the seeded city; not the City of San José's text)"

INSPECTIONS = ("service-provider", "clearview-inspections")
MAILING = ("service-provider", "bayprint-mailing")
METRICS = ("service-provider", "metricworks")
PRESS = ("public", "daily-lantern")
COURT = ("agency", "county-court")
SHERIFF = ("agency", "county-sheriff")
"""Recipients of the story, all made up: (kind, id)."""

PRESS_DEMAND = "pra-2025-017"
REFUSED_DEMAND = "pra-2025-044"
OPEN_SUBPOENA = "sub-2025-004"


def trial_policy() -> PolicyPublished:
    """The policy with a list for statement 3 that the story makes up, in force from 9 March 2026."""
    real = policy.my_san_jose()
    three = f"{_statement(real, '3')}\n\nuse of the app, and the device used {_TRIAL_MARK}"
    return msgspec.structs.replace(
        real,
        version=TRIAL,
        title=f"{real.title}, trial list for statement 3 {_TRIAL_MARK}",
        effective_from="2026-03-09T07:00:00Z",
        statements=tuple(Statement(id=s.id, text=three) if s.id == "3" else s for s in real.statements),
        automatic=Automatic(categories=TRIAL_CATEGORIES),
    )


def restored_policy() -> PolicyPublished:
    """The policy of 2018-04-18 again, from the end of the trial on: the same words under the same version."""
    return msgspec.structs.replace(policy.my_san_jose(), effective_from="2026-04-06T07:00:00Z")


def _statement(data: PolicyPublished, id_: str) -> str:
    return next(s.text for s in data.statements if s.id == id_)


def _rule(at: str, id_: str, kind: str, data: dict[str, Any], happened: str | None = None) -> Entry:
    return entry(at, PRIVACY_OFFICE, id_, kind, data, happened=happened)


def rules() -> Iterator[Entry]:
    """Every reference fact of the story."""
    yield _rule("2024-11-01 15:00", "policy.1", "policy.published", msgspec.to_builtins(policy.my_san_jose()))
    for minute, service in enumerate(SERVICES, start=10):
        data = {
            "service": service.source,
            "names": {"en": service.en, "es": service.es, "vi": service.vi},
            "department": service.department,
            "purposes": list(service.purposes),
        }
        yield _rule(f"2024-11-01 15:{minute}", f"service.{minute - 9}", "service.registered", data)
    yield from _agreements()
    yield from _decisions()
    yield _rule("2026-02-16 18:00", "policy.2", "policy.published", msgspec.to_builtins(trial_policy()))
    yield _rule("2026-03-23 18:00", "policy.3", "policy.published", msgspec.to_builtins(restored_policy()))
    # Nobody knows yet whose data was read: an incident without a resident. Two days later one is named.
    touched: dict[str, Any] = {"incident_id": "inc-2026-01", "kind": "unauthorized-access"}
    touched |= {"categories": ["device-id", "ip-address", "usage-activity"]}
    yield entry("2026-01-12 19:00", SECURITY_OFFICE, "inc-2026-01.first", "incident.reported", touched)


def _agreements() -> Iterator[Entry]:
    inspections = {
        "agreement_id": "agr-clearview-1",
        "recipient": INSPECTIONS[1],
        "purposes": ["4.2/permit/inspection"],
        "categories": ["name", "contact", "precise-location", "permit-application"],
        "safeguards": ["encrypted-transfer", "erased-after-90-days", "no-onward-transfer"],
        "valid_from": "2025-01-02T08:00:00Z",
    }
    yield _rule("2024-12-16 18:00", "agreement.1", "agreement.signed", inspections)
    mailing = {
        "agreement_id": "agr-bayprint-1",
        "recipient": MAILING[1],
        "purposes": ["4.6", "4.7"],
        "categories": ["name", "postal-address"],
        "safeguards": ["encrypted-transfer", "erased-after-30-days"],
        "valid_from": "2025-02-01T08:00:00Z",
        "valid_until": "2026-02-01T08:00:00Z",
    }
    yield _rule("2025-01-20 18:00", "agreement.2", "agreement.signed", mailing)
    ended = {"agreement_id": "agr-clearview-1", "reason": "Addresses were passed on to a subcontractor"}
    yield _rule("2025-08-29 23:00", "agreement.3", "agreement.ended", ended)
    anew = {**inspections, "agreement_id": "agr-clearview-2", "valid_from": "2025-11-03T08:00:00Z"}
    yield _rule("2025-10-27 18:00", "agreement.4", "agreement.signed", anew)


def _decisions() -> Iterator[Entry]:
    # Decided on 17 March at 17:00, entered the next morning: late, but not by more than a day.
    disclose = {
        "demand_id": PRESS_DEMAND,
        "legal_basis": "public-records-act",
        "recipient": PRESS[1],
        "disclose": True,
        "exempt_categories": ["contact", "government-id"],
    }
    yield _rule("2025-03-18 15:30", "demand.1", "legal-demand.decided", disclose, happened="2025-03-17 17:00")
    refuse = {
        "demand_id": REFUSED_DEMAND,
        "legal_basis": "public-records-act",
        "disclose": False,
        "exempt_categories": [],
    }
    yield _rule("2025-09-15 18:00", "demand.2", "legal-demand.decided", refuse)

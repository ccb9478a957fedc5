"""One line of the city's story: when it is recorded, what is sent, and the verdict that we expect, written by hand.

>>> ana = Person("res_0000")
>>> entry = ana.used("2025-03-03 17:00", "/services/parks", "hike", "email", "4.7", "notify",
...     inconsistent("purpose-limitation violated/purpose-not-stated [email]"), channel="email")
>>> entry.event["id"], entry.event["time"], entry.expect.findings
('0000.hike', '2025-03-03T17:00:00Z', ('policy-in-force holds/2018-04-18', \
'purpose-limitation violated/purpose-not-stated [email]'))

Times are UTC, lists are words. An event is recorded the moment it happens, unless `happened` says that it happened
earlier: those are the deliberate late and backdated cases. An id is the resident's pseudonym without `res_`, a full
stop and what the event is about.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from ledger.events import TYPE_PREFIX

MSJ = "2018-04-18"
"""The version of the My San Jose policy that the city keeps to."""

TRIAL = "2026-03-09-trial"
"""The made-up version of four weeks whose list for statement 3 is not blank (see `api.city.rules`)."""

STATED: Mapping[str, str] = {"kind": "stated-purpose"}


@dataclass(frozen=True, slots=True)
class Expect:
    """What the judge must say: the outcome known now, the one known at the event's own position, every finding.

    A finding is written `rule result/code [categories]`, the categories sorted, as in docs/statements.md.
    """

    outcome: str
    first_outcome: str
    findings: tuple[str, ...]


def expect(outcome: str, findings: tuple[str, ...], first: str | None, version: str | None) -> Expect:
    """An expectation; `version` is the policy in force, whose finding is added, or None for no policy."""
    in_force = () if version is None else (f"policy-in-force holds/{version}",)
    return Expect(outcome, first or outcome, tuple(sorted([*in_force, *findings])))


def consistent(*findings: str, first: str | None = None, version: str | None = MSJ) -> Expect:
    """The judge must say consistent."""
    return expect("consistent", findings, first, version)


def inconsistent(*findings: str, first: str | None = None, version: str | None = MSJ) -> Expect:
    """The judge must say inconsistent."""
    return expect("inconsistent", findings, first, version)


def undetermined(*findings: str, first: str | None = None, version: str | None = MSJ) -> Expect:
    """The judge must say undetermined."""
    return expect("undetermined", findings, first, version)


def necessary(categories: str) -> tuple[str, str]:
    """The findings of a collection for known purposes, of categories that are necessary for one of them."""
    return "purposes-known holds/stated-in-policy", f"necessary holds/necessary {listed(categories)}"


def proper(categories: str) -> tuple[str, str, str]:
    """The findings of a collection that is as it should be: known purposes, necessary, told."""
    return *necessary(categories), f"notice holds/notice-given {listed(categories)}"


def listed(categories: str) -> str:
    """Categories as a finding writes them."""
    return f"[{', '.join(sorted(categories.split()))}]"


@dataclass(frozen=True, slots=True)
class Entry:
    """One event of the story: the ledger's clock when it is recorded, the CloudEvent, and its expected verdict."""

    recorded: str
    event: dict[str, Any]
    expect: Expect | None = None

    @property
    def source(self) -> str:
        """Who says it."""
        return str(self.event["source"])

    @property
    def id(self) -> str:
        """The event's id, unique within its source."""
        return str(self.event["id"])

    @property
    def kind(self) -> str:
        """The event's kind, such as `data.used`."""
        return str(self.event["type"]).removeprefix(TYPE_PREFIX).rsplit(".v", 1)[0]

    @property
    def subject(self) -> str | None:
        """The resident's pseudonym, None for a reference fact."""
        return self.event.get("subject")

    @property
    def data(self) -> dict[str, Any]:
        """The event's `data`, as sent."""
        data: dict[str, Any] = self.event["data"]
        return data

    @property
    def raw(self) -> bytes:
        """The event as an emitter sends it."""
        return orjson.dumps(self.event)


def moment(text: str) -> str:
    """`2025-03-03 17:00` as RFC 3339 in UTC; a text with seconds is kept."""
    day, clock = text.split(" ")
    return f"{day}T{clock}Z" if clock.count(":") == 2 else f"{day}T{clock}:00Z"


def entry(
    at: str,
    source: str,
    id_: str,
    kind: str,
    data: Mapping[str, Any],
    *,
    subject: str | None = None,
    expect: Expect | None = None,
    happened: str | None = None,
) -> Entry:
    """One event of the story."""
    event: dict[str, Any] = {
        "specversion": "1.0",
        "id": id_,
        "source": source,
        "type": f"{TYPE_PREFIX}{kind}.v1",
        "time": moment(happened or at),
        "datacontenttype": "application/json",
        "data": {name: value for name, value in data.items() if value is not None},
    }
    if subject is not None:
        event["subject"] = subject
    return Entry(moment(at), event, expect)


@dataclass(frozen=True, slots=True)
class Person:
    """A resident of the story, known to the ledger by a pseudonym alone."""

    subject: str

    def id(self, about: str) -> str:
        """The id of this resident's event about something."""
        return f"{self.subject.removeprefix('res_')}.{about}"

    def tells(
        self, at: str, source: str, about: str, kind: str, data: Mapping[str, Any], happened: str | None = None
    ) -> Entry:
        """A fact about the resident that is not judged."""
        return entry(at, source, self.id(about), kind, data, subject=self.subject, happened=happened)

    def notice(
        self, at: str, source: str, about: str, purposes: str, categories: str, language: str = "en", **more: Any
    ) -> Entry:
        """The resident is told what will be collected, and for which purposes."""
        notice = {
            "notice_id": self.id(about),
            "policy_version": MSJ,
            "purposes": purposes.split(),
            "categories": categories.split(),
            "channel": "in-app",
            "language": language,
        }
        return self.tells(at, source, about, "notice.given", {**notice, **more})

    def collected(
        self,
        at: str,
        source: str,
        about: str,
        categories: str,
        purposes: str,
        expect: Expect,
        origin: str = "resident",
        happened: str | None = None,
        **more: Any,
    ) -> Entry:
        """A service collects personal data."""
        data = {"categories": categories.split(), "purposes": purposes.split(), "origin": origin, **more}
        id_ = self.id(about)
        return entry(at, source, id_, "data.collected", data, subject=self.subject, expect=expect, happened=happened)

    def used(
        self,
        at: str,
        source: str,
        about: str,
        categories: str,
        purpose: str,
        operation: str,
        expect: Expect,
        basis: Mapping[str, Any] = STATED,
        **more: Any,
    ) -> Entry:
        """A service uses personal data."""
        data = {"categories": categories.split(), "purpose": purpose, "operation": operation, "basis": dict(basis)}
        return entry(at, source, self.id(about), "data.used", {**data, **more}, subject=self.subject, expect=expect)

    def shared(
        self,
        at: str,
        source: str,
        about: str,
        categories: str,
        purpose: str,
        recipient: tuple[str, str],
        expect: Expect,
        basis: Mapping[str, Any] = STATED,
        **more: Any,
    ) -> Entry:
        """A service gives personal data to `recipient`, (kind, id)."""
        data: dict[str, Any] = {"categories": categories.split(), "purpose": purpose, "recipient": recipient[1]}
        data |= {"recipient_kind": recipient[0], "basis": dict(basis), **more}
        return entry(at, source, self.id(about), "data.shared", data, subject=self.subject, expect=expect)

    def consents(self, at: str, source: str, about: str, consent_id: str, purposes: str, **more: Any) -> Entry:
        """The resident consents; `happened` in `more` dates it back."""
        happened = more.pop("happened", None)
        data = {"consent_id": self.id(consent_id), "purposes": purposes.split(), "method": "web-form", **more}
        return self.tells(at, source, about, "consent.given", data, happened)

    def withdraws(self, at: str, source: str, about: str, consent_id: str, happened: str | None = None) -> Entry:
        """The resident withdraws a consent."""
        return self.tells(at, source, about, "consent.withdrawn", {"consent_id": self.id(consent_id)}, happened)

    def by_consent(self, consent_id: str) -> dict[str, str]:
        """The basis of an event that claims one of this resident's consents."""
        return {"kind": "consent", "consent_id": self.id(consent_id)}

    def about(self, source: str, about: str) -> dict[str, str]:
        """Names one of this resident's events."""
        return {"source": source, "id": self.id(about)}


def by_law(legal_basis: str, citation: str, demand_id: str | None = None) -> dict[str, str]:
    """The basis of an event that claims a law."""
    claim = {"kind": "law", "legal_basis": legal_basis, "citation": citation}
    return claim if demand_id is None else {**claim, "demand_id": demand_id}

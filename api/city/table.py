"""The auditor's question about the seeded uses, as a table: the answers that came, held against those expected.

>>> from api.city.story import story
>>> issue = [e for e in story() if e.id == "7f2c.issue-2024-12"]
>>> answer = {"source": "/services/notifications", "id": "7f2c.issue-2024-12", "outcome": "inconsistent",
...     "first_outcome": "inconsistent", "findings": [
...     {"rule": "policy-in-force", "result": "holds", "code": "2018-04-18", "categories": [], "statement": None,
...      "text": "This version of the policy was in force."},
...     {"rule": "purpose-limitation", "result": "violated", "code": "purpose-not-stated", "categories": ["email"],
...      "statement": "8", "text": "Not a stated purpose."}]}
>>> found = table([answer], issue)
>>> found.differences, found.lines[0].cells()  # doctest: +NORMALIZE_WHITESPACE
((), ('2024-12-02', 'Notifications and newsletter', 'res_7f2c', 'notify: email', '4.7/newsletter', 'inconsistent',
 'Not a stated purpose.', '8'))
>>> table([{**answer, "outcome": "consistent"}], issue).differences
('/services/notifications 7f2c.issue-2024-12: outcome is consistent, expected inconsistent',)

Answers are verdicts in the contract's JSON, from whichever door or view they come. Lines are uses and shares;
differences are looked for in every judged event of the story, collections too.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from api.city.entry import Entry, Expect
from api.city.places import name_of

COLUMNS = ("day", "service", "resident", "what", "purpose", "outcome", "reason", "statement")
_DECIDES = {"inconsistent": "violated", "undetermined": "unknown"}
MISSING = "no answer"


class Line(NamedTuple):
    """One use or share: what happened, what the ledger answers, why, and on which policy statement that rests."""

    source: str
    id: str
    day: str
    service: str
    resident: str
    what: str
    purpose: str
    outcome: str
    first_outcome: str
    reason: str
    statement: str
    as_seeded: bool

    def cells(self) -> tuple[str, ...]:
        """The line as a table shows it, in the order of `COLUMNS`."""
        outcome = self.outcome if self.outcome == self.first_outcome else f"{self.outcome}, first {self.first_outcome}"
        return (
            self.day,
            self.service,
            self.resident,
            self.what,
            self.purpose,
            outcome,
            self.reason,
            self.statement,
        )


class Table(NamedTuple):
    """The answers about the seeded uses and shares, and in what they differ from what was expected."""

    lines: tuple[Line, ...]
    differences: tuple[str, ...]


def table(verdicts: Iterable[Mapping[str, Any]], entries: Sequence[Entry]) -> Table:
    """Holds verdicts (JSON of verdicts.md) against the expectations of these entries, in the order of the log.

    Verdicts about other events are left out. An entry without an answer is a difference.
    """
    answers = {(verdict["source"], verdict["id"]): verdict for verdict in verdicts}
    lines: list[Line] = []
    differences: list[str] = []
    for entry in entries:
        if entry.expect is None:
            continue
        verdict = answers.get((entry.source, entry.id))
        found = _differences(entry.expect, verdict)
        differences += [f"{entry.source} {entry.id}: {difference}" for difference in found]
        if entry.kind in ("data.used", "data.shared"):
            lines.append(_line(entry, verdict, as_seeded=not found))
    return Table(tuple(lines), tuple(differences))


def _differences(expect: Expect, verdict: Mapping[str, Any] | None) -> list[str]:
    if verdict is None:
        return [f"{MISSING}, expected {expect.outcome}"]
    found = [
        f"{name} is {verdict[name]}, expected {expected}"
        for name, expected in (("outcome", expect.outcome), ("first_outcome", expect.first_outcome))
        if verdict[name] != expected
    ]
    findings = sorted(_as_text(finding) for finding in verdict["findings"])
    found += [f"finds {text}, not expected" for text in findings if text not in expect.findings]
    found += [f"does not find {text}" for text in expect.findings if text not in findings]
    return found


def _as_text(finding: Mapping[str, Any]) -> str:
    categories = f" [{', '.join(finding['categories'])}]" if finding["categories"] else ""
    return f"{finding['rule']} {finding['result']}/{finding['code']}{categories}"


def _line(entry: Entry, verdict: Mapping[str, Any] | None, *, as_seeded: bool) -> Line:
    data = entry.data
    shared = "recipient" in data
    what = f"share with {data['recipient']}" if shared else data["operation"]
    reason, statement = ("", "") if verdict is None else _why(verdict)
    return Line(
        source=entry.source,
        id=entry.id,
        day=str(entry.event["time"])[:10],
        service=name_of(entry.source),
        resident=entry.subject or "",
        what=f"{what}: {', '.join(data['categories'])}",
        purpose=data["purpose"],
        outcome=MISSING if verdict is None else verdict["outcome"],
        first_outcome=MISSING if verdict is None else verdict["first_outcome"],
        reason=reason,
        statement=statement,
        as_seeded=as_seeded,
    )


def _why(verdict: Mapping[str, Any]) -> tuple[str, str]:
    """The words of the findings that decided, then of the cautions; and the statements those decided by."""
    result = _DECIDES.get(verdict["outcome"])
    findings = verdict["findings"]
    deciding = [f for f in findings if (f["result"] == result if result else f["rule"] == "purpose-limitation")]
    cautions = [f for f in findings if f["result"] == "caution"]
    texts = dict.fromkeys(f["text"] for f in [*deciding, *cautions])
    statements = dict.fromkeys(f["statement"] for f in deciding if f["statement"])
    return " ".join(texts), ", ".join(statements)

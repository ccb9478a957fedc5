"""The judge: was this collection, use or share consistent with a stated purpose? Pure: no clock, no I/O, no chance.

`judge(event, facts, rules)` looks at what is known of one resident and of the rules as of the event's own time and
gives an outcome with findings. Each finding names the policy statement it rests on and the records that show it.

>>> used = e.KINDS["data.used"](id="e1", source="/services/permits", subject="res_7f2c", time="2026-03-03T12:00:00Z",
...     data=e.DataUsed(categories=("email",), purpose="4.2", operation="consult", basis=e.StatedPurpose()))
>>> verdict = judge(used, Facts(), Rules())
>>> verdict.outcome, verdict.findings[0].code
('undetermined', 'no-policy-in-force')

Source: contract/verdicts.md, whose names the rules here bear. Evidence are offsets in the partition of the event.
"""

from collections.abc import Iterable
from typing import NamedTuple

from ledger import events as e
from ledger.codec import instant
from ledger.collection import judge_collection
from ledger.facts import Facts
from ledger.findings import CAUTION, HOLDS, UNKNOWN, VIOLATED, Finding, Question, finding
from ledger.handling import judge_handling
from ledger.policy import Policy
from ledger.rules import Rules

CONSISTENT, INCONSISTENT, UNDETERMINED = "consistent", "inconsistent", "undetermined"


class Verdict(NamedTuple):
    """The answer with its reasons; `policy` is (policy_id, version), or None when none was in force."""

    outcome: str
    findings: tuple[Finding, ...]
    basis: tuple[str, ...]
    policy: tuple[str, str] | None


def judge(event: e.Event, facts: Facts, rules: Rules) -> Verdict:
    """Judges one collection, use or share by what is known."""
    t = instant(event.time)
    in_force = rules.policy_at(t)
    if in_force is None:
        return _verdict([finding("policy-in-force", UNKNOWN, "no-policy-in-force", (), (), 0)], None)
    _, policy_offset, policy = in_force
    data = event.data
    question = Question(data, t, policy, policy_offset, facts, rules)
    question.stands("policy-in-force", HOLDS, policy.version)
    if isinstance(data, e.DataCollected):
        judge_collection(question, data)
    else:
        judge_handling(question, data)
    return _verdict(question.findings(), policy)


def with_cautions(verdict: Verdict, codes: Iterable[str]) -> Verdict:
    """The same verdict with `evidence` cautions added; they change no outcome."""
    policy_offset = next((f.evidence for f in verdict.findings if f.rule == "policy-in-force"), ())
    cautions = [Finding("evidence", CAUTION, code, (), None, policy_offset, None) for code in codes]
    if not cautions:
        return verdict
    return verdict._replace(findings=tuple(sorted([*verdict.findings, *cautions])))


def _verdict(findings: list[Finding], policy: Policy | None) -> Verdict:
    violated = unknown = False
    basis: list[str] = []
    for rule, result, code, *_ in findings:
        if result == HOLDS:
            if rule == "purpose-limitation":
                basis.append(code)
        elif result == VIOLATED:
            violated = True
        elif result == UNKNOWN:
            unknown = True
    outcome = INCONSISTENT if violated else UNDETERMINED if unknown else CONSISTENT
    return Verdict(outcome, tuple(findings), tuple(basis), None if policy is None else policy.name)

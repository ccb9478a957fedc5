"""What a judgement finds, and how it cites: the policy's record always; what satisfied a rule, or what failed it.

>>> finding("recipient", HOLDS, "described", (), (3,), None).statement
'5'

Evidence are offsets in the partition of the judged event, in ascending order, so the same facts give the same bytes.
"""

from collections.abc import Iterable, Sequence
from heapq import nlargest
from typing import NamedTuple

from ledger import events as e
from ledger.facts import Facts
from ledger.policy import Policy
from ledger.reasons import reason
from ledger.rules import Rules
from ledger.stamps import Stamp, until

HOLDS, VIOLATED, UNKNOWN, CAUTION = "holds", "violated", "unknown", "caution"
MAX_CANDIDATES = 8


class Finding(NamedTuple):
    """What one rule found. `evidence` are offsets, ascending; `evidence_total` counts the candidates that failed."""

    rule: str
    result: str
    code: str
    categories: tuple[str, ...]
    statement: str | None
    evidence: tuple[int, ...]
    evidence_total: int | None


def finding(
    rule: str, result: str, code: str, categories: Sequence[str], evidence: Iterable[int], total: int | None
) -> Finding:
    """A finding with the statement its reason rests on."""
    statement = reason(rule, result, code).statement
    return Finding(rule, result, code, tuple(categories), statement, tuple(evidence), total)


class Question:
    """One judgement in the making: what is asked of whom, and what has been found so far."""

    __slots__ = ("_found", "_policy_offset", "categories", "facts", "policy", "rules", "t")

    def __init__(self, data: e.Data, t: int, policy: Policy, policy_offset: int, facts: Facts, rules: Rules) -> None:
        self.categories: tuple[str, ...] = data.categories  # type: ignore[attr-defined]
        self.t, self.policy, self.facts, self.rules = t, policy, facts, rules
        self._policy_offset = policy_offset
        self._found: dict[tuple[str, str, str], tuple[list[str], list[int], list[Candidates], list[str]]] = {}

    def find(
        self,
        rule: str,
        result: str,
        code: str,
        category: str | None = None,
        evidence: Sequence[Stamp] = (),
        failed: "Candidates | None" = None,
        statement: str | None = None,
    ) -> None:
        """Adds to the finding of this name: a category, the records that satisfied it, or those that failed."""
        key = (rule, result, code)
        entry = self._found.get(key)
        if entry is None:
            entry = self._found[key] = ([], [], [], [])
        if category is not None:
            entry[0].append(category)
        for stamp in evidence:
            entry[1].append(stamp[1])
        if failed is not None:
            entry[2].append(failed)
        if statement is not None:
            entry[3].append(statement)

    def findings(self) -> list[Finding]:
        """Everything found, in one order."""
        findings = []
        for (rule, result, code), (categories, evidence, failed, statement) in sorted(self._found.items()):
            offsets, total = {self._policy_offset, *evidence}, None
            if failed:
                latest, total = _latest(failed)
                offsets.update(latest)
            made = finding(rule, result, code, sorted(set(categories)), sorted(offsets), total)
            findings.append(made._replace(statement=statement[0]) if statement else made)
        return findings


Candidates = dict[tuple[object, ...], tuple[list[Stamp], int]]
"""Records that failed: groups by a name of their own, each a sorted list of stamps of which the first n count."""


def _latest(failed: list[Candidates]) -> tuple[list[int], int]:
    """The offsets of the 8 latest candidates, and how many there are; a group that failed twice counts once."""
    groups: Candidates = {}
    for candidates in failed:
        groups.update(candidates)
    tails = [stamp for stamps, n in groups.values() for stamp in stamps[max(0, n - MAX_CANDIDATES) : n]]
    return [offset for _, offset in nlargest(MAX_CANDIDATES, tails)], sum(n for _, n in groups.values())


def first_between(stamps: list[Stamp], after: int, t: int) -> Stamp | None:
    """The first stamp with after <= instant <= t."""
    at = until(stamps, after - 1)
    return stamps[at] if at < len(stamps) and stamps[at][0] <= t else None

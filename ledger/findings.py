"""What a judgement finds, and how it cites: the policy's record always; what satisfied a rule, or what failed it.

>>> finding("recipient", HOLDS, "described", (), (3,), None).statement
'5'

Evidence are offsets in the partition of the judged event, in ascending order, so the same facts give the same bytes.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ledger import events as e
from ledger.facts import Facts
from ledger.policy import Policy
from ledger.reasons import reason
from ledger.rules import Rules
from ledger.stamps import Stamp

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

    __slots__ = ("_made", "_merging", "categories", "facts", "policy", "policy_offset", "rules", "t")

    def __init__(self, data: e.Data, t: int, policy: Policy, policy_offset: int, facts: Facts, rules: Rules) -> None:
        self.categories: tuple[str, ...] = data.categories  # type: ignore[attr-defined]
        self.t, self.policy, self.facts, self.rules = t, policy, facts, rules
        self.policy_offset = policy_offset
        self._made: list[Finding] = []
        self._merging: dict[tuple[str, str, str], tuple[list[str], set[int], list[Candidates]]] = {}

    def add(self, made: Finding) -> None:
        """Adds a finding of which there is one in a verdict."""
        self._made.append(made)

    def add_all(self, made: Iterable[Finding]) -> None:
        """Adds findings of which there is one in a verdict."""
        self._made += made

    def stands(self, rule: str, result: str, code: str) -> None:
        """Adds a finding that rests on the policy alone, without categories."""
        asked = (rule, result, code, self.policy_offset)
        made = self.policy.remembered(asked)
        if made is None:
            made = finding(rule, result, code, (), (self.policy_offset,), None)
            self.policy.remember(asked, made)
        self._made.append(made)

    def find(
        self,
        rule: str,
        result: str,
        code: str,
        category: str | None = None,
        evidence: Sequence[Stamp] = (),
        failed: "Candidates | None" = None,
    ) -> None:
        """Adds to the finding of this name: a category, the records that satisfied it, or those that failed."""
        key = (rule, result, code)
        entry = self._merging.get(key)
        if entry is None:
            entry = self._merging[key] = ([], {self.policy_offset}, [])
        if category is not None:
            entry[0].append(category)
        for stamp in evidence:
            entry[1].add(stamp[1])
        if failed is not None:
            entry[2].append(failed)

    def findings(self) -> list[Finding]:
        """Everything found, in one order: by rule, result and code, of which no two are the same."""
        made = self._made
        for (rule, result, code), (categories, offsets, failed) in self._merging.items():
            total = None
            if failed:
                latest, total = _latest(failed)
                offsets.update(latest)
            if len(categories) > 1:
                categories = sorted(set(categories))
            made.append(finding(rule, result, code, categories, sorted(offsets), total))
        made.sort()
        return made


Candidates = dict[tuple[object, ...], tuple[list[Stamp], int]]
"""Records that failed: groups by a name of their own, each a sorted list of stamps of which the first n count."""


def _latest(failed: list[Candidates]) -> tuple[list[int], int]:
    """The offsets of the 8 latest candidates, and how many there are; a group that failed twice counts once."""
    groups = failed[0]
    if len(failed) > 1:
        groups = dict(groups)
        for candidates in failed:
            groups.update(candidates)
    tails: list[Stamp] = []
    total = 0
    for stamps, n in groups.values():
        total += n
        tails += stamps[max(0, n - MAX_CANDIDATES) : n]
    tails.sort(reverse=True)
    return [offset for _, offset in tails[:MAX_CANDIDATES]], total


def first_between(stamps: list[Stamp], after: int, t: int) -> Stamp | None:
    """The first stamp with after <= instant <= t, of some."""
    first = stamps[0]
    if first[0] < after:
        at = bisect_left(stamps, (after, -1))
        if at == len(stamps):
            return None
        first = stamps[at]
    return first if first[0] <= t else None

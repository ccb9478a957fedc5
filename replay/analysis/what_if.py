"""What would change if a draft were the rule: every verdict of the log by the recorded policies and by the draft.

>>> from ledger import codec, policy
>>> lines = [b'{"type":"org.consent-ledger.data.used.v1","specversion":"1.0","id":"e1","source":"/services/permits",'
...     b'"subject":"res_7f2c","time":"2026-03-03T12:00:00Z","datacontenttype":"application/json","data":'
...     b'{"categories":["email"],"purpose":"9.9","operation":"consult","basis":{"kind":"stated-purpose"}}}']
>>> found = compare(0, enumerate(map(codec.read, lines)), Draft(policy.my_san_jose()))
>>> found.judged, found.changed, found.matrix["undetermined", "inconsistent"]
(1, 1, 1)
>>> [(str(code), counts.appearing, counts.disappearing) for code, counts in sorted(found.codes.items())]
[('policy-in-force/unknown/no-policy-in-force', 0, 1), ('purpose-limitation/violated/unknown-purpose', 1, 0)]

A verdict *changes* when its outcome does; one with the same outcome for other reasons is counted beside. Reasons are
(rule, result, code); which version was in force is no reason, for a draft always has another name.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ledger import events as e
from ledger.findings import HOLDS
from ledger.log import Position
from ledger.verdict import Verdict
from projections.summary import OUTCOMES
from replay.analysis.judging import Draft, Judged, PartitionJudge, purposes_of
from replay.analysis.reading import Part, Progress, Share, read

Transition = tuple[str, str]
"""(outcome by the recorded policies, outcome by the draft)"""
TRANSITIONS = tuple((one, other) for one in OUTCOMES for other in OUTCOMES)
CHANGES = tuple(pair for pair in TRANSITIONS if pair[0] != pair[1])
SAMPLES, MAX_SAMPLES = 5, 100
"""Samples of each change."""


class Code(NamedTuple):
    """A reason, by its three names."""

    rule: str
    result: str
    code: str

    def __str__(self) -> str:
        return "/".join(self)


class Sample(NamedTuple):
    """One verdict that would change: where, what, and which reasons come and go. Never a body, never a resident."""

    position: Position
    kind: str
    service: str
    purposes: tuple[str, ...]
    transition: Transition
    appearing: tuple[Code, ...]
    disappearing: tuple[Code, ...]


@dataclass(slots=True)
class CodeCounts:
    """In how many verdicts a reason would appear and disappear, and, of those that change, from what to what."""

    appearing: int = 0
    disappearing: int = 0
    transitions: dict[Transition, int] = field(default_factory=dict)


Matrix = dict[Transition, int]


@dataclass(slots=True)
class Comparison:
    """Both sides of some verdicts, counted. An event with several purposes is counted under each of them."""

    samples_each: int = SAMPLES
    matrix: Matrix = field(default_factory=lambda: dict.fromkeys(TRANSITIONS, 0))
    by_purpose: dict[str, Matrix] = field(default_factory=dict)
    by_service: dict[str, Matrix] = field(default_factory=dict)
    codes: dict[Code, CodeCounts] = field(default_factory=dict)
    other_reasons: int = 0
    samples: dict[Transition, list[Sample]] = field(default_factory=dict)
    parts: list[Part] = field(default_factory=list)

    @property
    def judged(self) -> int:
        """How many verdicts were compared."""
        return sum(self.matrix.values())

    @property
    def changed(self) -> int:
        """How many of them have another outcome under the draft."""
        return changed_in(self.matrix)

    @property
    def records(self) -> int:
        """How many records were read."""
        return sum(part.records for part in self.parts)

    @property
    def halted(self) -> list[Part]:
        """The partitions that could not be read to their end."""
        return [part for part in self.parts if part.halted is not None]

    def count(self, partition: int, found: Judged) -> None:
        """Takes in one verdict."""
        assert found.draft is not None, "a comparison has two sides"
        event, transition = found.event, (found.recorded.outcome, found.draft.outcome)
        purposes = purposes_of(event)
        self.matrix[transition] += 1
        for counts, names in ((self.by_purpose, purposes), (self.by_service, (event.source,))):
            for name in names:
                line = counts.setdefault(name, {})
                line[transition] = line.get(transition, 0) + 1
        before, after = codes_of(found.recorded.verdict), codes_of(found.draft.verdict)
        if before == after and transition[0] == transition[1]:
            return
        appearing = tuple(code for code in after if code not in before)
        disappearing = tuple(code for code in before if code not in after)
        self._count_codes(transition, appearing, disappearing)
        if transition[0] == transition[1]:
            self.other_reasons += 1
            return
        samples = self.samples.setdefault(transition, [])
        if len(samples) < self.samples_each:
            at = Position(partition, found.offset)
            samples.append(Sample(at, event.kind, event.source, purposes, transition, appearing, disappearing))

    def _count_codes(self, transition: Transition, appearing: Iterable[Code], disappearing: Iterable[Code]) -> None:
        for code in appearing:
            self.codes.setdefault(code, CodeCounts()).appearing += 1
        for code in disappearing:
            self.codes.setdefault(code, CodeCounts()).disappearing += 1
        if transition[0] != transition[1]:
            for code in (*appearing, *disappearing):
                transitions = self.codes[code].transitions
                transitions[transition] = transitions.get(transition, 0) + 1

    def add(self, other: "Comparison") -> None:
        """Takes in another partition's; partitions in ascending order give the same report wherever they were read."""
        _add(self.matrix, other.matrix)
        for ours, theirs in ((self.by_purpose, other.by_purpose), (self.by_service, other.by_service)):
            for name, line in theirs.items():
                _add(ours.setdefault(name, {}), line)
        for code, counts in other.codes.items():
            held = self.codes.setdefault(code, CodeCounts())
            held.appearing += counts.appearing
            held.disappearing += counts.disappearing
            _add(held.transitions, counts.transitions)
        self.other_reasons += other.other_reasons
        for transition, found in other.samples.items():
            samples = self.samples.setdefault(transition, [])
            samples += found[: self.samples_each - len(samples)]
        self.parts += other.parts

    def json(self, draft: Draft) -> dict[str, Any]:
        """The report as `--json` prints it."""
        return {
            "policy": {"policy_id": draft.policy.policy_id, "version": draft.policy.version},
            "in_force": draft.policy.effective_from if draft.from_its_date else "always",
            "records": self.records,
            "judged": self.judged,
            "changed": self.changed,
            "same_outcome_other_reasons": self.other_reasons,
            "matrix": {one: {other: self.matrix[one, other] for other in OUTCOMES} for one in OUTCOMES},
            "by_purpose": [_line("purpose", *item) for item in most_changed(self.by_purpose)],
            "by_service": [_line("service", *item) for item in most_changed(self.by_service)],
            "by_code": [_code_line(*item) for item in most_moved(self.codes)],
            "samples": [_sample_line(sample) for pair in CHANGES for sample in self.samples.get(pair, [])],
            "partitions": [_part_line(part) for part in self.parts],
        }


def compare(partition: int, events: Iterable[tuple[int, e.Event]], draft: Draft, samples: int = SAMPLES) -> Comparison:
    """Compares the verdicts of one partition's events, which come with their offsets in log order."""
    judge = PartitionJudge(partition, draft)
    for offset, event in events:
        judge.take(offset, event)
    return _counted(partition, judge, samples)


def of_partition(share: Share, progress: Progress, *, draft: Draft, samples: int) -> Comparison:
    """Reads one partition of the log and compares its verdicts."""
    judge = PartitionJudge(share.partition, draft)
    part = read(share, judge.take, progress)
    found = _counted(share.partition, judge, samples)
    found.parts.append(part)
    return found


def together(comparisons: Iterable[Comparison], samples: int = SAMPLES) -> Comparison:
    """All partitions, which come in ascending order."""
    whole = Comparison(samples)
    for comparison in comparisons:
        whole.add(comparison)
    return whole


def _counted(partition: int, judge: PartitionJudge, samples: int) -> Comparison:
    found = Comparison(samples)
    for judged in judge.verdicts():
        found.count(partition, judged)
    return found


def codes_of(verdict: Verdict) -> tuple[Code, ...]:
    """A verdict's reasons, but for the version that was in force."""
    return tuple(
        Code(f.rule, f.result, f.code)
        for f in verdict.findings
        if not (f.rule == "policy-in-force" and f.result == HOLDS)
    )


def changed_in(matrix: Matrix) -> int:
    """How many verdicts of these have another outcome under the draft."""
    return sum(count for (one, other), count in matrix.items() if one != other)


def most_changed(counts: dict[str, Matrix]) -> list[tuple[str, Matrix]]:
    """The names with the most changes first."""
    return sorted(counts.items(), key=lambda item: (-changed_in(item[1]), -sum(item[1].values()), item[0]))


def most_moved(codes: dict[Code, CodeCounts]) -> list[tuple[Code, CodeCounts]]:
    """The reasons that come or go most often first."""
    return sorted(codes.items(), key=lambda item: (-item[1].appearing - item[1].disappearing, item[0]))


def _add(ours: Matrix, theirs: Matrix) -> None:
    for transition, count in theirs.items():
        ours[transition] = ours.get(transition, 0) + count


def _outcomes(matrix: Matrix, side: Callable[[Transition], str]) -> dict[str, int]:
    return {outcome: sum(n for pair, n in matrix.items() if side(pair) == outcome) for outcome in OUTCOMES}


def _changes(matrix: Matrix) -> list[dict[str, Any]]:
    return [{"from": one, "to": other, "count": matrix[one, other]} for one, other in CHANGES if (one, other) in matrix]


def _line(called: str, name: str, matrix: Matrix) -> dict[str, Any]:
    return {
        called: name,
        "judged": sum(matrix.values()),
        "changed": changed_in(matrix),
        "recorded": _outcomes(matrix, lambda pair: pair[0]),
        "draft": _outcomes(matrix, lambda pair: pair[1]),
        "changes": _changes(matrix),
    }


def _code_line(code: Code, counts: CodeCounts) -> dict[str, Any]:
    moved = {"appearing": counts.appearing, "disappearing": counts.disappearing}
    return {**code._asdict(), **moved, "changes": _changes(counts.transitions)}


def _sample_line(sample: Sample) -> dict[str, Any]:
    return {
        "position": str(sample.position),
        "kind": sample.kind,
        "service": sample.service,
        "purposes": list(sample.purposes),
        "from": sample.transition[0],
        "to": sample.transition[1],
        "appearing": [str(code) for code in sample.appearing],
        "disappearing": [str(code) for code in sample.disappearing],
    }


def _part_line(part: Part) -> dict[str, Any]:
    halted = None if part.halted is None else part.halted._asdict()
    return {
        "partition": part.partition,
        "records": part.records,
        "complete_through": part.through,
        "halted": halted,
    }

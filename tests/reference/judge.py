"""A judge for tests alone: it rereads the whole history for every judged event, sentence by sentence.

It is the second road to the same truth. It shares nothing with `ledger` but the event types, keeps no state,
has no index and no cleverness; each function is one sentence of the contract (docs/spec/verdicts.md), quoted
above the line that does what it says. When it and the product disagree, the sentence decides.

>>> from ledger.events import KINDS, DataUsed, StatedPurpose
>>> used = DataUsed(categories=("email",), purpose="4.2", operation="consult", basis=StatedPurpose())
>>> event = KINDS["data.used"](id="e1", source="/s", subject="r", time="2026-03-03T12:00:00Z", data=used)
>>> verdict, = judge_all([(0, event)])
>>> verdict.outcome, verdict.findings[0][:3]
('undetermined', ('policy-in-force', 'unknown', 'no-policy-in-force'))
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ledger.events import JUDGED, Event
from tests.reference.records import Record, known, policy_in_force, read
from tests.reference.rules import Case, Finding


class ReferenceVerdict(NamedTuple):
    """What the contract's JSON says of one judged event, but for evidence and texts."""

    position: int
    source: str
    id: str
    outcome: str
    first_outcome: str
    findings: tuple[Finding, ...]
    basis: tuple[str, ...]
    policy: tuple[str, str] | None

    @property
    def content(self) -> tuple[str, tuple[Finding, ...]]:
        """ "A row is superseded when its outcome or any finding … changes" (here without `evidence` lists)."""
        return self.outcome, self.findings


class Span(NamedTuple):
    """One verdict from the position `known_from` on, before `known_until` (None: still)."""

    known_from: int
    known_until: int | None
    verdict: ReferenceVerdict


def judge_all(events: Iterable[tuple[int, Event]], known_at: int | None = None) -> list[ReferenceVerdict]:
    """The verdict of every judged event known at `known_at` (None: all), in log order."""
    records = read(events)
    now = known(records, known_at)
    return [judge_one(judged, now, first_outcome(judged, records)) for judged in now if judged.kind in JUDGED]


def spans(events: Iterable[tuple[int, Event]]) -> dict[int, list[Span]]:
    """For each judged event, by its position: what was the answer from when until when, judged anew at every K."""
    records = read(events)
    firsts = {r.position: first_outcome(r, records) for r in known(records, None) if r.kind in JUDGED}
    result: dict[int, list[Span]] = {position: [] for position in firsts}
    for k in (record.position for record in records):
        now = known(records, k)
        for judged in now:
            if judged.kind not in JUDGED:
                continue
            verdict = judge_one(judged, now, firsts[judged.position])
            rows = result[judged.position]
            if not rows or rows[-1].verdict.content != verdict.content:
                if rows:
                    rows[-1] = rows[-1]._replace(known_until=k)
                rows.append(Span(k, None, verdict))
    return result


def first_outcome(judged: Record, records: Sequence[Record]) -> str:
    """ "`first_outcome` is the outcome known at the event's own position" """
    return outcome_of(findings_of(judged, known(records, judged.position)))


def judge_one(judged: Record, now: Sequence[Record], first: str) -> ReferenceVerdict:
    """One event's verdict with what is known `now`, and the outcome that was known first."""
    findings = findings_of(judged, now)
    outcome = outcome_of(findings)
    cautions: list[Finding] = []
    # "`evidence: caution/recorded-later` when the two differ."
    if first != outcome:
        cautions.append(("evidence", "caution", "recorded-later", ()))
    # "`evidence: caution/backdated` when the outcome at K would differ with all backdated records … removed at
    # once … The judged event itself stays"
    left = [record for record in now if record is judged or not record.backdated]
    if len(left) < len(now) and outcome_of(findings_of(judged, left)) != outcome:
        cautions.append(("evidence", "caution", "backdated", ()))
    policy = policy_in_force(judged.time, now)
    return ReferenceVerdict(
        judged.position,
        judged.event.source,
        judged.event.id,
        outcome,
        first,
        merged([*findings, *cautions]),
        # "basis: codes of the purpose-limitation findings that hold"
        tuple(sorted({f[2] for f in findings if f[0] == "purpose-limitation" and f[1] == "holds"})),
        None if policy is None else (policy.data.policy_id, policy.data.version),
    )


def outcome_of(findings: Iterable[Finding]) -> str:
    """ "any `violated` → `inconsistent`; else any `unknown` → `undetermined`; else `consistent`" """
    results = [finding[1] for finding in findings]
    if "violated" in results:
        return "inconsistent"
    return "undetermined" if "unknown" in results else "consistent"


def merged(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """ "those with the same first three are one finding with the categories merged and sorted" """
    categories: dict[tuple[str, str, str], set[str]] = {}
    for rule, result, code, some in findings:
        categories.setdefault((rule, result, code), set()).update(some)
    return tuple((*key, tuple(sorted(categories[key]))) for key in sorted(categories))


def findings_of(judged: Record, records: Sequence[Record]) -> list[Finding]:
    """All findings but the `evidence` cautions, which come "after everything else"."""
    # "Every judged event first gets `policy-in-force`: `holds` with the version as its code, or
    # `unknown/no-policy-in-force` and nothing else."
    published = policy_in_force(judged.time, records)
    if published is None or published.policy is None:
        return [("policy-in-force", "unknown", "no-policy-in-force", ())]
    case = Case(judged, records, published.policy)
    rules = case.collection() if judged.kind == "data.collected" else case.use_or_share()
    return [("policy-in-force", "holds", published.data.version, ()), *rules]

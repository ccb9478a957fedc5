"""The incremental judge of one partition: events in, in log order; verdict rows out, each with its span of positions.

A row says: from position `known_from` until before `known_until` this was the answer about the event at `offset`.
A late fact re-judges the events whose time it can touch; where outcome or any finding (its evidence too) changes, the
row is closed and a new one opened. So the row whose span holds K is the pure judge's answer "known at K".

>>> lines = [b'{"type":"org.consent-ledger.data.used.v1","specversion":"1.0","id":"e1","source":"/services/permits",'
...     b'"subject":"res_7f2c","time":"2026-03-03T12:00:00Z","datacontenttype":"application/json","data":'
...     b'{"categories":["email"],"purpose":"4.2","operation":"consult","basis":{"kind":"stated-purpose"}}}']
>>> [(row.offset, row.verdict.outcome) for row in judge_history(lines)]
[(1, 'undetermined')]

No I/O: `restore_*` takes in what is known already, so that a caller with a store need only load what an event touches.
Repeats are dropped by the caller; `judge_history` does it itself.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from typing import Any

import orjson
from msgspec import UNSET

from ledger import codec
from ledger import events as e
from ledger.codec import instant
from ledger.errors import ConsentLedgerError, Malformed, Problem, Unparsable
from ledger.facts import RESIDENT_FACTS, Facts, Known
from ledger.findings import Finding
from ledger.log import Position
from ledger.reasons import reason
from ledger.rules import Rules
from ledger.verdict import Verdict, judge, with_cautions


class Row:
    """One verdict about the event at `offset`, for positions `known_from` <= K < `known_until` (None: still).

    `instant` is when the judged event happened.
    """

    __slots__ = ("event", "first_outcome", "instant", "known_from", "known_until", "offset", "verdict")

    def __init__(
        self,
        offset: int,
        known_from: int,
        known_until: int | None,
        event: e.Event,
        first_outcome: str,
        verdict: Verdict,
    ) -> None:
        self.offset, self.known_from, self.known_until = offset, known_from, known_until
        self.event, self.first_outcome, self.verdict = event, first_outcome, verdict
        self.instant = instant(event.time)


def _order(row: Row) -> tuple[int, int]:
    return (row.instant, row.offset)


def _place(judged: list[Row], row: Row) -> None:
    """Enters a row where it belongs, which mostly is at the end."""
    if judged and _order(judged[-1]) > _order(row):
        insort(judged, row, key=_order)
    else:
        judged.append(row)


_JUDGED = frozenset(e.KINDS[kind].__annotations__["data"] for kind in e.JUDGED)


class Resident:
    """What is known of one resident, and the open rows of their judged events by (instant, offset)."""

    __slots__ = ("facts", "judged")

    def __init__(self) -> None:
        self.facts: Known[Facts] = Known(Facts())
        self.judged: list[Row] = []


class PartitionHistory:
    """Judges one partition event by event."""

    def __init__(self, partition: int = 0) -> None:
        self.partition = partition
        self.rules: Known[Rules] = Known(Rules())
        self.residents: dict[str, Resident] = {}

    def resident(self, subject: str) -> Resident:
        """The resident's state, made empty when it is not there yet."""
        found = self.residents.get(subject)
        if found is None:
            found = self.residents[subject] = Resident()
        return found

    def restore_reference(self, offset: int, event: e.Event) -> None:
        """Takes in a reference fact known before; judges nothing."""
        self.rules.fold(event, offset)

    def restore_fact(self, offset: int, event: e.Event) -> None:
        """Takes in a resident's fact known before; judges nothing."""
        assert event.subject is not UNSET
        self.resident(event.subject).facts.fold(event, offset)

    def restore_judged(self, row: Row) -> None:
        """Takes in an open row known before, so that a late fact can re-judge its event."""
        assert event_subject(row.event) is not None
        _place(self.resident(str(row.event.subject)).judged, row)

    def since(self, event: e.Event) -> int | None:
        """From which instant on this event can change verdicts; None when it is no fact."""
        data = event.data
        if type(data) in RESIDENT_FACTS:
            return instant(event.time)
        if event.subject is UNSET:
            if isinstance(data, e.PolicyPublished):
                return instant(data.effective_from)
            if isinstance(data, e.AgreementSigned):
                return instant(data.valid_from)
            if isinstance(data, e.AgreementEnded | e.LegalDemandDecided):
                return instant(event.time)
        return None

    def touches(self, event: e.Event) -> tuple[str, tuple[str, ...]] | None:
        """Which judged events a reference fact can touch: by ("recipient", ids), ("demand", ids) or ("all", ())."""
        data = event.data
        if isinstance(data, e.PolicyPublished):
            return ("all", ())
        if isinstance(data, e.AgreementSigned):
            return ("recipient", (data.recipient,))
        if isinstance(data, e.AgreementEnded):
            return ("recipient", self.rules.full.recipients_of(data.agreement_id))
        if isinstance(data, e.LegalDemandDecided):
            return ("demand", (data.demand_id,))
        return None

    def apply(self, offset: int, event: e.Event) -> list[Row]:
        """Takes in one new event: rows it closes (`known_until` set) and rows it opens, in that order for each."""
        changed: list[Row] = []
        subject = event.subject
        if subject is UNSET:
            since = self.since(event)
            if since is not None:
                self.rules.fold(event, offset)
                changed += self._rejudge_partition(offset, event, since)
            return changed
        resident = self.resident(subject)
        kind = type(event.data)
        if kind in RESIDENT_FACTS:
            resident.facts.fold(event, offset)
            since = instant(event.time)
            if resident.judged and resident.judged[-1].instant >= since:
                at = bisect_left(resident.judged, (since, -1), key=_order)
                for i in range(at, len(resident.judged)):
                    changed += self._rejudge(resident, i, offset)
        if kind in _JUDGED:
            verdict = self.assess(event, resident, None)
            row = Row(offset, offset, None, event, verdict.outcome, verdict)
            _place(resident.judged, row)
            changed.append(row)
        return changed

    def _rejudge_partition(self, offset: int, fact: e.Event, since: int) -> list[Row]:
        touched = self.touches(fact)
        changed: list[Row] = []
        for resident in self.residents.values():
            at = bisect_left(resident.judged, (since, -1), key=_order)
            for i in range(at, len(resident.judged)):
                if touched is not None and _is_touched(touched, resident.judged[i].event.data):
                    changed += self._rejudge(resident, i, offset)
        return changed

    def _rejudge(self, resident: Resident, i: int, offset: int) -> list[Row]:
        row = resident.judged[i]
        verdict = self.assess(row.event, resident, row.first_outcome)
        if verdict == row.verdict:
            return []
        row.known_until = offset
        opened = resident.judged[i] = Row(row.offset, offset, None, row.event, row.first_outcome, verdict)
        return [row, opened]

    def assess(self, event: e.Event, resident: Resident, first_outcome: str | None) -> Verdict:
        """The verdict by what is known now, with the cautions that outcomes alone decide; changes nothing."""
        facts, rules = resident.facts, self.rules
        verdict = judge(event, facts.full, rules.full)
        if first_outcome is None and facts.clean is facts.full and rules.clean is rules.full:
            return verdict
        cautions = []
        if (facts.differ or rules.differ) and judge(event, facts.clean, rules.clean).outcome != verdict.outcome:
            cautions.append("backdated")
        if first_outcome is not None and first_outcome != verdict.outcome:
            cautions.append("recorded-later")
        return with_cautions(verdict, cautions)


def event_subject(event: e.Event) -> str | None:
    """The resident an event is about, None for a reference fact."""
    return None if event.subject is UNSET else event.subject


def _is_touched(touched: tuple[str, tuple[str, ...]], data: Any) -> bool:
    by, ids = touched
    if by == "recipient":
        return isinstance(data, e.DataShared) and data.recipient in ids
    if by == "demand":
        basis = getattr(data, "basis", None)
        return isinstance(basis, e.ByLaw) and basis.demand_id in ids
    return True


# --- offline ----------------------------------------------------------------------------------------------------


def read_history(lines: Iterable[bytes]) -> Iterator[tuple[int, e.Event]]:
    """The events of an NDJSON history with their line numbers; raises `Malformed` that names the line."""
    for number, line in enumerate(lines, start=1):
        try:
            yield number, codec.read_strict(line.rstrip(b"\r\n"))
        except Malformed as error:
            raise Malformed(error.problems, f"line {number} is not a well-formed event") from None
        except (Unparsable, ConsentLedgerError) as error:
            code = getattr(error, "code", "malformed")
            raise Malformed([Problem("", code)], f"line {number} cannot be read") from None


def judge_history(lines: Iterable[bytes], known_at: int | None = None) -> list[Row]:
    """Judges an NDJSON history offline: the row of each judged event that answers at line `known_at`, in log order.

    Position = line number. Lines after `known_at` are checked, but neither judged nor known.
    """
    history = PartitionHistory()
    seen: set[tuple[str, str, str | None]] = set()
    open_rows: dict[int, Row] = {}
    for number, event in read_history(lines):
        key = (event.source, event.id, event_subject(event))
        if key in seen or (known_at is not None and number > known_at):
            continue
        seen.add(key)
        for row in history.apply(number, event):
            open_rows[row.offset] = row
    return [open_rows[offset] for offset in sorted(open_rows)]


# --- JSON -------------------------------------------------------------------------------------------------------


def finding_json(finding: Finding, cite: Any) -> dict[str, Any]:
    """A finding in the contract's JSON; `cite` turns an offset into what the reader calls it."""
    found: dict[str, Any] = {
        "rule": finding.rule,
        "result": finding.result,
        "code": finding.code,
        "categories": list(finding.categories),
        "statement": finding.statement,
        "evidence": [cite(offset) for offset in finding.evidence],
        "text": reason(finding.rule, finding.result, finding.code).text,
    }
    if finding.evidence_total is not None:
        found["evidence_total"] = finding.evidence_total
    return found


def findings_bytes(verdict: Verdict, partition: int) -> bytes:
    """The findings as the views keep and the doors send them."""
    return orjson.dumps([finding_json(f, lambda o: str(Position(partition, o))) for f in verdict.findings])


def verdict_json(row: Row, partition: int, known_at: int) -> dict[str, Any]:
    """A verdict in the contract's JSON, as known at offset `known_at` of the partition."""
    verdict = row.verdict
    return {
        "source": row.event.source,
        "id": row.event.id,
        "position": str(Position(partition, row.offset)),
        "subject": event_subject(row.event),
        "outcome": verdict.outcome,
        "first_outcome": row.first_outcome,
        "basis": list(verdict.basis),
        "findings": orjson.Fragment(findings_bytes(verdict, partition)),
        "policy": None if verdict.policy is None else dict(zip(("policy_id", "version"), verdict.policy, strict=True)),
        "as_of": row.event.time,
        "known_at": str(Position(partition, known_at)),
        "superseded_by": None if row.known_until is None else str(Position(partition, row.known_until)),
    }


def line_json(row: Row) -> dict[str, Any]:
    """A verdict as `consent-ledger judge --json` prints it: evidence by line number."""
    return {
        "line": row.offset,
        "source": row.event.source,
        "id": row.event.id,
        "outcome": row.verdict.outcome,
        "first_outcome": row.first_outcome,
        "findings": [finding_json(f, int) for f in row.verdict.findings],
    }

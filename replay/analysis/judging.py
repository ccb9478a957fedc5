"""Judges all of one partition by what is known at its end; by the recorded policies, and by a draft beside them.

The facts about residents are the same whichever policy counts, so both judges share them; only their rules differ.
Each judges an event twice, at its own position (`first_outcome`) and at the end, so late facts cost nothing in between.
The answers are those of the open rows of `ledger.history.PartitionHistory.apply`, which re-judges as it goes.

>>> from ledger import codec, policy
>>> lines = [b'{"type":"org.consent-ledger.data.used.v1","specversion":"1.0","id":"e1","source":"/services/permits",'
...     b'"subject":"res_7f2c","time":"2026-03-03T12:00:00Z","datacontenttype":"application/json","data":'
...     b'{"categories":["email"],"purpose":"4.2","operation":"consult","basis":{"kind":"stated-purpose"}}}']
>>> judge = PartitionJudge(0, Draft(policy.my_san_jose()))
>>> [judge.take(7, codec.read(line)) for line in lines * 2]     # the second is a repeat
[True, False]
>>> [(found.offset, found.recorded.outcome, found.draft.outcome) for found in judge.verdicts()]
[(7, 'undetermined', 'undetermined')]
>>> [found.draft.verdict.findings[1].code for found in judge.verdicts()]
['no-collection-on-record']
"""

from collections.abc import Iterator
from hashlib import blake2b
from typing import NamedTuple

import msgspec

from ledger import events as e
from ledger.history import PartitionHistory, event_subject
from ledger.verdict import Verdict

ALWAYS = "1970-01-01T00:00:00Z"
"""No event is older (docs/spec/events.md)."""
_AFTER_ALL = (1 << 62) - 1
_KEY_BYTES = 16


class Draft(NamedTuple):
    """A policy to try. `from_its_date`: beside the recorded ones, in force from its `effective_from`; else alone."""

    policy: e.PolicyPublished
    from_its_date: bool = False


class Answer(NamedTuple):
    """What is known at the end, and the outcome that was known at the event's own position."""

    first_outcome: str
    verdict: Verdict

    @property
    def outcome(self) -> str:
        """The outcome known at the end."""
        return self.verdict.outcome


class Judged(NamedTuple):
    """One judged event with its answers; `draft` is None without one."""

    offset: int
    event: e.Event
    recorded: Answer
    draft: Answer | None


class _Waiting(NamedTuple):
    """A judged event until the end of the partition: its first outcomes."""

    offset: int
    event: e.Event
    first: str
    first_draft: str | None


class PartitionJudge:
    """Takes in the records of one partition in log order, then gives the verdicts known at the end."""

    def __init__(self, partition: int, draft: Draft | None = None) -> None:
        self._recorded = PartitionHistory(partition)
        self._draft = None if draft is None else _with_draft(partition, draft)
        self._keeps_recorded = draft is None or draft.from_its_date
        if self._draft is not None:
            self._draft.residents = self._recorded.residents
        self._seen: set[bytes] = set()
        self._waiting: list[_Waiting] = []

    def take(self, offset: int, event: e.Event) -> bool:
        """Takes in one record; False for a repeat, which counts for nothing."""
        key = _key(event)
        if key in self._seen:
            return False
        self._seen.add(key)
        subject = event_subject(event)
        if subject is None:
            self._recorded.restore_reference(offset, event)
            if self._draft is not None and (self._keeps_recorded or not isinstance(event.data, e.PolicyPublished)):
                self._draft.restore_reference(offset, event)
            return True
        self._recorded.restore_fact(offset, event)
        if event.kind in e.JUDGED:
            resident = self._recorded.resident(subject)
            first = self._recorded.assess(event, resident, None).outcome
            other = None if self._draft is None else self._draft.assess(event, resident, None).outcome
            self._waiting.append(_Waiting(offset, event, first, other))
        return True

    def verdicts(self) -> Iterator[Judged]:
        """The answers known now, in log order."""
        for offset, event, first, first_draft in self._waiting:
            resident = self._recorded.resident(str(event.subject))
            recorded = Answer(first, self._recorded.assess(event, resident, first))
            draft = None
            if self._draft is not None and first_draft is not None:
                draft = Answer(first_draft, self._draft.assess(event, resident, first_draft))
            yield Judged(offset, event, recorded, draft)


def purposes_of(event: e.Event) -> tuple[str, ...]:
    """The purposes that a judged event names: a collection's all, else the one."""
    data = event.data
    if isinstance(data, e.DataCollected):
        return data.purposes
    assert isinstance(data, e.DataUsed | e.DataShared), "only these are judged"
    return (data.purpose,)


def _with_draft(partition: int, draft: Draft) -> PartitionHistory:
    """A judge that has known the draft from the beginning."""
    policy = draft.policy if draft.from_its_date else msgspec.structs.replace(draft.policy, effective_from=ALWAYS)
    published = e.KINDS["policy.published"](id="draft", source="/what-if", time=ALWAYS, data=policy)
    history = PartitionHistory(partition)
    # Published last: of two policies in force from one instant on, the draft counts.
    history.restore_reference(_AFTER_ALL, published)
    return history


def _key(event: e.Event) -> bytes:
    """What makes two records the same, in few bytes: there is one for each record of the partition."""
    parts = f"{event.source}\0{event.id}\0{event_subject(event) or ''}"
    return blake2b(parts.encode(), digest_size=_KEY_BYTES).digest()

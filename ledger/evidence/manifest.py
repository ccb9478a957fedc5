"""What an evidence bundle says: the question, and the verdict that its records alone give. Pure, and rebuilt to check.

`manifest.json` is a function of the question, the records with their leaf indexes, and the checkpoint. So whoever
verifies a bundle makes it anew and compares bytes: nothing in it can be a mere claim.

>>> from ledger import codec
>>> used = (b'{"type":"org.consent-ledger.data.used.v1","specversion":"1.0","id":"e1","source":"/services/permits",'
...     b'"subject":"res_7f2c","time":"2026-03-03T12:00:00Z","datacontenttype":"application/json","data":'
...     b'{"categories":["email"],"purpose":"4.2","operation":"consult","basis":{"kind":"stated-purpose"}}}')
>>> question = Question(Position(3, 12), Position(3, 40))
>>> answered = answer(question, [(12, codec.read(used))])
>>> answered.verdict["outcome"], answered.roles
('undetermined', ['judged'])

The findings stand without `text`: words for people may be bettered, and a bundle is to verify for years.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
import orjson

from ledger.errors import Malformed
from ledger.events import JUDGED, Event
from ledger.evidence.bundle import MANIFEST, InvalidBundle
from ledger.history import PartitionHistory, Row, event_subject, finding_json, verdict_json
from ledger.log import Position
from ledger.tree.checkpoint import Checkpoint, write_hash
from ledger.verdict import Verdict

FORMAT = "consent-ledger/evidence/v1"
ROLES = {
    "judged": "the event that was asked about",
    "evidence": "a finding of the verdict cites it",
    "context": "known by then, and cited by no finding",
    "later": "after `known_at`: not taken into account",
    "repeat": "repeats an earlier record: counts for nothing",
}
"""What a record is in a bundle: derived, never said."""


class Question(NamedTuple):
    """What a bundle answers: the verdict on the event at `position`, as known at `known_at` of the same partition.

    `complete`: it holds every record about the resident and every reference fact that the checkpoint covers.
    """

    position: Position
    known_at: Position
    complete: bool = False

    def json(self) -> dict[str, Any]:
        """As it stands in the manifest."""
        return {"position": str(self.position), "known_at": str(self.known_at), "complete": self.complete}


class Leaf(NamedTuple):
    """A record of the bundle: its position, which leaf of the partition's tree it is, and its bytes."""

    position: Position
    leaf_index: int
    value: bytes


class Answer(NamedTuple):
    """What the records give: the verdict as the manifest has it, whose it is, and the role of each record."""

    verdict: dict[str, Any]
    subject: str
    roles: list[str]


def answer(question: Question, events: Sequence[tuple[int, Event]]) -> Answer:
    """Judges by these records alone: offsets, rising, and what stands there.

    Raises `InvalidBundle` when the question cannot be asked of them: the event is missing, not judged, a repeat, or
    there is a record about somebody else.
    """
    judged = dict(events).get(question.position.offset)
    if judged is None or judged.kind not in JUDGED or event_subject(judged) is None:
        raise InvalidBundle(f"{question.position}: there is no collection, use or share at the position asked about")
    subject = str(event_subject(judged))
    seen: set[tuple[str, str, str | None]] = set()
    counted: list[tuple[int, Event]] = []
    for offset, event in events:
        if event_subject(event) not in (subject, None):
            raise InvalidBundle(f"{_at(question, offset)}: this record is about somebody else")
        key = (event.source, event.id, event_subject(event))
        if key not in seen:
            seen.add(key)
            counted.append((offset, event))
    row = _judge(question, counted)
    cited = {offset for finding in row.verdict.findings for offset in finding.evidence}
    counts = {offset for offset, _ in counted}
    roles = [_role(question, offset, offset in counts, offset in cited) for offset, _ in events]
    return Answer(_verdict_json(question, row), subject, roles)


def _role(question: Question, offset: int, counts: bool, cited: bool) -> str:
    if offset == question.position.offset:
        return "judged"
    if not counts:
        return "repeat"
    if offset > question.known_at.offset:
        return "later"
    return "evidence" if cited else "context"


def _judge(question: Question, counted: Sequence[tuple[int, Event]]) -> Row:
    """The row of the event asked about: facts are folded, and nothing else is judged on the way."""
    history = PartitionHistory(question.position.partition)
    row: Row | None = None
    for offset, event in counted:
        if offset > question.known_at.offset:
            break
        subject = event_subject(event)
        if offset == question.position.offset:
            [row] = history.apply(offset, event)
        elif subject is None:
            history.restore_reference(offset, event)
        else:
            history.restore_fact(offset, event)
    if row is None:
        raise InvalidBundle(f"{question.position}: it repeats an earlier record, or was not recorded by known_at")
    resident = history.resident(str(event_subject(row.event)))
    verdict: Verdict = history.assess(row.event, resident, row.first_outcome)
    return Row(row.offset, row.offset, None, row.event, row.first_outcome, verdict)


def _verdict_json(question: Question, row: Row) -> dict[str, Any]:
    partition, known_at = question.known_at
    found = verdict_json(row, partition, known_at)
    del found["superseded_by"]  # what came later is no part of what was known
    found["findings"] = without_text([finding_json(f, lambda o: _at(question, o)) for f in row.verdict.findings])
    return found


def without_text(findings: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Findings without the sentence for people."""
    return [{name: value for name, value in finding.items() if name != "text"} for finding in findings]


def _at(question: Question, offset: int) -> str:
    return str(Position(question.position.partition, offset))


def write(question: Question, leaves: Sequence[Leaf], answered: Answer, checkpoint: Checkpoint) -> bytes:
    """The bytes of manifest.json. `leaves` and `answered.roles` are in the order of the log."""
    records = [
        {
            "position": str(leaf.position),
            "leaf_index": leaf.leaf_index,
            "partition": leaf.position.partition,
            "role": role,
        }
        for leaf, role in zip(leaves, answered.roles, strict=True)
    ]
    return orjson.dumps(
        {
            "format": FORMAT,
            "ledger": checkpoint.ledger,
            "question": question.json(),
            "verdict": answered.verdict,
            "checkpoint": {
                "origin": checkpoint.origin,
                "size": checkpoint.size,
                "root": write_hash(checkpoint.root),
            },
            "records": records,
        }
    )


class _Asked(msgspec.Struct):
    position: str
    known_at: str
    complete: bool


class _Manifest(msgspec.Struct):
    question: _Asked


def read_question(manifest: bytes) -> Question:
    """The question of a manifest, all that is taken from it; raises `InvalidBundle`."""
    try:
        asked = msgspec.json.decode(manifest, type=_Manifest).question
        found = Question(Position.parse(asked.position), Position.parse(asked.known_at), asked.complete)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, Malformed):
        raise InvalidBundle(f"{MANIFEST}: it does not say what was asked") from None
    if found.known_at.partition != found.position.partition or found.known_at < found.position:
        raise InvalidBundle(f"{MANIFEST}: known_at is a position of the event's partition, not before the event")
    return found

"""Which records go into an evidence bundle: those that a verdict rests on, or every one about the resident.

    async with answers.auditor() as view:
        stated = await view.verdict(position, known_at.offset)
        leaves = await gather(view, Question(position, known_at), stated, last=covered)

The view is not trusted: what it says must be what its records say (the pure judge over them), or there is no bundle.
That the records are those of the log is shown by the proofs, which `ledger.evidence` checks.
"""

import asyncio
from collections.abc import Iterable
from typing import Any, NamedTuple

import orjson

from ledger.errors import AlteredViews, Malformed, TooLarge
from ledger.evidence import answer_of
from ledger.evidence.bundle import MAX_BUNDLE_BYTES, MAX_RECORDS, InvalidBundle
from ledger.evidence.manifest import Leaf, Question, without_text
from ledger.log import Position
from projections.answers import View
from projections.rows import Verdict

_Kept = dict[int, bytes]
"""Records by their offset."""


class Recorded(NamedTuple):
    """A record as a leaf: the offset of the record that it repeats (else its own), about whom, by whom, its bytes."""

    first_offset: int
    subject: str | None
    source: str
    value: bytes


async def gather(view: View, question: Question, stated: Verdict, last: Position) -> list[Leaf]:
    """The records for a bundle, in the order of the log, as leaves up to the position `last` (the checkpoint's).

    First those that the verdict, now and at first, cites. When these alone do not give the verdict that the view
    states, every fact known by then; when those do not either, the view was altered: `AlteredViews`. A complete bundle
    holds every record about the resident, and every rule. Raises `TooLarge` when they are too many.
    """
    position = question.position
    if question.complete:
        found = await _until(view, "everything until", position.partition, stated.subject, last.offset)
    else:
        first = await view.verdict(position, position.offset)
        found = await _at(view, position.partition, _cited(position, stated, *([first] if first else [])))
        if await asyncio.to_thread(_agree, question, found, stated):
            return await _as_leaves(view, position.partition, found)
        facts = await _until(view, "facts until", position.partition, stated.subject, question.known_at.offset)
        found = {**facts, **await _at(view, position.partition, [position.offset])}
    if not await asyncio.to_thread(_agree, question, found, stated):
        raise _altered(position)
    return await _as_leaves(view, position.partition, found)


async def recorded_at(view: View, position: Position) -> Recorded | None:
    """The record at this position, whether it counts or repeats another; None when the views have none."""
    found = await view._ask("recorded at", position._asdict(), _recorded, "evidence")
    return found[0] if found else None


async def leaf_index(view: View, position: Position) -> int | None:
    """Which leaf the record at this position is, when there is one; not checked against any tree."""
    return (await _leaf_indexes(view, position.partition, [position.offset])).get(position.offset)


def _recorded(first_offset: int, subject: str | None, source: str, body: str) -> Recorded:
    return Recorded(first_offset, subject, source, body.encode())


def _cited(position: Position, *verdicts: Verdict) -> list[int]:
    """The offsets of the event itself and of whatever the findings of these verdicts cite."""
    try:
        places = {p for v in verdicts for finding in orjson.loads(v.findings) for p in finding["evidence"]}
        return sorted({position.offset, *(Position.parse(place).offset for place in places)})
    except (orjson.JSONDecodeError, TypeError, KeyError, Malformed):
        raise _altered(position) from None


def _agree(question: Question, found: _Kept, stated: Verdict) -> bool:
    """Whether the pure judge over these records says what the view says."""
    leaves = [Leaf(Position(question.position.partition, offset), 0, found[offset]) for offset in sorted(found)]
    try:
        verdict = answer_of(question, leaves)[0].verdict
        findings = without_text(orjson.loads(stated.findings))
    except (InvalidBundle, orjson.JSONDecodeError, AttributeError):
        return False
    said = (stated.outcome, stated.first_outcome, findings)
    return said == (verdict["outcome"], verdict["first_outcome"], verdict["findings"])


def _altered(position: Position) -> AlteredViews:
    return AlteredViews(
        f"the verdict that the views have of {position} is not what its records give: the views were altered, compare "
        "them with `replay --compare` and rebuild them"
    )


async def _as_leaves(view: View, partition: int, found: _Kept) -> list[Leaf]:
    indexes = await _leaf_indexes(view, partition, found)
    if len(indexes) != len(found):
        raise AlteredViews(f"the tree of partition {partition} does not say where its leaves stand: rebuild the views")
    return [Leaf(Position(partition, offset), indexes[offset], found[offset]) for offset in sorted(found)]


# --- the queries ------------------------------------------------------------------------------------------------


async def _at(view: View, partition: int, offsets: Iterable[int]) -> _Kept:
    found = await _kept(view, "records at", {"partition": partition, "offsets": list(offsets)})
    return {offset: body for offset, body in found.items() if body is not None}


async def _until(view: View, name: str, partition: int, subject: str, until: int) -> _Kept:
    parameters = {"partition": partition, "subject": subject, "until": until}
    parameters |= {"limit": MAX_RECORDS + 1, "bytes": MAX_BUNDLE_BYTES}
    found = await _kept(view, name, parameters)
    if len(found) > MAX_RECORDS or None in found.values():
        raise TooLarge(f"an evidence bundle has at most {MAX_RECORDS:,} records, {MAX_BUNDLE_BYTES:,} bytes")
    return {offset: body for offset, body in found.items() if body is not None}


async def _kept(view: View, name: str, parameters: dict[str, Any]) -> dict[int, bytes | None]:
    return dict(await view._ask(name, parameters, lambda offset, body: (offset, body and body.encode()), "evidence"))


async def _leaf_indexes(view: View, partition: int, offsets: Iterable[int]) -> dict[int, int]:
    parameters = {"partition": partition, "offsets": list(offsets)}
    return dict(await view._ask("leaf indexes", parameters, lambda offset, index: (offset, index), "evidence"))

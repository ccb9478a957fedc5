"""Is there any other record that the verdict of a bundle should have looked at? Only a whole partition tells.

`look_for_others` takes every record of the partition, in the order of the log, computes the tree anew up to the
bundle's checkpoint, and looks there for records about the resident, and for rules, that are not in the bundle.

>>> from ledger.log import Position
>>> tree = Frontier().extend([leaf_hash(b"{}")]).after
>>> look_for_others(Question(Position(3, 0), Position(3, 0)), "res_7f2c", [],
...     Checkpoint("ledger.example", 3, tree.size, tree.root), [b"another record"])
Traceback (most recent call last):
    ...
ledger.evidence.bundle.InvalidBundle: the partition's first 1 records do not have the root that the checkpoint signs

A bundle made without `complete` holds fewer on purpose; one made with it must hold them all. Memory: a few megabytes,
however long the partition is.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ledger import codec
from ledger.errors import Malformed, Unparsable
from ledger.evidence.bundle import Incomplete, InvalidBundle
from ledger.evidence.manifest import Leaf, Question
from ledger.history import event_subject
from ledger.tree.checkpoint import Checkpoint
from ledger.tree.merkle import Frontier, leaf_hash

_AT_ONCE = 4_096


@dataclass(frozen=True, slots=True)
class Completeness:
    """Whether no other record was to be looked at; `why` says it for people, `missing` counts those found."""

    proven: bool
    why: str
    missing: int | None = None


def unlooked(question: Question) -> Completeness:
    """What is known without the partition: the operator's word, or not even that."""
    if question.complete:
        return Completeness(
            False,
            "that these are all the records about the resident, and all rules, is the operator's word: the whole "
            "partition would prove it",
        )
    return Completeness(
        False,
        "the bundle holds what the verdict rests on; that no other record changes it is the operator's word: ask for a "
        "complete bundle, and verify it with the whole partition",
    )


def look_for_others(
    question: Question, subject: str, leaves: Sequence[Leaf], checkpoint: Checkpoint, records: Iterable[bytes]
) -> Completeness:
    """Goes over the whole partition up to the checkpoint; `leaves` are those of the bundle, each proven.

    Raises `Incomplete` when the records are fewer than the checkpoint's, and `InvalidBundle` when they are not those
    of the checkpoint, or when a bundle that says it is complete leaves one out.
    """
    held = {leaf.leaf_index for leaf in leaves}
    missing: list[int] = []
    unreadable: int | None = None
    frontier, hashes = Frontier(), list[bytes]()
    for index, value in zip(range(checkpoint.size), records, strict=False):
        hashes.append(leaf_hash(value))
        if len(hashes) == _AT_ONCE:
            frontier, hashes = frontier.extend(hashes).after, []
        if index not in held and unreadable is None:
            try:
                if event_subject(codec.read(value)) in (subject, None):
                    missing.append(index)
            except (Malformed, Unparsable):
                unreadable = index
    frontier = frontier.extend(hashes).after
    if frontier.size < checkpoint.size:
        raise Incomplete(
            f"the partition's file has {frontier.size:,} records, and the checkpoint is of {checkpoint.size:,}: "
            "fetch the whole partition"
        )
    if frontier.root != checkpoint.root:
        raise InvalidBundle(
            f"the partition's first {checkpoint.size:,} records do not have the root that the checkpoint signs"
        )
    if unreadable is not None:
        raise InvalidBundle(f"leaf {unreadable} of the partition cannot be read: whom it is about is not known")
    if not missing:
        return Completeness(True, "the bundle holds every record about the resident, and every rule", 0)
    if question.complete:
        raise InvalidBundle(
            f"leaf {missing[0]} of the partition is about this resident, or a rule, and is not in the bundle, which "
            "says that it is complete"
        )
    return Completeness(
        False,
        f"{len(missing):,} more records are about this resident, or rules: ask for a complete bundle",
        len(missing),
    )

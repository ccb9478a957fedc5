"""Evidence bundles: a verdict with the records that it rests on, each proven to be in the log; verified offline.

>>> from ledger.tree.checkpoint import sign
>>> from ledger.tree.merkle import Frontier, leaf_hash
>>> from ledger.tree.note import Signer, Verifier
>>> used = (b'{"type":"org.consent-ledger.data.used.v1","specversion":"1.0","id":"e1","source":"/services/permits",'
...     b'"subject":"res_7f2c","time":"2026-03-03T12:00:00Z","datacontenttype":"application/json","data":'
...     b'{"categories":["email"],"purpose":"4.2","operation":"consult","basis":{"kind":"stated-purpose"}}}')
>>> signer, tree = Signer.from_seed("ledger.example", bytes(32)), Frontier().extend([leaf_hash(used)]).after
>>> note = sign(Checkpoint("ledger.example", 3, tree.size, tree.root), [signer])
>>> question = Question(Position(3, 0), known_at=Position(3, 0))
>>> raw = build(question, [Leaf(Position(3, 0), 0, used)], [[]], note, [signer.verifier])
>>> report = verify(raw, [Verifier.parse(signer.verifier.vkey)])       # the key that the auditor had before
>>> report.verdict["outcome"], report.checkpoint.origin, report.completeness.proven
('undetermined', 'ledger.example/3', False)

A bundle proves that its records are in the log and that they give the verdict. That no *other* record changes it is
the operator's word, unless `verify` is given the whole partition (`ledger.evidence.completeness`).

No I/O, and nothing of Kafka, PostgreSQL or the API: this is all that an auditor's machine has to run.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ledger import codec
from ledger.errors import InvalidNote, Malformed, TooLarge, Unparsable
from ledger.events import Event
from ledger.evidence import bundle, manifest
from ledger.evidence.bundle import InvalidBundle
from ledger.evidence.completeness import Completeness, look_for_others, unlooked
from ledger.evidence.manifest import Answer, Leaf, Question
from ledger.log import Position
from ledger.tree.checkpoint import Checkpoint, open_checkpoint
from ledger.tree.merkle import InvalidProof, leaf_hash, verify_inclusion
from ledger.tree.note import Verifier
from ledger.tree.tlog_proof import TlogProof

__all__ = ["Entry", "InvalidBundle", "Leaf", "Question", "Report", "answer_of", "build", "verify"]


class Entry(NamedTuple):
    """A record of a verified bundle: where it stands, its role (`ledger.evidence.manifest.ROLES`), and what it says."""

    leaf: Leaf
    role: str
    event: Event


@dataclass(frozen=True, slots=True)
class Report:
    """What a bundle has shown. `verdict` is that of verdicts.md, without `superseded_by` and the findings' `text`."""

    question: Question
    verdict: Mapping[str, Any]
    checkpoint: Checkpoint
    records: tuple[Entry, ...]
    completeness: Completeness


def answer_of(question: Question, leaves: Sequence[Leaf]) -> tuple[Answer, list[Event]]:
    """What these records, in the order of the log, say to the question; raises `InvalidBundle`."""
    events = [_event(leaf) for leaf in leaves]
    answered = manifest.answer(
        question, [(leaf.position.offset, event) for leaf, event in zip(leaves, events, strict=True)]
    )
    return answered, events


def build(
    question: Question,
    leaves: Iterable[Leaf],
    proofs: Iterable[Sequence[bytes]],
    note: bytes,
    verifiers: Sequence[Verifier],
) -> bytes:
    """The bundle of these records; `proofs` has the hashes for each, and `note` is the checkpoint they lead to.

    The same question, records and checkpoint give the same bytes. Raises `InvalidBundle` when they do not make a
    bundle that verifies: nothing else is ever handed out; `TooLarge` when they are more than a bundle may hold.
    """
    ordered = sorted(zip(leaves, proofs, strict=True), key=lambda pair: pair[0].leaf_index)
    _check_room(ordered, note)
    found = [leaf for leaf, _ in ordered]
    answered, _ = answer_of(question, found)
    try:
        checkpoint = open_checkpoint(note, verifiers, question.position.partition)
    except InvalidNote as error:
        raise InvalidBundle(f"the checkpoint: {error}") from None
    entries = [(bundle.MANIFEST, manifest.write(question, found, answered, checkpoint))]
    entries += [(bundle.record_name(leaf.position), leaf.value) for leaf in found]
    entries += [
        (bundle.proof_name(leaf.position), TlogProof(leaf.leaf_index, tuple(hashes), note).encode())
        for leaf, hashes in ordered
    ]
    raw = bundle.pack(entries)
    if len(raw) > bundle.MAX_BUNDLE_BYTES:
        raise _too_large()
    verify(raw, verifiers)
    return raw


def _check_room(found: Sequence[tuple[Leaf, Sequence[bytes]]], note: bytes) -> None:
    """Before anything is made of them."""
    size = sum(len(leaf.value) + len(note) + 45 * len(hashes) for leaf, hashes in found)
    if len(found) > bundle.MAX_RECORDS or size > bundle.MAX_BUNDLE_BYTES:
        raise _too_large()


def _too_large() -> TooLarge:
    return TooLarge(f"an evidence bundle has at most {bundle.MAX_RECORDS:,} records, {bundle.MAX_BUNDLE_BYTES:,} bytes")


def verify(raw: bytes, verifiers: Sequence[Verifier], partition_records: Iterable[bytes] | None = None) -> Report:
    """Checks a bundle with keys that the caller has from elsewhere, and judges again from its records alone.

    `partition_records` is every record of the partition, byte for byte in the order of the log: then the tree is
    computed anew, and that no other record of this resident, and no other rule, is in it.
    Raises `Malformed` for what is no bundle, `Incomplete` for a file cut short, `InvalidBundle` for all else.
    """
    entries = bundle.unpack(raw)
    question = manifest.read_question(entries[bundle.MANIFEST])
    positions = _positions(entries)
    checkpoint, leaves = _proven(question, positions, entries, verifiers)
    _check_labels(leaves)
    answered, events = answer_of(question, leaves)
    if manifest.write(question, leaves, answered, checkpoint) != entries[bundle.MANIFEST]:
        raise InvalidBundle(f"{bundle.MANIFEST}: it is not what the records, proofs and question give")
    names = [bundle.MANIFEST]
    names += [name(leaf.position) for name in (bundle.record_name, bundle.proof_name) for leaf in leaves]
    if list(entries) != names:
        raise InvalidBundle("the entries are not in the order of a bundle: manifest, records, proofs, as in the log")
    if partition_records is None:
        completeness = unlooked(question)
    else:
        completeness = look_for_others(question, answered.subject, leaves, checkpoint, partition_records)
    records = tuple(Entry(*found) for found in zip(leaves, answered.roles, events, strict=True))
    return Report(question, answered.verdict, checkpoint, records, completeness)


def _positions(entries: Mapping[str, bytes]) -> list[Position]:
    """The positions that both a record and a proof name; raises `InvalidBundle` for one without the other."""
    found = []
    for name in entries:
        folder, _, rest = name.partition("/")
        if folder == "records":
            try:
                position = Position.parse(rest.removesuffix(".json"))
            except Malformed:
                raise InvalidBundle(f"{name}: a position is written P-O, without leading zeros") from None
            if bundle.proof_name(position) not in entries:
                raise InvalidBundle(f"{name}: there is no proof of this record")
            found.append(position)
    expected = {bundle.MANIFEST, *map(bundle.record_name, found), *map(bundle.proof_name, found)}
    for name in entries:
        if name not in expected:
            raise InvalidBundle(f"{name}: there is no record that it proves")
    if not found:
        raise InvalidBundle("there is no record in it: nothing was verified")
    return found


def _proven(
    question: Question, positions: Sequence[Position], entries: Mapping[str, bytes], verifiers: Sequence[Verifier]
) -> tuple[Checkpoint, list[Leaf]]:
    """The one checkpoint, opened with the caller's keys, and the records as leaves under it, in leaf order."""
    checkpoint: Checkpoint | None = None
    note = b""
    leaves = []
    for position in positions:
        name, value = bundle.proof_name(position), entries[bundle.record_name(position)]
        try:
            if position.partition != question.position.partition:
                raise InvalidProof("it is of another partition than the question")
            proof = TlogProof.parse(entries[name])
            if checkpoint is None:
                note = proof.checkpoint
                checkpoint = open_checkpoint(note, verifiers, position.partition)
            elif proof.checkpoint != note:
                raise InvalidProof("all proofs of a bundle are under one checkpoint, byte for byte")
            verify_inclusion(proof.index, checkpoint.size, leaf_hash(value), proof.hashes, checkpoint.root)
        except (InvalidProof, InvalidNote) as error:
            raise InvalidBundle(f"{name}: {error}") from None
        leaves.append(Leaf(position, proof.index, value))
    assert checkpoint is not None, "there is at least one record"
    return checkpoint, sorted(leaves, key=lambda leaf: leaf.leaf_index)


def _check_labels(leaves: Sequence[Leaf]) -> None:
    """Offsets are labels that no hash covers, but they rise with the leaves and leave room for those between."""
    before, offset = -1, -1
    for position, index, _ in leaves:
        if index == before:
            raise InvalidBundle(f"{bundle.proof_name(position)}: another record is proven to be the same leaf")
        if position.offset - offset < index - before:
            raise InvalidBundle(f"{bundle.record_name(position)}: this position does not fit the leaf that it is")
        before, offset = index, position.offset


def _event(leaf: Leaf) -> Event:
    try:
        return codec.read_strict(leaf.value)
    except (Malformed, Unparsable):
        raise InvalidBundle(f"{bundle.record_name(leaf.position)}: it is no event that can be read") from None

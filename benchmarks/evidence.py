"""Measures evidence bundles: how large one is, and how long it takes to build and to verify, offline, on one core.

A resident with 1,000 events in a partition of 100,000 records. `complete` holds all of them; the other only what the
verdict rests on.
"""

import time
from collections.abc import Sequence

import msgspec

from benchmarks import workload
from benchmarks.report import Figure, middle
from ledger import codec
from ledger.evidence import Leaf, Question, build, verify
from ledger.log import Position
from ledger.tree.checkpoint import Checkpoint, sign
from ledger.tree.merkle import Frontier, leaf_hash
from ledger.tree.note import Signer
from ledger.tree.proving import prove_inclusions

PARTITION, EVENTS, RECORDS = 3, 1_000, 100_000
SIGNER = Signer.from_seed("ledger.example", bytes(32))


def measure(rounds: int) -> list[Figure]:
    """Sizes in KB; build and verify times in milliseconds, the middle of so many rounds."""
    leaves, proofs, note = _resident()
    judged = max(leaf.position for leaf in leaves if b"data.used" in leaf.value)
    known_at = Position(PARTITION, RECORDS - 1)
    verdict = verify(
        build(Question(judged, known_at, True), leaves, proofs, note, [SIGNER.verifier]), [SIGNER.verifier]
    )
    cited = [i for i, entry in enumerate(verdict.records) if entry.role in ("judged", "evidence")]
    figures = []
    for complete, chosen in ((True, range(len(leaves))), (False, cited)):
        question = Question(judged, known_at, complete)
        some, hashes = [leaves[i] for i in chosen], [proofs[i] for i in chosen]
        name = f"evidence, {len(some):,} records{' (complete)' if complete else ''}"
        figures += _figures(name, question, some, hashes, note, rounds)
    return figures


def _figures(
    name: str, question: Question, leaves: Sequence[Leaf], proofs: Sequence[list[bytes]], note: bytes, rounds: int
) -> list[Figure]:
    raw, keys, built_ms, verified_ms = b"", [SIGNER.verifier], [], []
    for _ in range(rounds):
        started = time.perf_counter()
        raw = build(question, leaves, proofs, note, keys)
        built = time.perf_counter()
        verify(raw, keys)
        verified_ms.append((time.perf_counter() - built) * 1_000)
        built_ms.append((built - started) * 1_000)
    return [
        Figure.alone(f"{name}, size", len(raw) / 1_000, "KB"),
        Figure.alone(f"{name}, build and check", middle(built_ms), "ms"),
        Figure.alone(f"{name}, verify", middle(verified_ms), "ms"),
    ]


def _resident() -> tuple[list[Leaf], list[list[bytes]], bytes]:
    """The resident's records and the rules among records of others, with proofs under one checkpoint."""
    events = list(workload.stamped(workload.city(1, EVENTS + 2)))
    apart = RECORDS // len(events)
    values = [b"a record about somebody else, %d" % number for number in range(RECORDS)]
    indexes = [number * apart for number in range(len(events))]
    for index, event in zip(indexes, events, strict=True):
        values[index] = codec.encode(msgspec.structs.replace(event, recordedby="permits-app"))
    grown = Frontier().extend([leaf_hash(value) for value in values])
    proofs = prove_inclusions(indexes, RECORDS, lambda nodes: [grown.nodes[n.level][n.number] for n in nodes])
    note = sign(Checkpoint(SIGNER.name, PARTITION, RECORDS, grown.after.root), [SIGNER])
    return [Leaf(Position(PARTITION, index), index, values[index]) for index in indexes], proofs, note

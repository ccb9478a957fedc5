"""Measures evidence bundles: how large one is, and how long it takes to build and to verify, offline, on one core.

A resident with 1,000 events in a partition of 100,000 records. `complete` holds all of them; the other only what the
verdict rests on.
"""

import time
from collections.abc import Iterator, Sequence

import msgspec

from benchmarks import workload
from benchmarks.report import Figure, alone
from benchmarks.stage import Stage
from ledger import codec
from ledger.evidence import Leaf, Question, build, verify
from ledger.log import Position
from ledger.tree.checkpoint import Checkpoint, sign
from ledger.tree.merkle import Frontier, leaf_hash
from ledger.tree.note import Signer
from ledger.tree.proving import prove_inclusions

PARTITION = 3
SIGNER = Signer.from_seed("ledger.example", bytes(32))


def measure(stage: Stage) -> Iterator[Figure]:
    """Sizes in KB; build and verify times in milliseconds."""
    leaves, proofs, note = _resident(*stage.plan.evidence)
    judged = max(leaf.position for leaf in leaves if b"data.used" in leaf.value)
    known_at = Position(PARTITION, stage.plan.evidence[1] - 1)
    verdict = verify(
        build(Question(judged, known_at, True), leaves, proofs, note, [SIGNER.verifier]), [SIGNER.verifier]
    )
    cited = [i for i, entry in enumerate(verdict.records) if entry.role in ("judged", "evidence")]
    for complete, chosen in ((True, range(len(leaves))), (False, cited)):
        question = Question(judged, known_at, complete)
        some, hashes = [leaves[i] for i in chosen], [proofs[i] for i in chosen]
        name = f"evidence, {len(some):,} records{' (complete)' if complete else ''}"
        yield from _figures(stage, name, question, some, hashes, note)


def _figures(
    stage: Stage, name: str, question: Question, leaves: Sequence[Leaf], proofs: Sequence[list[bytes]], note: bytes
) -> Iterator[Figure]:
    raw, keys, built_ms, verified_ms = b"", [SIGNER.verifier], [], []
    for _ in stage.rounds():
        started = time.perf_counter()
        raw = build(question, leaves, proofs, note, keys)
        built = time.perf_counter()
        verify(raw, keys)
        verified_ms.append((time.perf_counter() - built) * 1_000)
        built_ms.append((built - started) * 1_000)
    yield alone(f"{name}, size", [len(raw) / 1_000], "KB")
    yield alone(f"{name}, build and check", built_ms, "ms")
    yield alone(f"{name}, verify", verified_ms, "ms")


def _resident(count: int, records: int) -> tuple[list[Leaf], list[list[bytes]], bytes]:
    """The resident's records and the rules among records of others, with proofs under one checkpoint."""
    events = list(workload.stamped(workload.city(1, count + 2)))
    apart = records // len(events)
    values = [b"a record about somebody else, %d" % number for number in range(records)]
    indexes = [number * apart for number in range(len(events))]
    for index, event in zip(indexes, events, strict=True):
        values[index] = codec.encode(msgspec.structs.replace(event, recordedby="permits-app"))
    grown = Frontier().extend([leaf_hash(value) for value in values])
    proofs = prove_inclusions(indexes, records, lambda nodes: [grown.nodes[n.level][n.number] for n in nodes])
    note = sign(Checkpoint(SIGNER.name, PARTITION, records, grown.after.root), [SIGNER])
    return [Leaf(Position(PARTITION, index), index, values[index]) for index in indexes], proofs, note

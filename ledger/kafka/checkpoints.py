"""The topic of signed checkpoints, `ledger.checkpoints`: written by the signer, read by whoever wants to trust.

    with CheckpointPublisher("broker:9092") as publisher:
        publisher.publish(3, note)                              # returns once every copy has it
    latest("broker:9092", verifiers, [3])[3].checkpoint.size    # 1041

Keyed by partition, in one Kafka partition, never deleted. Anybody who can write to the topic can put anything in it,
so only a note that one of `verifiers` signed counts; what is no such note is counted and let be. The topic is not
strictly in the order of sizes: a signer that was held up may publish late.
"""

import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ledger.errors import ConfigurationError, InvalidNote, TwoRoots, Unavailable, UnreadableRecord
from ledger.kafka import topics
from ledger.kafka.producer import Producer
from ledger.kafka.reader import Reader
from ledger.log import Entry, LogRecord, Position
from ledger.tree import note
from ledger.tree.checkpoint import Checkpoint, open_checkpoint

FIRST_WINDOW = 2_000
LARGEST_WINDOW = 64_000
READ_TIMEOUT_S = 20.0
_ONLY_PARTITION = 0
_logger = logging.getLogger("consent_ledger.checkpoints")


class Published(NamedTuple):
    """A checkpoint that a trusted key signed, and the signed note as it stands in the topic."""

    checkpoint: Checkpoint
    note: bytes


class CheckpointPublisher:
    """Puts signed notes into the topic. A context manager; opening it raises `LogError` or `Unavailable`."""

    def __init__(
        self,
        bootstrap: str,
        topic: str = topics.CHECKPOINTS,
        *,
        deadline_s: float = 20,
        security: Mapping[str, Any] | None = None,
    ) -> None:
        self._producer = Producer(bootstrap, topic, linger_ms=0, deadline_s=deadline_s, security=security)

    def __enter__(self) -> "CheckpointPublisher":
        self._producer.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections; a second time does nothing."""
        self._producer.close()

    def publish(self, partition: int, signed: bytes) -> None:
        """Returns once the broker has acknowledged the note of this partition of the record.

        Raises `Unavailable` when it has not: the note may be in the topic or not, and may be published again.
        """
        [acknowledged] = self._producer.append([Entry(_ONLY_PARTITION, str(partition), signed)])
        acknowledged.result()


def latest(
    bootstrap: str,
    verifiers: Sequence[note.Verifier],
    partitions: Iterable[int],
    topic: str = topics.CHECKPOINTS,
    *,
    security: Mapping[str, Any] | None = None,
) -> dict[int, Published]:
    """The greatest checkpoint of each partition that has one, read from the topic's end backwards.

    Reads a window further than where the last of `partitions` was found, since one may have been published late.
    Raises `TwoRoots` when two with right signatures give one size two roots.
    """
    _needs(verifiers)
    wanted = frozenset(partitions)
    found: dict[int, Published] = {}
    ignored = 0
    with Reader(bootstrap, topic, security=security) as reader:
        oldest = reader.oldest(_ONLY_PARTITION)[_ONLY_PARTITION]
        stop, window, more = reader.heads(_ONLY_PARTITION)[_ONLY_PARTITION], FIRST_WINDOW, bool(wanted)
        while stop > oldest and more:
            more = not wanted <= found.keys()
            start = max(oldest, stop - window)
            candidates: dict[int, list[Published]] = {}
            for record in _records(reader, start, stop):
                said = _claim(record.value)
                if said is None:
                    ignored += 1
                elif said.checkpoint.partition in wanted:
                    candidates.setdefault(said.checkpoint.partition, []).append(said)
            for partition, claims in candidates.items():
                best, refused = _greatest(claims, found.get(partition), verifiers)
                ignored += refused
                if best is not None:
                    found[partition] = best
            stop, window = start, min(2 * window, LARGEST_WINDOW)
    _report(topic, ignored)
    return found


def every(
    bootstrap: str,
    verifiers: Sequence[note.Verifier],
    topic: str = topics.CHECKPOINTS,
    *,
    security: Mapping[str, Any] | None = None,
) -> Iterator[Published]:
    """All checkpoints that a trusted key signed, in log order, up to the topic's end as it is at the start.

    Raises `TwoRoots` at the second root of a size. Keeps each size's root: about 200 bytes a checkpoint.
    """
    _needs(verifiers)
    roots: dict[tuple[int, int], bytes] = {}
    ignored = 0
    with Reader(bootstrap, topic, security=security) as reader:
        oldest = reader.oldest(_ONLY_PARTITION)[_ONLY_PARTITION]
        for record in _records(reader, oldest, reader.heads(_ONLY_PARTITION)[_ONLY_PARTITION]):
            said = _claim(record.value)
            if said is None or not _signed(said, verifiers):
                ignored += 1
                continue
            checkpoint = said.checkpoint
            if roots.setdefault((checkpoint.partition, checkpoint.size), checkpoint.root) != checkpoint.root:
                raise TwoRoots(checkpoint.partition, checkpoint.size)
            yield said
    _report(topic, ignored)


def _needs(verifiers: Sequence[note.Verifier]) -> None:
    if not verifiers:
        raise ConfigurationError("no verifier key of checkpoints is named: set CONSENT_LEDGER_CHECKPOINT_VKEYS")


def _records(reader: Reader, start: int, stop: int) -> Iterator[LogRecord]:
    """The records from `start` to before `stop`; those without a value are let be."""
    if start >= stop:
        return
    reader.assign({_ONLY_PARTITION: start})
    asked_s = time.monotonic()
    while reader.position(_ONLY_PARTITION) < stop:
        try:
            polled = reader.poll().get(_ONLY_PARTITION, [])
        except UnreadableRecord as error:
            if error.code != "no value":
                raise
            reader.seek(_ONLY_PARTITION, Position.parse(error.position).offset + 1)
            continue
        if not polled and time.monotonic() - asked_s > READ_TIMEOUT_S:
            raise Unavailable(f"the topic of checkpoints gave no record within {READ_TIMEOUT_S:.0f} s")
        if polled:
            yield from (record for record in polled if record.position.offset < stop)
            asked_s = time.monotonic()  # whoever takes the records may have taken their time


def _claim(raw: bytes) -> Published | None:
    """What a record says it is, its signatures not yet looked at; None when it is no checkpoint."""
    try:
        return Published(Checkpoint.parse(note.parse(raw).text), raw)
    except InvalidNote:
        return None


def _signed(said: Published, verifiers: Sequence[note.Verifier]) -> bool:
    try:
        return open_checkpoint(said.note, verifiers, said.checkpoint.partition) == said.checkpoint
    except InvalidNote:
        return False


def _greatest(
    claims: Sequence[Published], best: Published | None, verifiers: Sequence[note.Verifier]
) -> tuple[Published | None, int]:
    """The greatest of `best` and those claims (in log order) that are signed, and how many were not.

    Smaller ones are not looked at: what a signature costs is paid for the greatest alone.
    """
    refused = 0
    for said in sorted(claims, key=lambda claim: claim.checkpoint.size)[::-1]:  # of equals the later first
        size, root = said.checkpoint.size, said.checkpoint.root
        if best is not None and size < best.checkpoint.size:
            break
        if best is not None and (size, root) == (best.checkpoint.size, best.checkpoint.root):
            continue
        if not _signed(said, verifiers):
            refused += 1
        elif best is not None and size == best.checkpoint.size:
            raise TwoRoots(said.checkpoint.partition, size)
        else:
            best = said
    return best, refused


def _report(topic: str, ignored: int) -> None:
    if ignored:
        _logger.warning("%d records of %s are no checkpoint that a trusted key signed: let be", ignored, topic)

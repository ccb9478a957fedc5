"""`sign`: signs what each partition's tree has grown to, and publishes it, until it is told to stop.

    run("broker:9092", dsns.signer, settings.checkpoint_signers(), settings.checkpoint_verifiers())

`projections.signer_rules` says what may be signed. One turn: read trees and what was signed in one snapshot; prove that
the new begins with the old; sign; move the row in PostgreSQL by compare-and-swap; only then publish. Nothing is signed
from memory: a turn begins with what PostgreSQL says, and a note whose outcome is unknown is dropped. What was published
and not kept (a database restored from an older backup) is taken over from the topic; what was kept and not published
is published. Two signers at once do no harm: of two notes one is kept, and only that one is published.

A partition that must not be signed is refused by itself, the others go on. When Kafka or PostgreSQL is away, the signer
waits, a little longer each time.
"""

import logging
import threading
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import NamedTuple

from ledger.errors import ConfigurationError, NotYet, TwoRoots
from ledger.kafka import topics
from ledger.kafka.checkpoints import CheckpointPublisher, latest
from ledger.tree import checkpoint
from ledger.tree.checkpoint import Checkpoint
from ledger.tree.merkle import InvalidProof
from ledger.tree.note import Signer, Verifier
from projections.signer_rules import BROKEN_TREE, TWO_ROOTS, Refused, due, opened
from projections.signer_store import SignedStore, Step, no_step
from projections.stopping import stopped_by_signals
from projections.tlog import Signed, Snapshot, Trees

STEPS = ("read", "signed", "swapped", "committed", "published")
"""What `at` is told, in this order: `swapped` inside the transaction, `committed` after it."""
_FORGOTTEN = (
    "partition %d: the database did not know that %d leaves were signed, so it was restored from an older backup: "
    "the checkpoint is taken over from where it was published"
)
_logger = logging.getLogger("consent_ledger.sign")


@dataclass(frozen=True, slots=True)
class Settings:
    """How the signer works."""

    topic: str = topics.CHECKPOINTS
    every_s: float = 1.0
    publish_deadline_s: float = 10.0
    first_wait_s: float = 0.1
    longest_wait_s: float = 5.0


@dataclass
class Progress:
    """What a caller may watch from another thread. `refused` by partition: a code of `projections.signer_rules`."""

    turns: int = 0
    signed: int = 0
    faults: int = 0
    refused: dict[int, str] = field(default_factory=dict)


class _Seen(NamedTuple):
    """A partition as a turn found it: the row, what it forgot, what is to be signed, or why nothing may be."""

    partition: int
    kept: Signed | None = None
    forgotten: Signed | None = None
    due: Checkpoint | None = None
    refused: Refused | None = None


def run(
    bootstrap: str,
    dsn: str,
    signers: Sequence[Signer],
    verifiers: Sequence[Verifier] = (),
    *,
    settings: Settings | None = None,
    progress: Progress | None = None,
    at: Step = no_step,
    stop: threading.Event | None = None,
) -> dict[int, Refused]:
    """Signs until it is stopped; returns the partitions that are refused at that moment, with the reason.

    `verifiers` are keys that signed before; those of `signers` count anyway. Without `stop`, SIGTERM and SIGINT stop it
    between turns. Raises `LogError` when the topic is not there.
    """
    settings = settings or Settings()
    with (
        stopped_by_signals(stop) as stopping,
        closing(_Signing(bootstrap, dsn, signers, verifiers, settings, progress or Progress(), at)) as signing,
    ):
        wait_s = settings.first_wait_s
        while not stopping.is_set():
            try:
                signing.turn()
                wait_s = settings.first_wait_s
                stopping.wait(settings.every_s)
            except NotYet as error:
                signing.begin_again(error)
                stopping.wait(wait_s)
                wait_s = min(2 * wait_s, settings.longest_wait_s)
        return signing.refused


class _Signing:
    """The connections of one run, and what it knows to be signed."""

    def __init__(
        self,
        bootstrap: str,
        dsn: str,
        signers: Sequence[Signer],
        verifiers: Sequence[Verifier],
        settings: Settings,
        progress: Progress,
        at: Step,
    ) -> None:
        if not signers or len({signer.name for signer in signers}) != 1:
            raise ConfigurationError(
                "checkpoints are signed by one key, or by two of one name while one replaces another"
            )
        self._bootstrap, self._settings, self._progress, self._at = bootstrap, settings, progress, at
        self._signers = signers
        self._verifiers = list(dict.fromkeys([*(signer.verifier for signer in signers), *verifiers]))
        self._store = SignedStore(dsn)
        self._trees = Trees(dsn, pool_size=1)
        self._publisher: CheckpointPublisher | None = None
        # INVARIANT: per partition and size, what this process has seen kept or published. Nothing is signed that does
        # not begin with all of it, whatever becomes of the database; then only the greatest must be remembered.
        self._known: dict[int, dict[int, Signed]] = {}
        self._published: dict[int, tuple[int, bytes]] = {}
        self._asked: set[int] = set()  # the partitions whose greatest in the topic is known
        self._final: set[int] = set()  # refused until a restart, after somebody has looked: two roots were signed
        self.refused: dict[int, Refused] = {}

    def close(self) -> None:
        """Closes the connections."""
        self._store.close()
        self._trees.close()
        if self._publisher is not None:
            self._publisher.close()

    def begin_again(self, error: NotYet) -> None:
        """After a fault: PostgreSQL and the topic are asked anew, for either may have been restored meanwhile."""
        _logger.warning("signing begins again: %s", error)
        self._progress.faults += 1
        self._asked.clear()

    def turn(self) -> None:
        """Looks at every partition once; signs and publishes what is new. Raises `NotYet` when a part is away."""
        partitions = self._store.partitions()
        self._ask_topic([p for p in partitions if p not in self._asked | self._final])
        with self._trees.snapshot() as snapshot:
            found = [self._look(p, snapshot) for p in partitions if p not in self._final]
        self._at("read")
        for seen in found:
            refused = seen.refused
            try:
                self._act(seen)
            except Refused as error:
                refused = error
            self._report(seen.partition, refused)
        self._progress.turns += 1

    def _ask_topic(self, partitions: Sequence[int]) -> None:
        """What was published last of each of these partitions, whatever the database says."""
        if not partitions:
            return
        try:
            found = latest(self._bootstrap, self._verifiers, partitions, self._settings.topic)
        except TwoRoots as error:
            self._stop_for_good(error.partition, f"the topic holds two checkpoints of {error.size} leaves")
            self._ask_topic([p for p in partitions if p != error.partition])
            return
        for p, (said, note) in found.items():
            self._published[p] = (said.size, said.root)
            self._remember(p, Signed(said.size, said.root, note))
        self._asked.update(partitions)

    def _look(self, partition: int, snapshot: Snapshot) -> _Seen:
        """What there is to do for a partition. No fault of its own raises."""
        kept = snapshot.checkpoint(partition)
        try:
            if kept is not None:
                opened(partition, kept, self._verifiers)
                self._remember(partition, kept)
        except Refused as refused:
            return _Seen(partition, refused=refused)
        known = self._known.get(partition, {})
        size = max(known, default=0)
        if known and (kept is None or kept.size < size):
            return _Seen(partition, kept, forgotten=known[size])
        try:
            signed = [opened(partition, one, self._verifiers) for one in known.values()]
            new = due(self._signers[0].name, snapshot.tree(partition), signed, snapshot.tiles(partition))
        except InvalidProof:
            broken = Refused(partition, BROKEN_TREE, "the stored tree has not the hashes of its size")
            return _Seen(partition, kept, refused=broken)
        except Refused as refused:
            return _Seen(partition, kept, refused=refused)
        self._known[partition] = {size: known[size]} if known else {}  # the others are proven to be its beginnings
        return _Seen(partition, kept, due=new)

    def _act(self, seen: _Seen) -> None:
        """Brings row and topic together, then signs what is due. Raises `Refused`, or `NotYet` when a part is away."""
        partition, kept = seen.partition, seen.kept
        if seen.forgotten is not None:
            if self._store.move(partition, kept, seen.forgotten, self._at):
                _logger.warning(_FORGOTTEN, partition, seen.forgotten.size)
            return
        if kept is not None:
            self._publish(partition, kept)
        if seen.due is None:
            return
        new = Signed(seen.due.size, seen.due.root, checkpoint.sign(seen.due, self._signers))
        self._at("signed")
        if not self._store.move(partition, kept, new, self._at):
            return  # another signer was quicker: its note is read in the next turn, and ours is dropped
        self._at("committed")
        self._remember(partition, new)
        self._publish(partition, new)
        self._progress.signed += 1
        self._at("published")

    def _publish(self, partition: int, kept: Signed) -> None:
        """Publishes what the row says, unless it is known to be published."""
        if self._published.get(partition) == (kept.size, kept.root):
            return
        if self._publisher is None:
            deadline_s = self._settings.publish_deadline_s
            opening = CheckpointPublisher(self._bootstrap, self._settings.topic, deadline_s=deadline_s)
            self._publisher = opening.__enter__()
        self._publisher.publish(partition, kept.note)
        self._published[partition] = (kept.size, kept.root)

    def _remember(self, partition: int, signed: Signed) -> None:
        """Raises `Refused`, for good, when another root is known of the same size."""
        known = self._known.setdefault(partition, {}).setdefault(signed.size, signed)
        if known.root != signed.root:
            raise self._stop_for_good(partition, f"two checkpoints of {signed.size} leaves were signed")

    def _stop_for_good(self, partition: int, what: str) -> Refused:
        refused = Refused(partition, TWO_ROOTS, what)
        self._final.add(partition)
        self._report(partition, refused)
        return refused

    def _report(self, partition: int, refused: Refused | None) -> None:
        """Says it once when a partition is refused, for another reason than before, or not any more."""
        before = self.refused.pop(partition, None)
        if refused is not None:
            self.refused[partition] = refused
        if (before and before.code) != (refused and refused.code):
            if refused is None:
                _logger.warning("partition %d: signing goes on", partition)
            else:
                _logger.error("%s", refused)
        self._progress.refused = {p: error.code for p, error in self.refused.items()}

"""Every root that a trusted key signed: from the topic of checkpoints, and from what the signer itself keeps.

signed = SignedRoots("broker:9092", verifiers, "ledger.checkpoints", range(6), trees, PUBLISHED_WITHIN_S)
signed.roots[3][1041], signed.findings       # by partition and size; what is wrong with the checkpoints themselves
"""

import time
from collections.abc import Sequence

from ledger.errors import InvalidNote, TwoRoots, UnreadableRecord
from ledger.kafka.checkpoints import every
from ledger.tree.checkpoint import open_checkpoint
from ledger.tree.note import Verifier
from projections.tlog import Trees
from replay.stored_tree import Finding

PUBLISHED_WITHIN_S = 20.0
"""How long after it is signed a checkpoint may be on its way to the topic."""
_LACKS = (
    "that the signer keeps: start the signer, which publishes it; if it is running, somebody has taken checkpoints away"
)


def of_partition(partition: int, code: str, what: str) -> Finding:
    """A finding about a whole partition."""
    return Finding(None, None, code, f"partition {partition}: {what}")


class SignedRoots:
    """Every root that a trusted key signed, by partition and size, and what is wrong with the checkpoints."""

    def __init__(
        self,
        bootstrap: str,
        verifiers: Sequence[Verifier],
        topic: str,
        partitions: Sequence[int],
        trees: Trees | None,
        published_within_s: float,
    ) -> None:
        self.findings: list[Finding] = []
        self._verifiers = verifiers
        kept = {} if trees is None else self._kept(partitions, trees)
        deadline_s = time.monotonic() + published_within_s
        while True:
            self.roots: dict[int, dict[int, bytes]] = {}
            published = self._published(bootstrap, topic)
            lacking = [p for p, (size, _) in kept.items() if size not in self.roots.get(p, {})]
            if not lacking or not published or time.monotonic() > deadline_s:
                break
            time.sleep(0.5)  # it is signed first, and published then
        for partition in lacking:
            what = f"{topic} lacks the checkpoint of size {kept[partition][0]} {_LACKS}"
            self.findings.append(of_partition(partition, "unpublished", what))
        for partition, (size, root) in kept.items():
            if self.roots.setdefault(partition, {}).setdefault(size, root) != root:
                self._two_roots(TwoRoots(partition, size))

    def _published(self, bootstrap: str, topic: str) -> bool:
        """Reads the topic; False when it contradicts itself, so that the rest of it was not looked at."""
        try:
            for checkpoint, _ in every(bootstrap, self._verifiers, topic):
                self.roots.setdefault(checkpoint.partition, {})[checkpoint.size] = checkpoint.root
        except TwoRoots as error:
            self._two_roots(error)
        except UnreadableRecord as error:
            what = f"{topic} is damaged at {error.position} ({error.code}); what comes after it was not looked at"
            self.findings.append(Finding(None, None, "checkpoints-damaged", what))
        else:
            return True
        return False

    def _two_roots(self, error: TwoRoots) -> None:
        self.findings.append(Finding(None, None, "two-roots", str(error)))

    def _kept(self, partitions: Sequence[int], trees: Trees) -> dict[int, tuple[int, bytes]]:
        """What the signer keeps, where its note is rightly signed and says the same."""
        kept = {}
        with trees.snapshot() as snapshot:
            for partition in partitions:
                row = snapshot.checkpoint(partition)
                if row is None:
                    continue
                try:
                    checkpoint = open_checkpoint(row.note, self._verifiers, partition)
                    same = (checkpoint.size, checkpoint.root) == (row.size, row.root)
                except InvalidNote:
                    same = False
                if same:
                    kept[partition] = (row.size, row.root)
                else:
                    what = "the checkpoint that the signer keeps is not one that a trusted key signed"
                    self.findings.append(of_partition(partition, "signer-state", what))
        return kept

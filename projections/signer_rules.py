"""What may be signed: the rules of the signer, pure.

INVARIANT: of a partition, what is signed next begins with everything that was signed before. So there is never a
smaller size, nor a second root for a size.

>>> from ledger.tree.merkle import Frontier, leaf_hash
>>> from ledger.tree.tiles import writes
>>> grown = Frontier().extend([leaf_hash(bytes([i])) for i in range(5)])
>>> tiles = {w.tile: w.data for w in writes(grown)}
>>> def read(wanted):
...     return [tiles[tile] for tile in wanted]
>>> tree = StoredTree(3, grown.after, 5)
>>> begun = Checkpoint("ledger.example", 3, 2, Frontier().extend([leaf_hash(b"\\x00"), leaf_hash(b"\\x01")]).after.root)
>>> due("ledger.example", tree, [begun], read).size
5
>>> due("ledger.example", tree, [Checkpoint("ledger.example", 3, 5, tree.frontier.root)], read) is None
True
>>> due("ledger.example", tree, [Checkpoint("ledger.example", 3, 9, begun.root)], read)
Traceback (most recent call last):
    ...
projections.signer_rules.Refused: partition 3: the tree has 5 leaves, and 9 were signed: ...
"""

from collections.abc import Sequence

from ledger.errors import InvalidNote, LogError
from ledger.tree.checkpoint import Checkpoint, open_checkpoint
from ledger.tree.merkle import InvalidProof, verify_consistency
from ledger.tree.note import Verifier
from ledger.tree.proving import prove_consistency, root_at
from ledger.tree.tiles import TileReader, TileTree
from projections.tlog import Signed, StoredTree

SHRUNK = "shrunk"
TWO_ROOTS = "two-roots"
OTHER_HISTORY = "other-history"
BROKEN_TREE = "broken-tree"
UNKNOWN_KEY = "unknown-key"
LOCKED = "locked"
_WHY = {
    SHRUNK: "the views are being rebuilt, or were restored from an older backup; nothing is signed before the tree "
    "has reached the signed size again",
    TWO_ROOTS: "two roots for one size; stop everything, and find out with `verify-log` which history is the log's",
    OTHER_HISTORY: "records were changed, moved or dropped, or rows of tree and tiles were; find out with `verify-log`",
    BROKEN_TREE: "rows of tree or tiles were changed or are missing; rebuild the views with `replay`",
    UNKNOWN_KEY: "name the key that signed it in CONSENT_LEDGER_CHECKPOINT_VKEYS; if it was the row that was changed, "
    "delete the row: the signer takes the one of the topic",
    LOCKED: "end the session that does",
}


class Refused(LogError):
    """A partition's tree must not be signed; `code` says why, the message what to do. Other partitions go on."""

    def __init__(self, partition: int, code: str, what: str) -> None:
        self.what, self.remedy = f"partition {partition}: {what}", _WHY[code]
        super().__init__(f"{self.what}: {self.remedy}")
        self.partition = partition
        self.code = code


def opened(partition: int, signed: Signed, verifiers: Sequence[Verifier]) -> Checkpoint:
    """The checkpoint that a stored row is; raises `Refused` when its note does not say the same, rightly signed."""
    try:
        checkpoint = open_checkpoint(signed.note, verifiers, partition)
    except InvalidNote:
        checkpoint = None
    if checkpoint is None or (checkpoint.size, checkpoint.root) != (signed.size, signed.root):
        raise Refused(partition, UNKNOWN_KEY, "the stored checkpoint is not one that a known key signed")
    return checkpoint


def due(ledger: str, tree: StoredTree, signed: Sequence[Checkpoint], read: TileReader) -> Checkpoint | None:
    """The checkpoint to sign now; None when all of the tree is signed already.

    `signed` is everything known to be signed of the partition, in any order. `read` gives the tree's tiles, out of the
    same snapshot as the tree. Raises `Refused`.
    """
    partition, frontier = tree.partition, tree.frontier
    size, root = frontier.size, frontier.root
    greatest = max((known.size for known in signed), default=0)
    if size < greatest:
        raise Refused(partition, SHRUNK, f"the tree has {size} leaves, and {greatest} were signed")
    if any(known.size == size and known.root != root for known in signed):
        raise Refused(partition, TWO_ROOTS, f"the tree of {size} leaves is another than the one that was signed")
    if all(known.size == size for known in signed) and (signed or size == 0):
        return None
    nodes = TileTree(size, read).nodes
    try:
        if root_at(size, nodes) != root:
            raise Refused(partition, BROKEN_TREE, "the tiles do not give the tree's root")
        proofs = [(known, prove_consistency(known.size, size, nodes)) for known in signed if known.size]
    except InvalidProof:
        raise Refused(partition, BROKEN_TREE, "a tile is missing or has the wrong length") from None
    for known, proof in proofs:
        try:
            verify_consistency(known.size, size, known.root, root, proof)
        except InvalidProof:
            what = f"the tree of {size} leaves does not begin with the {known.size} that were signed"
            raise Refused(partition, OTHER_HISTORY, what) from None
    return None if size == greatest else Checkpoint(ledger, partition, size, root)

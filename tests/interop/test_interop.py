"""What the ledger writes is accepted, and altered refused, by code that others wrote.

Go's own `golang.org/x/mod` (`sumdb/note`, `sumdb/tlog`), `transparency-dev/merkle` and `transparency-dev/formats` read
a log of ours from a folder: `interop_test.go`. Without the Go tool chain this fails: it is part of `./dev test all`.
"""

import re
import shutil
import subprocess
from pathlib import Path

import orjson
import pytest

from ledger.log import Position
from ledger.recording import receipts
from ledger.tree.checkpoint import Checkpoint, sign, write_hash
from ledger.tree.merkle import Frontier, leaf_hash
from ledger.tree.note import Signer
from ledger.tree.proving import prove_consistency, prove_inclusions, root_at
from ledger.tree.tiles import TileTree, writes
from ledger.tree.tlog_proof import SUFFIX, TlogProof
from tests.bundles import Partition

HERE = Path(__file__).resolve().parent
EXAMPLE = HERE.parent / "vectors" / "examples" / "v01-stated-purpose.ndjson"
# Three levels of tiles, each with a partial one at the right edge.
OLDER, SIZE = 65_000, 70_000
PARTITION = 3


def write_log(folder: Path) -> None:
    """A log as `interop_test.go` reads it: records, tiles, two checkpoints, proofs, a receipt, an evidence bundle."""
    signer, receipt_signer = Signer.generate("ledger.example"), Signer.generate("ledger.example/receipts")
    records = [orjson.dumps({"record": number}) for number in range(SIZE)]
    leaves = [leaf_hash(record) for record in records]
    growth = Frontier().extend(leaves)
    for write in writes(growth):
        file = folder / write.tile.path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(write.data)
    tree = TileTree(SIZE, lambda tiles: [(folder / tile.path).read_bytes() for tile in tiles])
    newest = Checkpoint("ledger.example", PARTITION, SIZE, growth.after.root)
    older = Checkpoint("ledger.example", PARTITION, OLDER, root_at(OLDER, tree.nodes))
    raw = sign(newest, [signer])
    indexes = [0, 1, 255, 256, 257, OLDER, 65_535, 65_536, 65_791, 65_792, SIZE - 2, SIZE - 1]
    (folder / "proofs").mkdir()
    for index, hashes in zip(indexes, prove_inclusions(indexes, SIZE, tree.nodes), strict=True):
        proof = TlogProof(index, tuple(hashes), raw)
        (folder / "proofs" / f"{index}{SUFFIX}").write_bytes(proof.encode())
    consistency = [write_hash(value) for value in prove_consistency(OLDER, SIZE, tree.nodes)]
    line = receipts.Line(Position(PARTITION, 0), leaves[0], "2026-03-03T12:00:01.000000Z")
    for name, data in {
        "origin": newest.origin.encode(),
        "vkey": signer.verifier.vkey.encode(),
        "skey": signer.secret.encode(),
        "records": b"".join(record + b"\n" for record in records),
        "checkpoint": raw,
        "older-checkpoint": sign(older, [signer]),
        "consistency.json": orjson.dumps(consistency),
        "receipt": receipts.issue([line], receipt_signer).encode(),
        "receipts-vkey": receipt_signer.verifier.vkey.encode(),
        "evidence.zip": Partition(enumerate(EXAMPLE.read_bytes().splitlines()), PARTITION, signer).bundle(3),
    }.items():
        (folder / name).write_bytes(data)


@pytest.mark.go
@pytest.mark.timeout(600)
def test_checkpoints_tiles_and_proofs_are_accepted_by_code_that_others_wrote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = shutil.which("go")
    assert go, "the Go tool chain is not there: install it, or run ./dev test, which leaves this out"
    write_log(tmp_path)
    monkeypatch.setenv("INTEROP_LOG", str(tmp_path))
    run = subprocess.run(
        [go, "test", "-mod=readonly", "-count=1", "-v", "./..."], cwd=HERE, capture_output=True, text=True, timeout=540
    )
    assert run.returncode == 0, run.stdout + run.stderr
    passed = re.findall(r"^--- PASS: (\w+)", run.stdout, re.MULTILINE)
    assert passed == re.findall(r"^func (Test\w+)\(t ", (HERE / "interop_test.go").read_text(), re.MULTILINE)

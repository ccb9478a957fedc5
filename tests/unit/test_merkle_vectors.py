"""Every published proof is judged as its publishers judge it, and the hashes are theirs."""

from base64 import b64decode
from pathlib import Path
from typing import Any

import orjson
import pytest

from ledger.tree.merkle import (
    Frontier,
    InvalidProof,
    empty,
    leaf_hash,
    node_hash,
    verify_consistency,
    verify_inclusion,
)

VECTORS = Path(__file__).resolve().parents[1] / "vectors"
INCLUSION = sorted((VECTORS / "merkle" / "inclusion").rglob("*.json"))
CONSISTENCY = sorted((VECTORS / "merkle" / "consistency").rglob("*.json"))


def load(path: Path) -> dict[str, Any]:
    case: dict[str, Any] = orjson.loads(path.read_bytes())
    return case


def proof_of(case: dict[str, Any]) -> list[bytes]:
    return [b64decode(value) for value in case["proof"] or []]


def check(case: dict[str, Any]) -> None:
    if "leafIdx" in case:
        leaf, root = b64decode(case["leafHash"] or ""), b64decode(case["root"] or "")
        verify_inclusion(case["leafIdx"], case["treeSize"], leaf, proof_of(case), root)
    else:
        old, new = b64decode(case["root1"] or ""), b64decode(case["root2"] or "")
        verify_consistency(case["size1"], case["size2"], old, new, proof_of(case))


def test_the_published_proofs_are_all_here() -> None:
    assert (len(INCLUSION), len(CONSISTENCY)) == (98, 98)
    judged = [load(path)["wantErr"] for path in [*INCLUSION, *CONSISTENCY]]
    assert (judged.count(False), judged.count(True)) == (12, 184)


@pytest.mark.parametrize("path", [*INCLUSION, *CONSISTENCY], ids=lambda path: f"{path.parent.parent.name}/{path.stem}")
def test_a_published_proof_is_accepted_or_refused_as_published(path: Path) -> None:
    case = load(path)
    if case["wantErr"]:
        with pytest.raises(InvalidProof):
            check(case)
    else:
        check(case)


def test_the_hashes_are_those_of_rfc_6962() -> None:
    published = load(VECTORS / "notes" / "rfc6962-hasher.json")
    assert empty().hex() == published["empty_root"]
    assert leaf_hash(b"").hex() == published["leaf_of_empty"]
    assert leaf_hash(published["leaf"]["data_utf8"].encode()).hex() == published["leaf"]["hash"]
    left, right = published["node"]["left_utf8"].encode(), published["node"]["right_utf8"].encode()
    assert node_hash(left, right).hex() == published["node"]["hash"]
    tree = published["ct_reference_tree"]
    leaves = [leaf_hash(bytes.fromhex(data)) for data in tree["leaves"]]
    assert Frontier().extend(leaves).after.root.hex() == tree["root8"]

"""The pages of docs/spec say what the code does: their examples are its output, and their verifier verifies."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ledger.tree import note
from ledger.tree.checkpoint import Checkpoint, sign
from ledger.tree.merkle import Frontier, empty, leaf_hash
from ledger.tree.note import Signer
from ledger.tree.proving import prove_consistency, prove_inclusion
from ledger.tree.tiles import new_tiles
from ledger.tree.tlog_proof import TlogProof

SPEC = Path(__file__).resolve().parents[2] / "docs" / "spec"
SIGNER = Signer.from_seed("ledger.example", bytes(32))
RECORDS = [b"first", b"second", b"third"]
GROWN = Frontier().extend([leaf_hash(record) for record in RECORDS])
CHECKPOINT = sign(Checkpoint("ledger.example", 3, 3, GROWN.after.root), [SIGNER])


def read(nodes: Any) -> list[bytes]:
    return [GROWN.nodes[node.level][node.number] for node in nodes]


def page(name: str) -> str:
    return (SPEC / name).read_text()


def block(raw: bytes) -> str:
    return f"```\n{raw.decode()}```\n"


def proof_of(index: int, records: int = 3) -> bytes:
    tree = Frontier().extend([leaf_hash(record) for record in RECORDS[:records]]).after
    checkpoint = sign(Checkpoint("ledger.example", 3, records, tree.root), [SIGNER])
    return TlogProof(index, tuple(prove_inclusion(index, records, read)), checkpoint).encode()


def verifier() -> Callable[..., int]:
    [code, example] = re.findall(r"```python\n(.*?)```", page("tlog-proof.md"), re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    assert f'"{SIGNER.verifier.vkey}", partition=3)\n1\n' in example
    found: Callable[..., int] = names["verify"]
    return found


def test_the_examples_of_the_pages_are_what_the_code_makes() -> None:
    assert block(note.sign("one line\n", [SIGNER])) in page("note.md")
    assert block(f"{SIGNER.verifier.vkey}\n".encode()) in page("note.md")
    assert block(CHECKPOINT) in page("checkpoint.md")
    assert block(proof_of(1)) in page("tlog-proof.md")


def test_the_tree_of_the_page_is_the_tree() -> None:
    (first, second, third), [inner] = GROWN.nodes[0], GROWN.nodes[1]
    named = dict(re.findall(r"^((?:leaf )?\w+)  ([0-9a-f]{64})  = ", page("tree.md"), re.MULTILINE))
    shown = {"root": GROWN.after.root, "node": inner, "empty": empty()}
    shown |= {"leaf 0": first, "leaf 1": second, "leaf 2": third}
    assert named == {name: value.hex() for name, value in shown.items()}
    assert prove_inclusion(1, 3, read) == [first, third]
    assert prove_consistency(2, 3, read) == [third]


def test_the_tiles_of_the_page_are_those_of_the_tree() -> None:
    named = re.findall(r"tile/\d/\S+", page("tiles.md").split("```")[1])
    tiles = new_tiles(0, 70_000)
    full = [tile.path for tile in tiles if (tile.level, tile.width) == (0, 256)]
    assert named == [full[0], full[-1], *(tile.path for tile in tiles if tile.path not in full)]
    assert len(full) == 273


def test_the_verifier_of_the_page_accepts_our_proofs() -> None:
    verify = verifier()
    for records in (1, 2, 3):
        for index in range(records):
            assert verify(RECORDS[index], proof_of(index, records), SIGNER.verifier.vkey, partition=3) == index


def test_the_verifier_of_the_page_refuses_what_was_altered() -> None:
    verify, raw, vkey = verifier(), proof_of(1), SIGNER.verifier.vkey
    refused = [(b"second", raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :], vkey, 3) for at in range(len(raw))]
    refused += [(b"first", raw, vkey, 3), (b"second", raw, vkey, 2), (b"second", raw + b"\n", vkey, 3)]
    refused += [(b"second", raw, Signer.from_seed("ledger.example", b"\x01" * 32).verifier.vkey, 3)]
    refused += [(b"second", raw.replace(b"index 1", spelled), vkey, 3) for spelled in (b"index 01", b"index 0")]
    refused += [(b"second", raw.replace(b"index 1", b"extra AAAA\nindex 1"), vkey, 3)]
    for record, proof, key, partition in refused:
        with pytest.raises(Exception):  # noqa: B017 - whatever it raises, it does not return an index
            verify(record, proof, key, partition)

"""A checkpoint is read in one spelling only, and believed only when a trusted key of its own ledger signed it."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from ledger.errors import InvalidNote
from ledger.tree import note
from ledger.tree.checkpoint import Checkpoint, open_checkpoint, sign
from ledger.tree.merkle import empty, leaf_hash
from ledger.tree.note import Signature, Signer, Verifier

NOTES = Path(__file__).resolve().parents[1] / "vectors" / "notes"
CASES: list[dict[str, Any]] = orjson.loads((NOTES / "signed-notes.json").read_bytes())["cases"]
SIGNER = Signer.from_seed("ledger.example", bytes(32))
RECEIPTS = Signer.from_seed("ledger.example/receipts", bytes(32))
NEXT = Signer.from_seed("ledger.example", b"\x01" * 32)
STRANGER = Signer.from_seed("witness.example", b"\x02" * 32)
CHECKPOINT = Checkpoint("ledger.example", 3, 42, leaf_hash(b"a root"))
ORIGIN, SIZE, ROOT = CHECKPOINT.text.splitlines()
# One bit that the four last characters of base64 do not need.
LOOSE = ROOT[:-2] + chr(ord(ROOT[-2]) + 1) + "="

REFUSED = {
    "no lines": "",
    "an empty line": "\n",
    "two lines": f"{ORIGIN}\n{SIZE}\n",
    "no final newline": f"{ORIGIN}\n{SIZE}\n{ROOT}",
    "an extension line": f"{ORIGIN}\n{SIZE}\n{ROOT}\nextension\n",
    "an empty line behind": f"{ORIGIN}\n{SIZE}\n{ROOT}\n\n",
    "an empty line before": f"\n{ORIGIN}\n{SIZE}\n{ROOT}\n",
    "carriage returns": f"{ORIGIN}\r\n{SIZE}\r\n{ROOT}\r\n",
    "no origin": f"\n{SIZE}\n{ROOT}\n",
    "an origin without partition": f"ledger.example\n{SIZE}\n{ROOT}\n",
    "an origin without ledger": f"/3\n{SIZE}\n{ROOT}\n",
    "an empty partition": f"ledger.example/\n{SIZE}\n{ROOT}\n",
    "a partition 03": f"ledger.example/03\n{SIZE}\n{ROOT}\n",
    "a partition +3": f"ledger.example/+3\n{SIZE}\n{ROOT}\n",
    "a partition that is a word": f"ledger.example/three\n{SIZE}\n{ROOT}\n",
    "a space behind the origin": f"{ORIGIN} \n{SIZE}\n{ROOT}\n",
    "no size": f"{ORIGIN}\n\n{ROOT}\n",
    "a size 042": f"{ORIGIN}\n042\n{ROOT}\n",
    "a size with a space before": f"{ORIGIN}\n 42\n{ROOT}\n",
    "a size with a space behind": f"{ORIGIN}\n42 \n{ROOT}\n",
    "a size +42": f"{ORIGIN}\n+42\n{ROOT}\n",
    "a size -1": f"{ORIGIN}\n-1\n{ROOT}\n",
    "a size 4_2": f"{ORIGIN}\n4_2\n{ROOT}\n",
    "a size 0x2a": f"{ORIGIN}\n0x2a\n{ROOT}\n",
    "a size in other digits": f"{ORIGIN}\n\u0664\u0662\n{ROOT}\n",
    "a size of 2^63": f"{ORIGIN}\n{2**63}\n{ROOT}\n",
    "a size of a thousand digits": f"{ORIGIN}\n{'9' * 1000}\n{ROOT}\n",
    "size 0 with a root of leaves": f"{ORIGIN}\n0\n{ROOT}\n",
    "no root": f"{ORIGIN}\n{SIZE}\n\n",
    "a root in hex": f"{ORIGIN}\n{SIZE}\n{CHECKPOINT.root.hex()}\n",
    "a root without padding": f"{ORIGIN}\n{SIZE}\n{ROOT.rstrip('=')}\n",
    "a root with spare bits": f"{ORIGIN}\n{SIZE}\n{LOOSE}\n",
    "a root in the other alphabet": f"{ORIGIN}\n{SIZE}\n{'-' + ROOT[1:]}\n",
    "a root with a space": f"{ORIGIN}\n{SIZE}\n{ROOT[:8]} {ROOT[8:]}\n",
    "a root of 31 bytes": f"{ORIGIN}\n{SIZE}\n{'A' * 42}==\n",
    "a root of 33 bytes": f"{ORIGIN}\n{SIZE}\n{'A' * 44}\n",
}


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED.keys())
def test_a_checkpoint_has_one_spelling(text: str) -> None:
    with pytest.raises(InvalidNote):
        Checkpoint.parse(text)
    if text.endswith("\n") and "\r" not in text:  # a signature does not make it better
        with pytest.raises(InvalidNote):
            open_checkpoint(note.sign(text, [SIGNER]), [SIGNER.verifier], partition=3)


@pytest.mark.parametrize("size", [0, 1, 10, 2**63 - 1])
def test_a_checkpoint_is_read_as_it_was_written(size: int) -> None:
    checkpoint = Checkpoint("ledger.example", 65535, size, CHECKPOINT.root if size else empty())
    assert Checkpoint.parse(checkpoint.text) == checkpoint
    assert open_checkpoint(sign(checkpoint, [SIGNER]), [SIGNER.verifier], partition=65535) == checkpoint


def test_only_a_trusted_key_of_the_ledger_itself_makes_it_believed() -> None:
    raw = sign(CHECKPOINT, [SIGNER])
    for verifiers in [[], [RECEIPTS.verifier], [NEXT.verifier], [STRANGER.verifier]]:
        with pytest.raises(InvalidNote):
            open_checkpoint(raw, verifiers, partition=3)
    for other in [RECEIPTS, STRANGER]:  # trusted for something else
        with pytest.raises(InvalidNote, match="of the ledger that it names"):
            open_checkpoint(note.sign(CHECKPOINT.text, [other]), [SIGNER.verifier, other.verifier], partition=3)


def test_a_checkpoint_of_another_partition_or_ledger_is_not_this_one() -> None:
    with pytest.raises(InvalidNote, match="another partition"):
        open_checkpoint(sign(CHECKPOINT, [SIGNER]), [SIGNER.verifier], partition=0)
    elsewhere = Checkpoint("other.example", 3, CHECKPOINT.size, CHECKPOINT.root)
    with pytest.raises(InvalidNote, match="of the ledger that it names"):
        open_checkpoint(note.sign(elsewhere.text, [SIGNER]), [SIGNER.verifier], partition=3)


def test_while_a_key_is_replaced_either_key_opens_it() -> None:
    raw = sign(CHECKPOINT, [SIGNER, NEXT])
    for verifiers in [[SIGNER.verifier], [NEXT.verifier], [NEXT.verifier, SIGNER.verifier]]:
        assert open_checkpoint(raw, verifiers, partition=3) == CHECKPOINT


def test_a_signature_by_an_unknown_key_is_let_be_and_a_second_one_by_a_known_key_is_not() -> None:
    raw = note.sign(CHECKPOINT.text, [SIGNER, STRANGER])
    assert open_checkpoint(raw, [SIGNER.verifier], partition=3) == CHECKPOINT
    line = Signature(SIGNER.name, SIGNER.verifier.key_id, bytes(64)).line().encode()
    for second in [line, raw.splitlines(keepends=True)[4]]:
        with pytest.raises(InvalidNote):
            open_checkpoint(sign(CHECKPOINT, [SIGNER]) + second, [SIGNER.verifier], partition=3)


def test_a_refusal_repeats_nothing_of_what_was_read() -> None:
    with pytest.raises(InvalidNote) as refused:
        Checkpoint.parse("quiroga/3\nquiroga\nquiroga\n")
    assert "quiroga" not in str(refused.value)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["desc"])
def test_a_published_note_is_accepted_or_refused_as_published(case: dict[str, Any]) -> None:
    if "vkey_invalid" in case:
        with pytest.raises(InvalidNote):
            Verifier.parse(case["vkey_invalid"])
        return
    verifiers = [Verifier.parse(vkey) for vkey in case["vkeys"]]
    if case["ok"]:
        opened = note.open_note(case["note"].encode(), verifiers)
        assert list(opened.verified) == case["verified"]
    else:
        with pytest.raises(InvalidNote):
            note.open_note(case["note"].encode(), verifiers)


def test_the_example_of_the_signed_note_specification_opens() -> None:
    example = orjson.loads((NOTES / "c2sp-signed-note-example.json").read_bytes())
    opened = note.open_note(example["note"].encode(), [Verifier.parse(example["vkey"])])
    assert opened.text == "This is an example message.\n"

"""Signed notes and leaf hashes agree with the published vectors, and have one spelling only."""

import json
from pathlib import Path
from typing import Any

import pytest

from ledger.errors import InvalidNote
from ledger.log import Position
from ledger.recording import receipts
from ledger.tree import merkle, note

VECTORS = Path(__file__).parents[1] / "vectors" / "notes"
GO = json.loads((VECTORS / "signed-notes.json").read_text("utf-8"))["cases"]
C2SP = json.loads((VECTORS / "c2sp-signed-note-example.json").read_text("utf-8"))
HASHER = json.loads((VECTORS / "rfc6962-hasher.json").read_text("utf-8"))
SIGNER = note.Signer.from_seed("ledger.example", bytes(32))
OTHER = note.Signer.from_seed("witness.example", bytes(range(32)))


@pytest.mark.parametrize("case", [c for c in GO if "note" in c], ids=lambda c: c["desc"])
def test_published_notes_open_or_not_as_go_says(case: dict[str, Any]) -> None:
    verifiers = [note.Verifier.parse(vkey) for vkey in case["vkeys"]]
    if case["ok"]:
        assert list(note.open_note(case["note"].encode(), verifiers).verified) == case["verified"]
    else:
        with pytest.raises(InvalidNote):
            note.open_note(case["note"].encode(), verifiers)


@pytest.mark.parametrize("case", [c for c in GO if "vkey_invalid" in c], ids=lambda c: c["desc"])
def test_published_bad_verifier_keys_are_refused(case: dict[str, Any]) -> None:
    with pytest.raises(InvalidNote):
        note.Verifier.parse(case["vkey_invalid"])


def test_the_specification_s_example_verifies_and_its_key_keeps_its_spelling() -> None:
    verifier = note.Verifier.parse(C2SP["vkey"])
    assert note.open_note(C2SP["note"].encode(), [verifier]).verified == (verifier.name,)
    assert verifier.vkey == C2SP["vkey"]


def test_every_published_note_is_written_again_byte_for_byte() -> None:
    for case in [c for c in GO if c.get("ok")] + [C2SP]:
        read = note.parse(case["note"].encode())
        assert note.sign(read.text, [], existing=read.signatures) == case["note"].encode()


def test_several_signatures_are_all_checked() -> None:
    raw = note.sign("text\n", [SIGNER, OTHER])
    both = [SIGNER.verifier, OTHER.verifier]
    assert note.open_note(raw, both).verified == (SIGNER.name, OTHER.name)
    assert note.open_note(raw, [OTHER.verifier]).verified == (OTHER.name,)
    spoilt = note.parse(raw).signatures[1]
    forged = note.Signature(spoilt.name, spoilt.key_id, bytes(64))
    with pytest.raises(InvalidNote):
        note.open_note(note.sign("text\n", [SIGNER], existing=[forged]), both)


def test_signing_again_replaces_this_key_s_signature_and_keeps_the_others() -> None:
    once = note.parse(note.sign("text\n", [SIGNER, OTHER]))
    again = note.parse(note.sign("text\n", [SIGNER], existing=once.signatures))
    assert [s.name for s in again.signatures] == [OTHER.name, SIGNER.name]


def test_a_text_may_hold_empty_lines_and_dashes() -> None:
    text = "one\n\n— two\n\n\nthree\n"
    assert note.open_note(note.sign(text, [SIGNER]), [SIGNER.verifier]).text == text


GOOD = note.sign("text\n", [SIGNER]).decode()
LINE = GOOD.split("\n")[2]


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "text\n",
        GOOD[:-1],
        GOOD + "\n",
        GOOD + " ",
        GOOD.replace("text\n\n", "text\n"),
        GOOD.replace("text", "te\rxt"),
        GOOD.replace("text", "te\txt"),
        GOOD.replace("— ", "- "),
        GOOD.replace("— ", "—  "),
        GOOD.replace("— ", "—"),
        GOOD.replace("ledger.example ", "ledger.example  "),
        GOOD.replace("ledger.example ", "ledger+example "),
        GOOD.replace("ledger.example ", "ledger.example"),
        GOOD.replace("=\n", "\n"),
        GOOD.replace("=\n", "==\n"),
        GOOD.replace("=\n", "=\r\n"),
        GOOD.replace("— ledger.example ", "— ledger.example +"),
        GOOD + "— ledger.example AAAA\n",
        GOOD + "an unknown line\n",
        GOOD.replace("text", "te\ud800xt".encode("utf-8", "surrogatepass").decode("latin-1")) + "\x00",
    ],
)
def test_any_other_spelling_of_a_note_is_refused(raw: str) -> None:
    with pytest.raises(InvalidNote):
        note.open_note(raw.encode(), [SIGNER.verifier])


def test_bytes_that_are_not_utf_8_are_no_note() -> None:
    with pytest.raises(InvalidNote):
        note.parse(b"te\xffxt\n\n" + LINE.encode() + b"\n")


def test_loose_base64_in_a_signature_is_refused() -> None:
    # The last sextet has two spare bits: another letter there decodes to the same bytes.
    loose = LINE[:-2] + chr(ord(LINE[-2]) + 1) + LINE[-1:]
    with pytest.raises(InvalidNote):
        note.parse(f"text\n\n{loose}\n".encode())


@pytest.mark.parametrize(
    "vkey",
    [
        "",
        "name",
        "name+00000000",
        SIGNER.verifier.vkey + "=",
        SIGNER.verifier.vkey.upper(),
        "+" + SIGNER.verifier.vkey,
        SIGNER.verifier.vkey.replace("ledger.", "other."),
        SIGNER.verifier.vkey.replace("ledger.", "led ger."),
    ],
)
def test_any_other_spelling_of_a_verifier_key_is_refused(vkey: str) -> None:
    with pytest.raises(InvalidNote):
        note.Verifier.parse(vkey)


def test_a_signing_key_is_read_back_and_never_shown_by_an_error() -> None:
    assert note.Signer.parse(SIGNER.secret + "\n").verifier == SIGNER.verifier
    for broken in (
        SIGNER.secret[:-6],
        SIGNER.secret.replace("ledger.", "other."),
        "PRIVATE+KEY+x",
        SIGNER.secret + "A",
    ):
        with pytest.raises(InvalidNote) as caught:
            note.Signer.parse(broken)
        assert "AAAA" not in str(caught.value)


def test_hashes_agree_with_the_published_ones() -> None:
    leaf, node, tree = HASHER["leaf"], HASHER["node"], HASHER["ct_reference_tree"]
    assert merkle.empty().hex() == HASHER["empty_root"]
    assert merkle.leaf_hash(b"").hex() == HASHER["leaf_of_empty"]
    assert merkle.leaf_hash(leaf["data_utf8"].encode()).hex() == leaf["hash"]
    assert merkle.node_hash(node["left_utf8"].encode(), node["right_utf8"].encode()).hex() == node["hash"]
    level = [merkle.leaf_hash(bytes.fromhex(leaf)) for leaf in tree["leaves"]]
    while len(level) > 1:
        level = [merkle.node_hash(*level[i : i + 2]) for i in range(0, len(level), 2)]
    assert level[0].hex() == tree["root8"]


RECEIPTS = note.Signer.from_seed("ledger.example/receipts", bytes(32))
LINES = [receipts.Line(Position(p, 7), bytes([p]) * 32, "2026-03-03T12:00:00.000000Z") for p in range(3)]


def test_a_receipt_for_a_batch_is_one_note_of_a_header_and_three_lines_each() -> None:
    raw = receipts.issue(LINES, RECEIPTS).encode()
    assert len(note.parse(raw).text.splitlines()) == 1 + 3 * len(LINES)
    assert receipts.check(raw, RECEIPTS.verifier) == LINES


@pytest.mark.parametrize(
    "text",
    [
        "consent-ledger/receipt/v1\n",
        "consent-ledger/receipt/v2\n0-0\n{leaf}\n2026-03-03T12:00:00Z\n",
        "consent-ledger/receipt/v1\n0-00\n{leaf}\n2026-03-03T12:00:00Z\n",
        "consent-ledger/receipt/v1\n0-0\nAAAA\n2026-03-03T12:00:00Z\n",
        "consent-ledger/receipt/v1\n0-0\n{leaf}\nyesterday\n",
        "consent-ledger/receipt/v1\n0-0\n{leaf}\n2026-03-03T12:00:00Z\n0-1\n",
    ],
)
def test_a_signed_text_that_is_no_receipt_is_refused(text: str) -> None:
    raw = note.sign(text.replace("{leaf}", "A" * 43 + "="), [RECEIPTS])
    with pytest.raises(InvalidNote):
        receipts.check(raw, RECEIPTS.verifier)


def test_a_receipt_by_the_checkpoints_key_is_refused() -> None:
    with pytest.raises(InvalidNote):
        receipts.check(receipts.issue(LINES, SIGNER).encode(), RECEIPTS.verifier)

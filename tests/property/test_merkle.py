"""Whatever is changed in a proof, a tile or a checkpoint, it is refused; and random bytes crash nothing."""

from itertools import pairwise

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from ledger.errors import ConsentLedgerError, InvalidNote
from ledger.tree import note
from ledger.tree.checkpoint import Checkpoint, open_checkpoint, sign
from ledger.tree.merkle import Frontier, InvalidProof, leaf_hash, verify_consistency, verify_inclusion
from ledger.tree.note import Signer, Verifier
from ledger.tree.proving import prove_consistency, prove_inclusion, root_at
from ledger.tree.tiles import Tile, TileTree, check_tiles, new_tiles, writes
from ledger.tree.tlog_proof import TlogProof, verify

SIGNER = Signer.from_seed("ledger.example", bytes(32))
LEAVES = [leaf_hash(b"record %d" % number) for number in range(700)]
GROWN = Frontier().extend(LEAVES)
STORE = {write.tile: write.data for write in writes(GROWN)}
PROOFS = settings(max_examples=150, deadline=None, derandomize=True, database=None, print_blob=False)
FEW = settings(PROOFS, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
SIZES = st.integers(1, len(LEAVES))


def read(tiles: list[Tile] | tuple[Tile, ...]) -> list[bytes]:
    held = {(tile.level, tile.index): data for tile, data in STORE.items()}
    return [held[tile.level, tile.index][: tile.width * 32] for tile in tiles]


def tree(size: int) -> TileTree:
    return TileTree(size, lambda tiles: read(list(tiles)))


def flipped(raw: bytes, bit: int) -> bytes:
    changed = bytearray(raw)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def changes(proof: list[bytes], data: st.DataObject) -> list[list[bytes]]:
    """The proof with one bit flipped, one hash dropped, repeated, made up, or two swapped."""
    place = data.draw(st.integers(0, len(proof)))
    changed = [[*proof[:place], data.draw(st.binary(min_size=32, max_size=32)), *proof[place:]]]
    if proof:
        at = data.draw(st.integers(0, len(proof) - 1))
        bit = data.draw(st.integers(0, 255))
        changed += [
            [*proof[:at], flipped(proof[at], bit), *proof[at + 1 :]],
            [*proof[:at], *proof[at + 1 :]],
            [*proof[:at], proof[at], *proof[at:]],
            [*proof[:at], proof[at][:-1], *proof[at + 1 :]],
            [*proof[:at], proof[at] + b"\0", *proof[at + 1 :]],
        ]
        for left, right in pairwise(range(len(proof))):
            swapped = list(proof)
            swapped[left], swapped[right] = proof[right], proof[left]
            changed.append(swapped)
    return changed


@PROOFS
@given(SIZES, st.integers(0, 10**9), st.integers(0, 255), st.data())
def test_a_changed_inclusion_proof_leaf_or_root_is_refused(size: int, pick: int, bit: int, data: st.DataObject) -> None:
    index, root = pick % size, root_at(size, tree(size).nodes)
    proof, leaf = prove_inclusion(index, size, tree(size).nodes), LEAVES[index]
    verify_inclusion(index, size, leaf, proof, root)
    for changed in changes(proof, data):
        with pytest.raises(InvalidProof):
            verify_inclusion(index, size, leaf, changed, root)
    with pytest.raises(InvalidProof):
        verify_inclusion(index, size, flipped(leaf, bit), proof, root)
    with pytest.raises(InvalidProof):
        verify_inclusion(index, size, leaf, proof, flipped(root, bit))
    for other in [index ^ 1 << bit % 10, index + size]:
        with pytest.raises(InvalidProof):
            verify_inclusion(other, size, leaf, proof, root)


@PROOFS
@given(SIZES, st.integers(0, 10**9), st.integers(0, 255), st.data())
def test_a_changed_consistency_proof_or_root_is_refused(size: int, pick: int, bit: int, data: st.DataObject) -> None:
    old_size = pick % size + 1
    old_root, new_root = (root_at(n, tree(n).nodes) for n in (old_size, size))
    proof = prove_consistency(old_size, size, tree(size).nodes)
    verify_consistency(old_size, size, old_root, new_root, proof)
    for changed in changes(proof, data):
        with pytest.raises(InvalidProof):
            verify_consistency(old_size, size, old_root, new_root, changed)
    with pytest.raises(InvalidProof):
        verify_consistency(old_size, size, flipped(old_root, bit), new_root, proof)
    with pytest.raises(InvalidProof):
        verify_consistency(old_size, size, old_root, flipped(new_root, bit), proof)


@FEW
@given(SIZES, st.integers(0, 10**9), st.integers(0, 10**9), st.integers(0, 254))
def test_a_changed_tile_is_refused(size: int, pick: int, bit: int, hash_pick: int) -> None:
    root, tiles = root_at(size, tree(size).nodes), new_tiles(0, size)
    held = dict(zip(tiles, read(tiles), strict=True))
    tile = tiles[pick % len(tiles)]
    data, at = held[tile], hash_pick % tile.width * 32
    swap = data[:at] + data[at + 32 : at + 64] + data[at : at + 32] + data[at + 64 :]
    check_tiles(size, root, lambda asked: [held[one] for one in asked])
    for changed in [flipped(data, bit % (len(data) * 8)), data[:at] + data[at + 32 :], data + bytes(32), swap]:
        if changed != data:
            altered = held | {tile: changed}
            with pytest.raises(InvalidProof):
                check_tiles(size, root, lambda asked, altered=altered: [altered[one] for one in asked])  # type: ignore[misc]


@pytest.mark.parametrize("index", [0, 5, 6])
def test_no_bit_of_a_tlog_proof_can_be_flipped_and_no_byte_dropped_or_repeated(index: int) -> None:
    checkpoint = Checkpoint("ledger.example", 3, 7, root_at(7, tree(7).nodes))
    proof = TlogProof(index, tuple(prove_inclusion(index, 7, tree(7).nodes)), sign(checkpoint, [SIGNER]))
    raw, trusted = proof.encode(), [SIGNER.verifier]
    verify(raw, LEAVES[index], trusted, partition=3)
    altered = [flipped(raw, bit) for bit in range(len(raw) * 8)]
    altered += [raw[:at] + raw[at + 1 :] for at in range(len(raw)) if raw[at : at + 1] != raw[at + 1 : at + 2]]
    altered += [raw[: at + 1] + raw[at:] for at in range(len(raw))]
    lines = raw.splitlines(keepends=True)
    altered += [b"".join(lines[:at] + lines[at + 1 :]) for at in range(len(lines))]
    altered += [b"".join([*lines[: at + 1], *lines[at:]]) for at in range(len(lines))]
    altered += [b"".join([*lines[:at], lines[at + 1], lines[at], *lines[at + 2 :]]) for at in range(len(lines) - 1)]
    for changed in altered:
        assert changed != raw
        with pytest.raises((InvalidProof, InvalidNote)):
            verify(changed, LEAVES[index], trusted, partition=3)


@PROOFS
@given(st.lists(st.integers(0, 300), max_size=6))
def test_a_tree_grown_in_steps_is_the_tree_grown_at_once(steps: list[int]) -> None:
    size = sum(steps)
    assume(size <= len(LEAVES))
    stepwise, stored = Frontier(), dict[tuple[int, int], bytes]()
    for step in steps:
        growth = stepwise.extend(LEAVES[stepwise.size : stepwise.size + step])
        assert [write.tile for write in writes(growth)] == new_tiles(growth.before.size, growth.after.size)
        for write in writes(growth):
            key = (write.tile.level, write.tile.index)
            stored[key] = stored.get(key, b"") + write.data
            assert len(stored[key]) == write.tile.width * 32
        stepwise = Frontier.unpack(growth.after.size, growth.after.pack())
    at_once = Frontier().extend(LEAVES[:size])
    assert stepwise == at_once.after
    assert stored == {(write.tile.level, write.tile.index): write.data for write in writes(at_once)}


NOTE = sign(Checkpoint("ledger.example", 3, 7, root_at(7, tree(7).nodes)), [SIGNER])
PROOF = TlogProof(6, tuple(prove_inclusion(6, 7, tree(7).nodes)), NOTE).encode()


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """A piece of the real thing cut out and replaced by any bytes."""
    start, stop = sorted((draw(st.integers(0, len(whole))), draw(st.integers(0, len(whole)))))
    return whole[:start] + draw(st.binary(max_size=80)) + whole[stop:]


@PROOFS
@given(st.one_of(st.binary(max_size=400), damaged(NOTE), damaged(PROOF)))
def test_random_bytes_are_refused_and_crash_nothing(raw: bytes) -> None:
    assume(raw not in (NOTE, PROOF))
    text = raw.decode("utf-8", "replace")
    with pytest.raises((InvalidProof, InvalidNote)):
        verify(raw, LEAVES[6], [SIGNER.verifier], partition=3)
    with pytest.raises(InvalidNote):
        open_checkpoint(raw, [SIGNER.verifier], partition=3)
    for read_text in [Checkpoint.parse, Tile.parse, Verifier.parse, Signer.parse]:
        with pytest.raises(ConsentLedgerError):
            read_text(text)
    for size in [0, 1, 7]:
        if len(raw) != 32 * size.bit_count():
            with pytest.raises(InvalidProof):
                Frontier.unpack(size, raw)


@PROOFS
@given(st.binary(max_size=200))
def test_a_note_survives_any_text_it_may_carry(raw: bytes) -> None:
    text = "".join(c for c in raw.decode("utf-8", "replace") if c >= " " or c == "\n") + "\n"
    assert note.open_note(note.sign(text, [SIGNER]), [SIGNER.verifier]).text == text

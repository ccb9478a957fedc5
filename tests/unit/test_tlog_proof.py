"""A tlog-proof shows one record to be in a partition's tree, has one spelling, and brings no trust of its own."""

import pytest

from ledger.errors import InvalidNote
from ledger.tree.checkpoint import Checkpoint, sign, write_hash
from ledger.tree.merkle import Frontier, InvalidProof, leaf_hash
from ledger.tree.note import Signer
from ledger.tree.proving import prove_inclusion
from ledger.tree.tlog_proof import MAX_HASHES, TlogProof, verify

SIGNER = Signer.from_seed("ledger.example", bytes(32))
LEAVES = [leaf_hash(b"record %d" % number) for number in range(7)]
GROWN = Frontier().extend(LEAVES)
CHECKPOINT = Checkpoint("ledger.example", 3, GROWN.after.size, GROWN.after.root)
NOTE = sign(CHECKPOINT, [SIGNER])


def proof_of(index: int) -> TlogProof:
    hashes = prove_inclusion(index, 7, lambda nodes: [GROWN.nodes[node.level][node.number] for node in nodes])
    return TlogProof(index, tuple(hashes), NOTE)


RAW = proof_of(6).encode()
HEAD, INDEX, FIRST, SECOND = RAW.split(b"\n\n")[0].split(b"\n")
TAIL = b"\n\n" + NOTE
ONE = TlogProof(0, (), sign(Checkpoint("ledger.example", 3, 1, LEAVES[0]), [SIGNER])).encode()


def lines(*head: bytes) -> bytes:
    return b"\n".join(head) + TAIL


REFUSED = {
    "nothing": b"",
    "a checkpoint alone": NOTE,
    "no checkpoint": b"\n".join([HEAD, INDEX, FIRST, SECOND]) + b"\n",
    "another version": lines(b"c2sp.org/tlog-proof@v2", INDEX, FIRST, SECOND),
    "a space behind the first line": lines(HEAD + b" ", INDEX, FIRST, SECOND),
    "no first line": lines(INDEX, FIRST, SECOND),
    "an empty line before": b"\n" + RAW,
    "a byte order mark": b"\xef\xbb\xbf" + RAW,
    "carriage returns": RAW.replace(b"\n", b"\r\n"),
    "no index": lines(HEAD, FIRST, SECOND),
    "nothing but the first line": lines(HEAD),
    "an extra line": lines(HEAD, b"extra AAAA", INDEX, FIRST, SECOND),
    "an extra line behind the index": lines(HEAD, INDEX, b"extra AAAA", FIRST, SECOND),
    "an index 06": lines(HEAD, b"index 06", FIRST, SECOND),
    "an index +6": lines(HEAD, b"index +6", FIRST, SECOND),
    "an index -6": lines(HEAD, b"index -6", FIRST, SECOND),
    "two spaces": lines(HEAD, b"index  6", FIRST, SECOND),
    "a space behind the index": lines(HEAD, b"index 6 ", FIRST, SECOND),
    "a tab": lines(HEAD, b"index\t6", FIRST, SECOND),
    "no number": lines(HEAD, b"index ", FIRST, SECOND),
    "an index of 2^63": lines(HEAD, b"index %d" % 2**63, FIRST, SECOND),
    "other digits": lines(HEAD, "index \u0666".encode(), FIRST, SECOND),
    "a hash in hex": lines(HEAD, INDEX, LEAVES[0].hex().encode(), SECOND),
    "a hash without padding": lines(HEAD, INDEX, FIRST[:-1], SECOND),
    "a hash with spare bits": lines(HEAD, INDEX, FIRST[:-2] + bytes([FIRST[-2] + 1]) + b"=", SECOND),
    "a space before a hash": lines(HEAD, INDEX, b" " + FIRST, SECOND),
    "two hashes on a line": lines(HEAD, INDEX, FIRST + SECOND),
    "a hash of 31 bytes": lines(HEAD, INDEX, b"A" * 42 + b"==", SECOND),
    "more hashes than a tree can need": lines(HEAD, INDEX, *[FIRST] * (MAX_HASHES + 1)),
    "an empty line between the hashes": lines(HEAD, INDEX, FIRST, b"", SECOND),
    "two empty lines": lines(HEAD, INDEX, FIRST, SECOND, b""),
    "a word behind the checkpoint": RAW + b"more",
    "a line behind the checkpoint": RAW + b"more\n",
    "an empty line behind the checkpoint": RAW + b"\n",
    "no last newline": RAW[:-1],
}


def test_every_leaf_of_the_tree_is_proven_at_its_place() -> None:
    for index, leaf in enumerate(LEAVES):
        proof = proof_of(index)
        assert TlogProof.parse(proof.encode()) == proof
        proven = verify(proof.encode(), leaf, [SIGNER.verifier], partition=3)
        assert (proven.index, proven.checkpoint) == (index, CHECKPOINT)


def test_the_only_leaf_of_a_tree_is_proven_without_a_hash() -> None:
    assert verify(ONE, LEAVES[0], [SIGNER.verifier], partition=3).index == 0
    assert ONE.startswith(b"c2sp.org/tlog-proof@v1\nindex 0\n\nledger.example/3\n1\n")


@pytest.mark.parametrize("raw", REFUSED.values(), ids=REFUSED.keys())
def test_a_proof_has_one_spelling(raw: bytes) -> None:
    with pytest.raises((InvalidProof, InvalidNote)):
        verify(raw, LEAVES[6], [SIGNER.verifier], partition=3)


def test_a_proof_says_nothing_of_another_record_place_partition_or_key() -> None:
    with pytest.raises(InvalidProof):
        verify(RAW, LEAVES[5], [SIGNER.verifier], partition=3)
    with pytest.raises(InvalidProof):
        verify(RAW.replace(INDEX, b"index 5"), LEAVES[6], [SIGNER.verifier], partition=3)
    with pytest.raises(InvalidProof):
        verify(RAW.replace(INDEX, b"index 7"), LEAVES[6], [SIGNER.verifier], partition=3)
    with pytest.raises(InvalidNote):
        verify(RAW, LEAVES[6], [SIGNER.verifier], partition=2)
    with pytest.raises(InvalidNote):
        verify(RAW, LEAVES[6], [Signer.from_seed("ledger.example", b"\x01" * 32).verifier], partition=3)


def test_a_checkpoint_of_another_tree_does_not_carry_the_proof() -> None:
    other = sign(Checkpoint("ledger.example", 3, 7, leaf_hash(b"another root")), [SIGNER])
    with pytest.raises(InvalidProof):
        verify(RAW.replace(NOTE, other), LEAVES[6], [SIGNER.verifier], partition=3)


def test_an_inner_node_is_not_proven_as_a_record() -> None:
    """The prefixes 00 and 01 keep leaves and nodes apart: two hashes cannot pass for a record's bytes."""
    node = GROWN.nodes[1][0]
    proof = TlogProof(0, proof_of(0).hashes[1:], NOTE)
    with pytest.raises(InvalidProof):
        verify(proof.encode(), leaf_hash(LEAVES[0] + LEAVES[1]), [SIGNER.verifier], partition=3)
    with pytest.raises(InvalidProof):  # even when its very hash is given, the path is too short for a leaf
        verify(proof.encode(), node, [SIGNER.verifier], partition=3)


def test_a_refusal_repeats_nothing_of_what_was_read() -> None:
    for raw in [b"quiroga" + TAIL, lines(HEAD, b"index quiroga"), lines(HEAD, INDEX, b"quiroga")]:
        with pytest.raises(InvalidProof) as refused:
            TlogProof.parse(raw)
        assert "quiroga" not in str(refused.value)
    assert write_hash(LEAVES[0]) not in str(refused.value)

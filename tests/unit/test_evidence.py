"""An evidence bundle has one spelling, holds what can be derived and nothing else, and says what it does not prove."""

import io
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from ledger.errors import Malformed, TooLarge
from ledger.evidence import Leaf, build, bundle, verify
from ledger.evidence.bundle import Incomplete, InvalidBundle
from ledger.evidence.manifest import ROLES
from ledger.log import Position
from tests.bundles import LEDGER, OTHER_SIGNER, SIGNER, Partition, changed

ROOT = Path(__file__).resolve().parents[2]
KEYS = [SIGNER.verifier]


def example(name: str) -> list[bytes]:
    return (ROOT / "tests" / "vectors" / "examples" / f"{name}.ndjson").read_bytes().splitlines()


def other_resident(line: bytes, subject: bytes = b"res_91aa") -> bytes:
    return line.replace(b"res_7f2c", subject)


STATED = Partition(enumerate(example("v01-stated-purpose")))
RAW = STATED.bundle(3)
ENTRIES = bundle.unpack(RAW)
# A use by consent, a withdrawal, and the same use again, among records about somebody else; offsets have gaps.
LINES = example("v05-consent-then-withdrawn")
MIXED = Partition(
    [
        (0, LINES[0]),
        (1, other_resident(LINES[1])),
        *((offset, line) for offset, line in zip((2, 3, 4, 7, 8, 9), LINES[1:], strict=True)),
        (10, other_resident(LINES[2])),
        (12, LINES[1]),
    ]
)
OURS = [offset for offset, line in MIXED.records if b"res_91aa" not in line]


# --- what it holds ----------------------------------------------------------------------------------------------


def test_any_zip_program_opens_a_bundle() -> None:
    with zipfile.ZipFile(io.BytesIO(RAW)) as opened:
        assert opened.testzip() is None
        assert opened.namelist() == list(ENTRIES)
        assert {name: opened.read(name) for name in ENTRIES} == ENTRIES
    assert ENTRIES["records/3-2.json"] == STATED.records[2][1]


def test_the_same_question_records_and_checkpoint_give_the_same_bytes_in_whatever_order_they_come() -> None:
    offsets = [3, 1, 0, 2]
    leaves = [STATED.leaves[offset] for offset in offsets]
    assert build(STATED.question(3), leaves, STATED.hashes(offsets), STATED.note(), KEYS) == RAW == STATED.bundle(3)


def test_the_manifest_holds_nothing_that_cannot_be_derived() -> None:
    manifest = orjson.loads(ENTRIES["manifest.json"])
    assert list(manifest) == ["format", "ledger", "question", "verdict", "checkpoint", "records"]
    assert "superseded_by" not in manifest["verdict"]
    assert all("text" not in finding for finding in manifest["verdict"]["findings"])
    report = verify(RAW, KEYS)
    assert report.verdict == manifest["verdict"]
    assert (report.checkpoint.origin, report.checkpoint.size) == (f"{LEDGER}/3", 4)
    assert report.records[0].event.kind == "policy.published"


def test_every_role_is_derived() -> None:
    now, then = (verify(MIXED.bundle(7, OURS, known_at=at, complete=True), KEYS) for at in (12, 7))
    roles = {entry.leaf.position.offset: entry.role for entry in now.records}
    assert (roles[7], roles[0], roles[4], roles[8], roles[9], roles[12]) == (
        "judged", "evidence", "evidence", "context", "context", "repeat",
    )  # fmt: skip
    later = {entry.leaf.position.offset for entry in then.records if entry.role == "later"}
    assert later == {8, 9}
    assert {entry.role for entry in (*now.records, *then.records)} == set(ROLES)


def test_offsets_are_labels_and_leaf_indexes_count_without_gaps() -> None:
    report = verify(MIXED.bundle(9, OURS), KEYS)
    found = {entry.leaf.position.offset: entry.leaf.leaf_index for entry in report.records}
    assert (found[4], found[7], found[9]) == (4, 5, 7)


def test_a_bundle_known_then_says_what_was_known_then() -> None:
    partition = Partition(enumerate(example("v10-late-withdrawal-changes-the-verdict")))
    now, then = verify(partition.bundle(4), KEYS), verify(partition.bundle(4, known_at=4), KEYS)
    assert (now.verdict["outcome"], now.verdict["first_outcome"]) == ("inconsistent", "consistent")
    assert (then.verdict["outcome"], then.verdict["known_at"]) == ("consistent", "3-4")
    assert {entry.role for entry in then.records if entry.leaf.position.offset > 4} == {"later"}


def test_too_many_records_are_refused_before_anything_is_made_of_them() -> None:
    leaf = STATED.leaves[3]
    with pytest.raises(TooLarge):
        build(STATED.question(3), [leaf] * 30_001, [[]] * 30_001, STATED.note(), KEYS)


def test_nothing_is_built_that_would_not_verify() -> None:
    leaves, hashes = [STATED.leaves[offset] for offset in range(4)], STATED.hashes([0, 1, 2, 3])
    altered = [leaf._replace(value=leaf.value.replace(b'"email"', b'"phone"')) for leaf in leaves]
    for given, proofs, note, keys in (
        (altered, hashes, STATED.note(), KEYS),
        (leaves, [hashes[1], hashes[0], *hashes[2:]], STATED.note(), KEYS),
        (leaves, hashes, STATED.note(3), KEYS),
        (leaves, hashes, STATED.note(), [OTHER_SIGNER.verifier]),
        (leaves[:3], hashes[:3], STATED.note(), KEYS),
    ):
        with pytest.raises(InvalidBundle):
            build(STATED.question(3), given, proofs, note, keys)


# --- what is refused, and how it is said ------------------------------------------------------------------------


def zipped(change: Callable[[zipfile.ZipInfo], None] = lambda _: None, **options: Any) -> bytes:
    """The entries of the bundle as Python's zipfile writes them, each header changed before."""
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", **options) as made:
        for name, data in ENTRIES.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = options.get("compression", zipfile.ZIP_STORED)
            change(info)
            made.writestr(info, data)
    return written.getvalue()


def renamed(old: str, new: str) -> bytes:
    return bundle.pack([(new if name == old else name, data) for name, data in ENTRIES.items()])


def patched(at: int, value: bytes) -> bytes:
    return RAW[:at] + value + RAW[at + len(value) :]


def with_comment() -> bytes:
    return RAW[:-2] + b"\x04\x00note"


FIRST_RECORD = RAW.index(b"PK\x03\x04", 4)
DIRECTORY = RAW.index(b"PK\x01\x02")
SPELLINGS = {
    "data behind the zip": RAW + b"\0",
    "a second zip behind the zip": RAW + RAW,
    "a comment": with_comment(),
    "zipfile's own headers": zipped(),
    "compressed": zipped(compression=zipfile.ZIP_DEFLATED),
    "a folder": bundle.pack([*ENTRIES.items(), ("records/", b"")]),
    "an absolute name": renamed("records/3-1.json", "/records/3-1.json"),
    "a name with ..": renamed("records/3-1.json", "records/../3-1.json"),
    "a name with a backslash": renamed("records/3-1.json", "records\\3-1.json"),
    "a name with a letter": renamed("records/3-1.json", "records/3-1a.json"),
    "a position 03-1": bundle.pack(
        [(name.replace("/3-1.", "/03-1."), data) for name, data in ENTRIES.items()],
    ),
    "a name twice": bundle.pack([*ENTRIES.items(), ("records/3-1.json", ENTRIES["records/3-1.json"])]),
    "an entry more": changed(RAW, **{"README.txt": b"read me"}),
    "a record without a proof": changed(RAW, **{"records__3-9.json": ENTRIES["records/3-1.json"]}),
    "a proof without a record": changed(RAW, **{"proofs__3-9.tlog-proof": ENTRIES["proofs/3-1.tlog-proof"]}),
    "two manifests": bundle.pack([*ENTRIES.items(), ("manifest.json", ENTRIES["manifest.json"])]),
    "an empty manifest": changed(RAW, **{"manifest.json": b""}),
    "a manifest that is a list": changed(RAW, **{"manifest.json": b"[]"}),
    "a manifest with white space": changed(RAW, **{"manifest.json": ENTRIES["manifest.json"] + b"\n"}),
    "a manifest with a member more": changed(
        RAW, **{"manifest.json": ENTRIES["manifest.json"][:-1] + b',"signed_off_by":"the mayor"}'}
    ),
    "entries in another order": bundle.pack(list(ENTRIES.items())[:1] + list(ENTRIES.items())[:0:-1]),
    "no record": bundle.pack([("manifest.json", ENTRIES["manifest.json"])]),
    "an oversize record": changed(RAW, **{"records__3-1.json": b" " * 131_073}),
    "encrypted": patched(FIRST_RECORD + 6, b"\x01\x00"),
    "a time": patched(FIRST_RECORD + 10, b"\x21\x08"),
    "a size that is not there": patched(FIRST_RECORD + 18, b"\x00\x10\x00\x00\x00\x10\x00\x00"),
    "a size of 4 GB": patched(FIRST_RECORD + 18, b"\xff" * 8),
    "another name in the directory": RAW[:DIRECTORY] + RAW[DIRECTORY:].replace(b"records/3-1", b"records/3-7"),
    "an entry that the directory leaves out": RAW[:-14] + b"\x08\x00\x08\x00" + RAW[-10:],
    "gaps between entries": RAW[:FIRST_RECORD] + b"hidden" + RAW[FIRST_RECORD:],
}


@pytest.mark.parametrize("raw", SPELLINGS.values(), ids=SPELLINGS.keys())
def test_a_bundle_has_one_spelling(raw: bytes) -> None:
    with pytest.raises((InvalidBundle, Incomplete)):
        verify(raw, KEYS)


@pytest.mark.parametrize(
    "raw", [b"", b"no zip", b"PK", b"PK\x05\x06" + bytes(18), b"junk" + RAW, RAW[4:], zipped()[:20]], ids=range(7)
)
def test_what_is_no_bundle_at_all_is_malformed(raw: bytes) -> None:
    with pytest.raises(Malformed):
        verify(raw, KEYS)


@pytest.mark.parametrize("missing", [1, 21, 22, 23, 100, 500, len(RAW) - 60])
def test_a_bundle_cut_short_is_incomplete(missing: int) -> None:
    with pytest.raises(Incomplete):
        verify(RAW[:-missing], KEYS)


def test_a_small_file_never_unpacks_into_a_large_one() -> None:
    """Two names for the same bytes, and lengths that are not there: whatever is read is a part of the file."""
    record = RAW[FIRST_RECORD : RAW.index(b"PK\x03\x04", FIRST_RECORD + 4)]
    bomb = RAW[:FIRST_RECORD] + record[:18] + b"\xff\xff\x01\x00" * 2 + record[26:] + RAW[FIRST_RECORD + len(record) :]
    with pytest.raises((InvalidBundle, Incomplete)):
        bundle.unpack(bomb)
    directory = RAW[DIRECTORY:-22]
    end = bytearray(RAW[-22:])
    end[8:10] = end[10:12] = (9 * 700).to_bytes(2, "little")
    end[12:16] = (len(directory) * 700).to_bytes(4, "little")
    with pytest.raises(InvalidBundle):
        bundle.unpack(RAW[:DIRECTORY] + directory * 700 + bytes(end))


def test_a_refusal_names_the_entry_and_repeats_nothing_of_it() -> None:
    secret = ENTRIES["records/3-1.json"].replace(b"res_7f2c", b"quiroga")
    for raw, name in (
        (changed(RAW, **{"records__3-1.json": secret}), "proofs/3-1.tlog-proof"),
        (changed(RAW, **{"proofs__3-2.tlog-proof": b"quiroga"}), "proofs/3-2.tlog-proof"),
        (changed(RAW, **{"manifest.json": b'{"quiroga":1}'}), "manifest.json"),
    ):
        with pytest.raises(InvalidBundle) as refused:
            verify(raw, KEYS)
        assert str(refused.value).startswith(name)
        assert "quiroga" not in str(refused.value)
    with pytest.raises(InvalidBundle) as refused:
        verify(renamed("records/3-1.json", "quiroga"), KEYS)
    assert "entry 3 " in str(refused.value)
    assert "quiroga" not in str(refused.value)


# --- records, proofs and the question ---------------------------------------------------------------------------


def forged(partition: Partition, judged: int, offsets: list[int], **labels: Any) -> bytes:
    """A bundle made by somebody who may sign nothing, but may leave out and rename as they like."""
    leaves = [partition.leaves[offset] for offset in offsets]
    places = [Position(3, labels.get(f"at{offset}", offset)) for offset in offsets]
    moved = [leaf._replace(position=place) for place, leaf in zip(places, leaves, strict=True)]
    return build(partition.question(judged), moved, partition.hashes(offsets), partition.note(), KEYS)


def test_records_that_are_not_those_of_the_question_are_refused() -> None:
    for judged, offsets, why in (
        (9, [0, 3, 4], "3-9: there is no collection, use or share"),  # the event itself is not there
        (2, [0, 2, 3], "3-2: there is no collection, use or share"),  # a notice
        (9, [0, 1, 3, 4, 9], "3-1: this record is about somebody else"),
    ):
        with pytest.raises(InvalidBundle, match=why):
            MIXED.bundle(judged, offsets)
    with pytest.raises(InvalidBundle, match="was not recorded by known_at"):
        MIXED.bundle(9, OURS, known_at=4)
    repeated = Partition([(0, LINES[0]), (1, LINES[4]), (2, LINES[4])])
    assert verify(repeated.bundle(1), KEYS).verdict["position"] == "3-1"
    with pytest.raises(InvalidBundle, match="repeats"):
        repeated.bundle(2)


def test_positions_that_do_not_fit_the_leaves_are_refused() -> None:
    assert verify(forged(MIXED, 9, [0, 4, 9]), KEYS).verdict["position"] == "3-9"
    with pytest.raises(InvalidBundle, match="does not fit"):
        forged(MIXED, 9, [0, 4, 9], at4=2)  # leaf 4 cannot stand at offset 2
    with pytest.raises(InvalidBundle, match="does not fit"):
        forged(MIXED, 9, [0, 4, 7, 9], at4=8)  # nor after a later leaf
    with pytest.raises(InvalidBundle, match="no collection, use or share"):
        forged(MIXED, 9, [0, 4, 9], at9=11)


def test_one_record_twice_under_two_positions_is_refused() -> None:
    leaf = STATED.leaves[2]
    leaves = [*(STATED.leaves[offset] for offset in range(4)), Leaf(Position(3, 9), 2, leaf.value)]
    with pytest.raises(InvalidBundle, match="same leaf"):
        build(STATED.question(3), leaves, STATED.hashes([0, 1, 2, 3, 2]), STATED.note(), KEYS)


def test_a_key_that_is_not_the_ledger_s_or_a_checkpoint_of_another_partition_proves_nothing() -> None:
    for keys in ([OTHER_SIGNER.verifier], []):
        with pytest.raises(InvalidBundle, match=r"proofs/3-0\.tlog-proof"):
            verify(RAW, keys)
    assert verify(RAW, [OTHER_SIGNER.verifier, SIGNER.verifier]).checkpoint.ledger == LEDGER
    elsewhere = bundle.unpack(Partition(enumerate(example("v01-stated-purpose")), number=4).bundle(3))
    relabelled = {name.replace("/4-", "/3-"): data for name, data in elsewhere.items() if name != "manifest.json"}
    with pytest.raises(InvalidBundle, match="another partition"):
        verify(bundle.pack([("manifest.json", ENTRIES["manifest.json"]), *relabelled.items()]), KEYS)


# --- completeness -----------------------------------------------------------------------------------------------

WHOLE = [value for _, value in MIXED.records]
WITHOUT_WITHDRAWAL = [offset for offset in OURS if offset != 8]


def test_a_bundle_that_leaves_out_a_withdrawal_verifies_and_says_that_completeness_is_not_proven() -> None:
    """The last use is inconsistent since the consent was withdrawn: without that record it looks consistent."""
    honest, dishonest = (verify(MIXED.bundle(9, offsets), KEYS) for offsets in (OURS, WITHOUT_WITHDRAWAL))
    assert (honest.verdict["outcome"], dishonest.verdict["outcome"]) == ("inconsistent", "consistent")
    for report in (honest, dishonest):
        assert not report.completeness.proven
        assert "operator's word" in report.completeness.why


def test_the_whole_partition_proves_completeness_or_finds_what_was_left_out() -> None:
    assert verify(MIXED.bundle(9, OURS, complete=True), KEYS, WHOLE).completeness.proven
    assert verify(MIXED.bundle(9, OURS), KEYS, WHOLE).completeness.proven
    found = verify(MIXED.bundle(9, WITHOUT_WITHDRAWAL), KEYS, WHOLE).completeness
    assert (found.proven, found.missing) == (False, 1)
    with pytest.raises(InvalidBundle, match="leaf 6 of the partition"):
        verify(MIXED.bundle(9, WITHOUT_WITHDRAWAL, complete=True), KEYS, WHOLE)


def test_a_rule_that_was_left_out_is_found_too() -> None:
    ended = b"".join(
        (
            b'{"specversion":"1.0","id":"a1","source":"/legal","type":"org.consent-ledger.agreement.ended.v1",',
            b'"time":"2026-03-01T12:00:00Z","datacontenttype":"application/json",',
            b'"data":{"agreement_id":"a1","reason":"over"}}',
        )
    )
    partition = Partition([*MIXED.records, (13, ended)])
    with pytest.raises(InvalidBundle, match="leaf 10 of the partition"):
        verify(partition.bundle(9, OURS, complete=True), KEYS, [*WHOLE, ended])


def test_a_partition_that_is_not_the_signed_one_proves_nothing() -> None:
    raw = MIXED.bundle(9, OURS, complete=True)
    with pytest.raises(Incomplete, match="has 9 records, and the checkpoint is of 10"):
        verify(raw, KEYS, WHOLE[:-1])
    for other in (WHOLE[::-1], [*WHOLE[:1], WHOLE[1].replace(b"res_91aa", b"res_ffff"), *WHOLE[2:]], [b"", *WHOLE]):
        with pytest.raises(InvalidBundle, match="root"):
            verify(raw, KEYS, other)
    assert verify(raw, KEYS, [*WHOLE, b"what came later"]).completeness.proven


def test_a_record_of_the_partition_that_cannot_be_read_leaves_completeness_unproven() -> None:
    partition = Partition([*MIXED.records, (13, b"no event")])
    with pytest.raises(InvalidBundle, match="leaf 10 of the partition cannot be read"):
        verify(partition.bundle(9, OURS, complete=True), KEYS, [*WHOLE, b"no event"])


# --- the page ---------------------------------------------------------------------------------------------------


def page(name: str) -> str:
    return (ROOT / "docs" / "spec" / name).read_text("utf-8")


def test_the_example_of_the_page_is_what_the_code_makes() -> None:
    [manifest] = re.findall(r"^```json\n(.*?)^```", page("bundle.md"), re.MULTILINE | re.DOTALL)
    assert orjson.dumps(orjson.loads(manifest)) == ENTRIES["manifest.json"]
    listed = page("bundle.md").split("```")[1].split("\n")[1:-1]
    assert [line.split("  ")[0] for line in listed] == list(ENTRIES)


def test_the_page_says_the_bounds_and_the_roles() -> None:
    text = page("bundle.md")
    assert f"At most {bundle.MAX_RECORDS:,} records; {bundle.MAX_ENTRY_BYTES // 1024} KiB for a record or proof" in text
    assert f"{bundle.MAX_MANIFEST_BYTES >> 20} MiB for the manifest, {bundle.MAX_BUNDLE_BYTES >> 20} MiB in all" in text
    assert set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)) == set(ROLES)


def test_the_verifier_of_the_page_accepts_ours_and_refuses_what_was_altered(tmp_path: Path) -> None:
    names: dict[str, Any] = {}
    for name in ("tlog-proof.md", "bundle.md"):
        exec(re.findall(r"```python\n(.*?)```", page(name), re.DOTALL)[0], names)
    file = tmp_path / "evidence.zip"
    file.write_bytes(RAW)
    assert names["check"](file, SIGNER.verifier.vkey)["verdict"]["outcome"] == "consistent"
    moved = ENTRIES["records/3-1.json"], ENTRIES["records/3-2.json"]
    for altered in (
        changed(RAW, **{"records__3-1.json": moved[1], "records__3-2.json": moved[0]}),
        changed(RAW, **{"proofs__3-1.tlog-proof": None}),
        changed(RAW, **{"README.txt": b""}),
        changed(RAW, **{"records__3-3.json": ENTRIES["records/3-3.json"] + b" "}),
        zipped(compression=zipfile.ZIP_DEFLATED),
    ):
        file.write_bytes(altered)
        with pytest.raises(Exception):  # noqa: B017 - whatever it raises, it does not return a manifest
            names["check"](file, SIGNER.verifier.vkey)

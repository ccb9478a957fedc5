"""Whatever is changed in a bundle, it is refused; and what it says is what the judge says of the whole log."""

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger import codec
from ledger.errors import Malformed
from ledger.events import JUDGED
from ledger.evidence import Leaf, answer_of, bundle, verify
from ledger.evidence.bundle import Incomplete, InvalidBundle
from ledger.evidence.manifest import without_text
from ledger.facts import RESIDENT_FACTS
from ledger.history import Row, event_subject, finding_json
from ledger.log import Position
from tests.bundles import OTHER_SIGNER, SIGNER, Partition
from tests.property.dice import Dice
from tests.property.strategies import FATES, SEEDS, Case, cases, random_history
from tests.property.two_judges import rows_of

FEW = settings(max_examples=60, deadline=None, derandomize=True, database=None, print_blob=False)
MANY = settings(FEW, max_examples=250)
LONG = settings(FEW, max_examples=40, suppress_health_check=list(HealthCheck))
REFUSALS = (InvalidBundle, Incomplete, Malformed)


def partition_of(case: Case) -> Partition:
    return Partition([(offset, codec.encode(event)) for offset, event in case.history])


def judged_rows(case: Case) -> list[tuple[Row, int]]:
    """Some of the rows of a history, each with an offset at which it was the answer."""
    rows = rows_of(case.history)
    chosen = [rows[look % len(rows)] for look in case.looks] if rows else []
    return [(row, row.known_from if row.known_until is None else row.known_until - 1) for row in chosen]


def said(row: Row) -> tuple[object, ...]:
    findings = [finding_json(f, lambda offset: str(Position(3, offset))) for f in row.verdict.findings]
    return row.verdict.outcome, row.first_outcome, without_text(findings)


def told(verdict: object) -> tuple[object, ...]:
    assert isinstance(verdict, dict)
    return verdict["outcome"], verdict["first_outcome"], verdict["findings"]


@LONG
@given(cases())
def test_a_complete_bundle_says_what_the_judge_says_of_the_whole_history(case: Case) -> None:
    partition = partition_of(case)
    for row, known_at in judged_rows(case):
        subject = event_subject(row.event)
        held = [offset for offset, event in case.history if event_subject(event) in (subject, None)]
        raw = partition.bundle(row.offset, held, known_at, complete=True)
        report = verify(raw, [SIGNER.verifier], [value for _, value in partition.records])
        assert told(report.verdict) == said(row)
        assert report.completeness.proven
        roles = {entry.leaf.position.offset: entry.role for entry in report.records}
        assert roles.pop(row.offset) == "judged"
        cited = {offset for finding in row.verdict.findings for offset in finding.evidence}
        assert {offset for offset, role in roles.items() if role == "evidence"} == cited - {row.offset}
        assert all((role in ("later", "repeat")) or offset <= known_at for offset, role in roles.items())


@LONG
@given(cases())
def test_the_facts_alone_give_the_verdict_so_widening_a_bundle_to_them_is_enough(case: Case) -> None:
    """What `projections.evidence` relies on: other judged events, reads and complaints change no verdict."""
    partition = partition_of(case)
    counted = {(event.source, event.id, event.subject): offset for offset, event in reversed(case.history)}
    for row, known_at in judged_rows(case):
        facts = [
            offset
            for offset, event in case.history
            if counted[event.source, event.id, event.subject] == offset
            and (offset == row.offset or offset <= known_at)
            and (
                event_subject(event) is None
                or (event.subject == row.event.subject and (type(event.data) in RESIDENT_FACTS or offset == row.offset))
            )
        ]
        leaves = [partition.leaves[offset] for offset in facts]
        answered, _ = answer_of(partition.question(row.offset, known_at), leaves)
        assert told(answered.verdict) == said(row)


# --- changes ----------------------------------------------------------------------------------------------------


def sample() -> Partition:
    """A partition with a history in which verdicts change: the first random one with enough of them."""
    for seed in range(100):
        history = random_history(Dice(seed))
        if sum(event.kind in JUDGED for _, event in history) >= 6:
            return Partition([(offset, codec.encode(event)) for offset, event in history])
    raise AssertionError("there are such histories")


PARTITION = sample()
EVENT = [offset for offset, value in PARTITION.records if codec.read(value).kind in JUDGED][3]
RAW = PARTITION.bundle(EVENT)
OTHER = PARTITION.bundle(EVENT, size=len(PARTITION.records) - 1, known_at=PARTITION.records[-2][0])
ENTRIES = bundle.unpack(RAW)
RECORDS = [name for name in ENTRIES if name.startswith("records/")]
PROOFS = [name for name in ENTRIES if name.startswith("proofs/")]


def refused(raw: bytes) -> None:
    with pytest.raises(REFUSALS):
        verify(raw, [SIGNER.verifier])


def packed(entries: dict[str, bytes]) -> bytes:
    return bundle.pack(entries.items())


def test_the_bundle_verifies_before_it_is_changed() -> None:
    assert verify(RAW, [SIGNER.verifier]).checkpoint.size == len(PARTITION.records)
    assert packed(ENTRIES) == RAW
    assert verify(OTHER, [SIGNER.verifier]).checkpoint.size == len(PARTITION.records) - 1
    with pytest.raises(InvalidBundle):
        verify(RAW, [OTHER_SIGNER.verifier])


@MANY
@given(st.integers(0, len(RAW) * 8 - 1))
def test_any_bit_flipped_in_the_file_is_refused(bit: int) -> None:
    raw = bytearray(RAW)
    raw[bit // 8] ^= 1 << bit % 8
    refused(bytes(raw))


@MANY
@given(st.sampled_from(sorted(ENTRIES)), st.integers(0, 2**32), st.sampled_from(["flip", "drop", "add", "cut"]))
def test_an_entry_changed_in_any_place_is_refused_though_the_zip_was_made_anew(name: str, place: int, how: str) -> None:
    data = ENTRIES[name]
    at = place % len(data)
    changed = {
        "flip": data[:at] + bytes([data[at] ^ 1 << place % 8]) + data[at + 1 :],
        "drop": data[:at] + data[at + 1 :],
        "add": data[:at] + b" " + data[at:],
        "cut": data[:at],
    }[how]
    refused(packed({**ENTRIES, name: changed}))


@MANY
@given(st.sampled_from(PROOFS), st.integers(0, 2**32), st.sampled_from(["drop", "add", "swap", "repeat"]))
def test_a_hash_dropped_added_or_swapped_in_a_proof_is_refused(name: str, place: int, how: str) -> None:
    head, blank, checkpoint = ENTRIES[name].partition(b"\n\n")
    title, index, *hashes = head.split(b"\n")
    at = place % len(hashes)
    changes: dict[str, Callable[[], list[bytes]]] = {
        "drop": lambda: hashes[:at] + hashes[at + 1 :],
        "add": lambda: [*hashes[:at], hashes[-1] if at == 0 else hashes[0], *hashes[at:]],
        "swap": lambda: [*hashes[:at], hashes[at - 1], *hashes[at + 1 :]],
        "repeat": lambda: [*hashes[:at], hashes[at], *hashes[at:]],
    }
    raw = b"\n".join([title, index, *changes[how]()]) + blank + checkpoint
    if raw != ENTRIES[name]:
        refused(packed({**ENTRIES, name: raw}))


@FEW
@given(st.sampled_from([RECORDS, PROOFS]), st.data())
def test_two_entries_that_change_places_are_refused(names: list[str], data: st.DataObject) -> None:
    one, other = data.draw(st.lists(st.sampled_from(names), min_size=2, max_size=2, unique=True))
    refused(packed({**ENTRIES, one: ENTRIES[other], other: ENTRIES[one]}))
    order = [other if name == one else one if name == other else name for name in ENTRIES]
    refused(packed({name: ENTRIES[name] for name in order}))


@FEW
@given(st.sampled_from(sorted(ENTRIES)), st.sampled_from(sorted(ENTRIES)))
def test_an_entry_left_out_repeated_or_renamed_is_refused(name: str, other: str) -> None:
    refused(packed({kept: data for kept, data in ENTRIES.items() if kept != name}))
    refused(bundle.pack([*ENTRIES.items(), (name, ENTRIES[name])]))
    refused(bundle.pack([*ENTRIES.items(), (name, ENTRIES[other])]))
    renamed = name.replace("/3-", "/3-9") if "/" in name else "manifest2.json"
    refused(packed({(renamed if kept == name else kept): data for kept, data in ENTRIES.items()}))


@FEW
@given(st.sampled_from(RECORDS))
def test_a_record_left_out_with_its_proof_is_refused_since_the_manifest_names_it(record: str) -> None:
    proof = record.replace("records/", "proofs/").replace(".json", ".tlog-proof")
    refused(packed({name: data for name, data in ENTRIES.items() if name not in (record, proof)}))


@FEW
@given(st.sampled_from(PROOFS))
def test_a_proof_of_another_bundle_is_refused_though_it_is_right(name: str) -> None:
    others = bundle.unpack(OTHER)
    if name in others:
        refused(packed({**ENTRIES, name: others[name]}))


@FEW
@given(st.sampled_from(RECORDS), st.integers(1, 3))
def test_a_position_that_does_not_fit_its_leaf_is_refused(record: str, by: int) -> None:
    """Offsets are labels: but the manifest names them, they rise, and there is room for the leaves between."""
    offset = int(record.removeprefix("records/3-").removesuffix(".json"))
    moved = {
        name.replace(f"/3-{offset}.", f"/3-{offset + by}."): data
        for name, data in ENTRIES.items()
        if f"/3-{offset + by}." not in name or name == record
    }
    refused(packed(moved))


@MANY
@given(st.binary(max_size=400), st.integers(0, len(RAW)))
def test_random_bytes_and_beginnings_of_a_bundle_crash_nothing(junk: bytes, length: int) -> None:
    refused(junk)
    refused(RAW[:length] + junk if junk else RAW[: min(length, len(RAW) - 1)])


@LONG
@given(SEEDS, FATES)
def test_random_records_under_a_right_proof_crash_nothing(seed: int, junk: bytes) -> None:
    """A log's owner may put anything into it: a bundle of it is refused with a reason, or judged."""
    partition = Partition([(0, junk), (1, codec.encode(random_history(Dice(seed))[0][1]))])
    leaves = [Leaf(Position(3, offset), index, value) for index, (offset, value) in enumerate(partition.records)]
    with pytest.raises(REFUSALS):
        answer_of(partition.question(0), leaves)

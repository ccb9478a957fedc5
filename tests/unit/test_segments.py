"""The broker's files as a tamperer treats them: what is written reads as it should, by the client's own parser."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from kafka.record.default_records import DefaultRecordBatchBuilder
from kafka.record.memory_records import MemoryRecords

from ledger.errors import ConfigurationError, NotFound
from ledger.kafka import segments
from ledger.log import Position

BATCHES = (5, 1, 1, 6, 2)
SEGMENTS = (0, 7)
"""The offsets at which a segment begins."""


def value(offset: int) -> bytes:
    return b'{"offset":%d,"text":"%s"}' % (offset, b"x" * (offset * 37 % 300))


def batch(base: int, count: int, codec: int = 0) -> bytes:
    """A batch as the client makes it, at the place where a broker would put it."""
    builder = DefaultRecordBatchBuilder(2, codec, False, 7, 0, base, 1_000_000)
    for i in range(count):
        key = None if (base + i) % 3 == 0 else b"resident-%d" % i
        assert builder.append(i, timestamp=1_700_000_000_000 + i, key=key, value=value(base + i), headers=[])
    raw = bytes(builder.build())
    return base.to_bytes(8, "big") + raw[8:]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A partition of 15 records in five batches and two segments, with the files that a broker keeps beside them."""
    made = tmp_path / "ledger.events-3"
    made.mkdir()
    base = 0
    for count in BATCHES:
        segment = max(start for start in SEGMENTS if start <= base)
        with (made / f"{segment:020}.log").open("ab") as file:
            file.write(batch(base, count))
        base += count
    for name in ("00000000000000000000.index", "00000000000000000007.timeindex", "00000000000000000015.snapshot"):
        (made / name).touch()
    (made / "partition.metadata").touch()
    return made


def read(folder: Path) -> list[tuple[int, bytes | None]]:
    """Every record as the client reads it; batch sums must be right."""
    found = []
    for file in sorted(folder.glob("*.log")):
        for batch in MemoryRecords(file.read_bytes()):
            assert batch.validate_crc()
            found += [(record.offset, record.key, record.value) for record in batch]
    assert [offset for offset, _, _ in found] == sorted({offset for offset, _, _ in found})
    return [(offset, value) for offset, _, value in found]


def expected(offsets: Sequence[int]) -> list[tuple[int, bytes]]:
    return [(offset, value(offset)) for offset in offsets]


def test_every_record_is_found(folder: Path) -> None:
    assert read(folder) == expected(range(15))
    assert segments.values(folder) == dict(expected(range(15)))
    assert [len(found.records) for found in segments.batches(folder)] == list(BATCHES)


def test_a_batch_written_again_is_the_same_bytes(folder: Path) -> None:
    for found in segments.batches(folder):
        assert found.with_records(found.records) == found.raw


@pytest.mark.parametrize("offset", [0, 4, 5, 6, 9, 14])
def test_a_record_altered_in_place_changes_nothing_else(folder: Path, offset: int) -> None:
    sizes = [file.stat().st_size for file in sorted(folder.glob("*.log"))]
    segments.alter(folder, offset, lambda old: old.replace(b'"offset"', b'"OFFSET"'))
    assert read(folder) == [
        (at, value(at).replace(b'"offset"', b'"OFFSET"') if at == offset else value(at)) for at in range(15)
    ]
    assert [file.stat().st_size for file in sorted(folder.glob("*.log"))] == sizes
    assert len(list(folder.iterdir())) == 6, "the broker may be running: its index stays"


def test_a_checksum_can_be_left_wrong(folder: Path) -> None:
    segments.alter(folder, 2, lambda old: old.replace(b"offset", b"OFFSET"), fix_crc=False)
    wrong = [not found.validate_crc() for f in sorted(folder.glob("*.log")) for found in MemoryRecords(f.read_bytes())]
    assert wrong == [True, False, False, False, False]


@pytest.mark.parametrize("offset", [0, 3, 4, 5, 6, 12, 13])
def test_swapped_records_keep_the_places_and_change_what_is_in_them(folder: Path, offset: int) -> None:
    """Within a batch, across batches, across segments."""
    assert segments.swap(folder, offset) == offset + 1
    after = dict(expected(range(15)))
    after[offset], after[offset + 1] = after[offset + 1], after[offset]
    assert read(folder) == sorted(after.items())
    assert not list(folder.glob("*index")) + list(folder.glob("*.snapshot"))
    assert (folder / "partition.metadata").exists()


@pytest.mark.parametrize("offset", [0, 2, 4, 5, 6, 14])
def test_a_dropped_record_leaves_a_gap(folder: Path, offset: int) -> None:
    segments.drop(folder, offset)
    assert read(folder) == expected([at for at in range(15) if at != offset])


@pytest.mark.parametrize("offset", [0, 1, 5, 6, 7, 8, 14])
def test_a_cut_log_ends_before_the_record(folder: Path, offset: int) -> None:
    assert segments.cut(folder, offset) == 15 - offset
    assert read(folder) == expected(range(offset))
    last = [found.base_offset + found.raw[26] for found in segments.batches(folder)]
    assert last[-1:] == ([offset - 1] if offset else []), "what it spans ends there too"


def test_what_is_not_there_is_said(folder: Path, tmp_path: Path) -> None:
    for change in (segments.swap, segments.drop, segments.cut):
        with pytest.raises(NotFound, match=str(Position(3, 15))):
            change(folder, 15)
    with pytest.raises(NotFound, match="no record comes after"):
        segments.swap(folder, 14)
    with pytest.raises(NotFound):
        segments.cut(tmp_path / "ledger.events-9", 0)


def test_batches_that_the_ledger_does_not_write_are_left_alone(folder: Path) -> None:
    file = folder / "00000000000000000007.log"
    raw = file.read_bytes() + batch(15, 3, codec=1)
    file.write_bytes(raw)
    with pytest.raises(ConfigurationError):
        segments.cut(folder, 0)
    assert file.read_bytes() == raw

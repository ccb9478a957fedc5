"""A broker's own files, as somebody who has got hold of its disk would treat them: for development and tests.

    folder = Path("data/kafka/data/ledger.events-3")
    alter(folder, 1041, lambda value: value.replace(b"email", b"phone"))      # also while the broker runs
    swap(folder, 1041), drop(folder, 1041), cut(folder, 1041)                  # only while it is stopped

Record batches of Kafka's format 2 without compression, as the ledger's producer makes them
(https://kafka.apache.org/documentation/#recordbatch). Their checksums are made right again, so that neither broker nor
client notices: what notices are the checkpoints. After a rewrite the partition's index and snapshot files are removed;
the broker makes them anew when it starts.
"""

import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from kafka.record.util import calc_crc32c, decode_varint, encode_varint

from ledger.errors import ConfigurationError, NotFound
from ledger.log import Position

_HEADER = struct.Struct(">qiibIhiqqqhii")
_LENGTH_AT, _AFTER_LENGTH, _CRC_AT, _CRC_FROM = 8, 12, 17, 21
_LAST_DELTA_AT, _COUNT_AT = 23, 57
_CODEC_MASK, _CONTROL_MASK = 0x07, 0x20
_MADE_ANEW = ("*.index", "*.timeindex", "*.txnindex", "*.snapshot")


class Record(NamedTuple):
    """One record in a batch: `head` are its attributes and time, `rest` its key, value and headers, as they stand.

    `value_at` counts from the batch's first byte.
    """

    offset_delta: int
    head: bytes
    rest: bytes
    value: bytes | None
    value_at: int


@dataclass(frozen=True)
class Batch:
    """A batch, and where it is: `at` bytes into `file`."""

    file: Path
    at: int
    raw: bytes
    base_offset: int
    records: tuple[Record, ...]

    def offset(self, record: Record) -> int:
        """The offset of one of its records."""
        return self.base_offset + record.offset_delta

    def index(self, offset: int) -> int | None:
        """Which of its records has this offset."""
        return next((i for i, record in enumerate(self.records) if self.offset(record) == offset), None)

    def with_records(self, records: tuple[Record, ...], last_delta: int | None = None) -> bytes:
        """The batch with other records, length and checksum made right; the offsets that it spans stay the same."""
        body = b"".join(_written(record) for record in records)
        raw = bytearray(self.raw[: _HEADER.size] + body)
        struct.pack_into(">i", raw, _LENGTH_AT, len(raw) - _AFTER_LENGTH)
        struct.pack_into(">i", raw, _COUNT_AT, len(records))
        if last_delta is not None:
            struct.pack_into(">i", raw, _LAST_DELTA_AT, last_delta)
        return with_checksum(raw)


def with_checksum(raw: bytes | bytearray) -> bytes:
    """A batch with the checksum that its bytes have."""
    return bytes(raw[:_CRC_AT]) + struct.pack(">I", calc_crc32c(memoryview(raw)[_CRC_FROM:])) + bytes(raw[_CRC_FROM:])


def batches(folder: Path) -> Iterator[Batch]:
    """Every batch of a partition, in the order of the log. Checksums are not looked at."""
    for file in _segments(folder):
        raw = file.read_bytes()
        at = 0
        while at + _HEADER.size <= len(raw):
            end = at + _AFTER_LENGTH + struct.unpack_from(">i", raw, at + _LENGTH_AT)[0]
            yield _batch(file, at, raw[at:end])
            at = end


def values(folder: Path) -> dict[int, bytes]:
    """The value of each record, by offset."""
    return {b.offset(r): r.value for b in batches(folder) for r in b.records if r.value is not None}


def alter(folder: Path, offset: int, change: Callable[[bytes], bytes], *, fix_crc: bool = True) -> None:
    """Changes a record's value in place, to one of the same length; the broker may be running.

    Raises `NotFound` when there is no such record.
    """
    batch, index = _find(folder, offset)
    record = batch.records[index]
    assert record.value is not None, "a ledger's record has a value"
    changed = change(record.value)
    assert len(changed) == len(record.value) and changed != record.value
    raw = bytearray(batch.raw)
    raw[record.value_at : record.value_at + len(changed)] = changed
    descriptor = os.open(batch.file, os.O_WRONLY)
    try:
        os.pwrite(descriptor, changed, batch.at + record.value_at)
        if fix_crc:
            os.pwrite(descriptor, with_checksum(raw)[_CRC_AT:_CRC_FROM], batch.at + _CRC_AT)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def swap(folder: Path, offset: int) -> int:
    """A record and the one after it change places; returns the other's offset. The broker must be stopped."""
    one, i = _find(folder, offset)
    following = sorted(found for found in values(folder) if found > offset)
    if not following:
        raise NotFound(f"no record comes after {_name(folder, offset)}: swap another")
    two, j = _find(folder, following[0])
    first, second = one.records[i], two.records[j]
    with_second = _replaced(one.records, i, first._replace(rest=second.rest))
    if one.at == two.at and one.file == two.file:
        _rewrite(folder, {_place(one): one.with_records(_replaced(with_second, j, second._replace(rest=first.rest)))})
    else:
        with_first = _replaced(two.records, j, second._replace(rest=first.rest))
        _rewrite(folder, {_place(one): one.with_records(with_second), _place(two): two.with_records(with_first)})
    return following[0]


def drop(folder: Path, offset: int) -> None:
    """Takes a record away and leaves a gap in the offsets, as compaction would. The broker must be stopped."""
    batch, index = _find(folder, offset)
    left = batch.records[:index] + batch.records[index + 1 :]
    _rewrite(folder, {_place(batch): batch.with_records(left)})


def cut(folder: Path, offset: int) -> int:
    """Takes a record and all that comes after it away; returns how many records. The broker must be stopped."""
    found, index = _find(folder, offset)
    after = [batch for batch in batches(folder) if batch.base_offset > found.base_offset]
    changes = {_place(batch): b"" for batch in after}
    left = found.records[:index]
    changes[_place(found)] = found.with_records(left, left[-1].offset_delta) if left else b""
    _rewrite(folder, changes)
    return len(found.records) - index + sum(len(batch.records) for batch in after)


def _segments(folder: Path) -> list[Path]:
    found = sorted(folder.glob("*.log"))
    if not found:
        raise NotFound(f"{folder} holds no segments of a broker")
    return found


def _batch(file: Path, at: int, raw: bytes) -> Batch:
    header = _HEADER.unpack_from(raw)
    base_offset, magic, attributes, count = header[0], header[3], header[5], header[12]
    if magic != 2 or attributes & (_CODEC_MASK | _CONTROL_MASK):
        raise ConfigurationError(f"{file} holds batches that the ledger's own producer does not make: left alone")
    records, place = [], _HEADER.size
    for _ in range(count):
        record, place = _record(raw, place)
        records.append(record)
    return Batch(file, at, raw, base_offset, tuple(records))


def _record(raw: bytes, at: int) -> tuple[Record, int]:
    length, start = decode_varint(raw, at)
    end = start + length
    _, delta_at = decode_varint(raw, start + 1)  # behind the attributes comes the time
    offset_delta, rest_at = decode_varint(raw, delta_at)
    key_bytes, place = decode_varint(raw, rest_at)
    value_bytes, value_at = decode_varint(raw, place + max(0, key_bytes))
    value = None if value_bytes < 0 else raw[value_at : value_at + value_bytes]
    return Record(offset_delta, raw[start:delta_at], raw[rest_at:end], value, value_at), end


def _written(record: Record) -> bytes:
    body = bytearray(record.head)
    encode_varint(record.offset_delta, body.append)
    body += record.rest
    length = bytearray()
    encode_varint(len(body), length.append)
    return bytes(length + body)


def _find(folder: Path, offset: int) -> tuple[Batch, int]:
    for batch in batches(folder):
        index = batch.index(offset)
        if index is not None:
            return batch, index
    raise NotFound(f"the log has no record {_name(folder, offset)}")


def _name(folder: Path, offset: int) -> Position:
    return Position(int(folder.name.rpartition("-")[2]), offset)


def _place(batch: Batch) -> tuple[Path, int]:
    return batch.file, batch.at


def _replaced(records: tuple[Record, ...], index: int, record: Record) -> tuple[Record, ...]:
    return (*records[:index], record, *records[index + 1 :])


def _rewrite(folder: Path, changes: dict[tuple[Path, int], bytes]) -> None:
    """Writes the segments anew with these batches in the place of those that are there (empty: with none)."""
    segments: dict[Path, list[bytes]] = {file: [] for file in _segments(folder)}
    for batch in batches(folder):
        segments[batch.file].append(changes.get(_place(batch), batch.raw))
    for number, (file, parts) in enumerate(segments.items()):
        fresh = file.with_suffix(".part")
        fresh.write_bytes(b"".join(parts))
        fresh.replace(file)
        if number and not any(parts):
            file.unlink()
    for pattern in _MADE_ANEW:
        for file in folder.glob(pattern):
            file.unlink()

"""The columns of an export and the two kinds of file: Parquet (the extra `parquet`), and NDJSON.

    make = writer("ndjson")
    with make(Path("timeline/partition-00000.ndjson"), COLUMNS["timeline"]) as write:
        write([partitions, offsets, …])               # a sequence of values for each column, of equal length

>>> [column.name for column in COLUMNS["timeline"] if column.whole]
['id', 'demand_id', 'record']
"""

import datetime
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from ledger.errors import ConfigurationError

if TYPE_CHECKING:
    import pyarrow

PARQUET, NDJSON = "parquet", "ndjson"
SUFFIXES = {PARQUET: ".parquet", NDJSON: ".ndjson"}

INT32, INT64, TEXT, TIME, TEXTS, FINDINGS = "int32", "int64", "string", "timestamp[us, UTC]", "list<string>", "findings"

_GROUP_ROWS, _GROUP_BYTES = 100_000, 32 * 1024 * 1024
"""A row group of Parquet: what a reader takes at once, and what is held here until it is written."""

Write = Callable[[Sequence[Sequence[Any]]], None]
Make = Callable[[Path, "Sequence[Column]"], AbstractContextManager[Write]]


class Column(NamedTuple):
    """A column: `whole` ones are exported only with the residents' pseudonyms."""

    name: str
    type: str
    whole: bool = False


COLUMNS: dict[str, tuple[Column, ...]] = {
    "timeline": (
        Column("partition", INT32),
        Column("offset", INT64),
        Column("resident", TEXT),
        Column("kind", TEXT),
        Column("source", TEXT),
        Column("occurred", TIME),
        Column("recorded", TIME),
        Column("purposes", TEXTS),
        Column("recipient", TEXT),
        Column("id", TEXT, whole=True),
        Column("demand_id", TEXT, whole=True),
        Column("record", TEXT, whole=True),
    ),
    "verdicts": (
        Column("partition", INT32),
        Column("offset", INT64),
        Column("known_from", INT64),
        Column("known_until", INT64),
        Column("resident", TEXT),
        Column("kind", TEXT),
        Column("source", TEXT),
        Column("occurred", TIME),
        Column("purposes", TEXTS),
        Column("recipient", TEXT),
        Column("outcome", TEXT),
        Column("first_outcome", TEXT),
        Column("policy_id", TEXT),
        Column("policy_version", TEXT),
        Column("basis", TEXTS),
        Column("findings", FINDINGS),
        Column("id", TEXT, whole=True),
        Column("demand_id", TEXT, whole=True),
    ),
}
"""In the order of the statements of projections/sql/export.sql."""


def writer(kind: str) -> Make:
    """What makes files of this kind; raises `ConfigurationError` when there is none, or its library is not there."""
    if kind == NDJSON:
        return _ndjson
    if kind != PARQUET:
        raise ConfigurationError("an export is parquet or ndjson")
    try:
        import pyarrow.parquet  # noqa: F401 (is it there?)
    except ImportError:
        raise ConfigurationError(
            "Parquet needs the library pyarrow: install the extra `parquet`, or export as ndjson"
        ) from None
    return _parquet


@contextmanager
def _ndjson(path: Path, columns: Sequence[Column]) -> Iterator[Write]:
    names = [column.name for column in columns]
    with path.open("xb") as stream:

        def write(values: Sequence[Sequence[Any]]) -> None:
            rows = zip(*values, strict=True)
            stream.writelines(
                orjson.dumps(dict(zip(names, map(_json, row), strict=True)), option=orjson.OPT_APPEND_NEWLINE)
                for row in rows
            )

        yield write


def _json(value: Any) -> Any:
    return _written(value) if isinstance(value, datetime.datetime) else value


def _written(moment: datetime.datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%S.%f}Z"


@contextmanager
def _parquet(path: Path, columns: Sequence[Column]) -> Iterator[Write]:
    import pyarrow
    from pyarrow.parquet import ParquetWriter

    schema = pyarrow.schema([(column.name, _arrow(column.type)) for column in columns])
    waiting: list[Any] = []
    with path.open("xb") as stream, ParquetWriter(stream, schema, compression="zstd") as file:

        def flush() -> None:
            if waiting:
                file.write_table(pyarrow.concat_tables(waiting))
                waiting.clear()

        def write(values: Sequence[Sequence[Any]]) -> None:
            arrays = [pyarrow.array(v, field.type) for v, field in zip(values, schema, strict=True)]
            waiting.append(pyarrow.Table.from_arrays(arrays, schema=schema))
            rows, size = sum(table.num_rows for table in waiting), sum(table.nbytes for table in waiting)
            if rows >= _GROUP_ROWS or size >= _GROUP_BYTES:
                flush()

        yield write
        flush()


def _arrow(name: str) -> "pyarrow.DataType":
    import pyarrow

    text, texts = pyarrow.string(), pyarrow.list_(pyarrow.string())
    if name == FINDINGS:
        members = [("rule", text), ("result", text), ("code", text), ("categories", texts), ("statement", text)]
        members += [("evidence", texts), ("evidence_total", pyarrow.int32())]
        return pyarrow.list_(pyarrow.struct(members))
    return {
        INT32: pyarrow.int32(),
        INT64: pyarrow.int64(),
        TEXT: text,
        TIME: pyarrow.timestamp("us", tz="UTC"),
        TEXTS: texts,
    }[name]

"""Timeline and verdicts as files for DuckDB, Polars or Spark: docs/spec/export.md is the format.

    export(dsns.reader, Path("out"), "parquet", Period())        # out/manifest.json, out/timeline/…, out/verdicts/…

One snapshot, a file for each view and partition. All is written beside `out` under another name and renamed when it is
whole, so what has the name is finished. By default no resident is in it: residents are numbered with a key that is
thrown away, and neither ids nor bytes of records leave. `announce` is given everyone who is in it by name, before a
row is written; when it raises, nothing is exported.

>>> number = numbering(b"0" * 32)
>>> number("res_7f2c") == number("res_7f2c"), number("res_7f2c") == number("res_91aa"), number(None)
(True, False, None)
"""

import hmac
import os
import secrets
import shutil
from base64 import b32encode
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from ledger.codec import rfc3339
from ledger.errors import ConfigurationError, NotFound, Unwritable
from ledger.log import Position
from projections.dump import VIEWS, Dump, Period
from replay.export_files import COLUMNS, SUFFIXES, Column, writer

FORMAT_VERSION = 1
SUBJECTS_AT_ONCE = 1_000
MANIFEST = "manifest.json"

Announce = Callable[[Sequence[str]], None]
"""Records that these residents, up to 1,000, are about to be exported; raises when it cannot."""
Progress = Callable[[int, int], None]
"""Told how many rows of how many are written."""


class Exported(NamedTuple):
    """What was exported: the manifest as it is written."""

    manifest: dict[str, Any]

    @property
    def rows(self) -> dict[str, int]:
        """Rows by view."""
        return {name: view["rows"] for name, view in self.manifest["views"].items()}


def export(
    reader_dsn: str,
    folder: Path,
    kind: str,
    period: Period,
    *,
    announce: Announce | None = None,
    progress: Progress = lambda done, total: None,
) -> Exported:
    """Writes the export into `folder`, which is not there yet or empty; `announce`: with the residents' pseudonyms.

    Raises `ConfigurationError` for a folder or format that cannot be used, `NotFound` when there is no row,
    `Unwritable`, `Unavailable`, and whatever `announce` raises: then `folder` is as it was.
    """
    make_writer = writer(kind)  # first of all: is the library there?
    with _whole_or_nothing(folder) as working, Dump(reader_dsn, period, whole=announce is not None) as dump:
        total = sum(sum(counts.values()) for counts in dump.counts.values())
        if not total:
            raise NotFound("there is nothing to export: the views hold no event of this period")
        if announce is not None:
            for subjects in dump.subjects(SUBJECTS_AT_ONCE):
                announce(subjects)
        name_of: Callable[[str | None], str | None] = _as_it_is if announce else numbering(secrets.token_bytes(32))
        done = 0
        views: dict[str, Any] = {}
        for view in VIEWS:
            columns = [column for column in COLUMNS[view] if announce or not column.whole]
            files = []
            for partition in sorted(dump.counts[view]):
                path = working / view / f"partition-{partition:05}{SUFFIXES[kind]}"
                path.parent.mkdir(exist_ok=True)
                count = 0
                with make_writer(path, columns) as write:
                    for rows in dump.rows(view, partition):
                        write(_columns(rows, view, columns, name_of))
                        count += len(rows)
                        progress(done + count, total)
                done += count
                assert count == dump.counts[view][partition], "one snapshot has one count"
                files.append(_file(path, working, partition, count))
            described = [{"name": column.name, "type": column.type} for column in columns]
            views[view] = {"rows": sum(file["rows"] for file in files), "columns": described, "files": files}
        manifest = _manifest(kind, dump, period, views, named=announce is not None)
        (working / MANIFEST).write_bytes(orjson.dumps(manifest, option=orjson.OPT_INDENT_2) + b"\n")
    return Exported(manifest)


def _as_it_is(subject: str | None) -> str | None:
    """A resident's name as it is."""
    return subject


def numbering(key: bytes) -> Callable[[str | None], str | None]:
    """Names for residents that mean nothing to anyone without the key: the same resident, the same name."""

    def number(subject: str | None) -> str | None:
        if subject is None:
            return None
        digest = hmac.digest(key, subject.encode(), sha256)[:15]
        return f"r-{b32encode(digest).decode().lower()}"

    return number


def _columns(
    rows: Sequence[tuple[Any, ...]], view: str, columns: Sequence[Column], name_of: Callable[[str | None], str | None]
) -> list[Sequence[Any]]:
    """The rows by column, as they are written."""
    by_name = dict(zip((column.name for column in COLUMNS[view]), zip(*rows, strict=True), strict=True))
    by_name["resident"] = tuple(map(name_of, by_name["resident"]))
    if "findings" in by_name:
        by_name["findings"] = tuple(map(_findings, by_name["findings"]))
    return [by_name[column.name] for column in columns]


def _findings(text: str) -> list[dict[str, Any]]:
    """A verdict's findings without their words, which follow from rule, result and code."""
    return [
        {
            "rule": finding["rule"],
            "result": finding["result"],
            "code": finding["code"],
            "categories": finding["categories"],
            "statement": finding["statement"],
            "evidence": finding["evidence"],
            "evidence_total": finding.get("evidence_total", len(finding["evidence"])),
        }
        for finding in orjson.loads(text)
    ]


def _file(path: Path, working: Path, partition: int, rows: int) -> dict[str, Any]:
    with path.open("rb") as stream:
        digest = file_digest(stream, "sha256").hexdigest()
        os.fsync(stream.fileno())
    name = path.relative_to(working).as_posix()
    return {"path": name, "partition": partition, "rows": rows, "bytes": path.stat().st_size, "sha256": digest}


def _manifest(kind: str, dump: Dump, period: Period, views: dict[str, Any], *, named: bool) -> dict[str, Any]:
    reached = {str(p): str(Position(p, offset - 1)) for p, offset in sorted(dump.positions.items()) if offset}
    return {
        "export": "consent-ledger",
        "format_version": FORMAT_VERSION,
        "format": kind,
        "schema_version": dump.schema_version,
        "residents": "pseudonyms" if named else "numbered",
        "complete_through": reached,
        "from": None if period.since is None else rfc3339(period.since),
        "to": None if period.until is None else rfc3339(period.until),
        "views": views,
    }


@contextmanager
def _whole_or_nothing(folder: Path) -> Iterator[Path]:
    """A folder to work in, beside the one that is wanted; it takes that one's name at the end, or goes away."""
    wanted = folder.absolute()
    try:
        if wanted.exists() and (not wanted.is_dir() or any(wanted.iterdir())):
            raise ConfigurationError("the folder to export into is there and not empty: name another, or empty it")
        wanted.parent.mkdir(parents=True, exist_ok=True)
        working = wanted.with_name(f".{wanted.name}.unfinished-{secrets.token_hex(6)}")
        working.mkdir(mode=0o700)
    except OSError as error:
        raise Unwritable(f"the folder to export into cannot be made: {error.strerror}") from None
    try:
        yield working
        for made in (working, *(working / view for view in VIEWS if (working / view).is_dir())):
            _sync(made)
        working.rename(wanted)
        _sync(wanted.parent)
    except OSError as error:
        raise Unwritable(f"the export cannot be written: {error.strerror}") from None
    finally:
        shutil.rmtree(working, ignore_errors=True)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

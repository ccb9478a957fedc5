"""Exports hold what the views hold at one moment, in files that DuckDB and pyarrow read, and are whole or not there."""

import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import duckdb
import orjson
import psycopg
import pytest
from pyarrow import parquet

from ledger.codec import instant
from ledger.errors import ConfigurationError, NotFound, Unavailable
from ledger.kafka.log import KafkaLog
from projections.dump import Period
from projections.schema import Dsns
from replay.export import export
from tests.projected import append, following, many, new_schema, project

KINDS = ("parquet", "ndjson")


@pytest.fixture
def projected(
    kafka_address: str, fresh_database: str, make_topic: Callable[..., str], make_log: Callable[..., KafkaLog]
) -> Iterator[tuple[str, KafkaLog, Dsns]]:
    """Two partitions with some random histories, projected."""
    topic = make_topic(2)
    log = make_log(topic=topic)
    dsns = new_schema(fresh_database)
    for partition in (0, 1):
        append(log, partition, many(partition, 0, 12))
    project(kafka_address, topic, dsns, log)
    yield kafka_address, log, dsns


def files(folder: Path, view: str, kind: str) -> str:
    return str(folder / view / f"*.{kind}")


def read(folder: Path, view: str, kind: str, select: str, rest: str = "") -> list[tuple[Any, ...]]:
    """What DuckDB finds in a view's files, times in UTC."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        source = "read_parquet" if kind == "parquet" else "read_json"
        return connection.execute(f"SELECT {select} FROM {source}(?) {rest}", [files(folder, view, kind)]).fetchall()


def asked(dsns: Dsns, query: str, *parameters: object) -> list[tuple[Any, ...]]:
    with psycopg.connect(dsns.projector) as connection:
        return connection.execute(query.encode(), parameters or None).fetchall()


@pytest.mark.parametrize("kind", KINDS)
def test_files_hold_what_the_views_hold_and_the_manifest_says_so(
    projected: tuple[str, KafkaLog, Dsns], tmp_path: Path, kind: str
) -> None:
    dsns, folder = projected[2], tmp_path / "out"
    manifest = export(dsns.reader, folder, kind, Period()).manifest
    assert orjson.loads((folder / "manifest.json").read_bytes()) == manifest
    for view in ("timeline", "verdicts"):
        [(rows,)] = asked(dsns, f"SELECT count(*) FROM {view}")
        assert rows > 50
        assert manifest["views"][view]["rows"] == rows
        assert read(folder, view, kind, "count(*)") == [(rows,)]
        for file in manifest["views"][view]["files"]:
            raw = (folder / file["path"]).read_bytes()
            assert (file["bytes"], file["sha256"]) == (len(raw), sha256(raw).hexdigest())
    assert manifest["complete_through"] == {
        str(p): f"{p}-{offset - 1}" for p, offset in ((p, projected[1].head(p)) for p in (0, 1))
    }
    columns = '"partition", "offset", kind, source, CAST(occurred AS timestamptz), purposes, recipient'
    order = 'ORDER BY "partition", "offset"'
    ours = columns.replace("CAST(occurred AS timestamptz)", "occurred")
    assert read(folder, "timeline", kind, columns, order) == asked(dsns, f"SELECT {ours} FROM timeline {order}")
    columns = '"partition", "offset", known_from, known_until, outcome, first_outcome, policy_version, basis'
    order = 'ORDER BY "partition", "offset", known_from'
    assert read(folder, "verdicts", kind, columns, order) == asked(dsns, f"SELECT {columns} FROM verdicts {order}")
    found = read(folder, "verdicts", kind, "findings", order)
    stated = [orjson.loads(row[0]) for row in asked(dsns, f"SELECT findings FROM verdicts {order}")]
    names = ("rule", "result", "code", "categories", "statement", "evidence")
    assert [[tuple(f[name] for name in names) for f in row[0]] for row in found] == [
        [tuple(f[name] for name in names) for f in row] for row in stated
    ]


def test_parquet_has_typed_columns(projected: tuple[str, KafkaLog, Dsns], tmp_path: Path) -> None:
    export(projected[2].reader, tmp_path / "out", "parquet", Period())
    schema = parquet.read_schema(tmp_path / "out" / "verdicts" / "partition-00001.parquet")
    assert str(schema.field("occurred").type) == "timestamp[us, tz=UTC]"
    assert str(schema.field("known_until").type) == "int64"
    assert str(schema.field("basis").type).startswith("list<")
    table = parquet.read_table(tmp_path / "out" / "timeline")
    assert table.num_rows == asked(projected[2], "SELECT count(*) FROM timeline")[0][0]


@pytest.mark.parametrize("kind", KINDS)
def test_residents_are_numbered_alike_within_an_export_and_otherwise_in_the_next(
    projected: tuple[str, KafkaLog, Dsns], tmp_path: Path, kind: str
) -> None:
    dsns = projected[2]
    named = {}
    for name in ("one", "other"):
        export(dsns.reader, tmp_path / name, kind, Period())
        named[name] = read(
            tmp_path / name, "timeline", kind, 'resident, list("partition" || \'-\' || "offset" ORDER BY ALL)',
            "WHERE resident IS NOT NULL GROUP BY resident",
        )  # fmt: skip
    truth = asked(dsns, "SELECT subject FROM timeline WHERE subject IS NOT NULL GROUP BY subject")
    subjects = {subject for (subject,) in truth}
    assert len(named["one"]) == len(named["other"]) == len(subjects)
    assert not {row[0] for row in named["one"]} & ({row[0] for row in named["other"]} | subjects)
    groups = asked(
        dsns,
        'SELECT array_agg("partition" || \'-\' || "offset") FROM timeline WHERE subject IS NOT NULL GROUP BY subject',
    )
    assert sorted(sorted(row[1]) for row in named["one"]) == sorted(sorted(row[0]) for row in groups)
    judged = read(tmp_path / "one", "verdicts", kind, "DISTINCT resident")
    assert {row[0] for row in judged} <= {row[0] for row in named["one"]}
    assert '"record"' not in (tmp_path / "one" / "manifest.json").read_text()
    ids = [row[0].encode() for row in asked(dsns, "SELECT DISTINCT id FROM timeline WHERE length(id) > 6")]
    for file in (tmp_path / "one").rglob("*.*"):
        raw = file.read_bytes()
        assert not any(subject.encode() in raw for subject in subjects), "no pseudonym"
        assert not any(one in raw for one in ids), "and no id"


def test_with_subjects_everyone_is_announced_before_a_row_is_written(
    projected: tuple[str, KafkaLog, Dsns], tmp_path: Path
) -> None:
    dsns, told, folder = projected[2], [], tmp_path / "out"

    def announce(subjects: Any) -> None:
        assert not list(tmp_path.rglob("*.ndjson"))
        told.extend(subjects)

    export(dsns.reader, folder, "ndjson", Period(), announce=announce)
    truth = [s for (s,) in asked(dsns, "SELECT DISTINCT subject FROM timeline WHERE subject IS NOT NULL")]
    assert sorted(told) == sorted(truth)
    exported = [
        orjson.loads(line) for file in sorted(folder.glob("timeline/*")) for line in file.read_bytes().splitlines()
    ]
    rows = asked(dsns, 'SELECT subject, id, demand_id, body FROM timeline ORDER BY "partition", "offset"')
    assert [(r["resident"], r["id"], r["demand_id"], r["record"]) for r in exported] == rows


def test_when_not_everyone_can_be_told_nothing_is_exported(
    projected: tuple[str, KafkaLog, Dsns], tmp_path: Path
) -> None:
    def announce(_: Any) -> None:
        raise Unavailable("the ledger does not record it")

    with pytest.raises(Unavailable):
        export(projected[2].reader, tmp_path / "out", "ndjson", Period(), announce=announce)
    assert list(tmp_path.iterdir()) == []


def test_a_period_is_from_its_beginning_and_before_its_end(
    projected: tuple[str, KafkaLog, Dsns], tmp_path: Path
) -> None:
    dsns = projected[2]
    [(middle,)] = asked(
        dsns, "SELECT to_char(percentile_disc(0.5) WITHIN GROUP (ORDER BY occurred), %s) FROM timeline",
        'YYYY-MM-DD"T"HH24:MI:SS.US"Z"',
    )  # fmt: skip
    at = instant(middle)
    counts = []
    for name, period in (("before", Period(None, at)), ("after", Period(at, None))):
        counts.append(export(dsns.reader, tmp_path / name, "ndjson", period).rows["timeline"])
    assert counts == [
        asked(dsns, f"SELECT count(*) FROM timeline WHERE occurred {sign} %s::timestamptz", middle)[0][0]
        for sign in ("<", ">=")
    ]
    assert all(counts)


def test_an_export_under_live_writes_is_one_moment_without_a_row_twice_or_lost(
    kafka_address: str,
    fresh_database: str,
    make_topic: Callable[..., str],
    make_log: Callable[..., KafkaLog],
    tmp_path: Path,
) -> None:
    topic = make_topic(2)
    log = make_log(topic=topic)
    dsns = new_schema(fresh_database)
    for partition in (0, 1):
        append(log, partition, many(partition, 0, 4))
    project(kafka_address, topic, dsns, log)
    stop = threading.Event()

    def write() -> None:
        for start in range(4, 400, 4):
            if stop.is_set():
                return
            for partition in (0, 1):
                append(log, partition, many(partition, start, 4))

    manifests = []
    with following(kafka_address, topic, dsns, batch_events=50):
        writer = threading.Thread(target=write)
        writer.start()
        try:
            for number in range(4):
                found = export(dsns.reader, tmp_path / str(number), "ndjson", Period())
                manifests.append(found.manifest)
        finally:
            stop.set()
            writer.join()
    project(kafka_address, topic, dsns, log)
    assert len({str(m["complete_through"]) for m in manifests}) > 1, "something was written meanwhile"
    for number, manifest in enumerate(manifests):
        for partition in (0, 1):
            reached = int(manifest["complete_through"][str(partition)].partition("-")[2])
            rest = f'WHERE "partition" = {partition} ORDER BY ALL'
            rows = read(tmp_path / str(number), "timeline", "ndjson", '"offset"', rest)
            assert rows == asked(
                dsns, 'SELECT "offset" FROM timeline WHERE "partition" = %s AND "offset" <= %s ORDER BY 1',
                partition, reached,
            )  # fmt: skip
            columns = '"offset", known_from, known_until, outcome'
            rows = read(tmp_path / str(number), "verdicts", "ndjson", columns, rest)
            assert rows == asked(
                dsns,
                'SELECT "offset", known_from, CASE WHEN known_until <= %s THEN known_until END, outcome FROM verdicts'
                ' WHERE "partition" = %s AND known_from <= %s ORDER BY 1, 2',
                reached, partition, reached,
            )  # fmt: skip


def test_a_killed_export_leaves_nothing_that_looks_finished(
    projected: tuple[str, KafkaLog, Dsns], tmp_path: Path
) -> None:
    program = f"""
        import os, signal
        from pathlib import Path
        from projections.dump import Period
        from replay.export import export
        def die(done, total):
            os.kill(os.getpid(), signal.SIGKILL)
        export({projected[2].reader!r}, Path({str(tmp_path / "out")!r}), "ndjson", Period(), progress=die)
    """
    died = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], timeout=60, check=False)
    assert died.returncode == -signal.SIGKILL
    assert not (tmp_path / "out").exists()
    [left] = tmp_path.iterdir()
    assert left.name.startswith(".out.unfinished-")
    assert not (left / "manifest.json").exists()
    assert export(projected[2].reader, tmp_path / "out", "ndjson", Period()).rows["timeline"]


def test_an_export_that_fails_leaves_nothing_at_all(projected: tuple[str, KafkaLog, Dsns], tmp_path: Path) -> None:
    def fail(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(projected[2].reader, tmp_path / "out", "parquet", Period(), progress=fail)
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_exported_is_refused_and_touches_nothing(
    fresh_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dsns = new_schema(fresh_database)
    full = tmp_path / "full"
    full.mkdir()
    (full / "mine").write_text("mine")
    for folder in (full, full / "mine"):
        with pytest.raises(ConfigurationError):
            export(dsns.reader, folder, "ndjson", Period())
    with pytest.raises(ConfigurationError):
        export(dsns.reader, tmp_path / "out", "csv", Period())
    with pytest.raises(NotFound):
        export(dsns.reader, tmp_path / "out", "ndjson", Period())
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.delitem(sys.modules, "pyarrow.parquet", raising=False)
    with pytest.raises(ConfigurationError, match="extra `parquet`"):
        export(dsns.reader, tmp_path / "out", "parquet", Period())
    assert [path.name for path in tmp_path.iterdir()] == ["full"]
    assert (full / "mine").read_text() == "mine"

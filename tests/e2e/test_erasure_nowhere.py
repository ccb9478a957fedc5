"""A resident's words are nowhere in the clear, before their erasure as after it: topics, tables, files, logs."""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import psycopg
import pytest
from psycopg import sql

from tests.door import complaint
from tests.e2e.city import Dev, dev, wait_for

WORDS = "zebra-lantern-quartz-umbrella"
MARKER = "marker-walrus-gable-nine"
"""Stands beside the words, in the clear: whoever looks and does not find it has not looked."""
BLOCK_BYTES = 4 * 1024 * 1024


def spellings(text: str) -> list[bytes]:
    """The text as it is, in hex, and in base64 wherever it begins."""
    raw = text.encode()
    shifted = [base64.b64encode(b"\0" * shift + raw)[(shift * 8 + 5) // 6 : -4] for shift in range(3)]
    return [raw, raw.hex().encode(), *shifted]


def files_with(folder: Path, text: str) -> list[Path]:
    """The files below the folder in which the text stands, however spelled."""
    wanted = spellings(text)
    return [path for path in sorted(folder.rglob("*")) if path.is_file() and _has(path, wanted)]


def _has(path: Path, wanted: list[bytes]) -> bool:
    longest, kept = max(map(len, wanted)), b""
    try:
        with path.open("rb") as file:
            while block := file.read(BLOCK_BYTES):
                window = kept + block
                if any(one in window for one in wanted):
                    return True
                kept = window[-longest:]
    except FileNotFoundError:  # a server's temporary file
        return False
    return False


def tables_with(dsn: str, text: str) -> list[str]:
    """The tables, of any schema, in a row of which the text stands."""
    patterns = [f"%{one.decode()}%" for one in spellings(text)]
    found = []
    with psycopg.connect(dsn) as connection:
        tables = connection.execute(
            "SELECT schemaname, tablename FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
        ).fetchall()
        assert len(tables) > 15
        for schema, table in tables:
            count = sql.SQL("SELECT count(*) FROM {} t WHERE t::text LIKE ANY(%s)").format(
                sql.Identifier(schema, table)
            )
            [(rows,)] = connection.execute(count, (patterns,)).fetchall()
            found += [f"{schema}.{table}"] * bool(rows)
    return found


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    folder = tmp_path_factory.mktemp("nowhere")
    with dev(folder / "data", folder / "dev.log", "--empty") as started:
        yield started


def get(running: Dev, path: str, token: str) -> httpx.Response:
    return httpx.get(running.ready["api"] + path, headers={"authorization": f"Bearer {token}"}, timeout=60)


def unsealed(running: Dev, subject: str) -> list[Any]:
    entries = get(running, "/v1/me/log", running.ready["tokens"]["residents"][subject]).json()["entries"]
    return [entry["unsealed"] for entry in entries if "unsealed" in entry]


def look_everywhere(running: Dev) -> None:
    """Fails where the words are; and where the marker is not, so that the looking itself is known to work."""
    database = running.ready["database"]
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("VACUUM FULL")
        connection.execute("CHECKPOINT")
        [(data,)] = connection.execute("SHOW data_directory").fetchall()
    assert not tables_with(database, WORDS)
    assert "live.timeline" in tables_with(database, MARKER)
    for folder in (running.folder, Path(data), running.log.parent):
        assert not files_with(folder, WORDS)
    assert files_with(Path(data), MARKER)
    assert files_with(running.folder / "kafka", MARKER)
    assert (running.folder / "logs" / "api.log").stat().st_size > 0


@pytest.mark.timeout(300)
def test_erased_words_are_nowhere_and_never_were_in_the_clear(running: Dev) -> None:
    tokens = running.ready["tokens"]
    subject = next(iter(tokens["residents"]))
    sent = complaint(WORDS, subject=subject, id=MARKER)
    headers = {"content-type": "application/cloudevents+json", "authorization": f"Bearer {tokens['service']}"}
    answer = httpx.post(f"{running.ready['api']}/v1/events", content=orjson.dumps(sent), headers=headers, timeout=60)
    assert answer.status_code == 201, answer.text
    wait_for(lambda: unsealed(running, subject) == [{"text": WORDS}], "the resident does not read their own words")
    look_everywhere(running)

    asked = running.run("erase", subject, "--json", role="operator")
    assert asked.returncode == 0, asked.stderr
    erasure = orjson.loads(asked.stdout)
    own = running.run("erase", "--approve", erasure["erasure_id"], role="operator")
    assert (own.returncode, b"same-client" in own.stderr) == (2, True)
    assert unsealed(running, subject) == [{"text": WORDS}]
    approved = running.run("erase", "--approve", erasure["erasure_id"], "--json", role="second_operator")
    assert approved.returncode in (0, 3), approved.stderr

    def states() -> list[str]:
        listed = running.run("erase", "--list", "--json", role="operator")
        assert listed.returncode == 0, listed.stderr
        return [one["state"] for one in orjson.loads(listed.stdout)["erasures"]]

    wait_for(lambda: states() == ["done"], "the erasure is not carried out")
    late = running.run("erase", "--withdraw", erasure["erasure_id"], role="operator")
    assert (late.returncode, b"this erasure is done" in late.stderr) == (2, True)
    assert unsealed(running, subject) == [{"text": None}]
    again = httpx.post(
        f"{running.ready['api']}/v1/events",
        content=orjson.dumps(complaint(WORDS, subject=subject)),
        headers=headers,
        timeout=60,
    )
    assert again.status_code == 410
    assert WORDS not in get(running, f"/v1/residents/{subject}/log", tokens["auditor"]).text
    look_everywhere(running)
    assert running.stop() in (0, 3)
    assert not files_with(running.folder, WORDS)

"""Whatever is changed in a ledger's files or tables is found, and named by its position: one city, changed all over."""

import json
from pathlib import Path
from typing import Any

import psycopg
import pytest
from dotenv import dotenv_values

from api import cli
from ledger.kafka.log import KafkaLog
from ledger.log import Entry, Position
from projections.signer_store import coverage
from tests.e2e.city import Dev, dev, run, wait_for
from tests.projected import VIEWS

pytestmark = [pytest.mark.timeout(400), pytest.mark.long]

# One row of each view, by the record that it comes from. Those of the tree are in partitions of their own.
ROWS = {
    "timeline": 'SELECT "partition", "offset" FROM timeline WHERE subject IS NOT NULL',
    "repeats": 'SELECT "partition", "offset" FROM repeats',
    "verdicts": 'SELECT "partition", "offset" FROM verdicts WHERE known_until IS NULL',
    "consents": 'SELECT "partition", since_offset FROM consents',
    "preferences": 'SELECT "partition", since_offset FROM preferences',
    "anonymity": 'SELECT "partition", since_offset FROM anonymity',
    "holdings": 'SELECT "partition", "offset" FROM holdings',
    "cases": 'SELECT "partition", opened_offset FROM cases WHERE opened_offset IS NOT NULL',
    "reference_facts": 'SELECT "partition", "offset" FROM reference_facts WHERE "partition" = 4',
    "withheld": 'SELECT "partition", "offset" FROM withheld',
    "trees": 'SELECT "partition", next_offset - 1 FROM trees WHERE "partition" = 3',
    "leaf_runs": 'SELECT "partition", first_offset FROM leaf_runs WHERE "partition" = 4',
    "tiles": 'SELECT "partition", 7 FROM tiles WHERE "partition" = 5',
}


def record_something_twice(city: Dev) -> None:
    """A repeat, which the door would not let in; then waits until it is projected and signed."""
    with KafkaLog(city.ready["kafka"]) as log:
        [first] = log.read(0, 9, 10)
        log.append([Entry(0, None, first.value)])[0].result(30)
    reader = str(dotenv_values(city.folder / "consent-ledger.env")["CONSENT_LEDGER_DATABASE"])
    with psycopg.connect(city.ready["database"], autocommit=True) as connection:
        wait_for(lambda: connection.execute("SELECT FROM live.repeats").fetchone() is not None, "it is projected", 90)
    wait_for(lambda: all(found.covered for found in coverage(reader).values()), "it is signed", 90)


def rows(city: Dev) -> dict[str, Position]:
    with psycopg.connect(city.ready["database"], options="-c search_path=live") as connection:
        found = {view: connection.execute(f"{ROWS[view]} ORDER BY 1, 2 LIMIT 1".encode()).fetchone() for view in VIEWS}
    missing = [view for view, row in found.items() if row is None]
    assert missing == [], "the city has something in every view"
    return {view: Position(*row) for view, row in found.items() if row is not None}


def tamper(city: Dev, *arguments: str) -> int:
    """The command, in this process."""
    return cli.run(["dev", "tamper", *arguments, "--data-dir", str(city.folder), "--json"])


def verified(city: Dev, *arguments: str) -> tuple[int, list[tuple[str, str]]]:
    """What verify-log exits with, and the position and kind of each finding."""
    done = city.operate("verify-log", "--json", "--trusted-key", city.ready["vkeys"][0], *arguments)
    [report] = [json.loads(line) for line in done.stdout.splitlines()] or [{}]
    findings: list[dict[str, Any]] = [*report["findings"], *(f for p in report["partitions"] for f in p["findings"])]
    return done.returncode, [(finding["position"], finding["code"]) for finding in findings]


def test_every_change_is_found_with_its_position(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KAFKA", "DATABASE", "OWNER_DATABASE"):
        monkeypatch.delenv(f"CONSENT_LEDGER_{name}", raising=False)
    folder = tmp_path / "data"
    with dev(folder, tmp_path / "log", "--port", "0") as city:
        record_something_twice(city)
        assert verified(city) == (0, [])

        # A row of each view.
        changed = rows(city)
        for view, place in changed.items():
            assert tamper(city, "row", view, str(place)) == 0, view
        done = city.operate("replay", "--compare", "--json")
        [compared] = [json.loads(line) for line in done.stdout.splitlines()]
        named = {view["view"]: (view["first"] or {}).get("records") for view in compared["views"] if "first" in view}
        assert (done.returncode, named) == (1, {view: str(place) for view, place in changed.items()})
        trees = [(str(changed["trees"]), "tree"), (str(changed["leaf_runs"]), "leaf-run"), ("5-7", "tile")]
        assert verified(city) == (1, trees)

        # A byte of a record, in the files of the broker that runs.
        assert tamper(city, "record", "0-11") == 0
        assert tamper(city, "record", "1-12", "--break-crc") == 0
        found = [("0-11", "differs-from-checkpoint"), ("1-12", "checksum")]
        assert verified(city, "--partition", "0", "--partition", "1", "--partition", "2") == (1, found)
        assert tamper(city, "record", "2-3", "--how", "drop") == 2, "not while the broker runs"
    # Other places, a wrong address, what is no data directory: refused.
    assert tamper(city, "record", "2-999") == 3
    assert tamper(city, "row", "verdicts", "2-3") == 3, "PostgreSQL is not running"
    assert run("dev", "tamper", "record", "2-3", "--data-dir", tmp_path).returncode == 2
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("CONSENT_LEDGER_KAFKA", "127.0.0.1:1")
        assert tamper(city, "record", "2-3", "--how", "drop") == 2

    # The order of two records, one record, the tail.
    assert tamper(city, "record", "2-3", "--how", "swap") == 0
    assert tamper(city, "record", "3-4", "--how", "drop") == 0
    assert tamper(city, "record", "4-9", "--how", "cut") == 0
    again = run("dev", "--json", "--data-dir", folder, "--port", "0")
    assert (again.returncode, again.stdout) == (3, b"")
    [problem] = [json.loads(line) for line in again.stderr.splitlines() if line.startswith(b"{")]
    for said in (
        "record 0-11 is not the one that was signed;",
        "record 1-12 is damaged: checksum;",
        "record 2-3 is not the one that was signed: one from further on stands there;",
        "record 3-4 is missing, and a checkpoint covers it;",
        "the log ends before record 4-9, and a checkpoint covers ",
    ):
        assert said in problem["detail"]
    assert "5-" not in problem["detail"]
    log = (folder / "logs" / "project.log").read_text("utf-8")
    for partition in range(5):
        assert f"partition {partition} stands still: " in log

"""`demo`: the whole road once, from nothing, in less than a minute."""

import time
from pathlib import Path

import pytest

from tests.e2e.city import run

pytestmark = [pytest.mark.timeout(200), pytest.mark.long]


def test_the_demo_answers_as_seeded(tmp_path: Path) -> None:
    started = time.monotonic()
    done = run("demo", "--data-dir", tmp_path / "data", "--port", "0")
    took_s = time.monotonic() - started
    assert done.returncode == 0, done.stderr.decode()
    assert b"NOT FOR PRODUCTION" in done.stderr
    assert b"all as seeded" in done.stderr
    assert took_s < 150, "30 s on a machine that does nothing else"
    lines = done.stdout.decode().splitlines()
    assert max(map(len, lines)) <= 100
    table = "\n".join(lines)
    assert all(outcome in table for outcome in ("consistent", "inconsistent", "undetermined"))
    assert "The City only uses or discloses personal information for the specified purposes" in table
    assert not (tmp_path / "data" / "seeding").exists()

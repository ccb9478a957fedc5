"""Every chapter of `./dev bench` runs through at tiny sizes on real servers, so that the benchmarks do not rot.

What they measure here means nothing, and no target is asked of it.
"""

from pathlib import Path

import orjson
import pytest

from benchmarks.plan import TINY
from benchmarks.run import CHAPTERS, run
from benchmarks.servers import Servers
from tests.projected import PASSWORDS

LINES = {
    "judging": 5,
    "evidence": 6,
    "emitting": 8,
    "inserting": 2,
    "projecting": 8,
    "rebuilding": 5,
    "asking": 22,
    "gdpr": 8,
}
"""How many lines each chapter brings, or more."""
POINTS = {"rebuilding": 2, "asking": 8}
"""How many points it adds to the plot of growth: two sizes of each line."""


@pytest.mark.timeout(400)
@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_chapter_measures_what_it_promises(
    chapter: str, kafka_address: str, database_url: str, tmp_path: Path
) -> None:
    [password] = set(PASSWORDS.values())
    said: list[str] = []
    results = run([chapter], TINY, tmp_path, said.append, Servers(kafka_address, database_url, password))
    assert results.unfinished == [], "\n".join(said)
    names = [figure.name for figure in results.figures]
    assert len(set(names)) == len(names), "no two lines of the table have one name"
    assert len(names) >= LINES[chapter]
    assert all(figure.value > 0 for figure in results.figures if figure.rounds)
    assert len(results.points) == POINTS.get(chapter, 0)
    written = orjson.loads((tmp_path / "figures.json").read_bytes())
    assert [figure["name"] for figure in written["figures"]] == names
    assert all(name in (tmp_path / "table.md").read_text("utf-8") for name in names)
    assert (tmp_path / "growth.svg").exists() == bool(results.points)

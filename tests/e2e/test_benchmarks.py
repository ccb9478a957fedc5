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

ALL = 60
"""At least so many figures come of a run of all chapters."""


@pytest.mark.timeout(400)
def test_every_chapter_measures_what_it_promises(kafka_address: str, database_url: str, tmp_path: Path) -> None:
    [password] = set(PASSWORDS.values())
    said: list[str] = []
    here = Servers(kafka_address, database_url, password)
    results = run(list(CHAPTERS), TINY, tmp_path, said.append, here)
    assert results.unfinished == [], "\n".join(said)
    assert {figure.chapter for figure in results.figures} == set(CHAPTERS)
    assert len(results.figures) > ALL
    for figure in results.figures:
        assert figure.value > 0 or not figure.rounds, figure.name
    names = [figure.name for figure in results.figures]
    assert len(set(names)) == len(names), "no two lines of the table have one name"
    written = orjson.loads((tmp_path / "figures.json").read_bytes())
    assert len(written["figures"]) == len(names)
    assert {point["line"] for point in written["growth"]} >= {"rebuild", "ours: verdict by position"}
    assert (tmp_path / "growth.svg").read_bytes().startswith(b"<?xml")
    assert all(name in (tmp_path / "table.md").read_text("utf-8") for name in names)

"""The benchmarks' own arithmetic: targets, spreads, tables, mixes, rounds, and what is kept when a chapter fails.

How fast anything is, is measured by `./dev bench`, never by a test.
"""

import doctest
import importlib
import pkgutil
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httptools
import orjson
import pytest

import benchmarks
from benchmarks import __main__ as command
from benchmarks import machine, plot, report, stats, workload
from benchmarks.gdprbench import ROLES, operations
from benchmarks.load import request
from benchmarks.plan import FULL, QUICK, TINY
from benchmarks.report import Figure, Point, Target, alone, beside, missing
from benchmarks.run import CHAPTERS, Results, run
from benchmarks.stage import Stage
from ledger import codec
from ledger.history import PartitionHistory


def quiet(_: str) -> None:
    """Says nothing."""


@pytest.mark.parametrize("module", [found.name for found in pkgutil.iter_modules(benchmarks.__path__)])
def test_the_examples_in_the_benchmarks_hold(module: str) -> None:
    assert doctest.testmod(importlib.import_module(f"benchmarks.{module}")).failed == 0


# --- figures ----------------------------------------------------------------------------------------------------


def test_a_ratio_is_the_median_of_ratios_taken_round_by_round() -> None:
    figure = beside("ours", [10.0, 90.0, 30.0], "events/s", "limit", [100.0, 100.0, 60.0])
    assert (figure.ratio, figure.value) == (0.5, 30.0)


def test_one_slow_round_that_slows_both_leaves_the_ratio() -> None:
    figure = beside("ours", [50.0, 5.0, 50.0], "events/s", "limit", [100.0, 10.0, 100.0])
    assert figure.ratio == 0.5
    assert not figure.wide


@pytest.mark.parametrize(
    ("target", "measured", "met"),
    [
        (Target(low=0.6), 0.6, True),
        (Target(low=0.6), 0.5999, False),
        (Target(high=1.5), 1.5, True),
        (Target(high=1.5), 1.51, False),
        (Target(high=4, strict=True), 4.0, False),
        (Target(high=4, strict=True), 3.99, True),
        (Target(low=0.8, high=1.2), 0.79, False),
        (Target(low=0.8, high=1.2), 1.2, True),
        (Target(low=0.8, high=1.2), 1.21, False),
    ],
)
def test_a_target_is_met_at_its_edge_unless_it_is_strict(target: Target, measured: float, met: bool) -> None:
    assert target.met(measured) is met


def test_a_target_is_held_against_the_ratio_and_not_against_its_rounded_text() -> None:
    assert beside("ours", [59.96], "x", "limit", [100.0], Target(low=0.6)).met is False


def test_a_target_without_a_limit_is_on_the_value() -> None:
    assert alone("judge", [49_000, 51_000, 50_000], "verdicts/s", Target(low=50_000)).met is True


def test_rounds_far_apart_mark_a_figure() -> None:
    assert alone("steady", [100, 110, 105], "ms").wide is False
    assert alone("wild", [100, 140, 105], "ms").wide is True
    assert alone("single", [100], "ms").wide is False


def test_what_could_not_be_measured_is_in_the_table_and_meets_nothing() -> None:
    figure = missing("rebuild, 2 processes", "records/s", Target(low=0.8), "not in this version")
    assert (figure.met, figure.rounds) == (False, 0)
    assert "not in this version" in report.markdown({}, [figure])


def test_a_quantile_is_one_of_the_values() -> None:
    values = [float(value) for value in range(100)]
    assert stats.quantile(values, 0.99) == 99.0
    assert stats.quantile([7.0], 0.99) == 7.0


def test_the_json_holds_the_seven_members_of_each_figure_and_nothing_else(tmp_path: Path) -> None:
    figures = [alone("a", [1.0], "ms"), beside("b", [1.0], "ms", "a", [2.0], Target(high=1))]
    report.write_json(figures, tmp_path / "figures.json")
    written = orjson.loads((tmp_path / "figures.json").read_bytes())
    names = {"name", "value", "unit", "ratio", "against", "target", "met"}
    assert [set(figure) for figure in written] == [names, names]
    assert written[1] == {
        "name": "b",
        "value": 1.0,
        "unit": "ms",
        "ratio": 0.5,
        "against": "a",
        "target": "<= 1",
        "met": True,
    }


def test_a_table_has_a_section_for_each_chapter_and_escapes_what_would_break_it() -> None:
    figures = [alone("a|b", [1.0], "ms")._replace(chapter="asking"), alone("c", [1.0], "ms")._replace(chapter="gdpr")]
    text = report.markdown({"cores": 2}, figures)
    assert text.index("## asking") < text.index("a\\|b") < text.index("## gdpr")
    assert "- cores: 2" in text


def test_the_machine_is_described_without_names_of_hosts_users_or_folders() -> None:
    import getpass
    import platform

    text = orjson.dumps(machine.describe()).decode()
    for name in (platform.node(), str(Path.home())):
        assert name not in text
    assert getpass.getuser() not in text.split()
    assert "kafka-python 3.0.12" in text
    assert "crc32c" in text


def test_the_plot_draws_each_line_and_nothing_without_points(tmp_path: Path) -> None:
    plot.draw([], tmp_path / "none.svg")
    assert not (tmp_path / "none.svg").exists()
    points = [Point("rebuild", "a record", events, 20.0, "us") for events in (1_000, 10_000)]
    points += [Point("peer (b)", "a question", events, events / 1e3, "ms") for events in (1_000, 10_000)]
    plot.draw(points, tmp_path / "growth.svg")
    assert (tmp_path / "growth.svg").read_text("utf-8").count('id="line2d_') > 4
    plot.draw(points, tmp_path / "growth.png")
    assert (tmp_path / "growth.png").read_bytes().startswith(b"\x89PNG")


# --- rounds, chapters, exit codes -------------------------------------------------------------------------------


def test_rounds_stop_when_another_would_not_end_in_time_but_one_is_always_taken() -> None:
    said: list[str] = []
    with Stage(replace(TINY, rounds=5, limit_s=0.05), said.append) as stage:
        taken = 0
        for _ in stage.rounds():
            taken += 1
            time.sleep(0.03)
    assert taken == 1
    assert said == ["1 rounds instead of 5: the machine is too slow for more"]


def test_rounds_are_as_many_as_planned_when_there_is_time() -> None:
    with Stage(replace(TINY, rounds=4, limit_s=60), quiet) as stage:
        assert list(stage.rounds()) == [0, 1, 2, 3]
        assert list(stage.rounds(at_most=3)) == [0, 1, 2]


def good(stage: Stage) -> Iterator[Figure | Point]:
    """A chapter."""
    yield alone("good", [1.0], "ms", Target(low=2))


def failing(stage: Stage) -> Iterator[Figure | Point]:
    """A chapter that fails half-way."""
    yield alone("half", [1.0], "ms")
    raise ValueError("the broker went away")


def interrupted(stage: Stage) -> Iterator[Figure | Point]:
    """A chapter during which somebody presses Ctrl-C."""
    yield alone("before", [1.0], "ms")
    raise KeyboardInterrupt


def test_a_chapter_that_fails_keeps_its_figures_and_lets_the_others_run(tmp_path: Path) -> None:
    said: list[str] = []
    results = run(["a", "b"], TINY, tmp_path / "out", said.append, chapters={"a": failing, "b": good})
    assert [(figure.chapter, figure.name) for figure in results.figures] == [("a", "half"), ("b", "good")]
    assert results.unfinished == ["a"]
    assert any("the broker went away" in line for line in said)
    table = (tmp_path / "out" / "table.md").read_text("utf-8")
    assert "NOT FINISHED: a" in table
    assert "half" in table
    assert command.exit_code(results, check=True) == 3


def test_an_interrupted_run_keeps_what_it_has_and_says_what_is_missing(tmp_path: Path) -> None:
    results = run(["a", "b"], TINY, tmp_path, quiet, chapters={"a": interrupted, "b": good})
    assert [figure.name for figure in results.figures] == ["before"]
    assert results.unfinished == ["a", "b"]
    assert orjson.loads((tmp_path / "figures.json").read_bytes())["figures"][0]["name"] == "before"
    assert command.exit_code(results, check=False) == 3


def test_a_missed_target_is_an_error_only_when_that_is_asked(tmp_path: Path) -> None:
    results = run(["b"], TINY, tmp_path, quiet, chapters={"b": good})
    assert command.exit_code(results, check=False) == 0
    assert command.exit_code(results, check=True) == 1


def test_a_run_without_a_single_figure_is_never_a_success() -> None:
    assert command.exit_code(Results({}), check=False) == 3


def test_a_figure_that_was_not_taken_is_never_a_success() -> None:
    figures = [alone("a", [1.0], "ms"), missing("b", "ms", Target(low=1), "not in this version")]
    assert command.exit_code(Results({}, figures), check=False) == 3


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["--rounds", "0"],
        ["--rounds", "many"],
        ["--rounds", "1000000"],
        ["--json", "/no/such/folder/figures.json"],
        ["--json", "/"],
        ["--events", "5"],
    ],
)
def test_what_cannot_be_run_is_refused_before_anything_starts(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        command.main(arguments)
    assert refused.value.code == 2


def test_the_full_run_takes_the_sizes_that_the_targets_speak_of() -> None:
    assert {10_000, 50_000, 1_000_000} <= set(FULL.growth)
    assert FULL.peer_rows == 50_000
    assert FULL.rounds >= 3
    assert FULL.long_histories[-1] == 10_000
    assert QUICK.rounds >= 3, "medians of several"


def test_chapters_are_documented() -> None:
    page = (Path(__file__).parents[2] / "docs" / "benchmarks.md").read_text("utf-8")
    for name in CHAPTERS:
        assert f"`{name}`" in page


# --- workload, load generator, roles ----------------------------------------------------------------------------


def test_the_workload_is_the_same_for_the_same_seed_and_has_ids_of_its_own() -> None:
    one, again = list(workload.records(10, 300, 5)), list(workload.records(10, 300, 5))
    assert one == again
    assert one != list(workload.records(10, 300, 6))
    ids = [event.id for event in workload.city(10, 300, 5, "r1")]
    assert len(set(ids)) == 300
    assert not set(ids) & {event.id for event in workload.city(10, 300, 5, "r2")}


def test_the_workload_is_well_formed_and_not_all_of_it_is_allowed() -> None:
    history = PartitionHistory()
    outcomes: Counter[str] = Counter()
    for offset, (_, value) in enumerate(workload.records(20, 1_000)):
        for row in history.apply(offset, codec.read_strict(value)):
            outcomes[row.verdict.outcome] += 1
    assert outcomes["consistent"] > 100
    assert outcomes["inconsistent"] > 20


def test_a_request_is_one_that_a_strict_parser_reads() -> None:
    class Seen:
        body, url, complete = b"", b"", False

        def on_url(self, url: bytes) -> None:
            self.url += url

        def on_body(self, body: bytes) -> None:
            self.body += body

        def on_message_complete(self) -> None:
            self.complete = True

    seen = Seen()
    parser = httptools.HttpRequestParser(seen)
    parser.feed_data(request("POST", "/v1/events", b'{"a":1}', {"content-type": "application/json"}))
    assert (seen.url, seen.body, seen.complete) == (b"/v1/events", b'{"a":1}', True)
    assert parser.should_keep_alive()


@pytest.mark.parametrize("role", ROLES)
def test_each_role_asks_for_its_operations_in_gdprbenchs_proportions(role: str) -> None:
    assert sum(ROLES[role].mix.values()) == 100
    counted = Counter(operation.kind for operation in operations(role, 20_000, keys=100, seed=1))
    assert set(counted) == set(ROLES[role].mix)
    for kind, share in ROLES[role].mix.items():
        assert abs(counted[kind] / 200 - share) < 2


def test_customers_and_regulators_ask_about_some_records_far_more_than_others() -> None:
    for role, of_role in ROLES.items():
        counted = Counter(operation.key for operation in operations(role, 20_000, keys=1_000, seed=1))
        first = counted[0] / 20_000
        if of_role.zipfian:
            assert first > 0.08, role  # 1 / H(1000, 0.99) = 0.13
        else:
            assert first < 0.01, role


def test_operations_are_the_same_for_the_same_seed() -> None:
    assert operations("customer", 50, 10, 3) == operations("customer", 50, 10, 3)
    assert operations("customer", 50, 10, 3) != operations("customer", 50, 10, 4)

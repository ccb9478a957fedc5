"""`./dev bench`: measures everything on servers of its own and prints one table."""

import argparse
import sys
from pathlib import Path

from rich.console import Console

from benchmarks import asking, emitting, evidence, judging, projecting, report
from benchmarks.servers import servers


def main() -> int:
    """Runs the chapters asked for; exit 0 when everything was measured, whatever the figures are."""
    parser = argparse.ArgumentParser(prog="./dev bench", description="Measures the ledger against the raw limits.")
    parser.add_argument("--quick", action="store_true", help="fewer events and rounds: a few minutes")
    parser.add_argument("--events", type=int, help="how many events (default 100,000; with --quick 20,000)")
    parser.add_argument("--rounds", type=int, help="how often each figure is taken (default 5; with --quick 3)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to a file too")
    options = parser.parse_args()
    events = options.events or (20_000 if options.quick else 100_000)
    rounds = options.rounds or (3 if options.quick else 5)
    if events < 1_000 or rounds < 1:
        parser.error("at least 1,000 events and one round")
    figures = run(events, rounds, quick=options.quick)
    report.show(figures, Console())
    if options.json is not None:
        report.write_json(figures, options.json)
    return 0


def run(events: int, rounds: int, *, quick: bool) -> list[report.Figure]:
    """Every figure, in the order in which the data flows."""
    figures: list[report.Figure] = []
    residents = max(10, events // 50)
    say("judging")
    figures += judging.measure(min(events, 50_000), rounds)
    say("evidence")
    figures += evidence.measure(rounds)
    with servers(say) as here:
        say("emitting")
        emitted, topic = emitting.measure(here, events, residents, 2_000 if quick else 10_000, rounds)
        figures += emitted
        say("projecting")
        projected, reader_dsn = projecting.measure(here, topic, events, rounds)
        figures += projected
        say("asking")
        figures += asking.measure(reader_dsn, 1_000 if quick else 5_000)
    return figures


def say(what: str) -> None:
    """Progress, for people, on stderr."""
    print(f"bench: {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())

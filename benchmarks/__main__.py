"""`./dev bench`: measures everything on servers of its own and prints one table.

Each worker process loads this module again (multiprocessing's `spawn`), so what is big is imported in `main`.
"""

import argparse
import logging
import signal
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.plan import FULL, QUICK

if TYPE_CHECKING:
    from benchmarks.run import Results

DONE, MISSED, USAGE, INCOMPLETE = 0, 1, 2, 3
RESULTS = Path(__file__).parent.parent / "bench-results"
_WIDTH = 200


def main(arguments: list[str] | None = None) -> int:
    """Runs the chapters asked for; 0 when everything was measured, 3 when not, 1 with --check for a missed target."""
    from rich.console import Console

    from benchmarks import report
    from benchmarks.run import CHAPTERS, run

    parser = argparse.ArgumentParser(
        prog="./dev bench", description="Measures the ledger beside the raw limits and its peers, in one run."
    )
    parser.add_argument("chapters", nargs="*", metavar="CHAPTER", help=f"some of: {', '.join(CHAPTERS)}; default: all")
    parser.add_argument("--quick", action="store_true", help="smaller sizes, fewer rounds: within 10 minutes")
    parser.add_argument("--rounds", type=int, help=f"most rounds ({FULL.rounds}; with --quick {QUICK.rounds})")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to a file too")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="where table, plot and figures go (bench-results/…)")
    parser.add_argument("--check", action="store_true", help="exit 1 when a target is missed")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.chapters if name not in CHAPTERS]
    if unknown:
        parser.error(f"no such chapter; there are {', '.join(CHAPTERS)}")
    if options.rounds is not None and not 1 <= options.rounds <= 100:
        parser.error("--rounds takes a number from 1 to 100")
    if options.json is not None and (options.json.is_dir() or not options.json.absolute().parent.is_dir()):
        parser.error("--json takes a file in a folder that is there")
    plan = QUICK if options.quick else FULL
    plan = plan if options.rounds is None else replace(plan, rounds=options.rounds)
    folder: Path = options.out or RESULTS / datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    chosen = [name for name in CHAPTERS if not options.chapters or name in options.chapters]
    logging.getLogger("consent_ledger").setLevel(logging.ERROR)  # that no checkpoint key is named is on purpose
    for interrupting in (signal.SIGTERM, signal.SIGINT):
        signal.signal(interrupting, _interrupt)
    results = run(chosen, plan, folder, say)
    if options.json is not None:
        report.write_json(results.figures, options.json)
    report.show(results.figures, Console() if sys.stdout.isatty() else Console(width=_WIDTH))
    say(f"table, figures and plot are in {folder}")
    return exit_code(results, check=options.check)


def exit_code(results: "Results", *, check: bool) -> int:
    """3 when something was not measured, else 1 when a target was missed and that is asked about, else 0."""
    if results.unfinished or not results.figures or any(figure.rounds == 0 for figure in results.figures):
        if results.unfinished:
            say(f"not finished: {', '.join(results.unfinished)}")
        return INCOMPLETE
    missed = [figure.name for figure in results.figures if figure.met is False]
    for name in missed:
        say(f"missed: {name}")
    return MISSED if check and missed else DONE


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def say(what: str) -> None:
    """Progress, for people, on stderr."""
    print(f"bench: {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())

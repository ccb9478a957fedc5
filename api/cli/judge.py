"""`consent-ledger judge FILE`: judges an NDJSON history offline; no server, no clock.

Lines are in log order and a position is a line number. One verdict for each judged event, in log order:

    $ consent-ledger judge history.ndjson --known-at 4 --json
    {"line":3,"source":"/services/permits","id":"e003","outcome":"consistent","first_outcome":"consistent",…}

The outcomes do not change the exit code; a blank or malformed line does (2), and so does a history without a line (3).
"""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Annotated

import typer

from api.cli import console
from ledger.codec import rfc3339
from ledger.errors import ConsentLedgerError
from ledger.history import Row, judge_history, line_json


class Unreadable(ConsentLedgerError):
    """A file that a command was given cannot be read."""


@contextlib.contextmanager
def opened(file: str) -> Iterator[IO[bytes]]:
    """The file's bytes, `-` for stdin; raises `Unreadable`."""
    if file == "-":
        yield sys.stdin.buffer
        return
    try:
        stream = Path(file).open("rb")  # noqa: SIM115 (closed below)
    except OSError as error:
        raise Unreadable(f"{file} cannot be read: {error.strerror}") from None
    with stream:
        yield stream


def lines_of(stream: IO[bytes], name: str) -> Iterator[bytes]:
    """The lines of a stream; raises `Unreadable` where reading fails, as for a folder."""
    try:
        yield from stream
    except OSError as error:
        raise Unreadable(f"{name} cannot be read: {error.strerror}") from None


def judge(
    file: Annotated[str, typer.Argument(help="An NDJSON history, `-` for stdin.", metavar="FILE", show_default=False)],
    known_at: Annotated[
        int | None, typer.Option(min=1, help="Judge by what was known at this line.", metavar="N")
    ] = None,
) -> None:
    """Judge an NDJSON history offline: one verdict for each judged event, in log order."""
    out = console.get()
    count = 0

    def counted(lines: Iterator[bytes]) -> Iterator[bytes]:
        nonlocal count
        for line in lines:
            count += 1
            if not count % 1_000:
                counter.update(count, "lines")
            yield line

    with out.counting("judging") as counter, opened(file) as stream:
        rows = judge_history(counted(lines_of(stream, file)), known_at)
    for row in rows:
        out.data(line_json(row) if out.json else _text(row))
    out.flush()
    if not count:
        out.problem({"title": "Nothing to judge", "detail": f"{file} holds no line: nothing was judged"})
        raise typer.Exit(console.INCOMPLETE)
    out.say(f"{count} lines, {len(rows)} verdicts")


def _text(row: Row) -> str:
    first = "" if row.first_outcome == row.verdict.outcome else f", first {row.first_outcome}"
    heading = f"line {row.offset}  {row.verdict.outcome}{first}  {row.event.kind} {row.event.source} {row.event.id}"
    findings = [
        f"  {f.result:8} {f.rule}/{f.code}" + (f"  {', '.join(f.categories)}" if f.categories else "")
        for f in row.verdict.findings
    ]
    return "\n".join([f"{heading}  {rfc3339(row.instant)[:19]}Z", *findings])

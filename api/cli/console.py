"""What a command says, and where: data on stdout, messages and progress on stderr, moving progress on a terminal only.

One `Console` holds the three flags that every command takes, wherever they stand on the command line:

>>> flags, rest = take_flags(["judge", "--json", "history.ndjson", "--", "--quiet"])
>>> flags.json, flags.quiet, rest
(True, False, ['judge', 'history.ndjson', '--', '--quiet'])

Exit codes, the same for every command: 0 clean; 1 a finding; 2 usage or malformed input; 3 incomplete or unreachable.
"""

import contextlib
import os
import sys
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import orjson
from rich import box
from rich.console import Console as RichConsole
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

CLEAN, FINDING, USAGE, INCOMPLETE = 0, 1, 2, 3
WIDTH = 100


class Flags(NamedTuple):
    """What `--json`, `--quiet` and `--no-color` say."""

    json: bool = False
    quiet: bool = False
    no_color: bool = False


class OutputClosed(Exception):
    """Whoever read our stdout has gone (`| head`): nothing more is of use."""


def take_flags(arguments: Sequence[str]) -> tuple[Flags, list[str]]:
    """The global flags, and the arguments without them; what follows `--` is left alone."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    before = arguments[:end]
    flags = Flags("--json" in before, "--quiet" in before or "-q" in before, "--no-color" in before)
    rest = [a for a in before if a not in ("--json", "--quiet", "-q", "--no-color")]
    return flags, [*rest, *arguments[end:]]


class Counter:
    """How far a long piece of work is; shown on a terminal, and silent elsewhere."""

    def __init__(self, progress: Progress | None, what: str) -> None:
        self._progress = progress
        self._task = None if progress is None else progress.add_task(what, total=None, note="")

    @property
    def moving(self) -> bool:
        """Whether a terminal watches."""
        return self._progress is not None

    def update(self, done: int, note: str = "", total: int | None = None) -> None:
        """Shows the count and, beside it, a note; with a total, how much of the bar is full."""
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=done, note=note, total=total)


class Console:
    """Where a command's words go."""

    def __init__(self, flags: Flags) -> None:
        self.json = flags.json
        self.quiet = flags.quiet
        plain = flags.no_color or bool(os.environ.get("NO_COLOR"))
        self._out = RichConsole(no_color=plain, highlight=False, markup=False, width=self._width(sys.stdout))
        self._err = RichConsole(
            stderr=True, no_color=plain, highlight=False, markup=False, width=self._width(sys.stderr)
        )

    @staticmethod
    def _width(stream: Any) -> int | None:
        return None if stream.isatty() else WIDTH

    @property
    def on_terminal(self) -> bool:
        """Whether stdout is a terminal."""
        return sys.stdout.isatty()

    @property
    def moving(self) -> bool:
        """Whether progress moves: a terminal watches and wants to see it."""
        return not (self.quiet or self.json) and sys.stderr.isatty()

    def data(self, value: Any) -> None:
        """One line on stdout: text as it is, anything else as JSON."""
        raw = value.encode("utf-8") if isinstance(value, str) else orjson.dumps(value)
        try:
            sys.stdout.buffer.write(raw + b"\n")
        except BrokenPipeError:
            raise OutputClosed from None

    def flush(self) -> None:
        """Hands everything said so far to whoever reads it."""
        try:
            sys.stdout.flush()
        except BrokenPipeError:
            raise OutputClosed from None

    def table(
        self, columns: Sequence[tuple[str, int]], rows: Sequence[Sequence[str]], styles: Sequence[str | None] = ()
    ) -> None:
        """A table on stdout, at most 100 columns wide: with lines and colours on a terminal, plain elsewhere.

        `columns` are names and widths; 0 takes an equal part of what is left.
        """
        self.flush()
        table = Table(
            width=min(WIDTH, self._out.width),
            box=box.ROUNDED if self.on_terminal else box.SIMPLE_HEAD,
            show_lines=self.on_terminal,
            header_style="bold",
            padding=(0, 1) if self.on_terminal else (0, 1, 0, 0),
        )
        for name, width in columns:
            table.add_column(name, overflow="fold", width=width or None, ratio=None if width else 1)
        for i, row in enumerate(rows):
            table.add_row(*(Text(cell) for cell in row), style=styles[i] if i < len(styles) else None)
        if not self.on_terminal:
            with self._out.capture() as printed:
                self._out.print(table)
            for line in printed.get().splitlines():
                self.data(line.rstrip())
            return
        try:
            self._out.print(table)
        except BrokenPipeError:
            raise OutputClosed from None

    def say(self, message: str, style: str | None = None) -> None:
        """A message on stderr; `--quiet` silences it."""
        if not self.quiet:
            self._err.print(Text(message, style=style or ""), soft_wrap=True)

    def warn(self, message: str) -> None:
        """A message on stderr that not even `--quiet` silences."""
        self._err.print(Text(message, style="bold yellow"), soft_wrap=True)

    def problem(self, problem: dict[str, Any]) -> None:
        """Why the command failed: one line on stderr, or a JSON problem with `--json`."""
        if self.json:
            sys.stderr.buffer.write(orjson.dumps(problem) + b"\n")
            sys.stderr.flush()
        else:
            self._err.print(Text(f"consent-ledger: {problem['detail']}", style="bold red"), soft_wrap=True)

    @contextlib.contextmanager
    def counting(self, what: str) -> Iterator[Counter]:
        """Moving progress on stderr while a terminal watches."""
        if not self.moving:
            yield Counter(None, what)
            return
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TextColumn("{task.completed:,}"),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=self._err, transient=True) as progress:
            counter = Counter(progress, what)
            counter.update(0)
            yield counter


def wrapped(start: str, text: str) -> list[str]:
    """The text in lines of at most 100 characters, the first after `start`, the others below it.

    >>> wrapped("  8  ", "Only for stated purposes.")
    ['  8  Only for stated purposes.']
    """
    lines = textwrap.wrap(text, WIDTH - len(start), break_on_hyphens=False) or [""]
    return [start + lines[0], *(" " * len(start) + line for line in lines[1:])]


current = Console(Flags())


def configure(flags: Flags) -> Console:
    """Makes the console of this run."""
    global current
    current = Console(flags)
    return current


def get() -> Console:
    """The console of this run."""
    return current

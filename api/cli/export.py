"""`consent-ledger export --format parquet|ndjson -o DIR`: timeline and verdicts as files, for DuckDB, Polars or Spark.

    $ consent-ledger export --format parquet -o out
    timeline    1,039 rows, 6 files
    verdicts      702 rows, 6 files
    $ duckdb -c "SELECT outcome, count(*) FROM 'out/verdicts/*.parquet' WHERE known_until IS NULL GROUP BY 1"

Needs CONSENT_LEDGER_DATABASE, the role `ledger_reader`. It is one moment of the views, whatever is written meanwhile;
`manifest.json` says which, and the SHA-256 of every file (docs/spec/export.md). No resident is in it: they are numbered
anew each time. `--with-subjects` exports their pseudonyms and the records too; then everyone in it is told so in their
log first, through the ledger at CONSENT_LEDGER_URL. Exit: 0; 2 for a folder that is not empty; 3 when there is nothing
to export, or not everyone could be told, or it could not be written: then nothing is there.
"""

import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from api.cli import client, console
from ledger.codec import instant
from ledger.errors import ConfigurationError

_SAY_EVERY_S = 5.0
_FORMATS = ("parquet", "ndjson")


def export(
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder to make.", metavar="DIR")],
    kind: Annotated[str, typer.Option("--format", help="parquet or ndjson.", metavar="FORMAT")],
    since: Annotated[
        str | None, typer.Option("--from", help="Events at this time or later, RFC 3339.", metavar="TIME")
    ] = None,
    until: Annotated[
        str | None, typer.Option("--to", help="Events before this time, RFC 3339.", metavar="TIME")
    ] = None,
    with_subjects: Annotated[
        bool, typer.Option("--with-subjects", help="Pseudonyms and records too; it is recorded in everyone's log.")
    ] = False,
    ledger: Annotated[
        str | None,
        typer.Option(metavar="URL", help=f"The ledger that records it; default: ${client.URL_VARIABLE}."),
    ] = None,
    patience: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="How long to wait for the ledger to record it.")
    ] = 30.0,
) -> None:
    """Write the timeline and all verdicts to files."""
    from api.cli.serve import load_settings
    from projections.dump import Period
    from replay.export import export as export_to

    out = console.get()
    if kind not in _FORMATS:
        raise ConfigurationError("--format is parquet or ndjson")
    period = Period(_instant("--from", since), _instant("--to", until))
    settings = load_settings("database")
    with ExitStack() as stack:
        announce = None
        if with_subjects:
            door = stack.enter_context(client.Client.from_environment(ledger, patience_s=patience))
            announce = _announced(door)
        counter = stack.enter_context(out.counting("exporting"))
        found = export_to(
            settings.database, output, kind, period, announce=announce, progress=_progress(out, counter.update)
        )
    if out.json:
        out.data(found.manifest)
    else:
        for name, view in found.manifest["views"].items():
            out.data(f"{name:10} {view['rows']:,} rows, {len(view['files']):,} files")
    out.flush()


def _instant(name: str, text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return instant(text)
    except (ValueError, OverflowError):
        raise ConfigurationError(f"{name} is a time such as 2026-03-01T00:00:00Z") from None


def _announced(door: client.Client) -> Callable[[Sequence[str]], None]:
    """Records the export in the logs of these residents; raises when the ledger does not."""
    export_id = f"x-{secrets.token_hex(8)}"

    def announce(subjects: Sequence[str]) -> None:
        door.send("POST", "/v1/audit/exports", json={"export_id": export_id, "subjects": list(subjects)})

    return announce


def _progress(out: console.Console, update: Callable[[int, str], None]) -> Callable[[int, int], None]:
    """Shows rate and time left: moving on a terminal, else a line every five seconds."""
    started_s = said_s = time.monotonic()

    def show(done: int, total: int) -> None:
        nonlocal said_s
        now_s = time.monotonic()
        note = rate(done, total, now_s - started_s)
        update(done, note)
        if not out.json and not out.moving and now_s - said_s >= _SAY_EVERY_S:
            said_s = now_s
            out.say(f"{done:,} {note}")

    return show


def rate(done: int, total: int, seconds: float) -> str:
    """How fast, and how long it may still take.

    >>> rate(250, 1_000, 10.0)
    'of 1,000 rows, 25/s, 30 s left'
    """
    speed = done / seconds if seconds > 0 else 0.0
    left = f", {(total - done) / speed:,.0f} s left" if speed > 0 else ""
    return f"of {total:,} rows, {speed:,.0f}/s{left}"

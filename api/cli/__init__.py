"""The command line, `consent-ledger`: one module for each command, and here what they share.

Errors are one clear line on stderr (a JSON problem with `--json`), never a traceback of ours; exit codes are those of
`api.cli.console`. `main` is the console script.

>>> exit_code(ConfigurationError("CONSENT_LEDGER_TOKEN is not set"))
2
>>> exit_code(Unavailable("the broker does not answer"))
3
"""

import logging
import os
import sys
import traceback
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.exceptions import TyperException

from api.cli import (
    ask,
    audit,
    console,
    demo,
    dev,
    doctor,
    emit,
    erase,
    evidence,
    export,
    history,
    judge,
    operator,
    policy,
    record,
    replay,
    serve,
    sign,
    vault,
    verify_log,
    what_if,
)
from api.cli.judge import Unreadable
from ledger.errors import (
    ConfigurationError,
    ConsentLedgerError,
    Forbidden,
    LocalServerError,
    Malformed,
    NotYet,
    TooLarge,
    Unauthenticated,
    Unavailable,
    Unparsable,
)

app = typer.Typer(
    name="consent-ledger",
    help="Records what happened to residents' data, and answers whether it was consistent with a stated purpose.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_USAGE_ERRORS = (Malformed, Unparsable, TooLarge, ConfigurationError, Unauthenticated, Forbidden, Unreadable)
_TITLES: tuple[tuple[type[ConsentLedgerError], str], ...] = (
    (Malformed, "Malformed input"),
    (Unparsable, "Malformed input"),
    (TooLarge, "Malformed input"),
    (ConfigurationError, "Configuration"),
    (Unauthenticated, "Unauthenticated"),
    (Forbidden, "Forbidden"),
    (Unreadable, "Unreadable"),
    (Unavailable, "Unavailable"),
    (NotYet, "Not there yet"),
    (LocalServerError, "The local servers"),
)


@app.callback()
def _options(
    json: Annotated[bool, typer.Option("--json", help="JSON on stdout, and a JSON problem on stderr.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No messages or progress.")] = False,
    no_color: Annotated[bool, typer.Option("--no-color", help="No colours.")] = False,
) -> None:
    """These three may stand anywhere: `main` has taken them out before."""


def exit_code(error: ConsentLedgerError) -> int:
    """2 for usage and malformed input; 3 for whatever is incomplete or out of reach."""
    return console.USAGE if isinstance(error, _USAGE_ERRORS) else console.INCOMPLETE


def problem(error: ConsentLedgerError) -> dict[str, Any]:
    """What `--json` prints of an error: no value that somebody sent, as the error itself holds none."""
    title = next((text for kind, text in _TITLES if isinstance(error, kind)), type(error).__name__)
    found: dict[str, Any] = {"title": title, "detail": str(error)}
    if isinstance(error, Malformed):
        found["errors"] = [{"pointer": p.pointer, "code": p.code} for p in error.problems]
    return found


def run(arguments: list[str]) -> int:
    """Runs one command line; returns its exit code."""
    flags, rest = console.take_flags(arguments)
    out = console.configure(flags)
    for library in ("kafka", "psycopg"):  # their words reach no terminal; servers log them their own way
        logging.getLogger(library).addHandler(logging.NullHandler())
    try:
        result = app(rest, prog_name="consent-ledger", standalone_mode=False)
        out.flush()
    except TyperException as error:
        if rest:  # no arguments: typer's message is the help
            out.problem({"title": "Usage", "detail": error.format_message().replace("\n", " ")})
        else:
            sys.stderr.write(error.format_message() + "\n")
        return console.USAGE
    except ConsentLedgerError as error:
        out.problem(problem(error))
        return exit_code(error)
    except console.OutputClosed:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains at exit
        return console.INCOMPLETE
    except Exception as error:  # our own bug: said with its places, without texts and values, and never as a finding
        places = [f"{Path(f.filename).name}:{f.lineno}" for f in traceback.extract_tb(error.__traceback__)[-6:]]
        detail = f"this is a fault of the program itself: {type(error).__name__} at {' < '.join(reversed(places))}"
        out.problem({"title": "Fault", "detail": detail})
        return console.INCOMPLETE
    if result == 130:  # typer's code for Ctrl-C; ours are 0 to 3
        out.problem({"title": "Interrupted", "detail": "interrupted"})
        return console.INCOMPLETE
    return int(result or 0)


def main() -> None:
    """The console script."""
    sys.exit(run(sys.argv[1:]))


app.add_typer(dev.app, name="dev")
app.command()(demo.demo)
app.command()(emit.emit)
app.command()(ask.ask)
app.command()(history.history)
app.command()(export.export)
app.command()(evidence.evidence)
app.command()(evidence.verify)
app.command()(judge.judge)
app.add_typer(policy.app, name="policy")
app.command()(serve.serve)
app.command()(serve.project)
app.command()(record.record)
app.command()(sign.sign)
app.command()(replay.replay)
app.command(name="what-if")(what_if.what_if)
app.command()(audit.audit)
app.command(name="verify-log")(verify_log.verify_log)
app.command()(erase.erase)
app.add_typer(vault.app, name="vault")
app.command()(operator.setup)
app.command()(doctor.doctor)
app.command()(sign.checkpoint)
app.command()(sign.vkey)

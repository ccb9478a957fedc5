"""`consent-ledger dev tamper`: changes the record or a view behind the ledger's back, so that people can see the alarm.

    $ consent-ledger dev tamper record 3-17 --data-dir city               # one byte, while dev runs
    $ consent-ledger dev tamper record 3-17 --data-dir city --how drop    # swap, drop, cut: while dev is stopped
    $ consent-ledger dev tamper row verdicts 3-17 --data-dir city

Only in a data directory of `dev`, with the servers that are in it: anything else is refused, and so is every address
from the environment. There is no way back but a copy of the folder, made before.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from api.cli import console
from ledger.errors import ConfigurationError, ConsentLedgerError
from ledger.log import Position

app = typer.Typer(
    help="Change a record or a view behind the ledger's back, in a data directory of `dev`.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)
DataDir = Annotated[Path, typer.Option(metavar="FOLDER", help="The data directory of `dev`.")]
PositionArgument = Annotated[str, typer.Argument(metavar="P-O", help="The record's position.")]
_ADDRESSES = ("CONSENT_LEDGER_KAFKA", "CONSENT_LEDGER_DATABASE", "CONSENT_LEDGER_OWNER_DATABASE")
_MADE_BY_DEV = ("dev.lock", "consent-ledger.env", "secrets", "kafka/server.properties", "kafka/data/meta.properties")


class How(StrEnum):
    """What happens to a record."""

    alter = "alter"
    swap = "swap"
    drop = "drop"
    cut = "cut"


@app.command()
def record(
    position: PositionArgument,
    data_dir: DataDir,
    how: Annotated[How, typer.Option(help="Change a byte, swap with the next, drop, cut off.")] = How.alter,
    keep_crc: Annotated[
        bool, typer.Option("--keep-crc/--break-crc", help="Make the checksum right again, or leave it wrong.")
    ] = True,
) -> None:
    """Change a record in the broker's files. `swap`, `drop` and `cut` need a `dev` that is stopped."""
    from ledger.kafka import segments, topics

    place = Position.parse(position)
    folder = development(data_dir)
    files = folder / "kafka" / "data" / f"{topics.EVENTS}-{place.partition}"
    if how is How.alter:
        segments.alter(files, place.offset, plausibly, fix_crc=keep_crc)
        _report(folder, place, "one byte of the record is another" + ("" if keep_crc else ", its checksum is wrong"))
        return
    if not keep_crc:
        raise ConfigurationError("--break-crc goes with --how alter alone")
    with _stopped(folder):
        if how is How.swap:
            other = segments.swap(files, place.offset)
            done = f"the record and {Position(place.partition, other)} have changed places"
        elif how is How.drop:
            segments.drop(files, place.offset)
            done = "the record is gone"
        else:
            done = f"the log ends before the record; {segments.cut(files, place.offset)} records are gone"
    _report(folder, place, done, started=False)


@app.command()
def row(
    view: Annotated[str, typer.Argument(metavar="VIEW", help="The view, such as verdicts or tiles.")],
    position: PositionArgument,
    data_dir: DataDir,
) -> None:
    """Change a row of a view, or a tile, that comes from a record; `dev` must be running."""
    from dotenv import dotenv_values

    from projections.tamper import change_row

    place = Position.parse(position)
    folder = development(data_dir)
    owner = dotenv_values(folder / "consent-ledger.env").get("CONSENT_LEDGER_OWNER_DATABASE") or ""
    changed = change_row(folder / "postgres", owner, view, place, plausibly)
    _report(folder, place, f"{changed} row{'s' if changed > 1 else ''} of {view} changed", view)


def development(folder: Path) -> Path:
    """The data directory, when it is one of `dev` and nobody has named other servers; else `ConfigurationError`."""
    named = [name for name in _ADDRESSES if os.environ.get(name)]
    if named:
        raise ConfigurationError(f"unset {', '.join(named)}: only the servers of a data directory of `dev` are touched")
    folder = folder.absolute()
    if not all((folder / name).exists() for name in _MADE_BY_DEV):
        raise ConfigurationError("this folder is not a data directory that `dev` made with its own servers: left alone")
    return folder


@contextlib.contextmanager
def _stopped(folder: Path) -> Iterator[None]:
    """Holds the data directory, so that `dev` cannot start meanwhile."""
    from ledger.kafka import process

    lock = os.open(folder / "dev.lock", os.O_RDWR)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            running = process.leftover(folder / "kafka") is not None
        except OSError:
            running = True
        if running:
            raise ConfigurationError("stop `dev` first: a running broker would not notice (only `--how alter` does)")
        yield
    finally:
        os.close(lock)


def plausibly(value: bytes) -> bytes:
    """The record with one character changed so that it still reads as an event: another one.

    >>> raw = b'{"specversion":"1.0","id":"e1","source":"/services/a","type":"org.consent-ledger.preference.set.v1",'
    >>> raw += b'"subject":"r1","time":"2026-03-03T12:00:00Z","datacontenttype":"application/json",'
    >>> raw += b'"data":{"channel":"email","allowed":true},"recordedtime":"2026-03-03T12:00:01Z","recordedby":"a"}'
    >>> plausibly(raw)[-97:-57]
    b'"data":{"channel":"fmail","allowed":true'
    """
    from ledger import codec

    before = codec.read(value)
    for changed in _with_one_changed(value):
        try:
            if codec.read(changed) != before:
                return changed
        except ConsentLedgerError:
            continue
    raise ConfigurationError(
        "no character of this record can be another one so that it still reads: take another record"
    )


def _with_one_changed(value: bytes) -> Iterable[bytes]:
    """Each digit or small letter replaced by the next one, what the event says first."""
    start = max(0, value.find(b'"data":'))
    for at in (*range(start, len(value)), *range(start)):
        old = value[at : at + 1]
        if old.isdigit() or old.islower():
            new = {b"9": b"0", b"z": b"a"}.get(old, bytes([old[0] + 1]))
            yield value[:at] + new + value[at + 1 :]


def _report(folder: Path, place: Position, done: str, view: str | None = None, *, started: bool = True) -> None:
    """What was done, and what shows it."""
    out = console.get()
    see = _alarms(folder, view) if started else [f"consent-ledger dev --data-dir {folder}"]
    if out.json:
        out.data({"tampered": str(place), "done": done, "see": see})
    else:
        out.data(f"{place}: {done}")
        out.data("To see the alarm:")
        for command in see:
            out.data(f"  {command}")
    out.flush()


def _alarms(folder: Path, view: str | None) -> list[str]:
    """The commands that find it while `dev` runs."""
    from api.settings import CONFIG_FILE
    from ledger.tree.note import Signer

    keys = (folder / "secrets" / "checkpoint.key").read_text("ascii").split()
    trusted = " ".join(f"--trusted-key {Signer.parse(key).verifier.vkey}" for key in keys)
    verify, compare = f"verify-log {trusted}", "replay --compare"
    found_by = {None: [verify], "trees": [compare, verify], "leaf_runs": [compare, verify], "tiles": [compare, verify]}
    config = f"{CONFIG_FILE}={folder / 'consent-ledger.env'}"
    return [f"{config} consent-ledger {command}" for command in found_by.get(view, [compare])]

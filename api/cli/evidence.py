"""`consent-ledger evidence POSITION -o FILE` fetches an evidence bundle; `verify FILE` checks one offline.

    $ consent-ledger evidence 3-1041 -o evidence.zip
    $ consent-ledger verify evidence.zip --trusted-key ledger.example+b7cfcbf1+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3H...
    verified: these records are in the log, unchanged, and they give this verdict
    3-1041  consistent  e1 of /services/permits, 2026-03-03T12:00:00Z
      holds     purpose-limitation/stated-purpose  email
    ...

The key is one that you have from elsewhere (`consent-ledger vkey`, long before): never one out of the bundle.
`--partition FILE` is every record of the partition, a line each, in the order of the log: it shows that no other record
about the resident, and no other rule, was left out. Exit of `verify`: 0 verified, whatever the verdict is; 1 not
verified; 2 no bundle at all, or no usable key; 3 a file that cannot be read or ends too early.
"""

import contextlib
import os
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.cli import ask, client, console
from api.cli.judge import Unreadable, lines_of, opened
from ledger.errors import ConfigurationError, InvalidNote, NotYet
from ledger.log import Position

if TYPE_CHECKING:  # imported where it is used: other commands start without it
    from ledger.evidence import Report
    from ledger.tree.note import Verifier

_BUNDLE_TYPE = "application/zip"
_SHOWN_ROLES = ("judged", "evidence")


def evidence(
    position: Annotated[str, typer.Argument(help="Where the event stands, P-O.", metavar="POSITION")],
    output: Annotated[str, typer.Option("--output", "-o", help="Where to write it; `-` for stdout.", metavar="FILE")],
    complete: Annotated[
        bool, typer.Option("--complete", help="Every record about the resident, and every rule.")
    ] = False,
    known_at: Annotated[
        str | None, typer.Option(help="Ask for the answer as known at this position.", metavar="P-O")
    ] = None,
    ledger: Annotated[
        str | None, typer.Option(metavar="URL", help=f"The ledger; default: ${client.URL_VARIABLE}.")
    ] = None,
    patience: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="How long to wait for a checkpoint that is on its way.")
    ] = 30.0,
) -> None:
    """Fetch the verdict of one event with its records and their proofs, to verify offline."""
    out = console.get()
    if output == "-" and out.on_terminal:
        raise ConfigurationError("a bundle is a zip, and stdout is a terminal: name a file with -o")
    at = Position.parse(position)
    parameters = {"complete": "true"} if complete else {}
    if known_at is not None:
        parameters["known_at"] = str(Position.parse(known_at))
    with client.Client.from_environment(ledger, patience_s=patience) as door:
        answer = door.get(f"/v1/records/{at}/evidence", **parameters)
    if answer.headers.get("content-type") != _BUNDLE_TYPE:
        raise NotYet("the ledger shows no bundle of this event: a law holds it back, or this is no consent ledger")
    if output == "-":
        try:
            sys.stdout.buffer.write(answer.content)
        except BrokenPipeError:
            raise console.OutputClosed from None
    else:
        write_whole(Path(output), answer.content)
        if out.json:
            out.data({"position": str(at), "file": output, "bytes": len(answer.content)})
    out.flush()
    out.say(f"{len(answer.content):,} bytes: check them with `consent-ledger verify FILE --trusted-key VKEY`")


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file that is there as a whole or not at all, whatever happens meanwhile; raises `Unreadable`."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        with fresh.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            fresh.unlink()
        raise Unreadable(f"{path} cannot be written: {error.strerror}") from None


def verify(
    file: Annotated[str, typer.Argument(help="An evidence bundle.", metavar="FILE", show_default=False)],
    trusted_key: Annotated[
        list[str], typer.Option("--trusted-key", help="A verifier key that you trust; may be repeated.", metavar="VKEY")
    ],
    partition: Annotated[
        str | None, typer.Option("--partition", help="Every record of the partition, a line each.", metavar="FILE")
    ] = None,
) -> None:
    """Verify an evidence bundle offline: nothing of the ledger has to run."""
    from ledger.evidence import verify as verify_bundle
    from ledger.evidence.bundle import Incomplete, InvalidBundle

    out = console.get()
    verifiers = _verifiers(trusted_key)
    try:
        raw = _read(file)
        with contextlib.ExitStack() as stack:
            records = None if partition is None else _lines(stack, partition)
            report = verify_bundle(raw, verifiers, records)
    except Unreadable as error:
        raise Incomplete(str(error)) from None
    except InvalidBundle as error:
        if out.json:
            out.data({"verified": False, "why": str(error)})
            out.flush()
        else:
            out.problem({"title": "Not verified", "detail": f"not verified: {error}"})
        raise typer.Exit(console.FINDING) from None
    if out.json:
        out.data(as_json(report))
    else:
        for line in describe(report):
            out.data(line)
    out.flush()


def _verifiers(vkeys: list[str]) -> "list[Verifier]":
    from ledger.tree.note import Verifier

    try:
        return [Verifier.parse(vkey) for vkey in dict.fromkeys(vkeys)]
    except InvalidNote as error:
        raise ConfigurationError(f"--trusted-key: {error}") from None


def _read(file: str) -> bytes:
    """The file, up to one byte more than a bundle may have."""
    from ledger.evidence.bundle import MAX_BUNDLE_BYTES

    with opened(file) as stream:
        try:
            return stream.read(MAX_BUNDLE_BYTES + 1)
        except OSError as error:
            raise Unreadable(f"{file} cannot be read: {error.strerror}") from None


def _lines(stack: contextlib.ExitStack, file: str) -> Iterator[bytes]:
    """The records of a partition's file, each without the newline that ends its line."""
    stream = stack.enter_context(opened(file))
    return (line.removesuffix(b"\n") for line in lines_of(stream, file))


# --- what is said -----------------------------------------------------------------------------------------------


def as_json(report: "Report") -> dict[str, Any]:
    """A report as `--json` prints it."""
    return {
        "verified": True,
        "question": report.question.json(),
        "verdict": dict(report.verdict),
        "checkpoint": {
            "origin": report.checkpoint.origin,
            "size": report.checkpoint.size,
            "root": report.checkpoint.root.hex(),
        },
        "records": [
            {"position": str(leaf.position), "leaf_index": leaf.leaf_index, "role": role, "kind": event.kind}
            for leaf, role, event in report.records
        ],
        "completeness": {
            "proven": report.completeness.proven,
            "why": report.completeness.why,
            "missing": report.completeness.missing,
        },
    }


def describe(report: "Report") -> list[str]:
    """A report in words: the verdict with its reasons, its records, the checkpoint, and what is not proven."""
    from ledger.reasons import reason
    from ledger.tree.checkpoint import write_hash

    findings = [
        {**finding, "text": reason(finding["rule"], finding["result"], finding["code"]).text}
        for finding in report.verdict["findings"]
    ]
    lines = ["verified: these records are in the log, unchanged, and they give this verdict"]
    lines += ask.describe({**report.verdict, "findings": findings})
    lines.append(f"as known at {report.question.known_at}, for resident {report.verdict['subject']}")
    lines.append(f"{len(report.records):,} records, each proven to be in the log:")
    for leaf, role, event in report.records:
        if role in _SHOWN_ROLES:
            place = f"{leaf.position}  leaf {leaf.leaf_index}  {role:8}"
            lines.append(f"  {place}  {event.kind}  {event.source}  {event.time}")
    others = Counter(role for _, role, _ in report.records if role not in _SHOWN_ROLES)
    if others:
        lines.append("  and " + ", ".join(f"{count:,} {role}" for role, count in sorted(others.items())))
    signed = report.checkpoint
    lines.append(f"checkpoint  {signed.origin}: {signed.size:,} records, root {write_hash(signed.root)}")
    lines += console.wrapped(
        "completeness ", f"{'' if report.completeness.proven else 'not '}proven: {report.completeness.why}"
    )
    return lines

"""`consent-ledger verify-log`: reads the whole log and holds it against every checkpoint and the stored trees.

    $ export CONSENT_LEDGER_CONFIG=city/consent-ledger.env
    $ consent-ledger verify-log --trusted-key consent-ledger.local+b7cfcbf1+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3H...
    0: 51 records, 14 checkpoints hold, 0 records not covered yet
    ...
    3: record 3-17 is not the one that was signed (the checkpoint of size 20 does not hold)

Needs CONSENT_LEDGER_KAFKA; with CONSENT_LEDGER_DATABASE the stored trees, their tiles and what the signer keeps are
compared too, and help to name the very record. The key is one that you have from elsewhere (`consent-ledger vkey`, long
before). Exit: 0 something was compared and nothing differs; 1 a difference; 2 usage; 3 a part cannot be reached, or
there was no record or no checkpoint of this key.
"""

import contextlib
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.cli import console
from ledger.errors import ConfigurationError, InvalidNote

if TYPE_CHECKING:  # imported where they are used: other commands start without the servers' code
    from ledger.tree.note import Verifier
    from replay.verify_log import PartitionReport, Report

_SAY_EVERY_S = 10.0


def verify_log(
    trusted_key: Annotated[
        list[str], typer.Option("--trusted-key", help="A verifier key that you trust; may be repeated.", metavar="VKEY")
    ],
    partition: Annotated[
        list[int] | None, typer.Option("--partition", help="This partition alone; may be repeated.", metavar="N", min=0)
    ] = None,
    tiles: Annotated[
        bool, typer.Option("--tiles/--no-tiles", help="Compare the stored trees and tiles too, where there are any.")
    ] = True,
) -> None:
    """Read the whole log, recompute every tree, and name the first record that is not what was signed."""
    from api.cli.serve import load_settings
    from projections.tlog import Trees
    from replay.verify_log import verify_log as verify

    out = console.get()
    verifiers = _verifiers(trusted_key)
    settings = load_settings("kafka")
    with contextlib.ExitStack() as stack:
        trees = None
        if settings.database:
            trees = stack.enter_context(contextlib.closing(Trees(settings.database, pool_size=1)))
        watch = _Watch(stack.enter_context(out.counting("verifying")))
        report = verify(
            settings.kafka,
            verifiers,
            trees=trees,
            tiles=tiles,
            topic=settings.topic,
            checkpoints=settings.checkpoints_topic,
            partitions=partition,
            progress=watch.update,
        )
    if out.json:
        out.data(as_json(report))
    else:
        for line in describe(report):
            out.data(line)
    out.flush()
    if report.findings:
        out.problem({"title": "Different", "detail": "the log, its checkpoints and its trees do not agree"})
        raise typer.Exit(console.FINDING)
    if not report.clean:
        missing = "record" if not report.records else "checkpoint that this key signed"
        out.problem({"title": "Nothing compared", "detail": f"there is no {missing}"})
        raise typer.Exit(console.INCOMPLETE)
    out.say(f"{report.records:,} records are what {report.checkpoints:,} checkpoints say")


def _verifiers(vkeys: list[str]) -> "list[Verifier]":
    from ledger.tree.note import Verifier

    try:
        return [Verifier.parse(vkey) for vkey in dict.fromkeys(vkeys)]
    except InvalidNote as error:
        raise ConfigurationError(f"--trusted-key: {error}") from None


class _Watch:
    """How far it is and how fast: moving on a terminal, else a line now and then when it takes long."""

    def __init__(self, counter: console.Counter) -> None:
        self._counter = counter
        self._before = 0
        self._partition: int | None = None
        self._done = 0
        self._began_s = self._said_s = time.monotonic()

    def update(self, partition: int, done: int, head: int) -> None:
        """Called after each batch of a partition."""
        if partition != self._partition:
            self._partition, self._before, self._done = partition, self._before + self._done, 0
        self._done = done
        now_s = time.monotonic()
        total = self._before + self._done
        rate = int(total / max(now_s - self._began_s, 1e-3))
        self._counter.update(total, f"records, {rate:,}/s, partition {partition}")
        if now_s - self._said_s > _SAY_EVERY_S:
            self._said_s = now_s
            console.get().say(f"partition {partition}: {done:,} of about {head:,} records, {rate:,}/s")


def as_json(report: "Report") -> dict[str, Any]:
    """A report as `--json` prints it."""
    return {
        "clean": report.clean,
        "records": report.records,
        "checkpoints": report.checkpoints,
        "not_covered": sum(partition.not_covered for partition in report.partitions),
        "partitions": [
            {
                "partition": found.partition,
                "records": found.records,
                "checkpoints": found.checkpoints,
                "covered": found.covered,
                "not_covered": found.not_covered,
                "tree": found.tree,
                "findings": [finding._asdict() for finding in found.findings],
            }
            for found in report.partitions
        ],
        "findings": [finding._asdict() for finding in report.signed],
    }


def describe(report: "Report") -> list[str]:
    """A report in words, a line for each partition and each finding."""
    lines = []
    for found in report.partitions:
        lines += [f"{found.partition}: {finding.what}" for finding in found.findings]
        if not found.findings:
            lines.append(f"{found.partition}: {_summary(found)}")
    return [*lines, *(finding.what for finding in report.signed)]


def _summary(found: "PartitionReport") -> str:
    tree = "" if found.tree is None else f", the stored tree of {found.tree:,} leaves is the log's"
    counts = f"{found.records:,} records, {found.checkpoints:,} checkpoints hold{tree}"
    return f"{counts}, {found.not_covered:,} records not covered yet"

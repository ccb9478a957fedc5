"""`consent-ledger demo`: the whole road once, on real servers, and the auditor's question at its end.

Starts everything as `dev` does, seeds two years of the city, sends more events through the HTTP door, waits until all
is projected, and asks over HTTP, as an auditor, about every collection, use and share: was it consistent with a stated
purpose, and why? Exit 0 when each verdict is what was written by hand beside the seeded event, 1 when one is not.
"""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import typer

from api.cli import console
from api.cli.dev import NOT_FOR_PRODUCTION, DataDir, Port, fill, residents
from ledger.errors import LocalServerError

if TYPE_CHECKING:  # imported where it is used: other commands start without the servers' code
    from api.city.entry import Entry
    from api.city.table import Line, Table
    from api.cli.stack import Stack

_PATIENCE_S = 30.0
_STYLES = {"consistent": "green", "inconsistent": "red", "undetermined": "yellow"}
_COLUMNS = (("day", 10), ("what happened", 0), ("verdict", 12), ("why", 0), ("policy", 6))


def demo(
    data_dir: DataDir = None,
    port: Port = None,
) -> None:
    """Run the whole road once, and answer for each use and share whether it was consistent, and why."""
    from api.city.story import story
    from api.city.table import table
    from api.cli import stack

    out = console.get()
    started = time.monotonic()
    out.warn(NOT_FOR_PRODUCTION)
    try:
        with stack.opened(data_dir, port=port, say=out.say, subjects=residents()) as running:
            fill(running)
            stack.serve(running, out.say)
            entries = [*story(), *send_live(running)]
            running.wait_for_views()
            verdicts = ask(running, entries)
            found = table(verdicts, entries)
            _print(found, verdicts, statements(entries))
    except KeyboardInterrupt:
        raise LocalServerError("interrupted; all has been stopped") from None
    if not verdicts:
        raise typer.Exit(console.INCOMPLETE)
    as_seeded = "all as seeded" if not found.differences else f"{len(found.differences)} differences"
    out.say(f"{len(verdicts)} verdicts, {as_seeded}, in {time.monotonic() - started:.0f} s")
    if found.differences:
        raise typer.Exit(console.FINDING)


def send_live(running: "Stack") -> "Sequence[Entry]":
    """Sends today's events through the HTTP door, one client's token for all."""
    from api.city.live import live_events
    from api.cli.client import Client
    from api.cli.emit import BATCH_HEADERS

    entries = live_events(time.time_ns() // 1_000)
    console.get().say(f"sending {len(entries)} more events through the HTTP door")
    body = b"[" + b",".join(entry.raw for entry in entries) + b"]"
    with Client(running.url, running.tokens()["service"], _PATIENCE_S) as door:
        results = door.send("POST", "/v1/events", content=body, headers=BATCH_HEADERS).json()["results"]
    refused = [result for result in results if result.get("status") != 201]
    if refused:
        raise LocalServerError(f"the door refused {len(refused)} of the demo's own events")
    return entries


def ask(running: "Stack", entries: "Sequence[Entry]") -> list[dict[str, Any]]:
    """The auditor's question about every judged event, over HTTP."""
    from api.cli.client import Client

    judged = [entry for entry in entries if entry.expect is not None]
    out = console.get()
    out.say(f"asking, as the auditor, about {len(judged)} collections, uses and shares")
    verdicts = []
    with Client(running.url, running.tokens()["auditor"], _PATIENCE_S) as door, out.counting("asking") as counter:
        for entry in judged:
            position = door.get("/v1/records", source=entry.source, id=entry.id).json()["position"]
            verdicts.append(door.get(f"/v1/records/{position}/verdict").json())
            counter.update(len(verdicts), f"of {len(judged)}")
    return verdicts


def statements(entries: "Sequence[Entry]") -> Mapping[str, str]:
    """The words of the policy's statements and purposes."""
    policy = next(entry.data for entry in entries if entry.kind == "policy.published")
    return {s["id"]: s["text"] for s in (*policy["statements"], *policy["purposes"])}


def _print(found: "Table", verdicts: Sequence[Mapping[str, Any]], words: Mapping[str, str]) -> None:
    out = console.get()
    if out.json:
        for verdict in verdicts:
            out.data(verdict)
    else:
        rows = [_cells(line) for line in found.lines]
        out.table(_COLUMNS, rows, [_STYLES.get(line.outcome) for line in found.lines])
        out.data("The policy's own words:")
        cited = sorted({statement for line in found.lines for statement in line.statement.split(", ") if statement})
        for statement in cited:
            for text in console.wrapped(f"  {statement}  ", words.get(statement, "")):
                out.data(text)
        counts = Counter(verdict["outcome"] for verdict in verdicts)
        out.data("")
        outcomes = ", ".join(f"{counts[outcome]} {outcome}" for outcome in _STYLES)
        out.data(f"{len(verdicts)} judged, collections included: {outcomes}")
    for difference in found.differences:
        out.warn(f"NOT AS SEEDED: {difference}")
    out.flush()


def _cells(line: "Line") -> tuple[str, ...]:
    changed = "" if line.outcome == line.first_outcome else f"\nfirst:\n{line.first_outcome}"
    what = f"{line.service}: {line.what}, for {line.purpose}"
    return f"{line.day}\n{line.resident}", what, line.outcome + changed, line.reason, line.statement

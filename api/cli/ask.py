"""`consent-ledger ask POSITION`: was this collection, use or share consistent with a stated purpose, and why?

    $ consent-ledger ask 3-1041 --explain
    3-1041  inconsistent (first: consistent)  data.used of /services/permits, 2026-03-03T12:00:00Z
      violated  purpose-limitation/purpose-not-stated  email
                no stated purpose of a collection covers this
                statement 8, evidence 3-12 3-900

An event is named by its position, or by `--source` and `--id`. `--known-at P-O` asks for the answer as it was known
there. Exit: 0, or 1 when the verdict is inconsistent; 3 when there is no answer (yet).
"""

from typing import Annotated, Any

import typer

from api.cli import client, console
from ledger.errors import ConfigurationError, NotFound, NotYet
from ledger.events import TYPE_PREFIX
from ledger.log import Position


def ask(
    position: Annotated[str | None, typer.Argument(help="Where the event stands, P-O.", metavar="POSITION")] = None,
    source: Annotated[str | None, typer.Option(help="The event's source, with --id.", metavar="S")] = None,
    event_id: Annotated[str | None, typer.Option("--id", help="The event's id, with --source.", metavar="I")] = None,
    known_at: Annotated[
        str | None, typer.Option(help="Ask for the answer as known at this position.", metavar="P-O")
    ] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Show the statements and the evidence too.")] = False,
    ledger: Annotated[
        str | None, typer.Option(metavar="URL", help=f"The ledger; default: ${client.URL_VARIABLE}.")
    ] = None,
    patience: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="How long to wait for an answer that is on its way.")
    ] = 30.0,
) -> None:
    """Ask for the verdict of one event, with its reasons."""
    if (position is None) == (source is None and event_id is None) or (source is None) != (event_id is None):
        raise ConfigurationError("name the event: by its POSITION, or by --source and --id")
    if known_at is not None:
        Position.parse(known_at)
    out = console.get()
    with client.Client.from_environment(ledger, patience_s=patience) as door:
        if position is None:
            assert source is not None and event_id is not None
            position = _find(door, source, event_id)
        verdict = _verdict(door, str(Position.parse(position)), known_at)
        if out.json:
            out.data(verdict)
        else:
            texts = _policy_texts(door, verdict) if explain else {}
            records = _records(door, verdict) if explain else {}
            for line in describe(verdict, texts, records):
                out.data(line)
    out.flush()
    if verdict["outcome"] == "inconsistent":
        raise typer.Exit(console.FINDING)


def _find(door: client.Client, source: str, event_id: str) -> str:
    found = door.get("/v1/records", source=source, id=event_id).json()
    try:
        return str(found["position"])
    except (KeyError, TypeError):
        raise NotFound("the ledger knows no event of this source and id") from None


def _verdict(door: client.Client, position: str, known_at: str | None) -> dict[str, Any]:
    parameters = {"known_at": known_at} if known_at else {}
    verdict = door.get(f"/v1/records/{position}/verdict", **parameters).json()
    if not isinstance(verdict, dict) or "outcome" not in verdict:
        raise NotYet("what answers there is no consent ledger: it gave no verdict")
    return verdict


def _policy_texts(door: client.Client, verdict: dict[str, Any]) -> dict[str, str]:
    """The words of each statement and purpose of the policy that the verdict used."""
    used = verdict["policy"]
    if used is None:
        return {}
    for policy in door.get("/v1/policies").json()["policies"]:
        if (policy["policy_id"], policy["version"]) == (used["policy_id"], used["version"]):
            return {s["id"]: s["text"] for s in (*policy["statements"], *policy["purposes"])}
    return {}


def _records(door: client.Client, verdict: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The records that the findings cite: events, as they were recorded."""
    cited = dict.fromkeys(e for f in verdict["findings"] for e in f["evidence"])
    return {position: door.get(f"/v1/records/{position}").json() for position in cited}


def describe(
    verdict: dict[str, Any], texts: dict[str, str] | None = None, records: dict[str, dict[str, Any]] | None = None
) -> list[str]:
    """A verdict in words: its outcome, then each finding with statement and evidence."""
    texts, records = texts or {}, records or {}
    first = verdict["first_outcome"]
    changed = f" (first: {first})" if first != verdict["outcome"] else ""
    what = f"{verdict['id']} of {verdict['source']}, {verdict['as_of']}"
    lines = [f"{verdict['position']}  {verdict['outcome']}{changed}  {what}"]
    if verdict.get("superseded_by"):
        lines.append(f"  superseded by {verdict['superseded_by']}: ask again without --known-at")
    for finding in verdict["findings"]:
        categories = "  " + ", ".join(finding["categories"]) if finding["categories"] else ""
        lines.append(f"  {finding['result']:8}  {finding['rule']}/{finding['code']}{categories}")
        lines.append(f"            {finding['text']}")
        more = finding.get("evidence_total")
        beside = f" (of {more})" if more and more > len(finding["evidence"]) else ""
        cited = " ".join(finding["evidence"]) or "none"
        statement = finding["statement"]
        lines.append(f"            {f'statement {statement}, ' if statement else ''}evidence {cited}{beside}")
        if statement in texts:
            lines += console.wrapped("            ", f"“{texts[statement]}”")
        for position in finding["evidence"]:
            event = records.get(position)
            if event:
                kind = str(event.get("type", "")).removeprefix(TYPE_PREFIX).rpartition(".v")[0]
                lines.append(f"              {position}  {kind}  {event.get('source')}  {event.get('time')}")
    return lines

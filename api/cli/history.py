"""`consent-ledger history POSITION`: every verdict that an event has had, from when to when, and what changed it.

    $ consent-ledger history 3-1041
    3-1041  2 verdicts  data.used e7 of /services/permits, 2026-03-03T12:00:00Z
      from 3-1041 until 3-1050  consistent
        brought by the event itself
        holds     policy-in-force/2018-04-18
        holds     purpose-limitation/consent  email
      from 3-1050 on  inconsistent
        brought by 3-1050  consent.withdrawn of /my, 2026-03-03T11:00:00Z
        outcome: was consistent, is inconsistent
      + violated  purpose-limitation/purpose-not-stated  email
                  no stated purpose of a collection covers this
      - holds     purpose-limitation/consent  email

The first verdict lists what it found; each later one what came (+), what went (-), and what stayed with other
categories or evidence (~). Exit: 0, or 1 when the verdict of now is inconsistent; 3 when there is no answer (yet).
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from api.cli import client, console
from ledger.errors import NotYet
from ledger.log import Position

_PAGE, _MAX_PAGES = 200, 500


def history(
    position: Annotated[str, typer.Argument(help="Where the event stands, P-O.", metavar="POSITION")],
    ledger: Annotated[
        str | None, typer.Option(metavar="URL", help=f"The ledger; default: ${client.URL_VARIABLE}.")
    ] = None,
    patience: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="How long to wait for an answer that is on its way.")
    ] = 30.0,
) -> None:
    """Show every verdict that an event has had, from when to when, and what changed it."""
    out = console.get()
    at = Position.parse(position)
    with client.Client.from_environment(ledger, patience_s=patience) as door:
        found = _whole(door, f"/v1/records/{at}/history")
    if out.json:
        out.data(found)
    else:
        for line in describe(found):
            out.data(line)
    out.flush()
    if found["verdicts"][-1]["outcome"] == "inconsistent":
        raise typer.Exit(console.FINDING)


def _whole(door: client.Client, path: str) -> dict[str, Any]:
    """All pages as one; raises `NotYet` when there is no history, or one longer than 100,000 verdicts."""
    found: dict[str, Any] = {}
    parameters = {"limit": str(_PAGE)}
    for _ in range(_MAX_PAGES):
        response = door.get(path, **parameters)
        page = response.json()
        if not isinstance(page, dict) or "verdicts" not in page:
            # A record that a law holds back, or what answers is no ledger.
            raise NotYet("the ledger shows no verdicts of this event")
        found = {**page, "verdicts": [*found.get("verdicts", []), *page["verdicts"]]}
        following = response.links.get("next")
        if following is None:
            break
        parameters = {"limit": str(_PAGE), "cursor": str(following["url"]).rpartition("cursor=")[2]}
    else:
        raise NotYet("there are more verdicts than can be listed")
    if not found["verdicts"]:
        raise NotYet("the ledger shows no verdicts of this event")
    return found


def describe(found: Mapping[str, Any]) -> list[str]:
    """A history in words."""
    count = len(found["verdicts"])
    event = f"{found['kind']} {found['id']} of {found['source']}, {found['as_of']}"
    lines = [
        f"{found['position']}  {count:,} verdict{'s' if count != 1 else ''}  {event}",
    ]
    for verdict in found["verdicts"]:
        lines.append(f"  {_span(verdict)}  {verdict['outcome']}")
        lines.append(f"    brought by {_bringer(verdict['brought_by'], found['position'])}")
        changed = verdict["changed"]
        if changed is None:
            lines += _findings(" ", verdict["findings"])
            continue
        if changed["outcome"] is not None:
            lines.append(f"    outcome: was {changed['outcome']['from']}, is {changed['outcome']['to']}")
        for mark, name in (("+", "came"), ("-", "went"), ("~", "altered")):
            lines += _findings(mark, changed[name])
    return lines


def _span(verdict: Mapping[str, Any]) -> str:
    """From when to when; a place that a law holds back is not told.

    >>> _span({"known_from": "3-41", "known_until": None, "current": True})
    'from 3-41 on'
    >>> _span({"known_from": None, "known_until": "3-50", "current": False})
    'from (held back) until 3-50'
    """
    start = verdict["known_from"] or "(held back)"
    return f"from {start} on" if verdict["current"] else f"from {start} until {verdict['known_until'] or '(held back)'}"


def _bringer(record: Mapping[str, Any], position: str) -> str:
    if "position" not in record:
        return f"a record that a law holds back until {record['until']}: {record['citation']}"
    if record["position"] == position:
        return "the event itself"
    return f"{record['position']}  {record['kind']} of {record['source']}, {record['time']}"


def _findings(mark: str, findings: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = []
    for finding in findings:
        categories = "  " + ", ".join(finding["categories"]) if finding["categories"] else ""
        lines.append(f"  {mark} {finding['result']:8}  {finding['rule']}/{finding['code']}{categories}")
        if mark != "-":
            lines.append(f"              {finding['text']}")
            lines.append(f"              evidence {' '.join(finding['evidence']) or 'none'}")
    return lines

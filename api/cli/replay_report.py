"""What `consent-ledger replay` says of a rebuild, and of a comparison: a line for each view, or one JSON object.

timeline         270 live, 270 rebuilt, no difference
verdicts         112 live, 111 rebuilt, 1 DIFFER
  first:   3-1041
"""

from typing import TYPE_CHECKING, Any

import typer

from api.cli import console

if TYPE_CHECKING:  # imported where they are used: other commands start without the servers' code
    from replay.compare import Comparison, Difference
    from replay.rebuild import Rebuilt


def tell_rebuilt(rebuilt: "Rebuilt") -> None:
    """What a rebuild came to; exits with 3 when it is not complete, or empty."""
    out = console.get()
    halted = {str(p): str(error) for p, error in sorted(rebuilt.halted.items())}
    if out.json:
        through = {str(p): offset for p, offset in sorted(rebuilt.positions.items())}
        said = {"schema": rebuilt.schema, "events": rebuilt.events, "through": through, "complete": rebuilt.complete}
        out.data({**said, "halted": halted})
    else:
        out.data(f"{rebuilt.schema}: {rebuilt.events} records projected")
    out.flush()
    for reason in halted.values():
        out.warn(reason)
    if not rebuilt.complete or not rebuilt.events:
        raise typer.Exit(console.INCOMPLETE)


def tell_compared(found: "Comparison", show_rows: bool) -> None:
    """Every view, and where the first difference is; exits with 1 when there is one."""
    out = console.get()
    if out.json:
        out.data(_json(found, show_rows))
    else:
        for view in found.views:
            differs = f"{view.different} DIFFER" if view.different else "no difference"
            out.data(f"{view.name:16} {view.live_rows} live, {view.rebuilt_rows} rebuilt, {differs}")
            if view.first is not None:
                out.data(f"  first:   {_place(view.first)}")
            if view.first is not None and show_rows:
                out.data(f"  live:    {view.first.live or '(no such row)'}")
                out.data(f"  rebuilt: {view.first.rebuilt or '(no such row)'}")
    out.flush()
    for error in found.halted.values():
        out.warn(str(error))
    if not found.equal:
        out.problem({"title": "Different", "detail": "the live views are not what the log says"})
        raise typer.Exit(console.FINDING)
    if not found.complete:
        out.problem({"title": "Incomplete", "detail": "not everything that the live views hold could be rebuilt"})
        raise typer.Exit(console.INCOMPLETE)
    out.say(f"{found.events} records replayed; the live views are what the log says")


def _place(first: "Difference") -> str:
    """Where the first difference is."""
    records = first.records or "no record of the log"
    return records if first.tile is None else f"{records} in {first.tile}"


def _json(found: "Comparison", show_rows: bool) -> dict[str, Any]:
    views = []
    for view in found.views:
        said: dict[str, Any] = {
            "view": view.name,
            "live_rows": view.live_rows,
            "rebuilt_rows": view.rebuilt_rows,
            "different": view.different,
        }
        if view.first is not None:
            said["first"] = {"records": view.first.records, "tile": view.first.tile}
            if show_rows:
                said["first"] |= {"live": view.first.live, "rebuilt": view.first.rebuilt}
        views.append(said)
    return {
        "equal": found.equal,
        "complete": found.complete,
        "records": found.events,
        "through": {str(p): offset for p, offset in sorted(found.positions.items())},
        "views": views,
    }

"""`consent-ledger replay`: builds every view anew from the log; with `--compare`, are the live views what the log says?

    $ CONSENT_LEDGER_CONFIG=data/consent-ledger.env consent-ledger replay --compare
    timeline    270 live, 270 rebuilt, no difference
    …

Needs CONSENT_LEDGER_KAFKA and CONSENT_LEDGER_OWNER_DATABASE, the role `ledger_owner`: it makes a schema beside the live
one. Readers notice nothing. Exit: 0 no difference; 1 a row differs; 3 when not everything could be rebuilt, or when
there was nothing to compare. A difference is named by position; rows may hold what is about residents, so they are
shown only with `--show-rows`.
"""

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from api.cli import console
from api.cli.operator import OWNER_DATABASE, secret_setting

if TYPE_CHECKING:  # imported where they are used: other commands start without the servers' code
    from projections.worker import Progress
    from replay.compare import Comparison, Difference

_LOOK_EVERY_S = 0.2
_Result = TypeVar("_Result")


def replay(
    compare: Annotated[bool, typer.Option("--compare", help="Compare with the live views, row by row.")] = False,
    show_rows: Annotated[
        bool, typer.Option("--show-rows", help="Show the first row that differs; it may be about a resident.")
    ] = False,
) -> None:
    """Build every view anew from position 0, beside the live ones; compare them row by row."""
    from api.cli.serve import load_settings
    from projections.worker import Progress
    from replay.compare import compare as compare_views
    from replay.rebuild import rebuild

    out = console.get()
    settings = load_settings("kafka")
    owner = secret_setting(OWNER_DATABASE)
    progress = Progress()
    if compare:
        found = _watched(
            lambda stop: compare_views(
                settings.kafka, owner, owner, topic=settings.topic, progress=progress, stop=stop
            ),
            progress,
        )
        _report(found, show_rows)
        return
    rebuilt = _watched(
        lambda stop: rebuild(settings.kafka, owner, owner, topic=settings.topic, progress=progress, stop=stop), progress
    )
    halted = {str(p): str(error) for p, error in sorted(rebuilt.halted.items())}
    if out.json:
        out.data({"schema": rebuilt.schema, "events": rebuilt.events, "halted": halted})
    else:
        out.data(f"{rebuilt.schema}: {rebuilt.events} records projected")
    out.flush()
    for reason in halted.values():
        out.warn(reason)
    if halted or not rebuilt.events:
        raise typer.Exit(console.INCOMPLETE)


def _watched(work: Callable[[threading.Event], _Result], progress: "Progress") -> _Result:
    """Does the work in a thread, so that Ctrl-C is heard and progress is seen; raises what it raises."""
    stop = threading.Event()
    results: list[_Result] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work(stop))
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, name="replay")
    with console.get().counting("replaying") as counter:
        thread.start()
        try:
            while thread.is_alive():
                thread.join(_LOOK_EVERY_S)
                counter.update(progress.events, "records")
        except KeyboardInterrupt:
            stop.set()
            thread.join()
            raise
    if errors:
        raise errors[0]
    return results[0]


def _report(found: "Comparison", show_rows: bool) -> None:
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

"""`consent-ledger replay`: builds every view anew from the log, beside the live ones; compares them; makes them live.

    $ CONSENT_LEDGER_CONFIG=data/consent-ledger.env consent-ledger replay --compare
    timeline    270 live, 270 rebuilt, no difference
    …
    $ consent-ledger replay --swap                      # readers notice nothing, live workers go on by themselves
    $ consent-ledger replay --until 3-1041              # the views as they were when 3-1041 was the last record of 3

Needs CONSENT_LEDGER_KAFKA and CONSENT_LEDGER_OWNER_DATABASE, the role `ledger_owner`: it makes a schema beside the live
one. A replay that was stopped or killed goes on when the same command is given again (docs/spec/replay.md). Exit: 0
done, no difference; 1 a row differs; 3 when not everything could be rebuilt, or when there was nothing. A difference is
named by position; rows may hold what is about residents, so they are shown only with `--show-rows`.
"""

import os
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, TypeVar

import typer

from api.cli import console
from api.cli.operator import OWNER_DATABASE, secret_setting
from api.cli.pace import paced
from api.cli.replay_report import tell_compared, tell_rebuilt
from ledger.errors import ConfigurationError, Malformed, ProjectionError

if TYPE_CHECKING:  # imported where they are used: other commands start without the servers' code
    from projections.rebuilds import Purpose
    from projections.worker import Progress
    from replay.rebuild import Rebuilt

_LOOK_EVERY_S = 0.2
_PHASES = {"indexes": "making the indexes", "comparing": "comparing row by row", "swapping": "swapping"}
_Result = TypeVar("_Result")


class _Where(NamedTuple):
    """The servers, and how many processes do the work."""

    kafka: str
    topic: str
    owner: str
    workers: int


def replay(
    compare: Annotated[bool, typer.Option("--compare", help="Compare with the live views, row by row.")] = False,
    swap: Annotated[bool, typer.Option("--swap", help="Make the rebuilt views the live ones.")] = False,
    until: Annotated[
        list[str] | None,
        typer.Option(
            metavar="P-O", help="The last record of a partition to be in it; again, or with commas, for others."
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, max=64, help="How many processes; as many as there are cores by default.")
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Begin anew, also where one could be gone on with.")] = False,
    schema: Annotated[
        str | None, typer.Option(metavar="NAME", help="The rebuilt schema to go on with, or to make live.")
    ] = None,
    drop_old: Annotated[
        bool, typer.Option("--drop-old", help="Drop the schemas whose place others have taken.")
    ] = False,
    show_rows: Annotated[
        bool, typer.Option("--show-rows", help="Show the first row that differs; it may be about a resident.")
    ] = False,
) -> None:
    """Build every view anew from position 0, beside the live ones; compare them, or make them live."""
    from api.cli.serve import load_settings
    from replay.processes import only_own_words

    only_own_words()
    if (compare and (swap or drop_old)) or (until and (compare or swap or drop_old)):
        raise ConfigurationError("--compare, --swap and --until are three different things: give one of them")
    if fresh and schema:
        raise ConfigurationError("--fresh begins anew, --schema goes on: give one of them")
    named = positions(until or [])
    settings = load_settings("kafka")
    where = _Where(settings.kafka, settings.topic, secret_setting(OWNER_DATABASE), workers or os.cpu_count() or 1)
    if compare:
        _compare(where, fresh, schema, show_rows)
    elif swap:
        _swap(where, fresh, schema, drop_old)
    elif drop_old:
        _drop_old(where)
    else:
        _replay(where, fresh, schema, named)


def positions(given: Sequence[str]) -> dict[int, int]:
    """By partition the first offset that is not wanted any more.

    >>> positions(["3-1041,0-7", "1-0"])
    {3: 1042, 0: 8, 1: 1}
    """
    from ledger.log import Position

    found: dict[int, int] = {}
    for text in ",".join(given).split(",") if given else ():
        try:
            position = Position.parse(text.strip())
        except Malformed:
            raise ConfigurationError("--until takes positions like 3-1041, with commas between them") from None
        if position.partition in found:
            raise ConfigurationError(f"--until names partition {position.partition} twice")
        found[position.partition] = position.offset + 1
    return found


# --- what it does -----------------------------------------------------------------------------------------------


def _replay(where: _Where, fresh: bool, schema: str | None, named: dict[int, int]) -> None:
    from projections.rebuilds import REPLAY, Purpose

    purpose = Purpose(where.topic, dict(sorted(named.items())) or None, REPLAY)
    rebuilt = _rebuilt(where, purpose, _begun(where, purpose, fresh, schema), named)
    tell_rebuilt(rebuilt)


def _rebuilt(where: _Where, purpose: "Purpose", schema: str | None, named: dict[int, int]) -> "Rebuilt":
    from replay.rebuild import ends, rebuild

    until = ends(where.kafka, where.topic, named) if named else None

    def work(progress: "Progress", stop: threading.Event) -> "Rebuilt":
        return rebuild(
            where.kafka,
            where.owner,
            where.owner,
            schema=schema,
            topic=where.topic,
            until=until,
            workers=where.workers,
            purpose=purpose,
            progress=progress,
            stop=stop,
        )

    return _watched(work)


def _compare(where: _Where, fresh: bool, schema: str | None, show_rows: bool) -> None:
    from projections.rebuilds import COMPARE, Purpose
    from replay.compare import compare

    begun = _begun(where, Purpose(where.topic, None, COMPARE), fresh, schema)
    found = _watched(
        lambda progress, stop: compare(
            where.kafka,
            where.owner,
            where.owner,
            topic=where.topic,
            schema=begun,
            workers=where.workers,
            progress=progress,
            stop=stop,
        )
    )
    tell_compared(found, show_rows)


def _swap(where: _Where, fresh: bool, schema: str | None, drop_old: bool) -> None:
    from projections.rebuilds import SWAP, Purpose
    from replay.swap import swap

    out = console.get()
    purpose = Purpose(where.topic, None, SWAP)
    rebuilt = _rebuilt(where, purpose, _begun(where, purpose, fresh, schema), {})
    for error in rebuilt.halted.values():  # live views stand still there too, or they are further, which `swap` refuses
        out.warn(str(error))
    if not rebuilt.events or not (rebuilt.complete or rebuilt.halted):
        raise ProjectionError(f"{rebuilt.schema} is not complete, or empty: the live views stay as they are")

    def work(progress: "Progress", stop: threading.Event) -> Any:
        progress.phase = "swapping"
        return swap(where.kafka, where.owner, where.owner, rebuilt.schema, topic=where.topic, stop=stop)

    swapped = _watched(work)
    if out.json:
        through = {str(p): offset for p, offset in sorted(swapped.positions.items())}
        held = round(swapped.held_s, 3)
        out.data({"live": swapped.live, "old": swapped.old, "through": through, "workers_waited_s": held})
    else:
        out.data(f"{swapped.live}: now the rebuilt views; live workers waited {swapped.held_s:.1f} s")
    out.flush()
    if drop_old:
        _drop_old(where)
    else:
        out.say(f"the old views are kept as {swapped.old}; to drop them: consent-ledger replay --drop-old")


def _drop_old(where: _Where) -> None:
    from projections import schema as schemas
    from projections.swap import replaced

    out = console.get()
    dropped = replaced(where.owner, schemas.LIVE)
    for name in dropped:
        schemas.drop(where.owner, name)
    if out.json:
        out.data({"dropped": dropped})
    else:
        out.data(f"dropped: {', '.join(dropped) or 'none, there was none'}")


def _begun(where: _Where, purpose: "Purpose", fresh: bool, schema: str | None) -> str | None:
    """The schema to go on with, if there is one; says so. With `--fresh` it is dropped."""
    from projections import schema as schemas
    from projections.building import Building
    from projections.rebuilds import unfinished

    if schema is not None:
        if Building(where.owner, schema).state() is None:
            raise ConfigurationError("--schema names no rebuild that was begun in this database")
        return schema
    found = unfinished(where.owner, purpose)
    if found is None:
        return None
    if fresh:
        with Building(where.owner, found).alone():
            schemas.drop(where.owner, found)
        console.get().say(f"{found} was begun before and is dropped")
        return None
    console.get().say(f"going on with {found}, which was begun before (--fresh begins anew)")
    return found


def _watched(work: Callable[["Progress", threading.Event], _Result]) -> _Result:
    """Does the work in a thread, so that Ctrl-C is heard and progress is seen; raises what it raises."""
    from projections.worker import Progress

    progress, stop = Progress(), threading.Event()
    results: list[_Result] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work(progress, stop))
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, name="replay", daemon=True)  # a second Ctrl-C does not wait
    with paced(console.get(), "replaying") as shown:
        thread.start()
        try:
            while thread.is_alive():
                thread.join(_LOOK_EVERY_S)
                shown(progress.events, progress.total, _PHASES.get(progress.phase, progress.phase))
        except KeyboardInterrupt:
            stop.set()
            thread.join()
            raise
    if errors:
        raise errors[0]
    return results[0]

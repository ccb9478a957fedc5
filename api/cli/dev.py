"""`consent-ledger dev`: the whole product on this machine, seeded with a small fictional city, until Ctrl-C.

    $ consent-ledger dev --data-dir city
    $ consent-ledger dev --json --empty        # one line of JSON once all is ready; for scripts and tests
    $ consent-ledger dev tamper record 3-17 --data-dir city        # api.cli.tamper

A log that is not what its checkpoints say is not served: the place is named, all is stopped, exit 3.

Not for production: it makes its own keys, tokens and passwords, and keeps them beside the data.
"""

import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from api.cli import console
from api.cli.tamper import app as tamper_app
from ledger.errors import LocalServerError

if TYPE_CHECKING:  # imported where it is used: other commands start without the servers' code
    from api.cli.stack import Stack

NOT_FOR_PRODUCTION = (
    "FOR DEVELOPMENT ONLY, NOT FOR PRODUCTION: keys, passwords and tokens lie beside the data, on one machine."
)
DataDir = Annotated[
    Path | None, typer.Option(metavar="FOLDER", help="Keep the data here; default: a temporary folder.")
]
Port = Annotated[
    int | None, typer.Option(min=0, max=65_535, help="The API's port; default: 8080, or one that is free.")
]
_LOOK_EVERY_S = 0.5

app = typer.Typer(invoke_without_command=True, add_completion=False, rich_markup_mode=None)
app.add_typer(tamper_app, name="tamper")


def residents() -> list[str]:
    """The pseudonyms of the city's residents."""
    from api.city.story import story

    return sorted({entry.subject for entry in story() if entry.subject is not None})


def fill(running: "Stack") -> None:
    """Seeds the city into a log that is empty, or goes on where a killed run left off; before the API starts."""
    from api.city.seed import StoryClock, seed
    from api.http.runtime import parts
    from ledger.kafka.reader import Reader

    out = console.get()
    unfinished = running.folder / "seeding"
    with Reader(running.kafka, running.settings.topic) as reader:
        empty = not any(reader.heads(*range(reader.partitions)).values())
    if not empty and not unfinished.exists():
        out.say("the log holds events already: not seeding")
        return
    unfinished.touch()
    clock = StoryClock()
    with parts(running.settings, clock) as runtime, out.counting("seeding the city") as counter:
        seeded = seed(runtime.recorder, clock, progress=lambda done, of: counter.update(done, f"of {of}"))
    unfinished.unlink()
    out.say(f"seeded the city: {seeded.new + seeded.known} events of two years, {len(residents())} residents")


def ready_line(running: "Stack") -> dict[str, Any]:
    """What `dev --json` prints once all is ready."""
    from ledger.kafka.intake import topic_of

    return {
        "api": running.url,
        "kafka": running.kafka,
        "database": running.database,
        "vkeys": list(running.settings.checkpoint_vkeys),
        "tokens": running.tokens(),
        "intake": [topic_of(client) for client in running.settings.intake_clients],
    }


@app.callback()
def dev(
    context: typer.Context,
    data_dir: DataDir = None,
    empty: Annotated[bool, typer.Option("--empty", help="Leave the log empty, without even a policy.")] = False,
    port: Port = None,
    servers_only: Annotated[
        bool,
        typer.Option("--servers-only", help="Only Kafka and PostgreSQL, to look at a log that is not what was signed."),
    ] = False,
) -> None:
    """Start the whole product on this machine, for development: Kafka, PostgreSQL, API, worker, signer, a city."""
    if context.invoked_subcommand is not None:
        return
    from api.cli import stack

    out = console.get()
    out.warn(NOT_FOR_PRODUCTION)
    ready = False
    try:
        with stack.opened(data_dir, port=port, say=out.say, subjects=residents(), servers_only=servers_only) as running:
            if servers_only:
                ready = True
                _announce_servers(running)
                _watch(running)
            if not empty:
                fill(running)
            stack.serve(running, out.say)
            running.wait_for_views()
            for partition in running.wait_for_checkpoints():
                out.warn(f"partition {partition} is not signed: `doctor` says why, {running.folder}/logs/sign.log too")
            _announce(running, empty)
            ready = True
            _watch(running)
    except KeyboardInterrupt:
        if not ready:
            raise LocalServerError("interrupted before everything was ready; all has been stopped") from None
        out.say("stopped")


def _watch(running: "Stack") -> NoReturn:
    """Until Ctrl-C, or until a part ends by itself."""
    while True:
        running.check()
        time.sleep(_LOOK_EVERY_S)


def _announce_servers(running: "Stack") -> None:
    out = console.get()
    vkeys = list(running.settings.checkpoint_vkeys)
    if out.json:
        out.data({"kafka": running.kafka, "database": running.database, "vkeys": vkeys})
    else:
        look = " ".join(f"--trusted-key {vkey}" for vkey in vkeys)
        out.data("Kafka and PostgreSQL run, and nothing writes. To look:")
        out.data(f"  CONSENT_LEDGER_CONFIG={running.config} consent-ledger verify-log {look}")
        out.data(f"  CONSENT_LEDGER_CONFIG={running.config} consent-ledger replay --compare")
    out.flush()
    out.say("Ctrl-C stops them")


def _announce(running: "Stack", empty: bool) -> None:
    out = console.get()
    if out.json:
        out.data(ready_line(running))
    else:
        for line in welcome(running, empty):
            out.data(line)
    out.flush()
    out.warn(NOT_FOR_PRODUCTION)
    out.say("Ctrl-C stops everything")


def welcome(running: "Stack", empty: bool) -> list[str]:
    """Addresses, tokens and three next commands."""
    from api.city.story import expectations
    from ledger.kafka.intake import topic_of

    tokens = running.tokens()
    source, event_id = next(key for key, expect in expectations().items() if expect.outcome == "inconsistent")
    lines = [
        "Consent Ledger is ready.",
        "",
        f"  API         {running.url}",
        f"  Kafka       {running.kafka}",
        f"  PostgreSQL  {running.database}",
        *(f"  intake      {topic_of(client)}" for client in running.settings.intake_clients),
        f"  data        {running.folder}",
        *(f"  key         {vkey}" for vkey in running.settings.checkpoint_vkeys),
        "",
        "Tokens:",
        *(f"  {role:9} {tokens[role]}" for role in ("service", "auditor", "operator", "second_operator")),
        *(f"  {subject:9} {token}" for subject, token in tokens["residents"].items()),
        "",
        "Next:",
        f"  export CONSENT_LEDGER_URL={running.url} CONSENT_LEDGER_TOKEN={tokens['auditor']}",
    ]
    program = "consent-ledger" if shutil.which("consent-ledger") else sys.argv[0]
    operate = f"CONSENT_LEDGER_CONFIG={running.config} {program} doctor"
    if empty:
        publish = f"{program} policy show | CONSENT_LEDGER_TOKEN=<service token> {program} policy publish -"
        return [*lines, f"  {publish}", f"  {operate}", f"  {program} policy show --live"]
    return [
        *lines,
        f"  {program} ask --source {source} --id {event_id} --explain",
        f"  curl -H 'Authorization: Bearer '$CONSENT_LEDGER_TOKEN {running.url}/v1/residents/{residents()[0]}/log",
        f"  {operate}",
    ]

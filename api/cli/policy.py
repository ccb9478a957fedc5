"""`consent-ledger policy show|check|publish`: a policy as data.

$ consent-ledger policy show > policy.json          # the My San Jose policy that ships with the product
$ consent-ledger policy check policy.json           # every problem with its pointer; exit 2 when there is one
$ consent-ledger policy publish policy.json         # sends policy.published through the ledger's door
"""

import hashlib
import time
from importlib import resources
from typing import Annotated, Any

import orjson
import typer

from api.cli import client, console
from api.cli.judge import Unreadable, opened
from ledger import policy as policies
from ledger.codec import rfc3339
from ledger.errors import Conflict, Malformed, TooLarge
from ledger.events import KINDS, PolicyPublished

app = typer.Typer(help="A policy as data: show, check, publish.", no_args_is_help=True, rich_markup_mode=None)
SOURCE = "/policy-office"
MAX_POLICY_FILE_BYTES = 1024 * 1024
File = Annotated[str, typer.Argument(help="A policy as JSON, `-` for stdin.", metavar="FILE", show_default=False)]
Ledger = Annotated[str | None, typer.Option(metavar="URL", help=f"The ledger; default: ${client.URL_VARIABLE}.")]


@app.command()
def show(
    live: Annotated[bool, typer.Option("--live", help="The policies of a ledger, not the one that ships.")] = False,
    ledger: Ledger = None,
) -> None:
    """Print the My San Jose policy that ships with the product, or those of a ledger."""
    out = console.get()
    if live:
        with client.Client.from_environment(ledger, token_needed=False) as door:
            answer = door.get("/v1/policies").json()
        out.data(orjson.dumps(answer, option=orjson.OPT_INDENT_2).decode() if not out.json else answer)
    else:
        raw = resources.files("ledger").joinpath("policies", policies.MY_SAN_JOSE).read_bytes()
        out.data(raw.decode().rstrip("\n") if not out.json else orjson.loads(raw))
    out.flush()


@app.command()
def check(file: File) -> None:
    """Check a policy: ids that repeat, references that lead nowhere, parents in a cycle, unknown fields."""
    out = console.get()
    policy = read_policy(file)
    counts = _counts(policy)
    if out.json:
        out.data({"policy_id": policy.policy_id, "version": policy.version, **counts})
    else:
        said = ", ".join(f"{count} {name}" for name, count in counts.items())
        out.data(f"{policy.policy_id} {policy.version}: no problem found ({said})")
    out.flush()


@app.command()
def publish(
    file: File,
    source: Annotated[str, typer.Option(help="On whose behalf: a source of the token.", metavar="S")] = SOURCE,
    ledger: Ledger = None,
) -> None:
    """Publish a policy: sends policy.published through the ledger's door; sending the same again is harmless."""
    out = console.get()
    raw = _read(file)
    policies.load(raw)
    data = orjson.dumps(orjson.loads(raw))
    # The id is the content's: publishing the same policy again is the same event, whenever that is.
    event = {
        "specversion": "1.0",
        "id": f"policy-{hashlib.sha256(data).hexdigest()[:32]}",
        "source": source,
        "type": KINDS["policy.published"].type,
        "time": rfc3339(time.time_ns() // 1_000),
        "datacontenttype": "application/json",
        "data": orjson.Fragment(data),
    }
    with client.Client.from_environment(ledger) as door:
        answer = _send(door, orjson.dumps(event))
    if out.json:
        out.data(answer)
    else:
        out.data(f"{answer['position']}  {'published' if answer['new'] else 'was published before'}")
    out.flush()


def read_policy(file: str) -> PolicyPublished:
    """A policy as JSON, `-` for stdin; prints every problem with its pointer and exits 2 when it is malformed."""
    out = console.get()
    try:
        return policies.load(_read(file))
    except Malformed as error:
        if out.json:
            raise
        for problem in error.problems:
            out.data(f"{problem.pointer or '/'}: {problem.code}")
        out.flush()
        out.problem({"title": "Malformed policy", "detail": f"{file} has {len(error.problems)} problem(s)"})
        raise typer.Exit(console.USAGE) from None


def _send(door: client.Client, event: bytes) -> dict[str, Any]:
    headers = {"content-type": "application/cloudevents+json"}
    try:
        response = door.send("POST", "/v1/events", content=event, headers=headers)
    except Conflict as error:  # the same policy, published at another time
        return {"position": error.position, "new": False}
    answer = response.json()
    return {"position": answer["position"], "new": response.status_code == 201, "receipt": answer.get("receipt")}


def _read(file: str) -> bytes:
    with opened(file) as stream:
        try:
            raw = stream.read(MAX_POLICY_FILE_BYTES + 1)
        except OSError as error:
            raise Unreadable(f"{file} cannot be read: {error.strerror}") from None
    if len(raw) > MAX_POLICY_FILE_BYTES:
        raise TooLarge(f"{file} is larger than {MAX_POLICY_FILE_BYTES} bytes: no event can hold it")
    return raw


def _counts(policy: PolicyPublished) -> dict[str, int]:
    names = ("statements", "purposes", "categories", "operations", "consistent", "recipients", "legal_bases")
    return {name: len(getattr(policy, name)) for name in names}

"""`consent-ledger erase SUBJECT`: an operator's erasure of a resident, carried out once a second operator approves it.

    $ consent-ledger erase res_7f2c                       # everything, and the key; --category C: only that, repeatable
    dd234c6f899e42249e14eae8d2de740c  awaiting-approval  res_7f2c  everything  asked by operator
    $ consent-ledger erase --approve dd234c6f899e42249e14eae8d2de740c        # with another operator's token
    $ consent-ledger erase --withdraw dd234c6f899e42249e14eae8d2de740c       # instead, while it waits
    $ consent-ledger erase --list

What is destroyed cannot be brought back, and no proof breaks by it (docs/spec/erasure.md). Exit: 0; 3 when it was
approved and is still being carried out, or when --list is not the whole of them.
"""

import uuid
from typing import Annotated, Any
from urllib.parse import quote

import typer

from api.cli import client, console
from ledger.errors import ConfigurationError, Conflict, NotYet

_JSON = {"content-type": "application/json"}
_PATH = "/v1/erasures"
_PAGE, _MAX_PAGES = 500, 20


def erase(
    subject: Annotated[str | None, typer.Argument(help="The resident's pseudonym.", metavar="SUBJECT")] = None,
    category: Annotated[
        list[str] | None, typer.Option("--category", help="Only this category; may be given again.", metavar="C")
    ] = None,
    approve: Annotated[str | None, typer.Option(help="Approve what another operator asked for.", metavar="ID")] = None,
    withdraw: Annotated[str | None, typer.Option(help="Withdraw one that waits for approval.", metavar="ID")] = None,
    listing: Annotated[bool, typer.Option("--list", help="List erasures, the newest first.")] = False,
    ledger: Annotated[
        str | None, typer.Option(metavar="URL", help=f"The ledger; default: ${client.URL_VARIABLE}.")
    ] = None,
) -> None:
    """Erase a resident, with the approval of a second operator."""
    if sum((subject is not None, approve is not None, withdraw is not None, listing)) != 1:
        raise ConfigurationError("say one of: SUBJECT, --approve ID, --withdraw ID, --list")
    if category and subject is None:
        raise ConfigurationError("--category goes with a SUBJECT")
    with client.Client.from_environment(ledger) as door:
        if listing:
            _list(door)
        elif approve is not None:
            _tell(_send(door, "POST", approve, "/approval", json={}))
        elif withdraw is not None:
            _tell(_send(door, "DELETE", withdraw, ""))
        else:
            assert subject is not None
            _ask(door, subject, category or [])


def _ask(door: client.Client, subject: str, categories: list[str]) -> None:
    # A key of this call's own: what a broken connection makes the client send again is the same asking.
    headers = {**_JSON, "idempotency-key": uuid.uuid4().hex}
    body = {"subject": subject, **({"categories": categories} if categories else {})}
    found = door.send("POST", _PATH, json=body, headers=headers).json()
    _tell(found)
    console.get().say(f"another operator approves it: consent-ledger erase --approve {found['erasure_id']}")


def _send(door: client.Client, method: str, erasure_id: str, more: str, **request: Any) -> dict[str, Any]:
    path = f"{_PATH}/{quote(erasure_id, safe='')}"
    try:
        found: dict[str, Any] = door.send(method, path + more, **request).json()
    except Conflict:
        state = door.get(path).json()["state"]
        raise ConfigurationError(f"this erasure is {state}: it no longer waits for approval") from None
    return found


def _tell(found: dict[str, Any]) -> None:
    out = console.get()
    out.data(found if out.json else line(found))
    out.flush()
    if found["state"] == "in-progress":
        raise NotYet("it is being carried out: `erase --list` says how far it is")


def _list(door: client.Client) -> None:
    """Every erasure, the newest first, at most 10,000; raises `NotYet` after them when there are more."""
    out = console.get()
    found: list[dict[str, Any]] = []
    parameters, more = {"limit": str(_PAGE)}, True
    for _ in range(_MAX_PAGES):
        response = door.get(_PATH, **parameters)
        found += response.json()["erasures"]
        following = response.links.get("next")
        if following is None:
            more = False
            break
        parameters = {"limit": str(_PAGE), "cursor": str(following["url"]).rpartition("cursor=")[2]}
    if out.json:
        out.data({"erasures": found})
    else:
        for one in found:
            out.data(line(one))
    out.flush()
    if more:
        raise NotYet(f"there are more: only the newest {len(found):,} are listed")
    if not found:
        out.say("no erasure was ever asked for")


def line(found: dict[str, Any]) -> str:
    """One erasure in one line.

    >>> line({"erasure_id": "x1", "state": "done", "subject": "res_7f2c", "categories": ["email"], "asked_by": "op-1",
    ...     "approved_by": "op-2", "position": "3-41"})
    'x1  done  res_7f2c  email  asked by op-1, approved by op-2  3-41'
    """
    who = f"asked by {found['asked_by']}" + (f", approved by {found['approved_by']}" if found["approved_by"] else "")
    what = ", ".join(found["categories"]) if found["categories"] else "everything"
    parts = (found["erasure_id"], found["state"], found["subject"], what, who, found["position"])
    return "  ".join(part for part in parts if part)

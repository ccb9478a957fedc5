"""Who may emit what (contract/events.md), decided from a token's claims and nothing else.

A *principal* is the authenticated caller: its client, its scopes, and for each scope the sources it may emit for.
The *door* says which way an event came in:

* `EVENTS`: a service, over `POST /v1/events` or an intake topic, for the sources of its token;
* `MY`: a resident, over `/v1/me`, always with source `/my` and about themselves;
* `LEDGER`: the ledger's own facts (`log.viewed`, erasure), always with source `/ledger`.

>>> from ledger.events import EVENTS_WRITE, KINDS
>>> permits = Principal("permits-app", {EVENTS_WRITE: ("/services/permits",)})
>>> event = KINDS["consent.withdrawn"](id="e1", source="/services/parks", subject="res_7f2c",
...     time="2026-03-03T12:00:00Z", data={"consent_id": "c1"})
>>> authorise(event, permits)
Traceback (most recent call last):
ledger.errors.Forbidden: this client may not emit for this source
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from ledger.errors import Forbidden
from ledger.events import EVENTS_WRITE, LEDGER_ONLY, Event

MY_SOURCE = "/my"
LEDGER_SOURCE = "/ledger"
ANY_SOURCE = "*"
SELF = "self"
AUDIT_READ = "audit:read"
OPERATE = "operate"
_RESERVED = (MY_SOURCE, LEDGER_SOURCE)


class Door(Enum):
    """The way an event came in."""

    EVENTS = "events"
    MY = "my"
    LEDGER = "ledger"


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated caller.

    `scopes` maps each scope of the token to the sources it may be used for: `()` for scopes that have none, `("*",)`
    for every service's source. `subject` is the resident's pseudonym, for a token with scope `self`. `person` is who
    stands behind an operator's client, as the issuer says (`sub`): to tell two operators apart, never recorded.
    """

    client_id: str
    scopes: Mapping[str, tuple[str, ...]]
    subject: str | None = None
    person: str | None = field(default=None, compare=False, repr=False)

    def has(self, scope: str) -> bool:
        """Whether the token has this scope."""
        return scope in self.scopes

    def may_emit_for(self, scope: str, source: str) -> bool:
        """Whether the scope reaches this source; `*` never reaches those that only the ledger itself speaks for."""
        sources = self.scopes.get(scope, ())
        return source in sources or (ANY_SOURCE in sources and source not in _RESERVED)


def authorise(event: Event, principal: Principal, door: Door = Door.EVENTS) -> None:
    """Raises `Forbidden` unless this caller may emit this event through this door."""
    scope = event.scope_needed()
    if door is Door.LEDGER:
        assert event.source == LEDGER_SOURCE and scope == LEDGER_ONLY, "the ledger's own facts have its own source"
        return
    if scope == LEDGER_ONLY:
        raise Forbidden("kind", "only the ledger itself records this kind of event")
    if door is Door.MY:
        _authorise_resident(event, principal, scope)
        return
    if not principal.has(scope):
        raise Forbidden("scope", f"this kind of event needs the scope {scope}")
    if event.source in _RESERVED:
        raise Forbidden("source", "only the ledger itself emits for this source")
    if not principal.may_emit_for(scope, event.source):
        raise Forbidden("source", "this client may not emit for this source")


def _authorise_resident(event: Event, principal: Principal, scope: str) -> None:
    if not principal.has(SELF) or principal.subject is None:
        raise Forbidden("scope", f"this needs the scope {SELF}")
    if event.subject != principal.subject:
        raise Forbidden("subject", "a resident speaks for themselves only")
    if event.source != MY_SOURCE or scope != EVENTS_WRITE:
        raise Forbidden("kind", "a resident may not emit this kind of event")

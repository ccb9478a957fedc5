"""Who is signed in on the pages: sessions in the vault's database, and those who are at their identity provider.

    sessions = Sessions(vault.database)
    token = sessions.begin(Session("my-pages", "res_7f2c", {"self": ()}, "vi"))      # for the browser's cookie
    sessions.find(token)                                   # the session, or None once it has ended
    sessions.end(token)                                    # from this moment the token is worth nothing

    state = sessions.leave(Departure("residents", nonce, verifier, "/my"))
    sessions.back(state)                                   # once, and within ten minutes

A token is 256 random bits; the table knows its SHA-256 alone, so whoever reads the table can sign in as nobody. A
session ends after half an hour without a page, after twelve hours, at `end`, and when its resident is erased.
"""

import secrets
from collections.abc import Mapping
from hashlib import sha256
from typing import NamedTuple

import orjson

from ledger.vault.database import Database, statements

IDLE_S = 30 * 60
LIFETIME_S = 12 * 3_600
WAIT_S = 10 * 60
_MAX_TOKEN_CHARACTERS = 64


class Session(NamedTuple):
    """Who is signed in: the client they came by, the resident (None for staff), scopes with their sources.

    `development`: signed in by a click, as `dev` lets everybody.
    """

    client_id: str
    subject: str | None
    scopes: Mapping[str, tuple[str, ...]]
    language: str
    development: bool = False


class Departure(NamedTuple):
    """Who has left for an identity provider: which, what must come back, and where they wanted to go."""

    provider: str
    nonce: str
    verifier: str
    destination: str


class Sessions:
    """Used from one thread or several."""

    def __init__(self, database: Database, idle_s: int = IDLE_S, lifetime_s: int = LIFETIME_S) -> None:
        self._database, self._idle_s, self._lifetime_s = database, idle_s, lifetime_s
        self._sql = statements("sessions")

    def begin(self, session: Session) -> str:
        """Begins a session; the token is nowhere but in what this returns."""
        token = secrets.token_urlsafe(32)
        scopes = orjson.dumps({scope: list(sources) for scope, sources in session.scopes.items()}).decode()
        given = session._asdict() | {"token": _hashed(token), "scopes": scopes, "lifetime_s": self._lifetime_s}
        self._database.run(self._sql["prune"], {"idle_s": self._idle_s})
        self._database.run(self._sql["begin"], given)
        return token

    def find(self, token: str) -> Session | None:
        """The session of this token, None when there is none (any more)."""
        if len(token) > _MAX_TOKEN_CHARACTERS:
            return None
        rows = self._database.run(self._sql["find"], {"token": _hashed(token), "idle_s": self._idle_s})
        if not rows:
            return None
        [(client_id, subject, scopes, language, development)] = rows
        given = {scope: tuple(sources) for scope, sources in orjson.loads(scopes).items()}
        return Session(client_id, subject, given, language, development)

    def end(self, token: str) -> None:
        """Ends a session; one that has ended stays ended."""
        self._database.run(self._sql["end"], {"token": _hashed(token)})

    def leave(self, departure: Departure) -> str:
        """Remembers who leaves for a provider; returns the `state` that must come back."""
        state = secrets.token_urlsafe(32)
        self._database.run(self._sql["prune departures"], {})
        self._database.run(self._sql["leave"], departure._asdict() | {"state": _hashed(state), "wait_s": WAIT_S})
        return state

    def back(self, state: str) -> Departure | None:
        """Who comes back with this state: once, and not too late."""
        if len(state) > _MAX_TOKEN_CHARACTERS:
            return None
        rows = self._database.run(self._sql["return"], {"state": _hashed(state)})
        if not rows or not rows[0][-1]:
            return None
        return Departure(*rows[0][:-1])


def _hashed(token: str) -> bytes:
    return sha256(token.encode("utf-8", "replace")).digest()

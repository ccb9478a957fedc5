"""The login map: from a person's login, (issuer, sub), to the pseudonym `subject` that the ledger knows them by.

    logins = LoginMap(vault.database, wrapper)
    subject = logins.subject_for("https://id.example", "248289761001")     # random, made at first use
    logins.link("https://mail.example", "jane", subject)                   # a second login of the same person
    logins.forget(subject)

A pseudonym is random and derived from nothing. A login is found again without a bare hash: its row is AES-SIV of the
JSON array [issuer, sub] under one random map key, which the vault's key wraps like any other, so that rotation rewraps
one row and no login. Without the vault's key nobody can try a guess. After erasure the same login gets a new pseudonym.
"""

import hmac
import os
import secrets
from collections.abc import Sequence

import orjson
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from ledger.errors import ConfigurationError, Conflict, Erased, Unavailable
from ledger.vault.database import Database, Run, statements
from ledger.vault.keys import KeyWrapper
from ledger.vault.store import Guard

MAP_KEY_BYTES = 64
NO_SUBJECT = ""
"""What the map key is wrapped for: no resident has this pseudonym."""
_MAX_BYTES = 2_048
_TRIES = 6


class LoginMap:
    """Who is who, in PostgreSQL. Used from one thread or several."""

    def __init__(self, database: Database, wrapper: KeyWrapper, guard: Guard | None = None) -> None:
        self._database, self._wrapper, self._guard = database, wrapper, guard
        self._sql = statements("logins")

    def subject_for(self, issuer: str, sub: str) -> str:
        """The pseudonym of whoever has this login, made at first use, once however many ask at once."""
        login = self.sealed([issuer, sub])
        for _ in range(_TRIES):
            rows = self._database.run(self._sql["find"], {"login": login})
            if not rows:
                fresh = f"res_{secrets.token_hex(16)}"
                self._database.run(self._sql["add"], {"login": login, "subject": fresh})
                continue  # whoever came first is found now
            subject = str(rows[0][0])
            if self._guard is None or not self._guard.erased([subject]):
                return subject
            # An older backup brought the login back: the person behind it is somebody new to us.
            self._guard.came_back()
            self.forget(subject)
        raise Unavailable("this login is being forgotten: ask again")

    def link(self, issuer: str, sub: str, subject: str) -> None:
        """Lets another login lead to a resident that there is.

        Raises `Conflict` when it leads to somebody else, `Erased` when the resident was erased.
        """
        login = self.sealed([issuer, sub])
        if self._guard is not None and self._guard.erased([subject]):
            raise Erased("this resident was erased: no login leads to them any more")

        def work(run: Run) -> str:
            run(self._sql["lock"], {"subject": subject})
            if run(self._sql["destroyed"], {"subject": subject}):
                raise Erased("this resident was erased: no login leads to them any more")
            run(self._sql["add"], {"login": login, "subject": subject})
            [(found,)] = run(self._sql["find"], {"login": login})
            return str(found)

        if self._database.atomically(work) != subject:
            raise Conflict(None)

    def keyed(self, context: bytes, message: bytes) -> bytes:
        """A hash of the message (HMAC-SHA256) that nobody makes without the vault's key, in a context of its own."""
        return hmac.digest(hmac.digest(self._map_key(), context, "sha256"), message, "sha256")

    def remember(self, keyed: bytes, subject: str) -> None:
        """Lets what was hashed lead to a resident; it is forgotten with their logins."""
        self._database.run(self._sql["add"], {"login": keyed, "subject": subject})

    def remembered(self, keyed: bytes) -> str | None:
        """The resident whom it leads to; None when there is none, or none any more."""
        rows = self._database.run(self._sql["find"], {"login": keyed})
        if not rows or (self._guard is not None and self._guard.erased([str(rows[0][0])])):
            return None
        return str(rows[0][0])

    def forget(self, subject: str) -> None:
        """Destroys every login of a resident. Erasure does this itself, with the key."""
        self._database.run(self._sql["forget"], {"subject": subject})

    def sealed(self, names: Sequence[str]) -> bytes:
        """The JSON array of these names under the map key: the same for the same names, and of no use without it."""
        plain = orjson.dumps(list(names))
        if len(plain) > _MAX_BYTES:
            raise ConfigurationError(f"an issuer and its `sub` are at most {_MAX_BYTES} bytes together")
        return AESSIV(self._map_key()).encrypt(plain, None)

    def _map_key(self) -> bytes:
        """The map key, asked for each time: a copy kept here would outlive a vault that was restored."""
        rows = self._database.run(self._sql["map key"], {})
        if not rows:
            key_id = f"m_{secrets.token_hex(16)}"
            wrapped = self._wrapper.wrap(os.urandom(MAP_KEY_BYTES), NO_SUBJECT, key_id)
            made = {"key_id": key_id, "wrapped": wrapped, "wrapping": self._wrapper.id}
            self._database.run(self._sql["make map key"], made)
            rows = self._database.run(self._sql["map key"], {})
        [(key_id, wrapped, wrapping_key_id)] = rows
        return self._wrapper.unwrap(bytes(wrapped), NO_SUBJECT, key_id, wrapping_key_id)

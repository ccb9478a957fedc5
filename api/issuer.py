"""The development issuer: `dev` makes its own tokens, for development only.

    issuer = Issuer(data_dir)                      # makes a P-256 key on first use, mode 0600
    token = issuer.service("permits-app", {"events:write": ["/services/permits"]})
    verifier = TokenVerifier(issuer=ISSUER, audience=AUDIENCE, source=JwksFile(issuer.jwks_file))

A production ledger trusts an identity provider's JWKS instead (`CONSENT_LEDGER_JWKS_URL`); this module plays no part.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import orjson
from joserfc import jwt
from joserfc.jwk import ECKey

from api.settings import secret_file
from ledger.authority import ANY_SOURCE, AUDIT_READ, OPERATE, SELF
from ledger.errors import ConfigurationError
from ledger.events import EVENTS_WRITE, RULES_WRITE

ISSUER = "https://dev.consent-ledger.invalid"
AUDIENCE = "consent-ledger"
LIFETIME_S = 30 * 24 * 3600
_ALGORITHM = "ES256"


class Issuer:
    """Mints tokens with a key of the data directory."""

    def __init__(self, data_dir: Path, clock: Callable[[], float] = time.time) -> None:
        fresh = ECKey.generate_key("P-256", private=True, auto_kid=True)
        file = data_dir / "issuer.jwk"
        text = secret_file(file, json.dumps(fresh.as_dict(private=True)))
        try:
            self._key = ECKey.import_key(json.loads(text))
        except ValueError:
            raise ConfigurationError(f"{file} is not a key: delete it, and `dev` makes another") from None
        self._clock = clock
        self.jwks_file = data_dir / "jwks.json"
        self.jwks_file.write_bytes(self.jwks())

    def jwks(self) -> bytes:
        """The issuer's public keys."""
        return orjson.dumps({"keys": [{**self._key.as_dict(private=False), "use": "sig", "alg": _ALGORITHM}]})

    def mint(
        self,
        client_id: str,
        scopes: Mapping[str, Sequence[str]],
        *,
        subject: str | None = None,
        lifetime_s: int = LIFETIME_S,
        issuer: str = ISSUER,
        audience: str = AUDIENCE,
    ) -> str:
        """A token for these scopes, each with the sources it may emit for (empty for scopes without any)."""
        now_s = int(self._clock())
        claims = {
            "iss": issuer,
            "aud": audience,
            "iat": now_s,
            "exp": now_s + lifetime_s,
            "client_id": client_id,
            "sub": subject or client_id,
            "scope": " ".join(scopes),
            "sources": {scope: list(sources) for scope, sources in scopes.items() if sources},
        }
        header = {"alg": _ALGORITHM, "kid": self._key.kid, "typ": "at+jwt"}
        return jwt.encode(header, claims, self._key, algorithms=[_ALGORITHM])

    def service(self, client_id: str, scopes: Mapping[str, Sequence[str]] | None = None) -> str:
        """A service's token; by default both write scopes for every source."""
        return self.mint(client_id, scopes or {EVENTS_WRITE: [ANY_SOURCE], RULES_WRITE: [ANY_SOURCE]})

    def resident(self, subject: str, client_id: str = "my-pages") -> str:
        """A resident's token."""
        return self.mint(client_id, {SELF: []}, subject=subject)

    def auditor(self, client_id: str = "auditor") -> str:
        """An auditor's token."""
        return self.mint(client_id, {AUDIT_READ: []})

    def operator(self, client_id: str = "operator") -> str:
        """An operator's token."""
        return self.mint(client_id, {OPERATE: []})

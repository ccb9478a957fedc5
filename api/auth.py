"""Tokens: a JWT by the issuer's keys becomes a `Principal`, or the call is refused.

    verifier = TokenVerifier(issuer="https://id.example", audience="consent-ledger", keys=JwksUrl("https://…/jwks.json"))
    principal = await verifier.principal("Bearer eyJ…")

Signature, algorithm (pinned, never the token's choice), issuer, audience and expiry must hold. The claims are in
docs/spec/tokens.md: `client_id`, `scope`, `sources`, and `sub` with the scope `self`. A token that was checked is
remembered for a minute at most, so that a revoked key stops working soon. Nothing of a token enters an error or a log.
"""

import asyncio
import re
import time
from base64 import urlsafe_b64decode
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import httpx
import msgspec
import orjson
from joserfc import jws, jwt
from joserfc.errors import JoseError, UnsupportedAlgorithmError
from joserfc.jwa import JWSAlgModel
from joserfc.jwk import KeySet

from ledger.authority import AUDIT_READ, OPERATE, SELF, Principal
from ledger.errors import BadToken, ConfigurationError, Unauthenticated, Unavailable
from ledger.events import EVENTS_WRITE, RULES_WRITE, Id, Subject

SCOPES = (EVENTS_WRITE, RULES_WRITE, AUDIT_READ, SELF, OPERATE)
_WITH_SOURCES = (EVENTS_WRITE, RULES_WRITE)
_LEEWAY_S = 30
_REMEMBER_S = 60.0
_MAX_REMEMBERED = 10_000
_MAX_TOKEN_CHARACTERS = 8_192
_MAX_AGE_S = 600.0
_REFRESH_EVERY_S = 10.0
_BEARER = re.compile(r"[Bb]earer +([A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+)", re.ASCII)


class JwksSource(Protocol):
    """Where the issuer's keys come from."""

    async def fetch(self) -> bytes:
        """The JWKS document; raises `Unavailable`."""


class JwksFile:
    """The issuer's keys in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def fetch(self) -> bytes:
        """Reads the file anew."""
        try:
            return await asyncio.to_thread(self._path.read_bytes)
        except OSError:
            raise Unavailable("the issuer's keys cannot be read") from None


class JwksUrl:
    """The issuer's keys at an address of the issuer's."""

    def __init__(self, url: str, timeout_s: float = 5.0) -> None:
        self._url = url
        self._timeout_s = timeout_s

    async def fetch(self) -> bytes:
        """Gets the document; redirects are not followed."""
        try:
            async with httpx.AsyncClient(timeout=self._timeout_s) as client:
                response = await client.get(self._url)
                response.raise_for_status()
                return response.content
        except httpx.HTTPError:
            raise Unavailable("the issuer's keys cannot be fetched") from None


class Keys:
    """The issuer's keys, cached; an unknown key id asks again, but not more often than every 10 seconds."""

    def __init__(self, source: JwksSource, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._source = source
        self._monotonic = monotonic
        self._keys: KeySet | None = None
        self._fetched_s = float("-inf")
        self._asked_s = float("-inf")
        self._lock = asyncio.Lock()

    async def get(self, kid: str) -> KeySet:
        """The key set, fetched anew when it is old or does not know this key id."""
        if self._fits(kid):
            assert self._keys is not None
            return self._keys
        async with self._lock:
            if not self._fits(kid) and self._monotonic() - self._asked_s >= _REFRESH_EVERY_S:
                self._asked_s = self._monotonic()
                await self._refresh()
        if self._keys is None:
            raise Unavailable("the issuer's keys are not known yet", int(_REFRESH_EVERY_S))
        return self._keys

    def _fits(self, kid: str) -> bool:
        fresh = self._monotonic() - self._fetched_s < _MAX_AGE_S
        return fresh and self._keys is not None and any(key.kid == kid for key in self._keys.keys)

    async def _refresh(self) -> None:
        try:
            document = orjson.loads(await self._source.fetch())
            keys = KeySet.import_key_set(document)
        except Unavailable:
            if self._keys is None:
                raise
            return  # the keys known so far still count: an issuer that is away stops nobody
        except (ValueError, KeyError, TypeError, JoseError):
            raise Unavailable("the issuer's keys are not a JWKS document") from None
        self._keys = keys
        self._fetched_s = self._monotonic()


class _Pinned(jws.JWSRegistry):
    """The algorithms that we pinned, and no others; header parameters we do not know are let be (RFC 7515 § 4)."""

    def get_alg(self, name: str) -> JWSAlgModel:
        """The algorithm; EdDSA too, without the library's warning that RFC 9864 renames it."""
        if name not in (self.allowed or ()) or name not in self.algorithms:
            raise UnsupportedAlgorithmError("the algorithm is not one of those pinned")
        return self.algorithms[name]


def pinned(algorithms: Sequence[str]) -> jws.JWSRegistry:
    """A registry of these signatures and no others."""
    return _Pinned(algorithms=list(algorithms), strict_check_header=False)


class TokenVerifier:
    """Checks bearer tokens. Belongs to one event loop."""

    def __init__(
        self,
        *,
        issuer: str,
        audience: str,
        source: JwksSource,
        algorithms: Sequence[str] = ("ES256", "EdDSA"),
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        if not issuer or not audience:
            raise ConfigurationError("set CONSENT_LEDGER_ISSUER and CONSENT_LEDGER_AUDIENCE: tokens name both")
        if not algorithms or any(not a.startswith(("ES", "EdDSA", "Ed25519", "PS")) for a in algorithms):
            raise ConfigurationError("CONSENT_LEDGER_TOKEN_ALGORITHMS: name signatures by public keys, such as ES256")
        self._algorithms = tuple(algorithms)
        self._registry = pinned(self._algorithms)
        self._clock = clock
        self._monotonic = monotonic
        self._keys = Keys(source, monotonic)
        self._claims = jwt.JWTClaimsRegistry(
            now=lambda: int(clock()),
            leeway=_LEEWAY_S,
            iss={"essential": True, "value": issuer},
            aud={"essential": True, "value": audience},
            exp={"essential": True},
        )
        self._remembered: dict[str, tuple[Principal, float, float]] = {}

    async def principal(self, authorization: str | None) -> Principal:
        """Who calls; raises `Unauthenticated`, `BadToken`, or `Unavailable` when the keys cannot be had."""
        if not authorization:
            raise Unauthenticated("no-token")
        match = _BEARER.fullmatch(authorization) if len(authorization) <= _MAX_TOKEN_CHARACTERS else None
        if match is None:
            raise BadToken("malformed-token")
        token = match[1]
        known = self._remembered.get(token)
        if known is not None and self._monotonic() < known[1] and self._clock() < known[2]:
            return known[0]
        claims = await self._checked(token)
        principal = principal_of(claims)
        if len(self._remembered) >= _MAX_REMEMBERED:
            self._remembered.clear()
        self._remembered[token] = (principal, self._monotonic() + _REMEMBER_S, float(claims["exp"]))
        return principal

    async def _checked(self, token: str) -> Mapping[str, Any]:
        kid = key_id(token, self._algorithms)
        keys = await self._keys.get(kid)
        try:
            decoded = jwt.decode(token, keys, registry=self._registry)
            self._claims.validate(decoded.claims)
        except (JoseError, ValueError, KeyError, TypeError) as error:
            code = "expired-token" if type(error).__name__ == "ExpiredTokenError" else "untrusted-token"
            raise BadToken(code) from None
        return decoded.claims


class _Header(msgspec.Struct):
    alg: str
    kid: str


class _ClaimsShape(msgspec.Struct):
    """The claims this product reads; others are let be."""

    client_id: str
    exp: int | float
    scope: str = ""
    sources: dict[str, list[str]] = {}
    sub: str = ""


def key_id(token: str, algorithms: Sequence[str]) -> str:
    """The key that a token names; raises `BadToken`, also for an algorithm that is not one of these."""
    encoded = token.partition(".")[0]
    try:
        header = msgspec.json.decode(_base64url(encoded), type=_Header)
    except (ValueError, msgspec.DecodeError):
        raise BadToken("malformed-token") from None
    if header.alg not in algorithms:
        raise BadToken("algorithm")
    return header.kid


def _base64url(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def principal_of(claims: Mapping[str, Any]) -> Principal:
    """The principal that a token's claims name; scopes of other products are let be. Raises `BadToken`."""
    try:
        shape = msgspec.convert(claims, _ClaimsShape)
        msgspec.convert(shape.client_id, Id)
    except msgspec.ValidationError:
        raise BadToken("claims") from None
    scopes: dict[str, tuple[str, ...]] = {}
    for scope in shape.scope.split(" "):
        if scope in SCOPES:
            scopes[scope] = tuple(shape.sources.get(scope, ())) if scope in _WITH_SOURCES else ()
    subject = None
    if SELF in scopes:
        try:
            subject = msgspec.convert(shape.sub, Subject)
        except msgspec.ValidationError:
            raise BadToken("claims") from None
    return Principal(shape.client_id, scopes, subject, (shape.sub or None) if OPERATE in scopes else None)

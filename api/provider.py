"""An identity provider: OpenID Connect, authorization code with PKCE. Who comes back is who the provider says.

    provider = Provider(ProviderSettings("https://id.example", "consent-ledger", secret), redirect_uri)
    nonce, verifier = fresh_secrets()
    address = await provider.depart(state, nonce, verifier)          # where to send the browser
    claims = await provider.arrive(code, nonce, verifier)            # {"iss", "sub", …}; raises SignInRefused

The code is exchanged by authlib; the ID token is checked here as OpenID Connect Core § 3.1.3.7 asks: signed by a key of
the issuer's, with a pinned algorithm; `iss`, `aud`, `azp`, `exp`, `iat` and `nonce` as they must be. Only the issuer
named in the settings is asked for its addresses, and they must be https (or loopback, for development).
"""

import asyncio
import secrets
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx2
import msgspec
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.httpx_client import AsyncOAuth2Client
from joserfc import jwt
from joserfc.errors import JoseError

from api.auth import JwksUrl, Keys, key_id, pinned
from api.settings import ProviderSettings
from ledger.errors import ConfigurationError, ConsentLedgerError, Unavailable

ALGORITHMS = ("ES256", "PS256", "RS256", "EdDSA")
"""Signatures of ID tokens that are accepted: by public keys alone."""
_TIMEOUT_S = 5.0
_DISCOVERED_FOR_S = 600.0
_LEEWAY_S = 30
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


class SignInRefused(ConsentLedgerError):
    """The provider, or what came back from it, does not show who this is. Holds nothing that came back."""


class _Discovered(msgspec.Struct):
    """The part of the provider's metadata that is used (OpenID Connect Discovery § 3)."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str


class Provider:
    """One identity provider. Belongs to one event loop."""

    def __init__(self, settings: ProviderSettings, redirect_uri: str) -> None:
        _must_be_safe(settings.issuer)
        self._settings, self._redirect_uri = settings, redirect_uri
        self._found: _Discovered | None = None
        self._keys: Keys | None = None
        self._found_s = float("-inf")
        self._lock = asyncio.Lock()
        self._claims = jwt.JWTClaimsRegistry(
            leeway=_LEEWAY_S,
            iss={"essential": True, "value": settings.issuer},
            aud={"essential": True, "value": settings.client_id},
            exp={"essential": True},
            iat={"essential": True},
            sub={"essential": True},
        )

    async def depart(self, state: str, nonce: str, verifier: str, more: Mapping[str, str] | None = None) -> str:
        """The address to send the browser to."""
        found = await self._discovered()
        async with self._client() as client:
            address, _ = client.create_authorization_url(
                found.authorization_endpoint, state=state, nonce=nonce, code_verifier=verifier, **(more or {})
            )
        return str(address)

    async def arrive(self, code: str, nonce: str, verifier: str) -> Mapping[str, Any]:
        """The claims of whoever came back with this code; raises `SignInRefused`, `Unavailable`."""
        found = await self._discovered()
        try:
            async with self._client() as client:
                token = await client.fetch_token(found.token_endpoint, code=code, code_verifier=verifier)
        except httpx2.HTTPError:
            raise Unavailable("the identity provider does not answer") from None
        except (AuthlibBaseError, ValueError, KeyError, TypeError):
            raise SignInRefused("the identity provider refused the code") from None
        id_token = token.get("id_token") if isinstance(token, dict) else None
        if not isinstance(id_token, str):
            raise SignInRefused("the identity provider sent no ID token")
        return await self._checked(id_token, nonce)

    async def _checked(self, id_token: str, nonce: str) -> Mapping[str, Any]:
        assert self._keys is not None, "discovered before"
        try:
            keys = await self._keys.get(key_id(id_token, ALGORITHMS))
            claims = jwt.decode(id_token, keys, registry=pinned(ALGORITHMS)).claims
            self._claims.validate(claims)
        except Unavailable:
            raise
        except (JoseError, ConsentLedgerError, ValueError, KeyError, TypeError):
            raise SignInRefused("the ID token does not hold") from None
        given = str(claims.get("nonce", ""))
        if not secrets.compare_digest(given.encode(), nonce.encode()):
            raise SignInRefused("the ID token is of another sign-in")
        if claims.get("azp", self._settings.client_id) != self._settings.client_id:
            raise SignInRefused("the ID token is another client's")
        return claims

    async def _discovered(self) -> _Discovered:
        async with self._lock:
            if self._found is None or time.monotonic() - self._found_s > _DISCOVERED_FOR_S:
                self._found = await self._discover()
                self._found_s = time.monotonic()
                self._keys = Keys(JwksUrl(self._found.jwks_uri))
            return self._found

    async def _discover(self) -> _Discovered:
        address = self._settings.issuer.rstrip("/") + "/.well-known/openid-configuration"
        try:
            async with httpx2.AsyncClient(timeout=_TIMEOUT_S, trust_env=False) as client:
                answer = await client.get(address)
                answer.raise_for_status()
                found = msgspec.json.decode(answer.content, type=_Discovered)
        except (httpx2.HTTPError, ValueError):
            raise Unavailable("the identity provider cannot be asked for its addresses") from None
        if found.issuer != self._settings.issuer:
            raise Unavailable("the identity provider names another issuer than the one in the settings")
        for endpoint in (found.authorization_endpoint, found.token_endpoint, found.jwks_uri):
            _must_be_safe(endpoint)
        return found

    def _client(self) -> AsyncOAuth2Client:
        return AsyncOAuth2Client(
            self._settings.client_id,
            self._settings.client_secret,
            scope=self._settings.scope,
            redirect_uri=self._redirect_uri,
            code_challenge_method="S256",
            token_endpoint_auth_method="client_secret_basic",  # noqa: S106 # the method's name
            timeout=_TIMEOUT_S,
            trust_env=False,
        )


def fresh_secrets() -> tuple[str, str]:
    """A nonce and a PKCE verifier (RFC 7636 § 4.1: 43 to 128 characters)."""
    return secrets.token_urlsafe(32), secrets.token_urlsafe(48)


def _must_be_safe(address: str) -> None:
    parts = urlsplit(address)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        raise ConfigurationError("an identity provider is reached by https, or on this machine")

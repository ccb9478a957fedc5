"""HTTP to a ledger, for the commands that are clients of it: address and token from the environment, patience built in.

`CONSENT_LEDGER_URL` names the ledger (or `--ledger URL`), `CONSENT_LEDGER_TOKEN` is the bearer token: no secret is
taken from a flag, where every process of the machine could read it.

    with Client.from_environment(None) as client:
        answer = client.get("/v1/records/3-1041/verdict")

Connection errors, 429 and 503 are tried again, with `Retry-After` or a doubling wait, until patience runs out
(`Unavailable`). Other refusals become errors of ours that carry the problem document's codes, never a value.
"""

import os
import random
import time
from collections.abc import Mapping
from typing import Any, Self

import httpx
import orjson

from ledger.errors import (
    ConfigurationError,
    Conflict,
    ConsentLedgerError,
    Erased,
    Forbidden,
    Malformed,
    NotFound,
    NotYet,
    Problem,
    TooLarge,
    Unauthenticated,
    Unavailable,
)

URL_VARIABLE = "CONSENT_LEDGER_URL"
TOKEN_VARIABLE = "CONSENT_LEDGER_TOKEN"  # noqa: S105 (a name, not a token)
TRY_AGAIN = (429, 503)
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.25, 10.0
_TIMEOUT = httpx.Timeout(60.0, connect=5.0)


class Client:
    """A ledger's HTTP door, with one token."""

    def __init__(self, url: str, token: str | None, patience_s: float = 30.0) -> None:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        self.url = url.rstrip("/")
        self.patience_s = patience_s
        try:
            self._http = httpx.Client(base_url=self.url, headers=headers, timeout=_TIMEOUT)
        except (httpx.InvalidURL, UnicodeError):
            raise ConfigurationError(f"{URL_VARIABLE} is not an address such as https://ledger.example") from None

    @classmethod
    def from_environment(cls, url: str | None, *, patience_s: float = 30.0, token_needed: bool = True) -> Self:
        """A client of the ledger that the flag or the environment names; raises `ConfigurationError`."""
        found = url or os.environ.get(URL_VARIABLE)
        if not found or not found.startswith(("http://", "https://")):
            raise ConfigurationError(f"name the ledger: set {URL_VARIABLE}, or give --ledger http(s)://...")
        token = os.environ.get(TOKEN_VARIABLE)
        if token_needed and not token:
            raise ConfigurationError(f"set {TOKEN_VARIABLE} to a bearer token of the ledger's issuer")
        return cls(found, token, patience_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def get(self, path: str, **parameters: str) -> httpx.Response:
        """A GET that succeeded; raises what a refusal means."""
        return self.send("GET", path, params=parameters)

    def send(self, method: str, path: str, **request: Any) -> httpx.Response:
        """A request that succeeded, tried again while the ledger asks for patience; raises what a refusal means."""
        patience = Patience(self.patience_s)
        while True:
            try:
                response = self._http.request(method, path, **request)
            except httpx.TransportError as error:
                patience.wait(None, f"{self.url} does not answer ({type(error).__name__})")
                continue
            except httpx.InvalidURL:
                raise ConfigurationError(f"{URL_VARIABLE} is not an address such as https://ledger.example") from None
            if response.status_code not in TRY_AGAIN:
                break
            patience.wait(retry_after(response), describe(response))
        if response.is_success:
            return response
        raise refusal(response)


class Patience:
    """Waits that double, up to a limit in all; then `Unavailable`."""

    def __init__(self, limit_s: float) -> None:
        self._deadline = time.monotonic() + limit_s
        self._wait_s = _FIRST_WAIT_S

    def wait(self, asked_s: float | None, why: str) -> None:
        """Waits as long as was asked, or a little longer than last time; raises `Unavailable` past the limit."""
        wait_s = max(self._wait_s * random.uniform(0.8, 1.2), asked_s or 0)  # noqa: S311 (spreads clients, no secret)
        if time.monotonic() + wait_s > self._deadline:
            raise Unavailable(why)
        time.sleep(wait_s)
        self._wait_s = min(_LONGEST_WAIT_S, self._wait_s * 2)


def retry_after(response: httpx.Response) -> float | None:
    """Seconds that the ledger asks to wait; None when it does not say."""
    value = response.headers.get("retry-after", "")
    return float(value) if value.isdecimal() else None


def codes_of(problem: Mapping[str, Any]) -> list[Problem]:
    """Pointers and codes of a problem document."""
    errors = problem.get("errors")
    if not isinstance(errors, list):
        return []
    return [Problem(str(e.get("pointer", "")), str(e.get("code", ""))) for e in errors if isinstance(e, dict)]


def document(response: httpx.Response) -> dict[str, Any]:
    """The problem document of a refusal; empty when something else than a ledger answered."""
    try:
        value = orjson.loads(response.content)
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}


def describe(response: httpx.Response) -> str:
    """A refusal in one line."""
    problem = document(response)
    said = problem.get("detail") or problem.get("title") or "no reason given"
    codes = ", ".join(f"{p.pointer or '/'} {p.code}" for p in codes_of(problem))
    return f"the ledger answers {response.status_code}: {said}" + (f" ({codes})" if codes else "")


def refusal(response: httpx.Response) -> ConsentLedgerError:
    """The error of ours that a refusal means."""
    status, said = response.status_code, describe(response)
    if status in (400, 415, 422):
        return Malformed(codes_of(document(response)) or [Problem("", str(status))], said)
    if status == 401:
        return Unauthenticated("token", f"{said} (is {TOKEN_VARIABLE} right, and still valid?)")
    if status == 403:
        return Forbidden("refused", said)
    if status == 404:
        return NotFound(said)
    if status == 409:
        position = document(response).get("position")
        return Conflict(position if isinstance(position, str) else None)
    if status == 410:
        return Erased(said)
    if status == 413:
        return TooLarge(said)
    return NotYet(said)

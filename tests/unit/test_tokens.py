"""Tokens: who calls and what they may do is the issuer's word, checked; keys are fetched, cached and refreshed."""

import asyncio
import http.server
import json
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OKPKey

from api.auth import JwksFile, JwksUrl, TokenVerifier
from api.issuer import AUDIENCE, ISSUER, Issuer
from ledger.authority import AUDIT_READ, SELF, Principal
from ledger.errors import BadToken, ConfigurationError, Unauthenticated, Unavailable
from ledger.events import EVENTS_WRITE, RULES_WRITE


@pytest.fixture
def issuer(tmp_path: Path) -> Issuer:
    return Issuer(tmp_path)


class Steps:
    """A monotonic clock that goes on when it is told to."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


def check(issuer: Issuer, authorization: str | None, **changes: Any) -> Principal:
    settings: dict[str, Any] = {"issuer": ISSUER, "audience": AUDIENCE, "source": JwksFile(issuer.jwks_file)}
    return asyncio.run(TokenVerifier(**{**settings, **changes}).principal(authorization))


def test_a_service_s_token_gives_each_scope_its_own_sources(issuer: Issuer) -> None:
    token = issuer.service("permits-app", {EVENTS_WRITE: ["/a", "/b"], RULES_WRITE: ["/rules"]})
    principal = check(issuer, f"Bearer {token}")
    assert principal == Principal("permits-app", {EVENTS_WRITE: ("/a", "/b"), RULES_WRITE: ("/rules",)})
    assert principal.may_emit_for(EVENTS_WRITE, "/a")
    assert not principal.may_emit_for(EVENTS_WRITE, "/rules")


def test_a_resident_s_token_names_the_resident_and_nobody_else_s_does(issuer: Issuer) -> None:
    assert check(issuer, f"Bearer {issuer.resident('res_1')}") == Principal("my-pages", {SELF: ()}, "res_1")
    assert check(issuer, f"bearer {issuer.auditor()}") == Principal("auditor", {AUDIT_READ: ()})


def test_scopes_of_other_products_and_sources_without_a_scope_count_for_nothing(issuer: Issuer) -> None:
    token = issuer.mint("app", {"mail:send": ["/x"], AUDIT_READ: ["/y"]})
    assert check(issuer, f"Bearer {token}").scopes == {AUDIT_READ: ()}


@pytest.mark.parametrize("authorization", [None, ""])
def test_no_token_is_401(issuer: Issuer, authorization: str | None) -> None:
    with pytest.raises(Unauthenticated) as caught:
        check(issuer, authorization)
    assert caught.value.code == "no-token"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda t: t,
        lambda t: f"Basic {t}",
        lambda t: f"Bearer {t} x",
        lambda t: f"Bearer {t}=",
        lambda t: f"Bearer {t.rsplit('.', 1)[0]}",
        lambda t: f"Bearer {t}{'A' * 9_000}",
        lambda t: f"Bearer .{t}",
        lambda t: "Bearer e30.e30.e30",
        lambda t: f"Bearer {t[:-6]}AAAAAA",
    ],
)
def test_what_is_not_a_good_token_is_401_and_not_shown(issuer: Issuer, spoil: Callable[[str], str]) -> None:
    token = issuer.auditor()
    with pytest.raises(BadToken) as caught:
        check(issuer, spoil(token))
    assert token[:20] not in str(caught.value)


@pytest.mark.parametrize(
    ("claims", "code"),
    [
        ({"iss": "https://elsewhere"}, "untrusted-token"),
        ({"iss": None}, "untrusted-token"),
        ({"aud": "elsewhere"}, "untrusted-token"),
        ({"aud": ["elsewhere"]}, "untrusted-token"),
        ({"aud": None}, "untrusted-token"),
        ({"exp": None}, "untrusted-token"),
        ({"exp": "tomorrow"}, "untrusted-token"),
        ({"exp": 1}, "expired-token"),
        ({"nbf": 99_999_999_999}, "untrusted-token"),
        ({"client_id": None}, "claims"),
        ({"client_id": "a b"}, "claims"),
        ({"client_id": 7}, "claims"),
        ({"scope": ["self"]}, "claims"),
        ({"sources": ["/a"]}, "claims"),
        ({"scope": "self", "sub": "somebody@example.org"}, "claims"),
        ({"scope": "self", "sub": None}, "claims"),
    ],
)
def test_every_claim_has_to_hold(tmp_path: Path, claims: dict[str, Any], code: str) -> None:
    key = ECKey.generate_key("P-256", auto_kid=True)
    file = tmp_path / "jwks.json"
    file.write_text(json.dumps({"keys": [key.as_dict(private=False)]}))
    whole = {"iss": ISSUER, "aud": AUDIENCE, "exp": int(time.time()) + 60, "client_id": "app", "scope": "audit:read"}
    sent = {k: v for k, v in {**whole, **claims}.items() if v is not None}
    token = jwt.encode({"alg": "ES256", "kid": key.kid}, sent, key)
    verifier = TokenVerifier(issuer=ISSUER, audience=AUDIENCE, source=JwksFile(file))
    with pytest.raises(BadToken) as caught:
        asyncio.run(verifier.principal(f"Bearer {token}"))
    assert caught.value.code == code


def test_an_edwards_key_signs_as_well(tmp_path: Path) -> None:
    key = OKPKey.generate_key("Ed25519", auto_kid=True)
    file = tmp_path / "jwks.json"
    file.write_text(json.dumps({"keys": [key.as_dict(private=False)]}))
    claims = {"iss": ISSUER, "aud": [AUDIENCE, "other"], "exp": int(time.time()) + 60, "client_id": "app"}
    with pytest.warns(UserWarning, match="EdDSA"):
        token = jwt.encode({"alg": "EdDSA", "kid": key.kid}, claims, key, algorithms=["EdDSA"])
    verifier = TokenVerifier(issuer=ISSUER, audience=AUDIENCE, source=JwksFile(file))
    assert asyncio.run(verifier.principal(f"Bearer {token}")) == Principal("app", {})
    pinned = TokenVerifier(issuer=ISSUER, audience=AUDIENCE, source=JwksFile(file), algorithms=["ES256"])
    with pytest.raises(BadToken):
        asyncio.run(pinned.principal(f"Bearer {token}"))


@pytest.mark.parametrize("algorithms", [[], ["none"], ["HS256"], ["ES256", "HS512"]])
def test_algorithms_with_a_shared_secret_cannot_be_pinned(issuer: Issuer, algorithms: list[str]) -> None:
    with pytest.raises(ConfigurationError):
        check(issuer, None, algorithms=algorithms)


def test_a_token_remembered_is_forgotten_when_it_expires(issuer: Issuer) -> None:
    steps = Steps()
    now = time.time()
    verifier = TokenVerifier(
        issuer=ISSUER,
        audience=AUDIENCE,
        source=JwksFile(issuer.jwks_file),
        clock=lambda: now + steps.now_s - 1_000,
        monotonic=steps,
    )
    token = f"Bearer {issuer.mint('app', {AUDIT_READ: []}, lifetime_s=30)}"

    async def twice() -> None:
        assert (await verifier.principal(token)).client_id == "app"
        steps.now_s += 59  # still remembered, but expired, and past the leeway
        with pytest.raises(BadToken):
            steps.now_s += 5
            await verifier.principal(token)

    asyncio.run(twice())


class Published:
    """An issuer's JWKS at a real address, counting who asks."""

    def __init__(self) -> None:
        self.document: bytes | None = b"{}"
        self.asked = 0
        published = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                published.asked += 1
                self.send_response(200 if published.document is not None else 503)
                self.end_headers()
                self.wfile.write(published.document or b"")

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/jwks.json"


@pytest.fixture
def published() -> Iterator[Published]:
    made = Published()
    thread = threading.Thread(target=made.server.serve_forever)
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()


def test_keys_are_fetched_once_and_again_for_an_unknown_key_but_not_at_every_call(
    tmp_path: Path, published: Published
) -> None:
    old, new = Issuer(tmp_path / "old"), Issuer(tmp_path / "new")
    steps = Steps()
    verifier = TokenVerifier(issuer=ISSUER, audience=AUDIENCE, source=JwksUrl(published.url), monotonic=steps)

    async def story() -> None:
        published.document = old.jwks()
        for _ in range(3):
            await verifier.principal(f"Bearer {old.auditor()}")
        assert published.asked == 1
        for _ in range(3):  # a stranger's key: asked at most every 10 s
            with pytest.raises(BadToken):
                await verifier.principal(f"Bearer {new.auditor()}")
        assert published.asked == 1
        steps.now_s += 11
        published.document = new.jwks()  # the issuer has changed its key
        assert (await verifier.principal(f"Bearer {new.auditor()}")).client_id == "auditor"
        assert published.asked == 2
        published.document = None  # the issuer is away: what is known still counts
        steps.now_s += 3_600
        assert (await verifier.principal(f"Bearer {new.service('a')}")).client_id == "a"
        assert published.asked == 3

    asyncio.run(story())


@pytest.mark.parametrize("document", [None, b"", b"no json", b"[]", b'{"keys": 1}', b'{"keys": [{"kty": "x"}]}'])
def test_an_issuer_without_keys_is_503_not_401(published: Published, issuer: Issuer, document: bytes | None) -> None:
    published.document = document
    with pytest.raises(Unavailable):
        check(issuer, f"Bearer {issuer.auditor()}", source=JwksUrl(published.url))


def test_dev_s_issuer_keeps_its_key_to_its_owner_and_over_a_restart(tmp_path: Path) -> None:
    token = Issuer(tmp_path).auditor()
    again = Issuer(tmp_path)
    assert check(again, f"Bearer {token}").client_id == "auditor"
    assert stat.S_IMODE((tmp_path / "issuer.jwk").stat().st_mode) == 0o600
    assert b'"d"' not in again.jwks()

"""Bad input is refused with the status and problem document of the contract, appends nothing, and is never echoed."""

import base64
import hashlib
import hmac
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pytest

from tests.door import BATCH, STRUCTURED, Door, complaint, consent, event, open_door, service_registered

SECRET = "Zz9SecretOfAResidentZz9"
"""Stands wherever an input could be echoed."""


class Bad(NamedTuple):
    """A request that must be refused: its body, and the status, pointer and code that it must get.

    A body that depends on the hour is a function: the list is made long before its last test runs.
    """

    name: str
    body: Any
    status: int
    pointer: str
    code: str
    media_type: str = STRUCTURED
    token: Callable[[Door], str | None] | None = None
    headers: dict[str, str] | None = None


def used(**data: Any) -> dict[str, Any]:
    whole = {"categories": ["email"], "purpose": "4.2", "operation": "consult", "basis": {"kind": "stated-purpose"}}
    return event("data.used", data={k: v for k, v in {**whole, **data}.items() if v is not None})


def collected(**data: Any) -> dict[str, Any]:
    return event("data.collected", data={"categories": ["email"], "purposes": ["4.2"], "origin": "resident", **data})


def without(name: str) -> dict[str, Any]:
    members = event()
    del members[name]
    return members


def text(body: Any) -> bytes:
    return orjson.dumps(body)


def in_time(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds))


def policy(**changes: Any) -> dict[str, Any]:
    whole: dict[str, Any] = {
        "policy_id": "p",
        "version": "1",
        "title": "t",
        "effective_from": "2018-04-18T07:00:00Z",
        "statements": [{"id": "1", "text": "s"}],
        "purposes": [{"id": "4.1", "text": "p", "parent": None, "categories": ["email"]}],
        "categories": [{"id": "email", "label": "e", "identifying": True, "parent": None}],
        "operations": [{"id": "consult", "label": "c", "parent": None}],
        "consistent": [],
        "recipients": [],
        "automatic": {"categories": []},
        "social_login": {"providers": [], "categories": [], "purposes": []},
        "channels": {},
        "legal_bases": [],
    }
    return event("policy.published", subject=None, data={**whole, **changes})


def loop() -> list[dict[str, Any]]:
    return [
        {"id": "a", "text": "p", "parent": "b", "categories": None},
        {"id": "b", "text": "p", "parent": "a", "categories": None},
    ]


def only(*scopes: str, sources: tuple[str, ...] = ("*",), **claims: Any) -> Callable[[Door], str]:
    return lambda door: door.issuer.mint("permits-app", {scope: list(sources) for scope in scopes}, **claims)


def altered(door: Door) -> str:
    head, body, signature = door.token.split(".")
    return f"{head}.{body}.{signature[:-4]}{'AAAA' if signature[-4:] != 'AAAA' else 'BBBB'}"


def unsigned(door: Door) -> str:
    header = base64.urlsafe_b64encode(b'{"alg":"none","kid":"x"}').rstrip(b"=").decode()
    return f"{header}.{door.token.split('.')[1]}."


def by_its_public_key(door: Door) -> str:
    """The old confusion: HMAC with the issuer's public key as the secret."""

    def encoded(raw: bytes) -> str:
        return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()

    header = encoded(b'{"alg":"HS256","kid":"x"}')
    signed = ".".join([header, door.token.split(".")[1]])
    return f"{signed}.{encoded(hmac.digest(door.issuer.jwks(), signed.encode(), hashlib.sha256))}"


DEEP = b'{"specversion":"1.0","id":"a","data":' + b"[" * 15_000 + b"]" * 15_000 + b"}"
TWICE = text(event())[:-1] + b',"id":"' + SECRET.encode() + b'"}'
TWICE_WITHIN = (
    b'{"specversion":"1.0","id":"a","source":"/s","type":"org.consent-ledger.consent.withdrawn.v1",'
    b'"subject":"r","time":"2026-03-03T12:00:00Z","datacontenttype":"application/json",'
    b'"data":{"consent_id":"c1","consent_id":"c2"}}'
)

BAD = [
    # 400: not JSON
    Bad("an empty body", b"", 400, "", "json"),
    Bad("no JSON", SECRET.encode(), 400, "", "json"),
    Bad("JSON cut short", text(event())[:-1], 400, "", "json"),
    Bad("two JSON texts", text(event()) + text(event()), 400, "", "json"),
    Bad("bad UTF-8", text(event(id="X")).replace(b'"X"', b'"\xff\xfe' + SECRET.encode() + b'"'), 400, "", "utf-8"),
    Bad("overlong UTF-8", text(event(id="X")).replace(b'"X"', b'"\xc0\xaf"'), 400, "", "utf-8"),
    Bad("UTF-16", text(event()).decode().encode("utf-16"), 400, "", "utf-8"),
    Bad("a byte order mark", b"\xef\xbb\xbf" + text(event()), 400, "", "json"),
    Bad("not a number", text(event(id="X")).replace(b'"X"', b"NaN"), 400, "", "json"),
    Bad("deep nesting", DEEP, 400, "", "nesting"),
    Bad("a comment", b"/*" + SECRET.encode() + b"*/" + text(event()), 400, "", "json"),
    Bad("a lone surrogate", text(event(id="X")).replace(b'"X"', b'"\\ud800"'), 400, "", "json"),
    # 422: JSON, but no event
    Bad("an array", b"[]", 422, "", "type"),
    Bad("a string", text(SECRET), 422, "", "type"),
    Bad("null", b"null", 422, "", "type"),
    Bad("an empty object", b"{}", 422, "/specversion", "missing"),
    Bad("a member name twice", TWICE, 422, "", "repeated-member"),
    Bad("a member name twice within data", TWICE_WITHIN, 422, "", "repeated-member"),
    # 422: the envelope
    *(
        Bad(f"no {name}", without(name), 422, f"/{name}", "missing")
        for name in ("specversion", "id", "source", "type", "time", "datacontenttype", "data", "subject")
    ),
    Bad("another specversion", event(specversion="0.3"), 422, "/specversion", "unknown-value"),
    Bad("an id that is a number", event(id=7), 422, "/id", "type"),
    Bad("an empty id", event(id=""), 422, "/id", "pattern"),
    Bad("an id of 65 characters", event(id="x" * 65), 422, "/id", "pattern"),
    Bad("an id with a space", event(id=f"{SECRET} x"), 422, "/id", "pattern"),
    Bad("an id with a newline at its end", event(id="e1\n"), 422, "/id", "pattern"),
    Bad("a source that is no URI reference", event(source=f"/{SECRET} {{}}"), 422, "/source", "pattern"),
    Bad("an unknown type", event(type=f"org.consent-ledger.{SECRET}.v1"), 422, "/type", "unknown-type"),
    Bad("an unknown version", event(type="org.consent-ledger.anonymity.chosen.v9"), 422, "/type", "unknown-type"),
    Bad("a mail address as subject", event(subject=f"{SECRET}@example.org"), 422, "/subject", "pattern"),
    Bad("a subject of 65 characters", event(subject="s" * 65), 422, "/subject", "pattern"),
    Bad("a subject on a reference fact", service_registered(subject="res_1"), 422, "/subject", "type"),
    Bad("a time without offset", event(time="2026-03-03T12:00:00"), 422, "/time", "pattern"),
    Bad("a time in lower case", event(time="2026-03-03t12:00:00z"), 422, "/time", "pattern"),
    Bad("a time with seven digits", event(time="2026-03-03T12:00:00.1234567Z"), 422, "/time", "pattern"),
    Bad("second 60", event(time="2016-12-31T23:59:60Z"), 422, "/time", "pattern"),
    Bad("a day that is not", event(time="2026-02-30T12:00:00Z"), 422, "/time", "no-such-time"),
    Bad("before 1970", event(time="1969-12-31T23:59:59Z"), 422, "/time", "before-1970"),
    Bad("six minutes ahead", lambda: event(time=in_time(360)), 422, "/time", "in-the-future"),
    Bad("next century", event(time="2126-01-01T00:00:00Z"), 422, "/time", "in-the-future"),
    Bad("another datacontenttype", event(datacontenttype="text/xml"), 422, "/datacontenttype", "unknown-value"),
    Bad("a forged recordedtime", event(recordedtime="2026-03-03T12:00:00Z"), 422, "/recordedtime", "set-by-the-ledger"),
    Bad("a forged recordedby", event(recordedby=SECRET), 422, "/recordedby", "set-by-the-ledger"),
    Bad("another attribute", event(**{SECRET.lower(): "x"}), 422, "", "unknown-field"),
    Bad("data in base64", event(data_base64="e30="), 422, "", "unknown-field"),
    Bad("an empty correlationid", event(correlationid=""), 422, "/correlationid", "pattern"),
    # 422: data
    Bad("data that is text", event(data=SECRET), 422, "/data", "type"),
    Bad("an unknown field of data", event(data={SECRET: 1}), 422, "/data", "unknown-field"),
    Bad("no consent_id", consent(data={"purposes": ["4.7"], "method": "web"}), 422, "/data/consent_id", "missing"),
    Bad("no purposes", collected(purposes=[]), 422, "/data/purposes", "array-length"),
    Bad("65 categories", collected(categories=[f"c{i}" for i in range(65)]), 422, "/data/categories", "array-length"),
    Bad("a category twice", collected(categories=["a", "a"]), 422, "/data/categories", "repeated-item"),
    Bad("a category in capitals", collected(categories=["Email"]), 422, "/data/categories/0", "pattern"),
    Bad("a category with a mail address", collected(categories=["a@b"]), 422, "/data/categories/0", "pattern"),
    Bad("an unknown origin", collected(origin=SECRET), 422, "/data/origin", "unknown-value"),
    Bad(
        "a provider without social login", collected(provider="google"), 422, "/data/provider", "only-with-social-login"
    ),
    Bad("a from without third party", collected(**{"from": "x"}), 422, "/data/from", "only-with-third-party"),
    Bad("an unknown basis", used(basis={"kind": SECRET}), 422, "/data/basis/kind", "unknown-value"),
    Bad("a basis without kind", used(basis={}), 422, "/data/basis/kind", "missing"),
    Bad("consent as a basis, unnamed", used(basis={"kind": "consent"}), 422, "/data/basis/consent_id", "missing"),
    Bad("notify without channel", used(operation="notify"), 422, "/data/channel", "missing"),
    Bad(
        "a bool that is text",
        event("preference.set", data={"channel": "sms", "allowed": "yes"}),
        422,
        "/data/allowed",
        "type",
    ),
    Bad(
        "a citation of 501 characters",
        used(basis={"kind": "law", "legal_basis": "x", "citation": "c" * 501}),
        422,
        "/data/basis/citation",
        "text-length",
    ),
    Bad("free text of 4,001 characters", complaint("x" * 4_001), 422, "/data/text", "text-length"),
    Bad(
        "free text sealed by the sender",
        complaint(
            "x", data={"complaint_id": "k", "kind": "complaint", "text": {"sealed": {"key": "k", "ciphertext": "AA=="}}}
        ),
        422,
        "/data/text",
        "type",
    ),
    Bad(
        "an unknown complaint kind",
        complaint("x", data={"complaint_id": "k", "kind": SECRET, "text": "x"}),
        422,
        "/data/kind",
        "unknown-value",
    ),
    Bad(
        "withheld for two years",
        event(
            "disclosure.withheld",
            data={"about": {"source": "/s", "id": "e"}, "citation": "c", "until": "2028-03-04T00:00:00Z"},
        ),
        422,
        "/data/until",
        "more-than-one-year",
    ),
    Bad(
        "a policy with a dangling parent",
        policy(purposes=[{"id": "a", "text": "p", "parent": "zz", "categories": None}]),
        422,
        "/data/purposes/0/parent",
        "unknown-parent",
    ),
    Bad("a policy with a cycle", policy(purposes=loop()), 422, "/data/purposes/0/parent", "cycle"),
    Bad(
        "a policy with an unknown category",
        policy(purposes=[{"id": "a", "text": "p", "parent": None, "categories": ["zz"]}]),
        422,
        "/data/purposes/0/categories/0",
        "unknown-category",
    ),
    # 413 and 415
    Bad("an event of more than 32 KiB", text(event())[:-1] + b" " * 33_000 + b"}", 413, "", "too-large"),
    Bad("plain JSON", event(), 415, "", "media-type", "application/json"),
    Bad("a form", b"a=b", 415, "", "media-type", "application/x-www-form-urlencoded"),
    Bad("XML", b"<e/>", 415, "", "media-type", "application/cloudevents+xml"),
    Bad("JSON in Latin-1", event(), 415, "", "media-type", STRUCTURED + "; charset=iso-8859-1"),
    # 401
    Bad("no token", event(), 401, "", "no-token", token=lambda _: None),
    Bad("no JWT", event(), 401, "", "malformed-token", token=lambda _: SECRET),
    Bad("an altered signature", event(), 401, "", "untrusted-token", token=altered),
    Bad("an unsigned token", event(), 401, "", "malformed-token", token=unsigned),
    Bad("a token by HMAC with the public key", event(), 401, "", "algorithm", token=by_its_public_key),
    Bad("an expired token", event(), 401, "", "expired-token", token=only("events:write", lifetime_s=-60)),
    Bad("another issuer", event(), 401, "", "untrusted-token", token=only("events:write", issuer="https://elsewhere")),
    Bad("another audience", event(), 401, "", "untrusted-token", token=only("events:write", audience="elsewhere")),
    # 403
    Bad("a token without a write scope", event(), 403, "", "scope", token=lambda door: door.issuer.auditor()),
    Bad("a resident's token", event(), 403, "", "scope", token=lambda door: door.issuer.resident("res_1")),
    Bad(
        "a foreign source", event(), 403, "/source", "source", token=only("events:write", sources=("/services/parks",))
    ),
    Bad(
        "a source by prefix",
        event(source="/services/permits/x"),
        403,
        "/source",
        "source",
        token=only("events:write", sources=("/services/permits",)),
    ),
    Bad("a rule without its scope", service_registered(), 403, "", "scope", token=only("events:write")),
    Bad("a fact with the scope of rules", event(), 403, "", "scope", token=only("rules:write")),
    Bad("the resident's own source", event(source="/my"), 403, "/source", "source"),
    Bad("the ledger's own source", event(source="/ledger"), 403, "/source", "source"),
    Bad(
        "a kind of the ledger's own",
        event("log.viewed", data={"role": "auditor", "scope": "log"}),
        403,
        "/type",
        "kind",
    ),
    Bad("an erasure", event("data.erased", data={"erasure_id": "x"}), 403, "/type", "kind"),
    # binary mode
    Bad("binary mode without an id", {}, 422, "/id", "missing", "application/json", headers={"ce-specversion": "1.0"}),
    Bad(
        "binary mode, data not JSON",
        SECRET.encode(),
        400,
        "",
        "json",
        "application/json",
        headers={"ce-specversion": "1.0"},
    ),
    Bad(
        "binary mode, data that ends the event",
        b'{}, "recordedby": "x"',
        400,
        "",
        "json",
        "application/json",
        headers={"ce-specversion": "1.0"},
    ),
    Bad(
        "binary mode, a bad escape",
        {},
        422,
        "",
        "percent-encoding",
        "application/json",
        headers={"ce-specversion": "1.0", "ce-id": "%zz"},
    ),
    Bad(
        "binary mode, escaped bad UTF-8",
        {},
        422,
        "",
        "utf-8",
        "application/json",
        headers={"ce-specversion": "1.0", "ce-id": "%ff"},
    ),
    Bad(
        "binary mode, a forged stamp",
        {},
        422,
        "/recordedby",
        "set-by-the-ledger",
        "application/json",
        headers={
            **{f"ce-{k}": v for k, v in event().items() if k not in ("data", "datacontenttype")},
            "ce-recordedby": SECRET,
        },
    ),
    # batches as such
    Bad("a batch that is an object", event(), 422, "", "type", BATCH),
    Bad("an empty batch", b"[]", 422, "", "batch-length", BATCH),
    Bad("a batch of 1,001", b"[" + b",".join([b"{}"] * 1_001) + b"]", 422, "", "batch-length", BATCH),
    Bad("a batch cut short", text([event()])[:-1], 400, "", "json", BATCH),
]


@pytest.fixture(scope="module")
def door(kafka_address: str, database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    folder: Path = tmp_path_factory.mktemp("door")
    with open_door(kafka_address, database_url, folder) as opened:
        yield opened


@pytest.mark.parametrize("bad", BAD, ids=[bad.name for bad in BAD])
def test_what_is_refused_gets_the_contract_s_answer_and_leaves_no_trace(door: Door, bad: Bad) -> None:
    before = door.heads()
    token = door.token if bad.token is None else bad.token(door)
    body = bad.body() if callable(bad.body) else bad.body
    response = door.post(body, token, bad.media_type, bad.headers)
    assert (response.status_code, response.headers["content-type"]) == (bad.status, "application/problem+json")
    problem = response.json()
    assert problem["status"] == bad.status
    assert problem["type"].startswith("tag:consent-ledger.org,2026:problem/")
    assert isinstance(problem["title"], str)
    assert problem["errors"][0] == {"pointer": bad.pointer, "code": bad.code}
    assert set(problem) == {"type", "title", "status", "errors"}
    assert SECRET.lower() not in (response.text + str(response.headers)).lower()
    assert door.heads() == before


def test_the_list_of_bad_bodies_is_long_enough() -> None:
    assert len([bad for bad in BAD if bad.status in (400, 413, 422)]) >= 60
    assert {bad.status for bad in BAD} == {400, 401, 403, 413, 415, 422}


def test_a_refused_item_does_not_stop_the_others_of_its_batch(door: Door) -> None:
    before = sum(door.heads().values())
    good = [event(), event()]
    results = door.batch([good[0], event(id=f"{SECRET} "), {"id": SECRET}, 7, good[1]])
    assert [r["status"] for r in results] == [201, 422, 422, 422, 201]
    assert [r["errors"][0]["code"] for r in results[1:4]] == ["pattern", "missing", "type"]
    assert SECRET not in orjson.dumps(results).decode()
    assert sum(door.heads().values()) == before + 2


def test_an_item_that_is_too_large_gets_413_in_its_place(door: Door) -> None:
    large = text(event())[:-1] + b" " * 33_000 + b"}"
    response = door.post(b"[" + large + b"," + text(event()) + b"]", media_type=BATCH)
    assert [r["status"] for r in response.json()["results"]] == [413, 201]


def test_a_body_without_end_is_cut_off(door: Door) -> None:
    """No content-length to go by: chunks until the bound."""
    before = door.heads()
    headers = {"content-type": STRUCTURED, "authorization": f"Bearer {door.token}"}
    chunks = (b"x" * 16_384 for _ in range(64))
    response = door.client.post("/v1/events", content=chunks, headers=headers)
    assert response.status_code == 413
    assert door.heads() == before


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/v1/events", 405), ("GET", f"/{SECRET}", 404)])
def test_addresses_and_methods_that_are_not_there_are_problems_too(
    door: Door, method: str, path: str, status: int
) -> None:
    response = door.client.request(method, path)
    assert (response.status_code, response.headers["content-type"]) == (status, "application/problem+json")
    assert SECRET not in response.text


def test_a_header_sent_twice_is_refused(door: Door) -> None:
    headers = [("content-type", STRUCTURED), ("content-type", BATCH), ("authorization", f"Bearer {door.token}")]
    assert door.client.post("/v1/events", content=b"{}", headers=headers).status_code == 415
    twice = [("content-type", "application/json"), ("authorization", f"Bearer {door.token}")]
    twice += [("ce-id", "a"), ("ce-id", "b"), ("ce-specversion", "1.0")]
    response = door.client.post("/v1/events", content=b"{}", headers=twice)
    assert (response.status_code, response.json()["errors"][0]["code"]) == (422, "repeated-member")

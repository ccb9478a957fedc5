"""A policy is data: malformed when ids repeat, a reference is unknown, or parents form a cycle."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest

from ledger import codec, policy
from ledger.errors import ConsentLedgerError, Malformed, MalformedPolicy

GOLDEN = Path(__file__).resolve().parents[1] / "vectors" / "golden" / "policy.published.v1.json"
Change = Callable[[dict[str, Any]], None]


def small() -> dict[str, Any]:
    data: dict[str, Any] = orjson.loads(GOLDEN.read_bytes())["data"]
    return data


def add(where: str, **item: Any) -> Change:
    return lambda data: data[where].append(item)


def at(where: str, index: int, **changes: Any) -> Change:
    return lambda data: data[where][index].update(changes)


def inside(where: str, **changes: Any) -> Change:
    return lambda data: data[where].update(changes)


def both(*changes: Change) -> Change:
    def change(data: dict[str, Any]) -> None:
        for one in changes:
            one(data)

    return change


BROKEN: dict[str, tuple[Change, str, str]] = {
    "dangling parent of a purpose": (at("purposes", 1, parent="secret"), "/purposes/1/parent", "unknown-parent"),
    "dangling parent of a category": (at("categories", 1, parent="secret"), "/categories/1/parent", "unknown-parent"),
    "dangling parent of an operation": (at("operations", 1, parent="secret"), "/operations/1/parent", "unknown-parent"),
    "a purpose its own parent": (at("purposes", 0, parent="4.2"), "/purposes/0/parent", "cycle"),
    "purposes in a cycle": (at("purposes", 0, parent="4.2/pothole"), "/purposes/0/parent", "cycle"),
    "categories in a cycle": (at("categories", 0, parent="email"), "/categories/0/parent", "cycle"),
    "operations in a cycle": (at("operations", 0, parent="profile"), "/operations/0/parent", "cycle"),
    "a parent whose parent is in a cycle": (
        both(at("purposes", 0, parent="4.6"), at("purposes", 2, parent="4.2")),
        "/purposes/0/parent",
        "cycle",
    ),
    "repeated statement": (add("statements", id="1", text="other"), "/statements/2", "repeated-id"),
    "repeated purpose": (
        add("purposes", id="4.6", text="other", parent=None, categories=None),
        "/purposes/3",
        "repeated-id",
    ),
    "repeated category": (
        add("categories", id="email", label="other", identifying=False, parent=None),
        "/categories/3",
        "repeated-id",
    ),
    "repeated operation": (add("operations", id="analyse", label="x", parent=None), "/operations/2", "repeated-id"),
    "repeated recipient": (
        add("recipients", kind="service-provider", statement="4.8", requires_agreement=False),
        "/recipients/1",
        "repeated-id",
    ),
    "repeated legal basis": (
        add("legal_bases", id="public-records-act", citation="other", requires_decision=False),
        "/legal_bases/1",
        "repeated-id",
    ),
    "unknown category of a purpose": (
        at("purposes", 0, categories=["email", "secret"]),
        "/purposes/0/categories/1",
        "unknown-category",
    ),
    "unknown consistent purpose": (at("consistent", 0, purpose="secret"), "/consistent/0/purpose", "unknown-purpose"),
    "unknown stated purpose": (at("consistent", 0, **{"with": "secret"}), "/consistent/0/with", "unknown-purpose"),
    "unknown statement of a recipient": (
        at("recipients", 0, statement="secret"),
        "/recipients/0/statement",
        "unknown-statement",
    ),
    "unknown statement of a channel": (
        inside("channels", letter={"requires_preference": False, "statement": "secret"}),
        "/channels",
        "unknown-statement",
    ),
    "unknown automatic category": (
        inside("automatic", categories=["secret"]),
        "/automatic/categories/0",
        "unknown-category",
    ),
    "unknown social category": (
        inside("social_login", categories=["secret"]),
        "/social_login/categories/0",
        "unknown-category",
    ),
    "unknown social purpose": (
        inside("social_login", purposes=["secret"]),
        "/social_login/purposes/0",
        "unknown-purpose",
    ),
    "unknown field": (inside("automatic", secret=True), "/automatic", "unknown-field"),
    "repeated item of a list": (
        at("purposes", 0, categories=["email", "email"]),
        "/purposes/0/categories",
        "repeated-item",
    ),
    "too many purposes": (
        lambda data: data.update(
            purposes=[{"id": f"p{i}", "text": "t", "parent": None, "categories": None} for i in range(65)]
        ),
        "/purposes",
        "array-length",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_policy_is_refused_with_the_place_and_a_code(name: str) -> None:
    change, pointer, code = BROKEN[name]
    data = small()
    change(data)
    with pytest.raises(Malformed) as refused:
        policy.load(orjson.dumps(data))
    assert (pointer, code) in refused.value.problems
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_policy_is_refused_inside_its_event_too(name: str) -> None:
    change, pointer, code = BROKEN[name]
    envelope = orjson.loads(GOLDEN.read_bytes())
    change(envelope["data"])
    with pytest.raises(Malformed) as refused:
        codec.read(orjson.dumps(envelope))
    assert ("/data" + pointer, code) in refused.value.problems
    assert "secret" not in str(refused.value)


def test_a_statement_may_be_named_by_a_purpose_s_id() -> None:
    data = small()
    data["channels"]["mobile-notification"]["statement"] = "4.6"
    assert policy.load(orjson.dumps(data)).channels["mobile-notification"].statement == "4.6"


def test_lists_inside_a_policy_may_be_empty() -> None:
    data = small()
    for name in ("statements", "purposes", "categories", "operations", "consistent", "recipients", "legal_bases"):
        data[name] = []
    data["channels"] = {}
    data["automatic"] = {"categories": []}
    data["social_login"] = {"providers": [], "categories": [], "purposes": []}
    assert policy.load(orjson.dumps(data)).purposes == ()


def test_a_child_may_come_before_its_parent() -> None:
    data = small()
    data["purposes"].reverse()
    assert policy.load(orjson.dumps(data)).purposes[-1].id == "4.2"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"null",
        b"{",
        b'{"policy_id": "\xff"}',
        b"[" * 200_000,
        b"\xef\xbb\xbf{}",
        b'"secret"',
        b'{"secret": NaN}',
    ],
)
def test_what_is_no_policy_at_all_is_one_of_our_errors(raw: bytes) -> None:
    with pytest.raises(ConsentLedgerError) as refused:
        policy.load(raw)
    assert "secret" not in str(refused.value)


def test_a_member_name_that_repeats_is_refused_in_a_policy_too() -> None:
    raw = orjson.dumps(small())
    with pytest.raises(Malformed) as refused:
        policy.load(raw.replace(b'"identifying":false', b'"identifying":false,"identifying":true', 1))
    assert refused.value.problems == (("", "repeated-member"),)


def test_a_malformed_policy_names_every_problem_at_once() -> None:
    data = small()
    data["purposes"][0]["parent"] = "secret"
    data["categories"][0]["parent"] = "secret"
    with pytest.raises(MalformedPolicy) as refused:
        policy.load(orjson.dumps(data))
    assert len(refused.value.problems) >= 2


def test_the_policy_of_my_san_jose_loads_is_well_formed_and_fits_in_an_event() -> None:
    published = policy.my_san_jose()
    assert (published.policy_id, published.version) == ("my-san-jose", "2018-04-18")
    assert codec.instant(published.effective_from) == codec.instant("2018-04-18T07:00:00Z")
    assert {f"4.{n}" for n in range(1, 10)} <= {purpose.id for purpose in published.purposes}
    assert {str(n) for n in range(1, 9)} <= {statement.id for statement in published.statements}
    assert published.automatic.categories == ()
    envelope = {**orjson.loads(GOLDEN.read_bytes()), "data": orjson.loads(orjson.dumps(codec_data(published)))}
    assert len(orjson.dumps(envelope)) <= 32 * 1024


def codec_data(published: Any) -> Any:
    return msgspec.to_builtins(published)

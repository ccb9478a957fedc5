"""Two roads in, one spelling out: what the door refuses, what the log's road accepts, and no error that echoes."""

import json
import traceback
from collections.abc import Callable
from typing import Any

import msgspec
import orjson
import pytest

from ledger import codec
from ledger.errors import ConsentLedgerError, Malformed, TooLarge, Unparsable
from ledger.events import KINDS, MAX_EVENT_BYTES, AgreementEnded, Event, Sealed

SECRET = "Secret-7f3"
SEALED = {"sealed": {"key": "k1", "ciphertext": "q83vASNFZ4mrze8="}}


def event(kind: str = "agreement.ended", data: Any = None, **changes: Any) -> dict[str, Any]:
    """A well-formed event as JSON members."""
    members: dict[str, Any] = {
        "specversion": "1.0",
        "id": "e1",
        "source": "/services/permits",
        "type": f"org.consent-ledger.{kind}.v1",
        "time": "2026-03-03T12:00:00Z",
        "datacontenttype": "application/json",
        "data": {"agreement_id": "a1", "reason": "done"} if data is None else data,
        **changes,
    }
    return {name: value for name, value in members.items() if value is not ...}


def about_a_resident(kind: str, data: Any, **changes: Any) -> dict[str, Any]:
    return event(kind, data, subject="res_7f2c", **changes)


def contested(**changes: Any) -> dict[str, Any]:
    return about_a_resident("data.contested", {"contest_id": "k1", "categories": ["email"], "claim": "c", **changes})


def used(**changes: Any) -> dict[str, Any]:
    data = {
        "categories": ["email"],
        "purpose": "4.2",
        "operation": "consult",
        "basis": {"kind": "stated-purpose"},
        **changes,
    }
    return about_a_resident("data.used", {name: value for name, value in data.items() if value is not ...})


def collected(**changes: Any) -> dict[str, Any]:
    data = {"categories": ["email"], "purposes": ["4.2"], "origin": "resident", **changes}
    return about_a_resident("data.collected", data)


def withheld(until: str, time: str = "2026-03-03T12:00:00Z") -> dict[str, Any]:
    data = {"about": {"source": "/s", "id": "e1"}, "citation": "c", "until": until}
    return about_a_resident("disclosure.withheld", data, time=time)


def refusal(raw: bytes) -> ConsentLedgerError:
    """How the door refuses; and that nothing that was sent stands in it, nor in what it came from."""
    with pytest.raises(ConsentLedgerError) as refused:
        codec.parse(raw)
    text = (
        "".join(traceback.format_exception_only(refused.value)) + repr(refused.value.args) + repr(vars(refused.value))
    )
    assert SECRET.lower() not in text.lower()
    assert refused.value.__suppress_context__ or refused.value.__context__ is None
    return refused.value


def problem(members: dict[str, Any]) -> tuple[str, str]:
    error = refusal(orjson.dumps(members))
    assert isinstance(error, Malformed)
    return error.problems[0].pointer, error.problems[0].code


# --- what is fine -----------------------------------------------------------------------------------------------

FINE: dict[str, dict[str, Any]] = {
    "plain": event(),
    "with a case number": event(correlationid="case:2026.17-b_1"),
    "offset": event(time="2026-03-03T23:59:59.123456+05:30"),
    "one fraction digit": event(time="2026-03-03T12:00:00.1Z"),
    "the first instant of 1970": event(time="1970-01-01T00:00:00Z"),
    "the first instant of 1970, elsewhere": event(time="1970-01-01T05:30:00+05:30"),
    "29 February of a leap year": event(time="2028-02-29T12:00:00Z"),
    "text of 500 characters": event(data={"agreement_id": "a1", "reason": "ă" * 500}),
    "empty text": event(data={"agreement_id": "a1", "reason": ""}),
    "an id of 64": event(id="A" * 64),
    "64 categories": used(categories=[f"c{i}" for i in range(64)]),
    "a sealed text of 4,000 characters": contested(claim="é" * 4_000),
    "notify with its channel": used(operation="notify", channel="mobile-notification"),
    "an empty citation": used(basis={"kind": "law", "legal_basis": "court-order", "citation": ""}),
    "withheld for one year": withheld("2027-03-03T12:00:00Z"),
    "withheld from 29 February": withheld("2029-02-28T12:00:00Z", time="2028-02-29T12:00:00Z"),
    "a consent for a purpose nobody knows": about_a_resident(
        "consent.given", {"consent_id": "c1", "purposes": ["astrology"], "method": "web"}
    ),
    "valid until before valid from": event(
        "agreement.signed",
        {
            "agreement_id": "a1",
            "recipient": "r",
            "purposes": ["p"],
            "categories": ["c"],
            "safeguards": ["s"],
            "valid_from": "2026-03-03T12:00:00Z",
            "valid_until": "2025-03-03T12:00:00Z",
        },
    ),
}


@pytest.mark.parametrize("name", FINE)
def test_a_well_formed_event_is_taken_and_written_in_one_spelling(name: str) -> None:
    taken = codec.parse(orjson.dumps(FINE[name]))
    written = codec.encode(taken)
    assert orjson.loads(written) == FINE[name]
    assert codec.encode(codec.read(written)) == written
    assert codec.parse(orjson.dumps(dict(reversed(FINE[name].items())), option=orjson.OPT_INDENT_2)) == taken


# --- what is not ------------------------------------------------------------------------------------------------

WRONG: dict[str, tuple[dict[str, Any], str, str]] = {
    "unknown attribute": (event(traceparent=SECRET), "", "unknown-field"),
    "unknown type": (event(type=f"org.consent-ledger.{SECRET}.v1"), "/type", "unknown-type"),
    "a version that is not yet": (event(type="org.consent-ledger.agreement.ended.v2"), "/type", "unknown-type"),
    "type of another type": (event(type=[SECRET]), "/type", "type"),
    "type null": (event(type=None), "/type", "type"),
    "data of another type": (event(data=[SECRET]), "/data", "type"),
    "data as text": (event(data=SECRET), "/data", "type"),
    "unknown field": (event(data={"agreement_id": "a1", "reason": "r", "note": SECRET}), "/data", "unknown-field"),
    "a field that names a person": (
        event(data={"agreement_id": "a1", "reason": "r", SECRET: 1}),
        "/data",
        "unknown-field",
    ),
    "missing field": (event(data={"agreement_id": "a1"}), "/data/reason", "missing"),
    "other specversion": (event(specversion="0.3"), "/specversion", "unknown-value"),
    "number for a specversion": (event(specversion=1.0), "/specversion", "type"),
    "other content type": (event(datacontenttype=SECRET), "/datacontenttype", "unknown-value"),
    "forged recordedtime": (event(recordedtime="2026-03-03T12:00:00Z"), "/recordedtime", "set-by-the-ledger"),
    "forged recordedby": (event(recordedby=SECRET), "/recordedby", "set-by-the-ledger"),
    "forged recordedtime, null": (event(recordedtime=None), "/recordedtime", "set-by-the-ledger"),
    "reference fact about somebody": (event(subject=SECRET), "/subject", "type"),
    # identifiers
    "id with a space": (event(id="Secret-7f3 x"), "/id", "pattern"),
    "id with an at": (event(id="Secret-7f3@x"), "/id", "pattern"),
    "id of 65": (event(id="x" * 65), "/id", "pattern"),
    "empty id": (event(id=""), "/id", "pattern"),
    "id ends in a newline": (event(id="e1\n"), "/id", "pattern"),
    "id of other letters": (event(id="é1"), "/id", "pattern"),
    "id of other digits": (event(id="e\u0661"), "/id", "pattern"),
    "number for an id": (event(id=7), "/id", "type"),
    "source with a space": (event(source="/services/Secret-7f3 x"), "/source", "pattern"),
    "empty source": (event(source=""), "/source", "pattern"),
    "source ends in a newline": (event(source="/my\n"), "/source", "pattern"),
    "source with a broken escape": (event(source="/my%2"), "/source", "pattern"),
    "case number with a space": (event(correlationid="Secret-7f3 x"), "/correlationid", "pattern"),
    "subject that is a mail address": (
        about_a_resident("anonymity.chosen", {}) | {"subject": "secret-7f3@example.org"},
        "/subject",
        "pattern",
    ),
    "subject ends in a newline": (about_a_resident("anonymity.chosen", {}) | {"subject": "r\n"}, "/subject", "pattern"),
    "subject missing": (event("anonymity.chosen", {}), "/subject", "missing"),
    "subject null": (event("anonymity.chosen", {}, subject=None), "/subject", "type"),
    "category with a capital": (used(categories=["email", "Secret-7f3"]), "/data/categories/1", "pattern"),
    "category with an at": (used(categories=["secret-7f3@x"]), "/data/categories/0", "pattern"),
    "category ends in a newline": (used(categories=["email\n"]), "/data/categories/0", "pattern"),
    "category starts with a point": (used(categories=[".email"]), "/data/categories/0", "pattern"),
    "category of 65": (used(categories=["x" * 65]), "/data/categories/0", "pattern"),
    "purpose with a space": (used(purpose="secret-7f3 x"), "/data/purpose", "pattern"),
    # arrays
    "no category": (used(categories=[]), "/data/categories", "array-length"),
    "65 categories": (used(categories=[f"c{i}" for i in range(65)]), "/data/categories", "array-length"),
    "repeated category": (used(categories=["email", "phone", "email"]), "/data/categories", "repeated-item"),
    "one category as text": (used(categories="email"), "/data/categories", "type"),
    "categories as an object": (used(categories={"0": "email"}), "/data/categories", "type"),
    "repeated exempt category": (
        event(
            "legal-demand.decided",
            {"demand_id": "d", "legal_basis": "b", "disclose": True, "exempt_categories": ["a", "a"]},
        ),
        "/data/exempt_categories",
        "repeated-item",
    ),
    "bool as text": (
        event(
            "legal-demand.decided",
            {"demand_id": "d", "legal_basis": "b", "disclose": "yes", "exempt_categories": []},
        ),
        "/data/disclose",
        "type",
    ),
    "bool as number": (
        event("legal-demand.decided", {"demand_id": "d", "legal_basis": "b", "disclose": 1, "exempt_categories": []}),
        "/data/disclose",
        "type",
    ),
    # texts
    "text of 501 characters": (
        event(data={"agreement_id": "a1", "reason": "x" * 501}),
        "/data/reason",
        "text-length",
    ),
    "text with a control character": (
        event(data={"agreement_id": "a1", "reason": f"{SECRET}\x07"}),
        "/data/reason",
        "pattern",
    ),
    # one field and another
    "notify without a channel": (used(operation="notify"), "/data/channel", "missing"),
    "provider without social login": (collected(provider="google"), "/data/provider", "only-with-social-login"),
    "from without a third party": (collected(**{"from": "county"}), "/data/from", "only-with-third-party"),
    "unknown origin": (collected(origin=SECRET), "/data/origin", "unknown-value"),
    "withheld for more than a year": (withheld("2027-03-03T12:00:00.000001Z"), "/data/until", "more-than-one-year"),
    # basis
    "unknown basis": (used(basis={"kind": SECRET}), "/data/basis/kind", "unknown-value"),
    "basis as text": (used(basis="law"), "/data/basis", "type"),
    "basis without a kind": (used(basis={"consent_id": "c1"}), "/data/basis/kind", "missing"),
    "consent basis without an id": (used(basis={"kind": "consent"}), "/data/basis/consent_id", "missing"),
    "law without a citation": (
        used(basis={"kind": "law", "legal_basis": "court-order"}),
        "/data/basis/citation",
        "missing",
    ),
    "stated purpose with a citation": (
        used(basis={"kind": "stated-purpose", "citation": SECRET}),
        "/data/basis",
        "unknown-field",
    ),
    "no basis": (used(basis=...), "/data/basis", "missing"),
    # sealed
    "sealed text of 4,001 characters": (contested(claim=SECRET * 401), "/data/claim", "text-length"),
    "sealed object from an emitter": (contested(claim=SEALED), "/data/claim", "type"),
    "sealed object with more in it": (contested(claim={**SEALED, "x": SECRET}), "/data/claim", "unknown-field"),
    "number for a sealed text": (contested(claim=7), "/data/claim", "type"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_breaks_the_contract_is_refused_with_the_place_and_a_code(name: str) -> None:
    members, pointer, code = WRONG[name]
    assert problem(members) == (pointer, code)


@pytest.mark.parametrize("name", ["specversion", "id", "source", "type", "time", "datacontenttype", "data"])
def test_an_attribute_that_an_emitter_sets_is_required_on_the_wire(name: str) -> None:
    assert problem({key: value for key, value in event().items() if key != name}) == (f"/{name}", "missing")


@pytest.mark.parametrize("name", ["data.contested", "complaint.filed"])
def test_a_sealed_object_stands_in_the_log_only(name: str) -> None:
    data = {
        "data.contested": {"contest_id": "k1", "categories": ["email"], "claim": SEALED},
        "complaint.filed": {"complaint_id": "q1", "kind": "comment", "text": SEALED},
    }[name]
    raw = orjson.dumps(about_a_resident(name, data))
    recorded = codec.read(raw)
    assert isinstance(getattr(recorded.data, recorded.data.sealed_fields[0]), Sealed)
    assert isinstance(refusal(raw), Malformed)


# --- times ------------------------------------------------------------------------------------------------------

NO_TIMES = {
    "2026-03-03T12:00:00": "pattern",  # naive
    "2026-03-03t12:00:00Z": "pattern",
    "2026-03-03T12:00:00z": "pattern",
    "2026-03-03 12:00:00Z": "pattern",
    "2026-03-03T12:00Z": "pattern",
    "2026-03-03T12:00:60Z": "pattern",
    "2026-03-03T24:00:00Z": "pattern",
    "2026-03-03T12:60:00Z": "pattern",
    "2026-03-03T12:00:00.Z": "pattern",
    "2026-03-03T12:00:00.1234567Z": "pattern",
    "2026-03-03T12:00:00,5Z": "pattern",
    "2026-03-03T12:00:00+0530": "pattern",
    "2026-03-03T12:00:00+05": "pattern",
    "2026-03-03T12:00:00+24:00": "pattern",
    "2026-03-03T12:00:00Z\n": "pattern",
    " 2026-03-03T12:00:00Z": "pattern",
    "2026-W10-2T12:00:00Z": "pattern",
    "20260303T120000Z": "pattern",
    "2026-13-03T12:00:00Z": "pattern",
    "2026-00-03T12:00:00Z": "pattern",
    "2026-03-00T12:00:00Z": "pattern",
    "2026-03-32T12:00:00Z": "pattern",
    "\u0662026-03-03T12:00:00Z": "pattern",
    "2026-02-29T12:00:00Z": "no-such-time",
    "2026-04-31T12:00:00Z": "no-such-time",
    "0000-01-01T00:00:00Z": "no-such-time",
    "1969-12-31T23:59:59.999999Z": "before-1970",
    "1970-01-01T00:00:00+00:01": "before-1970",
    "0001-01-01T00:00:00+23:59": "before-1970",
    "": "pattern",
}


@pytest.mark.parametrize("time", NO_TIMES)
def test_a_time_that_is_none_is_refused(time: str) -> None:
    assert problem(event(time=time)) == ("/time", NO_TIMES[time])


@pytest.mark.parametrize("time", NO_TIMES)
def test_a_time_inside_data_is_held_to_the_same_rule(time: str) -> None:
    given = {"consent_id": "c1", "purposes": ["p"], "method": "web", "expires_at": time}
    assert problem(about_a_resident("consent.given", given)) == ("/data/expires_at", NO_TIMES[time])


def test_instants_compare_whatever_the_spelling() -> None:
    spellings = ("2026-03-03T12:00:00Z", "2026-03-03T12:00:00.000+00:00", "2026-03-03T04:00:00-08:00")
    assert {codec.instant(time) for time in spellings} == {1_772_539_200_000_000}
    assert codec.instant("2026-03-03T12:00:00.000001Z") == 1_772_539_200_000_001
    assert codec.rfc3339(1_772_539_200_000_001) == "2026-03-03T12:00:00.000001Z"
    assert codec.instant(codec.rfc3339(253_402_300_799_999_999)) == 253_402_300_799_999_999


# --- bytes that are no event at all -----------------------------------------------------------------------------

GOOD = orjson.dumps(event())


def with_inside(data: str) -> bytes:
    return GOOD.replace(b'"reason":"done"', data.encode())


UNPARSABLE: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "json"),
    "a space": (b" ", "json"),
    "half an object": (GOOD[:-2], "json"),
    "two objects": (GOOD + GOOD, "json"),
    "words after": (GOOD + SECRET.encode(), "json"),
    "words": (SECRET.encode(), "json"),
    "a byte order mark": (b"\xef\xbb\xbf" + GOOD, "json"),
    "a byte that is not UTF-8": (GOOD.replace(b"done", b"\xff" + SECRET.encode()), "utf-8"),
    "a surrogate as UTF-8": (GOOD.replace(b"done", b"\xed\xa0\x80"), "utf-8"),
    "an overlong slash": (GOOD.replace(b"done", b"\xc0\xaf"), "utf-8"),
    "a surrogate alone": (GOOD.replace(b"done", b"\\ud800"), "json"),
    "a newline in a text": (GOOD.replace(b"done", b"a\nb"), "json"),
    "NaN": (with_inside('"reason":NaN'), "json"),
    "Infinity": (with_inside('"reason":-Infinity'), "json"),
    "a comment": (GOOD + b"// " + SECRET.encode(), "json"),
    "single quotes": (GOOD.replace(b'"', b"'"), "json"),
    "a comma too many": (with_inside('"reason":"done",'), "json"),
    "UTF-16": (GOOD.decode().encode("utf-16"), "utf-8"),
}


@pytest.mark.parametrize("name", UNPARSABLE)
def test_what_is_not_json_in_utf_8_is_unparsable(name: str) -> None:
    raw, code = UNPARSABLE[name]
    error = refusal(raw)
    assert isinstance(error, Unparsable)
    assert error.code == code


@pytest.mark.parametrize("name", UNPARSABLE)
def test_the_log_s_road_refuses_it_too_with_one_of_our_errors(name: str) -> None:
    with pytest.raises(ConsentLedgerError) as refused:
        codec.read(UNPARSABLE[name][0])
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize("raw", [b"[]", b"null", b"1", b'"Secret-7f3"', b"true", b"[" + GOOD + b"]"])
def test_what_is_json_but_not_an_object_is_malformed(raw: bytes) -> None:
    error = refusal(raw)
    assert isinstance(error, Malformed)
    assert error.problems == (("", "type"),)


@pytest.mark.parametrize(
    "raw",
    [
        GOOD.replace(b'"id":"e1"', b'"id":"e1","id":"Secret-7f3"'),
        GOOD.replace(b'"id":"e1"', b'"id":"e1","id":"e1"'),
        GOOD.replace(b'"id":"e1"', b'"id":"e1","\\u0069d":"e2"'),
        with_inside('"reason":"done","reason":"Secret-7f3"'),
        orjson.dumps(used()).replace(b'"kind":"stated-purpose"', b'"kind":"stated-purpose","kind":"stated-purpose"'),
    ],
)
def test_a_member_name_that_repeats_is_malformed_at_any_depth(raw: bytes) -> None:
    error = refusal(raw)
    assert isinstance(error, Malformed)
    assert error.problems[0].code == "repeated-member"
    with pytest.raises(Malformed):
        codec.read_strict(raw)


@pytest.mark.parametrize("depth", [100, 2_000, 15_000])
def test_deep_nesting_is_refused_without_falling_over(depth: int) -> None:
    refusal(b'{"a":' * depth + b"1" + b"}" * depth)
    refusal(b"[" * depth)
    refusal(with_inside('"reason":' + "[" * depth + "]" * depth))
    with pytest.raises(ConsentLedgerError):
        codec.read(b"[" * depth)
    with pytest.raises(ConsentLedgerError):
        codec.parse_batch(b"[" * depth)


def test_an_event_of_32_kib_is_taken_and_one_byte_more_is_not() -> None:
    padded = GOOD + b" " * (MAX_EVENT_BYTES - len(GOOD))
    assert codec.parse(padded).id == "e1"
    assert isinstance(refusal(padded + b" "), TooLarge)


@pytest.mark.parametrize("number", ["1e400", "-0", "1" * 5_000, "0.1", "1E2"])
def test_a_number_of_any_size_is_only_a_wrong_type(number: str) -> None:
    assert isinstance(refusal(with_inside(f'"reason":{number}')), Malformed | Unparsable)


# --- batches ----------------------------------------------------------------------------------------------------


def test_one_bad_item_of_a_batch_does_not_stop_the_others() -> None:
    items = [orjson.dumps(event(id="e1")), orjson.dumps(event(id=SECRET + " x")), orjson.dumps(event(id="e3"))]
    results = codec.parse_batch(b"[" + b",".join(items) + b"]")
    assert [getattr(result, "id", type(result)) for result in results] == ["e1", Malformed, "e3"]
    assert SECRET not in str(results[1])


@pytest.mark.parametrize("raw", [b"", b"{}", b"[]", b"null", b"[1,", b"[\xff]", b'[{"a":1}]x', GOOD])
def test_what_is_no_batch_is_refused_whole(raw: bytes) -> None:
    with pytest.raises(ConsentLedgerError) as refused:
        codec.parse_batch(raw)
    assert SECRET not in str(refused.value)


def test_a_batch_of_1001_events_is_refused_whole() -> None:
    with pytest.raises(Malformed):
        codec.parse_batch(b"[" + b",".join([GOOD] * 1_001) + b"]")
    assert len(codec.parse_batch(b"[" + b",".join([GOOD] * 1_000) + b"]")) == 1_000


# --- content and versions ---------------------------------------------------------------------------------------


def test_the_same_content_is_the_same_whatever_the_ledger_added_and_the_order_of_members() -> None:
    one = codec.parse(orjson.dumps(event()))
    stamped = codec.read(orjson.dumps(event(recordedtime="2026-03-03T12:00:01Z", recordedby="permits")))
    other = codec.parse(orjson.dumps(event(time="2026-03-03T12:00:00.0Z")))
    assert codec.same_content(one, stamped)
    assert not codec.same_content(one, other)


def from_v0(old: dict[str, Any]) -> dict[str, Any]:
    """Made up: version 0 of `agreement.ended` called the reason `why` and had an `agreement` by number."""
    data = {"agreement_id": f"a{old['data']['agreement']}", "reason": old["data"]["why"]}
    return {**old, "type": "org.consent-ledger.agreement.ended.v1", "data": data}


def from_v00(old: dict[str, Any]) -> dict[str, Any]:
    """Made up: before that, there was no reason at all."""
    return {**old, "type": "org.consent-ledger.agreement.ended.v0", "data": {**old["data"], "why": ""}}


UPCASTERS = {
    "org.consent-ledger.agreement.ended.v0": from_v0,
    "org.consent-ledger.agreement.ended.v00": from_v00,
}


def test_an_old_version_is_read_for_ever_through_an_upcaster() -> None:
    old = event(type="org.consent-ledger.agreement.ended.v0", data={"agreement": 7, "why": "done"})
    today = codec.read(orjson.dumps(old), UPCASTERS)
    assert today.type == "org.consent-ledger.agreement.ended.v1"
    assert msgspec.to_builtins(today.data) == {"agreement_id": "a7", "reason": "done"}


def test_upcasters_are_chained_from_version_to_version() -> None:
    oldest = event(type="org.consent-ledger.agreement.ended.v00", data={"agreement": 7})
    assert codec.read(orjson.dumps(oldest), UPCASTERS).data.reason == ""


def test_an_old_version_whose_upcast_breaks_today_s_contract_is_malformed() -> None:
    old = event(type="org.consent-ledger.agreement.ended.v0", data={"agreement": " ", "why": "done"})
    with pytest.raises(Malformed):
        codec.read(orjson.dumps(old), UPCASTERS)


def test_nobody_may_send_an_old_version() -> None:
    old = event(type="org.consent-ledger.agreement.ended.v0", data={"agreement": 7, "why": "done"})
    assert problem(old) == ("/type", "unknown-type")


def test_today_s_version_never_goes_through_an_upcaster() -> None:
    def broken(old: dict[str, Any]) -> dict[str, Any]:
        raise AssertionError("called")

    assert codec.read(GOOD, {"org.consent-ledger.agreement.ended.v1": broken}).id == "e1"


# --- the quick look of `parse`, and the one spelling --------------------------------------------------------------


def looked_at_closely(raw: bytes, monkeypatch: pytest.MonkeyPatch) -> Event | ConsentLedgerError:
    """What `parse` says without its quick look."""
    with monkeypatch.context() as patched:
        patched.setattr(codec, "_plain", lambda raw: None)
        try:
            return codec.parse(raw)
        except ConsentLedgerError as error:
            return error


def looked_at(raw: bytes) -> Event | ConsentLedgerError:
    try:
        return codec.parse(raw)
    except ConsentLedgerError as error:
        return error


TWICE = b'"id":"e1","id":"e1",'


@pytest.mark.parametrize(
    "change",
    [
        lambda raw: raw,
        lambda raw: raw.replace(b":", b" :\n ").replace(b",", b"\t, "),
        lambda raw: raw.replace(b'"id":"e1",', TWICE),
        lambda raw: raw.replace(b'"id":"e1",', TWICE).replace(b'"specversion":"1.0",', b""),
        lambda raw: raw.replace(b'"id":"e1",', TWICE).replace(b'"datacontenttype":"application/json",', b""),
        # As many quotes, and the name of what is missing, as a value.
        lambda raw: raw.replace(b'"specversion":"1.0",', b"").replace(
            b'"id":"e1",', b'"id":"specversion","id":"specversion",'
        ),
        lambda raw: raw.replace(b'"e1"', b'"specversion"').replace(b'"specversion":"1.0",', TWICE),
        lambda raw: raw.replace(b'"done"', b'"\\"specversion\\":"').replace(b'"specversion":"1.0",', TWICE),
        lambda raw: raw.replace(b'"specversion"', b'"\\u0073pecversion"'),
        lambda raw: raw.replace(b'"specversion"', b'"specversion":"1.0","specversion"'),
        lambda raw: raw.replace(b'"reason":"done"', b'"reason":"done","reason":"done"'),
        lambda raw: raw.replace(b'"reason":"done"', b'"reason":"done","unknown":1'),
        lambda raw: raw.replace(b'"reason":"done"', b'"reason":"\xff"'),
        lambda raw: raw.replace(b'"reason":"done"', b'"reason":NaN'),
        lambda raw: raw.replace(b'"reason":"done"', b'"reason":"a\x00b"'),
        lambda raw: raw.replace(b"2026-03-03", b"2026-02-30"),
        lambda raw: raw[:-1] + b',"recordedtime":"2026-03-03T12:00:00Z"}',
        lambda raw: raw[:-1] + b',"recordedby":"web"}',
        lambda raw: b"\xef\xbb\xbf" + raw,
        lambda raw: raw + b" ",
        lambda raw: raw + b"{}",
        lambda raw: raw[:-1],
        lambda raw: b"[" + raw + b"]",
    ],
)
def test_the_quick_look_says_what_the_close_one_says(
    change: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = change(orjson.dumps(event()))
    found, closely = looked_at(raw), looked_at_closely(raw, monkeypatch)
    if isinstance(closely, ConsentLedgerError):
        assert (type(found), str(found)) == (type(closely), str(closely))
    else:
        assert found == closely


def test_the_quick_look_is_what_ordinary_events_get() -> None:
    for members in (event(), used(), contested(), collected()):
        assert codec._plain(orjson.dumps(members)) == codec.parse(orjson.dumps(members))
        spaced = json.dumps(members, indent=1).encode()
        assert codec._plain(spaced) == codec.parse(spaced)


def test_a_field_that_is_sealed_already_is_refused_at_a_glance_and_closely(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = orjson.dumps(contested(claim=SEALED))
    assert codec._plain(raw) is None
    assert isinstance(looked_at(raw), Malformed)


def test_a_record_is_spelled_as_orjson_spells_it_whatever_its_characters() -> None:
    characters = "".join(chr(c) for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF)
    for at in range(0, len(characters), 4_000):
        text = characters[at : at + 4_000]
        sent = KINDS["agreement.ended"](
            id="e1", source="/s", time="2026-03-03T12:00:00Z", data=AgreementEnded(agreement_id="a1", reason=text)
        )
        assert codec.encode(sent) == orjson.dumps(msgspec.to_builtins(sent))

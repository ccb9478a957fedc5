"""What counts at the very instant: each promise of verdicts.md about "≤", "<" and "latest", kept by both judges."""

from typing import Any

import orjson
import pytest

from ledger.codec import encode, read
from ledger.events import Event
from ledger.history import judge_history
from tests.reference.judge import judge_all

Code = tuple[str, str]
T = "2026-03-03T12:00:00Z"
BEFORE = "2026-03-03T11:59:59.999999Z"
AFTER = "2026-03-03T12:00:00.000001Z"
EARLY = "2026-03-01T12:00:00Z"
T_ELSEWHERE = "2026-03-03T04:00:00-08:00"

POLICY: dict[str, Any] = {
    "policy_id": "small",
    "version": "v1",
    "title": "t",
    "effective_from": "2026-01-01T00:00:00Z",
    "statements": [{"id": "6", "text": "t"}],
    "purposes": [
        {"id": "requests", "text": "t", "parent": None, "categories": ["email"]},
        {"id": "news", "text": "t", "parent": None, "categories": ["email"]},
    ],
    "categories": [
        {"id": "contact", "label": "l", "identifying": False, "parent": None},
        {"id": "email", "label": "l", "identifying": True, "parent": "contact"},
    ],
    "operations": [],
    "consistent": [],
    "recipients": [{"kind": "service-provider", "statement": "6", "requires_agreement": True}],
    "automatic": {"categories": []},
    "social_login": {"providers": [], "categories": [], "purposes": []},
    "channels": {"push": {"requires_preference": True, "statement": "6"}},
    "legal_bases": [{"id": "records-act", "citation": "c", "requires_decision": True}],
}
Fact = tuple[str, str, dict[str, Any]]


def policy(**changes: Any) -> Fact:
    return ("policy.published", EARLY, {**POLICY, **changes})


def notice(time: str, purpose: str = "requests") -> Fact:
    words = {"notice_id": "n", "policy_version": "v1", "channel": "web", "language": "en"}
    return ("notice.given", time, {**words, "purposes": [purpose], "categories": ["email"]})


def collected(time: str, purpose: str = "requests") -> Fact:
    return ("data.collected", time, {"categories": ["email"], "purposes": [purpose], "origin": "resident"})


def used(time: str = T, purpose: str = "requests", **changes: Any) -> Fact:
    basis = {"kind": "stated-purpose"}
    words = {"categories": ["email"], "purpose": purpose, "operation": "consult", "basis": basis, **changes}
    return ("data.used", time, words)


def shared(time: str = T, **changes: Any) -> Fact:
    words = {"recipient": "paver", "recipient_kind": "service-provider", "basis": {"kind": "stated-purpose"}}
    return ("data.shared", time, {"categories": ["email"], "purpose": "requests", **words, **changes})


def consent(time: str, consent_id: str = "c", purpose: str = "news", **changes: Any) -> Fact:
    return ("consent.given", time, {"consent_id": consent_id, "purposes": [purpose], "method": "web", **changes})


def withdrawn(time: str, consent_id: str = "c") -> Fact:
    return ("consent.withdrawn", time, {"consent_id": consent_id})


def erased(time: str, *categories: str) -> Fact:
    return ("data.erased", time, {"erasure_id": "x", **({"categories": list(categories)} if categories else {})})


def preference(time: str, allowed: bool) -> Fact:
    return ("preference.set", time, {"channel": "push", "allowed": allowed})


def agreement(agreement_id: str = "a", **changes: Any) -> Fact:
    words = {"recipient": "paver", "purposes": ["requests"], "categories": ["contact"], "safeguards": ["s"]}
    return ("agreement.signed", AFTER, {"agreement_id": agreement_id, **words, "valid_from": EARLY, **changes})


def ended(time: str, agreement_id: str = "a") -> Fact:
    return ("agreement.ended", time, {"agreement_id": agreement_id, "reason": "r"})


def contested(time: str, *categories: str) -> Fact:
    return ("data.contested", time, {"contest_id": "k", "categories": list(categories), "claim": "c"})


def resolved(time: str) -> Fact:
    return ("contest.resolved", time, {"contest_id": "k", "outcome": "upheld"})


def decided(time: str, disclose: bool = True, **changes: Any) -> Fact:
    words = {"demand_id": "d", "legal_basis": "records-act", "disclose": disclose, "exempt_categories": []}
    return ("legal-demand.decided", time, {**words, **changes})


REFERENCE = ("policy.published", "agreement.signed", "agreement.ended", "legal-demand.decided")
LAW = {"kind": "law", "legal_basis": "records-act", "citation": "§ 1", "demand_id": "d"}
TOLD = (policy(), notice(EARLY), collected(EARLY))


def events(facts: tuple[Fact, ...]) -> list[Event]:
    made = []
    for number, (kind, time, data) in enumerate(facts, start=1):
        envelope = {
            "specversion": "1.0",
            "id": f"e{number}",
            "source": "/s",
            "type": f"org.consent-ledger.{kind}.v1",
            "time": time,
            "datacontenttype": "application/json",
            "data": data,
            **({} if kind in REFERENCE else {"subject": "r"}),
        }
        made.append(read(orjson.dumps(envelope)))
    return made


def codes(rule: str, *facts: Fact) -> list[Code]:
    """What this rule says of the last event: by the product's judge, which the reference judge must match."""
    history = events(facts)
    last = judge_history(encode(event) for event in history)[-1]
    ours = [(f.result, f.code) for f in last.verdict.findings if f.rule == rule]
    reference = judge_all(enumerate(history, start=1))[-1]
    assert ours == [(f[1], f[2]) for f in reference.findings if f[0] == rule]
    assert last.offset == len(facts) == reference.position
    return ours


STATED, BY_CONSENT = [("holds", "stated-purpose")], [("holds", "consent")]
NOT_STATED, NOT_TOLD = [("violated", "purpose-not-stated")], [("violated", "purpose-not-told")]
NO_COLLECTION = [("unknown", "no-collection-on-record")]
ACTIVE, NOT_ACTIVE = [("holds", "agreement-active")], [("violated", "no-active-agreement")]


@pytest.mark.parametrize(("time", "code"), [(T, "notice-given"), (T_ELSEWHERE, "notice-given"), (AFTER, "no-notice")])
def test_a_notice_at_the_very_instant_of_collection_is_in_time(time: str, code: str) -> None:
    assert [found for _, found in codes("notice", policy(), notice(time), collected(T))] == [code]


def test_a_notice_recorded_after_the_collection_counts_by_its_time() -> None:
    assert codes("purpose-limitation", policy(), collected(EARLY), notice(EARLY), used()) == STATED
    assert codes("purpose-limitation", policy(), collected(EARLY), notice(T), used()) == NOT_TOLD


@pytest.mark.parametrize(("time", "found"), [(BEFORE, STATED), (T, STATED), (AFTER, NO_COLLECTION)])
def test_a_collection_at_the_instant_of_use_counts(time: str, found: list[Code]) -> None:
    assert codes("purpose-limitation", policy(), notice(EARLY), collected(time), used()) == found


@pytest.mark.parametrize(("time", "found"), [(BEFORE, NOT_STATED), (T, NOT_STATED), (AFTER, BY_CONSENT)])
def test_a_withdrawal_at_the_instant_of_use_already_ends_consent(time: str, found: list[Code]) -> None:
    facts = (*TOLD, consent(EARLY), withdrawn(time), used(purpose="news"))
    assert codes("purpose-limitation", *facts) == found


@pytest.mark.parametrize(("time", "found"), [(BEFORE, NOT_STATED), (T, NOT_STATED), (AFTER, BY_CONSENT)])
def test_a_consent_ends_at_the_instant_it_expires(time: str, found: list[Code]) -> None:
    assert codes("purpose-limitation", *TOLD, consent(EARLY, expires_at=time), used(purpose="news")) == found


def test_at_one_instant_the_later_in_the_log_decides_whether_a_consent_is_active() -> None:
    assert codes("purpose-limitation", *TOLD, withdrawn(T), consent(T), used(purpose="news")) == BY_CONSENT
    assert codes("purpose-limitation", *TOLD, consent(T), withdrawn(T), used(purpose="news")) == NOT_STATED


def test_giving_again_renews_and_replaces_what_the_consent_covered() -> None:
    renewed = (*TOLD, consent(EARLY), withdrawn(EARLY), consent(BEFORE), used(purpose="news"))
    narrowed = (*TOLD, consent(EARLY), consent(BEFORE, purpose="requests"), used(purpose="news"))
    assert codes("purpose-limitation", *renewed) == BY_CONSENT
    assert codes("purpose-limitation", *narrowed) == NOT_STATED


def test_a_withdrawal_of_another_consent_ends_nothing() -> None:
    assert codes("purpose-limitation", *TOLD, consent(EARLY), withdrawn(T, "other"), used(purpose="news")) == BY_CONSENT


@pytest.mark.parametrize(("time", "found"), [(BEFORE, STATED), (T, NO_COLLECTION), (AFTER, NO_COLLECTION)])
def test_what_was_collected_at_the_instant_of_an_erasure_is_erased(time: str, found: list[Code]) -> None:
    facts = (policy(), notice(EARLY), erased(time), collected(T), used("2026-03-04T12:00:00Z"))
    assert codes("purpose-limitation", *facts) == found


def test_an_erasure_after_the_use_erases_nothing_of_it() -> None:
    assert codes("purpose-limitation", *TOLD, erased(AFTER), used()) == STATED


@pytest.mark.parametrize("categories", [(), ("contact",), ("email",)])
def test_erasing_everything_or_the_category_or_what_it_is_within_erases_it(categories: tuple[str, ...]) -> None:
    assert codes("purpose-limitation", *TOLD, erased(BEFORE, *categories), used()) == NO_COLLECTION


def test_erasing_a_part_leaves_the_whole() -> None:
    of_contact = ("data.collected", EARLY, {"categories": ["contact"], "purposes": ["requests"], "origin": "resident"})
    told = ("notice.given", EARLY, {**notice(EARLY)[2], "categories": ["contact"]})
    facts = (policy(), told, of_contact, erased(BEFORE, "email"), used(categories=["contact"]))
    assert codes("purpose-limitation", *facts) == STATED


@pytest.mark.parametrize(("until", "found"), [(BEFORE, NOT_ACTIVE), (T, NOT_ACTIVE), (AFTER, ACTIVE)])
def test_an_agreement_is_over_at_the_instant_it_is_valid_until(until: str, found: list[Code]) -> None:
    assert codes("safeguards", *TOLD, agreement(valid_until=until), shared()) == found


@pytest.mark.parametrize(("since", "found"), [(BEFORE, ACTIVE), (T, ACTIVE), (AFTER, NOT_ACTIVE)])
def test_an_agreement_is_active_from_the_instant_it_is_valid_from(since: str, found: list[Code]) -> None:
    assert codes("safeguards", *TOLD, agreement(valid_from=since), shared()) == found


@pytest.mark.parametrize(("time", "found"), [(BEFORE, NOT_ACTIVE), (T, NOT_ACTIVE), (AFTER, ACTIVE)])
def test_an_agreement_is_over_at_the_instant_of_its_end(time: str, found: list[Code]) -> None:
    assert codes("safeguards", *TOLD, agreement(), ended(time), shared()) == found


def test_an_ended_agreement_stays_ended_even_when_it_is_signed_again() -> None:
    assert codes("safeguards", *TOLD, ended(EARLY), agreement(valid_from=BEFORE), shared()) == NOT_ACTIVE
    assert codes("safeguards", *TOLD, ended(EARLY), agreement("b"), shared()) == ACTIVE


def test_the_first_end_counts_whatever_the_order_in_the_log() -> None:
    assert codes("safeguards", *TOLD, agreement(), ended(BEFORE), ended(AFTER), shared()) == NOT_ACTIVE
    assert codes("safeguards", *TOLD, agreement(), ended(AFTER), ended(BEFORE), shared()) == NOT_ACTIVE


def test_one_single_agreement_must_have_every_category() -> None:
    both: dict[str, Any] = {"categories": ["email", "place"]}
    halves = (agreement("a", categories=["email"]), agreement("b", categories=["place"]))
    assert codes("safeguards", *TOLD, *halves, shared(**both)) == NOT_ACTIVE
    assert (
        codes("safeguards", *TOLD, *halves, agreement("c", categories=["place", "contact"]), shared(**both)) == ACTIVE
    )


def test_consents_for_each_category_may_be_different_ones_to_name_a_recipient() -> None:
    both: dict[str, Any] = {"categories": ["email", "contact"], "recipient_kind": "other"}
    names: dict[str, Any] = {"recipients": ["paver"], "purpose": "requests"}
    email = consent(EARLY, "c1", categories=["email"], **names)
    contact = consent(EARLY, "c2", categories=["contact"], **names)
    assert codes("recipient", *TOLD, email, shared(**both)) == [("violated", "recipient-not-described")]
    assert codes("recipient", *TOLD, email, contact, shared(**both)) == [("holds", "consent")]


@pytest.mark.parametrize(
    ("order", "code"),
    [
        ((preference(EARLY, True), preference(T, False)), "notification-not-preferred"),
        ((preference(T, False), preference(EARLY, True)), "notification-not-preferred"),
        ((preference(EARLY, False), preference(T, True)), "preferred"),
        ((preference(T, False), preference(T, True)), "preferred"),
        ((preference(T, True), preference(AFTER, False)), "preferred"),
        ((), "notification-not-preferred"),
    ],
)
def test_the_latest_preference_by_time_then_place_in_the_log_counts(order: tuple[Fact, ...], code: str) -> None:
    assert [found for _, found in codes("communication-preference", *TOLD, *order, used(channel="push"))] == [code]


@pytest.mark.parametrize(("time", "contested_now"), [(EARLY, False), (T, False), (AFTER, True)])
def test_a_contest_is_settled_at_the_instant_of_its_resolution(time: str, contested_now: bool) -> None:
    found = codes("accuracy", *TOLD, contested(BEFORE, "contact"), resolved(time), used())
    assert found == ([("caution", "contested")] if contested_now else [])


def test_a_contest_about_something_else_is_no_caution() -> None:
    assert codes("accuracy", *TOLD, contested(EARLY, "place"), used()) == []


@pytest.mark.parametrize(
    ("decision", "found"),
    [
        (decided(T), ("holds", "disclosure-decided")),
        (decided(AFTER), ("unknown", "undecided-demand")),
        (decided(T, False), ("violated", "disclosure-refused")),
        (decided(T, exempt_categories=["email"]), ("violated", "exempt-from-disclosure")),
        (decided(T, exempt_categories=["contact"]), ("violated", "exempt-from-disclosure")),
        (decided(T, recipient="paver"), ("holds", "disclosure-decided")),
        (decided(T, recipient="mailer"), ("unknown", "undecided-demand")),
        (decided(T, demand_id="other"), ("unknown", "undecided-demand")),
        (decided(T, legal_basis="other"), ("unknown", "undecided-demand")),
    ],
)
def test_a_decision_counts_by_its_time_demand_basis_and_recipient(decision: Fact, found: Code) -> None:
    assert codes("legal-demand", *TOLD, decision, shared(basis=LAW)) == [found]


def test_a_decision_that_names_a_recipient_is_never_for_a_use() -> None:
    assert codes("legal-demand", *TOLD, decided(T, recipient="paver"), used(basis=LAW)) == [
        ("unknown", "undecided-demand")
    ]
    assert codes("legal-demand", *TOLD, decided(T), used(basis=LAW)) == [("holds", "disclosure-decided")]


@pytest.mark.parametrize(("since", "version"), [(BEFORE, "v2"), (T, "v2"), (AFTER, "v1")])
def test_a_policy_is_in_force_from_its_very_instant(since: str, version: str) -> None:
    assert codes("policy-in-force", policy(), policy(version="v2", effective_from=since), used()) == [
        ("holds", version)
    ]


def test_of_two_policies_from_one_instant_the_later_in_the_log_is_in_force() -> None:
    assert codes("policy-in-force", policy(version="v2"), policy(version="v3"), used()) == [("holds", "v3")]


@pytest.mark.parametrize(
    ("recorded", "cautions"),
    [
        ("2026-03-02T12:00:00Z", []),
        ("2026-03-02T12:00:00.000001Z", [("caution", "backdated")]),
        (None, []),
    ],
)
def test_a_grant_recorded_more_than_24_hours_after_its_time_is_backdated(
    recorded: str | None, cautions: list[Code]
) -> None:
    history = events((*TOLD, consent(EARLY), used(purpose="news")))
    lines = [orjson.loads(encode(event)) for event in history]
    if recorded is not None:
        lines[3]["recordedtime"] = recorded
    row = judge_history(orjson.dumps(line) for line in lines)[-1]
    assert [(f.result, f.code) for f in row.verdict.findings if f.rule == "evidence"] == cautions
    reference = judge_all(enumerate((read(orjson.dumps(line)) for line in lines), start=1))[-1]
    assert [(f[1], f[2]) for f in reference.findings if f[0] == "evidence"] == cautions


def test_failed_candidates_are_the_latest_eight_and_their_number_stands_beside() -> None:
    untold = tuple(collected(f"2026-03-01T12:00:{second:02d}Z") for second in range(12))
    history = events((policy(), *untold, used()))
    last = judge_history(encode(event) for event in history)[-1]
    finding = next(f for f in last.verdict.findings if f.rule == "purpose-limitation")
    assert (finding.code, finding.evidence_total) == ("purpose-not-told", 12)
    assert finding.evidence == (1, *range(6, 14))

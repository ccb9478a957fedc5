"""A consent record has the fields of ISO/IEC TS 27560, and only DPV terms that there are."""

from pathlib import Path
from typing import Any

import pytest

from ledger.consent_record import CONTEXT, GIVEN, WITHDRAWN, Consented, Happened, Notice, consent_record, terms_of
from ledger.policy import my_san_jose

TERMS = {
    line
    for line in (Path(__file__).parents[1] / "vectors" / "dpv-2.0-terms.txt").read_text("utf-8").splitlines()
    if not line.startswith("#")
}
CONSENTED = Consented(
    consent_id="c1",
    subject="res_7f2c",
    purposes=("4.7", "no-such-purpose"),
    categories=("email", "push-token"),
    operations=("notify", "share"),
    recipients=("acme",),
    method="web-form",
    expires_at="2027-01-01T00:00:00.000000Z",
    notice_id="n1",
    notice=Notice("n1", "2018-04-18", "es"),
    happened=(
        Happened(GIVEN, "2026-03-01T12:00:00Z", "/services/permits", "3-41"),
        Happened(WITHDRAWN, "2026-03-02T12:00:00Z", "/my", "3-57"),
    ),
)


def test_every_purpose_category_and_operation_of_the_policy_has_a_term_that_exists_or_none() -> None:
    policy = my_san_jose()
    terms = terms_of(policy)
    assert terms is not None
    assert list(terms.purposes) == [purpose.id for purpose in policy.purposes]
    assert list(terms.categories) == [category.id for category in policy.categories]
    assert list(terms.operations) == [operation.id for operation in policy.operations]
    used = {*terms.purposes.values(), *terms.categories.values(), *terms.operations.values()} - {None}
    assert used and used <= TERMS
    assert {term.split(":")[0] for term in terms.purposes.values() if term} == {"dpv"}
    assert {term.split(":")[0] for term in terms.categories.values() if term} == {"pd"}


def names(node: Any) -> set[str]:
    if isinstance(node, dict):
        return {name for name in node if not name.startswith("@")} | {
            found for name, value in node.items() if name != "@context" for found in names(value)
        }
    return {found for item in node for found in names(item)} if isinstance(node, list) else set()


def test_every_field_has_a_meaning_in_the_context_and_the_mandatory_ones_are_there() -> None:
    record = consent_record(CONSENTED, my_san_jose())
    used = names(record)
    assert used <= CONTEXT.keys()
    assert used >= {"schema_version", "record_id", "pii_principal_id", "party_id", "party_name", "party_address"}
    assert used >= {"event_time", "validity_duration", "entity_id", "event_type", "event_state", "party_contact"}
    mandatory = {"privacy_notice", "language", "purpose", "pii_information", "pii_controllers", "storage_locations"}
    mandatory |= {"retention_period", "jurisdiction", "recipient_third_parties", "withdrawal_method"}
    assert all(purpose.keys() >= mandatory for purpose in record["purposes"])
    ids = {value if isinstance(value, str) else value["@id"] for value in CONTEXT.values()}
    assert all(one.startswith(("dpv:", "dct:", "http")) for one in ids)


def test_the_record_says_what_the_log_knows_and_makes_nothing_up() -> None:
    record = consent_record(CONSENTED, my_san_jose())
    first, unknown = record["purposes"]
    assert (first["purpose_type"], unknown["purpose_type"], unknown["purpose"]) == ("dpv:DirectMarketing", None, None)
    assert first["pii_information"] == [
        {"pii_type": "pd:EmailAddress", "pii_attribute_id": "email"},
        {"pii_type": None, "pii_attribute_id": "push-token"},
    ]
    assert (first["processing_method"], first["processing_ids"]) == (["dpv:Share"], ("notify", "share"))
    assert (first["language"], first["privacy_notice"]["notice_id"]) == ("es", "n1")
    assert (first["storage_locations"], first["retention_period"]) == (None, None)
    assert [(e["event_state"], e["validity_duration"]) for e in record["events"]] == [
        ("dpv:ConsentGiven", "2027-01-01T00:00:00.000000Z"),
        ("dpv:ConsentWithdrawn", None),
    ]


@pytest.mark.parametrize("policy", [None, "other"])
def test_a_policy_without_a_file_of_terms_leaves_them_out(policy: str | None) -> None:
    from msgspec.structs import replace

    found = None if policy is None else replace(my_san_jose(), policy_id=policy)
    record = consent_record(CONSENTED._replace(categories=None), found)
    assert record["parties"] == [] and record["purposes"][0]["purpose_type"] is None
    assert len(record["purposes"][0]["pii_information"]) == (0 if policy is None else len(my_san_jose().categories))

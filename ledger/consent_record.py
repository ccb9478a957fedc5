"""A consent as a record under the field names of ISO/IEC TS 27560:2023, in JSON-LD by the Data Privacy Vocabulary.

The names, and the relations that the `@context` gives them, are those of the W3C DPV community group's guide to the
specification (https://w3id.org/dpv/guides/consent-27560). Which DPV term fits a purpose, a category or an operation is
data beside the policy (`policies/….dpv.json`), null where none does; it is our reading, like the policy's lists.

>>> from ledger.policy import my_san_jose
>>> terms = terms_of(my_san_jose())
>>> terms.purposes["4.7"], terms.categories["email"], terms.categories["push-token"]
('dpv:DirectMarketing', 'pd:EmailAddress', None)

What nobody said stays null: the ledger makes nothing up about where data is kept and for how long. No I/O but for
reading that file.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib import resources
from typing import Any, NamedTuple

import msgspec

from ledger.events import PolicyPublished

SCHEMA_VERSION = "https://w3id.org/dpv/schema/dpv-27560#record"
WITHDRAWAL = 'PUT /v1/me/consents with {"purpose": "<purpose_id>", "given": false}'
CONTEXT: dict[str, Any] = {
    "dpv": "https://w3id.org/dpv#",
    "pd": "https://w3id.org/dpv/pd#",
    "dct": "http://purl.org/dc/terms/",
    "schema_version": {"@id": "dct:conformsTo", "@type": "@id"},
    "record_id": "dct:identifier",
    "pii_principal_id": "dpv:hasDataSubject",
    "privacy_notice": "dpv:hasNotice",
    "notice_id": "dct:identifier",
    "policy_version": "dct:hasVersion",
    "language": "dct:language",
    "purposes": "dpv:hasProcess",
    "purpose": "dct:description",
    "purpose_id": "dct:identifier",
    "purpose_type": {"@id": "dpv:hasPurpose", "@type": "@id"},
    "lawful_basis": {"@id": "dpv:hasLegalBasis", "@type": "@id"},
    "pii_information": "dpv:hasPersonalData",
    "pii_type": {"@id": "dct:type", "@type": "@id"},
    "pii_attribute_id": "dct:identifier",
    "pii_controllers": "dpv:hasDataController",
    "collection_method": "dpv:hasIndicationMethod",
    "processing_method": {"@id": "dpv:hasProcessing", "@type": "@id"},
    "processing_ids": "dct:subject",
    "storage_locations": "dpv:hasStorageCondition",
    "retention_period": "dpv:hasDuration",
    "jurisdiction": "dpv:hasJurisdiction",
    "recipient_third_parties": "dpv:hasRecipient",
    "withdrawal_method": "dpv:hasConsentControl",
    "parties": "dpv:hasEntity",
    "party_id": "dct:identifier",
    "party_name": "dpv:hasName",
    "party_address": "dpv:hasAddress",
    "party_email": "dpv:hasContact",
    "party_contact": "dpv:hasContact",
    "party_role": {"@id": "dct:type", "@type": "@id"},
    "events": "dct:hasPart",
    "event_time": "dct:date",
    "validity_duration": "dct:valid",
    "entity_id": "dpv:isImplementedByEntity",
    "event_type": {"@id": "dpv:hasLegalBasis", "@type": "@id"},
    "event_state": {"@id": "dpv:hasConsentStatus", "@type": "@id"},
    "log_position": "dct:source",
}
_CONSENT = "dpv:Consent"
GIVEN, WITHDRAWN, EXPIRED = "dpv:ConsentGiven", "dpv:ConsentWithdrawn", "dpv:ConsentExpired"


class Terms(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file beside a policy: DPV terms by the policy's ids, and who the controller is."""

    policy_id: str
    version: str
    vocabulary: str
    controller: dict[str, str]
    jurisdiction: str
    purposes: dict[str, str | None]
    categories: dict[str, str | None]
    operations: dict[str, str | None]


class Happened(NamedTuple):
    """Something that happened to the consent: a state, when, by whose word, and the position of its record."""

    state: str
    time: str
    by: str | None
    position: str | None


class Notice(NamedTuple):
    """The notice that the consent names, as it was recorded."""

    notice_id: str
    policy_version: str
    language: str


class Consented(NamedTuple):
    """A consent, as far as the log knows it; None in `categories` or `operations`: all."""

    consent_id: str
    subject: str
    purposes: Sequence[str]
    categories: Sequence[str] | None
    operations: Sequence[str] | None
    recipients: Sequence[str] | None
    method: str | None
    expires_at: str | None
    notice_id: str | None
    notice: Notice | None
    happened: Sequence[Happened]


@lru_cache(maxsize=4)
def _shipped() -> Mapping[tuple[str, str], Terms]:
    """Every file of terms that ships with the product, by policy and version."""
    folder = resources.files("ledger").joinpath("policies")
    files = [item for item in folder.iterdir() if item.name.endswith(".dpv.json")]
    found = [msgspec.json.decode(item.read_bytes(), type=Terms) for item in files]
    return {(terms.policy_id, terms.version): terms for terms in found}


def terms_of(policy: PolicyPublished) -> Terms | None:
    """The terms for this version of a policy; None when there is no such file."""
    return _shipped().get((policy.policy_id, policy.version))


def consent_record(consent: Consented, policy: PolicyPublished | None) -> dict[str, Any]:
    """The record, under the policy that was in force when the consent was given."""
    terms = None if policy is None else terms_of(policy)
    texts = {} if policy is None else {purpose.id: purpose.text for purpose in policy.purposes}
    controllers = [] if terms is None else [terms.controller["party_id"]]
    processing = {
        "privacy_notice": _notice(consent),
        "language": None if consent.notice is None else consent.notice.language,
        "pii_information": _data(consent, policy, terms),
        "pii_controllers": controllers,
        "collection_method": consent.method,
        "processing_method": _operations(consent, terms),
        "processing_ids": consent.operations,
        "storage_locations": None,
        "retention_period": None,
        "jurisdiction": None if terms is None else terms.jurisdiction,
        "recipient_third_parties": list(consent.recipients or ()),
        "withdrawal_method": WITHDRAWAL,
    }
    return {
        "@context": CONTEXT,
        "@type": "dpv:ConsentRecord",
        "schema_version": SCHEMA_VERSION,
        "record_id": consent.consent_id,
        "pii_principal_id": consent.subject,
        "purposes": [
            {
                "purpose": texts.get(purpose),
                "purpose_id": purpose,
                "purpose_type": None if terms is None else terms.purposes.get(purpose),
                "lawful_basis": _CONSENT,
                **processing,
            }
            for purpose in consent.purposes
        ],
        "parties": [] if terms is None else [terms.controller],
        "events": [
            {
                "event_time": happened.time,
                "validity_duration": consent.expires_at if happened.state == GIVEN else None,
                "entity_id": happened.by,
                "event_type": _CONSENT,
                "event_state": happened.state,
                "log_position": happened.position,
            }
            for happened in consent.happened
        ],
    }


def _notice(consent: Consented) -> dict[str, Any] | None:
    if consent.notice_id is None:
        return None
    version = None if consent.notice is None else consent.notice.policy_version
    return {"notice_id": consent.notice_id, "policy_version": version}


def _data(consent: Consented, policy: PolicyPublished | None, terms: Terms | None) -> list[dict[str, Any]]:
    """The kinds of data; a consent that names none is for all that the policy knows."""
    known = () if policy is None else tuple(category.id for category in policy.categories)
    named = known if consent.categories is None else consent.categories
    kinds = {} if terms is None else terms.categories
    return [{"pii_type": kinds.get(category), "pii_attribute_id": category} for category in named]


def _operations(consent: Consented, terms: Terms | None) -> list[str] | None:
    """The DPV terms of the operations, where they have one; null for all operations."""
    if consent.operations is None:
        return None
    kinds = {} if terms is None else terms.operations
    return [term for operation in consent.operations if (term := kinds.get(operation)) is not None]

"""The one definition of every event type: what may be said, by whom, in which shape.

An event is an envelope (CloudEvents 1.0) around `data`; each kind of the catalogue has one closed,
frozen struct for its `data`, and its envelope is made from it. Everything else that has to know an
event's shape is generated from here: decoders, JSON Schemas, AsyncAPI, tables in the docs.

>>> used = DataUsed(categories=("email",), purpose="4.2", operation="consult", basis=StatedPurpose())
>>> event = EVENTS["org.consent-ledger.data.used.v1"](
...     id="e1", source="/services/permits", subject="res_7f2c", time="2026-03-03T12:00:00Z", data=used)
>>> event.kind, event.reference, event.scope
('data.used', False, 'events:write')

Source: contract/events.md (docs/spec/events.md for outsiders). Texts of limits stand beside each type.
"""

from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal, TypeVar

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

TYPE_PREFIX = "org.consent-ledger."
MAX_EVENT_BYTES = 32 * 1024
MAX_SEALED_CHARACTERS = 4_000

EVENTS_WRITE = "events:write"
RULES_WRITE = "rules:write"
LEDGER_ONLY = "ledger"
"""Who may emit a kind: the scope a token needs; `LEDGER_ONLY` kinds no token may."""

# --- scalar types -----------------------------------------------------------------------------------------------

_ID = r"^[A-Za-z0-9\-_.:]{1,64}\Z"
_IDENTIFIER = r"^[a-z0-9][a-z0-9._/-]{0,63}\Z"
_URI_CHARACTER = r"[A-Za-z0-9\-._~:/?#\[\]!$&'()*+,;=]"
_URI = rf"^({_URI_CHARACTER}{{1,255}}|({_URI_CHARACTER}|%[0-9A-Fa-f]{{2}}){{1,255}})\Z"  # the first is tried faster
_TIME = (
    r"^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"
    r"(\.[0-9]{1,6})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])\Z"
)
_NO_CONTROL = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*\Z"

Id = Annotated[str, Meta(pattern=_ID, description="an id: 1 to 64 of A-Z a-z 0-9 - _ . :")]
Identifier = Annotated[str, Meta(pattern=_IDENTIFIER, description="an identifier of the policy's vocabulary")]
Subject = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_\-]{1,64}\Z", description="a resident's opaque pseudonym")]
Source = Annotated[str, Meta(pattern=_URI, description="a URI reference")]
Time = Annotated[str, Meta(pattern=_TIME, description="RFC 3339, T and Z or offset, at most 6 fraction digits")]
Text = Annotated[str, Meta(max_length=500, pattern=_NO_CONTROL, description="plain text, no personal data")]
PolicyText = Annotated[str, Meta(max_length=4_000, pattern=_NO_CONTROL, description="a text of the policy")]
Language = Annotated[str, Meta(pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}\Z", description="BCP 47")]

_DISTINCT = {"uniqueItems": True}
_some = Meta(min_length=1, max_length=64, extra_json_schema=_DISTINCT)
_any = Meta(max_length=64, extra_json_schema=_DISTINCT)
Identifiers = Annotated[tuple[Identifier, ...], _some]


class SealedText(Struct, frozen=True, forbid_unknown_fields=True):
    """What stands in a record instead of free text: `key` names the resident's key, `ciphertext` is AES-SIV."""

    key: Id
    ciphertext: Annotated[str, Meta(pattern=r"^[A-Za-z0-9+/]+={0,2}\Z")]


class Sealed(Struct, frozen=True, forbid_unknown_fields=True):
    """The JSON object `{"sealed": {"key", "ciphertext"}}` of proofs.md."""

    sealed: SealedText


Sealable = Annotated[str, Meta(max_length=MAX_SEALED_CHARACTERS)] | Sealed
"""A sealed field: a plain string on its way in, a `Sealed` in the log."""


class About(Struct, frozen=True, forbid_unknown_fields=True):
    """Names an event by `source` and `id`."""

    source: Source
    id: Id


# --- basis: the emitter's own claim -----------------------------------------------------------------------------


class StatedPurpose(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="stated-purpose"):
    """The emitter says that the purpose was stated when the data was collected."""


class ByConsent(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="consent"):
    """The emitter says that the resident consented."""

    consent_id: Id


class ByLaw(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="law"):
    """The emitter says that a law requires it."""

    legal_basis: Identifier
    citation: Text
    demand_id: Id | UnsetType = UNSET


Basis = StatedPurpose | ByConsent | ByLaw

# --- data of each kind ------------------------------------------------------------------------------------------


class Data(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The base of every kind's `data`."""

    sealed_fields: ClassVar[tuple[str, ...]] = ()


class Statement(Data, frozen=True, kw_only=True):
    """A statement of the policy, word for word."""

    id: Identifier
    text: PolicyText


class Purpose(Data, frozen=True, kw_only=True):
    """A purpose; `categories` are the necessary ones, null takes the parent's."""

    id: Identifier
    text: PolicyText
    parent: Identifier | None
    categories: Annotated[tuple[Identifier, ...], _any] | None


class Category(Data, frozen=True, kw_only=True):
    """A category of personal data; `identifying` is its own flag."""

    id: Identifier
    label: Text
    identifying: bool
    parent: Identifier | None


class Operation(Data, frozen=True, kw_only=True):
    """Something that is done with data."""

    id: Identifier
    label: Text
    parent: Identifier | None


class ConsistentPair(Data, frozen=True, kw_only=True, rename={"with_": "with"}):
    """`purpose` is consistent with the stated purpose `with`: one step, one way."""

    purpose: Identifier
    with_: Identifier
    because: Text


class RecipientKind(Data, frozen=True, kw_only=True):
    """A kind of recipient that the policy describes."""

    kind: Identifier
    statement: Identifier
    requires_agreement: bool


class Automatic(Data, frozen=True, kw_only=True):
    """What the policy lists as collected automatically."""

    categories: Annotated[tuple[Identifier, ...], _any]


class SocialLogin(Data, frozen=True, kw_only=True):
    """What may be collected through a social account."""

    providers: Annotated[tuple[Identifier, ...], _any]
    categories: Annotated[tuple[Identifier, ...], _any]
    purposes: Annotated[tuple[Identifier, ...], _any]


class Channel(Data, frozen=True, kw_only=True):
    """A way to reach a resident; some need the resident's preference first."""

    requires_preference: bool
    statement: Identifier


class LegalBasis(Data, frozen=True, kw_only=True):
    """A law that may require a use or disclosure; some need the City's decision first."""

    id: Identifier
    citation: Text
    requires_decision: bool


_Kind = TypeVar("_Kind", bound=type[Data])
_KINDS: list[tuple[str, type[Data], bool | None, str]] = []


def _kind(name: str, *, reference: bool | None = False, scope: str = EVENTS_WRITE) -> Callable[[_Kind], _Kind]:
    """Enters a kind into the catalogue; `reference` None: with or without a subject."""

    def enter(data: _Kind) -> _Kind:
        _KINDS.append((name, data, reference, scope))
        return data

    return enter


@_kind("policy.published", reference=True, scope=RULES_WRITE)
class PolicyPublished(Data, frozen=True, kw_only=True):
    """The whole policy, as data."""

    policy_id: Identifier
    version: Identifier
    title: Text
    effective_from: Time
    statements: Annotated[tuple[Statement, ...], _any]
    purposes: Annotated[tuple[Purpose, ...], _any]
    categories: Annotated[tuple[Category, ...], _any]
    operations: Annotated[tuple[Operation, ...], _any]
    consistent: Annotated[tuple[ConsistentPair, ...], _any]
    recipients: Annotated[tuple[RecipientKind, ...], _any]
    automatic: Automatic
    social_login: SocialLogin
    channels: Annotated[dict[Identifier, Channel], Meta(max_length=64)]
    legal_bases: Annotated[tuple[LegalBasis, ...], _any]


class Names(Data, frozen=True, kw_only=True):
    """A service's name for people, in the three languages."""

    en: Text
    es: Text
    vi: Text


@_kind("service.registered", reference=True, scope=RULES_WRITE)
class ServiceRegistered(Data, frozen=True, kw_only=True):
    """A service of the City and the purposes it says it acts for."""

    service: Source
    names: Names
    department: Text
    purposes: Identifiers


@_kind("agreement.signed", reference=True, scope=RULES_WRITE)
class AgreementSigned(Data, frozen=True, kw_only=True):
    """An agreement with a recipient; active from `valid_from` until `valid_until` or its end."""

    agreement_id: Id
    recipient: Identifier
    purposes: Identifiers
    categories: Identifiers
    safeguards: Identifiers
    valid_from: Time
    valid_until: Time | UnsetType = UNSET


@_kind("agreement.ended", reference=True, scope=RULES_WRITE)
class AgreementEnded(Data, frozen=True, kw_only=True):
    """An agreement ends at the event's `time`, for good."""

    agreement_id: Id
    reason: Text


@_kind("legal-demand.decided", reference=True, scope=RULES_WRITE)
class LegalDemandDecided(Data, frozen=True, kw_only=True):
    """The City decided on a demand for disclosure."""

    demand_id: Id
    legal_basis: Identifier
    recipient: Identifier | UnsetType = UNSET
    disclose: bool
    exempt_categories: Annotated[tuple[Identifier, ...], _any]


@_kind("notice.given")
class NoticeGiven(Data, frozen=True, kw_only=True):
    """The resident was told for which purposes which categories are collected."""

    notice_id: Id
    policy_version: Identifier
    purposes: Identifiers
    categories: Identifiers
    channel: Identifier
    language: Language
    anonymous_offered: bool | UnsetType = UNSET


@_kind("data.collected")
class DataCollected(Data, frozen=True, kw_only=True, rename={"from_": "from"}):
    """Personal data was collected."""

    categories: Identifiers
    purposes: Identifiers
    origin: Literal["resident", "automatic", "social-login", "third-party"]
    provider: Identifier | UnsetType = UNSET
    from_: Identifier | UnsetType = UNSET
    notice_id: Id | UnsetType = UNSET


@_kind("data.used")
class DataUsed(Data, frozen=True, kw_only=True):
    """Personal data was used by a service of the City."""

    categories: Identifiers
    purpose: Identifier
    operation: Identifier
    basis: Basis
    channel: Identifier | UnsetType = UNSET
    operator: Id | UnsetType = UNSET


@_kind("data.shared")
class DataShared(Data, frozen=True, kw_only=True):
    """Personal data was given to somebody outside."""

    categories: Identifiers
    purpose: Identifier
    recipient: Identifier
    recipient_kind: Literal["service-provider", "agency", "public", "social-provider", "other"]
    basis: Basis
    operator: Id | UnsetType = UNSET


@_kind("consent.given")
class ConsentGiven(Data, frozen=True, kw_only=True):
    """The resident consents; absent `categories` or `operations` mean all."""

    consent_id: Id
    purposes: Identifiers
    categories: Identifiers | UnsetType = UNSET
    operations: Identifiers | UnsetType = UNSET
    recipients: Identifiers | UnsetType = UNSET
    notice_id: Id | UnsetType = UNSET
    method: Identifier
    expires_at: Time | UnsetType = UNSET


@_kind("consent.withdrawn")
class ConsentWithdrawn(Data, frozen=True, kw_only=True):
    """The resident withdraws a consent."""

    consent_id: Id


@_kind("preference.set")
class PreferenceSet(Data, frozen=True, kw_only=True):
    """The resident allows or forbids a channel."""

    channel: Identifier
    allowed: bool


@_kind("anonymity.chosen")
class AnonymityChosen(Data, frozen=True, kw_only=True):
    """The resident opts out and engages anonymously."""


@_kind("anonymity.ended")
class AnonymityEnded(Data, frozen=True, kw_only=True):
    """The resident stops engaging anonymously."""


@_kind("data.reviewed")
class DataReviewed(Data, frozen=True, kw_only=True):
    """The resident looked at or downloaded what is held."""

    categories: Identifiers


@_kind("access.requested")
class AccessRequested(Data, frozen=True, kw_only=True):
    """The resident asks to see or update what is held."""

    request_id: Id
    kind: Literal["review", "update"]
    categories: Identifiers | UnsetType = UNSET


@_kind("access.answered", scope=RULES_WRITE)
class AccessAnswered(Data, frozen=True, kw_only=True):
    """The City answers such a request."""

    sealed_fields: ClassVar[tuple[str, ...]] = ("answer",)
    request_id: Id
    outcome: Literal["granted", "refused", "partly"]
    answer: Sealable | UnsetType = UNSET


@_kind("data.updated")
class DataUpdated(Data, frozen=True, kw_only=True):
    """What is held was changed."""

    categories: Identifiers
    by: Literal["resident", "service"]
    contest_id: Id | UnsetType = UNSET
    operator: Id | UnsetType = UNSET


@_kind("data.contested")
class DataContested(Data, frozen=True, kw_only=True):
    """The resident says that what is held is wrong or incomplete."""

    sealed_fields: ClassVar[tuple[str, ...]] = ("claim",)
    contest_id: Id
    categories: Identifiers
    claim: Sealable


@_kind("contest.resolved", scope=RULES_WRITE)
class ContestResolved(Data, frozen=True, kw_only=True):
    """The City decides on a contest."""

    sealed_fields: ClassVar[tuple[str, ...]] = ("answer",)
    contest_id: Id
    outcome: Literal["corrected", "upheld", "rejected"]
    answer: Sealable | UnsetType = UNSET


@_kind("complaint.filed")
class ComplaintFiled(Data, frozen=True, kw_only=True):
    """The resident complains, asks or comments."""

    sealed_fields: ClassVar[tuple[str, ...]] = ("text",)
    complaint_id: Id
    kind: Literal["complaint", "question", "comment"]
    about: About | UnsetType = UNSET
    text: Sealable


@_kind("complaint.resolved", scope=RULES_WRITE)
class ComplaintResolved(Data, frozen=True, kw_only=True):
    """The Information Security Office answers."""

    sealed_fields: ClassVar[tuple[str, ...]] = ("answer",)
    complaint_id: Id
    outcome: Literal["upheld", "rejected", "settled"]
    answer: Sealable


@_kind("disclosure.withheld", scope=RULES_WRITE)
class DisclosureWithheld(Data, frozen=True, kw_only=True):
    """A law forbids to show an entry to the resident before `until`."""

    about: About
    citation: Text
    until: Time


@_kind("incident.reported", reference=None, scope=EVENTS_WRITE)
class IncidentReported(Data, frozen=True, kw_only=True):
    """Data was lost, or reached by somebody who may not; without a subject: residents not known yet."""

    incident_id: Id
    kind: Literal["loss", "unauthorized-access", "unauthorized-use", "modification", "disclosure"]
    categories: Identifiers
    contained_at: Time | UnsetType = UNSET
    about: About | UnsetType = UNSET
    recipient: Identifier | UnsetType = UNSET


@_kind("log.viewed", scope=LEDGER_ONLY)
class LogViewed(Data, frozen=True, kw_only=True):
    """Someone other than the resident read this resident's log."""

    role: Identifier
    operator: Id | UnsetType = UNSET
    scope: Identifier


@_kind("erasure.requested", scope=LEDGER_ONLY)
class ErasureRequested(Data, frozen=True, kw_only=True):
    """Erasure begins; absent `categories` mean all, and the resident's key."""

    erasure_id: Id
    categories: Identifiers | UnsetType = UNSET


@_kind("data.erased", scope=LEDGER_ONLY)
class DataErased(Data, frozen=True, kw_only=True):
    """What was held was erased."""

    erasure_id: Id
    categories: Identifiers | UnsetType = UNSET


# --- envelopes --------------------------------------------------------------------------------------------------


class Event(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="type"):
    """One event with its envelope; the class of a kind is in `EVENTS`, by its `type`.

    `subject` is unset for a reference fact; `recordedtime` and `recordedby` are unset until the ledger appends.
    """

    kind: ClassVar[str]
    reference: ClassVar[bool | None]
    scope: ClassVar[str]
    type: ClassVar[str]

    specversion: Literal["1.0"] = "1.0"
    id: Id
    source: Source
    subject: Subject | UnsetType = UNSET
    time: Time
    datacontenttype: Literal["application/json"] = "application/json"
    correlationid: Id | UnsetType = UNSET
    recordedtime: Time | UnsetType = UNSET
    recordedby: Annotated[str, Meta(min_length=1, max_length=255, pattern=_NO_CONTROL)] | UnsetType = UNSET
    data: Any

    def scope_needed(self) -> str:
        """The scope a token needs to emit this event; an incident nobody is named in is a reference fact."""
        if self.reference is None and self.subject is UNSET:
            return RULES_WRITE
        return self.scope


def _envelope(name: str, data: type[Data], reference: bool | None, scope: str) -> type[Event]:
    """Makes the envelope of one kind: the same attributes, its own `data`, `type` and need of a subject.

    `specversion` and `datacontenttype` have defaults so that code need not repeat them; on the wire they are
    required, which `ledger.codec` checks.
    """
    type_name = f"{TYPE_PREFIX}{name}.v1"
    fields: list[Any] = [("data", data)]
    if reference is False:
        fields.append(("subject", Subject))
    elif reference is True:
        fields.append(("subject", UnsetType, UNSET))
    made = msgspec.defstruct(
        data.__name__ + "V1",
        fields,
        bases=(Event,),
        namespace={"kind": name, "reference": reference, "scope": scope, "type": type_name, "__doc__": data.__doc__},
        module=__name__,
        tag=type_name,
        frozen=True,
        forbid_unknown_fields=True,
        kw_only=True,
    )
    assert issubclass(made, Event)
    return made


EVENTS: dict[str, type[Event]] = {}
"""Every event class by its `type`, in the order of the catalogue."""

for _name, _data, _reference, _scope in _KINDS:
    _event = _envelope(_name, _data, _reference, _scope)
    EVENTS[_event.type] = _event

KINDS: dict[str, type[Event]] = {event.kind: event for event in EVENTS.values()}
"""The current version of every kind, by its kind."""

JUDGED = ("data.collected", "data.used", "data.shared")
"""The kinds that get a verdict."""

"""What the records of a batch change in the views, gathered before anything is written.

Every view keeps, of the events that compete for a row, the one with the greatest (or the least) (time, position), so
the order of reading never matters. Here the winners within the batch are found; the merge statements of
`sql/merge.sql` let them compete with the row that is there.

    changes = Changes(partition)
    for item in batch.items:
        changes.take(item)
    changes.consents, changes.timeline, ...
"""

from collections.abc import Callable
from typing import Any

from msgspec import UNSET

from ledger import events as e
from ledger.codec import instant
from ledger.facts import RESIDENT_FACTS
from projections.batch import Item
from projections.cells import LAST_INSTANT, NULL, escaped, optional, optional_timestamp, timestamp
from projections.named import demand_in, named_cells

Row = dict[str, Any]
Stamp = tuple[int, int]


class Competition:
    """The rows of one view by key; of two with one key the later stays, or the earlier where the view says so."""

    __slots__ = ("_stamps", "rows")

    def __init__(self) -> None:
        self.rows: dict[tuple[Any, ...], Row] = {}
        self._stamps: dict[tuple[Any, ...], Stamp] = {}

    def enter(self, key: tuple[Any, ...], stamp: Stamp, row: Row, *, first_wins: bool = False) -> None:
        """Enters a row; `stamp` is the (instant, offset) it competes by."""
        held = self._stamps.get(key)
        if held is None or (stamp < held if first_wins else stamp > held):
            self.rows[key], self._stamps[key] = row, stamp


class Changes:
    """All that the events of one batch change, but for verdicts and for older holdings."""

    def __init__(self, partition: int) -> None:
        self.partition = partition
        self.timeline: list[str] = []  # lines of COPY
        self.consent_states, self.consent_givings = Competition(), Competition()
        self.preferences, self.anonymity = Competition(), Competition()
        self.cases, self.openings, self.answers = Competition(), Competition(), Competition()
        self.reference_facts = Competition()
        self.withheld: list[tuple[Any, ...]] = []
        self.collections: list[Item] = []
        self.notices: list[Item] = []
        self.erasures: list[Item] = []
        self.policies: list[Item] = []

    def take(self, item: Item) -> None:
        """Takes in one event that counts."""
        offset, event, body, (source, event_id, subject), hashed = item
        data = event.data
        kind = type(data)
        occurred = timestamp(event.time)
        if event.recordedtime is UNSET:
            recorded = NULL
        else:
            recorded = occurred if event.recordedtime == event.time else timestamp(event.recordedtime)
        self.timeline.append(
            f"{offset}\t{hashed}\t{occurred}\t{recorded}\t{self.partition}\t{'t' if kind in RESIDENT_FACTS else 'f'}\t"
            f"{NULL if subject is None else subject}\t{source}\t{event_id}\t{event.kind}\t{named_cells(data)}\t"
            f"{escaped(body.decode())}\n"
        )
        change = _CHANGES.get(kind)
        if change is not None:
            change(self, item, data, stamp_of(event.time, offset))

    # --- consents, preferences, anonymity ---------------------------------------------------------------------

    def _consent_given(self, item: Item, data: e.ConsentGiven, stamp: Stamp) -> None:
        self._consent_state(item, data, stamp, "given")
        key = (item.key[2], data.consent_id)
        row = {
            "subject": key[0],
            "consent_id": key[1],
            "given": timestamp(item.event.time),
            "given_offset": item.offset,
            "source": item.key[0],
            "purposes": data.purposes,
            "categories": optional(data.categories),
            "operations": optional(data.operations),
            "recipients": optional(data.recipients),
            "method": data.method,
            "notice_id": optional(data.notice_id),
            "expires_at": optional_timestamp(data.expires_at),
        }
        self.consent_givings.enter(key, stamp, row)

    def _consent_withdrawn(self, item: Item, data: e.ConsentWithdrawn, stamp: Stamp) -> None:
        self._consent_state(item, data, stamp, "withdrawn")

    def _consent_state(self, item: Item, data: Any, stamp: Stamp, state: str) -> None:
        key = (item.key[2], data.consent_id)
        row = self._since(item) | {"consent_id": data.consent_id, "state": state}
        self.consent_states.enter(key, stamp, row)

    def _preference(self, item: Item, data: e.PreferenceSet, stamp: Stamp) -> None:
        row = self._since(item) | {"channel": data.channel, "allowed": data.allowed}
        self.preferences.enter((item.key[2], data.channel), stamp, row)

    def _anonymity_chosen(self, item: Item, data: e.AnonymityChosen, stamp: Stamp) -> None:
        self.anonymity.enter((item.key[2],), stamp, self._since(item) | {"anonymous": True})

    def _anonymity_ended(self, item: Item, data: e.AnonymityEnded, stamp: Stamp) -> None:
        self.anonymity.enter((item.key[2],), stamp, self._since(item) | {"anonymous": False})

    def _since(self, item: Item) -> Row:
        time = timestamp(item.event.time)
        return {"subject": item.key[2], "partition": self.partition, "since": time, "since_offset": item.offset}

    # --- cases --------------------------------------------------------------------------------------------------

    def _case(self, kind: str, case_id: str, subject: str | None) -> tuple[Any, ...]:
        key = (kind, case_id, subject)
        row = {"partition": self.partition, "kind": kind, "case_id": case_id, "subject": subject}
        self.cases.enter(key, (0, 0), row)
        return key

    def _opened(self, item: Item, stamp: Stamp, kind: str, case_id: str, subject: str | None, **more: Any) -> None:
        key = self._case(kind, case_id, subject)
        about = more.pop("about", UNSET)
        row = self.cases.rows[key] | {
            "opened": timestamp(item.event.time),
            "opened_offset": item.offset,
            "source": item.key[0],
            "what": None,
            "about_source": None if about is UNSET else about.source,
            "about_id": None if about is UNSET else about.id,
            "categories": None,
        }
        self.openings.enter(key, stamp, row | more, first_wins=True)

    def _answered(self, item: Item, stamp: Stamp, kind: str, case_id: str, outcome: str, **more: Any) -> None:
        subject = None if kind == "demand" else item.key[2]
        key = self._case(kind, case_id, subject)
        row = self.cases.rows[key] | {
            "resolved": timestamp(item.event.time),
            "resolved_offset": item.offset,
            "outcome": outcome,
        }
        self.answers.enter(key, stamp, row | more, first_wins=kind != "demand")

    def _contested(self, item: Item, data: e.DataContested, stamp: Stamp) -> None:
        self._opened(item, stamp, "contest", data.contest_id, item.key[2], categories=data.categories)

    def _contest_resolved(self, item: Item, data: e.ContestResolved, stamp: Stamp) -> None:
        self._answered(item, stamp, "contest", data.contest_id, data.outcome)

    def _complaint(self, item: Item, data: e.ComplaintFiled, stamp: Stamp) -> None:
        self._opened(item, stamp, "complaint", data.complaint_id, item.key[2], what=data.kind, about=data.about)

    def _complaint_resolved(self, item: Item, data: e.ComplaintResolved, stamp: Stamp) -> None:
        self._answered(item, stamp, "complaint", data.complaint_id, data.outcome)

    def _access(self, item: Item, data: e.AccessRequested, stamp: Stamp) -> None:
        categories = optional(data.categories)
        self._opened(item, stamp, "access", data.request_id, item.key[2], what=data.kind, categories=categories)

    def _access_answered(self, item: Item, data: e.AccessAnswered, stamp: Stamp) -> None:
        self._answered(item, stamp, "access", data.request_id, data.outcome)

    def _incident(self, item: Item, data: e.IncidentReported, stamp: Stamp) -> None:
        known = {"what": data.kind, "about": data.about, "categories": data.categories}
        self._opened(item, stamp, "incident", data.incident_id, item.key[2], **known)
        if data.contained_at is not UNSET:
            contained = stamp_of(data.contained_at, item.offset)
            time = timestamp(data.contained_at)
            self._answered(item, contained, "incident", data.incident_id, "contained", resolved=time)

    def _erasure_requested(self, item: Item, data: e.ErasureRequested, stamp: Stamp) -> None:
        categories = optional(data.categories)
        self._opened(item, stamp, "erasure", data.erasure_id, item.key[2], categories=categories)

    def _erased(self, item: Item, data: e.DataErased, stamp: Stamp) -> None:
        self._answered(item, stamp, "erasure", data.erasure_id, "erased")
        self.erasures.append(item)

    # --- reference facts ------------------------------------------------------------------------------------------

    def _reference(self, item: Item, key: str, stamp: Stamp, *, first_wins: bool = False) -> None:
        row = {
            "partition": self.partition,
            "kind": item.event.kind,
            "key": key,
            "offset": item.offset,
            "occurred": timestamp(item.event.time),
            "body": item.body.decode(),
        }
        self.reference_facts.enter((item.event.kind, key), stamp, row, first_wins=first_wins)

    def _policy(self, item: Item, data: e.PolicyPublished, stamp: Stamp) -> None:
        self._reference(item, f"{data.policy_id} {data.version} {item.offset}", stamp)
        self.policies.append(item)

    def _service(self, item: Item, data: e.ServiceRegistered, stamp: Stamp) -> None:
        self._reference(item, data.service, stamp)

    def _agreement(self, item: Item, data: e.AgreementSigned, stamp: Stamp) -> None:
        self._reference(item, f"{data.agreement_id} {item.offset}", stamp)

    def _agreement_ended(self, item: Item, data: e.AgreementEnded, stamp: Stamp) -> None:
        self._reference(item, data.agreement_id, stamp, first_wins=True)

    def _demand(self, item: Item, data: e.LegalDemandDecided, stamp: Stamp) -> None:
        self._reference(item, f"{data.demand_id} {data.legal_basis} {optional(data.recipient) or ''}".rstrip(), stamp)
        self._answered(item, stamp, "demand", data.demand_id, "disclose" if data.disclose else "refuse")

    # --- the rest -------------------------------------------------------------------------------------------------

    def _collected(self, item: Item, data: e.DataCollected, stamp: Stamp) -> None:
        self.collections.append(item)

    def _notice(self, item: Item, data: e.NoticeGiven, stamp: Stamp) -> None:
        self.notices.append(item)

    def _handled(self, item: Item, data: e.DataUsed | e.DataShared, stamp: Stamp) -> None:
        demand = demand_in(data.basis)
        if demand is not None:
            self._opened(item, stamp, "demand", demand, None)

    def _withheld(self, item: Item, data: e.DisclosureWithheld, stamp: Stamp) -> None:
        row = (item.offset, item.key[2], data.about.source, data.about.id, data.citation, timestamp(data.until))
        self.withheld.append((self.partition, *row))


def stamp_of(time: str, offset: int) -> Stamp:
    """What an event competes by, as exact as the column it is compared with later."""
    return min(instant(time), LAST_INSTANT), offset


_CHANGES: dict[type, Callable[..., None]] = {
    e.ConsentGiven: Changes._consent_given,
    e.ConsentWithdrawn: Changes._consent_withdrawn,
    e.PreferenceSet: Changes._preference,
    e.AnonymityChosen: Changes._anonymity_chosen,
    e.AnonymityEnded: Changes._anonymity_ended,
    e.DataContested: Changes._contested,
    e.ContestResolved: Changes._contest_resolved,
    e.ComplaintFiled: Changes._complaint,
    e.ComplaintResolved: Changes._complaint_resolved,
    e.AccessRequested: Changes._access,
    e.AccessAnswered: Changes._access_answered,
    e.IncidentReported: Changes._incident,
    e.ErasureRequested: Changes._erasure_requested,
    e.DataErased: Changes._erased,
    e.PolicyPublished: Changes._policy,
    e.ServiceRegistered: Changes._service,
    e.AgreementSigned: Changes._agreement,
    e.AgreementEnded: Changes._agreement_ended,
    e.LegalDemandDecided: Changes._demand,
    e.DataCollected: Changes._collected,
    e.NoticeGiven: Changes._notice,
    e.DataUsed: Changes._handled,
    e.DataShared: Changes._handled,
    e.DisclosureWithheld: Changes._withheld,
}

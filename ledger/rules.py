"""The reference facts of a partition: which policy, agreement or decision counted at which instant.

>>> Rules().policy_at(0) is None, Rules().agreements("acme-dispatch")
(True, [])
"""

from bisect import bisect_right, insort
from typing import NamedTuple

from msgspec import UNSET

from ledger import events as e
from ledger.codec import instant
from ledger.policy import Policy
from ledger.stamps import FOREVER, Ids


class Agreement(NamedTuple):
    """One signed agreement; sorts by when it begins, then by place in the log."""

    valid_from: int
    offset: int
    valid_until: int
    agreement_id: str
    purposes: Ids
    categories: Ids


class Rules:
    """The reference facts of a partition: policies, agreements, decisions on demands."""

    __slots__ = ("_agreements", "_decisions", "_ended", "_policies", "_recipients_of")

    def __init__(self) -> None:
        self._policies: list[tuple[int, int, Policy]] = []
        self._agreements: dict[str, list[Agreement]] = {}
        self._recipients_of: dict[str, list[str]] = {}
        self._ended: dict[str, int] = {}
        self._decisions: dict[tuple[str, str, str | None], list[tuple[int, int, e.LegalDemandDecided]]] = {}

    def fold(self, event: e.Event, offset: int) -> None:
        """Takes in one reference fact; other events change nothing."""
        data, t = event.data, instant(event.time)
        if isinstance(data, e.PolicyPublished):
            entry = (instant(data.effective_from), offset, Policy(data))
            insort(self._policies, entry, key=lambda known: known[:2])
        elif isinstance(data, e.AgreementSigned):
            end = FOREVER if data.valid_until is UNSET else instant(data.valid_until)
            signed = Agreement(instant(data.valid_from), offset, end, data.agreement_id, data.purposes, data.categories)
            insort(self._agreements.setdefault(data.recipient, []), signed)
            recipients = self._recipients_of.setdefault(data.agreement_id, [])
            if data.recipient not in recipients:
                recipients.append(data.recipient)
        elif isinstance(data, e.AgreementEnded):
            self._ended[data.agreement_id] = min(t, self._ended.get(data.agreement_id, FOREVER))
        elif isinstance(data, e.LegalDemandDecided):
            key = (data.demand_id, data.legal_basis, _recipient(data))
            insort(self._decisions.setdefault(key, []), (t, offset, data), key=lambda known: known[:2])

    def policy_at(self, t: int) -> tuple[int, int, Policy] | None:
        """The policy in force at t, as (effective_from, offset, policy)."""
        policies = self._policies
        if policies and policies[-1][0] <= t:
            return policies[-1]
        at = bisect_right(policies, (t, FOREVER), key=lambda known: known[:2])
        return policies[at - 1] if at else None

    def agreements(self, recipient: str) -> list[Agreement]:
        """Every agreement ever signed with the recipient, by when it begins."""
        return self._agreements.get(recipient, [])

    def recipients_of(self, agreement_id: str) -> tuple[str, ...]:
        """Who the agreement was signed with."""
        return tuple(self._recipients_of.get(agreement_id, ()))

    def active(self, agreement: Agreement, t: int) -> bool:
        """Whether the agreement is active at t."""
        ended = self._ended.get(agreement.agreement_id, FOREVER)
        return agreement.valid_from <= t < agreement.valid_until and not ended <= t

    def decision(
        self, demand_id: str, legal_basis: str, recipient: str | None, t: int
    ) -> tuple[int, int, e.LegalDemandDecided] | None:
        """The latest decision on a demand with time <= t; one that names a recipient only for that recipient."""
        latest = None
        for named in (None,) if recipient is None else (None, recipient):
            line = self._decisions.get((demand_id, legal_basis, named), [])
            at = bisect_right(line, (t, FOREVER), key=lambda known: known[:2])
            if at and (latest is None or line[at - 1][:2] > latest[:2]):
                latest = line[at - 1]
        return latest


def _recipient(data: e.LegalDemandDecided) -> str | None:
    return None if data.recipient is UNSET else data.recipient

"""What an event names that the views can be asked for: purposes, a recipient, a legal demand.

>>> named_by(e.DataUsed(categories=("email",), purpose="4.2", operation="consult", basis=e.StatedPurpose()))
Named(purposes='{"4.2"}', recipient=None, demand_id=None)
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from msgspec import UNSET

from ledger import events as e
from projections.cells import NULL, optional, text_array


class Named(NamedTuple):
    """What an event names that the views can be asked for; `purposes` is a text[] literal."""

    purposes: str | None = None
    recipient: str | None = None
    demand_id: str | None = None


def named_by(data: Any) -> Named:
    """The purposes, the recipient and the legal demand that an event names, None where its kind names none."""
    name = _NAMED.get(type(data))
    return _NOTHING if name is None else name(data)


def named_cells(data: Any) -> str:
    """The same as three fields of a line of COPY; what is named are identifiers and ids, which need no escape."""
    named = named_by(data)
    if named is _NOTHING:
        return _NO_CELLS
    purposes, recipient, demand_id = named
    return (
        f"{NULL if purposes is None else purposes}\t{NULL if recipient is None else recipient}\t"
        f"{NULL if demand_id is None else demand_id}"
    )


_NOTHING = Named()
_NO_CELLS = f"{NULL}\t{NULL}\t{NULL}"


def demand_in(basis: e.Basis) -> str | None:
    """The legal demand that a claimed basis names."""
    return None if type(basis) is not e.ByLaw or basis.demand_id is UNSET else basis.demand_id


_NAMED: dict[type, Callable[[Any], Named]] = {
    e.NoticeGiven: lambda data: Named(text_array(data.purposes)),
    e.DataCollected: lambda data: Named(text_array(data.purposes)),
    e.DataUsed: lambda data: Named(text_array((data.purpose,)), None, demand_in(data.basis)),
    e.DataShared: lambda data: Named(text_array((data.purpose,)), data.recipient, demand_in(data.basis)),
    e.ConsentGiven: lambda data: Named(text_array(data.purposes)),
    e.ServiceRegistered: lambda data: Named(text_array(data.purposes)),
    e.AgreementSigned: lambda data: Named(text_array(data.purposes), data.recipient),
    e.LegalDemandDecided: lambda data: Named(None, optional(data.recipient), data.demand_id),
    e.IncidentReported: lambda data: Named(None, optional(data.recipient)),
}

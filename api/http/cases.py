"""What a list of cases says beyond its rows: the free texts, and incidents that may touch the resident.

    {"kind": "complaint", …, "text": {"state": "clear", "text": "…"}, "answer": null}

`text` is what the case was opened with, `answer` what was answered; null where there is none. `state` is `clear` for
the resident and for staff who must answer, `sealed` for anybody else (there is a text, and it cannot be read), `erased`
once the resident's key was destroyed.

Incidents reported when it was not known yet whom they touch name kinds of data. A resident sees those that name a kind
which was held of them at that time, as `"touches": "kinds-held"`, until one is reported about them under the same id.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from starlette.requests import Request

from api.http.lists import Row, case_row
from api.http.me_consents import policy_in_force
from api.http.views import views_of
from ledger import codec
from ledger.errors import Erased
from ledger.events import Event, Sealed
from ledger.log import Position
from ledger.policy import Policy
from ledger.vault import ResidentKey, Vault
from ledger.vault.sealing import key_ids, unseal
from projections.answers import View
from projections.cases import incidents_of_nobody, records
from projections.rows import Case, Holding

WITH_TEXTS = ("contest", "complaint", "access")
_PLACES = (("text", "position"), ("answer", "resolved_position"))


async def events_of(view: View, cases: Iterable[Mapping[str, Any]]) -> dict[str, Event]:
    """The records that opened and answered these cases, by position, as far as these eyes may see them."""
    named = [case[at] for case in cases if case["kind"] in WITH_TEXTS for _, at in _PLACES if case[at] is not None]
    places = [Position.parse(name) for name in named]
    found: dict[str, Event] = {}
    for partition in {place.partition for place in places}:
        offsets = [place.offset for place in places if place.partition == partition]
        for offset, body in (await records(view, partition, offsets)).items():
            found[str(Position(partition, offset))] = codec.read(body)
    return found


async def tell(cases: Iterable[dict[str, Any]], events: Mapping[str, Event], vault: Vault | None) -> None:
    """Adds the texts to the cases; without the vault only that there are some."""
    wanted = key_ids(events.values()) if vault is not None else []
    keys: Mapping[str, ResidentKey | None] = {}
    if vault is not None and wanted:
        keys = await asyncio.to_thread(vault.keys_by_id, wanted)
    for case in cases:
        if case["kind"] in WITH_TEXTS:
            for name, at in _PLACES:
                event = events.get(case[at])
                case[name] = None if event is None else _text(event, None if vault is None else keys)


def _text(event: Event, keys: Mapping[str, ResidentKey | None] | None) -> dict[str, str] | None:
    names = [name for name in event.data.sealed_fields if isinstance(getattr(event.data, name), Sealed)]
    if not names:
        return None
    if keys is None:
        return {"state": "sealed"}
    try:
        return {"state": "clear", "text": getattr(unseal(event, keys).data, names[0])}
    except Erased:
        return {"state": "erased"}


# --- incidents --------------------------------------------------------------------------------------------------


async def may_touch(request: Request, view: View, subject: str, partition: int, now_us: int) -> list[Row]:
    """The incidents of nobody yet that name a kind of data held of this resident at that time; `view`: their eyes."""
    async with views_of(request).auditor() as everything:
        found = await incidents_of_nobody(everything, partition)
    if not found:
        return []
    known = {case.case_id for case in await view.cases(subject) if case.kind == "incident"}
    policy = await policy_in_force(view, partition, now_us)
    held = await view.holdings(subject)
    return [case_row(case) for case in found if case.case_id not in known and _touches(policy, case, held)]


def _touches(policy: Policy, case: Case, held: Sequence[Holding]) -> bool:
    assert case.opened is not None, "the query asks for incidents that were reported"
    return any(
        policy.overlaps(holding.category, case.categories or ())
        for holding in held
        if holding.occurred <= case.opened and (holding.erased is None or holding.erased > case.opened)
    )

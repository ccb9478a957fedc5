"""Late facts re-judge what they can touch, and the rows say from which position to which each answer held."""

from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from msgspec import UNSET
from msgspec.structs import replace

from ledger import events as e
from ledger.kafka.log import KafkaLog
from ledger.policy import my_san_jose
from tests.projected import append, new_schema, project, pure_verdicts, records, verdict_rows

POLICY = e.KINDS["policy.published"](
    id="policy", source="/policy-office", time="2018-04-18T07:00:00Z", data=my_san_jose()
)


def event(kind: str, event_id: str, day: int, data: e.Data, subject: str | None = "res_7f2c") -> e.Event:
    time = f"2026-03-{day:02}T12:00:00Z"
    about: Any = UNSET if subject is None else subject
    return e.KINDS[kind](id=event_id, source="/services/permits", subject=about, time=time, data=data)


NOTICE = event(
    "notice.given",
    "notice",
    1,
    e.NoticeGiven(
        notice_id="n1",
        policy_version="2018-04-18",
        purposes=("4.2",),
        categories=("email",),
        channel="web",
        language="en",
    ),
)
COLLECTED = event(
    "data.collected", "collected", 2, e.DataCollected(categories=("email",), purposes=("4.2",), origin="resident")
)


def used(purpose: str, basis: e.Basis | None = None, day: int = 10) -> e.Event:
    data = e.DataUsed(categories=("email",), purpose=purpose, operation="consult", basis=basis or e.StatedPurpose())
    return event("data.used", "use", day, data)


def shared(basis: e.Basis | None = None, kind: Any = "service-provider") -> e.Event:
    data = e.DataShared(
        categories=("email",), purpose="4.2", recipient="acme", recipient_kind=kind, basis=basis or e.StatedPurpose()
    )
    return event("data.shared", "use", 10, data)


def consent(day: int) -> e.Event:
    return event("consent.given", "consent", day, e.ConsentGiven(consent_id="c1", purposes=("4.7",), method="web-form"))


def signed(valid_from: str, agreement_id: str = "a1") -> e.Event:
    data = e.AgreementSigned(
        agreement_id=agreement_id,
        recipient="acme",
        purposes=("4.2",),
        categories=("email",),
        safeguards=("encryption",),
        valid_from=valid_from,
    )
    return event("agreement.signed", f"sign-{agreement_id}", 12, data, None)


def decided(disclose: bool, day: int) -> e.Event:
    data = e.LegalDemandDecided(
        demand_id="d1", legal_basis="public-records-act", disclose=disclose, exempt_categories=()
    )
    return event("legal-demand.decided", f"decision-{day}", day, data, None)


BY_LAW = e.ByLaw(legal_basis="public-records-act", citation="Gov. Code § 7920", demand_id="d1")
ENDED = event("agreement.ended", "ended", 5, e.AgreementEnded(agreement_id="a1", reason="over"), None)
WITHDRAWN = event("consent.withdrawn", "withdrawn", 9, e.ConsentWithdrawn(consent_id="c1"))
CORRECTED = replace(POLICY, id="policy-2", data=replace(POLICY.data, version="2026", consistent=()))
CASES: dict[str, tuple[list[e.Event], list[e.Event], list[str]]] = {
    # what was known, what comes late, and the outcomes one after the other
    "a withdrawal": ([consent(3), used("4.7")], [WITHDRAWN], ["consistent", "inconsistent"]),
    "a consent": ([used("4.7")], [consent(9)], ["inconsistent", "consistent"]),
    "a consent and its withdrawal": (
        [used("4.7")],
        [consent(3), WITHDRAWN],
        ["inconsistent", "consistent", "inconsistent"],
    ),
    "an agreement": ([shared()], [signed("2026-03-01T00:00:00Z")], ["inconsistent", "consistent"]),
    "an agreement and its ending": (
        [shared()],
        [signed("2026-03-01T00:00:00Z"), ENDED],
        ["inconsistent", "consistent", "inconsistent"],
    ),
    "an agreement that begins later": ([shared()], [signed("2026-03-11T00:00:00Z")], ["inconsistent"]),
    "a decision": ([shared(BY_LAW, "public")], [decided(True, 9)], ["undetermined", "consistent"]),
    "a decision and its change": (
        [shared(BY_LAW, "public")],
        [decided(True, 8), decided(False, 9)],
        ["undetermined", "consistent", "inconsistent"],
    ),
    "a decision after the share": ([shared(BY_LAW, "public")], [decided(True, 11)], ["undetermined"]),
    "a policy": ([used("4.6")], [CORRECTED], ["consistent", "inconsistent"]),
}


@pytest.mark.parametrize("batch_events", [1, 1_000])
def test_each_late_fact_supersedes_from_its_own_position_on(
    kafka_address: str,
    fresh_database: str,
    make_log: Callable[..., KafkaLog],
    make_topic: Callable[..., str],
    batch_events: int,
) -> None:
    topic = make_topic(len(CASES))
    log = make_log(topic=topic)
    for partition, (known, late, _) in enumerate(CASES.values()):
        ours = [
            ev if ev.subject is UNSET else replace(ev, subject=f"res_{partition}") for ev in (NOTICE, COLLECTED, *known)
        ]
        later = [ev if ev.subject is UNSET else replace(ev, subject=f"res_{partition}") for ev in late]
        append(log, partition, [POLICY, *ours, *later])
    dsns = new_schema(fresh_database)
    project(kafka_address, topic, dsns, log, batch_events=batch_events)
    for partition, (name, (known, late, outcomes)) in enumerate(CASES.items()):
        judged = 2 + len(known)  # behind policy, notice and collection
        with psycopg.connect(dsns.owner) as connection:
            found = connection.execute(
                "SELECT known_from, known_until, outcome, first_outcome FROM verdicts"
                ' WHERE "partition" = %s AND "offset" = %s ORDER BY known_from',
                (partition, judged),
            ).fetchall()
        assert [row[2] for row in found] == outcomes, name
        assert {row[3] for row in found} == {outcomes[0]}, name
        changes = [judged + 1 + i for i in range(len(late))][: len(outcomes) - 1]
        assert [row[0] for row in found] == [judged, *changes], name
        assert [row[1] for row in found] == [*changes, None], name
        assert verdict_rows(dsns, partition) == pure_verdicts(records(log, partition), partition), name

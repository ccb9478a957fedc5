"""What `consent-ledger doctor` looks at of the work: which worker writes each partition, how far each intake has come.

$ consent-ledger doctor --only workers --only intake
ok    workers       partitions 0, 1, 2: project host-a/4711/9f3a01bc, epochs 4, 4, 5
WRONG intake        permits-app: 12 records of partition 1 were deleted before they were recorded: …
"""

import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import orjson

from api.cli.doctor import MAX_LAG_RECORDS, OK, WRONG, Finding
from ledger.errors import ConfigurationError, NotYet, UnreadableRecord
from ledger.recording.intake import DELETED_UNREAD

if TYPE_CHECKING:  # imported where they are used: other commands start without the servers' code
    from api.settings import Settings
    from ledger.kafka.intake import Standing
    from projections.assignments import Holder

REJECTS_LOOKED_AT = 10_000


def workers(settings: "Settings") -> Iterator[Finding]:
    """Which worker writes each partition; one that nobody writes is wrong."""
    from projections.health import holders_of

    if not settings.database:
        raise ConfigurationError("no database is named: set CONSENT_LEDGER_DATABASE")
    found = holders_of(settings.database)
    idle = [p for p in range(settings.partitions) if p not in found or found[p].gone]
    if idle:
        what = f"no worker writes partition{'s' * (len(idle) > 1)} {_listed(idle)}{_last_seen(found, idle)}"
        yield Finding("workers", WRONG, what, "start `project`, or look at its log")
    of_worker: dict[str, list[int]] = {}
    for p, holder in sorted(found.items()):
        if not holder.gone:
            of_worker.setdefault(holder.worker, []).append(p)
    for worker, partitions in of_worker.items():
        epochs = _listed([found[p].epoch for p in partitions])
        since = f"{max(found[p].since for p in partitions):%Y-%m-%dT%H:%M:%SZ}"
        many = "s" * (len(partitions) > 1)
        what = f"partition{many} {_listed(partitions)}: {worker}, epoch{many} {epochs}, since {since}"
        yield Finding("workers", OK, what)


def _last_seen(found: "Mapping[int, Holder]", idle: list[int]) -> str:
    seen = [found[p].since for p in idle if p in found]
    return f"; one did since {max(seen):%Y-%m-%dT%H:%M:%SZ}" if seen else ""


def intake(settings: "Settings") -> Iterator[Finding]:
    """How much of each client's topic waits, what was lost there, and how much was refused."""
    from ledger.kafka.intake import standings

    clients = [principal.client_id for principal in settings.intake_principals()]
    if not settings.kafka:
        raise ConfigurationError("no broker is named: set CONSENT_LEDGER_KAFKA")
    found = standings(settings.kafka, clients)
    for client in clients:
        of_client = [standing for standing in found if standing.client == client]
        wrong = [finding for standing in of_client for finding in _of_partition(standing)]
        lag = sum(standing.lag for standing in of_client)
        if lag > MAX_LAG_RECORDS:
            what = f"{client}: {lag:,} records wait to be recorded"
            wrong.append(Finding("intake", WRONG, what, "start `record`, or look at its log; they are kept for 7 days"))
        yield from wrong
        if not wrong:
            recorded = sum(standing.committed for standing in of_client)
            yield Finding("intake", OK, f"{client}: {recorded:,} offsets done with, {lag:,} wait")
    yield from _rejected(settings)


def _of_partition(standing: "Standing") -> Iterator[Finding]:
    where = f"{standing.client}: partition {standing.partition}"
    if standing.lost:
        what = f"{where}: {standing.lost:,} records were deleted before they were recorded"
        remedy = "start `record`, which writes down which, and have the client send them again"
        yield Finding("intake", WRONG, what, remedy)
    if standing.committed > standing.head:
        what = f"{where} ends before what was recorded of it"
        yield Finding(
            "intake",
            WRONG,
            what,
            "records are missing, or the group is another's: `kafka-consumer-groups --reset-offsets` mends it",
        )


def _rejected(settings: "Settings") -> Iterator[Finding]:
    """How many refusals there are; among the latest those that say that records were lost."""
    from ledger.kafka.reader import Reader
    from ledger.kafka.topics import INTAKE_KEPT_MS

    lost: list[str] = []
    since_ms = time.time() * 1000 - INTAKE_KEPT_MS
    with Reader(settings.kafka, settings.rejected_topic) as reader:
        head, oldest = reader.heads(0)[0], reader.oldest(0)[0]
        at = max(oldest, head - REJECTS_LOOKED_AT)
        reader.assign({0: at})
        while at < head:
            try:
                records = reader.poll(5.0).get(0, [])
            except UnreadableRecord:  # somebody else's: ours have a value
                at += 1
                reader.seek(0, at)
                continue
            if not records:
                raise NotYet("the topic of refusals cannot be read to its end")
            at = records[-1].position.offset + 1
            recent = [record for record in records if record.timestamp_ms > since_ms]
            lost += [said for record in recent if (said := _lost(record.value)) is not None]
    if lost:
        what = f"records were deleted before they were recorded: {', '.join(dict.fromkeys(lost[-5:]))}"
        yield Finding("intake", WRONG, what, "have the client send them again, then start `record` more often")
    yield Finding("intake", OK, f"{head - oldest:,} refusals are in {settings.rejected_topic}")


def _lost(value: bytes) -> str | None:
    try:
        said = orjson.loads(value)
        if said["codes"] == [DELETED_UNREAD]:
            return f"{said['topic']} {int(said['partition'])}-{int(said['offset'])} to {int(said['until']) - 1}"
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        pass
    return None


def _listed(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers))

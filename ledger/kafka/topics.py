"""The ledger's topics: what they must be set to (contract: proofs.md, Log), made and checked.

>>> wanted(Kind.RECORDS, brokers=1)["flush.messages"]
'1'
>>> wanted(Kind.RECORDS, brokers=3)["min.insync.replicas"]
'2'
>>> wanted(Kind.INTAKE, brokers=1)["retention.ms"]
'604800000'

A single broker has no second copy, so there it must not acknowledge what is not on disk: `flush.messages=1`.
With three brokers, replication takes that place.
"""

import enum
from collections.abc import Mapping
from typing import Any, NamedTuple

from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import TopicAlreadyExistsError

from ledger.kafka import settings
from ledger.kafka.errors import translated

EVENTS = "ledger.events"
CHECKPOINTS = "ledger.checkpoints"
REJECTED = "ledger.rejected"
INTAKE_PREFIX = "ledger.intake."
DEFAULT_PARTITIONS = 6
INTAKE_KEPT_MS = 7 * 24 * 60 * 60 * 1000


class Kind(enum.Enum):
    """Kept for ever, or a service's own inbox, kept for seven days."""

    RECORDS = "records"
    INTAKE = "intake"


class Difference(NamedTuple):
    """A setting that is not what it must be; `found` is None when the topic does not exist."""

    topic: str
    setting: str
    wanted: str
    found: str | None


def wanted(kind: Kind, *, brokers: int) -> dict[str, str]:
    """The settings that a topic must have on a cluster of so many brokers."""
    single = brokers < 3
    return {
        "cleanup.policy": "delete",
        "retention.ms": str(INTAKE_KEPT_MS) if kind is Kind.INTAKE else "-1",
        "retention.bytes": "-1",
        "message.timestamp.type": "LogAppendTime",
        "min.insync.replicas": "1" if single else "2",
        "unclean.leader.election.enable": "false",
        **({"flush.messages": "1"} if single else {}),
    }


def replication(brokers: int) -> int:
    """How many copies of each record: three where there are as many brokers."""
    return 3 if brokers >= 3 else 1


def ledger_topics(partitions: int = DEFAULT_PARTITIONS) -> dict[str, tuple[Kind, int]]:
    """The topics every ledger has, with their kind and number of partitions."""
    return {
        EVENTS: (Kind.RECORDS, partitions),
        CHECKPOINTS: (Kind.RECORDS, 1),
        REJECTED: (Kind.RECORDS, 1),
    }


def create(
    bootstrap: str, topics: Mapping[str, tuple[Kind, int]] | None = None, *, security: Mapping[str, Any] | None = None
) -> list[str]:
    """Makes those of `topics` (default: the ledger's) that are missing; returns their names. Changes none."""
    made = []
    with translated("making topics"), KafkaAdminClient(**settings.admin(bootstrap, security=security)) as admin:
        brokers = len(admin.describe_cluster()["brokers"])
        existing = set(admin.list_topics())
        for name, (kind, partitions) in (ledger_topics() if topics is None else topics).items():
            if name in existing:
                continue
            description = {
                "num_partitions": partitions,
                "replication_factor": replication(brokers),
                "configs": wanted(kind, brokers=brokers),
            }
            try:
                admin.create_topics({name: description}, wait_for_metadata=True)
            except TopicAlreadyExistsError:  # another process was quicker
                continue
            made.append(name)
    return made


def differences(
    bootstrap: str, topics: Mapping[str, tuple[Kind, int]] | None = None, *, security: Mapping[str, Any] | None = None
) -> list[Difference]:
    """What is not as it must be, for `doctor`. The number of partitions of `ledger.events` is free, but never 0.

    A topic asked for with 0 partitions may have any number.
    """
    expected = dict(ledger_topics(0) if topics is None else topics)
    found: list[Difference] = []
    with translated("checking topics"), KafkaAdminClient(**settings.admin(bootstrap, security=security)) as admin:
        brokers = len(admin.describe_cluster()["brokers"])
        existing = set(admin.list_topics())
        for name, (kind, partitions) in expected.items():
            if name not in existing:
                found.append(Difference(name, "exists", "yes", None))
                continue
            found += _placement(admin, name, partitions, brokers)
            resource = ConfigResource(ConfigResourceType.TOPIC, name)
            configs = admin.describe_configs([resource], config_filter="all")["topic"][name]
            for setting, value in wanted(kind, brokers=brokers).items():
                actual = configs[setting]["value"] if setting in configs else None
                if actual != value:
                    found.append(Difference(name, setting, value, actual))
    return found


def _placement(admin: KafkaAdminClient, name: str, partitions: int, brokers: int) -> list[Difference]:
    described = admin.describe_topics([name])[0]["partitions"]
    found = []
    if partitions and len(described) != partitions:
        found.append(Difference(name, "partitions", str(partitions), str(len(described))))
    copies = min(len(partition["replica_nodes"]) for partition in described)
    if copies < replication(brokers):
        found.append(Difference(name, "replication factor", str(replication(brokers)), str(copies)))
    return found


def delete(bootstrap: str, names: list[str], *, security: Mapping[str, Any] | None = None) -> None:
    """Deletes topics: for tests. Nothing in the product calls it."""
    with translated("deleting topics"), KafkaAdminClient(**settings.admin(bootstrap, security=security)) as admin:
        admin.delete_topics(names)

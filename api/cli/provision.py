"""What a ledger needs before its first event: topics, roles and tables. Idempotent; run it again after an upgrade.

    made = provision("broker:9092", "postgresql://postgres:...@db/ledger", passwords, partitions=6)
    made.dsns.reader, made.vault

`dev` calls it for its own servers; in production an operator runs `consent-ledger setup`.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from ledger.kafka import topics
from ledger.kafka.intake import topic_of
from ledger.vault import store
from projections import schema
from projections.schema import Dsns

VAULT_ROLE = "ledger_vault"
ROLES = (*schema.ROLES, VAULT_ROLE)


class Provisioned(NamedTuple):
    """The connection strings of each role, and the topics that were made just now."""

    dsns: Dsns
    vault: str
    topics: list[str]


def provision(
    bootstrap: str,
    superuser_dsn: str,
    passwords: Mapping[str, str],
    *,
    topic: str = topics.EVENTS,
    checkpoints_topic: str = topics.CHECKPOINTS,
    rejected_topic: str = topics.REJECTED,
    partitions: int = topics.DEFAULT_PARTITIONS,
    intake_clients: Iterable[str] = (),
    intake_partitions: int = topics.DEFAULT_PARTITIONS,
) -> Provisioned:
    """Makes what is missing; changes no topic that is there. `passwords` by role name."""
    wanted = topics.ledger_topics(partitions)
    wanted[topic] = wanted.pop(topics.EVENTS)
    wanted[checkpoints_topic] = wanted.pop(topics.CHECKPOINTS)
    wanted[rejected_topic] = wanted.pop(topics.REJECTED)
    wanted |= {topic_of(client): (topics.Kind.INTAKE, intake_partitions) for client in intake_clients}
    made = topics.create(bootstrap, wanted)
    dsns = schema.prepare(superuser_dsn, {role: passwords[role] for role in schema.ROLES})
    return Provisioned(dsns, store.install(superuser_dsn, passwords[VAULT_ROLE]), made)

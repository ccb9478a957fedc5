"""What the projection worker counts, for Prometheus. No resident, source or id is ever a label.

>>> from prometheus_client import CollectorRegistry
>>> metrics = Metrics(CollectorRegistry())
>>> metrics.events.labels("3").inc(5)
"""

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

_BATCH_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Metrics:
    """Counters of one process."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        by_partition = ("partition",)
        self.events = Counter(
            "consent_ledger_projected_events", "Events that were projected.", by_partition, registry=registry
        )
        self.repeats = Counter(
            "consent_ledger_repeats", "Records that repeat an earlier one.", by_partition, registry=registry
        )
        self.conflicts = Counter(
            "consent_ledger_conflicts", "Repeats with other content.", by_partition, registry=registry
        )
        self.superseded = Counter(
            "consent_ledger_verdicts_superseded", "Verdicts that later facts changed.", by_partition, registry=registry
        )
        self.retries = Counter(
            "consent_ledger_projection_retries", "Times that projecting began again after a fault.", registry=registry
        )
        self.lag = Gauge("consent_ledger_projection_lag", "Offsets not projected yet.", by_partition, registry=registry)
        self.halted = Gauge(
            "consent_ledger_projection_halted", "1: the partition stands still.", by_partition, registry=registry
        )
        self.held = Gauge(
            "consent_ledger_partition_held",
            "1: this worker writes the partition; 0: another has taken it over.",
            by_partition,
            registry=registry,
        )
        self.epoch = Gauge(
            "consent_ledger_partition_epoch",
            "The epoch by which this worker writes, or last wrote.",
            by_partition,
            registry=registry,
        )
        self.stale = Counter(
            "consent_ledger_stale_writes",
            "Batches that were refused because another worker had gone on with the partition.",
            by_partition,
            registry=registry,
        )
        self.tree_seconds = Counter(
            "consent_ledger_tree_seconds",
            "Time of projecting that went into hashing and writing trees.",
            registry=registry,
        )
        self.batch_seconds = Histogram(
            "consent_ledger_batch_seconds", "Time to project one batch.", buckets=_BATCH_SECONDS, registry=registry
        )

"""Every setting of the Kafka client, in one place. Chosen for kafka-python 3.0.12: measure to change one.

>>> producer("broker:9092")["acks"], producer("broker:9092")["enable_idempotence"]
('all', True)
>>> reader("broker:9092")["auto_offset_reset"]
'none'

`security` takes the client's own names (`security_protocol`, `ssl_cafile`, `sasl_mechanism`, ...) and no others.
"""

from collections.abc import Mapping
from typing import Any

from ledger.errors import ConfigurationError

Settings = dict[str, Any]
CLIENT_ID = "consent-ledger"
MAX_REQUEST_BYTES = 1024 * 1024
# What Kafka puts around a record's key and value in a request; generous.
RECORD_OVERHEAD_BYTES = 1024
# The client gives up trying never; when to give up is ours to say (ledger.kafka.producer).
NEVER_MS = 2**31 - 1
RECORDS_A_POLL = 10_000
PARTITION_FETCH_BYTES = 8 * 1024 * 1024
_SECURITY_PREFIXES = ("security_protocol", "ssl_", "sasl_")


def producer(bootstrap: str, *, linger_ms: int = 5, security: Mapping[str, Any] | None = None) -> Settings:
    """The producer: acknowledged by all replicas, idempotent, five requests in flight, never a topic of its own making.

    `linger_ms`: 5 for bulk; 0 halves the latency of single posts, so the door chooses it by load.
    """
    return {
        **_common(bootstrap, security),
        "acks": "all",
        # Explicit: by default an unfit setting beside it would switch it off with no more than a log line.
        "enable_idempotence": True,
        "max_in_flight_requests_per_connection": 5,
        # A short one wedges the idempotent producer for good once a broker has been frozen for longer.
        "delivery_timeout_ms": NEVER_MS,
        "linger_ms": linger_ms,
        "batch_size": 256 * 1024,
        "max_request_size": MAX_REQUEST_BYTES,
        "max_block_ms": 5_000,
        "reconnect_backoff_max_ms": 1_000,
    }


def reader(bootstrap: str, *, security: Mapping[str, Any] | None = None) -> Settings:
    """The reader: no group's offsets (PostgreSQL has the position), checked sums, and an error for a deleted head."""
    return {
        **_common(bootstrap, security),
        "enable_auto_commit": False,
        # "earliest" would jump over records that are gone, and say nothing.
        "auto_offset_reset": "none",
        "check_crcs": True,
        "isolation_level": "read_committed",
        "max_poll_records": RECORDS_A_POLL,
        "max_partition_fetch_bytes": PARTITION_FETCH_BYTES,
        "reconnect_backoff_max_ms": 1_000,
    }


def admin(bootstrap: str, *, security: Mapping[str, Any] | None = None) -> Settings:
    """The one that makes topics and asks for their settings."""
    return _client(bootstrap, security)


def _common(bootstrap: str, security: Mapping[str, Any] | None) -> Settings:
    # The client's own metrics are read by nobody: ours are at the doors.
    return {**_client(bootstrap, security), "allow_auto_create_topics": False, "metrics_enabled": False}


def _client(bootstrap: str, security: Mapping[str, Any] | None) -> Settings:
    servers = [server.strip() for server in bootstrap.split(",") if server.strip()]
    if not servers:
        raise ConfigurationError("CONSENT_LEDGER_KAFKA is empty: give host:port, several with commas")
    for name in security or {}:
        if not name.startswith(_SECURITY_PREFIXES):
            raise ConfigurationError(f"{name} is not a security setting of the Kafka client")
    return {
        "bootstrap_servers": servers,
        "client_id": CLIENT_ID,
        "bootstrap_timeout_ms": 10_000,
        **(security or {}),
    }

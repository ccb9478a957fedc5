"""Where `project`, `record` and `sign` show what they have done: `/metrics` for Prometheus, on a port of their own.

    $ CONSENT_LEDGER_METRICS_PORT=9464 consent-ledger project &
    $ curl -s localhost:9464/metrics | grep consent_ledger_projection_lag

Off unless a port is set, and on loopback unless an address is: nobody is asked for a token there. No metric names a
resident, a source or an id.
"""

from typing import TYPE_CHECKING

from ledger.errors import ConfigurationError

if TYPE_CHECKING:
    from api.settings import Settings


def serve_metrics(settings: "Settings") -> int | None:
    """Serves this process's metrics if a port is set; returns the port (one that is free, for 0)."""
    if settings.metrics_port is None:
        return None
    from prometheus_client import start_http_server

    try:
        server, _ = start_http_server(settings.metrics_port, settings.metrics_host)
    except OSError as error:
        raise ConfigurationError(
            f"metrics cannot be served at CONSENT_LEDGER_METRICS_HOST and _PORT ({error.strerror}): choose others"
        ) from None
    return int(server.server_port)

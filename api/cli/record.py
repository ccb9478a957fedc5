"""`consent-ledger record`: takes in what services with Kafka access put into their topics `ledger.intake.<client>`.

    $ export CONSENT_LEDGER_INTAKE_CLIENTS='{"permits-app": {"events:write": ["/services/permits"]}}'
    $ consent-ledger setup            # makes ledger.intake.permits-app; its ACLs are the broker's (docs/spec/intake.md)
    $ consent-ledger record           # start as many as you like: the partitions are shared out

Reads CONSENT_LEDGER_KAFKA, _DATABASE (role ledger_reader) and _INTAKE_CLIENTS, and holds no key: kinds with sealed
fields are refused here, and nobody is given a receipt. What is refused is named in `ledger.rejected`.
"""

import contextlib
import logging
import threading
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from api.cli.children import stop_with_parent
from api.cli.metrics import serve_metrics
from api.cli.serve import load_settings
from ledger.errors import ConfigurationError, NotYet

if TYPE_CHECKING:  # imported where they are used: `--help` starts without them
    from api.intake import ClientIntake, Metrics
    from api.settings import Settings

_logger = logging.getLogger("consent_ledger.record")
_OPEN_AGAIN_S = 2.0


def record() -> None:
    """Record what services put into their intake topics."""
    stop_with_parent()
    settings = load_settings("kafka", "database")
    if not settings.intake_principals():
        raise ConfigurationError(
            "no client has an intake topic: set CONSENT_LEDGER_INTAKE_CLIENTS, such as "
            '{"permits-app": {"events:write": ["/services/permits"]}}'
        )
    from api.http.app import configure_logging  # after the settings: a wrong one is said at once
    from projections.stopping import stopped_by_signals

    configure_logging(settings.log_level)
    serve_metrics(settings)
    with stopped_by_signals(None) as stopping:
        run(settings, stopping)


def run(settings: "Settings", stopping: threading.Event, metrics: "Metrics | None" = None) -> None:
    """Records until it is stopped; whatever is away at the start is waited for too."""
    from api.intake import Metrics

    metrics, said = metrics or Metrics(), ""
    while not stopping.is_set():
        try:
            with _opened(settings, stopping, metrics) as intakes:
                _follow(intakes, stopping)
                return
        except NotYet as error:
            if str(error) != said:
                _logger.warning("recording waits: %s", error)
            said = str(error)
            stopping.wait(_OPEN_AGAIN_S)


@contextlib.contextmanager
def _opened(settings: "Settings", stopping: threading.Event, metrics: "Metrics") -> "Iterator[list[ClientIntake]]":
    from api.intake import ClientIntake
    from api.recording import NoVault, recording, wall_clock
    from ledger.kafka.intake import Intake
    from ledger.kafka.producer import Producer

    with (
        Producer(settings.kafka, settings.rejected_topic, linger_ms=0, deadline_s=settings.deadline_s) as rejects,
        recording(settings, wall_clock, lambda *_: NoVault(), None) as parts,
    ):
        parts.recorder.start()
        opener = partial(Intake, settings.kafka)
        yield [
            ClientIntake(opener, principal, parts.recorder.submit, rejects, metrics, stopping)
            for principal in settings.intake_principals()
        ]


def _follow(intakes: "list[ClientIntake]", stopping: threading.Event) -> None:
    """Each client in a thread of its own, so that none waits for another; ends when all have."""
    faults: list[BaseException] = []

    def follow(intake: "ClientIntake") -> None:
        try:
            intake.run()
        except BaseException as error:  # our own bug: the process ends with it, and nothing is committed
            faults.append(error)
            stopping.set()

    threads = [threading.Thread(target=follow, args=(intake,), name="intake") for intake in intakes]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):  # joined in short steps: signals are heard in between
        for thread in threads:
            thread.join(0.5)
    if faults:
        raise faults[0]

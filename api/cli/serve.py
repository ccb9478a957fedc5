"""`consent-ledger serve` and `project`: the production processes that answer and that keep the views.

    $ consent-ledger setup            # topics, roles, tables: once, and after an upgrade
    $ consent-ledger project          # the projection worker
    $ consent-ledger serve            # the API

All is configured by `CONSENT_LEDGER_*` (docs/configuration.md), or a file that `CONSENT_LEDGER_CONFIG` names; no secret
is taken from a flag. `serve` uses the roles `ledger_reader` and `ledger_vault`, `project` uses `ledger_projector`.
"""

from typing import TYPE_CHECKING, Annotated

import typer

from api.cli import console
from api.cli.children import stop_with_parent
from api.cli.metrics import serve_metrics
from ledger.errors import ConfigurationError

if TYPE_CHECKING:  # imported where they are used: `judge` and `--help` start without them
    from api.settings import Settings


def load_settings(*needed: str) -> "Settings":
    """The settings of the environment; raises `ConfigurationError` that names what is wrong or missing, not values."""
    from pydantic import ValidationError

    from api.settings import PREFIX, Settings

    try:
        settings = Settings()
    except ValidationError as error:
        wrong = sorted({str(e["loc"][0]).upper() for e in error.errors() if e["loc"]})
        raise ConfigurationError(f"not well-formed: {', '.join(PREFIX + name for name in wrong)}") from None
    missing = [name for name in needed if not getattr(settings, name)]
    if missing:
        raise ConfigurationError(f"set {', '.join(PREFIX + name.upper() for name in missing)}")
    return settings


def serve(
    host: Annotated[str | None, typer.Option(help="The address to listen on.", metavar="ADDRESS")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65_535, help="The port to listen on.")] = None,
) -> None:
    """Serve the API."""
    import uvicorn

    from api.http import answers
    from api.http.app import configure_logging, create_app, server_config
    from api.http.runtime import opened, token_verifier

    stop_with_parent()
    settings = load_settings("kafka", "database", "vault_database", "issuer")
    settings.receipts_signer(), settings.key_wrapper(), token_verifier(settings)  # said now, not in a traceback
    configure_logging(settings.log_level)
    app = create_app(lambda: opened(settings), routers=answers.routers())
    server = uvicorn.Server(
        server_config(app, host or settings.host, settings.port if port is None else port, log_level=settings.log_level)
    )
    server.run()
    if not server.started:
        raise typer.Exit(console.INCOMPLETE)


def project(
    projection: Annotated[
        str | None,
        typer.Option(metavar="MODULE:CLASS", help="Follow the ledger with this eventsourcing projection instead."),
    ] = None,
    partitions: Annotated[
        str | None,
        typer.Option(metavar="0,1,…", help="These partitions; default: those that the workers' consumer group gives."),
    ] = None,
) -> None:
    """Keep the views up to date: follow the log, judge, and write, exactly once."""
    from api.http.app import configure_logging
    from api.recording import start_check
    from projections import members, worker
    from projections.metrics import Metrics
    from projections.schema import LIVE, at_schema

    stop_with_parent()
    settings = load_settings("kafka", "database")
    configure_logging(settings.log_level)
    serve_metrics(settings)
    chosen = _partitions(partitions, settings.partitions)
    # The worker names its schema itself; who compares finds it by the search path.
    check = start_check(settings.model_copy(update={"database": at_schema(settings.database, LIVE)}))
    if projection is not None:
        differs = {} if check is None else check(range(settings.partitions) if chosen is None else chosen)
        for difference in differs.values():
            raise difference
        from projections.follow import follow

        follow(projection, settings.kafka, settings.database, topic=settings.topic, partitions=chosen)
        return
    work, metrics = worker.Settings(topic=settings.topic, check=check), Metrics()
    if chosen is None:
        halted = members.run_in_group(settings.kafka, settings.database, settings=work, metrics=metrics)
    else:
        halted = worker.run(settings.kafka, settings.database, partitions=chosen, settings=work, metrics=metrics)
    for error in halted.values():
        raise error


def _partitions(text: str | None, count: int) -> list[int] | None:
    if text is None:
        return None
    try:
        chosen = sorted({int(part) for part in text.split(",")})
    except ValueError:
        raise ConfigurationError("--partitions takes numbers, such as 0,2,4") from None
    if not chosen or chosen[0] < 0 or chosen[-1] >= count:
        raise ConfigurationError(f"--partitions: this ledger's are 0 to {count - 1}")
    return chosen

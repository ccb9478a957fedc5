"""`consent-ledger doctor`: looks at everything the ledger stands on; says what is wrong, and what to do about it.

    $ CONSENT_LEDGER_CONFIG=data/consent-ledger.env consent-ledger doctor
    ok    broker      3 topics, as they must be
    WRONG lag         partition 3 is 120,004 records behind: start a projection worker

Each check is `ok`, `wrong` or `away`. Exit: 0 when all is well, 1 when something is wrong, 3 when a part could not be
asked. Prints no secret and nothing of any resident.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from api.cli import console
from ledger.errors import ConfigurationError, ConsentLedgerError, InvalidNote, NotYet

if TYPE_CHECKING:  # imported where they are used: other commands start without the servers' code
    from api.settings import Settings

OK, WRONG, AWAY = "ok", "wrong", "away"
PACKAGES = ("ledger", "projections", "replay", "api")
DISTRIBUTION = "consent-ledger"
MAX_LAG_RECORDS = 50_000
MAX_CLOCK_S = 2.0
_OLDEST_SERVER = 160_000
_STYLES = {OK: None, WRONG: "bold red", AWAY: "bold yellow"}


class Finding(NamedTuple):
    """What one check found, and what to do about it."""

    check: str
    status: str
    what: str
    remedy: str = ""


Check = Callable[["Settings"], Iterator[Finding]]


def doctor(
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="CHECK", help="Only this check; may be given again.")
    ] = None,
) -> None:
    """Check broker, database, views, lag, workers, intake, signer, keys, installation; say what to do."""
    from api.cli.serve import load_settings

    out = console.get()
    unknown = [name for name in only or () if name not in CHECKS]
    if unknown:
        raise ConfigurationError(f"--only takes one of {', '.join(CHECKS)}")
    settings = load_settings()
    findings = [
        finding
        for name, check in CHECKS.items()
        if not only or name in only
        for finding in examined(name, check, settings)
    ]
    for finding in findings:
        if out.json:
            out.data(finding._asdict())
        else:
            status = finding.status if finding.status == OK else finding.status.upper()
            remedy = f": {finding.remedy}" if finding.remedy else ""
            for line in console.wrapped(f"{status:5} {finding.check:13} ", finding.what + remedy):
                out.data(line)
    out.flush()
    statuses = {finding.status for finding in findings}
    if AWAY in statuses:
        raise typer.Exit(console.INCOMPLETE)
    if WRONG in statuses:
        raise typer.Exit(console.FINDING)


def examined(name: str, check: Check, settings: "Settings") -> list[Finding]:
    """One check's findings; an error of ours is a finding too."""
    try:
        return list(check(settings))
    except NotYet as error:
        return [Finding(name, AWAY, str(error))]
    except (ConsentLedgerError, InvalidNote) as error:
        return [Finding(name, WRONG, str(error))]


def _broker(settings: "Settings") -> Iterator[Finding]:
    from ledger.kafka import topics
    from ledger.kafka.intake import topic_of

    if not settings.kafka:
        raise ConfigurationError("no broker is named: set CONSENT_LEDGER_KAFKA")
    wanted = topics.ledger_topics(settings.partitions)
    wanted[settings.topic] = wanted.pop(topics.EVENTS)
    wanted[settings.checkpoints_topic] = wanted.pop(topics.CHECKPOINTS)
    wanted[settings.rejected_topic] = wanted.pop(topics.REJECTED)
    wanted |= {topic_of(each.client_id): (topics.Kind.INTAKE, 0) for each in settings.intake_principals()}
    found = topics.differences(settings.kafka, wanted)
    for difference in found:
        if difference.found is None:
            yield Finding("broker", WRONG, f"topic {difference.topic} is missing", "run `consent-ledger setup`")
        else:
            what = f"{difference.topic}: {difference.setting} is {difference.found}, must be {difference.wanted}"
            yield Finding("broker", WRONG, what, _topic_remedy(difference.setting))
    if not found:
        yield Finding("broker", OK, f"{len(wanted)} topics, as they must be")


def _topic_remedy(setting: str) -> str:
    if setting == "partitions":
        return "never change it: set CONSENT_LEDGER_PARTITIONS to what the topic has"
    if setting == "replication factor":
        return "add copies with kafka-reassign-partitions"
    return "set it with kafka-configs --alter"


def _database(settings: "Settings") -> Iterator[Finding]:
    from projections import health

    if not settings.database:
        raise ConfigurationError("no database is named: set CONSENT_LEDGER_DATABASE")
    found = health.look(settings.database)
    if found.server_version < _OLDEST_SERVER:
        yield Finding("database", WRONG, "PostgreSQL is older than 16", "upgrade the server")
    else:
        yield Finding("database", OK, f"PostgreSQL {found.server_version // 10_000} answers")
    if found.schema_version is None:
        yield Finding("schema", WRONG, "this role finds no views", "run `consent-ledger setup`, check the search path")
    elif found.schema_version != found.newest_version:
        what = f"the views are of version {found.schema_version}, this program's are {found.newest_version}"
        yield Finding("schema", WRONG, what, "run `consent-ledger setup` of the newer one")
    else:
        yield Finding("schema", OK, f"the views are of version {found.schema_version}")
    for place in found.halted.values():
        remedy = "`verify-log` says if it was changed: restore it; else start a worker of a version that reads it"
        yield Finding("projection", WRONG, f"a partition stands still at {place}", remedy)
    if abs(found.clock_ahead_s) > MAX_CLOCK_S:
        what = f"the database's clock is {found.clock_ahead_s:+.1f} s from this machine's"
        yield Finding("clock", WRONG, what, "set both by NTP: recordedtime is the ledger's word")
    else:
        yield Finding("clock", OK, "this machine and the database agree")


def _lag(settings: "Settings") -> Iterator[Finding]:
    from ledger.kafka.reader import Reader
    from projections.index import PostgresIndex

    if not settings.kafka or not settings.database:
        raise ConfigurationError("no lag without a broker and a database: set CONSENT_LEDGER_KAFKA and _DATABASE")
    with contextlib.closing(PostgresIndex(settings.database, pool_size=1)) as index:
        projected = index.projected()
    with Reader(settings.kafka, settings.topic) as reader:
        heads = reader.heads(*range(reader.partitions))
    behind = {p: head - projected.get(p, 0) for p, head in sorted(heads.items())}
    for partition, lag in behind.items():
        if lag > MAX_LAG_RECORDS:
            what = f"partition {partition} is {lag:,} records behind"
            yield Finding("lag", WRONG, what, "start a projection worker, or look at its log")
        if lag < 0:
            what = f"partition {partition} of the log ends before what the views hold"
            yield Finding("lag", WRONG, what, "records are missing: stop everything and restore the log")
    if all(0 <= lag <= MAX_LAG_RECORDS for lag in behind.values()):
        yield Finding("lag", OK, f"{sum(heads.values()):,} offsets, {sum(behind.values()):,} not projected yet")


def _workers(settings: "Settings") -> Iterator[Finding]:
    from api.cli import doctor_work

    return doctor_work.workers(settings)


def _intake(settings: "Settings") -> Iterator[Finding]:
    from api.cli import doctor_work

    return doctor_work.intake(settings)


def _vault(settings: "Settings") -> Iterator[Finding]:
    from ledger.vault.store import VaultStore

    if not settings.vault_database:
        raise ConfigurationError("no vault is named: set CONSENT_LEDGER_VAULT_DATABASE")
    with contextlib.closing(VaultStore(settings.vault_database, settings.key_wrapper(), 1)) as vault:
        vault.keys_by_id([])
    yield Finding("vault", OK, "the vault answers")


def _keys(settings: "Settings") -> Iterator[Finding]:
    from api.cli import doctor_signer

    return doctor_signer.keys(settings)


def _signer(settings: "Settings") -> Iterator[Finding]:
    from api.cli import doctor_signer

    return doctor_signer.signer(settings)


def _issuer(settings: "Settings") -> Iterator[Finding]:
    from api.auth import JwksFile, JwksUrl
    from api.http.runtime import token_verifier

    token_verifier(settings)  # complains about what does not fit together
    source = JwksFile(settings.jwks_file) if settings.jwks_file else JwksUrl(settings.jwks_url)
    asyncio.run(source.fetch())
    yield Finding("issuer", OK, "the issuer's keys can be had")


def _installation(_: "Settings") -> Iterator[Finding]:
    """Our four packages have common names: another distribution may have brought one of them."""
    import importlib.util
    from importlib.metadata import packages_distributions

    owners = packages_distributions()
    ours = Path(__file__).resolve().parents[2]
    clean = True
    for package in PACKAGES:
        others = sorted({name for name in owners.get(package, ()) if name.lower().replace("_", "-") != DISTRIBUTION})
        found = importlib.util.find_spec(package)
        elsewhere = found is None or found.origin is None or Path(found.origin).resolve().parents[1] != ours
        if others or elsewhere:
            clean = False
            what = f"the package name {package} is {'also owned by ' + ', '.join(others) if others else 'not ours'}"
            yield Finding("installation", WRONG, what, "install consent-ledger in an environment of its own")
    if clean:
        yield Finding("installation", OK, "ledger, projections, replay and api are ours")


CHECKS: dict[str, Check] = {
    "installation": _installation,
    "broker": _broker,
    "database": _database,
    "lag": _lag,
    "workers": _workers,
    "intake": _intake,
    "signer": _signer,
    "vault": _vault,
    "keys": _keys,
    "issuer": _issuer,
}

"""`consent-ledger sign` signs checkpoints; `checkpoint` prints the latest of them; `vkey` prints the verifier keys.

    $ consent-ledger vkey --make-key                 # on the signer's own host: makes the key where there is none
    checkpoints  ledger.example+b7cfcbf1+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop
    $ consent-ledger sign                            # the signer; the key need not be anywhere else
    $ consent-ledger checkpoint 3                    # of a ledger by HTTP, or out of Kafka

`sign` reads CONSENT_LEDGER_KAFKA, _SIGNER_DATABASE and _CHECKPOINT_KEY(_FILE), and nothing of residents. `checkpoint`
asks the ledger that CONSENT_LEDGER_URL names, with an auditor's token, or else Kafka. Its exit: 0 every note printed is
rightly signed; 1 one is not; 3 a partition has none.
"""

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from api.cli import client, console
from api.cli.children import stop_with_parent
from api.cli.metrics import serve_metrics
from api.cli.serve import load_settings
from ledger.errors import ConfigurationError, InvalidNote, NotFound, NotYet

if TYPE_CHECKING:  # imported where they are used: `--help` starts without them
    from api.settings import Settings
    from ledger.tree.note import Verifier

_PATIENCE_S = 2.0
_TEXT_TYPE = "text/plain"


def sign() -> None:
    """Sign what each partition's tree has grown to, and publish it."""
    stop_with_parent()
    settings = load_settings("kafka", "signer_database")
    signers, verifiers = settings.checkpoint_signers(), settings.checkpoint_verifiers()
    for own in (signer_.verifier for signer_ in signers):
        if verifiers and own not in verifiers:
            raise ConfigurationError(f"CONSENT_LEDGER_CHECKPOINT_VKEYS does not name this signer's key: add {own.vkey}")
    from api.http.app import configure_logging  # after the settings: a wrong one is said at once
    from projections import signer

    configure_logging(settings.log_level)
    serve_metrics(settings)
    how = signer.Settings(topic=settings.checkpoints_topic, every_s=settings.checkpoint_every_s)
    refused = signer.run(settings.kafka, settings.signer_database, signers, verifiers, settings=how)
    for error in refused.values():
        raise error


class _Found(NamedTuple):
    """A partition's note, as it was given, and what it says; nothing when it is no checkpoint."""

    partition: int
    note: bytes
    verified: bool
    size: int | None
    root: str | None

    def json(self) -> dict[str, Any]:
        return {
            "partition": self.partition,
            "size": self.size,
            "root": self.root,
            "note": self.note.decode("utf-8", "replace"),
            "verified": self.verified,
        }


def checkpoint(
    partition: Annotated[
        int | None, typer.Argument(min=0, max=65_535, help="Of this partition; default: of all.", metavar="PARTITION")
    ] = None,
    trusted_key: Annotated[
        list[str] | None,
        typer.Option(
            "--trusted-key", metavar="VKEY", help="A verifier key that you trust; default: the configured ones."
        ),
    ] = None,
    ledger: Annotated[
        str | None, typer.Option(metavar="URL", help=f"The ledger; default: ${client.URL_VARIABLE}, else Kafka.")
    ] = None,
) -> None:
    """Print the latest signed checkpoints, verified."""
    out = console.get()
    settings = load_settings()
    verifiers = _trusted(settings, trusted_key or [])
    if ledger or os.environ.get(client.URL_VARIABLE):
        with client.Client.from_environment(ledger, patience_s=_PATIENCE_S) as door:
            found, missing = _by_http(door, partition, verifiers)
    else:
        found, missing = _out_of_kafka(settings, partition, verifiers)
    for i, one in enumerate(found):
        if out.json:
            out.data(one.json())
        else:
            out.data(("\n" if i else "") + one.note.decode("utf-8", "replace").removesuffix("\n"))
    out.flush()
    wrong = [one.partition for one in found if not one.verified]
    if wrong:
        named = ", ".join(map(str, wrong))
        out.problem({"title": "Not verified", "detail": f"no trusted key signed the checkpoint of partition {named}"})
        raise typer.Exit(console.FINDING)
    if missing or not found:
        named = ", ".join(map(str, missing)) or "any"
        out.problem({"title": "Not there yet", "detail": f"there is no signed checkpoint of partition {named}"})
        raise typer.Exit(console.INCOMPLETE)
    out.say(f"{len(found)} verified")


def _trusted(settings: "Settings", given: Sequence[str]) -> "list[Verifier]":
    from ledger.tree.note import Verifier

    try:  # not by the settings' own check: an auditor may ask any ledger whose key is at hand
        found = [Verifier.parse(vkey) for vkey in dict.fromkeys(given or settings.checkpoint_vkeys)]
    except InvalidNote as error:
        raise ConfigurationError(f"a verifier key: {error}") from None
    if not found:
        raise ConfigurationError("no verifier key: set CONSENT_LEDGER_CHECKPOINT_VKEYS, or give --trusted-key")
    return found


def _by_http(
    door: client.Client, partition: int | None, verifiers: "Sequence[Verifier]"
) -> tuple[list[_Found], list[int]]:
    """What the ledger shows, and the partitions of which it shows nothing."""
    found: list[_Found] = []
    missing: list[int] = []
    for p in range(65_536) if partition is None else (partition,):
        try:
            answer = door.get(f"/tlog/{p}/checkpoint")
        except NotFound:
            if partition is not None:
                raise
            break
        except NotYet:
            door.get("/v1/keys")  # it answers, so there is none yet; or else it is the ledger that is away
            missing.append(p)
        else:
            if not answer.headers.get("content-type", "").startswith(_TEXT_TYPE):
                raise NotYet("what answers there is no consent ledger: it gave no checkpoint")
            found.append(_opened(p, answer.content, verifiers))
    return found, missing


def _out_of_kafka(
    settings: "Settings", partition: int | None, verifiers: "Sequence[Verifier]"
) -> tuple[list[_Found], list[int]]:
    """The greatest of the topic that a trusted key signed, and the partitions that have none."""
    from ledger.kafka.checkpoints import latest

    if not settings.kafka:
        raise ConfigurationError(f"name the ledger: set {client.URL_VARIABLE}, or CONSENT_LEDGER_KAFKA")
    asked = range(settings.partitions) if partition is None else (partition,)
    published = latest(settings.kafka, verifiers, asked, settings.checkpoints_topic)
    found = [_opened(p, published[p].note, verifiers) for p in sorted(published)]
    return found, [p for p in asked if p not in published]


def _opened(partition: int, raw: bytes, verifiers: "Sequence[Verifier]") -> _Found:
    from ledger.tree.checkpoint import open_checkpoint, write_hash

    try:
        said = open_checkpoint(raw, verifiers, partition)
    except InvalidNote:
        return _Found(partition, raw, False, None, None)
    return _Found(partition, raw, True, said.size, write_hash(said.root))


def vkey(
    make_key: Annotated[
        bool,
        typer.Option("--make-key", help="First make the file of CONSENT_LEDGER_CHECKPOINT_KEY_FILE, if there is none."),
    ] = False,
) -> None:
    """Print the verifier keys: of checkpoints, which auditors need, and of receipts."""
    out = console.get()
    settings = load_settings()
    if make_key:
        _make_key(settings)
    found = {"checkpoints": list(_checkpoint_vkeys(settings)), "receipts": list(_receipts_vkeys(settings))}
    if not any(found.values()):
        raise ConfigurationError(
            "no key is known here: set CONSENT_LEDGER_CHECKPOINT_VKEYS, CONSENT_LEDGER_CHECKPOINT_KEY_FILE or "
            "CONSENT_LEDGER_RECEIPTS_KEY_FILE"
        )
    if out.json:
        out.data(found)
    else:
        for kind, vkeys in found.items():
            for key in vkeys:
                out.data(f"{kind:11}  {key}")
    out.flush()


def _make_key(settings: "Settings") -> None:
    from api.settings import secret_file
    from ledger.tree.note import Signer

    path = settings.checkpoint_key_file
    if path is None:
        raise ConfigurationError("--make-key needs CONSENT_LEDGER_CHECKPOINT_KEY_FILE: the file to make")
    if not path.exists():
        secret_file(path, Signer.generate(settings.ledger_name).secret)


def _checkpoint_vkeys(settings: "Settings") -> Iterator[str]:
    """Those that are configured, then those of a key that is here and that nobody has named yet."""
    yield from settings.checkpoint_vkeys
    if settings.checkpoint_key is not None or settings.checkpoint_key_file is not None:
        own = (signer.verifier.vkey for signer in settings.checkpoint_signers())
        yield from (key for key in own if key not in settings.checkpoint_vkeys)


def _receipts_vkeys(settings: "Settings") -> Iterator[str]:
    if settings.receipts_key is not None or settings.receipts_key_file is not None:
        yield settings.receipts_signer().verifier.vkey
    yield from settings.receipts_old_vkeys

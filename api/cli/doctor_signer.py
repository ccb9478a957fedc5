"""What `consent-ledger doctor` looks at of signing: is every tree signed, do database and topic agree, are keys safe.

    $ consent-ledger doctor --only signer --only keys
    WRONG signer        partition 3: 9 of 1,050 records are covered by no checkpoint; the last one was signed at …

Trees that must not be signed are named as the signer itself refuses them (projections.signer_rules).
"""

import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from api.cli.doctor import OK, WRONG, Finding
from ledger.errors import ConfigurationError, TwoRoots
from ledger.tree.merkle import InvalidProof

if TYPE_CHECKING:  # imported where they are used: other commands start without the servers' code
    from api.settings import Settings
    from ledger.kafka.checkpoints import Published
    from ledger.tree.note import Verifier
    from projections.signer_store import Coverage
    from projections.tlog import Signed

_PATIENCE_TURNS = 3
LEAST_PATIENCE_S = 10.0
_LOOK_EVERY_S = 0.2


def signer(settings: "Settings") -> Iterator[Finding]:
    """Is every partition's tree covered by a checkpoint, and if not, how far behind, and since when?"""
    from ledger.kafka.checkpoints import latest
    from projections.signer_store import coverage

    dsn = settings.database or settings.signer_database
    if not dsn or not settings.kafka:
        raise ConfigurationError("no look at checkpoints without CONSENT_LEDGER_DATABASE and CONSENT_LEDGER_KAFKA")
    verifiers = settings.checkpoint_verifiers()
    if not verifiers:
        raise ConfigurationError("no checkpoint can be trusted: set CONSENT_LEDGER_CHECKPOINT_VKEYS")
    found = coverage(dsn)
    # The topic before the database: a signer at work writes to the database first.
    published = latest(settings.kafka, verifiers, found, settings.checkpoints_topic)
    kept, refusals = _trees(settings.ledger_name, dsn, list(found), verifiers)
    wrong = [Finding("signer", WRONG, what, remedy) for what, remedy in refusals.values()]
    for p, said in published.items():
        wrong += [] if p in refusals else _forgotten(said, kept.get(p))
    patience_s = max(LEAST_PATIENCE_S, _PATIENCE_TURNS * settings.checkpoint_every_s)
    wrong += [_behind(one) for one in _not_signed(dsn, patience_s) if one.partition not in refusals]
    yield from wrong
    if not wrong:
        signed = [one.signed for one in coverage(dsn).values() if one.signed is not None]
        last = f"; the last checkpoint was signed at {_time(max(signed))}" if signed else ""
        yield Finding("signer", OK, f"the trees of {len(found)} partitions are signed{last}")


def _trees(
    ledger: str, dsn: str, partitions: Sequence[int], verifiers: "Sequence[Verifier]"
) -> "tuple[dict[int, Signed], dict[int, tuple[str, str]]]":
    """The rows of the signer, and what of each partition must not be signed: what is wrong, what to do."""
    from projections.signer_rules import Refused, due, opened
    from projections.tlog import Trees

    kept: dict[int, Signed] = {}
    refusals: dict[int, tuple[str, str]] = {}
    with closing(Trees(dsn, pool_size=1)) as trees, trees.snapshot() as snapshot:
        for p in partitions:
            row = snapshot.checkpoint(p)
            if row is not None:
                kept[p] = row
            try:
                signed = [] if row is None else [opened(p, row, verifiers)]
                due(ledger, snapshot.tree(p), signed, snapshot.tiles(p))
            except Refused as refused:
                refusals[p] = (refused.what, refused.remedy)
            except InvalidProof:
                refusals[p] = (f"partition {p}: the stored tree has not the hashes of its size", "rebuild the views")
    return kept, refusals


def _forgotten(said: "Published", kept: "Signed | None") -> Iterator[Finding]:
    """The topic against the database: what was published must be known there."""
    checkpoint = said.checkpoint
    if kept is not None and kept.size == checkpoint.size and kept.root != checkpoint.root:
        yield Finding("signer", WRONG, str(TwoRoots(checkpoint.partition, checkpoint.size)))
    elif kept is None or kept.size < checkpoint.size:
        where, size = f"partition {checkpoint.partition}", checkpoint.size
        what = f"{where}: the database does not know that {size:,} records were signed"
        yield Finding("signer", WRONG, what, "it was restored from an older backup: start `sign`, which takes it over")


def _not_signed(dsn: str, patience_s: float) -> "list[Coverage]":
    """The partitions that are behind and where nothing was signed for so long."""
    from projections.signer_store import coverage

    deadline_s = time.monotonic() + patience_s
    before = coverage(dsn)
    while True:
        now = coverage(dsn)
        left = [
            one
            for p, one in now.items()
            if not one.covered and p in before and not before[p].covered and one.signed_size == before[p].signed_size
        ]
        if not left or time.monotonic() > deadline_s:
            return left
        time.sleep(_LOOK_EVERY_S)


def _behind(one: "Coverage") -> Finding:
    last = "none was ever signed" if one.signed is None else f"the last one was signed at {_time(one.signed)}"
    what = f"partition {one.partition}: {one.lag:,} of {one.tree_size:,} records are covered by no checkpoint; {last}"
    return Finding("signer", WRONG, what, "start `sign`, or look at its log")


def _time(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def keys(settings: "Settings") -> Iterator[Finding]:
    """Which keys sign and are trusted; whether anybody else may read a file that holds one."""
    yield Finding("keys", OK, f"receipts are signed as {settings.receipts_signer().name}")
    yield from _checkpoint_keys(settings)
    for name in ("vault_key_file", "vault_old_keys_file", "receipts_key_file", "checkpoint_key_file"):
        path: Path | None = getattr(settings, name)
        if path is not None and _others_may_read(path):
            what = f"others may read the file of CONSENT_LEDGER_{name.upper()}"
            yield Finding("keys", WRONG, what, "chmod 600 it, and replace the keys in it")


def _checkpoint_keys(settings: "Settings") -> Iterator[Finding]:
    trusted = settings.checkpoint_verifiers()
    if not trusted:
        remedy = "set CONSENT_LEDGER_CHECKPOINT_VKEYS to what `consent-ledger vkey` prints on the signer's host"
        yield Finding("keys", WRONG, "no key of checkpoints is trusted here, so nothing can be proven", remedy)
        return
    if settings.checkpoint_key is not None or settings.checkpoint_key_file is not None:
        for signing in settings.checkpoint_signers():
            if signing.verifier not in trusted:
                what = "checkpoints are signed with a key that CONSENT_LEDGER_CHECKPOINT_VKEYS does not name"
                yield Finding("keys", WRONG, what, f"add {signing.verifier.vkey}")
                return
    yield Finding("keys", OK, f"keys of checkpoints that are trusted: {len(trusted)}")


def _others_may_read(path: Path) -> bool:
    try:
        return bool(path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO))
    except OSError:
        return False

"""`doctor` of signing: what is covered, what is refused, what database and topic say of each other, and the keys."""

import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import SecretStr

from api.cli import doctor, doctor_signer
from api.cli.doctor import Finding
from api.settings import Settings
from ledger.tree.note import Signer
from projections.schema import Dsns
from tests.projected import new_schema
from tests.signer_process import KEY, LEDGER
from tests.signing import note, put_records, put_row, put_tree, signing, sizes

OTHER = Signer.from_seed(LEDGER, b"\x01" * 32)


@pytest.fixture
def topic(make_topic: Callable[..., str]) -> str:
    return make_topic(1)


@pytest.fixture
def dsns(fresh_database: str) -> Dsns:
    return new_schema(fresh_database)


@pytest.fixture
def settings(kafka_address: str, topic: str, dsns: Dsns, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(doctor_signer, "LEAST_PATIENCE_S", 0.3)
    return Settings(
        ledger_name=LEDGER,
        kafka=kafka_address,
        database=dsns.reader,
        checkpoints_topic=topic,
        checkpoint_every_s=0.1,
        checkpoint_vkeys=(KEY.verifier.vkey,),
    )


def findings(settings: Settings, check: str = "signer") -> list[tuple[str, str]]:
    found: list[Finding] = doctor.examined(check, doctor.CHECKS[check], settings)
    return [(finding.status, f"{finding.what}: {finding.remedy}") for finding in found]


def test_trees_that_are_signed_are_well_also_on_the_signers_own_host(
    settings: Settings, dsns: Dsns, kafka_address: str, topic: str
) -> None:
    assert findings(settings)[0][0] == "ok", "an empty ledger"
    for partition in (0, 1):
        put_tree(dsns, partition, 5)
    with signing(kafka_address, topic, dsns.signer) as running:
        running.wait_for(lambda: sizes(dsns) == {0: 5, 1: 5}, "signed")
        running.turns()
    for there in (settings, settings.model_copy(update={"database": "", "signer_database": dsns.signer})):
        [(status, what)] = findings(there)
        assert status == "ok"
        assert "2 partitions are signed; the last checkpoint was signed at 20" in what


def test_a_tree_that_nobody_signs_is_named_with_how_far_and_since_when(settings: Settings, dsns: Dsns) -> None:
    put_tree(dsns, 0, 1_050)
    put_tree(dsns, 1, 4)
    put_row(dsns, 0, note(0, 1_041))
    [behind, never] = findings(settings)
    assert behind[0] == never[0] == "wrong"
    assert "partition 0: 9 of 1,050 records are covered by no checkpoint; the last one was signed at 20" in behind[1]
    assert "partition 1: 4 of 4 records are covered by no checkpoint; none was ever signed: start `sign`" in never[1]


def test_what_the_signer_refuses_is_named(settings: Settings, dsns: Dsns, kafka_address: str, topic: str) -> None:
    for partition, size, changed, row in ((0, 6, None, 9), (1, 9, 2, 9), (2, 12, 2, 9), (3, 5, None, 5)):
        put_tree(dsns, partition, size, changed=changed)
        put_row(dsns, partition, note(partition, row))
    [shrunk, two_roots, other] = findings(settings)
    assert "partition 0: the tree has 6 leaves, and 9 were signed" in shrunk[1]
    assert "partition 1: the tree of 9 leaves is another than the one that was signed" in two_roots[1]
    assert "partition 2: the tree of 12 leaves does not begin with the 9 that were signed" in other[1]
    put_records(kafka_address, topic, [note(3, 5, changed=1)])
    assert "two roots for one size: two checkpoints of partition 3" in findings(settings)[-1][1]


def test_a_database_that_forgot_what_was_published_is_named(
    settings: Settings, dsns: Dsns, kafka_address: str, topic: str
) -> None:
    put_tree(dsns, 0, 5)
    put_row(dsns, 0, note(0, 5))
    put_records(kafka_address, topic, [note(0, 7)])
    [(status, what)] = findings(settings)
    assert status == "wrong"
    assert "partition 0: the database does not know that 7 records were signed" in what


def test_a_file_that_others_may_read_and_keys_that_do_not_fit_are_named(settings: Settings, tmp_path: Path) -> None:
    receipts = Signer.from_seed(f"{LEDGER}/receipts", bytes(32))
    for name, text in (("checkpoint", KEY.secret), ("receipts", receipts.secret), ("old", "x")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(stat.S_IRUSR | stat.S_IWUSR)
    files = {
        "receipts_key_file": tmp_path / "receipts",
        "checkpoint_key_file": tmp_path / "checkpoint",
        "vault_old_keys_file": tmp_path / "old",
    }
    settings = settings.model_copy(update=files)
    assert {status for status, _ in findings(settings, "keys")} == {"ok"}
    for name in ("checkpoint", "old"):
        (tmp_path / name).chmod(0o640)
    said = " ".join(what for status, what in findings(settings, "keys") if status == "wrong")
    assert "CONSENT_LEDGER_CHECKPOINT_KEY_FILE" in said
    assert "CONSENT_LEDGER_VAULT_OLD_KEYS_FILE" in said
    assert "RECEIPTS" not in said
    other = settings.model_copy(update={"checkpoint_key": SecretStr(OTHER.secret)})
    assert any(OTHER.verifier.vkey in what for _, what in findings(other, "keys"))
    trusting_nobody = settings.model_copy(update={"checkpoint_vkeys": ()})
    assert any("no key of checkpoints is trusted" in what for _, what in findings(trusting_nobody, "keys"))
    assert "CONSENT_LEDGER_CHECKPOINT_VKEYS" in findings(trusting_nobody)[0][1]

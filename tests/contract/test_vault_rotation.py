"""Replacing the vault's key: everything is wrapped anew, nothing is lost, and nothing destroyed comes back."""

import os
import stat
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
import psycopg
import pytest

from api import cli
from ledger.errors import ConfigurationError
from ledger.vault import kms, store
from ledger.vault.keys import KEK_BYTES, KeyEncryptionKey, KeyRing, KeyWrapper
from ledger.vault.logins import LoginMap
from ledger.vault.rotation import Counts, counts, rewrap
from ledger.vault.sealing import ResidentKey
from ledger.vault.store import VaultStore
from tests.door import PASSWORDS
from tests.vaults import backup, restore

OLD, NEW = KeyEncryptionKey(bytes(KEK_BYTES)), KeyEncryptionKey(bytes(range(KEK_BYTES)))
RING = KeyRing(NEW, [OLD])


@pytest.fixture
def dsn(fresh_database: str) -> str:
    return store.install(fresh_database, PASSWORDS["ledger_vault"])


@pytest.fixture
def vault(dsn: str) -> Iterator[VaultStore]:
    opened = VaultStore(dsn, OLD)
    yield opened
    opened.close()


def opened_with(dsn: str, wrapper: KeyWrapper, subjects: list[str]) -> dict[str, ResidentKey | None]:
    found = VaultStore(dsn, wrapper, 1)
    try:
        return found.keys_for(subjects)
    finally:
        found.close()


def residents(count: int) -> list[str]:
    return [f"res_{uuid4().hex}" for _ in range(count)]


def destroy(dsn: str, *subjects: str) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute(
            "UPDATE vault.keys SET wrapped = NULL, destroyed_at = now() WHERE subject = ANY(%s)", (list(subjects),)
        )


def test_every_key_is_rewrapped_and_the_old_one_is_then_of_no_use(dsn: str, vault: VaultStore) -> None:
    subjects = residents(25)
    before = vault.keys_for(subjects)
    login = LoginMap(vault.database, OLD).subject_for("https://id.example", "jane")
    destroy(dsn, subjects[0])
    assert counts(vault.database, NEW.id) == Counts(0, 24, 1, True)
    assert list(rewrap(vault.database, RING, batch_keys=10)) == [10, 20, 24]
    found = counts(vault.database, NEW.id)
    assert (found, found.finished) == (Counts(24, 0, 1, False), True)
    after = opened_with(dsn, NEW, subjects)
    assert after == {**before, subjects[0]: None}, "the residents' own keys stay as they are"
    assert LoginMap(vault.database, NEW).subject_for("https://id.example", "jane") == login
    with pytest.raises(ConfigurationError):
        vault.keys_for(subjects[1:2])
    assert list(rewrap(vault.database, RING)) == [], "a second run has nothing to do"


def test_a_run_that_was_cut_off_is_gone_on_with(dsn: str, vault: VaultStore) -> None:
    subjects = residents(9)
    before = vault.keys_for(subjects)
    assert next(rewrap(vault.database, RING, batch_keys=4)) == 4
    assert opened_with(dsn, RING, subjects) == before, "half-way, both keys are needed and all is there"
    assert list(rewrap(vault.database, RING, batch_keys=4)) == [4, 5]
    assert opened_with(dsn, NEW, subjects) == before


def test_a_key_destroyed_while_it_is_rewrapped_stays_destroyed(dsn: str, vault: VaultStore) -> None:
    subjects = sorted(residents(6))
    before = vault.keys_for(subjects)

    class Slow(KeyRing):
        """Something is destroyed between reading and writing of its batch."""

        def unwrap(self, wrapped: bytes, subject: str, key_id: str, wrapping_key_id: str) -> bytes:
            if subject == subjects[2]:
                destroy(dsn, *subjects[:3])
            return super().unwrap(wrapped, subject, key_id, wrapping_key_id)

    assert list(rewrap(vault.database, Slow(NEW, [OLD]))) == [3]
    assert opened_with(dsn, NEW, subjects) == {**before, **dict.fromkeys(subjects[:3])}


def test_keys_are_read_and_made_all_the_while(dsn: str, vault: VaultStore) -> None:
    """As the API does that was restarted with both keys before the rotation began."""
    subjects = residents(300)
    before = vault.keys_for(subjects)
    api, ends = VaultStore(dsn, RING), threading.Event()

    def read() -> dict[str, ResidentKey | None]:
        made: dict[str, ResidentKey | None] = {}
        while not ends.is_set() or not made:
            assert api.keys_for(subjects[::3]) == {s: before[s] for s in subjects[::3]}
            made |= api.keys_for(residents(3))
        return made

    try:
        with ThreadPoolExecutor(3) as pool:
            reading = [pool.submit(read) for _ in range(3)]
            assert sum(1 for _ in rewrap(vault.database, RING, batch_keys=20)) == 15
            ends.set()
            made = {subject: key for done in reading for subject, key in done.result(60).items()}
        assert opened_with(dsn, NEW, [*subjects, *made]) == {**before, **made}
        assert counts(vault.database, NEW.id).older == 0
    finally:
        api.close()


def test_a_key_that_nobody_can_open_stops_it_and_what_was_done_stays_done(dsn: str, vault: VaultStore) -> None:
    subjects = residents(3)
    before = vault.keys_for(subjects)
    stranger = residents(1)
    opened_with(dsn, KeyEncryptionKey.generate(), stranger)
    with pytest.raises(ConfigurationError, match="CONSENT_LEDGER_VAULT_OLD_KEYS_FILE"):
        list(rewrap(vault.database, RING, batch_keys=1))
    assert opened_with(dsn, RING, subjects) == before
    assert not counts(vault.database, NEW.id).finished


def test_keys_move_to_a_service_and_from_one_of_its_keys_to_the_next(
    dsn: str, vault: VaultStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    subjects = residents(4)
    before = vault.keys_for(subjects)
    for generation in ("1", "2"):
        monkeypatch.setenv("TEST_KMS_GENERATION", generation)
        ring = KeyRing(kms.load("tests.kms:TownKms"), [OLD])
        assert list(rewrap(vault.database, ring)) == [4]
        assert counts(vault.database, f"town-kms/{generation}").finished
        assert opened_with(dsn, kms.load("tests.kms:TownKms"), subjects) == before


def test_with_the_old_key_an_old_backup_dies(dsn: str, fresh_database: str, vault: VaultStore) -> None:
    """Why one rotates after erasures: a copy of the vault opens with the old key alone."""
    subjects = residents(2)
    before = vault.keys_for(subjects)
    kept = backup(fresh_database)
    list(rewrap(vault.database, RING))
    restore(fresh_database, kept)
    with pytest.raises(ConfigurationError):
        opened_with(dsn, NEW, subjects)
    assert opened_with(dsn, RING, subjects) == before


def test_the_command_rewraps_and_says_when_older_keys_are_not_needed(
    dsn: str, vault: VaultStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: Any
) -> None:
    for name in [n for n in os.environ if n.startswith("CONSENT_LEDGER_")]:
        monkeypatch.delenv(name)
    subjects = residents(3)
    before = vault.keys_for(subjects)
    file = tmp_path / "keys" / "new"
    assert cli.run(["vault", "new-key", str(file)]) == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    new = KeyEncryptionKey.parse(file.read_text())
    assert cli.run(["vault", "new-key", str(file)]) == 2, "a key is never overwritten"
    assert file.read_text().strip() == new.text
    monkeypatch.setenv("CONSENT_LEDGER_VAULT_DATABASE", dsn)
    monkeypatch.setenv("CONSENT_LEDGER_VAULT_KEY_FILE", str(file))
    assert cli.run(["vault", "rotate"]) == 2, "the key they were made with is missing"
    (tmp_path / "old").write_text(OLD.text)
    monkeypatch.setenv("CONSENT_LEDGER_VAULT_OLD_KEYS_FILE", str(tmp_path / "old"))
    for rewrapped in (3, 0):
        capfdbinary.readouterr()
        assert cli.run(["vault", "rotate", "--json"]) == 0
        said = orjson.loads(capfdbinary.readouterr().out)
        assert said["rewrapped"] == rewrapped
        assert (said["current"], said["older"], said["finished"], said["key_id"]) == (3, 0, True, new.id)
    assert opened_with(dsn, new, subjects) == before

"""The login map: one pseudonym a person, random, found again without a bare hash, and gone after erasure."""

import contextlib
import hashlib
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor

import msgspec
import psycopg
import pytest

from ledger.erasing.erasure import IN_PROGRESS, Asked, Erasure
from ledger.errors import Conflict, Erased
from ledger.events import Subject
from ledger.vault import store
from ledger.vault.erasures import Erasures
from ledger.vault.keys import KEK_BYTES, KeyEncryptionKey
from ledger.vault.logins import LoginMap
from ledger.vault.store import VaultStore
from tests.door import PASSWORDS
from tests.vaults import backup, restore

KEK = KeyEncryptionKey(bytes(range(KEK_BYTES)))
ISSUER, SUB = "https://id.example", "jane.doe@example.org"
NOW = "2026-03-03T12:00:00.000000Z"


@pytest.fixture
def vault(fresh_database: str) -> Iterator[VaultStore]:
    opened = VaultStore(store.install(fresh_database, PASSWORDS["ledger_vault"]), KEK)
    yield opened
    opened.close()


@pytest.fixture
def logins(vault: VaultStore) -> LoginMap:
    return LoginMap(vault.database, KEK)


def erase(vault: VaultStore, subject: str) -> None:
    """What the eraser does to the vault."""
    erasure = Erasure(f"x-{subject[-8:]}", subject, None, IN_PROGRESS, "op", NOW, requested_time=NOW)
    table = Erasures(vault.database)
    table.ask(Asked(erasure, "/test", subject))
    table.destroy(erasure, NOW)


def test_a_login_leads_to_one_pseudonym_and_another_login_to_another(logins: LoginMap) -> None:
    subject = logins.subject_for(ISSUER, SUB)
    assert msgspec.convert(subject, Subject) == subject
    assert logins.subject_for(ISSUER, SUB) == subject
    others = {logins.subject_for(ISSUER, "john"), logins.subject_for("https://other.example", SUB)}
    assert len({subject, *others}) == 3


def test_the_pseudonym_is_derived_from_nothing(logins: LoginMap) -> None:
    subject = logins.subject_for(ISSUER, SUB)
    logins.forget(subject)
    assert logins.subject_for(ISSUER, SUB) != subject


def test_the_parts_of_a_login_are_not_run_together(logins: LoginMap) -> None:
    assert logins.subject_for("https://a", "bc") != logins.subject_for("https://ab", "c")


def test_what_is_stored_holds_neither_the_login_nor_a_hash_of_it(logins: LoginMap, fresh_database: str) -> None:
    subject = logins.subject_for(ISSUER, SUB)
    with psycopg.connect(fresh_database) as connection:
        [(stored, named)] = connection.execute("SELECT login, subject FROM vault.logins").fetchall()
    assert named == subject
    plain = f'["{ISSUER}","{SUB}"]'.encode()
    guesses = [SUB.encode(), ISSUER.encode(), plain]
    for guess in guesses:
        assert guess not in bytes(stored)
        for name in ("sha256", "sha1", "md5", "sha512", "blake2b", "sha3_256"):
            assert hashlib.new(name, guess).digest()[:8] not in bytes(stored)


def test_another_vault_writes_the_same_login_otherwise(
    logins: LoginMap, fresh_database: str, vault: VaultStore
) -> None:
    """The map key is random: nobody can try guesses who does not have it."""
    first = logins.sealed([ISSUER, SUB])
    assert logins.sealed([ISSUER, SUB]) == first
    with psycopg.connect(fresh_database) as connection:
        connection.execute("DELETE FROM vault.map_key")
    assert LoginMap(vault.database, KEK).sealed([ISSUER, SUB]) != first


def test_many_at_once_get_the_same_pseudonym(fresh_database: str) -> None:
    dsn = store.install(fresh_database, PASSWORDS["ledger_vault"])
    vaults = [VaultStore(dsn, KEK) for _ in range(4)]
    try:
        maps = [LoginMap(vault.database, KEK) for vault in vaults]
        with ThreadPoolExecutor(12) as pool:
            found = set(pool.map(lambda i: maps[i % 4].subject_for(ISSUER, SUB), range(48)))
    finally:
        for vault in vaults:
            vault.close()
    assert len(found) == 1


def test_several_logins_of_a_person_lead_to_one_pseudonym(logins: LoginMap) -> None:
    subject = logins.subject_for(ISSUER, SUB)
    logins.link("https://mail.example", "jane", subject)
    logins.link("https://mail.example", "jane", subject)
    assert logins.subject_for("https://mail.example", "jane") == subject
    other = logins.subject_for(ISSUER, "john")
    with pytest.raises(Conflict):
        logins.link(ISSUER, SUB, other)
    assert logins.subject_for(ISSUER, SUB) == subject


def test_erasure_destroys_every_login_and_lets_none_lead_there_again(vault: VaultStore, logins: LoginMap) -> None:
    subject, other = logins.subject_for(ISSUER, SUB), logins.subject_for(ISSUER, "john")
    logins.link("https://mail.example", "jane", subject)
    erase(vault, subject)
    assert vault.keys_for([subject]) == {subject: None}
    for issuer, sub in ((ISSUER, SUB), ("https://mail.example", "jane")):
        assert logins.subject_for(issuer, sub) != subject
    with pytest.raises(Erased):
        logins.link("https://third.example", "jane", subject)
    assert logins.subject_for(ISSUER, "john") == other


def test_a_login_linked_while_its_resident_is_erased_leads_nowhere_in_the_end(
    vault: VaultStore, logins: LoginMap, fresh_database: str
) -> None:
    for round_ in range(12):
        subject = logins.subject_for(ISSUER, f"person-{round_}")

        def link(i: int, round_: int = round_, subject: str = subject) -> None:
            with contextlib.suppress(Erased):
                logins.link("https://mail.example", f"{round_}-{i}", subject)

        with ThreadPoolExecutor(4) as pool:
            linking = [pool.submit(link, i) for i in range(3)]
            erasing = pool.submit(erase, vault, subject)
            for done in (*linking, erasing):
                done.result(60)
        with psycopg.connect(fresh_database) as connection:
            left = connection.execute("SELECT FROM vault.logins WHERE subject = %s", (subject,)).fetchall()
        assert not left


def test_a_login_that_a_backup_brought_back_leads_to_nobody_erased(
    vault: VaultStore, logins: LoginMap, fresh_database: str
) -> None:
    subject = logins.subject_for(ISSUER, SUB)
    kept = backup(fresh_database)
    erase(vault, subject)
    restore(fresh_database, kept)

    class Guard:
        alarms = 0

        def erased(self, subjects: Collection[str]) -> set[str]:
            return {subject}.intersection(subjects)

        def came_back(self) -> None:
            self.alarms += 1

    guard = Guard()
    guarded = LoginMap(vault.database, KEK, guard)
    fresh = guarded.subject_for(ISSUER, SUB)
    assert (fresh != subject, guard.alarms) == (True, 1)
    assert guarded.subject_for(ISSUER, SUB) == fresh
    with pytest.raises(Erased):
        guarded.link("https://mail.example", "jane", subject)

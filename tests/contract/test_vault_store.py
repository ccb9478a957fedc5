"""The vault in PostgreSQL: one key a resident, whoever makes it first, under a role that reaches nothing else."""

from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import LiteralString
from uuid import uuid4

import psycopg
import pytest

from ledger.errors import ConfigurationError, Unavailable
from ledger.vault import store
from ledger.vault.keys import KEK_BYTES, KeyEncryptionKey
from ledger.vault.store import VaultStore
from tests.door import PASSWORDS

KEK = KeyEncryptionKey(bytes(range(KEK_BYTES)))


@pytest.fixture(scope="module")
def dsn(database_url: str) -> str:
    store.install(database_url, PASSWORDS["ledger_vault"])
    return store.install(database_url, PASSWORDS["ledger_vault"])  # again changes nothing


@pytest.fixture
def vault(dsn: str) -> Iterator[VaultStore]:
    opened = VaultStore(dsn, KEK)
    yield opened
    opened.close()


def residents(count: int) -> list[str]:
    return [f"res_{uuid4().hex}" for _ in range(count)]


def test_a_resident_s_key_is_made_once_and_found_by_subject_and_by_id(vault: VaultStore) -> None:
    subjects = residents(50)
    made = vault.keys_for(subjects)
    assert sorted(made) == sorted(subjects)
    assert len({key.secret for key in made.values() if key}) == 50
    assert vault.keys_for(subjects[:10] * 2) == {s: made[s] for s in subjects[:10]}
    by_id = vault.keys_by_id([key.id for key in made.values() if key])
    assert sorted(key for key in by_id.values() if key) == sorted(key for key in made.values() if key)


def test_a_key_id_and_what_is_stored_say_nothing_of_the_resident(vault: VaultStore, database_url: str) -> None:
    [subject] = residents(1)
    key = vault.keys_for([subject])[subject]
    assert key is not None
    assert subject not in key.id
    with psycopg.connect(database_url) as connection:
        row = connection.execute("SELECT wrapped FROM vault.keys WHERE subject = %s", (subject,)).fetchone()
    assert row is not None
    assert key.secret not in bytes(row[0])


def test_an_id_the_vault_never_held_is_left_out(vault: VaultStore) -> None:
    assert vault.keys_by_id(["k_unknown"]) == {}


def test_a_destroyed_key_stays_destroyed(vault: VaultStore, database_url: str) -> None:
    [subject] = residents(1)
    key = vault.keys_for([subject])[subject]
    assert key is not None
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE vault.keys SET wrapped = NULL, destroyed_at = now() WHERE subject = %s", (subject,))
    assert vault.keys_for([subject]) == {subject: None}
    assert vault.keys_by_id([key.id]) == {key.id: None}


def test_many_at_once_make_one_key_a_resident(dsn: str) -> None:
    subjects = residents(40)
    vaults = [VaultStore(dsn, KEK) for _ in range(6)]
    try:
        with ThreadPoolExecutor(12) as pool:
            found = list(pool.map(lambda i: vaults[i % 6].keys_for(subjects), range(24)))
    finally:
        for vault in vaults:
            vault.close()
    assert all(keys == found[0] for keys in found)


def test_another_key_encryption_key_opens_nothing(dsn: str, vault: VaultStore) -> None:
    subjects = residents(1)
    vault.keys_for(subjects)
    stranger = VaultStore(dsn, KeyEncryptionKey(bytes(KEK_BYTES)))
    try:
        with pytest.raises(ConfigurationError):
            stranger.keys_for(subjects)
    finally:
        stranger.close()


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM vault.keys",
        "TRUNCATE vault.keys",
        "UPDATE vault.keys SET subject = 'res_other'",
        "UPDATE vault.keys SET key_id = 'k_other'",
        "DELETE FROM vault.map_key",
        "UPDATE vault.logins SET subject = 'res_other'",
        "DELETE FROM vault.erasures",
        "UPDATE vault.erasure_references SET erasure_id = 'another'",
        "UPDATE vault.erasures SET subject = 'res_other'",
        "UPDATE vault.erasures SET asked_by = 'another'",
        "ALTER TABLE vault.keys DISABLE TRIGGER ALL",
        "CREATE TABLE vault.x ()",
    ],
)
def test_the_vault_s_role_can_do_no_more_than_it_has_to(dsn: str, statement: LiteralString) -> None:
    with psycopg.connect(dsn) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute(statement)


def test_not_even_the_database_lets_a_destroyed_key_be_written_over(vault: VaultStore, database_url: str) -> None:
    [subject] = residents(1)
    vault.keys_for([subject])
    destroy = "UPDATE vault.keys SET wrapped = NULL, destroyed_at = now() WHERE subject = %s"
    restore = "UPDATE vault.keys SET wrapped = 'x', destroyed_at = NULL WHERE subject = %s"
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(destroy, (subject,))
        with pytest.raises(psycopg.errors.RaiseException):
            connection.execute(restore, (subject,))
    assert vault.keys_for([subject]) == {subject: None}


class Guard:
    """Knows by itself who was erased."""

    def __init__(self, *subjects: str) -> None:
        self.subjects = set(subjects)
        self.alarms = 0

    def erased(self, subjects: Collection[str]) -> set[str]:
        return self.subjects.intersection(subjects)

    def came_back(self) -> None:
        self.alarms += 1


def test_what_the_guard_says_was_erased_is_neither_given_nor_made(dsn: str, vault: VaultStore) -> None:
    erased, never_had_one, other = residents(3)
    kept = vault.keys_for([erased, other])
    guard = Guard(erased, never_had_one)
    guarded = VaultStore(dsn, KEK, guard=guard)
    try:
        found = guarded.keys_for([erased, never_had_one, other])
        assert found == {erased: None, never_had_one: None, other: kept[other]}
        assert guard.alarms == 1
        ids = [key.id for key in kept.values() if key]
        assert guarded.keys_by_id(ids) == {
            key.id: None if subject == erased else key for subject, key in kept.items() if key
        }
        assert guard.alarms == 2
    finally:
        guarded.close()
    assert vault.keys_for([erased]) == {erased: kept[erased]}, "the guard itself destroys nothing"


def test_other_roles_see_nothing_of_the_vault(dsn: str, database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        role = f"stranger_{uuid4().hex[:8]}"
        name = psycopg.sql.Identifier(role)
        connection.execute(psycopg.sql.SQL("CREATE ROLE {}").format(name))
        try:
            connection.execute(psycopg.sql.SQL("SET ROLE {}").format(name))
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute("SELECT subject FROM vault.keys")
        finally:
            connection.execute("RESET ROLE")
            connection.execute(psycopg.sql.SQL("DROP ROLE {}").format(name))


def test_a_vault_that_is_away_is_unavailable_and_says_no_more(dsn: str) -> None:
    gone = psycopg.conninfo.make_conninfo(dsn, port=1)
    with pytest.raises(Unavailable) as caught:
        store.install(gone, "x")
    assert str(caught.value) != "x"
    assert "port" not in str(caught.value)

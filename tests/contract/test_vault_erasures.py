"""The table of erasures in PostgreSQL, and the vault's connections: what waits, and for how long."""

from collections.abc import Iterator
from uuid import uuid4

import psycopg
import pytest

from ledger.erasing.erasure import IN_PROGRESS, Asked, Erasure
from ledger.errors import Unavailable
from ledger.log import Position
from ledger.vault import erasures, store
from ledger.vault.database import Database
from ledger.vault.erasures import Erasures
from tests.door import PASSWORDS
from tests.vaults import own_database

NOW = "2026-03-03T12:00:00.000000Z"


@pytest.fixture(scope="module")
def superuser(database_url: str) -> Iterator[str]:
    with own_database(database_url) as dsn:
        yield dsn


@pytest.fixture(scope="module")
def dsn(superuser: str) -> str:
    return store.install(superuser, PASSWORDS["ledger_vault"])


@pytest.fixture
def database(dsn: str) -> Iterator[Database]:
    opened = Database(dsn, 1)
    yield opened
    opened.close()


def asked(table: Erasures, key: str, subject: str = "", *categories: str, time: str = NOW) -> Erasure:
    one = subject or f"res_{uuid4().hex}"
    erasure = Erasure(uuid4().hex, one, categories or None, IN_PROGRESS, "my-pages", time, requested_time=time)
    return table.ask(Asked(erasure, f"/my/{one}", key))


def test_what_is_in_progress_is_found_page_by_page(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erasures, "MAX_UNFINISHED", 3)
    table = Erasures(database)
    times = [NOW] * 5 + ["2026-03-03T11:00:00Z", "2026-03-04T11:00:00Z"]
    made = [asked(table, "k", time=time) for time in times]
    found: list[Erasure] = []
    page = table.unfinished()
    while page:
        assert len(page) <= 3
        found += page
        page = table.unfinished((page[-1].asked_time, page[-1].erasure_id))
    assert found == sorted(made, key=lambda one: (one.asked_time, one.erasure_id))


def test_the_name_of_another_s_key_is_not_taken_for_a_destroyed_one(database: Database, superuser: str) -> None:
    """The views say what the destroyed key was called, and views may be wrong."""
    table = Erasures(database)
    first, second, third = (asked(table, "k") for _ in range(3))
    table.destroy(first, NOW, "k_first")
    table.destroy(second, NOW, "k_first")
    table.destroy(third, NOW)
    with psycopg.connect(superuser) as connection:
        rows = connection.execute("SELECT subject, key_id FROM vault.keys WHERE destroyed_at IS NOT NULL").fetchall()
    names: dict[str, str] = dict(rows)
    assert names[first.subject] == "k_first"
    assert len({names[one.subject] for one in (first, second, third)}) == 3


def test_a_new_key_names_what_is_in_progress_and_goes_on_naming_it(database: Database) -> None:
    table = Erasures(database)
    first = asked(table, "k-1", "res_1", "email")
    assert asked(table, "k-2", "res_1", "email") == first
    assert len({asked(table, *other).erasure_id for other in (("k-3", "res_1"), ("k-4", "res_2", "email"))}) == 2
    table.destroy(first, NOW)
    table.note_done(first.erasure_id, Position(0, 7), None)
    assert {asked(table, key, "res_1", "email").erasure_id for key in ("k-1", "k-2")} == {first.erasure_id}
    assert asked(table, "k-5", "res_1", "email").erasure_id != first.erasure_id


def test_a_statement_that_takes_too_long_is_given_up(dsn: str) -> None:
    database = Database(dsn, 1, statement_timeout_s=1)
    try:
        with pytest.raises(Unavailable):
            database.run(b"SELECT pg_sleep(60)", {})
        assert database.run(b"SHOW timezone", {}) == [("UTC",)], "the string's own options hold too"
    finally:
        database.close()

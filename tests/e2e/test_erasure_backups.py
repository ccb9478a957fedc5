"""Erasure by several processes, and under backups that are restored: what was erased stays so. And the vault's key."""

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from pydantic import SecretStr

from ledger.authority import Door as Way
from ledger.authority import Principal
from ledger.erasing.eraser import Eraser
from ledger.erasing.erasure import IN_PROGRESS, Asked, Erasure, Logged, erased_event, requested_event
from ledger.erasing.erasures import ErasuresInLog
from ledger.errors import MissingRecords
from ledger.recording import receipts
from ledger.recording.record import Recorded
from ledger.vault import erasures, rotation
from ledger.vault.database import Database
from ledger.vault.keys import KEK_BYTES, KeyEncryptionKey, KeyRing
from projections.index import PostgresIndex
from tests.answering import AnsweringLedger, new_resident, open_ledger, soon
from tests.door import complaint
from tests.erasing import (
    LIMIT_S,
    NOW,
    WORDS,
    another_api,
    erase,
    erasures_in_log,
    finished,
    no_eraser,
    partition,
    send,
    shown,
    somebody,
    unsealed,
)
from tests.vaults import alive, backup, own_database, restore


@pytest.fixture(scope="module")
def database(database_url: str) -> Iterator[str]:
    with own_database(database_url) as dsn:
        yield dsn


@pytest.fixture(scope="module")
def ledger(kafka_address: str, database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AnsweringLedger]:
    with open_ledger(kafka_address, database, tmp_path_factory.mktemp("erasure")) as opened:
        yield opened


@pytest.fixture
def subject(ledger: AnsweringLedger) -> str:
    return somebody(ledger)


def test_two_apis_carry_out_each_erasure_once(ledger: AnsweringLedger, tmp_path: Path) -> None:
    subjects = [new_resident() for _ in range(8)]
    ledger.record(*(complaint(WORDS, subject=one) for one in subjects))
    with another_api(ledger, tmp_path) as other, ThreadPoolExecutor(4) as pool:

        def ask_both(one: str) -> set[str]:
            doors = (ledger.door, other)
            found = [send(door, ledger.resident(one), "/v1/me/erasure", key="once").json() for door in doors]
            return {answer["erasure_id"] for answer in found}

        ids = [erasure_id for found in pool.map(ask_both, subjects) for erasure_id in found]
    assert len(ids) == len(subjects)
    for erasure_id in ids:
        finished(ledger, erasure_id)
    said = Counter((e["subject"], e["type"]) for one in subjects for e in erasures_in_log(ledger, one))
    assert (len(said), set(said.values())) == (16, {1})


def test_what_the_log_has_already_is_not_recorded_again_and_its_receipt_is_not_lost(
    ledger: AnsweringLedger, subject: str
) -> None:
    """Another process appended both events and died before it could note so."""
    runtime = ledger.door.runtime
    with no_eraser(ledger):
        erasure = Erasure(uuid4().hex, subject, None, IN_PROGRESS, "my-pages", NOW, requested_time=NOW)
        runtime.erasures.ask(Asked(erasure, "/test", erasure.erasure_id))
        erasure = runtime.erasures.destroy(erasure, NOW)
        both = [requested_event(erasure), erased_event(erasure)]
        call = runtime.recorder.submit(both, Principal("my-pages", {}), Way.LEDGER)
        _, last = call.result(LIMIT_S).results
        assert isinstance(last, Recorded)
        in_log = ErasuresInLog(runtime.log, runtime.index)
        Eraser(runtime.erasures, in_log, runtime.recorder.submit, runtime.clock).carry_out(erasure)
        found = runtime.erasures.get(erasure.erasure_id)
        assert found is not None
        assert (found.state, found.erased) == ("done", last.line.position)
        assert len(erasures_in_log(ledger, subject)) == 2
        assert found.receipt is not None
        [line] = receipts.check(found.receipt.encode(), runtime.receipts_verifier)
        assert line == last.line


def test_one_erasure_that_fails_holds_up_no_other(
    ledger: AnsweringLedger, subject: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = ledger.door.runtime
    monkeypatch.setattr(erasures, "MAX_UNFINISHED", 2)

    class Failing(Eraser):
        """Has a bug that shows with all erasures but the last."""

        def carry_out(self, erasure: Erasure) -> None:
            if erasure.erasure_id != asked[-1]:
                raise ValueError(WORDS)
            super().carry_out(erasure)

    with no_eraser(ledger):
        asked = []
        for n in range(5):
            erasure = Erasure(uuid4().hex, subject, (f"c-{n}",), IN_PROGRESS, "my-pages", NOW, requested_time=NOW)
            asked.append(runtime.erasures.ask(Asked(erasure, "/test", erasure.erasure_id)).erasure_id)
        asked.sort()  # as they come: all were asked for at the same time
        in_log = ErasuresInLog(runtime.log, runtime.index)
        failing = Failing(runtime.erasures, in_log, runtime.recorder.submit, runtime.clock)
        problems = failing._finish_all()  # `look` would want the turn that is held here
        assert [WORDS in str(problem) for problem in problems] == [False] * 4
        assert [shown(ledger, one)["state"] for one in asked] == [*["in-progress"] * 4, "done"]
    for erasure_id in asked:
        finished(ledger, erasure_id)


def test_a_restored_backup_brings_no_key_back_and_an_api_that_starts_destroys_it_again(
    ledger: AnsweringLedger, database: str, subject: str, tmp_path: Path
) -> None:
    logins = ledger.door.runtime.logins
    person = logins.subject_for("https://id.example", uuid4().hex)
    ledger.record(complaint(WORDS, subject=person))
    kept = backup(database)
    done = [erase(ledger, one) for one in (subject, person)]
    heads = ledger.door.heads()
    restore(database, kept)
    assert alive(database, subject)
    with another_api(ledger, tmp_path) as started:
        soon(lambda: not alive(database, subject) and not alive(database, person), LIMIT_S)
        assert unsealed(ledger, subject, started) == [None]
        refused = started.post(complaint("more words", subject=subject), ledger.service)
        assert refused.status_code == 410
        for one in done:  # the table is told again by the log, but for who approved and the receipt
            soon(lambda one=one: shown(ledger, one["erasure_id"]).get("state") == "done", LIMIT_S)
            found = shown(ledger, one["erasure_id"])
            assert found == {**one, "receipt": None}
    with psycopg.connect(database) as connection:
        left = connection.execute("SELECT FROM vault.logins WHERE subject = %s", (person,)).fetchall()
    assert not left
    assert ledger.door.heads() == heads, "the log is told nothing twice"


def test_a_backup_restored_under_a_running_api_gives_no_key_out(
    ledger: AnsweringLedger, database: str, subject: str
) -> None:
    kept = backup(database)
    erase(ledger, subject)
    restore(database, kept, "keys")
    assert alive(database, subject)
    assert ledger.door.post(complaint("more words", subject=subject)).status_code == 410
    assert unsealed(ledger, subject) == [None]
    soon(lambda: not alive(database, subject), LIMIT_S)


def test_an_erasure_counts_before_any_view_has_it(ledger: AnsweringLedger, database: str, subject: str) -> None:
    kept = backup(database)
    with ledger.paused():
        answer = send(ledger.door, ledger.resident(subject), "/v1/me/erasure")
        finished(ledger, answer.json()["erasure_id"])
        restore(database, kept, "keys")
        assert unsealed(ledger, subject) == [None]
        assert ledger.door.post(complaint("more words", subject=subject)).status_code == 410
    ledger.settle()
    soon(lambda: not alive(database, subject), LIMIT_S)


def test_after_a_backup_from_before_the_key_a_destroyed_key_still_reads_as_erased(
    ledger: AnsweringLedger, database: str, tmp_path: Path
) -> None:
    subject = new_resident()
    kept = backup(database)
    ledger.record(complaint(WORDS, subject=subject))
    erase(ledger, subject)
    restore(database, kept)
    with another_api(ledger, tmp_path) as started:
        soon(lambda: ledger.door.runtime.erasures.knows(subject), LIMIT_S)
        assert unsealed(ledger, subject, started) == [None]
    assert ledger.door.post(complaint("more words", subject=subject)).status_code == 410


def test_a_key_that_only_records_name_reads_as_erased_when_the_erasure_is_finished_later(
    ledger: AnsweringLedger, database: str
) -> None:
    """The vault was restored from before the key, and the log holds `erasure.requested` alone."""
    subject, runtime = new_resident(), ledger.door.runtime
    with no_eraser(ledger):
        kept = backup(database)
        ledger.record(complaint(WORDS, subject=subject))
        erasure = Erasure(uuid4().hex, subject, None, IN_PROGRESS, "my-pages", NOW, requested_time=NOW)
        call = runtime.recorder.submit([requested_event(erasure)], Principal("my-pages", {}), Way.LEDGER)
        assert isinstance(call.result(LIMIT_S).results[0], Recorded)
        restore(database, kept)
        ledger.settle()
    runtime.eraser.compare_soon()
    soon(lambda: shown(ledger, erasure.erasure_id).get("state") == "done", LIMIT_S)
    assert unsealed(ledger, subject) == [None]


def test_what_cannot_be_compared_holds_up_nothing_else(ledger: AnsweringLedger, database: str) -> None:
    """The views name an erasure where the log has no record yet: a restored key is destroyed again all the same."""
    in_log = ledger.door.runtime.log
    subject = next(one for one in iter(new_resident, None) if in_log.partition_of(one))
    ledger.record(complaint(WORDS, subject=subject))
    kept = backup(database)
    erase(ledger, subject)
    with psycopg.connect(database) as connection:
        cases = sql.Identifier(ledger.schema, "cases")
        forge = sql.SQL(
            """INSERT INTO {} ("partition", kind, case_id, subject, opened, opened_offset, source)
               VALUES (0, 'erasure', 'beyond', 'res_beyond', now(), 1000000, '/ledger')"""
        )
        connection.execute(forge.format(cases))
    try:
        restore(database, kept, "keys")
        ledger.door.runtime.eraser.compare_soon()
        soon(lambda: not alive(database, subject), LIMIT_S)
    finally:
        with psycopg.connect(database) as connection:
            connection.execute(sql.SQL("DELETE FROM {} WHERE case_id = 'beyond'").format(cases))


def test_a_partition_that_cannot_be_compared_holds_up_no_other(ledger: AnsweringLedger, subject: str) -> None:
    """The views of one partition say to have read more of it than there is."""
    erase(ledger, subject)
    runtime = ledger.door.runtime
    here = runtime.log.partition_of(subject)
    elsewhere = next(one for one in iter(new_resident, None) if runtime.log.partition_of(one) != here)

    class Ahead(PostgresIndex):
        """The views, were they of a longer log in another partition."""

        def erasures(self, subjects: Sequence[str] | None = None) -> tuple[dict[int, int], list[Logged]]:
            reached, found = super().erasures(subjects)
            return {partition: at + (partition != here) * 1_000_000 for partition, at in reached.items()}, found

    index = Ahead(runtime.settings.database)
    try:
        in_log = ErasuresInLog(runtime.log, index)
        found, problems = in_log.all()
        assert subject in {one.subject for one in found}
        assert {type(problem) for problem in problems} == {MissingRecords}
        assert in_log.erased([subject]) == {subject}
        with pytest.raises(MissingRecords):
            in_log.erased([elsewhere])
    finally:
        index.close()


def test_an_erasure_that_only_the_log_remembers_is_finished(
    ledger: AnsweringLedger, database: str, subject: str
) -> None:
    """The vault was lost after `erasure.requested`, and restored from before anybody had asked."""
    erasure = Erasure(uuid4().hex, subject, None, IN_PROGRESS, "my-pages", NOW, requested_time=NOW)
    runtime = ledger.door.runtime
    recorded = runtime.recorder.submit([requested_event(erasure)], Principal("my-pages", {}), Way.LEDGER)
    assert isinstance(recorded.result(LIMIT_S).results[0], Recorded)
    assert unsealed(ledger, subject) == [None], "from the moment it is in the log"
    soon(lambda: not alive(database, subject), LIMIT_S)
    soon(lambda: shown(ledger, erasure.erasure_id).get("state") == "done", LIMIT_S)
    assert len(erasures_in_log(ledger, subject)) == 2


def test_a_view_alone_destroys_nothing(ledger: AnsweringLedger, database: str, subject: str) -> None:
    """Whoever can write to the views cannot make the ledger destroy a key: the record itself has to say so."""
    [first, *_] = partition(ledger, subject)
    forged = (first.position.partition, subject, first.position.offset)
    with psycopg.connect(database) as connection:
        cases = sql.Identifier(ledger.schema, "cases")
        forge = sql.SQL(
            """INSERT INTO {} ("partition", kind, case_id, subject, opened, opened_offset, source)
               VALUES (%s, 'erasure', 'forged', %s, now(), %s, '/ledger')"""
        )
        connection.execute(forge.format(cases), forged)
    try:
        eraser = ledger.door.runtime.eraser
        eraser.compare_soon()
        soon(eraser.look, LIMIT_S)
        assert alive(database, subject)
        assert shown(ledger, "forged")["status"] == 404
    finally:
        with psycopg.connect(database) as connection:
            connection.execute(sql.SQL("DELETE FROM {} WHERE case_id = 'forged'").format(cases))
    assert unsealed(ledger, subject) == [WORDS]


def test_a_key_that_the_vault_never_held_is_an_error_and_not_erased(
    ledger: AnsweringLedger, database: str, subject: str
) -> None:
    with psycopg.connect(database) as connection:
        connection.execute("DELETE FROM vault.keys WHERE subject = %s", (subject,))
    answer = ledger.get("/v1/me/log", ledger.resident(subject))
    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")


# --- the vault's key ----------------------------------------------------------------------------------------------


def test_after_a_rotation_words_read_as_before_and_the_same_event_finds_its_first_record(
    ledger: AnsweringLedger, subject: str, tmp_path: Path
) -> None:
    old, new = KeyEncryptionKey(bytes(range(KEK_BYTES))), KeyEncryptionKey.generate()
    sent = complaint(WORDS, subject=subject)
    [position] = ledger.record(sent)
    (tmp_path / "old").write_text(old.text)
    database = Database(ledger.door.runtime.settings.vault_database, 1)
    changes = {"vault_key": SecretStr(new.text), "vault_old_keys_file": tmp_path / "old"}
    try:
        with another_api(ledger, tmp_path, **changes) as api:
            done = list(rotation.rewrap(database, KeyRing(new, [old])))
            assert done[-1] > 0
            again = api.post(sent, ledger.service)
            assert (again.status_code, again.json()["position"]) == (200, position)
            other = api.post({**sent, "data": {**sent["data"], "text": "other words"}}, ledger.service)
            assert (other.status_code, other.json()["position"]) == (409, position)
            assert unsealed(ledger, subject, api) == [WORDS, WORDS]
        with another_api(ledger, tmp_path, vault_key=SecretStr(new.text)) as api:
            assert unsealed(ledger, subject, api) == [WORDS, WORDS], "without the old key too"
    finally:
        list(rotation.rewrap(database, KeyRing(old, [new])))
        database.close()
    assert unsealed(ledger, subject) == [WORDS, WORDS]

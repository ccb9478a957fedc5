"""The signer: what it signs, what it refuses, and what of it is kept and published, on real servers."""

import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import psycopg
import pytest

from ledger.errors import ConfigurationError, LogError, TwoRoots
from ledger.kafka import checkpoints
from ledger.kafka.checkpoints import every, latest
from ledger.kafka.reader import Reader
from ledger.tree import checkpoint
from ledger.tree.checkpoint import Checkpoint
from ledger.tree.merkle import empty
from ledger.tree.note import Signer
from projections import signer
from projections.schema import Dsns
from projections.signer_store import SignedStore, coverage
from projections.tlog import Signed
from tests.projected import new_schema
from tests.signer_process import KEY, LEDGER
from tests.signing import (
    Relay,
    Running,
    Stopped,
    frontier,
    note,
    published,
    put_records,
    put_row,
    put_tree,
    rows,
    signing,
    sizes,
)

OTHER = Signer.from_seed(LEDGER, b"\x01" * 32)


@pytest.fixture
def topic(make_topic: Callable[..., str]) -> str:
    return make_topic(1)


@pytest.fixture(scope="module")
def own_database(database_url: str) -> Iterator[str]:
    """One database for all of these tests: the superuser's DSN."""
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(psycopg.sql.Identifier(name)))
    yield psycopg.conninfo.make_conninfo(database_url, dbname=name)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(psycopg.sql.SQL("DROP DATABASE {} WITH (FORCE)").format(psycopg.sql.Identifier(name)))


@pytest.fixture(scope="module")
def made(own_database: str) -> Dsns:
    return new_schema(own_database)


@pytest.fixture
def dsns(made: Dsns) -> Dsns:
    with psycopg.connect(made.owner) as connection:
        for table in ("trees", "leaf_runs", "tiles", "checkpoints"):
            connection.execute(f"DELETE FROM {table}".encode())
    return made


@pytest.fixture
def running(kafka_address: str, topic: str, dsns: Dsns) -> Iterator[Running]:
    with signing(kafka_address, topic, dsns.signer) as found:
        yield found


def stop_at(step: str) -> Callable[[str], None]:
    """A step that ends the signer, as a crash would."""

    def at(name: str) -> None:
        if name == step:
            raise Stopped

    return at


def crash(address: str, topic: str, dsns: Dsns, step: str) -> None:
    """A signer that comes as far as this step, and no further."""
    with signing(address, topic, dsns.signer, at=stop_at(step)) as found, pytest.raises(Stopped):
        found.wait_for(lambda: False, "the step is never reached")


def records(address: str, topic: str) -> int:
    with Reader(address, topic) as reader:
        return reader.heads(0)[0]


# --- signing ------------------------------------------------------------------------------------------------------


def test_every_tree_is_signed_kept_and_published_as_it_grows(
    kafka_address: str, topic: str, dsns: Dsns, running: Running
) -> None:
    grown = {0: [1, 2, 255, 256, 257, 700], 3: [5, 300]}
    for step in range(6):
        expected = {p: sizes[min(step, len(sizes) - 1)] for p, sizes in grown.items()}
        for partition, size in expected.items():
            put_tree(dsns, partition, size)
        running.wait_for(lambda: sizes(dsns) == expected, "every tree is signed")  # noqa: B023
        running.turns()
    found = published(kafka_address, topic)
    assert {p: [said.size for said in notes] for p, notes in found.items()} == grown
    for partition, notes in found.items():
        assert [said.root for said in notes] == [frontier(partition, size).root for size in grown[partition]]
        kept = rows(dsns)[partition]
        assert kept.note == checkpoint.sign(notes[-1], [KEY])
        assert latest(kafka_address, [KEY.verifier], [partition], topic)[partition].note == kept.note
    assert running.progress.refused == {}


def test_a_tree_that_stands_still_is_signed_once_and_an_empty_one_never(
    kafka_address: str, topic: str, dsns: Dsns, running: Running
) -> None:
    put_tree(dsns, 0, 3)
    put_tree(dsns, 1, 0)
    running.wait_for(lambda: sizes(dsns) == {0: 3}, "the tree is signed")
    before = rows(dsns)
    running.turns(5)
    with signing(kafka_address, topic, dsns.signer) as again:
        again.turns(3)
    assert rows(dsns) == before
    assert records(kafka_address, topic) == 1
    assert not coverage(dsns.reader)[1].signed and coverage(dsns.reader)[1].covered


def test_coverage_says_how_far_behind_and_since_when(dsns: Dsns, running: Running) -> None:
    put_tree(dsns, 0, 3)
    running.wait_for(lambda: sizes(dsns) == {0: 3}, "the tree is signed")
    running.stop.set()
    running.wait_for(lambda: bool(running.ended), "the signer stops")
    put_tree(dsns, 0, 5)
    found = coverage(dsns.reader)[0]
    assert (found.tree_size, found.signed_size, found.covered) == (5, 3, False)
    assert found.signed is not None


@pytest.mark.parametrize("keys", [[], [KEY, Signer.from_seed("another.example", bytes(32))]])
def test_a_signer_has_the_keys_of_one_ledger(kafka_address: str, topic: str, dsns: Dsns, keys: list[Signer]) -> None:
    with pytest.raises(ConfigurationError):
        signer.run(kafka_address, dsns.signer, keys, stop=threading.Event())


def test_without_its_topic_the_signer_says_so_and_signs_nothing(kafka_address: str, dsns: Dsns) -> None:
    put_tree(dsns, 0, 3)
    with pytest.raises(LogError, match="does not exist"):
        signer.run(
            kafka_address, dsns.signer, [KEY], settings=signer.Settings(topic="test.none"), stop=threading.Event()
        )
    assert rows(dsns) == {}


# --- kept before it is published ------------------------------------------------------------------------------------


def test_what_was_kept_and_not_published_is_published_at_the_next_start(
    kafka_address: str, topic: str, dsns: Dsns
) -> None:
    put_tree(dsns, 0, 3)
    crash(kafka_address, topic, dsns, "committed")
    kept = rows(dsns)[0]
    assert (kept.size, published(kafka_address, topic)) == (3, {})
    put_tree(dsns, 0, 2)  # not even a tree that must not be signed keeps it back
    with signing(kafka_address, topic, dsns.signer) as running:
        running.turns()
    [said] = every(kafka_address, [KEY.verifier], topic)
    assert said.note == kept.note
    assert rows(dsns)[0] == kept


def test_what_was_signed_and_not_kept_is_gone(kafka_address: str, topic: str, dsns: Dsns) -> None:
    put_tree(dsns, 0, 3)
    for step in ("signed", "swapped"):
        crash(kafka_address, topic, dsns, step)
        assert rows(dsns) == {}
    put_tree(dsns, 0, 3, changed=1)  # nobody has seen a signature over the other
    with signing(kafka_address, topic, dsns.signer) as running:
        running.wait_for(lambda: sizes(dsns) == {0: 3}, "the tree is signed")
        running.turns()
    [said] = published(kafka_address, topic)[0]
    assert said.root == frontier(0, 3, changed=1).root


def test_of_two_signers_at_once_one_note_is_kept_and_that_one_is_published(
    kafka_address: str, topic: str, dsns: Dsns
) -> None:
    put_tree(dsns, 0, 3)
    reached, go_on = threading.Event(), threading.Event()

    def held_up(step: str) -> None:
        if step == "signed" and not reached.is_set():
            reached.set()
            assert go_on.wait(60)

    with signing(kafka_address, topic, dsns.signer, at=held_up) as slow:
        slow.wait_for(reached.is_set, "the slow one has signed")
        put_tree(dsns, 0, 4)
        with signing(kafka_address, topic, dsns.signer) as quick:
            quick.wait_for(lambda: sizes(dsns) == {0: 4}, "the quick one has signed more")
            quick.turns()
        go_on.set()
        slow.turns()
        assert slow.progress.signed == 0
        put_tree(dsns, 0, 7)
        slow.wait_for(lambda: sizes(dsns) == {0: 7}, "the slow one goes on from what the other kept")
        slow.turns()
    assert {said.size for said in published(kafka_address, topic)[0]} == {4, 7}


def test_many_signers_at_once_never_sign_two_roots(kafka_address: str, topic: str, dsns: Dsns) -> None:
    with (
        signing(kafka_address, topic, dsns.signer, every_s=0.001) as one,
        signing(kafka_address, topic, dsns.signer, every_s=0.001) as two,
        signing(kafka_address, topic, dsns.signer, every_s=0.001) as three,
    ):
        for size in range(1, 41):
            put_tree(dsns, 0, size)
        one.wait_for(lambda: sizes(dsns) == {0: 40}, "all is signed")
        for each in (one, two, three):
            each.turns()
    for said in published(kafka_address, topic)[0]:
        assert said.root == frontier(0, said.size).root
    assert latest(kafka_address, [KEY.verifier], [0], topic)[0].checkpoint.size == 40


def test_a_note_published_late_does_not_hide_a_greater_one(kafka_address: str, topic: str, dsns: Dsns) -> None:
    put_tree(dsns, 0, 9)
    put_row(dsns, 0, note(0, 9))
    put_records(kafka_address, topic, [note(0, 9), note(0, 4)])
    assert latest(kafka_address, [KEY.verifier], [0], topic)[0].checkpoint.size == 9
    with signing(kafka_address, topic, dsns.signer) as running:
        running.turns()
    assert [said.size for said in published(kafka_address, topic)[0]] == [9, 4]


# --- a database that forgot -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("backup", [None, 4])
def test_a_restored_database_takes_over_what_was_published(
    kafka_address: str, topic: str, dsns: Dsns, backup: int | None
) -> None:
    put_tree(dsns, 0, 9)
    with signing(kafka_address, topic, dsns.signer) as running:
        running.wait_for(lambda: sizes(dsns) == {0: 9}, "the tree is signed")
        running.turns()
    kept = rows(dsns)[0]
    put_row(dsns, 0, None if backup is None else note(0, backup))
    put_tree(dsns, 0, 6)
    with signing(kafka_address, topic, dsns.signer) as running:
        running.wait_for(lambda: running.progress.refused == {0: "shrunk"}, "six leaves are not signed")
        assert rows(dsns)[0] == kept
        put_tree(dsns, 0, 8)
        running.turns()
        assert rows(dsns)[0] == kept
        put_tree(dsns, 0, 9)
        running.wait_for(lambda: running.progress.refused == {}, "the tree has caught up")
        assert rows(dsns)[0] == kept
        put_tree(dsns, 0, 10)
        running.wait_for(lambda: sizes(dsns) == {0: 10}, "it goes on")
        running.turns()
    assert [said.size for said in published(kafka_address, topic)[0]] == [9, 10]


def test_a_database_restored_beneath_a_running_signer_does_not_make_it_forget(
    kafka_address: str, topic: str, dsns: Dsns, running: Running
) -> None:
    put_tree(dsns, 0, 9)
    running.wait_for(lambda: sizes(dsns) == {0: 9}, "the tree is signed")
    running.turns()
    for backup in (note(0, 4), None):
        put_row(dsns, 0, backup)
        put_tree(dsns, 0, 5)
        running.wait_for(lambda: sizes(dsns) == {0: 9}, "the row says again what was signed")
        running.wait_for(lambda: running.progress.refused == {0: "shrunk"}, "five leaves are not signed")
    put_tree(dsns, 0, 12)
    running.wait_for(lambda: sizes(dsns) == {0: 12}, "it goes on")
    running.turns()
    assert [said.size for said in published(kafka_address, topic)[0]] == [9, 12]


# --- another history ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "code"), [(5, "two-roots"), (8, "other-history"), (300, "other-history")])
def test_a_tree_of_another_history_is_never_signed_and_the_others_go_on(
    kafka_address: str, topic: str, dsns: Dsns, running: Running, size: int, code: str
) -> None:
    for partition in (0, 1):
        put_tree(dsns, partition, 5)
    running.wait_for(lambda: sizes(dsns) == {0: 5, 1: 5}, "both are signed")
    put_tree(dsns, 0, size, changed=2)
    put_tree(dsns, 1, 6)
    running.wait_for(lambda: sizes(dsns) == {0: 5, 1: 6}, "the other partition goes on")
    running.wait_for(lambda: running.progress.refused == {0: code}, "this one is refused")
    running.turns()
    assert [said.size for said in published(kafka_address, topic)[0]] == [5]
    put_tree(dsns, 0, 301)  # rebuilt from the log
    running.wait_for(lambda: sizes(dsns) == {0: 301, 1: 6}, "it goes on from what was signed")


def test_a_tree_whose_tiles_were_changed_is_not_signed(dsns: Dsns, running: Running) -> None:
    put_tree(dsns, 0, 300)
    running.wait_for(lambda: sizes(dsns) == {0: 300}, "the tree is signed")
    for change in (
        "UPDATE tiles SET hashes = set_byte(hashes, 40, get_byte(hashes, 40) # 1) WHERE level = 1",
        "UPDATE tiles SET hashes = substring(hashes FOR 32) WHERE level = 0 AND index = 1",
        "DELETE FROM tiles WHERE level = 1",
        "UPDATE trees SET frontier = set_byte(frontier, 3, get_byte(frontier, 3) # 1)",
        "UPDATE trees SET frontier = substring(frontier FROM 33)",
    ):
        put_tree(dsns, 0, 600, then=change)
        running.wait_for(lambda: running.progress.refused == {0: "broken-tree"}, "a tree that does not fit is refused")
        assert sizes(dsns) == {0: 300}
        put_tree(dsns, 0, 300)
        running.wait_for(lambda: running.progress.refused == {}, "the tree was rebuilt")


def test_two_roots_signed_for_one_size_stop_a_partition_for_good(kafka_address: str, topic: str, dsns: Dsns) -> None:
    put_records(kafka_address, topic, [note(0, 5), note(1, 5)])
    put_row(dsns, 0, note(0, 5, changed=2))
    put_tree(dsns, 0, 6, changed=2)
    put_tree(dsns, 1, 6)
    with signing(kafka_address, topic, dsns.signer) as running:
        running.wait_for(lambda: sizes(dsns) == {0: 5, 1: 6}, "the other partition goes on")
        assert running.progress.refused == {0: "two-roots"}
        put_row(dsns, 0, note(0, 5))
        put_tree(dsns, 0, 6)
        running.turns(3)
        assert sizes(dsns) == {0: 5, 1: 6}, "nobody has looked at it yet"
    put_records(kafka_address, topic, [note(0, 5, changed=2)])
    with pytest.raises(TwoRoots, match="partition 0, both signed for size 5"):
        latest(kafka_address, [KEY.verifier], [0, 1], topic)
    with pytest.raises(TwoRoots):
        list(every(kafka_address, [KEY.verifier], topic))
    put_tree(dsns, 1, 7)
    with signing(kafka_address, topic, dsns.signer) as running:
        running.wait_for(lambda: sizes(dsns) == {0: 5, 1: 7}, "the other partition goes on")
        assert running.progress.refused == {0: "two-roots"}


# --- what others put into the topic ---------------------------------------------------------------------------------


def test_what_no_trusted_key_signed_is_let_be(kafka_address: str, topic: str, dsns: Dsns) -> None:
    genuine = note(0, 5)
    other_ledger = Signer.from_seed("another.example", bytes(32))
    junk = [
        b"",
        None,
        b"\xff" * 40,
        b"{}",
        note(0, 90, key=OTHER),
        note(0, 91, key=other_ledger),
        note(0, 92).replace(b"\n92\n", b"\n93\n"),
        genuine + b"\n",
        checkpoint.sign(Checkpoint(LEDGER, 0, 94, empty()), [OTHER]),
    ]
    put_records(kafka_address, topic, [*junk, genuine, *junk])
    [said] = every(kafka_address, [KEY.verifier], topic)
    assert said.note == genuine
    assert latest(kafka_address, [KEY.verifier], [0, 1], topic) == {0: said}
    put_tree(dsns, 0, 5)
    with signing(kafka_address, topic, dsns.signer) as running:
        running.wait_for(lambda: sizes(dsns) == {0: 5}, "the genuine one is taken over")
        put_tree(dsns, 0, 6)
        running.wait_for(lambda: sizes(dsns) == {0: 6}, "and gone on from")


def test_the_latest_is_found_however_far_back_it_is(kafka_address: str, topic: str) -> None:
    behind = [note(0, 1 + i) for i in range(50)] * (2 * checkpoints.FIRST_WINDOW // 50)
    put_records(kafka_address, topic, [note(3, 7), note(3, 6), *behind, note(2, 1)])
    found = latest(kafka_address, [KEY.verifier], [0, 2, 3, 4], topic)
    assert {p: said.checkpoint.size for p, said in found.items()} == {0: 50, 2: 1, 3: 7}
    assert latest(kafka_address, [KEY.verifier], [], topic) == {}


def test_without_a_key_nothing_can_be_trusted(kafka_address: str, topic: str) -> None:
    with pytest.raises(ConfigurationError, match="CHECKPOINT_VKEYS"):
        latest(kafka_address, [], [0], topic)
    with pytest.raises(ConfigurationError, match="CHECKPOINT_VKEYS"):
        list(every(kafka_address, [], topic))


# --- keys -------------------------------------------------------------------------------------------------------------


def test_while_a_key_is_replaced_readers_of_the_old_one_and_of_the_new_one_accept(
    kafka_address: str, topic: str, dsns: Dsns
) -> None:
    def accepted(key: Signer) -> list[int]:
        return [said.size for said in published(kafka_address, topic, [key.verifier])[0]]

    for size, keys in ((3, [KEY]), (4, [KEY, OTHER]), (5, [OTHER])):
        put_tree(dsns, 0, size)
        put_tree(dsns, 1, 2)
        with signing(kafka_address, topic, dsns.signer, keys, [KEY.verifier, OTHER.verifier]) as running:
            running.wait_for(lambda: sizes(dsns) == {0: size, 1: 2}, "signed")  # noqa: B023
            running.turns()
    assert accepted(KEY) == [3, 4]
    assert accepted(OTHER) == [4, 5]
    assert [said.size for said in published(kafka_address, topic, [KEY.verifier, OTHER.verifier])[0]] == [3, 4, 5]
    assert [said.size for said in published(kafka_address, topic)[1]] == [2], "what stands still is not signed again"


def test_a_key_replaced_without_overlap_is_refused_until_the_old_one_is_named(
    kafka_address: str, topic: str, dsns: Dsns
) -> None:
    put_tree(dsns, 0, 4)
    put_row(dsns, 0, note(0, 3))
    with signing(kafka_address, topic, dsns.signer, [OTHER]) as running:
        running.turns()
        assert running.progress.refused == {0: "unknown-key"}
    [found] = running.ended
    assert isinstance(found, dict)
    assert "CONSENT_LEDGER_CHECKPOINT_VKEYS" in str(found[0])
    assert rows(dsns)[0].note == note(0, 3)
    assert records(kafka_address, topic) == 0
    with signing(kafka_address, topic, dsns.signer, [OTHER], [KEY.verifier]) as running:
        running.wait_for(lambda: sizes(dsns) == {0: 4}, "signed with the new key")


@pytest.mark.parametrize("column", ["size", "root", "note"])
def test_a_row_that_was_changed_is_refused_and_taken_from_the_topic_once_it_is_deleted(
    kafka_address: str, topic: str, dsns: Dsns, running: Running, column: str
) -> None:
    put_tree(dsns, 0, 4)
    running.wait_for(lambda: sizes(dsns) == {0: 4}, "the tree is signed")
    running.turns()
    kept = rows(dsns)[0]
    changed: Any = {"size": 3, "root": bytes(32), "note": note(0, 3)}[column]
    put_row(dsns, 0, kept._replace(**{column: changed}))
    put_tree(dsns, 0, 5)
    running.wait_for(lambda: running.progress.refused == {0: "unknown-key"}, "the row is refused")
    running.turns()
    put_row(dsns, 0, None)
    running.wait_for(lambda: sizes(dsns) == {0: 5}, "it goes on")
    running.turns()
    assert [said.size for said in published(kafka_address, topic)[0]] == [4, 5]


# --- faults and rights ----------------------------------------------------------------------------------------------


def test_a_connection_lost_before_the_commit_makes_it_read_and_sign_again(
    kafka_address: str, topic: str, dsns: Dsns, own_database: str
) -> None:
    ended = 0

    def cut(step: str) -> None:
        nonlocal ended
        if step == "swapped" and ended < 3:
            with psycopg.connect(own_database, autocommit=True) as administrator:
                ended += len(
                    administrator.execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'ledger_signer'"
                        " AND datname = current_database() AND state = 'idle in transaction'"
                    ).fetchall()
                )

    put_tree(dsns, 0, 3)
    with signing(kafka_address, topic, dsns.signer, at=cut) as running:
        running.wait_for(lambda: sizes(dsns) == {0: 3}, "it goes on after the faults")
        running.turns()
    assert ended >= 3
    assert running.progress.faults >= 3
    assert running.progress.signed == 1
    assert [said.size for said in published(kafka_address, topic)[0]] == [3]


def test_a_commit_whose_answer_is_lost_is_found_kept_and_nothing_is_signed_again(
    kafka_address: str, topic: str, dsns: Dsns
) -> None:
    signed: list[str] = []
    with Relay(dsns.signer) as relay:

        def lose_the_answer(step: str) -> None:
            signed.append(step)
            if step == "swapped":
                relay.lose_next_answer.set()

        put_tree(dsns, 0, 3)
        with signing(kafka_address, topic, relay.dsn, at=lose_the_answer) as running:
            running.wait_for(lambda: relay.lost == 1 and running.progress.faults > 0, "the answer is lost")
            running.turns()
    assert rows(dsns)[0].note == note(0, 3), "the commit itself was not lost"
    assert running.progress.signed == 0
    assert (signed.count("signed"), signed.count("committed")) == (1, 0)
    assert [said.size for said in published(kafka_address, topic)[0]] == [3], "what is kept is published"


def test_while_the_database_is_away_the_signer_waits_and_goes_on_when_it_is_back(
    kafka_address: str, topic: str, dsns: Dsns, own_database: str, database_url: str
) -> None:
    name = psycopg.conninfo.conninfo_to_dict(own_database)["dbname"]
    allow = "UPDATE pg_database SET datallowconn = %s WHERE datname = %s"
    put_tree(dsns, 0, 3)
    with (
        psycopg.connect(database_url, autocommit=True) as superuser,
        signing(kafka_address, topic, dsns.signer) as running,
    ):
        running.wait_for(lambda: sizes(dsns) == {0: 3}, "signed")
        put_tree(dsns, 0, 4)
        superuser.execute(allow, (False, name))
        try:
            superuser.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
            running.wait_for(lambda: running.progress.faults > 1, "the database is away")
        finally:
            superuser.execute(allow, (True, name))
        put_tree(dsns, 0, 5)
        running.wait_for(lambda: sizes(dsns) == {0: 5}, "it goes on")
        running.turns()
    assert published(kafka_address, topic)[0][-1].size == 5


def test_a_row_that_another_session_holds_keeps_no_other_partition_back(dsns: Dsns, running: Running) -> None:
    for partition in (0, 1):
        put_tree(dsns, partition, 3)
    running.wait_for(lambda: sizes(dsns) == {0: 3, 1: 3}, "both are signed")
    with psycopg.connect(dsns.owner) as holder:
        holder.execute('SELECT 1 FROM checkpoints WHERE "partition" = 0 FOR UPDATE')
        for partition in (0, 1):
            put_tree(dsns, partition, 4)
        running.wait_for(lambda: sizes(dsns) == {0: 3, 1: 4}, "the other one goes on")
        running.wait_for(lambda: running.progress.refused == {0: "locked"}, "it says why")
    running.wait_for(lambda: sizes(dsns) == {0: 4, 1: 4}, "the row is free again")
    running.wait_for(lambda: running.progress.refused == {}, "nothing is refused")


def test_the_signer_sees_nothing_of_residents_and_nobody_else_writes_checkpoints(dsns: Dsns) -> None:
    put_tree(dsns, 0, 3)
    put_row(dsns, 0, note(0, 3))
    with psycopg.connect(dsns.owner) as connection:
        found = connection.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = current_schema() ORDER BY 1"
        ).fetchall()
    tables = {name for (name,) in found}
    assert tables > {"timeline", "verdicts", "consents", "cases", "repeats", "reference_facts", "trees", "tiles"}
    with psycopg.connect(dsns.signer, autocommit=True) as connection:
        for table in sorted(tables):
            statement = psycopg.sql.SQL("SELECT 1 FROM {}").format(psycopg.sql.Identifier(table))
            if table in ("trees", "tiles", "leaf_runs"):
                connection.execute(statement)
                continue
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)
        for forbidden in (
            "DELETE FROM checkpoints",
            "UPDATE trees SET size = 0",
            "DELETE FROM tiles",
            "CREATE TABLE another (x int)",
            "SET ROLE ledger_auditor",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(forbidden.encode())
    before = Signed(3, frontier(0, 3).root, note(0, 3))
    for dsn in (dsns.reader, dsns.projector):
        with closing(SignedStore(dsn)) as store, pytest.raises(ConfigurationError, match="role"):
            store.move(0, before, Signed(4, frontier(0, 4).root, note(0, 4)))
        with psycopg.connect(dsn, autocommit=True) as connection:
            assert connection.execute("SELECT size FROM checkpoints").fetchone() == (3,)
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute("DELETE FROM checkpoints")
    assert rows(dsns)[0] == before


def test_a_row_moves_only_from_what_it_is_and_only_forward(dsns: Dsns) -> None:
    three, four, five = (Signed(n, frontier(0, n).root, note(0, n)) for n in (3, 4, 5))
    other = Signed(4, frontier(0, 4, changed=1).root, note(0, 4, changed=1))
    with closing(SignedStore(dsns.signer)) as store:
        assert store.move(0, None, four)
        assert not store.move(0, None, five), "there is a row"
        assert not store.move(0, three, five), "another size"
        assert not store.move(0, other, five), "another root"
        assert not store.move(0, four, three), "smaller"
        assert not store.move(0, four, other), "a second root"
        assert rows(dsns)[0] == four
        assert store.move(0, four, five)
    assert rows(dsns)[0] == five

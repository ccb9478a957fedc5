"""`emit` says what it waits for, and what earlier runs were refused, without a ledger: a small HTTP server answers."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.unit.test_cli import Done, run

Answer = tuple[int, dict[str, str], Any]


@contextmanager
def answering(answers: Callable[[list[Any]], Answer]) -> Iterator[str]:
    """An HTTP server that answers a batch as the function says; gives its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            events = json.loads(self.rfile.read(int(self.headers["content-length"])))
            status, headers, body = answers(events)
            raw = json.dumps(body).encode()
            self.send_response(status)
            for name, value in {**headers, "content-length": str(len(raw))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def emit(url: str, *arguments: str | Path, stdin: bytes = b"") -> Done:
    return run("emit", *arguments, stdin=stdin, CONSENT_LEDGER_URL=url, CONSENT_LEDGER_TOKEN="x")


def results(events: list[Any]) -> Answer:
    """Refuses what says so, records the rest."""
    refused = {"status": 422, "errors": [{"pointer": "/data", "code": "required"}]}
    recorded = {"status": 201, "position": "0-1"}
    return 200, {}, {"results": [refused if e.get("bad") else recorded for e in events], "receipt": None}


@pytest.mark.parametrize("flags", [(), ("--json",)])
def test_a_ledger_that_does_not_answer_is_named_once_and_for_how_long_we_try(flags: tuple[str, ...]) -> None:
    url = "http://127.0.0.1:1"
    done = emit(url, "-", "--patience", "2", *flags, stdin=b"{}\n")
    first, *rest = done.stderr.decode().splitlines()
    assert first == f"{url} does not answer: trying again, each batch for up to 2 s"
    assert (done.returncode, len(rest)) == (3, 1)


def test_quiet_says_only_that_it_failed() -> None:
    done = emit("http://127.0.0.1:1", "-", "--patience", "1", "--quiet", stdin=b"{}\n")
    assert (done.returncode, done.stderr.count(b"\n"), b"trying again" in done.stderr) == (3, 1, False)


def test_a_busy_ledger_is_told_once_with_its_own_reason() -> None:
    calls = []

    def busy_twice(events: list[Any]) -> Answer:
        calls.append(len(events))
        if len(calls) < 3:
            return 429, {"retry-after": "0"}, {"title": "Too many wait.", "status": 429, "errors": []}
        return results(events)

    with answering(busy_twice) as url:
        done = emit(url, "-", stdin=b"{}\n")
    assert (done.returncode, calls) == (0, [1, 1, 1])
    said = "the ledger answers 429: Too many wait: trying again, each batch for up to 300 s\n"
    assert done.stderr.decode() == said


def test_a_run_that_goes_on_lists_what_the_earlier_one_was_refused(tmp_path: Path) -> None:
    file, state = tmp_path / "events.ndjson", tmp_path / "state"
    file.write_bytes(b'{}\n{"bad":1}\n')
    command = (file, "--progress", state)
    with answering(results) as url:
        first = emit(url, *command, "--json")
        with file.open("ab") as more:
            more.write(b'{}\n{"bad":1}\n')
        again, third = emit(url, *command, "--json"), emit(url, *command)
    refusal = {"line": 2, "outcome": "refused", "errors": [{"pointer": "/data", "code": "required"}]}
    assert (first.returncode, json.loads(first.stdout)["refusals"]) == (2, [refusal])
    found = json.loads(again.stdout)
    assert (again.returncode, found["refused"], found["lines"]) == (2, 2, 4)
    assert found["refusals"] == [refusal | {"earlier": True}, refusal | {"line": 4}]
    assert third.returncode == 2
    assert b"line 2: refused (/data required), in an earlier run\n" in third.stderr
    assert b"line 4: refused (/data required), in an earlier run\n" in third.stderr


def test_refusals_that_an_older_progress_file_did_not_keep_are_counted_as_of_earlier_runs(tmp_path: Path) -> None:
    file, state = tmp_path / "events.ndjson", tmp_path / "state"
    file.write_bytes(b'{"bad":1}\n')
    command = (file, "--progress", state)
    with answering(results) as url:
        emit(url, *command)
        kept = json.loads(state.read_bytes())
        del kept["refusals"]
        state.write_text(json.dumps(kept))
        in_words, as_json = emit(url, *command), json.loads(emit(url, *command, "--json").stdout)
    assert b"and 1 in earlier runs, whose reasons were not kept" in in_words.stderr
    assert (as_json["refused"], as_json["refusals"], as_json["unlisted"]) == (1, [], 1)


@pytest.mark.parametrize("refusals", [{"a": 1}, [1], [{"line": 1}], [{"line": "x", "outcome": "", "errors": []}]])
def test_a_progress_file_that_is_not_ours_is_refused(tmp_path: Path, refusals: Any) -> None:
    state = tmp_path / "state"
    file = tmp_path / "events.ndjson"
    file.write_bytes(b"{}\n")
    with answering(results) as url:
        assert emit(url, file, "--progress", state).returncode == 0
        state.write_text(json.dumps({**json.loads(state.read_bytes()), "refusals": refusals}))
        done = emit(url, file, "--progress", state)
    assert (done.returncode, done.stderr.count(b"\n")) == (2, 1)

"""`consent-ledger verify` on an auditor's own machine: a file and a key, and nothing of the ledger running."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from api import cli
from ledger.evidence import bundle, verify
from tests.bundles import OTHER_SIGNER, SIGNER, Partition, changed

EXAMPLES = Path(__file__).parents[1] / "vectors" / "examples"
LINES = (EXAMPLES / "v10-late-withdrawal-changes-the-verdict.ndjson").read_bytes().splitlines()
PARTITION = Partition(enumerate(LINES))
RAW = PARTITION.bundle(4, complete=True)
VKEY = SIGNER.verifier.vkey
SERVERS = ("kafka", "psycopg", "psycopg_pool", "fastapi", "starlette", "uvicorn", "pydantic_settings")
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    def ran(*arguments: str | Path) -> tuple[int, str, str]:
        code = cli.run([str(argument) for argument in arguments])
        said = capfd.readouterr()
        return code, said.out, said.err

    return ran


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "evidence.zip"
    path.write_bytes(RAW)
    return path


def loaded_by(code: str, *arguments: str | Path) -> tuple[int, set[str]]:
    """What a fresh interpreter has loaded after this code."""
    ends = "; import sys; print('LOADED', *sorted({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code + ends, *map(str, arguments)], capture_output=True, timeout=60)
    loaded = re.search(rb"^LOADED (.*)$", done.stdout, re.MULTILINE)
    assert loaded, done.stderr
    return done.returncode, set(loaded[1].decode().split())


def test_verifying_loads_no_client_of_any_server(file: Path) -> None:
    _, loaded = loaded_by("import ledger.evidence")
    assert loaded.isdisjoint({*SERVERS, "httpx", "typer", "pydantic", "prometheus_client"})
    assert "msgspec" in loaded
    code = "import sys, api.cli; assert api.cli.run(['verify', sys.argv[1], '--trusted-key', sys.argv[2]]) == 0"
    returned, loaded = loaded_by(code, file, VKEY)
    assert returned == 0
    assert loaded.isdisjoint(SERVERS)


def test_verify_says_in_words_what_was_shown_and_what_was_not(run: Run, file: Path) -> None:
    code, said, errors = run("verify", file, "--trusted-key", VKEY)
    assert (code, errors) == (0, "")
    assert said.startswith(
        "verified: these records are in the log, unchanged, and they give this verdict\n3-4  inconsistent"
    )
    assert "(first: consistent)" in said
    assert "violated  purpose-limitation/purpose-not-stated  email" in said
    assert "as known at 3-5, for resident res_7f2c" in said
    assert re.search(r"^  3-0  leaf 0  evidence  policy\.published  /services/permits  2018", said, re.MULTILINE)
    assert f"checkpoint  ledger.example/3: {len(LINES)} records, root " in said
    assert "completeness not proven: that these are all the records about the resident" in said


def test_verify_says_the_same_in_json(run: Run, file: Path) -> None:
    code, said, errors = run("verify", file, "--trusted-key", VKEY, "--json")
    found: dict[str, Any] = json.loads(said)
    assert (code, errors) == (0, "")
    report = verify(RAW, [SIGNER.verifier])
    assert found["verified"] is True
    assert found["verdict"] == report.verdict
    assert found["question"] == {"position": "3-4", "known_at": "3-5", "complete": True}
    assert found["checkpoint"]["root"] == report.checkpoint.root.hex()
    assert [record["leaf_index"] for record in found["records"]] == list(range(len(LINES)))
    assert found["completeness"]["proven"] is False


def test_the_whole_partition_proves_completeness(run: Run, file: Path, tmp_path: Path) -> None:
    partition = tmp_path / "partition-3.ndjson"
    partition.write_bytes(b"".join(line + b"\n" for line in LINES))
    code, said, _ = run("verify", file, "--trusted-key", VKEY, "--partition", partition)
    assert (code, "completeness proven: the bundle holds every record" in said) == (0, True)
    partition.write_bytes(b"\n".join(LINES))  # no newline behind the last line
    assert run("verify", file, "--trusted-key", VKEY, "--partition", partition)[0] == 0
    partition.write_bytes(b"".join(line + b"\n" for line in LINES[:-1]))
    assert run("verify", file, "--trusted-key", VKEY, "--partition", partition)[0] == 3
    partition.write_bytes(b"".join(line + b"\n" for line in reversed(LINES)))
    assert run("verify", file, "--trusted-key", VKEY, "--partition", partition)[0] == 1
    assert run("verify", file, "--trusted-key", VKEY, "--partition", tmp_path / "none")[0] == 3


def test_several_keys_may_be_trusted_and_one_is_enough(run: Run, file: Path) -> None:
    other = OTHER_SIGNER.verifier.vkey
    assert run("verify", file, "--trusted-key", other, "--trusted-key", VKEY)[0] == 0
    assert run("verify", file, "--trusted-key", VKEY, "--trusted-key", VKEY)[0] == 0
    code, said, errors = run("verify", file, "--trusted-key", other)
    assert (code, said) == (1, "")
    assert "not verified: proofs/3-0.tlog-proof: no trusted key has signed this note" in errors


def test_the_exit_code_says_what_kind_of_no_it_is(run: Run, file: Path, tmp_path: Path) -> None:
    entries = bundle.unpack(RAW)
    nothing = bundle.pack([("manifest.json", entries["manifest.json"])])
    altered = changed(RAW, **{"records__3-4.json": entries["records/3-4.json"].replace(b"email", b"phone")})
    for raw, code, words in (
        (altered, 1, "proofs/3-4.tlog-proof"),
        (nothing, 1, "nothing was verified"),
        (b"", 2, "not-a-bundle"),
        (b"PK\x05\x06" + bytes(18), 2, "not-a-bundle"),
        (LINES[0], 2, "not-a-bundle"),
        (RAW[:-10], 3, "fetch it again"),
    ):
        file.write_bytes(raw)
        found, said, errors = run("verify", file, "--trusted-key", VKEY)
        assert (found, said) == (code, "")
        assert words in errors
        assert errors.count("\n") == 1
    file.write_bytes(altered)
    code, said, errors = run("verify", file, "--trusted-key", VKEY, "--json")
    assert (code, errors, json.loads(said)["verified"]) == (1, "", False)
    for missing in (tmp_path / "none.zip", tmp_path):
        assert run("verify", missing, "--trusted-key", VKEY)[0] == 3


def test_a_key_is_asked_for_and_must_be_one(run: Run, file: Path) -> None:
    assert run("verify", file)[0] == 2
    for key in ("", "ledger.example", VKEY[:-1], VKEY.replace("b7cfcbf1", "b7cfcbf0")):
        code, said, errors = run("verify", file, "--trusted-key", key)
        assert (code, said) == (2, "")
        assert "--trusted-key" in errors


def test_fetching_names_a_position_and_a_file(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CONSENT_LEDGER_URL", raising=False)
    assert run("evidence", "3-4")[0] == 2
    assert run("evidence", "x", "-o", tmp_path / "a.zip")[0] == 2
    assert run("evidence", "3-4", "--known-at", "03-4", "-o", tmp_path / "a.zip")[0] == 2
    assert run("evidence", "3-4", "-o", tmp_path / "a.zip")[0] == 2, "no ledger is named"
    assert list(tmp_path.iterdir()) == []

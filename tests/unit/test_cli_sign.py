"""`vkey`, and what `sign` and `checkpoint` say of settings that do not fit, on hosts that have one key or none."""

import json
import os
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from api.cli import sign
from ledger.errors import ConfigurationError
from ledger.tree.note import Signer, Verifier
from tests.e2e.city import run

NAME = "ledger.example"
KEY, OTHER = (Signer.from_seed(NAME, bytes([i]) * 32) for i in (0, 1))
RECEIPTS = Signer.from_seed(f"{NAME}/receipts", bytes(32))


def here(*arguments: str, **settings: str) -> "subprocess.CompletedProcess[bytes]":
    """A command with these settings alone."""
    named = {f"CONSENT_LEDGER_{name}": value for name, value in {"LEDGER_NAME": NAME, **settings}.items()}
    return run(*arguments, stdin=b"", **named)


def test_vkey_prints_what_it_has_on_a_host_with_one_key_or_none() -> None:
    def printed(**settings: str) -> dict[str, list[str]]:
        done = here("vkey", "--json", **settings)
        assert (done.returncode, done.stderr) == (0, b"")
        found: dict[str, list[str]] = json.loads(done.stdout)
        return found

    vkey, old = KEY.verifier.vkey, OTHER.verifier.vkey
    assert printed(CHECKPOINT_KEY=KEY.secret) == {"checkpoints": [vkey], "receipts": []}
    auditor = printed(CHECKPOINT_VKEYS=json.dumps([vkey, old]))
    assert auditor == {"checkpoints": [vkey, old], "receipts": []}
    api = printed(
        CHECKPOINT_VKEYS=json.dumps([old]),
        CHECKPOINT_KEY=f"{OTHER.secret}\n{KEY.secret}\n",
        RECEIPTS_KEY=RECEIPTS.secret,
        RECEIPTS_OLD_VKEYS='["an-old-one"]',
    )
    assert api == {"checkpoints": [old, vkey], "receipts": [RECEIPTS.verifier.vkey, "an-old-one"]}


def test_vkey_labels_the_keys_for_people() -> None:
    done = here("vkey", CHECKPOINT_KEY=KEY.secret, RECEIPTS_KEY=RECEIPTS.secret)
    lines = [line.split() for line in done.stdout.decode().splitlines()]
    assert lines == [["checkpoints", KEY.verifier.vkey], ["receipts", RECEIPTS.verifier.vkey]]
    assert b"PRIVATE" not in done.stdout + done.stderr


def test_vkey_without_any_key_says_what_to_set() -> None:
    done = here("vkey")
    assert (done.returncode, done.stdout, b"CONSENT_LEDGER_CHECKPOINT_VKEYS" in done.stderr) == (2, b"", True)


def test_make_key_makes_the_signers_key_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "secrets" / "checkpoint.key"
    settings = {"CHECKPOINT_KEY_FILE": str(file)}
    first, again = (here("vkey", "--make-key", "--json", **settings) for _ in range(2))
    assert (first.returncode, first.stdout) == (0, again.stdout)
    [vkey] = json.loads(first.stdout)["checkpoints"]
    assert Verifier.parse(vkey).name == NAME
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_text().strip().encode() not in first.stdout + first.stderr
    assert here("vkey", "--make-key").returncode == 2


def test_make_key_does_not_touch_a_file_that_holds_no_key(tmp_path: Path) -> None:
    file = tmp_path / "checkpoint.key"
    file.write_text("something else")
    done = here("vkey", "--make-key", CHECKPOINT_KEY_FILE=str(file))
    assert (done.returncode, file.read_text()) == (2, "something else")
    assert b"something else" not in done.stdout + done.stderr


@pytest.fixture
def setting(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets what is given, and nothing else of the product's."""

    def set_only(**settings: str) -> None:
        for name in list(os.environ):
            if name.startswith("CONSENT_LEDGER_"):
                monkeypatch.delenv(name)
        for name, value in {"LEDGER_NAME": NAME, **settings}.items():
            monkeypatch.setenv(f"CONSENT_LEDGER_{name}", value)

    return set_only


def test_sign_says_which_setting_does_not_fit(setting: Callable[..., None]) -> None:
    there = {"KAFKA": "nowhere:1", "SIGNER_DATABASE": "postgresql://nowhere:1/x"}
    setting(KAFKA="nowhere:1")
    with pytest.raises(ConfigurationError, match="CONSENT_LEDGER_SIGNER_DATABASE"):
        sign.sign()
    setting(**there)
    with pytest.raises(ConfigurationError, match="CONSENT_LEDGER_CHECKPOINT_KEY"):
        sign.sign()
    for secret in ("SECRET", RECEIPTS.secret, "\n".join([KEY.secret] * 3), "PRIVATE+KEY+x+SECRET"):
        setting(**there, CHECKPOINT_KEY=secret)
        with pytest.raises(ConfigurationError, match="CONSENT_LEDGER_CHECKPOINT_KEY") as said:
            sign.sign()
        assert "SECRET" not in str(said.value)
    setting(**there, CHECKPOINT_KEY=KEY.secret, CHECKPOINT_VKEYS=json.dumps([OTHER.verifier.vkey]))
    with pytest.raises(ConfigurationError) as said:
        sign.sign()
    assert KEY.verifier.vkey in str(said.value)


@pytest.mark.parametrize(
    ("vkeys", "named"),
    [([], "CONSENT_LEDGER_CHECKPOINT_VKEYS"), (["x"], "verifier key"), ([KEY.verifier.vkey], "CONSENT_LEDGER_KAFKA")],
)
def test_checkpoint_says_which_setting_is_missing(setting: Callable[..., None], vkeys: list[str], named: str) -> None:
    setting(CHECKPOINT_VKEYS=json.dumps(vkeys))
    with pytest.raises(ConfigurationError, match=named):
        sign.checkpoint(None, None, None)

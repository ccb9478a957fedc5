"""Settings come from the environment or one file, secrets never show, and a missing one is named."""

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydantic import SecretStr

from api.settings import CONFIG_FILE, Settings, documentation, secret_file
from ledger.errors import ConfigurationError, InvalidNote
from ledger.tree.note import Signer
from ledger.vault.keys import KeyEncryptionKey


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in list(os.environ):
        if name.startswith("CONSENT_LEDGER_"):
            monkeypatch.delenv(name)


def test_the_environment_goes_before_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "ledger.conf"
    file.write_text(
        'CONSENT_LEDGER_KAFKA=file:9092\nCONSENT_LEDGER_TOPIC=from.file\nOTHER=x\nCONSENT_LEDGER_PORT="81"\n'
    )
    monkeypatch.setenv(CONFIG_FILE, str(file))
    monkeypatch.setenv("CONSENT_LEDGER_KAFKA", "environment:9092")
    settings = Settings()
    assert (settings.kafka, settings.topic, settings.port) == ("environment:9092", "from.file", 81)


def test_a_configuration_file_that_is_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(CONFIG_FILE, str(tmp_path / "none"))
    with pytest.raises(ConfigurationError, match=CONFIG_FILE):
        Settings()


def test_a_secret_comes_from_its_variable_or_its_file_and_does_not_show(tmp_path: Path) -> None:
    kek = KeyEncryptionKey.generate()
    (tmp_path / "kek").write_text(kek.text + "\n")
    for settings in (Settings(vault_key=SecretStr(kek.text)), Settings(vault_key_file=tmp_path / "kek")):
        assert settings.key_encryption_key().id == kek.id
        assert kek.text not in repr(settings)


def test_a_missing_secret_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="CONSENT_LEDGER_VAULT_KEY_FILE"):
        Settings().key_encryption_key()
    with pytest.raises(ConfigurationError, match="CONSENT_LEDGER_RECEIPTS_KEY_FILE"):
        Settings(receipts_key_file=tmp_path / "none").receipts_signer()


def test_the_receipts_key_is_named_after_the_ledger() -> None:
    own, other = Signer.generate("city/receipts"), Signer.generate("other/receipts")
    assert Settings(ledger_name="city", receipts_key=SecretStr(own.secret)).receipts_signer().name == "city/receipts"
    with pytest.raises(ConfigurationError):
        Settings(ledger_name="city", receipts_key=SecretStr(other.secret)).receipts_signer()
    with pytest.raises(InvalidNote):
        Settings(ledger_name="city", receipts_key=SecretStr("PRIVATE+KEY+x")).receipts_signer()


def test_the_documentation_lists_every_setting() -> None:
    text = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text("utf-8")
    assert documentation() in text, "write docs/configuration.md anew from api.settings.documentation()"


def test_a_secret_file_is_made_once_whoever_comes_first(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "secret"
    with ThreadPoolExecutor(16) as pool:
        found = set(pool.map(lambda i: secret_file(path, f"secret-{i}"), range(64)))
    assert found == {path.read_text().strip()}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [p.name for p in path.parent.iterdir()] == ["secret"]

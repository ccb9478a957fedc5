"""The port `KeyWrapper`: one suite for our own key, a ring of keys, and a key management service."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydantic import SecretStr

from api.settings import Settings
from ledger.errors import ConfigurationError, Unavailable
from ledger.vault import kms
from ledger.vault.keys import KEK_BYTES, KeyEncryptionKey, KeyRing, KeyWrapper
from tests.kms import GENERATION

OLD, NEW = KeyEncryptionKey(bytes(KEK_BYTES)), KeyEncryptionKey(bytes(range(KEK_BYTES)))
WRAPPERS: dict[str, Callable[[], KeyWrapper]] = {
    "key": lambda: NEW,
    "ring": lambda: KeyRing(NEW, [OLD]),
    "service": lambda: kms.load("tests.kms:TownKms"),
    "ring with a service": lambda: KeyRing(kms.load("tests.kms:TownKms"), [OLD]),
}
SECRET = bytes(range(100, 132))


@pytest.fixture(params=WRAPPERS)
def wrapper(request: pytest.FixtureRequest) -> KeyWrapper:
    return WRAPPERS[request.param]()


@pytest.mark.parametrize("size", [32, 64])
def test_what_was_wrapped_unwraps_and_does_not_show(wrapper: KeyWrapper, size: int) -> None:
    secret = os.urandom(size)
    wrapped = wrapper.wrap(secret, "res_7f2c", "k_1")
    assert secret not in wrapped
    assert wrapper.unwrap(wrapped, "res_7f2c", "k_1", wrapper.id) == secret


def test_it_unwraps_for_its_own_row_alone(wrapper: KeyWrapper) -> None:
    wrapped = wrapper.wrap(SECRET, "res_7f2c", "k_1")
    for subject, key_id in (("res_0000", "k_1"), ("res_7f2c", "k_2"), ("", "k_1")):
        with pytest.raises(ConfigurationError):
            wrapper.unwrap(wrapped, subject, key_id, wrapper.id)


def test_an_altered_or_cut_one_does_not_unwrap(wrapper: KeyWrapper) -> None:
    wrapped = wrapper.wrap(SECRET, "res_7f2c", "k_1")
    for i in range(len(wrapped)):
        altered = wrapped[:i] + bytes([wrapped[i] ^ 1]) + wrapped[i + 1 :]
        with pytest.raises(ConfigurationError):
            wrapper.unwrap(altered, "res_7f2c", "k_1", wrapper.id)
    with pytest.raises(ConfigurationError):
        wrapper.unwrap(wrapped[:-1], "res_7f2c", "k_1", wrapper.id)


def test_what_an_unknown_key_wrapped_is_a_matter_of_configuration(wrapper: KeyWrapper) -> None:
    stranger = KeyEncryptionKey.generate()
    with pytest.raises(ConfigurationError):
        wrapper.unwrap(stranger.wrap(SECRET, "res_7f2c", "k_1"), "res_7f2c", "k_1", stranger.id)


def test_its_id_stays_and_says_nothing_of_the_key(wrapper: KeyWrapper) -> None:
    assert wrapper.id == wrapper.id
    assert 0 < len(wrapper.id) <= 256
    assert wrapper.id not in NEW.text


def test_many_threads_may_use_it(wrapper: KeyWrapper) -> None:
    def both(i: int) -> bool:
        wrapped = wrapper.wrap(SECRET, f"res_{i}", f"k_{i}")
        return wrapper.unwrap(wrapped, f"res_{i}", f"k_{i}", wrapper.id) == SECRET

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(both, range(200)))


# --- what is each one's own -------------------------------------------------------------------------------------


def test_a_ring_wraps_by_its_current_key_and_unwraps_what_older_ones_wrapped() -> None:
    ring = KeyRing(NEW, [OLD])
    assert ring.id == NEW.id
    assert ring.unwrap(OLD.wrap(SECRET, "res_1", "k_1"), "res_1", "k_1", OLD.id) == SECRET
    assert NEW.unwrap(ring.wrap(SECRET, "res_1", "k_1"), "res_1", "k_1", NEW.id) == SECRET


def test_a_service_unwraps_by_its_own_older_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    before = KeyRing(kms.load("tests.kms:TownKms"))
    wrapped = before.wrap(SECRET, "res_1", "k_1")
    monkeypatch.setenv(GENERATION, "2")
    after = KeyRing(kms.load("tests.kms:TownKms"))
    assert (before.id, after.id) == ("town-kms/1", "town-kms/2")
    assert after.unwrap(wrapped, "res_1", "k_1", before.id) == SECRET


def test_a_service_that_fails_is_unavailable_and_its_words_go_no_further() -> None:
    with pytest.raises(Unavailable) as caught:
        kms.load("tests.kms:BrokenKms").wrap(SECRET, "res_1", "k_1")
    assert "10.0.0.7" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("tests.kms", "module:Class"),
        (":TownKms", "module:Class"),
        ("tests.kms:no-class", "module:Class"),
        ("no.such.module:Kms", "cannot be imported"),
        ("tests.kms:Nothing", "no such class"),
        ("tests.kms:GENERATION", "no such class"),
        ("tests.kms:NoKms", "no id, wrap, unwrap"),
    ],
)
def test_a_service_that_cannot_be_had_is_named_by_its_setting(name: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match="CONSENT_LEDGER_VAULT_KMS") as caught:
        kms.load(name)
    assert says in str(caught.value)


def test_settings_make_the_ring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in os.environ if n.startswith("CONSENT_LEDGER_")]:
        monkeypatch.delenv(name)
    file = tmp_path / "old"
    file.write_text(f"{OLD.text}\n\n{KeyEncryptionKey.generate().text}\n")
    wrapped = OLD.wrap(SECRET, "res_1", "k_1")
    ring = Settings(vault_key=SecretStr(NEW.text), vault_old_keys_file=file).key_wrapper()
    assert (ring.id, ring.unwrap(wrapped, "res_1", "k_1", OLD.id)) == (NEW.id, SECRET)
    # On the way to a service, the key that wrapped until then still reads.
    service = Settings(vault_kms="tests.kms:TownKms", vault_key=SecretStr(OLD.text)).key_wrapper()
    assert (service.id, service.unwrap(wrapped, "res_1", "k_1", OLD.id)) == ("town-kms/1", SECRET)
    assert Settings(vault_kms="tests.kms:TownKms").key_wrapper().id == "town-kms/1"
    with pytest.raises(ConfigurationError, match="CONSENT_LEDGER_VAULT_KEY"):
        Settings().key_wrapper()

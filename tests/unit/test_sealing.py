"""Free text is sealed for its resident, its event and its field; the same text of the same event to the same bytes."""

import base64
from typing import Any

import msgspec
import orjson
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from ledger import codec
from ledger.errors import ConfigurationError, Erased, LogError, UnknownKey
from ledger.events import KINDS, Event
from ledger.vault import ResidentKey, needs_key, seal, unseal
from ledger.vault.keys import KEK_BYTES, KeyEncryptionKey
from ledger.vault.sealing import associated_data, key_ids

KEY = ResidentKey("k_1", bytes(range(32)))
DATA: dict[str, dict[str, Any]] = {
    "data.contested": {"contest_id": "k1", "categories": ["email"], "claim": "TEXT"},
    "contest.resolved": {"contest_id": "k1", "outcome": "upheld", "answer": "TEXT"},
    "complaint.filed": {"complaint_id": "k1", "kind": "complaint", "text": "TEXT"},
    "complaint.resolved": {"complaint_id": "k1", "outcome": "settled", "answer": "TEXT"},
    "access.answered": {"request_id": "q1", "outcome": "granted", "answer": "TEXT"},
}


def made(kind: str, text: str = "my neighbour's letter", **envelope: str) -> Event:
    data = {name: text if value == "TEXT" else value for name, value in DATA[kind].items()}
    whole = {
        "specversion": "1.0",
        "id": "e1",
        "source": "/my",
        "type": KINDS[kind].type,
        "subject": "res_7f2c",
        "time": "2026-03-03T12:00:00Z",
        "datacontenttype": "application/json",
        "data": data,
    }
    return codec.parse(orjson.dumps({**whole, **envelope}))


def test_the_kinds_with_free_text_are_those_of_the_contract() -> None:
    with_text = [
        e.kind
        for e in KINDS.values()
        if next(f for f in msgspec.structs.fields(e) if f.name == "data").type.sealed_fields
    ]
    assert sorted(with_text) == sorted(DATA)


@pytest.mark.parametrize("kind", sorted(DATA))
@pytest.mark.parametrize("text", ["", "x", "señor Nguyễn — 日本", "x" * 4_000])
def test_what_is_sealed_opens_again_and_shows_nothing_meanwhile(kind: str, text: str) -> None:
    event = made(kind, text)
    sealed = seal(event, KEY)
    assert needs_key(event)
    assert not needs_key(sealed)
    if len(text) > 10:
        assert text.encode() not in codec.encode(sealed)
    assert codec.read(codec.encode(sealed)) == sealed
    assert unseal(sealed, {KEY.id: KEY}) == event
    assert key_ids([sealed, sealed, event]) == [KEY.id]


def test_the_same_event_seals_to_the_same_bytes_and_any_other_to_others() -> None:
    def ciphertext(**envelope: str) -> str:
        return str(seal(made("complaint.filed", **envelope), KEY).data.text.sealed.ciphertext)

    first = ciphertext()
    assert ciphertext() == first
    assert ciphertext(time="2026-03-04T12:00:00Z") == first
    others = [ciphertext(id="e2"), ciphertext(source="/x"), ciphertext(subject="res_0000")]
    assert len({first, *others}) == 4


def test_the_format_is_the_documented_one() -> None:
    """docs/spec/sealing.md: what an outsider with a resident's key does."""
    event = made("complaint.filed")
    text = seal(event, KEY).data.text.sealed
    associated = b'["/my","e1","res_7f2c","text"]'
    assert associated_data(event, "text") == associated
    assert AESSIV(KEY.secret).decrypt(base64.b64decode(text.ciphertext), [associated]) == b"my neighbour's letter"
    assert text.key == KEY.id


def test_a_ciphertext_moved_to_another_event_does_not_open() -> None:
    sealed = seal(made("complaint.filed"), KEY)
    for moved in (msgspec.structs.replace(sealed, id="e2"), msgspec.structs.replace(sealed, subject="res_0000")):
        with pytest.raises(LogError):
            unseal(moved, {KEY.id: KEY})


def test_a_destroyed_key_reads_as_erased_and_an_unknown_one_is_an_error() -> None:
    sealed = seal(made("complaint.filed"), KEY)
    with pytest.raises(Erased):
        unseal(sealed, {KEY.id: None})
    with pytest.raises(UnknownKey):
        unseal(sealed, {})
    with pytest.raises(Erased):
        seal(made("complaint.filed"), None)


def test_a_key_does_not_show_itself() -> None:
    assert KEY.secret.hex() not in repr(KEY)
    assert str(KEY.secret) not in f"{KEY}"


def test_a_resident_s_key_is_wrapped_for_its_row_alone() -> None:
    kek = KeyEncryptionKey(bytes(KEK_BYTES))
    wrapped = kek.wrap(KEY.secret, "res_7f2c", "k_1")
    assert KEY.secret not in wrapped
    assert kek.unwrap(wrapped, "res_7f2c", "k_1", kek.id) == KEY.secret
    another = KeyEncryptionKey(bytes(range(KEK_BYTES)))
    assert another.id != kek.id
    for opener, subject, key_id in ((kek, "res_0000", "k_1"), (kek, "res_7f2c", "k_2"), (another, "res_7f2c", "k_1")):
        with pytest.raises(ConfigurationError):
            opener.unwrap(wrapped, subject, key_id, kek.id)


@pytest.mark.parametrize("text", ["", "x", "AAAA", "é" * 90])
def test_a_key_encryption_key_of_another_form_is_refused_without_showing_it(text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        KeyEncryptionKey.parse(text)
    assert not text or text not in str(caught.value)

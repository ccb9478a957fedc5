"""Sealing: free text becomes ciphertext under the resident's key before the ledger appends it.

AES-SIV (RFC 5297) with the resident's 256-bit key, which is AES-128 in SIV mode (AEAD_AES_SIV_CMAC_256), no nonce,
and one associated data string: the JSON array [source, id, subject, field]. So the same event sent again seals to the
same bytes, and a ciphertext moved to another event or field does not open.

>>> from ledger.events import KINDS
>>> event = KINDS["data.contested"](id="e1", source="/my", subject="res_7f2c", time="2026-03-03T12:00:00Z",
...     data={"contest_id": "k1", "categories": ("email",), "claim": "not mine"})
>>> import msgspec
>>> event = msgspec.convert(msgspec.to_builtins(event), type(event))
>>> key = ResidentKey("k-1", bytes(range(32)))
>>> sealed = seal(event, key)
>>> sealed.data.claim.sealed.key, len(sealed.data.claim.sealed.ciphertext)
('k-1', 32)
>>> seal(event, key) == sealed, unseal(sealed, {"k-1": key}) == event
(True, True)

No I/O: keys come in as arguments. Nothing here puts clear text into an error.
"""

from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import msgspec
import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from ledger.errors import Erased, LogError, UnknownKey
from ledger.events import Event, Sealed, SealedText

KEY_BYTES = 32


class ResidentKey(NamedTuple):
    """A resident's key: its opaque random `id`, which records name, and the `secret` (32 bytes)."""

    id: str
    secret: bytes

    def __repr__(self) -> str:
        return f"ResidentKey(id={self.id!r})"


def needs_key(event: Event) -> bool:
    """Whether the event has a field that is still to be sealed."""
    names = event.data.sealed_fields
    return bool(names) and any(isinstance(getattr(event.data, name), str) for name in names)


def seal(event: Event, key: ResidentKey | None) -> Event:
    """The event with its free text sealed; raises `Erased` when the resident's key was destroyed (None)."""
    if not needs_key(event):
        return event
    if key is None:
        raise Erased("this resident's key was destroyed: nothing can be sealed for them any more")
    cipher = AESSIV(key.secret)
    changes: dict[str, Any] = {}
    for name in event.data.sealed_fields:
        text = getattr(event.data, name)
        if isinstance(text, str):
            ciphertext = cipher.encrypt(text.encode(), [associated_data(event, name)])
            changes[name] = Sealed(SealedText(key.id, b64encode(ciphertext).decode("ascii")))
    return msgspec.structs.replace(event, data=msgspec.structs.replace(event.data, **changes))


def unseal(event: Event, keys: Mapping[str, ResidentKey | None]) -> Event:
    """The event with its free text in the clear.

    `keys` holds what the vault knows of the ids that the event names. Raises `Erased` for a destroyed key (None),
    `UnknownKey` for one that is not there, `LogError` when the ciphertext does not open.
    """
    changes: dict[str, Any] = {}
    for name in event.data.sealed_fields:
        value = getattr(event.data, name)
        if isinstance(value, Sealed):
            changes[name] = _open(value.sealed, associated_data(event, name), keys)
    if not changes:
        return event
    return msgspec.structs.replace(event, data=msgspec.structs.replace(event.data, **changes))


def key_ids(events: Iterable[Event]) -> list[str]:
    """The ids of the keys that unsealing these events takes, each once, in order of appearance."""
    found: dict[str, None] = {}
    for event in events:
        for name in event.data.sealed_fields:
            value = getattr(event.data, name)
            if isinstance(value, Sealed):
                found[value.sealed.key] = None
    return list(found)


def associated_data(event: Event, field: str) -> bytes:
    """What a ciphertext is bound to: the JSON array [source, id, subject, field], without spaces."""
    return orjson.dumps([event.source, event.id, event.subject, field])


def _open(sealed: SealedText, associated: bytes, keys: Mapping[str, ResidentKey | None]) -> str:
    if sealed.key not in keys:
        raise UnknownKey("a sealed field names a key that the vault has never held")
    key = keys[sealed.key]
    if key is None:
        raise Erased("this field was erased: the resident's key was destroyed")
    try:
        return AESSIV(key.secret).decrypt(b64decode(sealed.ciphertext), [associated]).decode()
    except (InvalidTag, ValueError):
        raise LogError("a sealed field does not open with its key: the record or the vault was altered") from None

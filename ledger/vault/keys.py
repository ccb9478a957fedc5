"""The key-encryption key (KEK): residents' keys are wrapped by it before they are stored.

AES-SIV with a 512-bit key, and as associated data the JSON array [subject, key id, KEK id]: a wrapped key that is
moved to another row, or was wrapped by another KEK, does not unwrap.

>>> kek = KeyEncryptionKey.parse(KeyEncryptionKey.generate().text)
>>> wrapped = kek.wrap(bytes(32), "res_7f2c", "k-1")
>>> kek.unwrap(wrapped, "res_7f2c", "k-1", kek.id) == bytes(32)
True
>>> kek.unwrap(wrapped, "res_0000", "k-1", kek.id)
Traceback (most recent call last):
ledger.errors.ConfigurationError: a resident's key does not unwrap: the vault's key is another one, or a row was altered

A ring wraps by its current key and still unwraps what older ones wrapped, so that a key can be replaced:

>>> ring = KeyRing(KeyEncryptionKey.generate(), [kek])
>>> ring.unwrap(wrapped, "res_7f2c", "k-1", kek.id) == bytes(32), ring.id == kek.id
(True, False)
"""

import hmac
import os
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Sequence
from typing import Protocol

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from ledger.errors import ConfigurationError

KEK_BYTES = 64
_ID_CONTEXT = b"consent-ledger/vault-key-id/v1"


class KeyWrapper(Protocol):
    """What wraps residents' keys: our own KEK, a ring of them, or a key management service.

    Its methods are called from several threads. Tests of the port: tests/contract/test_vault_wrappers.py.
    """

    @property
    def id(self) -> str:
        """Names the key that wraps now; kept beside what it wrapped."""

    def wrap(self, secret: bytes, subject: str, key_id: str) -> bytes:
        """The secret, wrapped for this subject and key id: it unwraps for no other."""

    def unwrap(self, wrapped: bytes, subject: str, key_id: str, wrapping_key_id: str) -> bytes:
        """What was wrapped when the id was `wrapping_key_id`.

        Raises `ConfigurationError` when it does not unwrap, and `Unavailable` when the service is away.
        """


class KeyEncryptionKey:
    """A KEK held in this process, from the environment or a file."""

    def __init__(self, secret: bytes) -> None:
        if len(secret) != KEK_BYTES:
            raise ConfigurationError(f"the vault's key is {KEK_BYTES} bytes in base64")
        self._secret = secret
        self._cipher = AESSIV(secret)
        self.id = hmac.digest(secret, _ID_CONTEXT, "sha256")[:8].hex()

    @classmethod
    def generate(cls) -> "KeyEncryptionKey":
        """A new random KEK."""
        return cls(os.urandom(KEK_BYTES))

    @classmethod
    def parse(cls, text: str) -> "KeyEncryptionKey":
        """Reads the base64 of a KEK; raises `ConfigurationError` without the text."""
        try:
            return cls(b64decode(text.strip(), validate=True))
        except (Base64Error, ValueError):
            raise ConfigurationError(f"the vault's key is {KEK_BYTES} bytes in base64") from None

    @property
    def text(self) -> str:
        """The KEK in base64: keep it where only the vault's process reads it."""
        return b64encode(self._secret).decode("ascii")

    def wrap(self, secret: bytes, subject: str, key_id: str) -> bytes:
        """The secret, wrapped for this subject and key id."""
        return self._cipher.encrypt(secret, [self._context(subject, key_id)])

    def unwrap(self, wrapped: bytes, subject: str, key_id: str, wrapping_key_id: str) -> bytes:
        """The secret; raises `ConfigurationError` when it does not unwrap."""
        if wrapping_key_id != self.id:
            raise ConfigurationError(
                "the vault holds keys wrapped by another key: give the one they were made with as "
                "CONSENT_LEDGER_VAULT_KEY, or name it in the file of CONSENT_LEDGER_VAULT_OLD_KEYS_FILE"
            )
        try:
            return self._cipher.decrypt(wrapped, [self._context(subject, key_id)])
        except (InvalidTag, ValueError):
            raise ConfigurationError(
                "a resident's key does not unwrap: the vault's key is another one, or a row was altered"
            ) from None

    def _context(self, subject: str, key_id: str) -> bytes:
        return orjson.dumps([subject, key_id, self.id])


class KeyRing:
    """The current key wraps; it and older ones unwrap. An id that none of them has is the current one's to answer."""

    def __init__(self, current: KeyWrapper, older: Sequence[KeyWrapper] = ()) -> None:
        self._current = current
        self._older = {wrapper.id: wrapper for wrapper in older}

    @property
    def id(self) -> str:
        """Names the key that wraps now."""
        return self._current.id

    def wrap(self, secret: bytes, subject: str, key_id: str) -> bytes:
        """The secret, wrapped by the current key."""
        return self._current.wrap(secret, subject, key_id)

    def unwrap(self, wrapped: bytes, subject: str, key_id: str, wrapping_key_id: str) -> bytes:
        """The secret, by whichever key wrapped it."""
        current = self._current
        opener = current if wrapping_key_id == current.id else self._older.get(wrapping_key_id, current)
        return opener.unwrap(wrapped, subject, key_id, wrapping_key_id)

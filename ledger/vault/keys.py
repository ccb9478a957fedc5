"""Wrapping residents' keys by a key-encryption key (KEK), so that the vault's tables alone open nothing.

The KEK is 512 random bits, which AES-SIV uses as AES-256 (AEAD_AES_SIV_CMAC_512). What wraps is bound to resident
and key id: a wrapped key moved to another row does not unwrap. A KMS fits the same port, `KeyWrapper`.

>>> kek = KeyEncryptionKey.parse(KeyEncryptionKey.generate().text)
>>> wrapped = kek.wrap(bytes(32), "res_7f2c", "k-1")
>>> kek.unwrap(wrapped, "res_7f2c", "k-1") == bytes(32)
True
>>> kek.unwrap(wrapped, "res_0000", "k-1")
Traceback (most recent call last):
ledger.errors.ConfigurationError: a resident's key does not unwrap: the vault's key is another one, or a row was altered
"""

import hmac
import os
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from typing import Protocol

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from ledger.errors import ConfigurationError

KEK_BYTES = 64
_ID_CONTEXT = b"consent-ledger/vault-key-id/v1"


class KeyWrapper(Protocol):
    """What wraps residents' keys: our own KEK, or a key management service."""

    @property
    def id(self) -> str:
        """Names the wrapping key, so that a vault can hold keys wrapped by an older one too."""

    def wrap(self, secret: bytes, subject: str, key_id: str) -> bytes:
        """The resident's key, wrapped."""

    def unwrap(self, wrapped: bytes, subject: str, key_id: str) -> bytes:
        """The resident's key; raises `ConfigurationError` when it does not unwrap."""


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
        """The resident's key, wrapped for this resident and key id."""
        return self._cipher.encrypt(secret, [self._context(subject, key_id)])

    def unwrap(self, wrapped: bytes, subject: str, key_id: str) -> bytes:
        """The resident's key; raises `ConfigurationError` when it does not unwrap."""
        try:
            return self._cipher.decrypt(wrapped, [self._context(subject, key_id)])
        except (InvalidTag, ValueError):
            raise ConfigurationError(
                "a resident's key does not unwrap: the vault's key is another one, or a row was altered"
            ) from None

    def _context(self, subject: str, key_id: str) -> bytes:
        return orjson.dumps([subject, key_id, self.id])

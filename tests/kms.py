"""A key management service for tests: keys that never leave it, random nonces, and a key of its own that it rotates."""

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ledger.errors import ConfigurationError

_NONCE_BYTES = 12
GENERATION = "TEST_KMS_GENERATION"


class TownKms:
    """As a service behaves: its newest key wraps, all of its keys unwrap."""

    def __init__(self) -> None:
        self._generation = int(os.environ.get(GENERATION, "1"))
        self._keys = {f"town-kms/{n}": bytes([n]) * 32 for n in range(1, self._generation + 1)}

    @property
    def id(self) -> str:
        return f"town-kms/{self._generation}"

    def wrap(self, secret: bytes, subject: str, key_id: str) -> bytes:
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + AESGCM(self._keys[self.id]).encrypt(nonce, secret, f"{subject} {key_id}".encode())

    def unwrap(self, wrapped: bytes, subject: str, key_id: str, wrapping_key_id: str) -> bytes:
        key = self._keys.get(wrapping_key_id)
        if key is None:
            raise ConfigurationError("the service has no such key")
        try:
            context = f"{subject} {key_id}".encode()
            return AESGCM(key).decrypt(wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], context)
        except InvalidTag:
            raise ConfigurationError("the service does not unwrap this") from None


class BrokenKms(TownKms):
    """A service that is away."""

    def wrap(self, secret: bytes, subject: str, key_id: str) -> bytes:
        raise OSError("the line to 10.0.0.7 is down")


class NoKms:
    """Not a service at all."""

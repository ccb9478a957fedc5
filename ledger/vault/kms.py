"""A key management service instead of a key of our own: any class with the port `ledger.vault.keys.KeyWrapper`.

    CONSENT_LEDGER_VAULT_KMS=city.kms:CloudKeys

The class is made without arguments, so it reads its own settings; what it raises that is not ours is `Unavailable`, as
a service's errors mostly are, and its texts go no further.

>>> load("no-colon")
Traceback (most recent call last):
ledger.errors.ConfigurationError: CONSENT_LEDGER_VAULT_KMS names a class as module:Class
"""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ledger.errors import ConfigurationError, ConsentLedgerError, Unavailable

_VARIABLE = "CONSENT_LEDGER_VAULT_KMS"


def load(name: str) -> "Kms":
    """The service that `module:Class` names; raises `ConfigurationError` that says what is wrong."""
    module_name, colon, class_name = name.partition(":")
    if not (colon and module_name and class_name.isidentifier()):
        raise ConfigurationError(f"{_VARIABLE} names a class as module:Class")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise ConfigurationError(
            f"the module of {_VARIABLE} cannot be imported ({type(error).__name__}): is it installed?"
        ) from None
    made = getattr(module, class_name, None)
    if not isinstance(made, type):
        raise ConfigurationError(f"the module of {_VARIABLE} has no such class")
    try:
        service = made()
    except ConsentLedgerError:
        raise
    except Exception as error:
        raise ConfigurationError(f"the class of {_VARIABLE} cannot be made ({type(error).__name__})") from None
    missing = [member for member in ("id", "wrap", "unwrap") if member not in dir(service)]
    if missing:
        raise ConfigurationError(f"the class of {_VARIABLE} is no key wrapper: it has no {', '.join(missing)}")
    return Kms(service)


class Kms:
    """A service as a `KeyWrapper`, with its errors as ours."""

    def __init__(self, service: Any) -> None:
        self._service = service

    @property
    def id(self) -> str:
        """Names the service's key."""
        with _translated():
            return str(self._service.id)

    def wrap(self, secret: bytes, subject: str, key_id: str) -> bytes:
        """The secret, wrapped by the service."""
        with _translated():
            return bytes(self._service.wrap(secret, subject, key_id))

    def unwrap(self, wrapped: bytes, subject: str, key_id: str, wrapping_key_id: str) -> bytes:
        """The secret, unwrapped by the service."""
        with _translated():
            return bytes(self._service.unwrap(wrapped, subject, key_id, wrapping_key_id))


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except ConsentLedgerError:
        raise
    except Exception as error:
        raise Unavailable(f"the key management service failed ({type(error).__name__})") from None

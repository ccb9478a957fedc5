"""eventsourcing's own shipped test cases, importable without PyCryptodome.

Their module imports the library's AES cipher, for cases about encrypted mappers that do not concern us; that cipher
needs PyCryptodome, which nothing here uses. So the import finds an empty stand-in, which is taken away again.
"""

import sys
from types import ModuleType

_STAND_INS = ("Crypto", "Crypto.Cipher", "Crypto.Cipher.AES", "Crypto.Cipher._mode_gcm")

for _name in _STAND_INS:
    sys.modules[_name] = ModuleType(_name)
sys.modules["Crypto.Cipher"].AES = sys.modules["Crypto.Cipher.AES"]  # type: ignore[attr-defined]
sys.modules["Crypto.Cipher.AES"].key_size = ()  # type: ignore[attr-defined]
sys.modules["Crypto.Cipher._mode_gcm"].GcmMode = object  # type: ignore[attr-defined]
try:
    from eventsourcing.tests.persistence import ApplicationRecorderTestCase, TrackingRecorderTestCase
finally:
    for _name in (*_STAND_INS, "eventsourcing.cipher"):
        del sys.modules[_name]

__all__ = ["ApplicationRecorderTestCase", "TrackingRecorderTestCase"]

"""Receipt codes: how someone without an account comes back to what they said.

A code is a random secret of 128 bits in Crockford's base32 with its check symbol (value mod 37): 27 symbols in three
groups. It is shown once and kept nowhere; the vault keeps an HMAC of it under a key that the vault's key wraps
(`ledger.vault.logins`), which leads to the pseudonym. Letters that look like digits are read as these:

>>> code = encode(bytes(range(16)))
>>> code
'000410610-50R3GG28A-1C60T3GF6'
>>> parse(code) == parse(code.lower().replace("0", "o").replace("1", "l")) == bytes(range(16))
True
>>> parse(code[:-1] + "Z") is None, parse("") is None
(True, True)

    codes = ReceiptCodes(logins)
    code = codes.make("res_7f2c")
    codes.subject_of(code)                # "res_7f2c"; None for a code that is none, or after its erasure

Secrets whose check symbol would be one of `* ~ $ =` are drawn again, so that a code may stand in an HTTP header as
it is (token68 of RFC 9110); that takes 0.2 of the 128 bits.
"""

import re
import secrets

from ledger.vault.logins import LoginMap

SECRET_BYTES = 16
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_CHECKS = _ALPHABET + "*~$=U"
_PLAIN_CHECKS = {index for index, symbol in enumerate(_CHECKS) if symbol.isalnum()}
_SYMBOLS, _GROUP = 26, 9
_VALUES = {symbol: value for value, symbol in enumerate(_ALPHABET)}
_READ_AS = str.maketrans("OIL", "011", "- ")
_WRITTEN = re.compile(r"[0-9A-Za-z -]{27,40}", re.ASCII)
_CONTEXT = b"consent-ledger/anonymous-receipt/v1"


def encode(secret: bytes) -> str:
    """The code of a secret of 16 bytes."""
    assert len(secret) == SECRET_BYTES, "a secret has 128 bits"
    value = int.from_bytes(secret, "big")
    symbols = "".join(_ALPHABET[value >> 5 * place & 31] for place in reversed(range(_SYMBOLS)))
    written = symbols + _CHECKS[value % len(_CHECKS)]
    return "-".join(written[at : at + _GROUP] for at in range(0, len(written), _GROUP))


def parse(text: str) -> bytes | None:
    """The secret that a code stands for; None when it is none, or was mistyped."""
    if not _WRITTEN.fullmatch(text):
        return None
    symbols = text.upper().translate(_READ_AS)
    if len(symbols) != _SYMBOLS + 1 or any(symbol not in _VALUES for symbol in symbols[:-1]):
        return None
    value = 0
    for symbol in symbols[:-1]:
        value = value << 5 | _VALUES[symbol]
    if value >> 8 * SECRET_BYTES or _CHECKS[value % len(_CHECKS)] != symbols[-1]:
        return None
    return value.to_bytes(SECRET_BYTES, "big")


def fresh_secret() -> bytes:
    """A secret whose code is made of digits and letters alone."""
    while True:
        secret = secrets.token_bytes(SECRET_BYTES)
        if int.from_bytes(secret, "big") % len(_CHECKS) in _PLAIN_CHECKS:
            return secret


class ReceiptCodes:
    """Codes and the pseudonyms that they lead to. Used from one thread or several."""

    def __init__(self, logins: LoginMap) -> None:
        self._logins = logins

    def make(self, subject: str) -> str:
        """A new code that leads to this pseudonym, from now on."""
        secret = fresh_secret()
        self._logins.remember(self._logins.keyed(_CONTEXT, secret), subject)
        return encode(secret)

    def subject_of(self, code: str) -> str | None:
        """The pseudonym that a code leads to; None when there is none, or when it was erased."""
        secret = parse(code)
        return None if secret is None else self._logins.remembered(self._logins.keyed(_CONTEXT, secret))

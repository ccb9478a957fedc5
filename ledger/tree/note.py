"""Signed notes (C2SP signed-note, Ed25519): text that carries signatures, and the keys that check them.

A note is text, an empty line, and one line for each signature. Verifier keys (*vkeys*) are what an outsider
is given, over another road than the notes:

>>> signer = Signer.from_seed("ledger.example/receipts", bytes(32))
>>> signer.verifier.vkey
'ledger.example/receipts+1e6f5a1c+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop'
>>> raw = sign("one line\\n", [signer])
>>> print(raw.decode(), end="")
one line
<BLANKLINE>
— ledger.example/receipts Hm9aHJPmp8wSff7rPv/TKAtcHu5ks4SBq80Kd9nmuuW1E8p/Ut2yTi9SKeyIoZZa/gFHdY5P73ca8wm5GAsig8QvegQ=
>>> open_note(raw, [Verifier.parse(signer.verifier.vkey)]).verified
('ledger.example/receipts',)

A key's id is `SHA-256(name || 0x0A || 0x01 || public key)[:4]`. Parsers accept one spelling only: loose base64,
a missing final newline, an unknown line, a control character are `InvalidNote`.
"""

import re
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from ledger.errors import InvalidNote

MAX_NOTE_BYTES = 1_000_000
MAX_SIGNATURES = 100
_ED25519 = b"\x01"
_KEY_ID_BYTES = 4
_SIGNATURE_BYTES = 64
_LINE = "\u2014 "
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")
_KEY_ID = re.compile(r"[0-9a-f]{8}", re.ASCII)
_SECRET = "PRIVATE+KEY"  # noqa: S105 - the mark that begins a secret key's text, as in Go's sumdb/note


def key_id(name: str, public_key: bytes) -> bytes:
    """The first four bytes of SHA-256 over name, newline, algorithm and public key."""
    return sha256(name.encode() + b"\n" + _ED25519 + public_key).digest()[:_KEY_ID_BYTES]


@dataclass(frozen=True, slots=True)
class Verifier:
    """A public key under its name."""

    name: str
    key_id: bytes
    public_key: bytes

    @classmethod
    def of(cls, name: str, public_key: bytes) -> "Verifier":
        """The verifier of a raw Ed25519 public key (32 bytes)."""
        _check_name(name)
        return cls(name, key_id(name, public_key), public_key)

    @classmethod
    def parse(cls, vkey: str) -> "Verifier":
        """Reads `name+hex(key id)+base64(0x01 || public key)`; raises `InvalidNote`."""
        # The name holds no plus, the base64 may: split at the first two.
        parts = vkey.split("+", 2)
        if len(parts) != 3 or not _KEY_ID.fullmatch(parts[1]):
            raise InvalidNote("a verifier key is written name+key id+key: take it as the ledger prints it")
        key = _strict_base64(parts[2])
        if len(key) != 33 or key[:1] != _ED25519:
            raise InvalidNote("a verifier key holds an Ed25519 key of 32 bytes")
        verifier = cls.of(parts[0], key[1:])
        if verifier.key_id.hex() != parts[1]:
            raise InvalidNote("the verifier key's id is not that of its name and key: it was mistyped or altered")
        return verifier

    @property
    def vkey(self) -> str:
        """The verifier key as text."""
        return f"{self.name}+{self.key_id.hex()}+{_base64(_ED25519 + self.public_key)}"

    def verify(self, text: str, signature: bytes) -> bool:
        """Whether the signature (64 bytes) is this key's over the text."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public_key).verify(signature, text.encode())
        except (InvalidSignature, ValueError):
            return False
        return True


class Signer:
    """A private key under its name. Its text form (`secret`) is that of Go's `sumdb/note`."""

    def __init__(self, name: str, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.verifier = Verifier.of(name, key.public_key().public_bytes_raw())
        self.name = name

    @classmethod
    def generate(cls, name: str) -> "Signer":
        """A new random key."""
        return cls(name, Ed25519PrivateKey.generate())

    @classmethod
    def from_seed(cls, name: str, seed: bytes) -> "Signer":
        """The key of a seed of 32 bytes."""
        return cls(name, Ed25519PrivateKey.from_private_bytes(seed))

    @classmethod
    def parse(cls, secret: str) -> "Signer":
        """Reads `PRIVATE+KEY+name+key id+base64(0x01 || seed)`; raises `InvalidNote` without the text."""
        parts = secret.strip().split("+", 4)
        if len(parts) != 5 or "+".join(parts[:2]) != _SECRET:
            raise InvalidNote("a signing key begins with PRIVATE+KEY+ and its name")
        key = _strict_base64(parts[4])
        if len(key) != 33 or key[:1] != _ED25519:
            raise InvalidNote("a signing key holds an Ed25519 seed of 32 bytes")
        signer = cls.from_seed(parts[2], key[1:])
        if signer.verifier.key_id.hex() != parts[3]:
            raise InvalidNote("the signing key's id is not that of its name and key: it was mistyped or altered")
        return signer

    @property
    def secret(self) -> str:
        """The private key as text: keep it where only the signer reads it."""
        seed = _base64(_ED25519 + self._key.private_bytes_raw())
        return f"{_SECRET}+{self.name}+{self.verifier.key_id.hex()}+{seed}"

    def sign(self, text: str) -> bytes:
        """The signature (64 bytes) over the text."""
        return self._key.sign(text.encode())


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature line: who says to have signed, with which key, and the signature itself."""

    name: str
    key_id: bytes
    value: bytes

    def line(self) -> str:
        """The line as it stands in a note."""
        return f"{_LINE}{self.name} {_base64(self.key_id + self.value)}\n"


@dataclass(frozen=True, slots=True)
class Note:
    """A note: its text (which ends in a newline), its signatures, and the names whose signatures were checked."""

    text: str
    signatures: tuple[Signature, ...]
    verified: tuple[str, ...] = ()


def sign(text: str, signers: Sequence[Signer], existing: Sequence[Signature] = ()) -> bytes:
    """The note over `text`; `existing` signatures of other keys are kept, before the new ones."""
    _check_text(text)
    new = [Signature(s.name, s.verifier.key_id, s.sign(text)) for s in signers]
    replaced = {(s.name, s.key_id) for s in new}
    kept = [s for s in existing if (s.name, s.key_id) not in replaced]
    return (text + "\n" + "".join(s.line() for s in [*kept, *new])).encode()


def parse(raw: bytes) -> Note:
    """Reads a note without checking any signature; raises `InvalidNote` for any spelling but the one."""
    if len(raw) > MAX_NOTE_BYTES:
        raise InvalidNote(f"a note is at most {MAX_NOTE_BYTES} bytes")
    try:
        whole = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidNote("a note is UTF-8") from None
    # The last empty line ends the text: the text itself may hold empty lines.
    text, found, tail = whole.rpartition("\n\n")
    if not found or not tail.endswith("\n"):
        raise InvalidNote("a note is text, an empty line, and signature lines that each end in a newline")
    text += "\n"
    _check_text(text)
    lines = tail[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise InvalidNote(f"a note has at most {MAX_SIGNATURES} signatures")
    return Note(text, tuple(_signature(line) for line in lines))


def open_note(raw: bytes, verifiers: Sequence[Verifier]) -> Note:
    """Reads a note and checks every signature by a key of `verifiers`; signatures by other keys are let be.

    Raises `InvalidNote` when the note is malformed, a known key's signature is wrong, or no known key signed.
    """
    note = parse(raw)
    known = {(v.name, v.key_id): v for v in verifiers}
    if len(known) != len(verifiers):
        raise InvalidNote("two verifier keys have the same name and id: which one is meant cannot be known")
    verified: list[str] = []
    seen: list[tuple[str, bytes]] = []
    for signature in note.signatures:
        identity = (signature.name, signature.key_id)
        verifier = known.get(identity)
        if verifier is None or identity in seen:
            continue
        seen.append(identity)
        if not verifier.verify(note.text, signature.value):
            raise InvalidNote("a signature by a trusted key is wrong: the note was altered")
        verified.append(signature.name)
    if not verified:
        raise InvalidNote("no trusted key has signed this note")
    return Note(note.text, note.signatures, tuple(verified))


def _signature(line: str) -> Signature:
    name, space, encoded = line.removeprefix(_LINE).partition(" ")
    if not line.startswith(_LINE) or not space:
        raise InvalidNote("a signature line is written — name base64")
    _check_name(name)
    value = _strict_base64(encoded)
    if len(value) <= _KEY_ID_BYTES:
        raise InvalidNote("a signature line holds a key id and a signature")
    return Signature(name, value[:_KEY_ID_BYTES], value[_KEY_ID_BYTES:])


def _check_name(name: str) -> None:
    if not name or "+" in name or not name.isprintable() or any(c.isspace() for c in name):
        raise InvalidNote("a key's name is not empty and holds no space and no plus")


def _check_text(text: str) -> None:
    if not text.endswith("\n") or _CONTROL.search(text):
        raise InvalidNote("a note's text ends in a newline and holds no other control character")


def _base64(raw: bytes) -> str:
    return b64encode(raw).decode("ascii")


def _strict_base64(text: str) -> bytes:
    """Standard base64 in its one spelling: padded, no spare bits, nothing else between."""
    try:
        raw = b64decode(text, validate=True)
    except (Base64Error, ValueError):
        raise InvalidNote("base64 that is not spelled the one way") from None
    if _base64(raw) != text:
        raise InvalidNote("base64 that is not spelled the one way")
    return raw

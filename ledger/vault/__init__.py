"""The vault: each resident's key, and with it the free text that a record holds sealed.

* `sealing` is pure: it seals and unseals an event's fields with keys that it is given.
* `keys` wraps residents' keys by a key-encryption key, `kms` by a service; `rotation` replaces what wraps.
* `store` keeps the wrapped keys in PostgreSQL, in a schema and under a role of their own (`database`).
* `logins` is the map from a person's login to the pseudonym `subject`.
* `erasures` is the table of erasures, and destroys keys and logins.

Destroying a resident's key makes every sealed field of theirs unreadable for ever, and changes no byte of the
log, so every proof stays valid. The format is in docs/spec/sealing.md.
"""

from collections.abc import Sequence
from typing import Protocol

from ledger.vault.sealing import ResidentKey, needs_key, seal, unseal

__all__ = ["ResidentKey", "Vault", "needs_key", "seal", "unseal"]


class Vault(Protocol):
    """The vault as the core sees it. `None` stands for a key that was destroyed."""

    def keys_for(self, subjects: Sequence[str]) -> dict[str, ResidentKey | None]:
        """The key of every resident named, made at first use. Raises `Unavailable` when the vault is away."""

    def keys_by_id(self, key_ids: Sequence[str]) -> dict[str, ResidentKey | None]:
        """The keys that records name; an id that the vault has never held is left out."""

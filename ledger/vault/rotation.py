"""Replacing the vault's key: every wrapped key is wrapped anew by the current one, a bounded batch at a time.

    ring = KeyRing(new, [old])
    for done in rewrap(database, ring):          # how many so far
        ...
    counts(database, ring.id)                    # Counts(current=1042, older=0, destroyed=7, map_key_older=False)

Safe while the API runs, and at any moment it is cut off: each batch is one statement that changes only rows which are
still as they were read, so a key that is destroyed meanwhile stays destroyed, and beginning again goes on with what is
left. A resident's key itself stays the same: what was sealed opens as before, and the same event seals to the same
bytes.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from ledger.vault.database import Database, statements
from ledger.vault.keys import KeyWrapper
from ledger.vault.logins import NO_SUBJECT

BATCH_KEYS = 500


class Counts(NamedTuple):
    """How many residents' keys the current wrapping key and older ones have wrapped, and how many were destroyed."""

    current: int
    older: int
    destroyed: int
    map_key_older: bool
    """Whether the login map's key is still wrapped by an older one."""

    @property
    def finished(self) -> bool:
        """Whether no older wrapping key is needed any more."""
        return not self.older and not self.map_key_older


def counts(database: Database, current: str) -> Counts:
    """How far the rewrapping by the wrapping key of this id has come."""
    [row] = database.run(statements("keys")["counts"], {"current": current})
    map_keys = database.run(statements("logins")["map key"], {})
    return Counts(int(row[0]), int(row[1]), int(row[2]), any(wrapping != current for _, _, wrapping in map_keys))


def rewrap(database: Database, wrapper: KeyWrapper, batch_keys: int = BATCH_KEYS) -> Iterator[int]:
    """Rewraps the login map's key, then every resident's; yields how many of the latter so far, after each batch.

    Raises `ConfigurationError` at a key that no wrapping key given here opens; what was done until then stays done.
    """
    _rewrap_map_key(database, wrapper)
    named = statements("keys")
    done, after = 0, ""
    while True:
        wanted: dict[str, Any] = {"current": wrapper.id, "after": after, "limit": batch_keys}
        rows = database.run(named["wrapped by others"], wanted)
        if not rows:
            return
        fresh = [
            wrapper.wrap(wrapper.unwrap(bytes(wrapped), subject, key_id, wrapping), subject, key_id)
            for subject, key_id, wrapped, wrapping in rows
        ]
        changed = database.run(
            named["rewrap"],
            {
                "current": wrapper.id,
                "subjects": [row[0] for row in rows],
                "old": [bytes(row[2]) for row in rows],
                "fresh": fresh,
            },
        )
        done, after = done + len(changed), rows[-1][0]
        yield done


def _rewrap_map_key(database: Database, wrapper: KeyWrapper) -> None:
    named = statements("logins")
    for key_id, wrapped, wrapping in database.run(named["map key"], {}):
        if wrapping != wrapper.id:
            secret = wrapper.unwrap(bytes(wrapped), NO_SUBJECT, key_id, wrapping)
            fresh = wrapper.wrap(secret, NO_SUBJECT, key_id)
            database.run(named["rewrap map key"], {"old": bytes(wrapped), "fresh": fresh, "current": wrapper.id})

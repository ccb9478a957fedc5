"""The hash under which PostgreSQL finds a record by (source, id).

64 bits in a plain btree cost a fraction of what a unique index on the three texts costs; two keys with the same hash
are told apart by comparing the texts of the few rows found.

>>> key_hash("/services/permits", "e1") == key_hash("/services/permits", "e1")
True
>>> -2**63 <= key_hash("/my", "e2") < 2**63
True
"""

from hashlib import blake2b


def key_hash(source: str, event_id: str) -> int:
    """A signed 64-bit hash of `source NUL id`: the same on every machine and in every run."""
    digest = blake2b(f"{source}\0{event_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)

"""Prints one hash over every row, evidence included, of so many seeded histories: `python -m tests.property.digest 25`.

Run under several PYTHONHASHSEED: the same input must give the same bytes.
"""

import hashlib
import sys

import orjson

from ledger.history import verdict_json
from tests.property.dice import Dice
from tests.property.strategies import random_history
from tests.property.two_judges import rows_of


def digest(count: int) -> str:
    """SHA-256 of all rows, as JSON, in order."""
    total = hashlib.sha256()
    for seed in range(count):
        for row in rows_of(random_history(Dice(seed), ("r1", "r2"))):
            total.update(orjson.dumps(verdict_json(row, 0, row.known_from)))
            total.update(repr((row.known_until, row.first_outcome)).encode())
    return total.hexdigest()


if __name__ == "__main__":
    print(digest(int(sys.argv[1])))

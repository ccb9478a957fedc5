"""GDPRbench's four roles: which operations each asks for, how often, and of whom (docs/benchmarks.md has the mapping).

>>> sum(ROLES["customer"].mix.values()), ROLES["customer"].zipfian
(100, True)
>>> [operation.kind for operation in operations("regulator", 4, keys=10, seed=1)]
['read-meta', 'log', 'log', 'read-meta']

Mixes and distributions are those of the benchmark (Shastri et al., "Understanding and Benchmarking the Impact of GDPR
on Database Systems", VLDB 2020). `zipfian`: YCSB's constant 0.99, the first key the most asked for.
"""

import random
from collections.abc import Mapping
from itertools import accumulate
from typing import NamedTuple

ZIPF = 0.99


class Role(NamedTuple):
    """How many of a hundred operations are of each kind, and whether some keys are asked for more than others."""

    mix: Mapping[str, int]
    zipfian: bool


class Operation(NamedTuple):
    """One operation, on the record with this number of `keys`; `number` tells it from the others of its run."""

    kind: str
    key: int
    number: int


ROLES: Mapping[str, Role] = {
    "controller": Role(
        {"insert": 25, "delete-by-key": 25, "update-meta-by-purpose": 25, "update-meta-by-user": 25}, zipfian=False
    ),
    "customer": Role(
        {
            "read": 20,
            "read-meta-by-purpose": 10,
            "read-meta-by-user": 10,
            "update": 20,
            "update-meta-by-purpose": 10,
            "update-meta-by-user": 10,
            "delete-by-key": 20,
        },
        zipfian=True,
    ),
    "processor": Role({"read": 20, "read-meta-by-purpose": 40, "read-meta-by-user": 40}, zipfian=False),
    "regulator": Role({"read-meta": 50, "log": 50}, zipfian=True),
}


def operations(role: str, count: int, keys: int, seed: int) -> list[Operation]:
    """So many operations of a role on `keys` records: the same for the same seed."""
    dice = random.Random(seed)
    mix, zipfian = ROLES[role]
    kinds = dice.choices(list(mix), list(mix.values()), k=count)
    if zipfian:
        weights = list(accumulate(1 / rank**ZIPF for rank in range(1, keys + 1)))
        chosen = dice.choices(range(keys), cum_weights=weights, k=count)
    else:
        chosen = [dice.randrange(keys) for _ in range(count)]
    return [Operation(kind, key, number) for number, (kind, key) in enumerate(zip(kinds, chosen, strict=True))]

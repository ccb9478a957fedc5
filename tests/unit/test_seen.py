"""The filter of known keys never calls a known key new, and rarely a new one known."""

import random

from projections.keys import key_hash
from projections.seen import Seen


def test_a_key_that_was_met_is_never_said_to_be_new() -> None:
    dice, seen, met = random.Random(1), Seen(), list[int]()
    edges = [0, -1, 1, 2**63 - 1, -(2**63), 2**32, -(2**32), 255, 256]
    for _ in range(50):
        fresh = [dice.randrange(-(2**63), 2**63) for _ in range(1_000)] + edges
        seen.meet(fresh)
        met += fresh
        again = dice.sample(met, 200)
        assert seen.meet(again) == list(range(200))


def test_the_same_key_twice_in_one_batch_is_noticed() -> None:
    one = key_hash("/s", "e1")
    assert Seen().meet([one, key_hash("/s", "e2"), one]) == [2]


def test_new_keys_are_rarely_asked_for_in_vain() -> None:
    seen = Seen()
    seen.meet(key_hash("/s", f"e{i}") for i in range(100_000))
    asked = seen.meet(key_hash("/s", f"f{i}") for i in range(20_000))
    assert len(asked) < 200

"""Where a generated history takes its choices from: a seed. The same seed gives the same history, everywhere.

>>> dice = Dice(7)
>>> dice.pick("abc") in "abc", set(dice.some(("x", "y", "z"), 1, 2)) <= {"x", "y", "z"}
(True, True)
"""

import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Dice:
    """Choices that depend on the seed alone."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def below(self, n: int) -> int:
        """A number from 0 to n - 1."""
        return int(self._random.random() * n)

    def chance(self, percent: int) -> bool:
        """True in so many of a hundred."""
        return self.below(100) < percent

    def pick(self, items: Sequence[T]) -> T:
        """One of these."""
        return items[self.below(len(items))]

    def some(self, items: Sequence[T], least: int, most: int) -> tuple[T, ...]:
        """So many distinct ones of these, in any order; fewer when there are no more."""
        left = list(items)
        least = min(least, len(left))
        count = least + self.below(min(most, len(left)) - least + 1)
        return tuple(left.pop(self.below(len(left))) for _ in range(count))

"""Medians, quantiles and spreads of rounds: how many measured values become one figure.

>>> middle([3.0, 1.0, 2.0]), quantile([1.0, 2.0, 3.0, 4.0], 0.5)
(2.0, 3.0)
>>> ratios([50.0, 80.0, 60.0], [100.0, 100.0, 100.0])
[0.5, 0.8, 0.6]

The limit of a round is measured next to ours, so ratios are taken round by round: what slows the machine down for a
while slows both, and leaves the ratio.
"""

from collections.abc import Sequence
from statistics import median

WIDE = 0.3
"""A spread, (max - min) / median over the rounds, from which a figure is marked."""


def middle(rounds: Sequence[float]) -> float:
    """The median of several rounds."""
    return float(median(rounds))


def quantile(values: Sequence[float], share: float) -> float:
    """The value that `share` of the values are below: the sample's own, never one between two."""
    assert values and 0 <= share < 1, "of some values, a share below 1"
    return sorted(values)[int(len(values) * share)]


def ratios(ours: Sequence[float], limits: Sequence[float]) -> list[float]:
    """Ours to the limit, round by round."""
    return [one / limit for one, limit in zip(ours, limits, strict=True)]


def spread(rounds: Sequence[float]) -> float:
    """(max - min) / median; 0 for a single round.

    >>> spread([90.0, 100.0, 120.0])
    0.3
    """
    return (max(rounds) - min(rounds)) / middle(rounds) if len(rounds) > 1 else 0.0

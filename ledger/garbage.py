"""The garbage collector, kept calm in a process that handles many records.

    with calm_collector():
        serve()

A batch makes many objects, nearly all of which reference counting frees. With its default thresholds the collector
walks them over and over: a third of the record path's time (docs/decisions/0020). Here what is there at the start is
never walked again, and a collection comes after 100,000 new objects, so what is left in cycles stays bounded.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def calm_collector() -> Iterator[None]:
    """Rare collections until the end of the block, in this whole process.

    >>> with calm_collector():
    ...     gc.get_threshold()
    (100000, 50, 100)
    """
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()

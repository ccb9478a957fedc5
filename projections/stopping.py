"""How a process that runs until it is told to stop is told.

>>> import threading
>>> with stopped_by_signals(threading.Event()) as stopping:
...     stopping.is_set()
False
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def stopped_by_signals(stop: threading.Event | None) -> Iterator[threading.Event]:
    """The given flag, or one that SIGTERM and SIGINT set."""
    if stop is not None:
        yield stop
        return
    stopping = threading.Event()
    set_flag: Callable[..., None] = lambda *_: stopping.set()  # noqa: E731
    before = {number: signal.signal(number, set_flag) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stopping
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

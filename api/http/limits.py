"""How often a door without a token may be called: by one address, and by all together. Kept in memory, in this process.

>>> now_s = [0.0]
>>> rate = Rate(per_minute=2, monotonic=lambda: now_s[0])
>>> [rate.take("203.0.113.7") for _ in range(3)], rate.take("203.0.113.8")
([0, 0, 30], 0)
>>> now_s[0] = 30.0
>>> rate.take("203.0.113.7")
0

What is taken comes back evenly, 60 seconds for all of it. An IPv6 address counts by its /64, which is one subscriber's.
An address is never written anywhere; the table is bounded, and when it is full the one longest unseen is let go.
"""

import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Callable

from starlette.requests import Request

MAX_ADDRESSES = 10_000


class Rate:
    """A bucket for each key: full at first, `per_minute` deep, filled again at that rate."""

    def __init__(self, per_minute: int, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._depth = per_minute
        self._monotonic = monotonic
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str) -> int:
        """Takes one; 0, or after how many seconds there will be one."""
        wait_s = self.wait_s(key)
        left, seen_s = self._buckets.pop(key, (float(self._depth), self._monotonic()))
        self._buckets[key] = (left if wait_s else left - 1, seen_s)
        while len(self._buckets) > MAX_ADDRESSES:
            self._buckets.popitem(last=False)
        return wait_s

    def wait_s(self, key: str) -> int:
        """0 when one may be taken, else after how many seconds; takes none."""
        now_s = self._monotonic()
        left, seen_s = self._buckets.get(key, (float(self._depth), now_s))
        left = min(float(self._depth), left + (now_s - seen_s) * self._depth / 60)
        if key in self._buckets:
            self._buckets[key] = (left, now_s)
        return 0 if left >= 1 else math.ceil((1 - left) * 60 / self._depth)


def address_of(request: Request) -> str:
    """The caller's address as it counts here; "" when there is none."""
    host = request.client.host if request.client is not None else ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is None:
        return str(ipaddress.ip_network((int(address), 64), strict=False).network_address)
    return str(address)

"""A lean HTTP load generator: finished requests over keep-alive connections, parsed by httptools, nothing between.

    done = await send("127.0.0.1", port, [request("POST", "/v1/events", body, headers), ...], connections=32)
    done.seconds, done.latencies_s, done.cpu_s

A client library such as httpx costs more a request than the door does, so on two cores it would be the bottleneck.
What this one costs is measured too: `cpu_s`, the processor time of the whole generator.
"""

import asyncio
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import NamedTuple, cast

import httptools

ANSWERED_WITHIN_S = 300.0


class Sent(NamedTuple):
    """What came of it: from the first request to the last answer, each request's latency, the generator's own cost."""

    seconds: float
    latencies_s: list[float]
    statuses: dict[int, int]
    cpu_s: float


def request(method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> bytes:
    """The bytes of a request.

    >>> request("POST", "/noop", b"{}", {"content-type": "application/json"})
    b'POST /noop HTTP/1.1\\r\\nhost: bench\\r\\ncontent-length: 2\\r\\ncontent-type: application/json\\r\\n\\r\\n{}'
    """
    lines = [f"{method} {path} HTTP/1.1", "host: bench", f"content-length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


async def send(host: str, port: int, requests: Sequence[bytes], connections: int) -> Sent:
    """Sends all requests, on each connection one after the other; raises `ConnectionError` when one is cut off."""
    waiting, latencies, statuses = deque(requests), list[float](), dict[int, int]()
    loop = asyncio.get_running_loop()
    opened: list[_Connection] = []
    for _ in range(min(connections, len(requests))):
        connection = _Connection(waiting, latencies, statuses, loop.create_future())
        await loop.create_connection(lambda made=connection: made, host, port)  # type: ignore[misc]
        opened.append(connection)
    started, cpu = time.perf_counter(), time.process_time()
    for connection in opened:
        connection.next()
    await asyncio.wait_for(asyncio.gather(*(connection.done for connection in opened)), ANSWERED_WITHIN_S)
    return Sent(time.perf_counter() - started, latencies, statuses, time.process_time() - cpu)


class _Connection(asyncio.Protocol):
    """One connection; `done` when there is nothing left to send."""

    def __init__(
        self, waiting: deque[bytes], latencies: list[float], statuses: dict[int, int], done: "asyncio.Future[None]"
    ) -> None:
        self.done = done
        self._waiting, self._latencies, self._statuses = waiting, latencies, statuses
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._started_s = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are no subclasses

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        self._latencies.append(time.perf_counter() - self._started_s)
        status = self._parser.get_status_code()
        self._statuses[status] = self._statuses.get(status, 0) + 1
        self.next()

    def next(self) -> None:
        """Sends the next request, or ends."""
        assert self._transport is not None, "it is connected"
        if self._waiting:
            self._started_s = time.perf_counter()
            self._transport.write(self._waiting.popleft())
        elif not self.done.done():
            self.done.set_result(None)
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(ConnectionError("the server closed a connection before it answered"))

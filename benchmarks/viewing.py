"""An auditor's read is recorded before anything is read out: `log.viewed`, as the doors append it.

await record_view(runtime, "res_7f2c", "log")
"""

import asyncio
from uuid import uuid4

from api.http.runtime import Runtime
from api.recording import wall_clock
from ledger.authority import LEDGER_SOURCE, Door, Principal
from ledger.codec import rfc3339
from ledger.events import KINDS, Event, LogViewed
from ledger.recording.record import Recorded


def viewed(subject: str, scope: str) -> Event:
    """The event."""
    return KINDS["log.viewed"](
        id=uuid4().hex,
        source=LEDGER_SOURCE,
        subject=subject,
        time=rfc3339(wall_clock()),
        data=LogViewed(role="auditor", operator="bench", scope=scope),
    )


async def record_view(runtime: Runtime, subject: str, scope: str) -> None:
    """Returns when the log has it."""
    submitted = runtime.recorder.submit([viewed(subject, scope)], Principal("bench", {}), Door.LEDGER)
    answer = await asyncio.wrap_future(submitted)
    assert isinstance(answer.results[0], Recorded), "the read is recorded"

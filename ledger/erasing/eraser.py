"""The eraser: one thread that carries out what was asked, and finishes whatever any process left unfinished.

    eraser = Eraser(table, in_log, recorder.submit, clock)
    eraser.start()
    eraser.kick()          # something was asked or approved
    eraser.stop()

At start, every quarter of an hour, and whenever the vault turns out to hold what it should not, the vault is also held
against the log: an erasure that the log has begun is finished, and a key or login of somebody erased is destroyed
again. That is how a vault restored from an older backup comes right; until it has, `ErasuresInLog.erased` keeps each
such key from being used. Several processes may run an eraser: one of them works at a time.

`at` is told each step that was made durable, in order (`STEPS`): tests end the process there.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import wait
from typing import TypeVar

from ledger.authority import Door, Principal
from ledger.codec import rfc3339
from ledger.erasing.erasure import DONE, Erasure, ErasureTable, Logged, Submit, erased_event, requested_event
from ledger.erasing.erasures import ErasuresInLog
from ledger.errors import Conflict, ConsentLedgerError, NotYet, Unavailable
from ledger.events import Event
from ledger.log import Position
from ledger.recording.record import Clock

_logger = logging.getLogger("consent_ledger.eraser")
_T = TypeVar("_T")
STEPS = ("begun", "requested", "requested-noted", "destroyed", "erased", "done")
IDLE_S, RETRY_S, LOOK_S = 5.0, 0.5, 0.2
RECONCILE_EVERY_S = 900.0
_READ_BY_ALL_S = 0.5
"""A moment for what is on its way. That no second record comes of it does not rest on this: a recorder reads the log to
its head before it records an erasure."""
_CHUNK = 5_000


class Eraser:
    """Carries out erasures, step by step, each of which may be done again."""

    def __init__(
        self,
        table: ErasureTable,
        in_log: ErasuresInLog,
        submit: Submit,
        clock: Clock,
        at: Callable[[str], None] = lambda step: None,
    ) -> None:
        self._table, self._in_log, self._submit, self._clock, self._at = table, in_log, submit, clock, at
        self._wake = threading.Event()
        self._stopping = False
        self._compared_s = float("-inf")
        self._compare_asked = threading.Event()
        self._said: str | None = None
        self._thread = threading.Thread(target=self._run, name="eraser", daemon=True)
        in_log.came_back = self.compare_soon

    # --- any thread -------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread at the next step; what is unfinished waits for the next start, of this or another process."""
        self._stopping = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()

    def kick(self) -> None:
        """There is something to do."""
        self._wake.set()

    def compare_soon(self) -> None:
        """The vault is to be held against the log."""
        self._compare_asked.set()
        self._wake.set()

    # --- the eraser's thread ----------------------------------------------------------------------------------

    def _run(self) -> None:
        failures = 0
        while not self._stopping:
            try:
                wait_s = IDLE_S if self.look() else RETRY_S
                failures = 0
                self._say(None)
            except ConsentLedgerError as error:
                wait_s = min(IDLE_S, RETRY_S * 2**failures)
                failures = min(failures + 1, 8)
                self._say(str(error))
            except Exception as error:  # our own bug: said, and the next look tries again
                wait_s = IDLE_S
                _logger.error("the eraser failed: %s", type(error).__name__, exc_info=error)
            self._wake.wait(wait_s)
            self._wake.clear()

    def _say(self, problem: str | None) -> None:
        if problem is not None and problem != self._said and not self._stopping:
            _logger.warning("not erasing: %s", problem)
        self._said = problem

    def look(self) -> bool:
        """Does what there is to do, once; False when another process is at it. Raises what keeps it from being done."""
        started_s = time.monotonic()
        compare = self._compare_asked.is_set() or started_s - self._compared_s >= RECONCILE_EVERY_S
        if not compare and not self._table.unfinished():
            return True
        with self._table.alone() as alone:
            if not alone:
                return False
            problems = self._finish_all()
            if compare:
                self._compare_asked.clear()  # asked again meanwhile: compared again
                self._compared_s = float("-inf")
                differs = self._compare()
                if not any(isinstance(one, NotYet) for one in differs):  # what does not pass by itself can wait
                    self._compared_s = started_s
                problems = self._finish_all() + differs
        if problems:
            raise problems[0]
        return True

    def _finish_all(self) -> list[ConsentLedgerError]:
        """One that cannot be finished now holds up no other; returns the reasons why."""
        problems: list[ConsentLedgerError] = []
        waiting = self._table.unfinished()
        while waiting:
            for erasure in waiting:
                problems += [] if self._stopping else self._tried(self.carry_out, erasure)
            waiting = self._table.unfinished((waiting[-1].asked_time, waiting[-1].erasure_id))
        return problems

    def _tried(self, work: Callable[[_T], None], one: _T) -> list[ConsentLedgerError]:
        """What keeps this one from being done, if anything does; the others go on."""
        try:
            work(one)
        except ConsentLedgerError as error:
            return [error]
        except Exception as error:  # our own bug; its text may hold values
            _logger.error("an erasure failed: %s", type(error).__name__)
            return [ConsentLedgerError("an erasure failed: the log of this process says how")]
        return []

    def carry_out(self, erasure: Erasure) -> None:
        """Takes an erasure from where it is to its end."""
        self._at("begun")
        # By the log's word, not only by the recorder's: what another process appended just before it died counts.
        logged = self._in_log.find(erasure)
        if logged is not None and (logged.erased or (logged.requested and not erasure.requested)):
            # Sent again, for its place and receipt: by now our recorder has read it too, so it is no new record.
            time.sleep(_READ_BY_ALL_S)
        if erasure.requested is None:
            position, _ = self._append(requested_event(erasure), erasure.asked_by)
            self._at("requested")
            self._table.note_requested(erasure.erasure_id, position)
            self._at("requested-noted")
        if erasure.erased_time is None:
            erasure = self._destroy(erasure)
            self._at("destroyed")
        # Who approved it stands in the log too: whoever asked is `recordedby` of the request.
        position, receipt = self._append(erased_event(erasure), erasure.approved_by or erasure.asked_by)
        self._at("erased")
        self._table.note_done(erasure.erasure_id, position, receipt)
        self._at("done")

    def _destroy(self, erasure: Erasure) -> Erasure:
        # The vault may be older than the key: named as the records name it, it reads as destroyed, and not as unknown.
        key_id = self._in_log.sealing_key(erasure.subject) if erasure.everything else None
        return self._table.destroy(erasure, rfc3339(self._clock()), key_id)

    def _append(self, event: Event, client_id: str) -> tuple[Position, str | None]:
        """The position of this event in the log, there already or from now on."""
        future = self._submit([event], Principal(client_id, {}), Door.LEDGER)
        while not wait([future], LOOK_S).done:
            if self._stopping:
                raise Unavailable("the ledger is stopping: the erasure goes on at the next start")
        answer = future.result()
        result = answer.results[0]
        if isinstance(result, Conflict) and result.position is not None:
            # Only the ledger speaks for this source: it is there, with the time of an earlier attempt.
            return Position.parse(result.position), None
        if isinstance(result, ConsentLedgerError):
            raise result
        return result.line.position, answer.receipt

    # --- the vault against the log ----------------------------------------------------------------------------

    def _compare(self) -> list[ConsentLedgerError]:
        """One that cannot be compared now holds up no other; returns the reasons why."""
        logged, problems = self._in_log.all()
        for start in range(0, len(logged), _CHUNK):
            problems += self._compare_with(logged[start : start + _CHUNK])
        return problems

    def _compare_with(self, logged: Sequence[Logged]) -> list[ConsentLedgerError]:
        problems: list[ConsentLedgerError] = []
        unknown = self._table.unknown([one.erasure_id for one in logged])
        there = self._table.not_destroyed([one.subject for one in logged if one.categories is None])
        for one in logged:
            back = one.categories is None and one.subject in there
            if back or one.erasure_id in unknown:
                problems += self._tried(self._take_in, one)
        return problems

    def _take_in(self, logged: Logged) -> None:
        # The views only say where to look: what cannot be undone rests on the records themselves.
        erasure = self._in_log.verified(logged)
        if erasure is None:
            at = logged.requested or logged.erased
            _logger.error("the views name an erasure at %s that the log does not hold", at)
            return
        self._table.adopt(erasure)
        if erasure.everything and erasure.state == DONE and self._table.not_destroyed([erasure.subject]):
            _logger.warning("a key or login of somebody erased was in the vault: it is destroyed again")
            self._destroy(erasure)

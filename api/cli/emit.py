"""`consent-ledger emit FILE`: sends events (NDJSON) to a ledger over HTTP, in batches, in order.

    $ export CONSENT_LEDGER_URL=https://ledger.example CONSENT_LEDGER_TOKEN=...
    $ consent-ledger emit --progress sent.state events.ndjson
    recorded 12000, known 0, conflict 0, refused 0

Sending a file again is harmless: what the ledger knows it answers with its first position (`known`). With
`--progress STATE` an interrupted run also goes on where it stopped. What is refused is named by line number, pointer
and code, never by value; a run that goes on lists what earlier ones were refused too (the first 1,000, kept in STATE),
and says so. Exit: 0 all recorded or known; 1 an id is known with other content; 2 lines were refused;
3 not everything was sent.
"""

import hashlib
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import httpx
import orjson
import typer

from api.cli import client, console
from api.cli.judge import Unreadable, lines_of, opened
from ledger.codec import MAX_BATCH_EVENTS
from ledger.errors import ConsentLedgerError, Malformed, NotYet, Problem, TooLarge
from ledger.events import MAX_EVENT_BYTES

MAX_BODY_BYTES = 4 * 1024 * 1024
BATCH_HEADERS = {"content-type": "application/cloudevents-batch+json"}
OUTCOMES = ("recorded", "known", "conflict", "refused")
_SHOWN_REFUSALS = 20
_KEPT_REFUSALS = 1_000  # in the progress file, which is written anew after each batch


class Line(NamedTuple):
    """One line of the file: its number, its bytes, and why it cannot be sent (None: it can)."""

    number: int
    raw: bytes
    refused: str | None


class Refusal(NamedTuple):
    """Why a line was not recorded: codes with their pointers, and the first position in a conflict."""

    line: int
    outcome: str
    problems: tuple[Problem, ...]
    position: str | None
    earlier: bool = False

    def json(self) -> dict[str, Any]:
        """As `--json` prints it; the progress file keeps the same."""
        found: dict[str, Any] = {"line": self.line, "outcome": self.outcome}
        found["errors"] = [{"pointer": p.pointer, "code": p.code} for p in self.problems]
        if self.position:
            found["position"] = self.position
        return found | ({"earlier": True} if self.earlier else {})

    @classmethod
    def of_an_earlier_run(cls, kept: dict[str, Any]) -> "Refusal":
        """One that a progress file has kept; raises `KeyError` or `TypeError` when it is not ours."""
        problems = tuple(Problem(str(e["pointer"]), str(e["code"])) for e in kept["errors"])
        position = kept.get("position")
        at = position if isinstance(position, str) else None
        return cls(int(kept["line"]), str(kept["outcome"]), problems, at, earlier=True)


class Summary:
    """What became of the lines so far."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.refusals: list[Refusal] = []
        self.lines = 0

    def add(self, line: int, outcome: str, problems: Iterable[Problem] = (), position: str | None = None) -> None:
        """Takes in what became of one line."""
        self.counts[outcome] += 1
        if outcome in ("conflict", "refused"):
            self.refusals.append(Refusal(line, outcome, tuple(problems), position))

    def in_order(self) -> list[Refusal]:
        """The lines not recorded, by line: those refused here were noted before the ledger answered."""
        return sorted(self.refusals, key=lambda refusal: refusal.line)

    @property
    def unlisted(self) -> int:
        """Lines that earlier runs did not record and whose reasons were not kept."""
        return self.counts["conflict"] + self.counts["refused"] - len(self.refusals)

    @property
    def exit_code(self) -> int:
        """2 before 1: a malformed line is the emitter's to mend first."""
        if not self.lines:
            return console.INCOMPLETE
        if self.counts["refused"]:
            return console.USAGE
        return console.FINDING if self.counts["conflict"] else console.CLEAN

    def json(self) -> dict[str, Any]:
        """The summary as `--json` prints it."""
        found: dict[str, Any] = {"lines": self.lines, **{name: self.counts[name] for name in OUTCOMES}}
        found["refusals"] = [refusal.json() for refusal in self.in_order()]
        return found | ({"unlisted": self.unlisted} if self.unlisted else {})


class Progress:
    """How much of which file has been sent, in a file of its own: lines, and a hash of all of them."""

    def __init__(self, path: Path | None, ledger: str) -> None:
        self._path, self._ledger = path, ledger
        self._hash = hashlib.sha256()

    def resume(self, lines: Iterator[Line], summary: Summary) -> int:
        """Passes over what an earlier run sent, and counts it again; returns how many lines that was."""
        state = self._load()
        if state is None:
            return 0
        for _ in range(state["lines"]):
            line = next(lines, None)
            if line is None:
                break
            self._hash.update(line.raw + b"\n")
        if self._hash.hexdigest() != state["sha256"]:
            assert self._path is not None
            raise Unreadable(
                f"{self._path} is about another file, or the part of it that was sent has changed: "
                "delete it to send everything again, which is harmless"
            )
        summary.counts.update(state["counts"])
        summary.refusals += state["refusals"]
        summary.lines = state["lines"]
        return summary.lines

    def save(self, sent: Iterable[Line], summary: Summary) -> None:
        """Notes that these lines are done too: written whole or not at all."""
        if self._path is None:
            return
        for line in sent:
            self._hash.update(line.raw + b"\n")
        fresh = self._path.with_name(self._path.name + ".part")
        counts = {name: summary.counts[name] for name in OUTCOMES}
        state = {"ledger": self._ledger, "lines": summary.lines, "sha256": self._hash.hexdigest(), "counts": counts}
        state["refusals"] = [refusal._replace(earlier=False).json() for refusal in summary.refusals[:_KEPT_REFUSALS]]
        try:
            fresh.write_bytes(orjson.dumps(state))
            fresh.replace(self._path)
        except OSError as error:
            raise Unreadable(f"{self._path} cannot be written: {error.strerror}") from None

    def _load(self) -> dict[str, Any] | None:
        if self._path is None or not self._path.exists():
            return None
        try:
            state = orjson.loads(self._path.read_bytes())
            if state["ledger"] != self._ledger:
                return None  # sent to another ledger: here everything is new
            if isinstance(state["lines"], int) and all(isinstance(n, int) for n in state["counts"].values()):
                kept = [Refusal.of_an_earlier_run(refusal) for refusal in state.get("refusals", ())]
                return {**state, "refusals": kept}
            raise ValueError("not ours")
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            raise Unreadable(f"{self._path} is not a progress file of `emit`: name another, or delete it") from None


def numbered(lines: Iterator[bytes]) -> Iterator[Line]:
    """The lines with their numbers; those that would spoil a whole batch are refused here."""
    for number, line in enumerate(lines, start=1):
        raw = line.rstrip(b"\r\n")
        refused = None
        if len(raw) > MAX_EVENT_BYTES:
            refused = "too-large"
        else:
            try:
                orjson.loads(raw)
            except orjson.JSONDecodeError:
                refused = "json" if raw.strip() else "blank"
        yield Line(number, raw, refused)


def batches(lines: Iterator[Line], size: int) -> Iterator[list[Line]]:
    """Lines in groups of at most `size` events and 4 MiB."""
    batch: list[Line] = []
    length = 0
    for line in lines:
        if batch and (len(batch) == size or length + len(line.raw) > MAX_BODY_BYTES):
            yield batch
            batch, length = [], 0
        batch.append(line)
        length += len(line.raw)
    if batch:
        yield batch


class Door(client.Client):
    """A client that says, once, what it waits for."""

    _told = False

    def tell(self, why: str) -> None:
        """Says why we wait and for how long at most, the first time."""
        if not self._told and self.patience_s > 0:
            self._told = True
            console.get().say(f"{why.rstrip('.')}: trying again, each batch for up to {self.patience_s:g} s")

    def send(self, method: str, path: str, **request: Any) -> httpx.Response:
        """As every client sends."""
        tries = 0

        def trying(_: httpx.Request) -> None:
            nonlocal tries
            tries += 1
            if tries > 1:
                self.tell(f"{self.url} does not answer")

        def answered(response: httpx.Response) -> None:
            if response.status_code in client.TRY_AGAIN:
                response.read()
                self.tell(client.describe(response))

        self._http.event_hooks = {"request": [trying], "response": [answered]}
        return super().send(method, path, **request)


def send(door: Door, batch: list[Line], summary: Summary, receipts: Path | None) -> None:
    """Sends one batch until the ledger has said what became of each line."""
    for line in batch:
        if line.refused:
            summary.add(line.number, "refused", [Problem("", line.refused)])
    waiting = [line for line in batch if not line.refused]
    patience = client.Patience(door.patience_s)
    while waiting:
        body = b"[" + b",".join(line.raw for line in waiting) + b"]"
        try:
            response = door.send("POST", "/v1/events", content=body, headers=BATCH_HEADERS)
        except (TooLarge, Malformed) as error:  # of the whole batch: find the line that spoils it
            if len(waiting) == 1:
                problems = error.problems if isinstance(error, Malformed) else [Problem("", "too-large")]
                summary.add(waiting[0].number, "refused", problems)
                return
            half = len(waiting) // 2
            send(door, waiting[:half], summary, receipts)
            send(door, waiting[half:], summary, receipts)
            return
        results = _results(response.content, len(waiting))
        if receipts is not None:
            _keep_receipts(receipts, response.content)
        waiting = [line for line, result in zip(waiting, results, strict=True) if not _take(line, result, summary)]
        if waiting:
            why = "the ledger cannot record these events now"
            door.tell(why)
            patience.wait(client.retry_after(response), why)


def _results(raw: bytes, expected: int) -> list[dict[str, Any]]:
    try:
        results = orjson.loads(raw)["results"]
        if isinstance(results, list) and len(results) == expected and all(isinstance(r, dict) for r in results):
            return results
    except (orjson.JSONDecodeError, KeyError, TypeError):
        pass
    raise NotYet("what answers there is no consent ledger: it gave no result for each event")


def _take(line: Line, result: dict[str, Any], summary: Summary) -> bool:
    """Notes one result; False when the event must be sent again."""
    status = result.get("status")
    if status in client.TRY_AGAIN:
        return False
    outcome = {200: "known", 201: "recorded", 409: "conflict"}.get(status, "refused")  # type: ignore[arg-type]
    problems = client.codes_of(result)
    if outcome == "refused" and not problems:
        problems = [Problem("", str(result.get("code") or status))]
    position = result.get("position")
    summary.add(line.number, outcome, problems, position if isinstance(position, str) else None)
    return True


def _keep_receipts(path: Path, raw: bytes) -> None:
    """Appends the receipts of one answer to a file: signed notes, one after the other."""
    answer = orjson.loads(raw)
    found = dict.fromkeys(
        r for r in (answer.get("receipt"), *(item.get("receipt") for item in answer["results"])) if isinstance(r, str)
    )
    try:
        with path.open("ab") as file:
            file.write("".join(f"{receipt}\n" for receipt in found).encode())
    except OSError as error:
        raise Unreadable(f"{path} cannot be written: {error.strerror}") from None


def emit(
    file: Annotated[str, typer.Argument(help="Events as NDJSON, `-` for stdin.", metavar="FILE", show_default=False)],
    ledger: Annotated[
        str | None, typer.Option(metavar="URL", help=f"The ledger; default: ${client.URL_VARIABLE}.")
    ] = None,
    progress: Annotated[
        Path | None, typer.Option(metavar="STATE", help="A file that keeps how far we are: run again to go on.")
    ] = None,
    receipts: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Append the signed receipts to this file.")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, max=MAX_BATCH_EVENTS, help="Events in one request.")] = 1_000,
    patience: Annotated[float, typer.Option(min=0, metavar="SECONDS", help="How long to try a batch again.")] = 300.0,
) -> None:
    """Send events (NDJSON) to a ledger: in order, resumable, and harmless when sent again."""
    out = console.get()
    summary = Summary()
    failure: ConsentLedgerError | None = None
    with Door.from_environment(ledger, patience_s=patience) as door, opened(file) as stream:
        state = Progress(progress, door.url)
        lines = numbered(lines_of(stream, file))
        if done := state.resume(lines, summary):
            out.say(f"going on after line {done}")
        try:
            _send_all(door, batches(lines, batch_size), state, summary, receipts)
        except KeyboardInterrupt:
            failure = NotYet("interrupted")
        except ConsentLedgerError as error:
            failure = error
    _report(summary, failure)


def _send_all(
    door: Door, groups: Iterator[list[Line]], state: Progress, summary: Summary, receipts: Path | None
) -> None:
    started, before = time.monotonic(), summary.lines
    with console.get().counting("sending") as counter:
        for batch in groups:
            send(door, batch, summary, receipts)
            summary.lines += len(batch)
            state.save(batch, summary)
            rate = (summary.lines - before) / max(1e-9, time.monotonic() - started)
            counter.update(summary.lines, f"events, {rate:,.0f}/s")


def _report(summary: Summary, failure: ConsentLedgerError | None) -> None:
    out = console.get()
    if out.json:
        out.data(summary.json())
    else:
        for refusal in summary.in_order()[:_SHOWN_REFUSALS]:
            why = ", ".join(f"{p.pointer or '/'} {p.code}" for p in refusal.problems)
            at = f" first recorded at {refusal.position}" if refusal.position else ""
            when = ", in an earlier run" if refusal.earlier else ""
            out.warn(f"line {refusal.line}: {refusal.outcome}{f' ({why})' if why else ''}{at}{when}")
        if len(summary.refusals) > _SHOWN_REFUSALS:
            out.warn(f"and {len(summary.refusals) - _SHOWN_REFUSALS} more; `--json` lists them")
        if summary.unlisted:
            why = "whose reasons were not kept: without `--progress` they show"
            out.warn(f"and {summary.unlisted} in earlier runs, {why}")
        out.data(", ".join(f"{name} {summary.counts[name]}" for name in OUTCOMES))
    out.flush()
    if failure is not None:
        from api.cli import exit_code
        from api.cli import problem as problem_of

        found = problem_of(failure)
        found["detail"] += f" (settled up to line {summary.lines}; send the file again to finish)"
        out.problem(found)
        raise typer.Exit(exit_code(failure))
    if not summary.lines:
        out.problem({"title": "Nothing to send", "detail": "the input holds no line: nothing was sent"})
    raise typer.Exit(summary.exit_code)

"""`consent-ledger audit`: verdicts counted by outcome, purpose, service, kind and period, or listed.

    $ consent-ledger audit --from 2026-03-01T00:00:00Z --period day --fail-on inconsistent
    $ consent-ledger audit --list --outcome inconsistent --format csv > inconsistent.csv
    $ consent-ledger audit --from-log --workers 2          # the same counts by the log alone, no database

Asks the ledger (CONSENT_LEDGER_URL, CONSENT_LEDGER_TOKEN with the scope audit:read); `--from-log` reads the log itself
(CONSENT_LEDGER_KAFKA), so that the one can be held against the other. `--json` is `--format json`. A list says where a
verdict stands, never whom it is about. Exit: 0 counted; 1 an outcome of `--fail-on` is among them; 2 usage; 3 something
could not be read, or no verdict was there to count.
"""

from collections.abc import Iterator, Mapping
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.cells import csv_line
from api.cli import client, console
from api.cli.over_log import OverLog, Ray, Until, Workers, halted_lines, over_log
from ledger.errors import ConfigurationError, NotYet

if TYPE_CHECKING:  # imported where it is used: other commands start without the servers' code
    from api.http.paging import Question

_SUMMARY, _VERDICTS = "/v1/audit/summary", "/v1/audit/verdicts"
_PAGE = 500
_COUNTS = ("judged", "consistent", "inconsistent", "undetermined", "changed")
_GROUPS = ("purpose", "service", "kind", "period")
_LINE = ("position", "service", "kind", "time", "purposes", "outcome", "first_outcome", "codes")
_ROWS = 40


class Format(StrEnum):
    """How it is printed."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


class Period(StrEnum):
    """What verdicts are counted by, in UTC."""

    DAY = "day"
    MONTH = "month"


class FailOn(StrEnum):
    """What makes the command exit 1."""

    INCONSISTENT = "inconsistent"
    UNDETERMINED = "undetermined"


def audit(
    since: Annotated[str | None, typer.Option("--from", help="Events at this time or later.", metavar="TIME")] = None,
    to: Annotated[str | None, typer.Option("--to", help="Events before this time.", metavar="TIME")] = None,
    service: Annotated[str | None, typer.Option(help="Of this source.", metavar="S")] = None,
    purpose: Annotated[str | None, typer.Option(help="That name this purpose.", metavar="P")] = None,
    outcome: Annotated[str | None, typer.Option(help="With this verdict now.", metavar="OUTCOME")] = None,
    kind: Annotated[str | None, typer.Option(help="Of this kind, such as data.used.", metavar="KIND")] = None,
    period: Annotated[Period, typer.Option(help="Count by day or by month.")] = Period.MONTH,
    listed: Annotated[bool, typer.Option("--list", help="List the verdicts instead of counting them.")] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="With --list: at most so many.", metavar="N")] = None,
    shape: Annotated[Format, typer.Option("--format", help="How to print it.")] = Format.TABLE,
    fail_on: Annotated[
        list[FailOn] | None, typer.Option("--fail-on", help="Exit 1 when there is one; may be repeated.")
    ] = None,
    from_log: Annotated[bool, typer.Option("--from-log", help="Count by the log alone, without the views.")] = False,
    until: Until = None,
    workers: Workers = 1,
    ray: Ray = None,
    ledger: Annotated[
        str | None, typer.Option(metavar="URL", help=f"The ledger; default: ${client.URL_VARIABLE}.")
    ] = None,
) -> None:
    """Count verdicts by outcome, purpose, service, kind and period, or list them."""
    given = {"from": since, "to": to, "service": service, "purpose": purpose, "outcome": outcome, "kind": kind}
    filters = {name: value for name, value in given.items() if value is not None}
    question = _checked(filters)
    if not from_log and (until or ray is not None or workers != 1):
        raise ConfigurationError("--until, --workers and --ray go with --from-log")
    if from_log and (listed or ledger is not None):
        raise ConfigurationError("--from-log counts the log alone: it goes neither with --list nor with --ledger")
    if limit is not None and not listed:
        raise ConfigurationError("--limit goes with --list")
    out = console.get()
    shape = Format.JSON if out.json else shape
    if listed:
        counts = _list(filters, limit, shape, ledger)
        complete = True
    else:
        found = _by_log(question, period.value, OverLog(workers, until or (), ray)) if from_log else None
        if found is None:
            found = _by_views({**filters, "period": period.value}, ledger)
        _print(found, shape)
        counts, complete = found, not found["halted"]
    out.flush()
    if not counts["judged"]:
        out.problem({"title": "Nothing counted", "detail": "there is no verdict of what was asked for"})
    if not counts["judged"] or not complete:
        raise typer.Exit(console.INCOMPLETE)
    if any(counts[outcome.value] for outcome in fail_on or ()):
        raise typer.Exit(console.FINDING)


def _checked(filters: Mapping[str, str]) -> "Question":
    """The filters as the API reads them; raises `Malformed` that names the one that is no good."""
    from api.http.paging import LOG_FILTERS, Question
    from ledger.events import JUDGED

    return Question.parse("", list(filters.items()), LOG_FILTERS, JUDGED)


# --- where the counts come from ---------------------------------------------------------------------------------


def _by_views(query: Mapping[str, str], ledger: str | None) -> dict[str, Any]:
    with client.Client.from_environment(ledger) as door:
        found = door.get(_SUMMARY, **query).json()
    if not isinstance(found, dict) or "judged" not in found:
        raise NotYet("what answers there is no consent ledger: it gave no counts")
    for halted in found["halted"]:
        console.get().warn(f"the views stand still at record {halted['position']} ({halted['code']})")
    return found


def _by_log(question: "Question", period: str, how: OverLog) -> dict[str, Any]:
    from projections.answers import Filters
    from replay.analysis import audit as folds

    texts = {name: question.filters.get(name) for name in ("service", "purpose", "outcome", "kind")}
    filters = Filters(question.since, question.until, **texts)
    found = over_log(partial(folds.of_partition, filters=filters, period=period), how, "counting")
    parts = [one.part for one in found]
    for line in halted_lines(parts):
        console.get().warn(line)
    reach = [part.through for part in parts if part.through is not None]
    halted = [part.halted._asdict() for part in parts if part.halted is not None]
    return {**folds.summary(found).json(), "period": period, "complete_through": reach, "halted": halted}


def _list(filters: Mapping[str, str], limit: int | None, shape: Format, ledger: str | None) -> dict[str, int]:
    """Prints the verdicts page by page; how many there were of each outcome."""
    out = console.get()
    counts = dict.fromkeys(_COUNTS, 0)
    if shape is Format.CSV:
        _csv(_LINE)
    with client.Client.from_environment(ledger) as door, out.counting("listing") as counter:
        for line in _pages(door, {**filters, "limit": str(min(limit or _PAGE, _PAGE))}):
            if limit is not None and counts["judged"] >= limit:
                break
            counts["judged"] += 1
            counts[line["outcome"]] += 1
            counter.update(counts["judged"], "verdicts")
            if shape is Format.JSON:
                out.data(line)
            elif shape is Format.CSV:
                _csv(" ".join(line[name]) if isinstance(line[name], list) else line[name] for name in _LINE)
            else:
                out.data(_line(line))
    return counts


def _pages(door: client.Client, query: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    response = door.get(_VERDICTS, **query)
    while True:
        yield from response.json()["verdicts"]
        following = response.links.get("next", {}).get("url", "")
        if not following.startswith(_VERDICTS + "?"):  # the token goes nowhere else
            return
        response = door.send("GET", following)


# --- how they are printed ---------------------------------------------------------------------------------------


def _csv(cells: Any) -> None:
    console.get().data(csv_line(cells).removesuffix("\n"))


def _line(line: Mapping[str, Any]) -> str:
    changed = "" if line["first_outcome"] == line["outcome"] else f" (first: {line['first_outcome']})"
    what = f"{line['kind']} of {line['service']} for {', '.join(line['purposes'])}, {line['time']}"
    codes = " ".join(code for code in line["codes"] if "/holds/" not in code)
    return f"{line['position']}  {line['outcome']}{changed}  {what}  {codes}".rstrip()


def _print(found: Mapping[str, Any], shape: Format) -> None:
    out = console.get()
    if shape is Format.JSON:
        out.data(found)
    elif shape is Format.CSV:
        _csv(("group", "name", "count", *_COUNTS[1:]))
        for group, name, counts in _lines(found):
            _csv((group, name, *(counts[count] for count in _COUNTS)))
        for name, count in found["complaints"].items():
            _csv(("complaints", name, count, "", "", "", ""))
    else:
        _tables(found)


def _lines(found: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, int]]]:
    yield "all", "", found
    for group in _GROUPS:
        for counts in found[f"by_{group}"]:
            yield group, counts[group], counts


def _tables(found: Mapping[str, Any]) -> None:
    out = console.get()
    widths = [(name, 13) for name in _COUNTS]
    out.table([("", 0), *widths], [["all verdicts", *(f"{found[name]:,}" for name in _COUNTS)]])
    for group in _GROUPS if found["judged"] else ():
        lines = found[f"by_{group}"]
        rows = [[counts[group], *(f"{counts[name]:,}" for name in _COUNTS)] for counts in lines[:_ROWS]]
        out.table([(group, 0), *widths], rows)
        more = len(lines) - _ROWS + found["left_off"].get(group, 0)
        if more > 0:
            out.data(f"  and {more:,} more: --format json has them")
    complaints = found["complaints"]
    out.data(f"complaints: {complaints['open']:,} open, {complaints['answered']:,} answered")
    out.say(f"complete through {', '.join(found['complete_through']) or 'nothing'}")

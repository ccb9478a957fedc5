"""`consent-ledger what-if --policy FILE`: judges the recorded history under a draft policy, and says what would change.

    $ export CONSENT_LEDGER_CONFIG=city/consent-ledger.env
    $ consent-ledger what-if --policy draft.json --html what-if.html
    312 of 7,000 verdicts would have another outcome; 40 would keep theirs for other reasons
    ...

Reads the log itself (CONSENT_LEDGER_KAFKA) and no database: the live views are never touched. The draft takes the place
of every recorded policy and is in force for all time; with `--from-its-date` it joins them, in force from its
`effective_from`. Samples are positions, never bodies or residents. Exit: 0 no outcome would change; 1 some would;
2 usage, or a malformed policy; 3 a partition could not be read to its end, or nothing was judged.
"""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli import console
from api.cli.evidence import write_whole
from api.cli.over_log import OverLog, Ray, Until, Workers, halted_lines, over_log
from api.cli.policy import read_policy

if TYPE_CHECKING:  # imported where they are used: other commands start without the servers' code
    from replay.analysis.judging import Draft
    from replay.analysis.what_if import Comparison, Matrix, Sample

_ROWS = 20
_MAX_SAMPLES = 100


def what_if(
    policy: Annotated[str, typer.Option("--policy", help="The draft as JSON, `-` for stdin.", metavar="FILE")],
    from_its_date: Annotated[
        bool,
        typer.Option("--from-its-date", help="Keep the recorded policies; the draft joins them from its date on."),
    ] = False,
    html: Annotated[
        str | None, typer.Option("--html", help="Write the report with charts to this file.", metavar="FILE")
    ] = None,
    samples: Annotated[
        int, typer.Option("--samples", min=0, max=_MAX_SAMPLES, help="Samples of each change.", metavar="N")
    ] = 5,
    until: Until = None,
    workers: Workers = 1,
    ray: Ray = None,
) -> None:
    """Judge the recorded history under a draft policy and report what would change."""
    from replay.analysis.judging import Draft
    from replay.analysis.what_if import of_partition, together

    out = console.get()
    draft = Draft(read_policy(policy), from_its_date)
    work = partial(of_partition, draft=draft, samples=samples)
    found = together(over_log(work, OverLog(workers, until or (), ray), "judging"), samples)
    if html is not None:
        _write(html, found, draft)
    if out.json:
        out.data(found.json(draft))
    else:
        _tell(found, draft)
    out.flush()
    for line in halted_lines(found.parts):
        out.warn(line)
    if html is not None:
        out.say(f"the report with charts is in {html}")
    if not found.judged:
        out.problem({"title": "Nothing judged", "detail": "the log holds no collection, use or share to judge"})
        raise typer.Exit(console.INCOMPLETE)
    if found.halted:
        raise typer.Exit(console.INCOMPLETE)
    if found.changed:
        raise typer.Exit(console.FINDING)


def _write(file: str, found: "Comparison", draft: "Draft") -> None:
    from replay.analysis.page import page

    write_whole(Path(file), page(found, draft).encode())


# --- words ------------------------------------------------------------------------------------------------------


def _tell(found: "Comparison", draft: "Draft") -> None:
    from projections.summary import OUTCOMES
    from replay.analysis.what_if import CHANGES, most_changed, most_moved

    out = console.get()
    other = f"; {found.other_reasons:,} would keep theirs for other reasons" if found.other_reasons else ""
    place = "beside the recorded policies, from its date" if draft.from_its_date else "instead of every recorded policy"
    out.data(f"{draft.policy.policy_id} {draft.policy.version}, {place}:")
    out.data(f"{found.changed:,} of {found.judged:,} verdicts would have another outcome{other}")
    if not found.judged:
        return
    rows = [[one, *(f"{found.matrix[one, other]:,}" for other in OUTCOMES)] for one in OUTCOMES]
    out.table([("recorded, by the draft →", 26), *((outcome, 14) for outcome in OUTCOMES)], rows)
    for called, counts in (("purpose", found.by_purpose), ("service", found.by_service)):
        lines = most_changed(counts)
        shown = [
            [name, f"{sum(matrix.values()):,}", f"{sum(matrix.get(pair, 0) for pair in CHANGES):,}", _changes(matrix)]
            for name, matrix in lines[:_ROWS]
        ]
        out.table([(called, 0), ("judged", 10), ("changed", 10), ("from → to", 44)], shown)
        _left_off(len(lines))
    codes = most_moved(found.codes)
    if codes:
        shown = [
            [str(code), f"{counts.appearing:,}", f"{counts.disappearing:,}", _changes(counts.transitions)]
            for code, counts in codes[:_ROWS]
        ]
        out.table([("reason", 0), ("appears", 10), ("disappears", 11), ("of those that change", 28)], shown)
        _left_off(len(codes))
    for pair in CHANGES:
        for sample in found.samples.get(pair, []):
            out.data(_sample(sample))


def _left_off(lines: int) -> None:
    if lines > _ROWS:
        console.get().data(f"  and {lines - _ROWS:,} more: --json has all")


def _changes(matrix: "Matrix") -> str:
    changed = [(pair, count) for pair, count in sorted(matrix.items()) if count and pair[0] != pair[1]]
    return ", ".join(f"{one[:3]}→{other[:3]} {count:,}" for (one, other), count in changed) or "none"


def _sample(sample: "Sample") -> str:
    what = f"{sample.kind} of {sample.service} for {', '.join(sample.purposes)}"
    reasons = [f"-{code}" for code in sample.disappearing] + [f"+{code}" for code in sample.appearing]
    return f"{sample.position}  {sample.transition[0]} → {sample.transition[1]}  {what}  {' '.join(reasons)}"

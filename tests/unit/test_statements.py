"""Keeps two promises: the policy file says what the City said, and docs/statements.md says what the judge does.

Each row of the table in docs/statements.md names a history and the finding it must give; here it is judged.
"""

import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

import orjson
import pytest

from ledger import codec
from ledger.events import KINDS
from ledger.history import judge_history
from ledger.policy import my_san_jose
from ledger.reasons import ANY_VERSION, REASONS
from tests.reference.judge import judge_all

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "statements.md"
POLICY_FILE = ROOT / "ledger" / "policies" / "my-san-jose-2018-04-18.json"
POLICY_README = POLICY_FILE.with_name("README.md")
HISTORIES = ROOT / "tests" / "vectors" / "statements"

COLUMNS = ("statement", "answered by", "history", "event", "finding", "what no event can show")
NO_EVENT = "**no event can show it**"
OURS = "(not in the policy's text: our reading)"
NUMBERED = tuple(f"4.{n}" for n in range(1, 10))

NEEDS_A_LIST = {("automatic", "holds", "listed"), ("automatic", "violated", "not-listed")}
"""The only findings of the contract that this policy cannot give: the City's list of statement 3 is blank."""


class Row(NamedTuple):
    """One row of the table in docs/statements.md, back-quotes of event and finding taken off."""

    statement: str
    answered_by: str
    history: str
    event: str
    finding: str
    beyond: str


def rows() -> list[Row]:
    """The rows of every table of the document; refuses a table with other columns."""
    found: list[Row] = []
    for line in DOCUMENT.read_text(encoding="utf-8").splitlines():
        if not line.startswith("|"):
            continue
        cells = tuple(cell.strip() for cell in line.strip().strip("|").split("|"))
        assert len(cells) == len(COLUMNS), line
        if cells[0] == COLUMNS[0]:
            assert cells == COLUMNS
        elif set(line) - set("|- "):
            found.append(Row(cells[0], cells[1], cells[2], cells[3].strip("`"), cells[4].strip("`"), cells[5]))
    return found


ROWS = rows()
JUDGED = [row for row in ROWS if row.history != "none"]
BEYOND = [row for row in ROWS if row.history == "none"]


@cache
def findings(history: str) -> dict[str, list[str]]:
    """What the judge finds in a history, as the table writes it, by the id of the judged event."""
    lines = (HISTORIES / history).read_bytes().splitlines()
    return {row.event.id: [as_text(*f[:4]) for f in row.verdict.findings] for row in judge_history(lines)}


@cache
def findings_of_the_reference(history: str) -> dict[str, list[str]]:
    """The same by the reference judge, which rereads the whole history and shares nothing with the product."""
    lines = (HISTORIES / history).read_bytes().splitlines()
    judged = judge_all(enumerate(map(codec.read, lines), start=1))
    return {verdict.id: [as_text(*f) for f in verdict.findings] for verdict in judged}


def as_text(rule: str, result: str, code: str, categories: tuple[str, ...]) -> str:
    """A finding as the table writes it: `rule result/code [categories]`."""
    return f"{rule} {result}/{code}" + (f" [{', '.join(categories)}]" if categories else "")


def folded(text: str) -> str:
    """The text with every run of white space, no-break spaces too, as one space."""
    return " ".join(text.split())


# --- the table --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", JUDGED, ids=lambda row: f"{row.history}:{row.event}:{row.finding.split(' ')[0]}")
def test_the_history_of_a_row_gives_the_finding_that_the_row_promises(row: Row) -> None:
    assert row.finding in findings(row.history)[row.event]
    assert row.finding in findings_of_the_reference(row.history)[row.event]


def test_a_row_without_a_history_says_that_no_event_can_show_it_and_why() -> None:
    assert BEYOND
    for row in BEYOND:
        assert (row.event, row.finding) == ("none", "none"), row
        assert row.beyond.startswith(NO_EVENT), row
        assert len(row.beyond.removeprefix(NO_EVENT).strip(" :")) > 40, row
    assert not [row for row in JUDGED if NO_EVENT in row.beyond]


def test_every_statement_and_numbered_purpose_of_the_policy_has_a_row() -> None:
    policy = my_san_jose()
    wanted = {s.id for s in policy.statements} | {p.id for p in policy.purposes if p.id in NUMBERED}
    assert {row.statement for row in ROWS} == wanted
    introductions = {"4/operating", "4/communicating"}
    assert wanted - {row.statement for row in JUDGED} == introductions


def test_every_finding_that_this_policy_can_give_is_in_the_table() -> None:
    version = my_san_jose().version
    wanted = {
        f"{rule} {result}/{version if code == ANY_VERSION else code}"
        for rule, result, code in REASONS
        if (rule, result, code) not in NEEDS_A_LIST
    }
    assert {row.finding.split(" [")[0] for row in JUDGED} == wanted


def test_every_event_kind_that_the_table_names_is_in_the_catalogue() -> None:
    named = {kind for row in ROWS for kind in re.findall(r"`([a-z-]+\.[a-z]+)`", row.answered_by + row.beyond)}
    assert named <= set(KINDS)
    assert {"notice.given", "data.collected", "data.used", "data.shared", "consent.given"} <= named


def test_every_history_is_named_by_a_row_and_begins_with_the_policy_file() -> None:
    files = sorted(HISTORIES.glob("*.ndjson"))
    assert {path.name for path in files} == {row.history for row in JUDGED}
    policy = orjson.loads(POLICY_FILE.read_bytes())
    for path in files:
        first = orjson.loads(path.read_bytes().split(b"\n", 1)[0])
        assert first["type"] == "org.consent-ledger.policy.published.v1", path.name
        assert first["data"] == policy, f"{path.name}: run tests/vectors/statements/refresh.py"


# --- the policy file --------------------------------------------------------------------------------------------


def source() -> str:
    """The City's text as published, white space folded, from its first sentence of policy to its end."""
    text = folded((HISTORIES / "privacy-policy.txt").read_text(encoding="utf-8"))
    return text[text.index("The City of San José is committed") :]


def test_every_word_of_the_source_is_in_the_policy_file_in_its_order() -> None:
    policy = my_san_jose()
    text = {s.id: folded(s.text) for s in policy.statements}
    purpose = {p.id: folded(p.text) for p in policy.purposes}
    parts = [text["scope"]]
    for n in range(1, 9):
        parts.append(f"{n}. {text[str(n)]}")
        if n == 4:
            parts.append(text["4/operating"])
            parts += [f"• {i} {purpose[i]}" for i in NUMBERED[:5]]
            parts.append(text["4/communicating"])
            parts += [f"• {i} {purpose[i]}" for i in NUMBERED[5:]]
    parts += [text["complaints"], text["social"]]
    rest = source()
    for part in parts:
        rest = re.sub(r"^(;|; and|\.)? ?(?=•|Communicating|5\. )", "", rest)
        assert rest.startswith(part), part
        rest = rest[len(part) :].lstrip(" ")
    assert rest == ""
    assert len(text) == 8 + 5


def test_the_blank_list_of_statement_3_is_left_empty() -> None:
    policy = my_san_jose()
    assert policy.automatic.categories == ()
    assert next(s.text for s in policy.statements if s.id == "3").endswith("about you, including:")


def test_what_is_not_the_citys_carries_our_mark() -> None:
    policy = my_san_jose()
    for p in policy.purposes:
        assert ("our reading" in p.text) == (p.id not in NUMBERED), p.id
    assert all(pair.because.endswith(OURS) for pair in policy.consistent)
    of_the_city = {"name", "email", "communication-preferences"}
    for c in policy.categories:
        assert c.label.endswith(" (our reading)") == (c.id not in of_the_city), c.id


def test_the_readme_beside_the_policy_names_everything_that_is_ours() -> None:
    policy = my_san_jose()
    readme = POLICY_README.read_text(encoding="utf-8")
    ours = [p.id for p in policy.purposes if p.id not in NUMBERED]
    ours += [c.id for c in policy.categories] + [b.id for b in policy.legal_bases] + list(policy.channels)
    assert [i for i in ours if f"`{i}`" not in readme] == []
    for c in policy.categories:
        parent = f"`{c.parent}`" if c.parent else "-"
        assert f"| `{c.id}` | {'yes' if c.identifying else 'no'} | {parent} |" in readme
    for pair in policy.consistent:
        assert re.search(rf"^\| `{pair.purpose}` \(.*\| `{pair.with_}` \(", readme, re.MULTILINE), pair


def test_every_category_is_necessary_for_some_purpose_but_what_a_social_account_holds_beyond_name_and_email() -> None:
    policy = my_san_jose()
    needed = {c for p in policy.purposes for c in p.categories or ()}
    parents = {c.id: c.parent for c in policy.categories}
    unneeded = {c for c in parents if c not in needed and parents[c] not in needed}
    assert unneeded == {"contact", "social-profile"}


def test_every_text_fits_and_the_policy_fits_into_one_event() -> None:
    raw = orjson.dumps(orjson.loads(POLICY_FILE.read_bytes()))
    assert len(raw) < 30 * 1024
    assert all(len(s.text) <= 4_000 for s in my_san_jose().statements)

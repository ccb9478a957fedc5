"""The report of a what-if in HTML: whole in one file, safe, readable without colour, with a table beside each chart."""

import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import msgspec
import pytest

from ledger.policy import my_san_jose
from replay.analysis.judging import Draft
from replay.analysis.page import BARS, ROWS, page
from replay.analysis.reading import Halted, Part
from replay.analysis.what_if import CHANGES, Comparison, compare, together
from tests.property.dice import Dice
from tests.property.reference_facts import policy
from tests.property.strategies import random_history

VOID = {"meta", "link", "br", "wbr", "hr", "img", "input"}


class Strict(HTMLParser):
    """Reads a page and holds that every element is closed where it was opened."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data: str) -> None:
        self.text += data


def parsed(text: str) -> Strict:
    found = Strict()
    found.feed(text)
    assert found.open == []
    return found


def draft(**changes: object) -> Draft:
    return Draft(msgspec.structs.replace(policy(Dice(5), 3), version="draft", **changes))


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    parts = []
    for seed in range(12):
        found = compare(seed, random_history(Dice(seed), ("r1", "r2")), draft())
        halted = Halted("7-40", "unknown-type") if seed == 7 else None
        found.parts.append(Part(seed, 40, 40, halted))
        parts.append(found)
    return together(parts)


def test_it_is_one_file_without_scripts_handlers_or_anything_from_elsewhere(comparison: Comparison) -> None:
    text = page(comparison, draft())
    found = parsed(text)
    tags = {tag for tag, _ in found.elements}
    assert not tags & {"script", "iframe", "object", "embed", "link", "img", "form", "base", "a"}
    for _, attributes in found.elements:
        assert not any(name.startswith("on") or name in ("href", "src", "style") for name in attributes)
    assert not re.search(r"https?://|@import|url\((?!#)", text)
    [html] = [attributes for tag, attributes in found.elements if tag == "html"]
    assert html["lang"] == "en"
    assert "default-src 'none'" in text


def test_every_number_of_a_chart_is_in_a_table_too(comparison: Comparison) -> None:
    text = page(comparison, draft())
    assert f"<strong>{comparison.changed:,}</strong> of {comparison.judged:,} verdicts" in text
    charts = re.findall(r"<figure>\s*(<svg.*?</svg>)", text, re.DOTALL)
    assert len(charts) == 4
    assert text.count("<table>") == 6
    for chart in charts:
        drawing = ElementTree.fromstring(chart)
        assert drawing.get("role") == "img"
        title = drawing.find("title")
        assert title is not None
        assert title.text
        assert title.get("id") == drawing.get("aria-labelledby")
        bars = drawing.findall("g")
        assert 0 < len(bars) <= BARS
        for bar in bars:
            numbers = [t.text for t in bar.findall("text") if t.get("class") == "number"]
            pieces = [re.sub(r"\D", "", str(t.text)) for t in bar.findall("rect/title")]
            assert [sum(map(int, pieces))] == [int(str(n).replace(",", "")) for n in numbers]
            ends = [float(str(r.get("x"))) + float(str(r.get("width"))) for r in bar.findall("rect")]
            assert max(ends) <= 302
    rows = re.findall(r'<th scope="row">(consistent|inconsistent|undetermined)</th>\s*(.*?)</tr>', text, re.DOTALL)
    for one, cells in rows:
        counts = [int(n.replace(",", "")) for n in re.findall(r"<td[^>]*>\s*([\d,]+)", cells)]
        assert counts[:3] == [comparison.matrix[one, other] for other in ("consistent", "inconsistent", "undetermined")]
        assert counts[3] == sum(counts[:3])


def test_colour_is_never_alone(comparison: Comparison) -> None:
    text = page(comparison, draft())
    for look in ("inconsistent", "undetermined", "disappearing"):
        assert re.search(rf"\.{look} {{ fill: url\(#\w+\)", text), "a pattern besides the colour"
    assert text.count('class="key"') == 3 * 3 + 2, "each chart has its legend in words"


def test_a_partition_that_stopped_is_said_before_anything_else(comparison: Comparison) -> None:
    text = page(comparison, draft())
    assert "Incomplete." in text
    assert "7-40 (unknown-type)" in text
    assert text.index("Incomplete.") < text.index("verdicts would")


def test_samples_are_positions_and_name_nobody(comparison: Comparison) -> None:
    text = parsed(page(comparison, draft())).text
    for samples in comparison.samples.values():
        for sample in samples:
            assert str(sample.position) in text
    assert not re.search(r"\br[12]\b", text), "no resident is named"
    assert set(comparison.samples) <= set(CHANGES)


def test_what_a_policy_says_is_shown_as_text() -> None:
    nasty = '<script>alert("x")</script>'
    text = page(together([compare(0, random_history(Dice(1)), draft())]), draft(title=nasty))
    assert nasty not in text
    assert "&lt;script&gt;" in text
    parsed(text)


def test_nothing_judged_and_many_purposes_are_both_a_page() -> None:
    empty = page(together([]), Draft(my_san_jose(), from_its_date=True))
    assert "0 of 0 verdicts" in parsed(empty).text
    assert "joins the recorded policies" in empty
    many = Comparison()
    for i in range(ROWS + 30):
        many.by_purpose[f"p{i:03}"] = {("consistent", "inconsistent"): 1 + i}
    many.matrix["consistent", "inconsistent"] = sum(range(ROWS + 31))
    text = page(many, draft())
    parsed(text)
    assert "30 more are in the JSON report" in text
    assert f"{ROWS + 30 - BARS} more are in the table" in text

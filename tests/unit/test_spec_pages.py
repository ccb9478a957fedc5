"""docs/spec/events.md and verdicts.md say what the code does: examples are read and judged, tables are the code's own.

The tables of events.md are made from `ledger.events`; `python -m tests.unit.test_spec_pages` writes them anew.
"""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest
from msgspec import inspect

from ledger import codec, events
from ledger.events import EVENTS, KINDS, LEDGER_ONLY, Event
from ledger.facts import backdated
from ledger.history import judge_history, line_json
from ledger.reasons import REASONS

ROOT = Path(__file__).resolve().parents[2]
EVENTS_PAGE = ROOT / "docs" / "spec" / "events.md"
VERDICTS_PAGE = ROOT / "docs" / "spec" / "verdicts.md"
NESTED = (
    events.StatedPurpose,
    events.ByConsent,
    events.ByLaw,
    events.About,
    events.Names,
    events.Statement,
    events.Purpose,
    events.Category,
    events.Operation,
    events.ConsistentPair,
    events.RecipientKind,
    events.Automatic,
    events.SocialLogin,
    events.Channel,
    events.LegalBasis,
)
WORDS = {
    "an id: 1 to 64 of A-Z a-z 0-9 - _ . :": "id",
    "an identifier of the policy's vocabulary": "identifier",
    "a URI reference": "source",
    "RFC 3339, T and Z or offset, at most 6 fraction digits": "time",
    "plain text, no personal data": "text",
    "a text of the policy": "text",
    "BCP 47": "BCP 47 tag",
}
_MARKED = re.compile(r"(<!-- generated: ([a-z]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_FINDING = re.compile(r"^\| `([a-z-]+)` \| `([a-z]+)/([a-z*-]+)` \| (\S+) \|", re.MULTILINE)


# --- the tables of events.md ------------------------------------------------------------------------------------


def words(node: inspect.Type) -> str:
    """A member's type in a few words."""
    match node:
        case inspect.Metadata(type=inner, extra_json_schema=extra):
            return WORDS.get((extra or {}).get("description", ""), "") or words(inner)
        case inspect.UnionType(types=types):
            parts = [words(t) for t in types if not isinstance(t, inspect.NoneType)]
            if "sealed" in parts:
                return "sealed"
            if parts[0] == "stated-purpose":
                return "basis"
            return " or ".join([*parts, *("null" for t in types if isinstance(t, inspect.NoneType))])
        case inspect.VarTupleType(item_type=item):
            return f"[{words(item)}]"
        case inspect.DictType(value_type=value):
            return f"identifier to {words(value)}"
        case inspect.LiteralType(values=values):
            return ", ".join(f"`{v}`" for v in sorted(map(str, values)))
        case inspect.BoolType():
            return "true or false"
        case inspect.StructType(cls=events.Sealed):
            return "sealed"
        case inspect.StructType(cls=cls):
            return name_of(cls)
        case _:
            return "text"


def name_of(cls: type) -> str:
    """What a struct inside `data` is called on the page."""
    if cls in (events.StatedPurpose, events.ByConsent, events.ByLaw):
        return str(cls.__struct_config__.tag)
    return re.sub(r"(?<!^)([A-Z])", r" \1", cls.__name__).lower()


def members(cls: type) -> str:
    """The members of a struct: name, `?` when it may be absent, type."""
    found = inspect.type_info(cls)
    assert isinstance(found, inspect.StructType)
    parts = []
    for field in found.fields:
        optional = "" if field.required else "?"
        parts.append(f"`{field.encode_name}{optional}` {words(field.type)}")
    return "; ".join(parts) or "none"


def rows(reference: bool) -> Iterator[str]:
    yield "| kind | scope | `data` | is |"
    yield "| --- | --- | --- | --- |"
    for event in EVENTS.values():
        if event.reference is None or event.reference is reference:
            scope = "ledger" if event.scope == LEDGER_ONLY else event.scope
            if event.reference is None and reference:
                scope = events.RULES_WRITE
            data = members(event.__annotations__["data"])
            yield f"| `{event.kind}` | `{scope}` | {data} | {event.__doc__} |"


def nested() -> Iterator[str]:
    yield "| what | members | is |"
    yield "| --- | --- | --- |"
    for cls in NESTED:
        tag = cls.__struct_config__.tag
        kind = f"`kind` `{tag}`; " if tag else ""
        name = f"basis `{tag}`" if tag else name_of(cls)
        yield f"| {name} | {(kind + members(cls)).removesuffix('; none')} | {cls.__doc__} |"


def written_anew(page: str) -> str:
    made = {"reference": list(rows(True)), "resident": list(rows(False)), "nested": list(nested())}
    assert {name for _, name, _ in _MARKED.findall(page)} == set(made)
    return _MARKED.sub(lambda m: m[1] + "\n" + "\n".join(made[m[2]]) + "\n\n" + m[3], page)


# --- what the pages promise -------------------------------------------------------------------------------------


def examples(page: Path) -> list[bytes]:
    return [
        block.encode()
        for block in re.findall(r"^```json\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    ]


def test_the_tables_of_the_events_page_are_those_of_the_code() -> None:
    page = EVENTS_PAGE.read_text("utf-8")
    assert page == written_anew(page), "write them anew: python -m tests.unit.test_spec_pages"


def test_the_example_event_is_one_that_the_door_takes() -> None:
    [example] = examples(EVENTS_PAGE)
    assert codec.parse(example).kind == "data.used"


def test_every_struct_inside_data_is_explained() -> None:
    found: set[type] = set()

    def walk(node: Any) -> None:
        if isinstance(node, inspect.StructType) and node.cls not in found:
            found.add(node.cls)
        for name in getattr(node, "__struct_fields__", ()):
            value = getattr(node, name)
            for item in value if isinstance(value, tuple | list) else [value]:
                if isinstance(item, inspect.Type | inspect.Field):
                    walk(item)

    for event in EVENTS.values():
        walk(inspect.type_info(event.__annotations__["data"]))
    kinds = {event.__annotations__["data"] for event in EVENTS.values()}
    assert found - kinds - {events.Sealed, events.SealedText} == set(NESTED)


def test_every_code_of_a_refused_event_is_listed() -> None:
    page = EVENTS_PAGE.read_text("utf-8")
    table = re.findall(r"^\| 4.*", page.partition("## What a refusal says")[2], re.MULTILINE)
    listed = set(re.findall(r"`([a-z0-9-]+)`", "\n".join(table)))
    sources = [ROOT / "ledger" / f"{name}.py" for name in ("codec", "policy", "recording/record")]
    text = "\n".join(path.read_text("utf-8") for path in [*sources, ROOT / "api" / "http" / "cloudevents.py"])
    used = set(re.findall(r"""Problem\([^()]*?,\s*"([a-z0-9-]+)"\)""", text))
    used |= set(re.findall(r"""Unparsable\("([a-z0-9-]+)"\)""", text)) | set(
        re.findall(r', "(unknown-[a-z]+)"\)', text)
    )
    used |= {code for _, code in codec._CODES}
    assert used and used <= listed
    assert listed - used <= {"malformed", "unknown-type", "unknown-value", "json", "nesting"}, "no such code"


def test_the_example_verdict_is_the_judge_s() -> None:
    [example] = examples(VERDICTS_PAGE)
    history = ROOT / "tests" / "vectors" / "examples" / "v05-consent-then-withdrawn.ndjson"
    said = [line_json(row) for row in judge_history(history.read_bytes().splitlines())]
    assert orjson.loads(example) in said


def test_the_verdicts_page_lists_every_reason_with_its_statement() -> None:
    listed = _FINDING.findall(VERDICTS_PAGE.read_text("utf-8"))
    assert len(listed) == len(set(listed))
    wanted = {(*key, reason.statement or "-") for key, reason in REASONS.items()}
    assert set(listed) == wanted


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_the_verdicts_page_names_the_grants_that_can_be_backdated(kind: str) -> None:
    golden = (ROOT / "tests" / "vectors" / "golden" / f"{kind}.v1.json").read_bytes()
    event: Event = codec.read(golden)
    changes: dict[str, Any] = {"time": "2026-01-01T00:00:00Z", "recordedtime": "2026-03-01T00:00:00Z"}
    if kind == "agreement.signed":
        changes["data"] = msgspec.structs.replace(event.data, valid_from="2026-01-01T00:00:00Z")
    page = VERDICTS_PAGE.read_text("utf-8")
    named = f"`{kind}`" in page.partition("*Backdated*")[2].partition("##")[0]
    assert backdated(msgspec.structs.replace(event, **changes)) == named


def test_the_page_of_libraries_gives_a_reason_for_each_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = (lines for name, lines in project["optional-dependencies"].items() if name != "dev")
    wanted = [*project["dependencies"], *(line for lines in extras for line in lines)]
    page = (ROOT / "docs" / "decisions" / "0006-libraries.md").read_text("utf-8")
    listed = re.findall(r"^\| `([a-z0-9-]+)` \|", page, re.MULTILINE)
    assert sorted(listed) == sorted(re.match(r"[A-Za-z0-9-]+", line)[0] for line in wanted)  # type: ignore[index]


if __name__ == "__main__":
    EVENTS_PAGE.write_text(written_anew(EVENTS_PAGE.read_text("utf-8")), "utf-8")

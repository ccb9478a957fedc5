"""Every word of the pages in every language: nothing missing, nothing left over, placeholders kept."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from babel.messages.catalog import Message
from babel.messages.extract import extract_from_dir

from api.pages.words import LANGUAGES, SOURCE, catalogs, words
from ledger.policy import my_san_jose
from ledger.reasons import REASONS

PAGES = Path(__file__).resolve().parents[2] / "api" / "pages"
TRANSLATIONS = tuple(language for language in LANGUAGES if language != SOURCE)
_METHODS = [("templates/**.html", "jinja2"), ("**.py", "python")]
_KEYWORDS = {"_": None, "gettext": None, "ngettext": (1, 2), "text": None, "plural": (1, 2), "marked": None}
_PLACEHOLDER = re.compile(r"%\(([a-z_]+)\)s")


def written() -> set[str | tuple[str, str]]:
    """Every text of templates and of the pages' code."""
    found = extract_from_dir(
        PAGES, _METHODS, keywords=_KEYWORDS, options_map={"templates/**.html": {"trimmed": "false", "silent": "false"}}
    )
    return {message if isinstance(message, str) else (message[0], message[1]) for _, _, message, _, _ in found}


def of_data() -> set[str | tuple[str, str]]:
    """Every text that comes from data which the product ships."""
    policy = my_san_jose()
    texts = [policy.title, *(s.text for s in policy.statements), *(p.text for p in policy.purposes)]
    texts += [*(c.label for c in policy.categories), *(o.label for o in policy.operations)]
    texts += [*(c.because for c in policy.consistent), *(b.citation for b in policy.legal_bases)]
    return {*texts, *(reason.text for reason in REASONS.values())}


def translated(language: str) -> Iterator[tuple[str, Message]]:
    for name, catalog in catalogs(language).items():
        for message in catalog:
            if message.id:
                yield name, message


@pytest.mark.parametrize("language", TRANSLATIONS)
def test_every_text_of_the_pages_stands_in_every_language(language: str) -> None:
    known = {message.id if isinstance(message.id, str) else tuple(message.id) for _, message in translated(language)}
    assert written() | of_data() <= known, f"not in {language}"


@pytest.mark.parametrize("language", TRANSLATIONS)
def test_no_translation_is_of_a_text_that_is_nowhere(language: str) -> None:
    known = {message.id if isinstance(message.id, str) else tuple(message.id) for _, message in translated(language)}
    assert known <= written() | of_data(), f"left over in {language}"


@pytest.mark.parametrize("language", TRANSLATIONS)
def test_each_translation_says_something_and_keeps_its_placeholders(language: str) -> None:
    seen: dict[object, str] = {}
    for name, message in translated(language):
        given = [message.id] if isinstance(message.id, str) else list(message.id)
        said = [message.string] if isinstance(message.string, str) else list(message.string or [""])
        assert all(said), f"{name}: nothing said for {given[0]!r}"
        for text in said:
            assert set(_PLACEHOLDER.findall(text)) <= set(_PLACEHOLDER.findall(" ".join(given))), given
        assert set(_PLACEHOLDER.findall(said[-1])) == set(_PLACEHOLDER.findall(given[-1])), given
        key = given[0]
        assert key not in seen, f"{key!r} stands in {seen[key]} and in {name}"
        seen[key] = name


@pytest.mark.parametrize("language", TRANSLATIONS)
def test_a_machine_made_translation_is_marked_until_a_person_has_read_it(language: str) -> None:
    assert words(language).unreviewed == any(message.fuzzy for _, message in translated(language))
    assert not words(SOURCE).unreviewed

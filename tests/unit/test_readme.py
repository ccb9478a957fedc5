"""The README's commands are real: each is understood as it stands there, and those that need no server are run.

A ```console block holds commands (`$ …`, going on while a quote is open) and, below each, what it prints; `…` stands
for anything. Commands of ours are parsed by the program itself; `curl` must name an address that the API has, and its
body must be an event that the door reads; what can run without a server is run, and must print what the README says.
"""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import typer.main

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
OFFLINE = ("judge", "policy show", "policy check")
_BLOCK = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)#]+)(?:#[^)]*)?\)")


class Snippet(NamedTuple):
    """One command of the README, its words, and the lines that it is said to print."""

    text: str
    words: list[str]
    output: list[str]


def snippets(text: str) -> Iterator[Snippet]:
    """The commands of every console block, with their output."""
    for block in _BLOCK.findall(text):
        command, output = "", list[str]()
        for line in block.splitlines():
            if command.endswith("\\"):
                command = command.removesuffix("\\") + line
            elif _open(command):
                command += "\n" + line
            elif line.startswith("$ "):
                if command:
                    yield Snippet(command, shlex.split(command, comments=True), output)
                command, output = line[2:], []
            else:
                output.append(line)
        if command:
            yield Snippet(command, shlex.split(command, comments=True), output)


def _open(command: str) -> bool:
    """Whether the command goes on: a quote is open."""
    try:
        shlex.split(command, comments=True)
    except ValueError:
        return True
    return False


SNIPPETS = list(snippets(README.read_text("utf-8")))


def ours(snippet: Snippet) -> list[str] | None:
    """The arguments when the command is `consent-ledger`, settings before it left out."""
    words = list(snippet.words)
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words.pop(0)
    return words[1:] if words and Path(words[0]).name == "consent-ledger" else None


def test_the_reader_of_snippets_finds_commands_and_their_output() -> None:
    text = "```console\n$ a 'b\nc'   # why\nprinted\n$ d \\\n  e\n```\n```sh\n$ not this\n```\n"
    found = [(s.words, s.output) for s in snippets(text)]
    assert found == [(["a", "b\nc"], ["printed"]), (["d", "e"], [])]


def test_the_readme_has_commands() -> None:
    assert len([s for s in SNIPPETS if ours(s)]) >= 3


@pytest.mark.parametrize("snippet", SNIPPETS, ids=lambda s: s.text.partition("\n")[0][:60])
def test_a_command_is_understood_as_it_stands(snippet: Snippet) -> None:
    arguments = ours(snippet)
    if arguments is not None:
        _understand(arguments)
    elif snippet.words[0] == "./dev":
        usage = subprocess.run(["./dev", "help"], cwd=ROOT, capture_output=True, text=True, timeout=30).stdout
        assert re.search(rf"^  {re.escape(snippet.words[1])} ", usage, re.MULTILINE), "`./dev help` does not know it"
    elif snippet.words[0] == "curl":
        _understand_curl(snippet.words)
    else:
        assert snippet.words[0] in ("cd", "export", "git"), "the README may show commands of the product alone"


def _understand(arguments: list[str]) -> None:
    from api.cli import app
    from api.cli.console import take_flags

    rest = take_flags(arguments)[1]
    command = typer.main.get_command(app)
    context = command.make_context("consent-ledger", list(rest))
    name, command, rest = command.resolve_command(context, list(rest))  # type: ignore[attr-defined]
    while hasattr(command, "resolve_command"):
        context = command.make_context(name, list(rest), parent=context)
        rest = [*context._protected_args, *context.args]
        if not rest and command.invoke_without_command:
            return
        name, command, rest = command.resolve_command(context, list(rest))
    command.make_context(name, list(rest), parent=context)  # raises for what it does not know


def _understand_curl(words: list[str]) -> None:
    from api.http import answers, events
    from ledger import codec

    [address] = [word for word in words[1:] if re.match(r"\$API/|http", word)]
    path = "/" + re.sub(r"^(\$API|https?://[^/]+)/", "", address).partition("?")[0]
    routers = [events.router, *answers.routers()]
    patterns = [route.path for router in routers for route in router.routes if hasattr(route, "path")]
    as_regex = [re.sub(r"\{[^}]+\}", "[^/]+", pattern) for pattern in patterns]
    assert any(re.fullmatch(pattern, path) for pattern in as_regex), "the API has no such address"
    if "-d" in words:
        codec.parse(words[words.index("-d") + 1].encode())


RUN = [s for s in SNIPPETS if " ".join(ours(s) or ()).startswith(OFFLINE)]


@pytest.mark.parametrize("snippet", RUN, ids=lambda s: s.text[:60])
def test_a_command_that_needs_no_server_does_what_the_readme_says(snippet: Snippet) -> None:
    command = [sys.executable, "-m", "api.cli", *(ours(snippet) or ())]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    if snippet.output:
        pattern = "\n".join(map(re.escape, snippet.output)).replace("…", "(?s:.*?)")
        assert re.fullmatch(pattern, done.stdout.rstrip("\n")), done.stdout


def test_a_command_of_the_readme_is_run() -> None:
    assert RUN


def test_every_link_into_the_repository_leads_somewhere() -> None:
    links = [link for link in _LINK.findall(README.read_text("utf-8")) if "://" not in link]
    assert links
    missing = [link for link in links if not (ROOT / link).exists()]
    assert missing == []

"""The pages as a resident meets them: a real browser signs in by a click and reads, in three languages, without script.

And what a browser does not do by itself: forms from elsewhere, sessions that have ended, pages of others.
"""

import html
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, sync_playwright

from api.city.people import PEOPLE
from api.pages.words import LANGUAGES, words
from tests.answering import AnsweringLedger, collection, notice, open_ledger, use

pytestmark = [pytest.mark.timeout(300), pytest.mark.browser]
CHROMIUM = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)
ROSA = PEOPLE[0].subject


@pytest.fixture(scope="module")
def ledger(kafka_address: str, database_url: str, tmp_path_factory: Any) -> Iterator[AnsweringLedger]:
    folder: Path = tmp_path_factory.mktemp("pages")
    with open_ledger(kafka_address, database_url, folder, development_sign_in=True) as opened:
        opened.record(notice(ROSA), collection(ROSA), use(ROSA), use(ROSA, "4.7"))
        yield opened


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=CHROMIUM.split())
        yield chromium
        chromium.close()


def address(ledger: AnsweringLedger) -> str:
    return str(ledger.door.client.base_url).rstrip("/").replace("127.0.0.1", "localhost")


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("width", [1_200, 390])
def test_a_resident_signs_in_and_reads_why_each_use_was_allowed_or_not(
    ledger: AnsweringLedger, browser: Browser, language: str, width: int
) -> None:
    spoken = words(language)
    context = browser.new_context(viewport={"width": width, "height": 900})
    page = context.new_page()
    page.goto(f"{address(ledger)}/sign-in?then=/my&lang={language}")
    page.click(f"button[value='{ROSA}']")
    assert page.url.endswith("/my")
    assert page.locator("html").get_attribute("lang") == language
    text = page.inner_text("main")
    assert spoken.text("You were told about this reason.") in text
    assert spoken.text("You were not told about this reason and had not consented to it.") in text
    assert "%(" not in text and "{{" not in text
    assert page.locator(".outcome.inconsistent").count() == 1
    assert page.locator(".outcome.consistent").count() == 2
    assert page.locator("body").evaluate("b => b.ownerDocument.documentElement.scrollWidth") <= width
    page.locator(".timeline a").first.click()
    assert spoken.text("Was it allowed?") in page.inner_text("main")
    assert page.locator("blockquote").count() >= 1
    assert "%(" not in page.inner_text("body")
    places = page.locator("main .small a")
    for address_of_place in [str(places.nth(i).get_attribute("href")) for i in range(places.count())]:
        assert context.request.get(f"{address(ledger)}{address_of_place}").status == 200
    page.click("header button")
    page.goto(f"{address(ledger)}/my")
    assert "/sign-in" in page.url
    context.close()


def test_the_numbers_of_the_page_are_the_api_s(ledger: AnsweringLedger, browser: Browser) -> None:
    entries = ledger.get("/v1/me/log", ledger.resident(ROSA)).json()["entries"]
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{address(ledger)}/sign-in?then=/my&lang=en")
    page.click(f"button[value='{ROSA}']")
    links = page.locator(".timeline p:first-child a")
    shown = [str(links.nth(i).get_attribute("href")).removeprefix("/my/entries/") for i in range(links.count())]
    assert shown == [entry["position"] for entry in entries]
    context.close()


def client_of(ledger: AnsweringLedger) -> httpx.Client:
    return httpx.Client(base_url=str(ledger.door.client.base_url), follow_redirects=False)


def signed_in(ledger: AnsweringLedger, person: str) -> tuple[httpx.Client, str]:
    """A client with the session cookie of this person; over plain HTTP it is sent by hand, as it is `Secure`."""
    client = client_of(ledger)
    same = {"origin": str(ledger.door.client.base_url).rstrip("/"), "sec-fetch-site": "same-origin"}
    answer = client.post("/sign-in/development", data={"person": person}, headers=same)
    assert answer.status_code == 303, answer.status_code
    cookie = next(c for c in answer.headers.get_list("set-cookie") if c.startswith("__Host-session="))
    assert all(word in cookie.lower() for word in ("secure", "httponly", "samesite=lax", "path=/"))
    return client, cookie.partition(";")[0]


def test_a_form_from_another_site_changes_nothing(ledger: AnsweringLedger) -> None:
    client = client_of(ledger)
    for headers in ({}, {"origin": "https://elsewhere.example"}, {"origin": "null", "sec-fetch-site": "cross-site"}):
        answer = client.post("/sign-in/development", data={"person": ROSA}, headers=headers)
        assert answer.status_code == 403
        assert not [c for c in answer.headers.get_list("set-cookie") if c.startswith("__Host-session=")]


def test_a_form_without_its_session_s_token_is_refused(ledger: AnsweringLedger) -> None:
    client, cookie = signed_in(ledger, ROSA)
    same = {"origin": str(ledger.door.client.base_url).rstrip("/"), "sec-fetch-site": "same-origin", "cookie": cookie}
    assert client.post("/sign-out", data={"csrf": "0" * 64}, headers=same).status_code == 403
    assert client.get("/my", headers={"cookie": cookie}).status_code == 200


def test_after_signing_out_the_cookie_is_worth_nothing(ledger: AnsweringLedger) -> None:
    client, cookie = signed_in(ledger, ROSA)
    page = client.get("/my", headers={"cookie": cookie}).text
    token = page.partition('name="csrf" value="')[2].partition('"')[0]
    same = {"origin": str(ledger.door.client.base_url).rstrip("/"), "sec-fetch-site": "same-origin", "cookie": cookie}
    assert client.post("/sign-out", data={"csrf": token}, headers=same).status_code == 303
    assert client.get("/my", headers={"cookie": cookie}).status_code == 303


def test_a_cookie_does_not_speak_to_the_api(ledger: AnsweringLedger) -> None:
    client, cookie = signed_in(ledger, ROSA)
    assert client.get("/v1/me/log", headers={"cookie": cookie}).status_code == 401


def test_a_resident_sees_nobody_else_s_entry_and_an_auditor_no_resident_s_page(ledger: AnsweringLedger) -> None:
    other = PEOPLE[1].subject
    [position, *_] = ledger.record(notice(other))
    client, cookie = signed_in(ledger, ROSA)
    assert client.get(f"/my/entries/{position}", headers={"cookie": cookie}).status_code == 404
    assert client.get("/my/entries/99999-1", headers={"cookie": cookie}).status_code == 404
    client, cookie = signed_in(ledger, "auditor")
    assert client.get("/my", headers={"cookie": cookie}).status_code == 403


def test_every_page_forbids_scripts_framing_and_other_sites(ledger: AnsweringLedger) -> None:
    client, cookie = signed_in(ledger, ROSA)
    for path in ("/", "/policy", "/sign-in", "/my", "/my?from=nonsense"):
        answer = client.get(path, headers={"cookie": cookie, "accept": "text/html"})
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy and "script-src" not in policy
        assert "%(" not in answer.text
        assert "<script" not in answer.text and " style=" not in answer.text and " onclick" not in answer.text
        assert len(answer.content) < 150_000


def test_the_next_page_keeps_what_was_asked_for(ledger: AnsweringLedger) -> None:
    resident = PEOPLE[2].subject
    ledger.record(*(use(resident) for _ in range(30)))
    client, cookie = signed_in(ledger, resident)
    first = client.get("/my?from=2026-03-01&to=2026-03-31&service=", headers={"cookie": cookie}).text
    links = re.findall(r'href="(/my\?[^"]*cursor=[^"]*)"', first)
    assert len(links) == 1
    second = client.get(html.unescape(links[0]), headers={"cookie": cookie})
    assert second.status_code == 200
    shown = [set(re.findall(r'href="/my/entries/([^"]+)"', text)) for text in (first, second.text)]
    assert (len(shown[0]), len(shown[1]), shown[0] & shown[1]) == (25, 5, set())


def test_the_file_for_a_spreadsheet_holds_no_formula(ledger: AnsweringLedger) -> None:
    client, cookie = signed_in(ledger, ROSA)
    table = client.get("/my/log.csv", headers={"cookie": cookie})
    assert table.headers["content-type"].startswith("text/csv")
    assert all(not line.startswith(("=", "+", "@")) for line in table.text.splitlines())
    assert len(table.text.splitlines()) == 1 + len(ledger.get("/v1/me/log", ledger.resident(ROSA)).json()["entries"])

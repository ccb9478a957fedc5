"""Renders a page in the reader's language and sends it so that a browser runs nothing and lends nothing to others.

    site = Site()
    return site.page(request, "my/log.html", {"entries": entries})

Every page: no script at all, styles and fonts from here alone, no framing, no referrer elsewhere. Texts are escaped
unless a template says otherwise, and none does. Static files are named by their content, so they may be kept for ever.
"""

from collections.abc import Mapping
from functools import cached_property
from hashlib import sha256
from importlib import resources
from typing import Any

import jinja2
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api.pages.words import LANGUAGES, SOURCE, Words, chosen, words
from ledger.errors import NotFound

LANGUAGE_COOKIE = "lang"
_A_YEAR_S = 365 * 86_400
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; style-src 'self'; font-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
SECURITY_HEADERS: Mapping[str, str] = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=()",
}
_TYPES = {".css": "text/css; charset=utf-8", ".woff2": "font/woff2", ".svg": "image/svg+xml", ".txt": "text/plain"}
router = APIRouter(include_in_schema=False)


class Site:
    """The templates, one environment for each language, and the static files."""

    @cached_property
    def static(self) -> dict[str, tuple[str, bytes]]:
        """By the name in the address, which holds a sum of the content: media type and bytes."""
        found: dict[str, tuple[str, bytes]] = {}
        addresses: dict[str, str] = {}
        for name, content in sorted(_static_files().items(), key=lambda item: item[0].endswith(".css")):
            stem, _, suffix = name.rpartition(".")
            for other, address in addresses.items():  # fonts and pictures come before the styles that name them
                for written in (f'url("{other}")', f"url({other})"):
                    content = content.replace(written.encode(), f'url("{address}")'.encode())
            address = f"{stem}.{sha256(content).hexdigest()[:12]}.{suffix}"
            addresses[name] = address
            found[address] = (_TYPES["." + suffix], content)
        self.addresses = addresses
        return found

    def address(self, name: str) -> str:
        """Where a static file is served."""
        assert self.static, "there are static files"
        return f"/static/{self.addresses[name]}"

    @cached_property
    def _environments(self) -> dict[str, jinja2.Environment]:
        return {language: self._environment(words(language)) for language in LANGUAGES}

    def _environment(self, spoken: Words) -> jinja2.Environment:
        environment = jinja2.Environment(
            loader=jinja2.PackageLoader("api.pages", "templates"),
            extensions=["jinja2.ext.i18n", "jinja2.ext.do"],
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        environment.install_gettext_translations(spoken.translations, newstyle=True)  # type: ignore[attr-defined]
        environment.globals.update(words=spoken, languages=LANGUAGES, static=self.address)
        return environment

    def render(self, language: str, template: str, context: Mapping[str, Any]) -> str:
        """A page as text."""
        return self._environments[language].get_template(template).render(context)

    def page(
        self,
        request: Request,
        template: str,
        context: Mapping[str, Any],
        *,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """A page in the reader's language."""
        language = language_of(request)
        shown = {
            "path": request.url.path,
            "query": [(k, v) for k, v in request.query_params.multi_items() if k != LANGUAGE_COOKIE],
            **context,
        }
        sent = {
            **SECURITY_HEADERS,
            "cache-control": "private, no-cache",
            "content-language": language,
            "vary": "Accept-Language, Cookie",
            **(headers or {}),
        }
        response = Response(self.render(language, template, shown), status, sent, "text/html; charset=utf-8")
        if request.query_params.get(LANGUAGE_COOKIE) in LANGUAGES:
            response.set_cookie(
                LANGUAGE_COOKIE, language, max_age=_A_YEAR_S, httponly=True, secure=True, samesite="lax"
            )
        return response


site = Site()
"""The one site of the process."""


def language_of(request: Request) -> str:
    """The language that this reader gets."""
    return chosen(
        request.query_params.get(LANGUAGE_COOKIE),
        request.cookies.get(LANGUAGE_COOKIE),
        request.headers.get("accept-language"),
    )


def words_of(request: Request) -> Words:
    """The words that this reader gets."""
    return words(language_of(request))


@router.get("/static/{name:path}")
async def static_file(name: str) -> Response:
    """A static file, to be kept for ever: another content has another name."""
    found = site.static.get(name)
    if found is None:
        raise NotFound("there is no such file")
    media_type, content = found
    headers = {**SECURITY_HEADERS, "cache-control": f"public, max-age={_A_YEAR_S}, immutable"}
    return Response(content, 200, headers, media_type)


def _static_files() -> dict[str, bytes]:
    """Every static file that is served, by its path below static/."""
    found: dict[str, bytes] = {}
    folders = [("", resources.files("api.pages").joinpath("static"))]
    while folders:
        prefix, folder = folders.pop()
        for item in folder.iterdir():
            if item.is_dir():
                folders.append((f"{prefix}{item.name}/", item))
            elif "." + item.name.rpartition(".")[2] in _TYPES:
                found[prefix + item.name] = item.read_bytes()
    return found


__all__ = ["CONTENT_SECURITY_POLICY", "SECURITY_HEADERS", "SOURCE", "Site", "language_of", "router", "site", "words_of"]

"""Small JSON bodies of doors that take no event, and the key under which a POST counts once.

    body = await json_body(request, Asked)          # a closed msgspec Struct; 415 as a response when it is not JSON
    key = idempotency_key(request)

What breaks the contract is a `Malformed` that names the place; nothing that was sent is repeated.
"""

from typing import TypeVar

import msgspec
from fastapi import Request
from msgspec import UNSET, Struct
from starlette.responses import Response

from api.http import problems
from api.http.events import read_body
from ledger import codec
from ledger.errors import Malformed, Problem, Unparsable
from ledger.events import Id

IDEMPOTENCY_KEY = "idempotency-key"
MAX_BODY_BYTES = 16 * 1024
MAX_TEXT_BODY_BYTES = 64 * 1024
"""Of a body with a sealed text of 4,000 characters, each of which JSON may write as `\\uXXXX\\uXXXX`."""
_MEDIA = problems.MEDIA._replace(title="Send application/json.")
_Shape = TypeVar("_Shape", bound=Struct)


def idempotency_key(request: Request) -> str:
    """The header `Idempotency-Key`, an id of 1 to 64; raises `Malformed`."""
    given = optional_idempotency_key(request)
    if given is None:
        raise Malformed([Problem(IDEMPOTENCY_KEY, "missing")], "this needs a header Idempotency-Key")
    return given


def optional_idempotency_key(request: Request) -> str | None:
    """The header `Idempotency-Key`, when there is one, with or without the quotes of draft-ietf-httpapi-
    idempotency-key-header (a structured field's string); raises `Malformed`."""
    given = request.headers.getlist(IDEMPOTENCY_KEY)
    if not given:
        return None
    text = given[0] if len(given) == 1 else ""
    if len(text) > 1 and text[0] == text[-1] == '"':
        text = text[1:-1]
    try:
        return msgspec.convert(text, Id)
    except msgspec.ValidationError:
        raise Malformed([Problem(IDEMPOTENCY_KEY, "pattern")], "an Idempotency-Key is an id of 1 to 64") from None


async def json_body(request: Request, shape: type[_Shape], limit: int = MAX_BODY_BYTES) -> _Shape | Response:
    """The body, of at most `limit` bytes; 415 when it is something else than JSON.

    Raises `TooLarge`, `Unparsable` or `Malformed`.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        return problems.response(problems.document(_MEDIA, [Problem("", "media-type")]))
    raw = await read_body(request, limit)
    codec.strict_members(raw)
    try:
        found = msgspec.json.decode(raw, type=shape)
    except msgspec.ValidationError as error:
        raise Malformed([codec.problem_of(error)], "the body breaks the contract") from None
    except (msgspec.DecodeError, UnicodeDecodeError):  # such as half of a surrogate pair, which Python's reader takes
        raise Unparsable("json") from None
    for name in shape.__struct_fields__:
        value = getattr(found, name)
        if value is not UNSET and isinstance(value, tuple) and len(set(value)) != len(value):
            raise Malformed([Problem(f"/{name}", "repeated-item")], "the body breaks the contract")
    return found

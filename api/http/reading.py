"""What every reading door does alike: who may read, `log.viewed` before the answer, ETags, headers.

    reader = await reader_of(request, subject)             # Forbidden, unless it is theirs or they are an auditor
    await announce(request, reader, subject, "log")        # recorded before anything is read out; else nothing is
    return answer(request, body, etag(body))               # 304 when the reader has it already: a read too

An answer's ETag is made from its bytes. A weak one leaves out how far the views had come when it was made.

>>> etag(b'{"position":"3-1041"}'), etag(b'{"position":"3-1041"}', weak=True)
('"w58UVDrBo_p0BXKKIMAHlw"', 'W/"w58UVDrBo_p0BXKKIMAHlw"')
>>> matches('W/"other", "w58UVDrBo_p0BXKKIMAHlw"', etag(b'{"position":"3-1041"}'))
True
"""

import asyncio
import re
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from uuid import uuid4

from prometheus_client import Counter
from starlette.requests import Request
from starlette.responses import Response

from api.http.runtime import Runtime, principal_of, runtime_of
from ledger.authority import AUDIT_READ, LEDGER_SOURCE, SELF, Door, Principal
from ledger.codec import rfc3339
from ledger.errors import ConsentLedgerError, Forbidden, Malformed, Problem, Unavailable
from ledger.events import KINDS, LogViewed
from ledger.log import Position
from ledger.recording.record import Busy

JSON = "application/json"
COMPLETE_THROUGH = "ledger-complete-through"
PERSONAL: Mapping[str, str] = {"cache-control": "private, no-cache", "vary": "authorization"}
NOT_KEPT: Mapping[str, str] = {"cache-control": "no-store"}
PUBLIC: Mapping[str, str] = {"cache-control": "public, no-cache"}
WAIT_FOR_VIEWS_S = 2.0
RECORDED_WITHIN_S = 20.0
_ETAG = re.compile(r'(?:W/)?"([\x21\x23-\x7e\x80-\xff]*)"')
_READS = Counter("consent_ledger_reads", "Reads of residents' data, by what was read and by whom.", ("what", "role"))


@dataclass(frozen=True, slots=True)
class Reader:
    """Who reads: `role` is what `log.viewed` says of them, `own` that they are the resident themselves."""

    principal: Principal
    role: str
    own: bool

    @property
    def subject(self) -> str:
        """The resident, of a reader who is one."""
        assert self.principal.subject is not None, "a resident's token names them"
        return self.principal.subject


async def reader_of(request: Request, subject: str | None) -> Reader:
    """Who calls, when they may read what is about this resident (None: a reference fact); raises `Forbidden`."""
    return admit(await principal_of(request), subject)


def admit(principal: Principal, subject: str | None) -> Reader:
    """The caller as a reader of this resident's data; raises `Forbidden`.

    >>> admit(Principal("my-pages", {SELF: ()}, "res_7f2c"), "res_7f2c").own
    True
    >>> admit(Principal("my-pages", {SELF: ()}, "res_7f2c"), "res_91aa")
    Traceback (most recent call last):
    ledger.errors.Forbidden: this is about somebody else
    """
    if subject is not None and principal.has(SELF) and principal.subject == subject:
        return Reader(principal, "resident", own=True)
    if principal.has(AUDIT_READ):
        return Reader(principal, "auditor", own=False)
    if principal.has(SELF):
        raise Forbidden("not-yours", "this is about somebody else")
    raise Forbidden("scope", f"reading needs the scope {AUDIT_READ} or {SELF}")


def admit_any(principal: Principal) -> None:
    """Raises `Forbidden` for a caller who may read nobody's data, before anything is looked up."""
    if not (principal.has(AUDIT_READ) or principal.has(SELF)):
        raise Forbidden("scope", f"reading needs the scope {AUDIT_READ} or {SELF}")


async def announce(request: Request, reader: Reader, subject: str, what: str) -> None:
    """Records that somebody other than the resident reads this. `what` is an identifier, such as `record/3-1041`.

    Raises `Busy` or `Unavailable` when that cannot be recorded: then nothing is read out.
    """
    kind = what.partition("/")[0]
    if not reader.own:
        await announce_all(request, reader, [subject], what)
    else:
        _READS.labels(kind, reader.role).inc()


async def announce_all(request: Request, reader: Reader, subjects: Sequence[str], what: str) -> None:
    """The same about several residents at once: each of them finds it in their log, or nobody's is read out."""
    if subjects:
        await _record_views(runtime_of(request), reader, subjects, what)
        _READS.labels(what.partition("/")[0], reader.role).inc(len(subjects))


async def _record_views(runtime: Runtime, reader: Reader, subjects: Sequence[str], what: str) -> None:
    viewed = [
        KINDS["log.viewed"](
            id=uuid4().hex,
            source=LEDGER_SOURCE,
            subject=subject,
            time=rfc3339(runtime.clock()),
            data=LogViewed(role=reader.role, operator=reader.principal.client_id, scope=what),
        )
        for subject in subjects
    ]
    try:
        recording = runtime.recorder.submit(viewed, reader.principal, Door.LEDGER)
        recorded = await asyncio.wait_for(asyncio.wrap_future(recording), RECORDED_WITHIN_S)
    except Busy:
        raise
    except (TimeoutError, ConsentLedgerError):
        raise Unavailable("this read cannot be recorded, so it is refused") from None
    if any(isinstance(result, ConsentLedgerError) for result in recorded.results):
        raise Unavailable("this read cannot be recorded, so it is refused")


# --- how far the views reach ------------------------------------------------------------------------------------


def parse_position(text: str, name: str) -> Position:
    """A position that somebody sent; raises `Malformed` that names the parameter or header."""
    try:
        return Position.parse(text)
    except Malformed:
        raise Malformed([Problem(name, "position")], "a position is written P-O, such as 3-1041") from None


def complete_through(partition: int, reached: int) -> dict[str, str]:
    """The header that says how far the view reaches; none while it holds nothing of the partition.

    >>> complete_through(3, 1042), complete_through(3, 0)
    ({'ledger-complete-through': '3-1041'}, {})
    """
    return {COMPLETE_THROUGH: str(Position(partition, reached - 1))} if reached > 0 else {}


# --- answers ----------------------------------------------------------------------------------------------------


def etag(body: bytes, *, weak: bool = False) -> str:
    """The entity tag of these bytes."""
    value = urlsafe_b64encode(sha256(body).digest()[:16]).rstrip(b"=").decode("ascii")
    return f'W/"{value}"' if weak else f'"{value}"'


def matches(if_none_match: str | None, tag: str) -> bool:
    """Whether the header names this tag (RFC 9110 § 13.1.2: weak comparison)."""
    if not if_none_match:
        return False
    if if_none_match.strip() == "*":
        return True
    found = _ETAG.fullmatch(tag)
    assert found is not None, "the tag is our own"
    return found[1] in _ETAG.findall(if_none_match)


def answer(
    request: Request,
    body: bytes,
    tag: str,
    headers: Mapping[str, str] | None = None,
    *,
    media_type: str = JSON,
    caching: Mapping[str, str] = PERSONAL,
) -> Response:
    """The answer, or 304 when the reader says to have it."""
    sent = {**caching, **(headers or {}), "etag": tag}
    given = ", ".join(request.headers.getlist("if-none-match"))
    if matches(given, tag):
        return Response(None, 304, sent)
    return Response(body, 200, sent, media_type)

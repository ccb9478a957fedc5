"""Anonymous engagement: to complain, ask or comment without an account, and to read later what became of it.

    POST /v1/anonymous   {"kind": "question", "text": "…"}
    201 {"code": "0V4Q5…", "complaint_id": …, "position": "3-42", "receipt": …}
    GET /v1/anonymous    Authorization: Receipt 0V4Q5…        the log of that engagement, with the answers to it

Each call makes a fresh random pseudonym of which nothing is known but `anonymity.chosen` and what it says. The receipt
code (`ledger.vault.codes`) is shown once; whoever has it reads the log, and nobody can find it again. Nothing links two
engagements, and no address is kept. The code is written down before anything is recorded, so that what is recorded can
be read; a call that is cut short before its answer leaves a pseudonym nobody holds the code of: send it again.

Taken by an API process in a minute: `anonymous_per_minute` in all and `anonymous_per_address` from one address
(docs/configuration.md). As many wrong codes may an address try; of 2^128 codes that is none.
"""

import asyncio
import re
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

from fastapi import APIRouter, FastAPI, Request
from starlette.responses import Response

from api.http import anonymous_schema as schema
from api.http import problems
from api.http.bodies import MAX_TEXT_BODY_BYTES, json_body
from api.http.limits import Rate, address_of
from api.http.me_schema import Complaint
from api.http.reading import NOT_KEPT, Reader
from api.http.residents import answered
from api.http.runtime import runtime_of
from api.http.writing import event_id, event_of, later, record_all, written
from ledger import events as e
from ledger.authority import SELF, Principal
from ledger.vault.codes import ReceiptCodes, parse

CLIENT = "anonymous"
"""Who stands as `recordedby` of what is said without an account."""
_ALL = "all"
_RECEIPT = re.compile(r"[Rr]eceipt +([^ ].{0,63})", re.ASCII)


class Rates(NamedTuple):
    """The limits of one process: for all, for an address, and for an address's wrong codes."""

    together: Rate
    address: Rate
    wrong: Rate


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    settings = app.state.runtime.settings
    each = settings.anonymous_per_address
    app.state.anonymous_rates = Rates(Rate(settings.anonymous_per_minute), Rate(each), Rate(each))
    yield


router = APIRouter(lifespan=_lifespan)


@router.post("/v1/anonymous", summary="Complain, ask or comment without an account", **schema.ENGAGE)
async def post_anonymous(request: Request) -> Response:
    """See the module."""
    rates: Rates = request.app.state.anonymous_rates
    wait_s = rates.address.take(address_of(request)) or rates.together.take(_ALL)
    if wait_s:
        raise problems.TooOften(wait_s)
    body = await json_body(request, Complaint, MAX_TEXT_BODY_BYTES)
    if isinstance(body, Response):
        return body
    runtime = runtime_of(request)
    subject = f"res_{secrets.token_hex(16)}"
    code = await asyncio.to_thread(ReceiptCodes(runtime.logins).make, subject)
    new, now = event_id(subject, None), later(runtime)
    said = e.ComplaintFiled(complaint_id=new, kind=body.kind, about=body.about, text=body.text)
    events = [
        event_of("anonymity.chosen", subject, event_id(subject, None), e.AnonymityChosen(), now),
        event_of("complaint.filed", subject, new, said, now),
    ]
    done = await record_all(request, _principal(subject), events)
    response = written({"code": code, "complaint_id": new}, done, 201)
    response.headers.update(NOT_KEPT)
    return response


@router.get("/v1/anonymous", summary="Read an engagement by its receipt code", **schema.READ)
async def get_anonymous(request: Request) -> Response:
    """The log of the pseudonym that the code leads to, as its resident sees it."""
    wrong: Rate = request.app.state.anonymous_rates.wrong
    address = address_of(request)
    wait_s = wrong.wait_s(address)
    if wait_s:
        raise problems.TooOften(wait_s)
    match = _RECEIPT.fullmatch(request.headers.get("authorization", ""))
    code = "" if match is None else match[1]
    subject = None
    if parse(code) is not None:
        subject = await asyncio.to_thread(ReceiptCodes(runtime_of(request).logins).subject_of, code)
    if subject is None:
        wrong.take(address)
        raise problems.UnknownCode("no-code" if match is None else "unknown-code")
    return await answered(request, Reader(_principal(subject), "resident", own=True), subject, "log")


def _principal(subject: str) -> Principal:
    return Principal(CLIENT, {SELF: ()}, subject)

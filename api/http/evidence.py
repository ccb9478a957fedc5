"""`GET /v1/records/{P-O}/evidence` and `…/proof`: what an outsider checks offline, with nothing of ours running.

An evidence bundle (docs/spec/bundle.md) holds a verdict, the records that it rests on, and a proof of each. For
auditors, and for the resident whose event it is; an auditor's read is recorded first. A resident gets the rules that
the verdict rests on too, and with `complete` all rules: without them nobody could judge again. What a law holds back
from them is in no bundle of theirs: it is refused, with the code `held-back` and nothing more.

A proof (docs/spec/tlog-proof.md) is hashes, an index and a checkpoint, and says that a record is there. Its emitter
exchanges a receipt for it: whoever has sent the event learns nothing of the resident by that, so it is no read of their
log and is not recorded, and no law holds it back. An auditor's is recorded, as `proof/P-O`.

Nothing is handed out that would not verify: bundles and proofs are checked here, with the keys that the settings name.
"""

import asyncio
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from api.http.paging import described, only
from api.http.reading import Reader, announce, answer, etag, parse_position
from api.http.records import held_from, instead_of, none_such, readable
from api.http.runtime import principal_of, runtime_of
from api.http.tlog import TEXT_TYPE, Cover, cover_of, not_covered, proofs, verifiers_of
from api.http.views import must_have_come, views_of, wait_for_views
from api.http.withheld import HeldBack, held_back
from ledger import codec
from ledger.authority import AUDIT_READ, MY_SOURCE, SELF, Principal
from ledger.errors import AlteredViews, Forbidden, InvalidNote, Malformed, NotFound, Problem, TooLarge
from ledger.events import EVENTS_WRITE, JUDGED, RULES_WRITE
from ledger.evidence import InvalidBundle, build
from ledger.evidence.manifest import Leaf, Question
from ledger.tree import tlog_proof
from ledger.tree.merkle import InvalidProof, leaf_hash
from ledger.tree.tlog_proof import TlogProof
from projections import evidence
from projections.answers import View

BUNDLE_TYPE = "application/zip"
_COMPLETE = {
    "name": "complete",
    "in": "query",
    "required": False,
    "description": "true: every record about the resident and every reference fact that the checkpoint covers",
    "schema": {"type": "boolean"},
}
_REFUSALS: dict[int | str, dict[str, Any]] = {
    304: {"description": "the reader has it already; a read too"},
    401: {"description": "no or bad token"},
    403: {"description": "scope, someone else's, or held back by a law"},
    404: {"description": "no such record, or none that is judged"},
    422: {"description": "a position or parameter that is not understood, or too many records for a bundle"},
    503: {"description": "no signed checkpoint covers it yet, or the read cannot be recorded"},
}
_AT_ONCE = asyncio.Semaphore(2)
"""A bundle may take hundreds of megabytes while it is made."""

router = APIRouter()


def _described() -> dict[str, Any]:
    found = described("known_at")
    return {**found, "parameters": [_COMPLETE, *found["parameters"]]}


@router.get(
    "/v1/records/{position}/evidence",
    summary="The verdict with its records and their proofs, to verify offline",
    response_class=Response,
    responses={200: {"description": "an evidence bundle", "content": {BUNDLE_TYPE: {}}}, **_REFUSALS},
    openapi_extra=_described(),
)
async def get_evidence(request: Request, position: str) -> Response:
    """An evidence bundle for the event at a position, as known at the last record that the checkpoint covers."""
    query = only(request.query_params.multi_items(), ("known_at", "complete"))
    asked = parse_position(query["known_at"], "known_at") if "known_at" in query else None
    complete = _flag(query.get("complete", "false"))
    found = await readable(request, position)
    if isinstance(found, Response):
        return found
    reader, record = found
    at = record.position
    if asked is not None and asked.partition != at.partition:
        raise Malformed([Problem("known_at", "another-partition")], "known_at is a position of the event's partition")
    # First of all: that no checkpoint covers it yet would tell of what is held back that it is judged.
    instead = instead_of(request, record, await held_from(request, reader))
    if instead is not None:
        return instead
    cover = await cover_of(request, at.partition) if record.kind in JUDGED else None
    if cover is not None and max(at, asked or at) > cover.last:
        raise not_covered(runtime_of(request))
    if record.subject is not None:
        await announce(request, reader, record.subject, f"evidence/{at}")
    if cover is None:
        return none_such("not-judged")
    question = Question(at, asked or cover.last, complete)
    async with _AT_ONCE:
        async with views_of(request).auditor() as view:
            leaves = await _leaves(request, view, reader, question, cover)
        if leaves is None:
            return none_such("not-recorded-then")
        raw = await _bundle(request, question, leaves, cover)
    headers = {"content-disposition": f'attachment; filename="evidence-{at}.zip"'}
    return answer(request, raw, etag(raw), headers, media_type=BUNDLE_TYPE)


@router.get(
    "/v1/records/{position}/proof",
    summary="The proof that a record is in the log: what a receipt is exchanged for",
    response_class=Response,
    responses={200: {"description": "a tlog-proof", "content": {TEXT_TYPE: {}}}, **_REFUSALS},
    openapi_extra=described(),
)
async def get_proof(request: Request, position: str) -> Response:
    """The inclusion proof (C2SP tlog-proof) of the record at a position, repeats too: every record is a leaf."""
    only(request.query_params.multi_items(), ())
    principal = await principal_of(request)
    if not any(principal.has(scope) for scope in (AUDIT_READ, EVENTS_WRITE, RULES_WRITE, SELF)):
        raise Forbidden("scope", "a proof is for the record's emitter and for auditors")
    at = parse_position(position, "position")
    await wait_for_views(request)
    async with views_of(request).auditor() as view:
        recorded = await evidence.recorded_at(view, at)
        index = await evidence.leaf_index(view, at)
    if recorded is None:
        await must_have_come(request, at)
        raise NotFound("there is no record at this position")
    reader = _prover(principal, recorded)
    cover = await cover_of(request, at.partition)
    if index is None or index >= cover.checkpoint.size:
        raise not_covered(runtime_of(request))
    if reader is not None and recorded.subject is not None:
        await announce(request, reader, recorded.subject, f"proof/{at._replace(offset=recorded.first_offset)}")
    [hashes] = await proofs(request, cover, [index])
    raw = TlogProof(index, tuple(hashes), cover.note).encode()
    try:
        verifiers = verifiers_of(runtime_of(request))
        tlog_proof.verify(raw, leaf_hash(recorded.value), verifiers, at.partition)
    except (InvalidProof, InvalidNote) as error:
        raise AlteredViews(f"the views cannot prove {at}, they were altered: {error}") from None
    return answer(request, raw, etag(raw), media_type=TEXT_TYPE)


def _flag(text: str) -> bool:
    if text not in ("true", "false"):
        raise Malformed([Problem("complete", "boolean")], "complete is true or false")
    return text == "true"


def _prover(principal: Principal, recorded: evidence.Recorded) -> Reader | None:
    """None for the record's emitter, whose asking is no read; else the caller as an auditor. Raises `Forbidden`."""
    if any(principal.may_emit_for(scope, recorded.source) for scope in (EVENTS_WRITE, RULES_WRITE)):
        return None
    if recorded.source == MY_SOURCE and principal.has(SELF) and principal.subject == recorded.subject:
        return None
    if principal.has(AUDIT_READ):
        return Reader(principal, "auditor", own=False)
    raise Forbidden("source", "a proof is for the record's emitter and for auditors")


async def _leaves(request: Request, view: View, reader: Reader, question: Question, cover: Cover) -> list[Leaf] | None:
    """The records of the bundle; None when the event was not recorded by `known_at`. Raises `Forbidden`."""
    stated = await view.verdict(question.position, question.known_at.offset)
    if stated is None:
        return None
    try:
        leaves = await evidence.gather(view, question, stated, cover.last)
    except TooLarge as error:
        raise _too_many(question, error) from None
    if reader.own:
        held = await held_back(view, stated.subject, runtime_of(request).clock())
        if bool(held) and await asyncio.to_thread(_any_held, held, leaves):
            raise Forbidden("held-back", "a law holds back a record of this bundle")
    return leaves


def _any_held(held: HeldBack, leaves: list[Leaf]) -> bool:
    for leaf in leaves:
        event = codec.read(leaf.value)
        if held.of(event.source, event.id, leaf.value) is not None:
            return True
    return False


async def _bundle(request: Request, question: Question, leaves: list[Leaf], cover: Cover) -> bytes:
    hashes = await proofs(request, cover, [leaf.leaf_index for leaf in leaves])
    verifiers = verifiers_of(runtime_of(request))
    try:
        return await asyncio.to_thread(build, question, leaves, hashes, cover.note, verifiers)
    except TooLarge as error:
        raise _too_many(question, error) from None
    except InvalidBundle as error:
        raise AlteredViews(f"no bundle of {question.position} verifies, the views were altered: {error}") from None


def _too_many(question: Question, error: TooLarge) -> Malformed:
    return Malformed([Problem("complete" if question.complete else "position", "too-many-records")], str(error))

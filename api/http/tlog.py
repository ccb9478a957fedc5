"""`/tlog/{partition}/checkpoint` and `…/tile/…`, for auditors; and which checkpoint covers a record.

    cover = await cover_of(request, 3)              # NotYet while nothing of the partition is signed
    hashes = await proofs(request, cover, [1041])   # from the tiles, to be checked against cover.checkpoint

PostgreSQL keeps tiles and checkpoints and is not trusted: a checkpoint is opened with the configured keys before
anything is made of it, and whoever hands out a proof checks it. Tiles are handed out as they are, since a reader has to
join them with the signed root anyway. There are hashes here and nothing of anybody: no read of them is recorded.
"""

import asyncio
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from api.http.reading import PERSONAL, answer, etag
from api.http.runtime import Runtime, principal_of, runtime_of
from ledger.authority import AUDIT_READ
from ledger.errors import AlteredViews, ConfigurationError, Forbidden, InvalidNote, Malformed, NotFound, NotYet
from ledger.log import Position
from ledger.tree.checkpoint import Checkpoint, open_checkpoint
from ledger.tree.merkle import InvalidProof
from ledger.tree.note import Verifier
from ledger.tree.proving import prove_inclusions
from ledger.tree.tiles import WIDTH, Tile, TileTree
from projections.tlog import Snapshot

TEXT_TYPE = "text/plain; charset=utf-8"
TILE_TYPE = "application/octet-stream"
_IMMUTABLE = {"cache-control": "private, max-age=31536000, immutable", "vary": "authorization"}
_PARTITION = re.compile(r"0|[1-9][0-9]{0,4}", re.ASCII)
_REFUSALS: dict[int | str, dict[str, Any]] = {
    304: {"description": "the reader has it already"},
    401: {"description": "no or bad token"},
    403: {"description": f"the scope {AUDIT_READ} is missing"},
    404: {"description": "no such partition, or nothing signed has such a tile"},
    503: {"description": "no checkpoint yet, or a part is down"},
}

router = APIRouter()


@dataclass(frozen=True, slots=True)
class Cover:
    """The greatest signed checkpoint of a partition, opened; the signed note; the last record that it covers."""

    checkpoint: Checkpoint
    note: bytes
    last: Position


async def cover_of(request: Request, partition: int) -> Cover:
    """What is signed of a partition; raises `NotYet` while nothing is, and `AlteredViews` when it cannot be right."""
    runtime = runtime_of(request)

    def read() -> Cover:
        with runtime.trees.snapshot() as snapshot:
            return _cover(runtime, snapshot, partition)

    return await asyncio.to_thread(read)


async def proofs(request: Request, cover: Cover, indexes: Sequence[int]) -> list[list[bytes]]:
    """An inclusion proof for each leaf under the checkpoint; not checked. Raises `AlteredViews` when there is none."""
    partition, size = cover.checkpoint.partition, cover.checkpoint.size
    if any(not 0 <= index < size for index in indexes):
        raise AlteredViews(f"the views place a record of partition {partition} outside its tree: rebuild the views")

    def read() -> list[list[bytes]]:
        with runtime_of(request).trees.snapshot() as snapshot:
            return prove_inclusions(indexes, size, TileTree(size, snapshot.tiles(partition)).nodes)

    try:
        return await asyncio.to_thread(read)
    except InvalidProof as error:
        raise AlteredViews(f"the tree of partition {partition} cannot be read: {error}") from None


def not_covered(runtime: Runtime) -> NotYet:
    """What is said while no checkpoint covers a record: the signer comes by every so often."""
    wait_s = max(1, math.ceil(runtime.settings.checkpoint_every_s))
    return NotYet("no signed checkpoint covers this yet: ask again", wait_s)


def verifiers_of(runtime: Runtime) -> list[Verifier]:
    """The keys that checkpoints may be signed with; raises `ConfigurationError` when there are none."""
    found = runtime.settings.checkpoint_verifiers()
    if not found:
        raise ConfigurationError("set CONSENT_LEDGER_CHECKPOINT_VKEYS: no proof can be checked without it")
    return found


def _cover(runtime: Runtime, snapshot: Snapshot, partition: int) -> Cover:
    signed = snapshot.checkpoint(partition)
    if signed is None:
        raise not_covered(runtime)
    try:
        checkpoint = open_checkpoint(signed.note, verifiers_of(runtime), partition)
        if checkpoint.size == 0 or snapshot.tree(partition).frontier.size < checkpoint.size:
            raise not_covered(runtime)  # or the views are being read anew, and have not come so far
        return Cover(checkpoint, signed.note, snapshot.position(partition, checkpoint.size - 1))
    except InvalidNote as error:
        raise AlteredViews(f"the checkpoint kept for partition {partition} is not to be trusted: {error}") from None
    except InvalidProof as error:
        raise AlteredViews(f"the tree of partition {partition} cannot be read: {error}") from None


# --- the doors --------------------------------------------------------------------------------------------------


@router.get(
    "/tlog/{partition}/checkpoint",
    summary="The latest signed checkpoint of a partition",
    response_class=Response,
    responses={200: {"description": "a signed note: docs/spec/checkpoint.md", "content": {TEXT_TYPE: {}}}, **_REFUSALS},
)
async def get_checkpoint(request: Request, partition: str) -> Response:
    """The checkpoint (C2SP tlog-checkpoint), as the signer made it."""
    cover = await cover_of(request, await _partition(request, partition))
    return answer(request, cover.note, etag(cover.note), media_type=TEXT_TYPE)


@router.get(
    "/tlog/{partition}/tile/{tile:path}",
    summary="A tile of a partition's tree",
    response_class=Response,
    responses={200: {"description": "hashes: docs/spec/tiles.md", "content": {TILE_TYPE: {}}}, **_REFUSALS},
)
async def get_tile(request: Request, partition: str, tile: str) -> Response:
    """A hash tile (C2SP tlog-tiles): `<L>/<N>`, or `<L>/<N>.p/<W>`, of the signed tree. There are no entry bundles."""
    number = await _partition(request, partition)
    try:
        wanted = Tile.parse(f"tile/{tile}")
    except Malformed:
        raise NotFound("a tree has no tile of this name") from None
    runtime = runtime_of(request)

    def read() -> bytes:
        with runtime.trees.snapshot() as snapshot:
            if not wanted.within(_cover(runtime, snapshot, number).checkpoint.size):
                raise NotFound("the signed tree has no such tile")
            return snapshot.tiles(number)([wanted])[0]

    try:
        body = await asyncio.to_thread(read)
    except InvalidProof as error:
        raise AlteredViews(f"the tree of partition {number} cannot be read: {error}") from None
    caching = _IMMUTABLE if wanted.width == WIDTH else PERSONAL
    return answer(request, body, etag(body), media_type=TILE_TYPE, caching=caching)


async def _partition(request: Request, text: str) -> int:
    """The partition of the path; raises `Forbidden` and `NotFound`."""
    if not (await principal_of(request)).has(AUDIT_READ):
        raise Forbidden("scope", f"the trees are for auditors: this needs the scope {AUDIT_READ}")
    if not _PARTITION.fullmatch(text) or int(text) >= runtime_of(request).log.partitions:
        raise NotFound("the ledger has no such partition")
    return int(text)

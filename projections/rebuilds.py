"""Which schemas are rebuilds, and what for: the comment of each says it, as JSON.

    unfinished(dsns.owner, Purpose("ledger.events", None, REPLAY))    # 'rebuild_v2_20260304t120000_5e1f': go on with it

>>> said = State("ledger.events", None, REPLAY, version=2, started="2026-03-04T12:00:00+00:00")
>>> read(Comment(said).text) == said, said.complete, read("something else")
(True, False, None)

It is no table, so that a finished rebuild has just the tables of a live schema, and it changes with the transaction
that changes the schema.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import uuid4

import msgspec

from projections import schema as schemas
from projections.statements import migrations, statements

BUILDING, HALTED, COMPLETE = "building", "halted", "complete"
REPLAY, COMPARE, SWAP = "replay", "compare", "swap"


class Purpose(NamedTuple):
    """What makes two rebuilds the same: the topic, the end that was asked for (None: where the log ends), and why."""

    topic: str
    until: dict[int, int] | None
    why: str

    @property
    def lasts(self) -> bool:
        """Whether a complete rebuild still has something to be done with it: to be compared, or to become live."""
        return self.why in (COMPARE, SWAP)


class State(msgspec.Struct, frozen=True):
    """What the comment of a rebuild's schema says."""

    topic: str
    until: dict[int, int] | None
    why: str
    version: int
    started: str
    state: str = BUILDING

    @property
    def complete(self) -> bool:
        """Whether every record up to its end is in it, and every index."""
        return self.state == COMPLETE

    @property
    def readable(self) -> bool:
        """Whether all is in it that can be read, and every index."""
        return self.state in (COMPLETE, HALTED)


class Comment(msgspec.Struct, frozen=True):
    """The comment of a rebuild's schema."""

    rebuild: State

    @property
    def text(self) -> str:
        """As JSON."""
        return msgspec.json.encode(self).decode()


def newest_version() -> int:
    """The version of the tables as they are made now."""
    return migrations()[-1][0]


def fresh_name() -> str:
    """A name for a schema that nobody uses yet: the version of the tables, when, and four random digits."""
    return f"rebuild_v{newest_version()}_{datetime.now(UTC):%Y%m%dt%H%M%S}_{uuid4().hex[:4]}"


def read(comment: str | None) -> State | None:
    """What a comment says; None when it is none of ours."""
    try:
        return None if comment is None else msgspec.json.decode(comment, type=Comment).rebuild
    except msgspec.MsgspecError:
        return None


def unfinished(owner_dsn: str, purpose: Purpose) -> str | None:
    """The latest rebuild, of tables as they are made now, whose purpose is this one and not yet served."""
    found = [
        (state.started, name)
        for name, state in rebuilds(owner_dsn).items()
        if (purpose.lasts or not state.complete)
        and (state.topic, state.until, state.why) == tuple(purpose)
        and state.version == newest_version()
    ]
    return max(found)[1] if found else None


def rebuilds(owner_dsn: str) -> dict[str, State]:
    """Every schema of the database that says it is a rebuild."""
    with schemas.connect(owner_dsn) as connection:
        rows = connection.execute(statements("rebuild")["comments"]).fetchall()
    return {name: state for name, comment in rows if (state := read(comment)) is not None}


def asked(until: Mapping[int, int] | None) -> dict[int, int] | None:
    """An end in the order that makes two of them comparable."""
    return None if until is None else dict(sorted(until.items()))

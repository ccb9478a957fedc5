"""Changes one row of a view behind the ledger's back, for `dev tamper`: to see that it is found.

    change_row(Path("city/postgres"), owner_dsn, "verdicts", Position(3, 17), plausibly)

Only on the PostgreSQL that `dev` runs in that folder. Each view is changed so that the row looks right by itself
(sql/tamper.sql); of views that keep a record's bytes these are changed.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from ledger.errors import ConfigurationError, NotFound, Unavailable
from ledger.log import Position
from projections.rowwise import VIEWS
from projections.statements import statements


def change_row(folder: Path, owner_dsn: str, view: str, position: Position, change: Callable[[bytes], bytes]) -> int:
    """Changes the row, or rows, of the view that come from the record; returns how many.

    Raises `NotFound` when there is none, `ConfigurationError` when the database is not the one in `folder`.
    """
    if view not in VIEWS:
        raise ConfigurationError(f"there is no such view: take one of {', '.join(VIEWS)}")
    _check_own(folder, owner_dsn)
    named, parameters = statements("tamper"), dict[str, Any](position._asdict())
    try:
        with psycopg.connect(owner_dsn, connect_timeout=5) as connection:
            if f"body of {view}" in named:
                row = connection.execute(named[f"body of {view}"], parameters).fetchone()
                parameters["body"] = None if row is None else change(row[0].encode()).decode()
            changed = connection.execute(named[view], parameters).rowcount
    except psycopg.OperationalError:
        raise Unavailable("the data directory's PostgreSQL does not answer: `dev` must be running") from None
    if not changed:
        raise NotFound(f"{view} has no row that comes from record {position}")
    return changed


def _check_own(folder: Path, dsn: str) -> None:
    """Only the server of this very folder: its port is written down there."""
    moved = folder / "moved-to"
    try:
        own = Path(moved.read_text("utf-8")) if moved.exists() else folder
        port = (own / "port").read_text("ascii").strip()
    except OSError:
        raise ConfigurationError(f"{folder} is not the PostgreSQL of `dev`: nothing was touched") from None
    given = conninfo_to_dict(dsn)
    if (given.get("host"), str(given.get("port"))) != ("127.0.0.1", port):
        raise ConfigurationError("the owner's database is not the one in this data directory: nothing was touched")

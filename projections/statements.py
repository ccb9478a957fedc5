"""SQL by name: every statement of `projections/sql/*.sql` begins at a line `-- name: what it does`.

>>> b"CREATE TABLE timeline" in statements("schema")["tables"]
True

Statements are bytes, which psycopg takes as they are; none is put together from values.
"""

from functools import lru_cache
from importlib import resources

_MARK = "-- name: "


@lru_cache(maxsize=16)
def statements(file: str) -> dict[str, bytes]:
    """The named statements of one file, in their order."""
    text = resources.files("projections").joinpath("sql", f"{file}.sql").read_text("utf-8")
    found: dict[str, bytes] = {}
    for section in text.split(f"\n{_MARK}")[1:]:
        name, _, body = section.partition("\n")
        assert name not in found, f"{file}.sql names two statements {name!r}"
        found[name.strip()] = body.strip().encode()
    return found


def migrations() -> list[tuple[int, str, str]]:
    """Every migration as (version, file name, text), from the first on."""
    folder = resources.files("projections").joinpath("sql", "migrations")
    files = sorted((item.name, item.read_text("utf-8")) for item in folder.iterdir() if item.name.endswith(".sql"))
    found = [(int(name[:4]), name, text) for name, text in files]
    versions = [version for version, _, _ in found]
    assert versions == list(range(1, len(found) + 1)), "migrations are numbered from 0001"
    return found

"""The seeded city: two years of ten residents, in the order of the log.

>>> entries = story()
>>> entries[0].kind, entries[0].recorded, entries[-1].recorded < "2026-10-31"
('policy.published', '2024-11-01T15:00:00Z', True)

Deterministic: no chance, no clock; the same bytes every time. `expectations()` are the verdicts that we wrote by hand
beside the events, from the contract and not from what the judge says.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache

from api.city.entry import Entry, Expect
from api.city.rules import rules
from api.city.stories.anonymous import anonymous
from api.city.stories.law import law
from api.city.stories.library import library
from api.city.stories.neighbour import neighbour
from api.city.stories.newsletter import newsletter
from api.city.stories.parks import camp, dated_back
from api.city.stories.permit import permit
from api.city.stories.platform import analytics, social

_STORIES: tuple[Callable[[], Iterator[Entry]], ...] = (
    rules,
    newsletter,
    permit,
    anonymous,
    library,
    dated_back,
    camp,
    law,
    analytics,
    social,
    neighbour,
)

ENDS = "2026-10-31T00:00:00Z"
"""The story is over by then: what comes through the doors later is later in the log as well."""


@cache
def story() -> Sequence[Entry]:
    """Every event of the city, in the order in which it is recorded."""
    told = [entry for tell in _STORIES for entry in tell()]
    return tuple(sorted(told, key=lambda entry: entry.recorded))  # stable: what is told first is recorded first


@cache
def expectations() -> Mapping[tuple[str, str], Expect]:
    """The expected verdict of every judged event of the story, by its (`source`, `id`), in the order of the log."""
    return {(entry.source, entry.id): entry.expect for entry in story() if entry.expect is not None}

"""The seeded city: ten made-up residents, six services, two years under the My San Jose policy; for `dev` and `demo`.

    clock = StoryClock()                         # the recorder's clock while it seeds
    seed(recorder, clock)                        # the story through the record path; again: nothing new
    live_events(now_us)                          # what `demo` then sends through the HTTP door
    table(verdicts, story())                     # the answers that came, held against those written by hand

Each judged event has its expected verdict beside it (`api.city.stories`), and every (rule, result, code) of
contract/verdicts.md comes up at least once. The stories in words: docs/city.md.
"""

from api.city.entry import Entry, Expect
from api.city.live import live_events
from api.city.seed import Seeded, StoryClock, seed
from api.city.story import ENDS, expectations, story
from api.city.table import COLUMNS, Line, Table, table

__all__ = [
    "COLUMNS",
    "ENDS",
    "Entry",
    "Expect",
    "Line",
    "Seeded",
    "StoryClock",
    "Table",
    "expectations",
    "live_events",
    "seed",
    "story",
    "table",
]

"""What the doors of the queue take, and what OpenAPI says of them.

>>> sorted(ANSWER["responses"])
[200, 400, 401, 403, 404, 409, 410, 413, 415, 422, 429, 503]
"""

from typing import Any

from msgspec import UNSET, Struct, UnsetType

from api.http.me_schema import BOOL, ERASED, RECORDED, REFUSALS, TEXT, TEXTS, Words, door, gives, shape, takes
from api.http.paging import described
from ledger.events import RULES_WRITE, Identifier, Source

STATES = ("waiting", "answered")
KINDS = ("complaint", "contest", "access", "incident")


class Answer(Struct, forbid_unknown_fields=True):
    """An answer to a case; `source` when the token may answer for more than one."""

    outcome: Identifier
    answer: Words | UnsetType = UNSET
    source: Source | UnsetType = UNSET


_NULL: dict[str, Any] = {"type": "null"}
_OR_NULL: dict[str, Any] = {"type": ["string", "null"]}
_TEXT: dict[str, Any] = {
    "anyOf": [
        {
            "type": "object",
            "properties": {"state": {"enum": ["clear", "sealed", "erased"]}, "text": TEXT},
            "required": ["state"],
        },
        _NULL,
    ]
}
_CASE: dict[str, Any] = {
    "kind": {"enum": list(KINDS)},
    "case_id": TEXT,
    "subject": {
        "type": ["string", "null"],
        "description": "null: an incident of which it is not known whom it touches",
    },
    "what": _OR_NULL,
    "source": _OR_NULL,
    "about": {"anyOf": [shape({"source": TEXT, "id": TEXT}), _NULL]},
    "categories": {"anyOf": [TEXTS, _NULL]},
    "opened": TEXT,
    "due": TEXT,
    "overdue": BOOL,
    "position": TEXT,
    "resolved": _OR_NULL,
    "resolved_position": _OR_NULL,
    "outcome": _OR_NULL,
}
_ONE = shape({**_CASE, "text": _TEXT, "answer": _TEXT})
_NONE_SUCH: dict[int | str, Any] = {404: {"description": "no case was opened by the record at this position"}}
_PARAMETERS = {
    "parameters": [
        {"name": "state", "in": "query", "required": False, "schema": {"enum": list(STATES)}},
        {"name": "kind", "in": "query", "required": False, "schema": {"enum": list(KINDS)}},
        *described("limit", "cursor")["parameters"],
    ]
}

LIST = door(
    {
        200: gives(
            "those that wait, due first; then those answered, latest first",
            shape({"cases": {"type": "array", "items": shape(_CASE)}}),
        ),
        422: {"description": "a parameter that is not understood"},
    },
    (RULES_WRITE,),
    _PARAMETERS,
)
ONE = door({200: gives("the case and its texts", _ONE), **_NONE_SUCH}, (RULES_WRITE,), described())
ANSWER = door(
    {
        200: gives("answered; the same again answers the same", shape({"case_id": TEXT, "source": TEXT, **RECORDED})),
        **_NONE_SUCH,
        409: {"description": "it has an answer already, or is of a kind that is not answered here"},
        **ERASED,
    },
    (RULES_WRITE,),
    takes(Answer),
)
assert set(REFUSALS) <= set(LIST["responses"])

"""What OpenAPI says of the doors for those without an account.

>>> ENGAGE["openapi_extra"]["security"], READ["openapi_extra"]["security"]
([], [{'receipt': []}])
"""

from starlette.responses import Response

from api.http.me_schema import RECORDED, REFUSED_BODIES, TEXT, Complaint, Schema, gives, shape, takes
from api.http.openapi import OPEN
from api.http.paging import LOG_FILTERS, described

_OFTEN = {429: {"description": "too often; nothing of it is kept"}}
_AWAY = {503: {"description": "a part is down: send the same again"}}
ENGAGE: Schema = {
    "response_class": Response,
    "responses": {
        201: gives("recorded; the code is shown once", shape({"code": TEXT, "complaint_id": TEXT, **RECORDED})),
        **REFUSED_BODIES,
        **_OFTEN,
        **_AWAY,
    },
    "openapi_extra": {**OPEN, **takes(Complaint)},
}
READ: Schema = {
    "response_class": Response,
    "responses": {
        200: {"description": "as GET /v1/me/log"},
        304: {"description": "the reader has it already"},
        401: {"description": "no code, or none of ours"},
        422: {"description": "a parameter that is not understood"},
        **_OFTEN,
        503: {"description": "not there yet, or a part is down"},
    },
    "openapi_extra": {"security": [{"receipt": []}], **described(*LOG_FILTERS, "limit", "cursor")},
}

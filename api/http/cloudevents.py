"""CloudEvents over HTTP: which mode a request is in, and a binary-mode request as one structured event.

In binary mode the attributes are `ce-` headers, percent-encoded (CloudEvents HTTP binding 1.0.2, § 3.1.3), and the
body is `data`. It is put together as JSON and then read like any other, so one set of rules holds.

>>> raw = structured([(b"ce-id", b"e%31"), (b"ce-specversion", b"1.0")], b'{"consent_id": "c1"}')
>>> raw.decode()
'{"id":"e1","specversion":"1.0","datacontenttype":"application/json","data":{"consent_id": "c1"}}'
"""

import re
from collections.abc import Sequence
from enum import Enum
from urllib.parse import unquote_to_bytes

import orjson

from api.http.problems import MediaType
from ledger.errors import Malformed, Problem, Unparsable

EVENT_TYPE = "application/cloudevents+json"
BATCH_TYPE = "application/cloudevents-batch+json"
DATA_TYPE = "application/json"
_PREFIX = b"ce-"
_NAME = re.compile(r"[a-z0-9]{1,64}", re.ASCII)
_ESCAPES = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_QUOTED = re.compile(rb'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_SET_OTHERWISE = ("datacontenttype", "data")

Headers = Sequence[tuple[bytes, bytes]]


class Mode(Enum):
    """How a request carries events."""

    STRUCTURED = "structured"
    BINARY = "binary"
    BATCH = "batch"


def mode_of(headers: Headers) -> Mode:
    """The mode of a request; raises `MediaType` when it carries no CloudEvent that this door takes."""
    found = [value for name, value in headers if name == b"content-type"]
    if len(found) != 1:
        raise MediaType("one content-type is needed")
    media_type, _, parameters = found[0].decode("latin-1").partition(";")
    if parameters and parameters.strip().lower().replace('"', "") not in ("charset=utf-8", ""):
        raise MediaType("JSON is UTF-8")
    match media_type.strip().lower():
        case "application/cloudevents+json":
            return Mode.STRUCTURED
        case "application/cloudevents-batch+json":
            return Mode.BATCH
        case "application/json" if any(name.startswith(_PREFIX) for name, _ in headers):
            return Mode.BINARY
        case _:
            raise MediaType("this media type is not one of CloudEvents in JSON")


def structured(headers: Headers, body: bytes) -> bytes:
    """A binary-mode request as the JSON of one structured event; raises `Malformed` or `Unparsable`."""
    attributes: dict[str, str] = {}
    for raw_name, raw_value in headers:
        if not raw_name.startswith(_PREFIX):
            continue
        name = raw_name[len(_PREFIX) :].decode("latin-1")
        if not _NAME.fullmatch(name) or name in _SET_OTHERWISE:
            raise Malformed([Problem("", "unknown-field")])
        if name in attributes:
            raise Malformed([Problem("", "repeated-member")])
        attributes[name] = _decoded(raw_value)
    # The body stands alone before it is put among the attributes: nothing in it can end the object early.
    try:
        orjson.loads(body)
    except orjson.JSONDecodeError:
        raise Unparsable(_why(body)) from None
    attributes["datacontenttype"] = DATA_TYPE
    return orjson.dumps(attributes)[:-1] + b',"data":' + body + b"}"


def _why(body: bytes) -> str:
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        return "utf-8"
    return "json"


def _decoded(raw: bytes) -> str:
    """A header's value: unquoted, then percent-decoded once."""
    quoted = _QUOTED.fullmatch(raw)
    if quoted:
        raw = re.sub(rb"\\(.)", rb"\1", quoted[1])
    if _ESCAPES.search(raw):
        raise Malformed([Problem("", "percent-encoding")])
    try:
        return unquote_to_bytes(raw).decode("utf-8")
    except UnicodeDecodeError:
        raise Malformed([Problem("", "utf-8")]) from None

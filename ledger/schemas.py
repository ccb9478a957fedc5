"""JSON Schemas (2020-12) of every event type, generated from its one definition in `ledger.events`.

A schema says what a record may hold. What the ledger sets itself is marked `readOnly` (`recordedtime`, `recordedby`,
a sealed field's object): an emitter that sends it is refused.

>>> schema = of("org.consent-ledger.consent.withdrawn.v1")
>>> schema["$id"], schema["properties"]["type"], schema["$defs"]["ConsentWithdrawn"]["required"]
('/schemas/consent.withdrawn.v1.json', {'const': 'org.consent-ledger.consent.withdrawn.v1'}, ['consent_id'])

What a JSON Schema cannot say stands in its `$comment`: `ledger.codec.problems` checks it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

import msgspec
from msgspec import UnsetType

from ledger.errors import NotFound
from ledger.events import EVENTS, JUDGED, KINDS, TYPE_PREFIX, Event

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_SET_BY_THE_LEDGER = ("recordedtime", "recordedby")
_BEYOND = (
    "Beyond this schema: an event is at most 32 KiB of JSON in which no member name repeats; a time is a day of the"
    " calendar and not before 1970. "
)
_ALSO = {
    "policy.published": "A policy's ids do not repeat, its references lead somewhere, and its parents form no cycle.",
    "disclosure.withheld": "`until` is at most one year after `time`.",
}
# What one member asks of another, by the struct it is said of; `ledger.codec.problems` says the same.
_RULES: dict[str, list[dict[str, Any]]] = {
    "DataUsed": [
        {
            "if": {"properties": {"operation": {"const": "notify"}}, "required": ["operation"]},
            "then": {"required": ["channel"]},
        }
    ],
    "DataCollected": [
        {"if": {"required": ["provider"]}, "then": {"properties": {"origin": {"const": "social-login"}}}},
        {"if": {"required": ["from"]}, "then": {"properties": {"origin": {"const": "third-party"}}}},
    ],
}


def name_of(event_type: str) -> str:
    """`<kind>.v<N>`, as schemas are called."""
    return event_type.removeprefix(TYPE_PREFIX)


def names() -> list[str]:
    """The names of all schemas, in the order of the catalogue."""
    return [name_of(event_type) for event_type in EVENTS]


@lru_cache(maxsize=256)
def of(event_type: str) -> dict[str, Any]:
    """The schema of one event type; raises `NotFound`. Not to be changed by the caller."""
    event = EVENTS.get(event_type)
    if event is None:
        raise NotFound("there is no such event type: /v1/schemas/ lists them")
    defs = dict(definitions([event], "#/$defs/{name}"))
    return {
        "$schema": DIALECT,
        "$id": f"/schemas/{name_of(event_type)}.json",
        "$comment": (_BEYOND + _ALSO.get(event.kind, "")).strip(),
        **defs.pop(event.__name__),
        "$defs": defs,
    }


def definitions(
    events: Iterable[type[msgspec.Struct]] | None = None, ref_template: str = "#/components/schemas/{name}"
) -> dict[str, dict[str, Any]]:
    """The schemas of event types and of all that they hold, by class name; they refer to each other by the template."""
    chosen = list(EVENTS.values() if events is None else events)
    _, found = msgspec.json.schema_components(chosen, schema_hook=_hook, ref_template=ref_template)
    # Our own classes in the order of the catalogue, and what they hold after them.
    order = {event.__name__: i for i, event in enumerate(EVENTS.values())}
    ordered = sorted(found, key=lambda name: (order.get(name, len(order)), name))
    return {name: _finished(name, found[name]) for name in ordered}


def check_request() -> dict[str, Any]:
    """The schema of what `POST /v1/check` takes: a judged event."""
    return {"oneOf": [{"$ref": f"/schemas/{name_of(KINDS[kind].type)}.json"} for kind in JUDGED]}


def _hook(cls: type) -> dict[str, Any]:
    if cls is UnsetType:  # a member that is never there: `subject` of a reference fact
        return {"not": {}}
    raise NotImplementedError


def _finished(name: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = _walk(schema, _portable)
    if name in EVENT_CLASSES:
        properties = made["properties"]
        for member in [m for m, value in properties.items() if value == {"not": {}}]:
            del properties[member]
        for member in _SET_BY_THE_LEDGER:
            properties[member]["readOnly"] = True
        for member in ("specversion", "datacontenttype"):  # defaults are for our code: on the wire they are required
            properties[member].pop("default", None)
        made["required"] = [m for m in properties if m in {*made["required"], "specversion", "datacontenttype"}]
        made["title"] = EVENT_CLASSES[name].type
    elif name == "Sealed":
        made["readOnly"] = True
    if name in _RULES:
        made["allOf"] = _RULES[name]
    return made


def _portable(schema: dict[str, Any]) -> dict[str, Any]:
    """One schema node in words that every validator knows."""
    schema.pop("discriminator", None)  # OpenAPI's own; each branch names its `kind` as a constant
    values = schema.get("enum")
    if values is not None and len(values) == 1:
        del schema["enum"]
        schema = {"const": values[0], **schema}
    pattern = schema.get("pattern")
    if isinstance(pattern, str):
        schema["pattern"] = ecma(pattern)
    return schema


def ecma(pattern: str) -> str:
    r"""A pattern of `ledger.events` as ECMA-262 writes it: the end is `$` there, and Python's `\Z` means nothing.

    >>> ecma(r"^[a-z]{1,64}\Z")
    '^[a-z]{1,64}$'
    """
    return pattern.removesuffix(r"\Z") + "$" if pattern.endswith(r"\Z") else pattern


def _walk(node: Any, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
    if isinstance(node, Mapping):
        # A member called `pattern` or `enum` would be a property's name here, never a keyword: there is none.
        return change({key: _walk(value, change) for key, value in node.items()})
    if isinstance(node, list | tuple):
        return [_walk(item, change) for item in node]
    return node


def _classes() -> Iterator[tuple[str, type[Event]]]:
    for event in EVENTS.values():
        yield event.__name__, event


EVENT_CLASSES: dict[str, type[Event]] = dict(_classes())
"""The envelope classes by their names, which their schemas bear."""

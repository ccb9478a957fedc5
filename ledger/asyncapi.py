"""The log as an AsyncAPI 3.0 document: its topics, and the events on them, generated from the event types.

>>> described = document()
>>> described["asyncapi"], list(described["channels"])
('3.0.0', ['events', 'intake', 'rejected', 'checkpoints'])
>>> print(to_yaml({"channel": {"address": "ledger.events", "messages": [], "on": True}}), end="")
channel:
  address: "ledger.events"
  messages: []
  "on": true

The schemas stand in `#/components/schemas`, each once, in words that both JSON Schema
2020-12 and AsyncAPI's own dialect (draft 7 and a little more) know.
"""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.metadata import version
from typing import Any

import orjson

from ledger.events import EVENTS, LEDGER_ONLY
from ledger.schemas import definitions, name_of

CLOUDEVENTS_JSON = "application/cloudevents+json"
_PLAIN_KEY = re.compile(r"[A-Za-z$][A-Za-z0-9_$]*", re.ASCII)
_WORDS = ("true", "false", "null", "yes", "no", "on", "off", "y", "n")  # YAML 1.1 reads these as something else
_POSITION = {"type": "string", "pattern": "^(0|[1-9][0-9]{0,4})-(0|[1-9][0-9]{0,18})$", "description": "P-O"}


@lru_cache(maxsize=1)
def document() -> dict[str, Any]:
    """The whole document. Not to be changed by the caller."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Consent Ledger",
            "version": version("consent-ledger"),
            "description": "What was done with residents' personal data, as facts. Each event is a CloudEvent 1.0 in"
            " JSON (structured mode); a record's bytes never change.",
        },
        "defaultContentType": CLOUDEVENTS_JSON,
        "channels": _channels(),
        "operations": _operations(),
        "components": {"messages": _messages(), "schemas": {**definitions(), **_others()}},
    }


def document_yaml() -> str:
    """The document as YAML: one spelling for one document."""
    return to_yaml(document())


def _channels() -> dict[str, Any]:
    every = {name_of(event_type): {"$ref": f"#/components/messages/{name_of(event_type)}"} for event_type in EVENTS}
    taken = {name_of(t): every[name_of(t)] for t, event in EVENTS.items() if _by_intake(event)}
    return {
        "events": {
            "address": "ledger.events",
            "description": "The log. Keyed by resident; reference facts have no key and go to every partition. Written"
            " by the ledger alone, kept for ever, never compacted.",
            "messages": every,
            "bindings": {
                "kafka": {
                    "topic": "ledger.events",
                    "topicConfiguration": {
                        "cleanup.policy": ["delete"],
                        "retention.ms": -1,
                        "retention.bytes": -1,
                    },
                }
            },
        },
        "intake": {
            "address": "ledger.intake.{client}",
            "description": "Where a service with Kafka access sends events itself: one topic a client, writable by that"
            " client alone. The ledger sets `recordedtime` and `recordedby`; kinds with sealed fields go by HTTP.",
            "parameters": {"client": {"description": "The client's name, which becomes `recordedby`."}},
            "messages": taken,
        },
        "rejected": {
            "address": "ledger.rejected",
            "description": "What was refused at an intake topic: where it stood and why, never the value.",
            "messages": {"rejected": {"$ref": "#/components/messages/rejected"}},
        },
        "checkpoints": {
            "address": "ledger.checkpoints",
            "description": "Signed checkpoints of each partition's tree (C2SP tlog-checkpoint), keyed by partition.",
            "messages": {"checkpoint": {"$ref": "#/components/messages/checkpoint"}},
        },
    }


def _operations() -> dict[str, Any]:
    said = {
        "appendEvent": ("send", "events", "The ledger appends an event that passed its door."),
        "takeIn": ("receive", "intake", "The ledger checks each event as the HTTP door does, and appends it."),
        "refuse": ("send", "rejected", "The ledger says what it refused."),
        "publishCheckpoint": ("send", "checkpoints", "The signer says how far the log goes, and its root."),
    }
    return {
        name: {"action": action, "channel": {"$ref": f"#/channels/{channel}"}, "summary": summary}
        for name, (action, channel, summary) in said.items()
    }


def _messages() -> dict[str, Any]:
    messages: dict[str, Any] = {}
    for event_type, event in EVENTS.items():
        messages[name_of(event_type)] = {
            "name": event_type,
            "title": event.kind,
            "summary": (event.__doc__ or "").strip(),
            "description": "Only the ledger itself emits this."
            if event.scope == LEDGER_ONLY
            else f"A service needs the scope `{event.scope}`.",
            "contentType": CLOUDEVENTS_JSON,
            "payload": {"$ref": f"#/components/schemas/{event.__name__}"},
            "bindings": {"kafka": {"key": {"type": "string", "description": "`subject`; none: a reference fact"}}},
        }
    messages["rejected"] = {
        "name": "rejected",
        "contentType": "application/json",
        "payload": {"$ref": "#/components/schemas/Rejected"},
    }
    messages["checkpoint"] = {
        "name": "checkpoint",
        "contentType": "text/plain",
        "payload": {"$ref": "#/components/schemas/Checkpoint"},
    }
    return messages


def _others() -> dict[str, Any]:
    return {
        "Position": _POSITION,
        "Rejected": {
            "type": "object",
            "properties": {
                "topic": {"type": "string"},
                "partition": {"type": "integer", "minimum": 0},
                "offset": {"type": "integer", "minimum": 0},
                "codes": {"type": "array", "items": {"type": "string"}},
            },
            "required": ["topic", "partition", "offset", "codes"],
        },
        "Checkpoint": {"type": "string", "description": "a signed note: origin, size, root, signatures"},
    }


def _by_intake(event: Any) -> bool:
    return event.scope != LEDGER_ONLY and not event.__annotations__["data"].sealed_fields


# --- YAML -------------------------------------------------------------------------------------------------------


def to_yaml(value: Mapping[str, Any]) -> str:
    """A JSON value as block YAML 1.2; every scalar is spelled as in JSON, which YAML reads alike."""
    return "".join(f"{line}\n" for line in _lines(value, 0))


def _lines(value: Any, depth: int) -> list[str]:
    pad = "  " * depth
    lines: list[str] = []
    if isinstance(value, Mapping):
        for key, item in value.items():
            lines += _entry(f"{pad}{_key(key)}:", item, depth)
    else:
        for item in value:
            lines += _entry(f"{pad}-", item, depth)
    return lines


def _entry(start: str, item: Any, depth: int) -> list[str]:
    if isinstance(item, Mapping | Sequence) and not isinstance(item, str) and item:
        return [start, *_lines(item, depth + 1)]
    return [f"{start} {orjson.dumps(item).decode()}"]


def _key(key: str) -> str:
    return key if _PLAIN_KEY.fullmatch(key) and key.lower() not in _WORDS else orjson.dumps(key).decode()

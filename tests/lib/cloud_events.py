"""CloudEvents as tests describe them, whatever SDK makes or reads them.

A description is {"attributes": {name: text}, "extensions": {name: text, bool or int},
"data": {"json": value} or {"text": text} or {"base64": text} or {}}.
"""

import base64
import json
from datetime import datetime
from urllib.parse import quote, unquote

from cloudevents.core.bindings.http import HTTPMessage, from_binary_event
from cloudevents.core.v1.event import CloudEvent

# What section 3.1.3.2 of the HTTP binding leaves as it is, besides letters and digits.
SAFE = "".join(chr(c) for c in range(0x21, 0x7F) if chr(c) not in '"%')
REQUIRED = ("id", "source", "type", "specversion")
OPTIONAL = ("subject", "dataschema", "time", "datacontenttype")


def encoded(text):
    return quote(text, safe=SAFE)


def text_of(value):
    """The string form of the specification's type system (section 2.4)."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value)


def same_time(a, b):
    moments = [datetime.fromisoformat(text.replace("Z", "+00:00")) for text in (a, b)]
    return moments[0] == moments[1]


def is_json(content_type):
    essence = (content_type or "application/json").split(";")[0].strip().lower()
    return essence.endswith(("/json", "+json"))


# ---- the event that went in ----


def sdk_event(description):
    """The Python SDK's event."""
    attributes = {**description["attributes"], **description["extensions"]}
    if "time" in attributes:
        attributes["time"] = datetime.fromisoformat(attributes["time"].replace("Z", "+00:00"))
    data = description["data"]
    if "base64" in data:
        return CloudEvent(attributes, base64.b64decode(data["base64"]))
    return CloudEvent(attributes, data.get("json", data.get("text")))


# ---- what came out ----


def by_the_specification(headers, payload):
    """A message of the bus, read by the rules alone: docs/bus.md."""
    attributes = {
        name[3:].lower(): unquote(value, errors="strict")
        for name, value in headers.items()
        if name.lower().startswith("ce-")
    }
    assert attributes.get("datacontenttype") == headers.get("content-type"), headers
    return {"attributes": attributes, "extensions": {}, "data": payload}


def by_the_python_sdk(headers, payload):
    """NATS's binary mode is that of HTTP, and the SDK has a parser of that."""
    event = from_binary_event(HTTPMessage(headers=headers, body=payload))
    attributes = {name: text_of(value) for name, value in event.get_attributes().items()}
    return {"attributes": attributes, "extensions": {}, "data": event.get_data()}


def decoded(description):
    """Of an SDK that leaves the decoding of headers to its caller."""
    values = {**description["attributes"], **(description["extensions"] or {})}
    attributes = {name: unquote(text_of(value), errors="strict") for name, value in values.items()}
    data = description["data"]
    if "json" not in data:
        data = base64.b64decode(data.get("base64") or "")
    else:
        data = data["json"]
    return {"attributes": attributes, "extensions": {}, "data": data}


# ---- equal? ----


def assert_same_data(sent, content_type, seen):
    if "base64" in sent:
        expected = base64.b64decode(sent["base64"])
    elif "text" in sent:
        expected = sent["text"].encode("utf-8")
    elif "json" in sent:
        expected = sent["json"]
        if isinstance(seen, bytes):
            assert is_json(content_type), content_type
            seen = json.loads(seen)
        assert seen == expected
        return
    else:
        assert not seen
        return
    assert (seen.encode("utf-8") if isinstance(seen, str) else seen) == expected


def assert_same(sent, seen):
    """Everything that was sent is there, and nothing else."""
    expected = {"specversion": "1.0", **sent["attributes"]}
    expected.update({name: text_of(value) for name, value in sent["extensions"].items()})
    found = dict(seen["attributes"])
    assert same_time(found["time"], expected.get("time", found["time"]))
    if not sent["data"] or "datacontenttype" not in expected:  # SDKs have defaults of their own
        expected.pop("datacontenttype", None)
        found.pop("datacontenttype", None)
    for both in (expected, found):
        both.pop("time", None)
    assert found == expected
    assert_same_data(sent["data"], expected.get("datacontenttype"), seen["data"])


def assert_full_view(sent, document):
    """GET ?view=full."""
    names = {"type": "name", "datacontenttype": "content_type"}
    for name in ("id", "source", "type", "subject", "dataschema"):
        assert document.get(names.get(name, name)) == sent["attributes"].get(name), name
    extensions = {name: text_of(value) for name, value in sent["extensions"].items()}
    assert document.get("key") == extensions.pop("partitionkey", None)
    assert document.get("extensions", {}) == extensions
    if "time" in sent["attributes"]:
        assert same_time(document["time"], sent["attributes"]["time"])
    if "json" in sent["data"]:
        assert document["payload"] == sent["data"]["json"]
    elif sent["data"]:
        payload = base64.b64decode(document["payload_base64"])
        assert_same_data(sent["data"], None, payload)
        assert document["content_type"] == sent["attributes"]["datacontenttype"]


def assert_full_message(sent, message):
    """GetEventStatus with view FULL."""
    attributes = sent["attributes"]
    extensions = {name: text_of(value) for name, value in sent["extensions"].items()}
    assert (message.id, message.source, message.name) == tuple(attributes[n] for n in REQUIRED[:3])
    assert message.subject == attributes.get("subject", "")
    assert message.dataschema == attributes.get("dataschema", "")
    assert message.key == extensions.pop("partitionkey", "")
    assert dict(message.extensions) == extensions
    assert_same_data(sent["data"], message.content_type or None, message.payload)

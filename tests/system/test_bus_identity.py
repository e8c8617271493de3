"""What docs/bus.md says of identity: its own code computes what the gateway puts on the bus."""

import pathlib
import re
import urllib.parse

import pytest

from bus_client import messages

pytestmark = pytest.mark.sequential

DOCUMENT = pathlib.Path(__file__).parents[2] / "docs" / "bus.md"


@pytest.fixture(scope="module")
def documented():
    """The functions that the document defines, and what its example prints."""
    section = DOCUMENT.read_text().split("\n## Identity\n")[1].split("\n## ")[0]
    printed = []
    names = {"print": printed.append}
    for code in re.findall(r"```python\n(.*?)```", section, re.DOTALL):
        exec(code, names)
    names["printed"], names["section"] = printed, section
    return names


def on_the_bus(shared, event_id):
    found = [
        (headers, payload)
        for _, headers, payload in messages(shared.bus.url)
        if headers.get("Tidings-Event-Id") == event_id
    ]
    assert len(found) == 1
    return found[0]


def test_the_worked_examples(documented):
    assert documented["printed"] == ["9849201f7d1edc9750a13053e4f6be91"]
    assert f"# {documented['printed'][0]}\n" in documented["section"]
    example = documented["event_id"]("/orders", "123")
    assert f'`event_id("/orders", "123")` is `{example}`' in documented["section"]


def test_a_json_event(documented, shared, gateway):
    event = {
        "id": "Grüße \U0001f600 100%",
        "source": "/shop/ü",
        "name": "order.identity",
        "key": 'customer "7"',
        "payload": {"total": 12.50, "text": "ü\n"},
    }
    event_id = documented["event_id"](event["source"], event["id"])
    assert gateway.http.post(event).event_id == event_id
    headers, payload = on_the_bus(shared, event_id)
    assert headers["Nats-Msg-Id"] == event_id
    assert urllib.parse.unquote(headers["ce-id"]) == event["id"]
    assert headers["Tidings-Digest"] == documented["digest"](
        event["name"],
        event["source"],
        key=event["key"],
        content_type="application/json",
        payload=payload,
    )


def test_a_cloud_event_with_extensions(documented, shared, gateway):
    attributes = {"subject": "7 é", "dataschema": "https://example.com/a%20b"}
    extensions = {"zone": "é 1", "batch": "12", "b": "x"}
    event = {
        "specversion": "1.0",
        "id": "with-extensions",
        "source": "/shop",
        "type": "order.identity",
        "datacontenttype": "text/plain",
        "data": "text",
        **attributes,
        **extensions,
    }
    event_id = documented["event_id"]("/shop", "with-extensions")
    reply = gateway.http.post(event, content_type="application/cloudevents+json")
    assert reply.event_id == event_id
    headers, payload = on_the_bus(shared, event_id)
    assert payload == b"text"
    for name, value in {**attributes, **extensions}.items():
        assert urllib.parse.unquote(headers["ce-" + name]) == value
    assert headers["Tidings-Digest"] == documented["digest"](
        "order.identity",
        "/shop",
        content_type="text/plain",
        payload=payload,
        extensions=extensions,
        **attributes,
    )

"""The official CloudEvents SDKs for Python, Go and JavaScript, in and out.

Each sends every mode that it knows to the gateway. What lies on the bus is read by the
specification's rules, by each SDK's own parser, and by the SDK for Go's JetStream binding.
"""

import base64
import json
import os
import subprocess

import pytest
from cloudevents.core.bindings.http import to_binary_event, to_structured_event

from bus_client import messages
from cloud_events import (
    assert_full_message,
    assert_full_view,
    assert_same,
    by_the_python_sdk,
    by_the_specification,
    decoded,
    encoded,
    sdk_event,
    text_of,
)
from grpc_client import Client
from http_client import EVENTS
from program import ROOT

pytestmark = pytest.mark.sequential

TIME = "2026-03-04T05:06:07.089Z"
EVERY_BYTE = base64.b64encode(bytes(range(256))).decode()


def description(of, source="/shop", data=None, extensions=None, **attributes):
    return {
        "attributes": {"id": of, "source": source, "type": "order.created", **attributes},
        "extensions": extensions or {},
        "data": data or {},
    }


CASES = [
    description(
        "plain",
        data={"json": {"order": 7, "lines": [{"n": 1.5, "ok": True}, None]}},
        datacontenttype="application/json",
        time=TIME,
    ),
    description(
        'Bestellung №7 – 日本 "eilig" 100% %41',
        source="/l%C3%A4den/berlin?rabatt=100%25&q=a+b#x",
        data={"json": {"grüße": "世界 🌍 \u2028 %20 \\ \"'"}},
        extensions={"note": 'naïve "quoted" 100% sure, %7E', "partitionkey": "Kunde 7 ü"},
        datacontenttype="application/json",
        subject="Grüße, 世界 🌍 /~'`{}|",
        dataschema="https://example.com/schema?v=1%2E0&x=%E4%B8%96#top",
        time="2026-03-04T05:06:07.089+05:30",
    ),
    description(
        "types",
        extensions={"yes": True, "no": False, "small": -2147483648, "large": 2147483647, "n0": 0},
        data={"json": []},
        datacontenttype="application/vnd.acme.order+json",
    ),
    description(
        "text",
        data={"text": 'Grüße\n100 % "\\ \u0007'},
        datacontenttype="text/plain; charset=utf-8",
    ),
    description("xml", data={"text": "<a b='ü'>&#1;</a>"}, datacontenttype="application/xml"),
    description("bytes", data={"base64": EVERY_BYTE}, datacontenttype="application/octet-stream"),
    description("no data", subject="s", time=TIME),
    description(
        "names that others begin with",
        subject="s",
        dataschema="urn:d",
        time=TIME,
        extensions={name: name for name in ("i", "s", "ti", "ty", "sub", "subjects", "data1")},
    ),
    description("many", extensions={f"x{n}": f"value {n}" for n in range(24)}),
]


# ---- senders ----


def sdk(*command, given=""):
    """Runs a program of tests/system/sdk."""
    built = subprocess.run(
        [os.path.join(ROOT, "scripts/sdk")],
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert built.returncode == 0, f"scripts/sdk failed:\n{built.stdout}{built.stderr}"
    result = subprocess.run(
        command, input=given, capture_output=True, text=True, timeout=120, cwd=ROOT, check=False
    )
    assert result.returncode == 0, f"{command}:\n{result.stderr}"
    return json.loads(result.stdout)


def answers_of(replies):
    for reply in replies:
        assert reply["status"] == 202, reply
    return [json.loads(reply["body"])["event_id"] for reply in replies]


def message_of(event, mode):
    if mode == "structured":
        return to_structured_event(sdk_event(event))
    # The SDK writes Python's own True and False into headers, where the specification has true.
    values = {name: text_of(value) for name, value in event["extensions"].items()}
    return to_binary_event(sdk_event({**event, "extensions": values}))


def python(gateway, events, mode):
    ids = []
    for event in events:
        message = message_of(event, mode)
        reply = gateway.http.send("POST", EVENTS, message.body, message.headers)
        assert reply.status == 202, reply
        ids.append(reply.event_id)
    return ids


def go(gateway, events, mode):
    url = f"http://127.0.0.1:{gateway.http_port}{EVENTS}"
    return answers_of(sdk("build/sdk/go", "send", mode, url, given=json.dumps(events)))


def javascript(gateway, events, mode):
    url = f"http://127.0.0.1:{gateway.http_port}{EVENTS}"
    return answers_of(
        sdk("node", "build/sdk/js/main.js", "send", mode, url, given=json.dumps(events))
    )


def go_reads(url):
    return [decoded(event) for event in sdk("build/sdk/go", "read", url, "TIDINGS_EVENTS")]


def javascript_reads(found):
    """HTTP's binary mode, which is that of NATS."""
    given = [
        {"headers": headers, "base64": base64.b64encode(payload).decode()}
        for _, headers, payload in found
    ]
    return [
        decoded(event)
        for event in sdk("node", "build/sdk/js/main.js", "read", given=json.dumps(given))
    ]


# ---- tests ----


def named(sender, mode):
    """The cases, with ids that nobody else has sent."""
    events = []
    for case in CASES:
        event = json.loads(json.dumps(case))
        event["attributes"]["id"] += f" {sender.__name__} {mode}"
        events.append(event)
    return events


@pytest.mark.parametrize("mode", ["structured", "binary"])
@pytest.mark.parametrize("sender", [python, go, javascript])
def test_what_an_sdk_sends_is_what_everybody_reads(shared, gateway, processor, sender, mode):
    sent = named(sender, mode)
    ids = sender(gateway, sent, mode)

    found = messages(shared.bus.url)
    place = {headers["Tidings-Event-Id"]: n for n, (_, headers, _) in enumerate(found)}
    readers = {
        "the specification": [by_the_specification(*message[1:]) for message in found],
        "Python": [by_the_python_sdk(*message[1:]) for message in found],
        "Go": go_reads(shared.bus.url),
        "JavaScript": javascript_reads(found),
    }
    for name, seen in readers.items():
        assert len(seen) == len(found)
        for event_id, event in zip(ids, sent):
            try:
                assert_same(event, seen[place[event_id]])
            except AssertionError as difference:
                raise AssertionError(
                    f"{event}\nas read by {name}: {seen[place[event_id]]}"
                ) from difference

    with Client(processor.address) as client:
        for event_id, event in zip(ids, sent):
            reply = gateway.http.get(f"{EVENTS}/{event_id}?view=full")
            assert reply.status == 200, reply
            assert_full_view(event, reply.json())
            client.until_processed(event_id)
            assert_full_message(event, client.full(event_id))


def test_headers_that_nobody_encoded(shared, gateway):
    """The SDK for Go writes attributes into headers as they are: UTF-8, spaces and quotes."""
    event = description(
        "raw", subject='Grüße, 世界 "a" b', extensions={"note": "ä ö"}, data={"json": {}}
    )
    event["attributes"]["datacontenttype"] = "application/json"
    (event_id,) = go(gateway, [event], "raw")
    for _, headers, payload in messages(shared.bus.url):
        if headers["Tidings-Event-Id"] == event_id:
            assert_same(event, by_the_specification(headers, payload))
            assert headers["ce-subject"] == encoded(event["attributes"]["subject"])
            return
    raise AssertionError("it is not on the bus")


def test_the_two_modes_of_an_event_are_one_event(gateway):
    """Structured and binary mode say the same: the second is the first one sent again."""
    for case in CASES:
        event = json.loads(json.dumps(case))
        event["attributes"]["id"] += " in both modes"
        first, second = message_of(event, "structured"), message_of(event, "binary")
        one = gateway.http.send("POST", EVENTS, first.body, first.headers)
        other = gateway.http.send("POST", EVENTS, second.body, second.headers)
        assert (one.status, other.status) == (202, 202), (event, one, other)
        assert other.event_id == one.event_id and other.json()["duplicate"] is True, (event, other)

"""The bus is the point: any plain NATS consumer can join.

What it sees is a CloudEvent in binary mode (docs/bus.md).
"""

import json
import re
import uuid
from datetime import datetime

import pytest

from bus_client import messages, publish, stream_info
from grpc_client import Client, pb
from program import PATIENCE_S
from tidings import Gateway, Processor
from wait import until

pytestmark = pytest.mark.sequential

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def on_the_bus(shared, event_id):
    for subject, headers, payload in messages(shared.bus.url):
        if headers.get("Tidings-Event-Id") == event_id:
            return subject, headers, payload
    raise AssertionError(f"{event_id} is not on the bus")


def test_an_event_as_a_plain_consumer_sees_it(shared, gateway):
    event = {
        "name": "order.created",
        "payload": {"total": 12.50, "text": "line\n"},
        "key": "customer/7 ü",
        "time": "2026-02-03T04:05:06.789+01:00",
    }
    event_id = gateway.http.post(event).event_id

    subject, headers, payload = on_the_bus(shared, event_id)

    assert subject == "tidings.events.order.created"
    assert headers["ce-specversion"] == "1.0"
    assert headers["ce-id"] == event_id
    assert headers["ce-source"] == "/tidings"
    assert headers["ce-type"] == "order.created"
    assert headers["ce-time"] == event["time"]
    assert headers["ce-partitionkey"] == "customer/7%20%C3%BC"
    assert headers["ce-datacontenttype"] == headers["content-type"] == "application/json"
    assert "Nats-Msg-Id" not in headers, "the server would keep every one in memory"
    assert b'"total"' in payload and json.loads(payload) == event["payload"]


def test_payload_is_kept_byte_for_byte(shared, gateway):
    payload = b'{ "n": 12345678901234567890.10, "e":1E400,"u":"\\u00e4" , "z":[ ] }'
    event_id = gateway.http.post(b'{"payload":' + payload + b',"name":"bytes"}').event_id
    assert on_the_bus(shared, event_id)[2] == payload


def test_an_event_without_payload(shared, gateway):
    event_id = gateway.http.post({"name": "bare"}).event_id
    _, headers, payload = on_the_bus(shared, event_id)
    assert payload == b""
    assert "ce-datacontenttype" not in headers and "content-type" not in headers
    assert "ce-partitionkey" not in headers
    assert datetime.fromisoformat(
        headers["ce-time"].replace("Z", "+00:00")
    ), "the gateway's own time"


def test_event_ids_are_uuid_version_7_and_rise(gateway):
    ids = [gateway.http.post({"name": "ids"}).event_id for _ in range(50)]
    assert all(str(uuid.UUID(text)) == text and uuid.UUID(text).version == 7 for text in ids)
    milliseconds = [uuid.UUID(text).int >> 80 for text in ids]
    assert milliseconds == sorted(milliseconds) and len(set(ids)) == len(ids)


def test_trace_context_goes_with_the_event(shared, gateway):
    reply = gateway.http.post(
        {"name": "traced"}, traceparent=TRACEPARENT, tracestate="vendor=1,other=2"
    )
    _, headers, _ = on_the_bus(shared, reply.event_id)
    assert headers["ce-traceparent"] == TRACEPARENT
    assert headers["ce-tracestate"] == "vendor=1,other=2"


@pytest.mark.parametrize(
    "traceparent",
    [
        "garbage",
        "00-" + "0" * 32 + "-b7ad6b7169203331-01",
        TRACEPARENT + "-x",
        TRACEPARENT.upper(),
        "ff" + TRACEPARENT[2:],
    ],
)
def test_broken_trace_context_is_dropped_not_passed_on(shared, gateway, traceparent):
    """https://www.w3.org/TR/trace-context/: a vendor that cannot parse it ignores both headers."""
    reply = gateway.http.post({"name": "traced"}, traceparent=traceparent, tracestate="vendor=1")
    assert reply.status == 202
    _, headers, _ = on_the_bus(shared, reply.event_id)
    assert not any("trace" in name for name in headers)


def test_request_ids(gateway):
    assert (
        gateway.http.post({"name": "a"}, X_Request_Id="from-a.client_1").headers["x-request-id"]
        == "from-a.client_1"
    )
    made = gateway.http.post({"name": "a"}).headers["x-request-id"]
    assert made and made != gateway.http.post({"name": "a"}).headers["x-request-id"]
    for broken in ("a b", "x" * 129, "<script>", "ä"):
        answer = gateway.http.post({"name": "a"}, X_Request_Id=broken).headers["x-request-id"]
        assert answer != broken and re.fullmatch(r"[A-Za-z0-9._~:/+=-]{1,128}", answer)


# ---- streams ----


def test_streams_keep_what_was_promised(shared):
    for stream in ("TIDINGS_EVENTS", "TIDINGS_STATUS_default"):
        config = stream_info(shared.bus.url, stream).config
        assert config.storage == "file" and config.retention == "limits" and config.discard == "new"
        assert config.deny_delete and config.deny_purge
        assert config.max_age in (0, None), "nothing expires by default"


WRONG = {
    "memory storage": ({"storage": "memory"}, "memory"),
    "work queue": ({"retention": "workqueue"}, "retention"),
    "discards old events": ({"discard": "old"}, "discard"),
    "events may be deleted": ({"deny_delete": False}, "deny-delete"),
    "another subject": ({"subjects": ["tidings.other.>"]}, "subject"),
}


@pytest.mark.parametrize("settings, word", WRONG.values(), ids=WRONG.keys())
@pytest.mark.parametrize("service", [Gateway, Processor])
def test_a_stream_that_breaks_a_promise_is_refused(tidings, service, settings, word):
    """It ends with a message that names the setting and how to mend it."""
    import bus_client

    tidings.nats()
    sound = {
        "name": "TIDINGS_EVENTS",
        "subjects": ["tidings.events.>"],
        "storage": "file",
        "retention": "limits",
        "discard": "new",
        "deny_delete": True,
        "deny_purge": True,
        "allow_direct": True,
    }
    answer = bus_client.stream_request(
        tidings.bus.url, "STREAM.CREATE.TIDINGS_EVENTS", {**sound, **settings}
    )
    assert "error" not in answer, answer
    start = tidings.gateway if service is Gateway else tidings.processor
    program = start(start=False)
    program.learn_ports = lambda: None
    program.start()
    until(lambda: not program.alive(), PATIENCE_S, lambda: f"it refuses to start\n{program.tail()}")
    assert program.process.returncode not in (0, -6, -11)
    assert (
        word in program.log()
        and "TIDINGS_EVENTS" in program.log()
        and "nats stream" in program.log()
    )


def test_a_message_that_is_no_event_stops_nothing(shared, gateway, client):
    """Somebody publishes on our subjects: it ends as dead, and its neighbours are processed."""
    before = gateway.http.post({"name": "before"}).event_id
    publish(shared.bus.url, "tidings.events.foreign", b"not ours")
    publish(
        shared.bus.url,
        "tidings.events.foreign",
        b"",
        {"Tidings-Event-Id": "no uuid", "ce-id": "\x7f"},
    )
    after = gateway.http.post({"name": "after"}).event_id

    client.until_processed(before)
    client.until_processed(after)
    until(
        lambda: client.stats().counts.dead >= 2, PATIENCE_S, lambda: f"both end: {client.stats()}"
    )


def test_the_same_message_twice_is_handled_once(shared, gateway, client):
    """A copy of an event on the bus changes nothing: the first one is the event."""
    event_id = gateway.http.post({"name": "copied", "payload": 1}).event_id
    first = client.until_processed(event_id)
    subject, headers, payload = on_the_bus(shared, event_id)
    publish(shared.bus.url, subject, payload, headers)
    later = gateway.http.post({"name": "later"}).event_id
    client.until_processed(later)

    answer = client.full(event_id)
    assert answer.event_position == first.event_position
    assert [change.status for change in answer.history] == [
        pb.EventStatus.ACCEPTED,
        pb.EventStatus.PROCESSED,
    ]


def test_namespaces_do_not_see_each_other(tidings):
    tidings.nats()
    ours = tidings.processor(namespace="ours")
    theirs = tidings.processor(namespace="theirs")
    gateway = tidings.gateway(namespace="ours", processor=f"ipv4:{ours.address}")
    event_id = gateway.http.post({"name": "ours"}).event_id
    with Client(ours.address) as client:
        client.until_processed(event_id)
    with Client(theirs.address) as client:
        assert client.error(event_id)[0].name == "NOT_FOUND"
    assert stream_info(tidings.bus.url, "OURS_EVENTS").state.messages == 1

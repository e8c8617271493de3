"""What became of an event, over gRPC and over HTTP, brief and in full."""

import json
import re
import time

import pytest

from documents import read
from grpc_client import Client, pb
from http_client import EVENTS
from program import PATIENCE_S
from wait import until

EVENT = {
    "name": "order.created",
    "payload": {"total": 12.5},
    "key": "customer-7",
    "time": "2026-02-03T04:05:06.789Z",
}


def test_accepted_event_in_brief(gateway, client):
    reply = gateway.http.post(EVENT)
    assert reply.status == 202
    assert reply.json() == {"event_id": reply.event_id, "status": "accepted"}
    assert reply.headers["location"] == f"{EVENTS}/{reply.event_id}"
    assert reply.headers["content-type"] == "application/json"

    answer = client.until_processed(reply.event_id)
    assert answer.event_id == reply.event_id and answer.name == "order.created"
    assert answer.attempt == 1 and answer.generation == 0
    assert answer.event_position > 0 and answer.position > 0
    assert abs(answer.updated_at.ToMilliseconds() / 1000 - time.time()) < 2 * PATIENCE_S
    assert not answer.payload and not answer.history, "brief is brief"


def test_accepted_event_in_full(gateway, client, processor):
    event_id = gateway.http.post(EVENT).event_id
    client.until_processed(event_id)

    answer = client.full(event_id)

    assert answer.id == event_id and answer.source == "/tidings" and answer.key == "customer-7"
    assert answer.time.ToJsonString() == EVENT["time"]
    assert answer.content_type == "application/json"
    assert json.loads(answer.payload) == EVENT["payload"]
    accepted, processed = answer.history
    assert (
        accepted.status == pb.EventStatus.ACCEPTED
        and accepted.attempt == 0
        and accepted.processor == ""
    )
    assert accepted.position == answer.event_position
    assert processed.status == pb.EventStatus.PROCESSED and processed.attempt == 1
    assert processed.processor and 0 < processed.position <= answer.position
    assert accepted.time.ToMilliseconds() <= processed.time.ToMilliseconds() + 1000
    assert answer.updated_at == processed.time
    assert answer.error == ""


def test_ids_are_taken_in_any_case(gateway, client):
    event_id = gateway.http.post(EVENT).event_id
    assert client.status(event_id.upper()).event_id == event_id


def test_status_over_http(gateway, client):
    event_id = gateway.http.post(EVENT).event_id
    client.until_processed(event_id)

    brief = gateway.http.get(f"{EVENTS}/{event_id}")
    assert brief.status == 200 and brief.headers["content-type"] == "application/json"
    answer = brief.json()
    assert answer["event_id"] == event_id
    assert answer["status"] == "processed"
    assert answer["name"] == "order.created"
    assert "payload" not in answer and "history" not in answer

    full = gateway.http.get(f"{EVENTS}/{event_id}?view=full").json()
    assert full["payload"] == EVENT["payload"]
    assert (
        full["key"] == EVENT["key"]
        and full["source"] == "/tidings"
        and full["time"] == EVENT["time"]
    )
    assert [change["status"] for change in full["history"]] == ["accepted", "processed"]


def test_head_has_the_headers_of_get(gateway, client):
    event_id = gateway.http.post(EVENT).event_id
    client.until_processed(event_id)
    head = gateway.http.send("HEAD", f"{EVENTS}/{event_id}")
    got = gateway.http.get(f"{EVENTS}/{event_id}")
    assert head.status == 200
    assert head.headers["content-length"] == str(len(got.body))


def test_what_has_not_changed_is_not_sent_again(gateway, client):
    """From one status to the next the tag changes; between them other events do not change it."""
    event_id = gateway.http.post(EVENT).event_id
    client.until_processed(event_id)
    path = f"{EVENTS}/{event_id}"
    tag = gateway.http.get(path).headers["etag"]
    client.until_processed(gateway.http.post(EVENT).event_id)
    same = gateway.http.get(path, **{"If-None-Match": f'"other", {tag}'})
    assert same.status == 304 and same.headers["etag"] == tag
    full = gateway.http.get(f"{path}?view=full", **{"If-None-Match": tag})
    assert full.status == 200 and full.headers["etag"] != tag, "another view is another answer"
    assert gateway.http.send("POST", f"{path}/replay", b"").status == 202
    until(
        lambda: gateway.http.get(path, **{"If-None-Match": tag}).status == 200,
        PATIENCE_S,
        "a replay changes the tag",
    )


def test_head_options_and_wrong_methods_everywhere(gateway):
    """On each path that docs/http-api.md lists."""
    event_id = gateway.http.post(EVENT).event_id
    rows = re.findall(r"^\| `(GET|POST|DELETE) (/[^ `]*)` \|", read("docs/http-api.md"), re.M)
    paths = {path for _, path in rows}
    assert len(paths) >= 8
    for path in paths:
        allowed = {method for method, other in rows if other == path}
        url = path.replace("{id}", event_id).replace("{replay_id}", event_id)
        options = gateway.http.send("OPTIONS", url)
        says = set(options.headers["allow"].split(", "))
        assert options.status == 204 and says - {"HEAD", "OPTIONS"} == allowed, (path, says)
        assert gateway.http.send("PATCH", url, b"").status == 405, path
        if path.endswith("/events/stream"):  # has no end
            head = gateway.http.send("HEAD", url)
            assert head.status == 200 and head.headers["content-type"] == "text/event-stream"
        elif "GET" in allowed:
            head, got = gateway.http.send("HEAD", url), gateway.http.send("GET", url)
            assert head.status == got.status and "HEAD" in says, path
            assert head.headers["content-type"] == got.headers["content-type"], path


def test_unknown_event_over_http(gateway):
    reply = gateway.http.get(f"{EVENTS}/019ab5a0-1c7e-7d31-9f0c-6a1d3c1b2f4e")
    assert reply.status == 404 and reply.headers["content-type"] == "application/problem+json"
    assert reply.json()["type"].endswith(":not-found")


@pytest.mark.parametrize("query", ["view=everything", "view="])
def test_unknown_view(gateway, query):
    event_id = gateway.http.post(EVENT).event_id
    reply = gateway.http.get(f"{EVENTS}/{event_id}?{query}")
    assert reply.status in (400, 422) and "view" in reply.json()["detail"]


def test_stats_count(tidings):
    tidings.nats()
    processor = tidings.processor(group="workers")
    gateway = tidings.gateway()
    with Client(processor.address) as client:
        empty = client.stats()
        assert empty.group == "workers" and empty.processor
        assert empty.events == 0 and empty.event_position == 0
        ids = [gateway.http.post(EVENT).event_id for _ in range(20)]
        for event_id in ids:
            client.until_processed(event_id)
        stats = client.stats()
        assert stats.events == stats.counts.processed == 20
        assert stats.event_position == 20 and stats.status_position >= 1
        assert stats.first_event_position == 1
        assert stats.digest != empty.digest and stats.table_bytes > 0
        assert client.stats(floor_position=11).digest != stats.digest


def test_simulated_work_takes_its_time(tidings):
    """A handlers file: what `demo.>` takes, and that the rest is not held up by it."""
    tidings.nats()
    processor = tidings.processor(
        config="""
handlers:
  - match: "demo.>"
    simulate: { delay: 4s }
  - match: ">"
    log: {}
"""
    )
    gateway = tidings.gateway()
    with Client(processor.address) as client:
        begin = time.monotonic()
        slow = gateway.http.post({"name": "demo.slow"}).event_id
        fast = gateway.http.post({"name": "other"}).event_id
        client.until_processed(fast)
        assert client.status(slow).status in (pb.EventStatus.ACCEPTED, pb.EventStatus.PROCESSING)
        client.until_processed(slow)
        assert time.monotonic() - begin >= 4


def test_many_slow_events_run_at_once(tidings):
    tidings.nats()
    processor = tidings.processor(
        concurrency=100, config='handlers: [{match: ">", simulate: {delay: 1s}}]'
    )
    gateway = tidings.gateway()
    begin = time.monotonic()
    ids = [gateway.http.post({"name": "slow"}).event_id for _ in range(100)]
    with Client(processor.address) as client:
        for event_id in ids:
            client.until_processed(event_id)
    assert (
        time.monotonic() - begin < 1 + PATIENCE_S / 2
    ), "100 events of 1 s each, one after the other"


def test_two_groups_each_handle_every_event(tidings):
    tidings.nats()
    one, other = tidings.processor(group="one"), tidings.processor(group="other")
    gateway = tidings.gateway(processor=f"ipv4:{one.address}")
    ids = [gateway.http.post({"name": "shared"}).event_id for _ in range(20)]
    for processor in (one, other):
        with Client(processor.address) as client:
            for event_id in ids:
                client.until_processed(event_id)


def test_a_group_that_comes_later_handles_all_from_the_beginning(tidings):
    tidings.nats()
    gateway = tidings.gateway(start=False, processor="ipv4:127.0.0.1:1")
    gateway.start()
    until(
        lambda: gateway.http.post({"name": "early"}).status == 202,
        PATIENCE_S,
        "accepted without any processor",
    )
    ids = [gateway.http.post({"name": "early"}).event_id for _ in range(20)]
    with Client(tidings.processor().address) as client:
        for event_id in ids:
            client.until_processed(event_id)

"""Events that expire before they end, and attempts to come that are lost, on the real bus."""

import json

import pytest

from bus_client import messages, on_bus, stream_info, until_all_acknowledged
from grpc_client import Client, Status, pb
from program import PATIENCE_S
from wait import until

DEAD = "TIDINGS_DEAD"
RETRY = "TIDINGS_RETRY_default"
AGE_S = 20

# Attempts that fail are tried again for ever, and one that hangs is never given up.
CONFIG = """
handlers:
  - match: ">"
    simulate: { delay: 0ms }
    retry: { max_attempts: 100, backoff: 500ms, backoff_max: 1s, timeout: 1h }
"""

# What is missing is looked for every 10 s, and may be held for its letter for 30 s before.
SWEPT_S = PATIENCE_S + 60


def post(gateway, *script):
    answer = gateway.http.post({"name": "demo.run", "payload": {"simulate": list(script)}})
    assert answer.status == 202, answer
    return answer.event_id


def until_status(client, event_id, status, limit_s=PATIENCE_S):
    until(
        lambda: client.status(event_id).status == status,
        limit_s,
        lambda: f"{event_id} is {Status.Name(status)}: {client.status(event_id)}",
    )
    return client.full(event_id)


def letters(url):
    """(headers, payload) of all letters by event_id; each event has one."""
    found = messages(url, DEAD)
    by_id = {headers["Tidings-Event-Id"]: (headers, payload) for _, headers, payload in found}
    assert len(by_id) == len(found)
    return by_id


def assert_expired(answer, attempts_at_least):
    assert answer.error.startswith("expired: ") and "20s" in answer.error, answer
    last = answer.history[-1]
    assert Status.Name(last.status) == "DEAD" and last.attempt >= attempts_at_least
    assert last.error == answer.error


def test_events_that_have_not_ended_in_time_become_letters(tidings):
    tidings.nats()
    url = tidings.bus.url
    age = {"events_max_age": f"{AGE_S}s", "duplicate_window": "2s"}
    processors = [tidings.processor(config=CONFIG, **age) for _ in range(2)]
    gateway = tidings.gateway(**age)
    scripts = {
        post(gateway, "fail:no stock"): "fail:no stock",
        post(gateway, "hang"): "hang",
        post(gateway, "fail:after=1h"): "fail:after=1h",
    }
    good = post(gateway, "ok")
    with Client(processors[0].address) as one, Client(processors[1].address) as other:
        one.until_processed(good)
        failing, hanging, waiting = scripts
        until_status(one, hanging, pb.EventStatus.PROCESSING)
        until_status(one, waiting, pb.EventStatus.RETRYING)
        until(
            lambda: processors[0].metrics()["tidings_events_expiring"] == 3,
            AGE_S,
            "the metric warns of all three",
        )
        assert not letters(url)
        for event_id in scripts:  # before they leave the event log
            until_status(other, event_id, pb.EventStatus.DEAD, AGE_S)
        assert_expired(one.full(failing), 2)
        assert_expired(one.full(hanging), 1)
        assert_expired(other.full(waiting), 1)
        assert gateway.http.get(f"/api/v1/events/{failing}").json()["status"] == "dead"
        assert one.stats().counts.dead == 3 and one.stats().counts.processed == 1
        digests = {client.stats().digest for client in (one, other)}
        assert len(digests) == 1

    found = letters(url)
    assert set(found) == set(scripts)  # accepted = processed + dead
    for event_id, (headers, payload) in found.items():
        assert headers["Tidings-Reason"] == "expired"
        assert headers["Tidings-Error"].startswith("expired: ")
        assert json.loads(payload) == {"simulate": [scripts[event_id]]}
    expired = sum(p.metrics()["tidings_events_expired_total"] for p in processors)
    assert expired == 3

    # They leave the event log, and their letters stay; what still comes for them ends nowhere.
    until(lambda: stream_info(url).state.messages == 0, AGE_S, "the event log has dropped them")
    assert set(letters(url)) == set(scripts)
    assert all(processor.alive() for processor in processors)


FAILING = """
handlers:
  - match: ">"
    simulate: { delay: 0ms, failure_rate: 1 }
    retry: { max_attempts: 100, backoff: 500ms, backoff_max: 1s }
"""
HEALTHY = """
handlers:
  - match: ">"
    simulate: { delay: 0ms, failure_rate: 0 }
"""


def bare(headers):
    """Without the server's own and what a letter adds."""
    ours = ("nats-", "tidings-")
    return {k: v for k, v in headers.items() if not k.lower().startswith(ours)}


def test_an_expired_event_comes_back_from_its_letter(tidings):
    tidings.nats()
    url = tidings.bus.url
    age = {"events_max_age": f"{AGE_S}s", "duplicate_window": f"{AGE_S}s"}
    processors = [tidings.processor(config=FAILING, **age) for _ in range(2)]
    gateway = tidings.gateway(**age)
    event = {"id": "one", "name": "demo.run", "key": "k", "payload": {"number": 1}}
    answer = gateway.http.post(event)
    assert answer.status == 202, answer
    event_id = answer.event_id
    with Client(processors[0].address) as client:
        until_status(client, event_id, pb.EventStatus.DEAD, AGE_S)
    until(lambda: stream_info(url).state.messages == 0, AGE_S, "the event log has dropped it")
    ((_, headers, payload),) = messages(url, DEAD)
    assert headers["Tidings-Reason"] == "expired"
    for processor in processors:
        assert processor.stop() == 0
        processor.configure(HEALTHY)
        processor.start().until_ready()
    gateway.until_reaches_a_processor()

    path = f"/api/v1/events/{event_id}"
    assert gateway.http.get(path).status == 404  # its status went with it
    stranger = "/api/v1/events/0190a1b2-0000-7000-8000-000000000001/replay"
    assert gateway.http.send("POST", stranger).status == 404
    replay = gateway.http.send("POST", f"{path}/replay")
    assert replay.status == 202, replay
    done = f"/api/v1/replays/{replay.json()['replay_id']}"
    until(
        lambda: gateway.http.get(done).json()["state"] == "done",
        PATIENCE_S,
        lambda: f"the replay has ended: {gateway.http.get(done)}",
    )
    assert gateway.http.get(done).json()["replayed"] == 1
    with Client(processors[1].address) as client:
        client.until_processed(event_id)
    assert gateway.http.get(path).json()["status"] == "processed"

    ((_, anew, anew_payload),) = messages(url)
    assert anew["Tidings-Event-Id"] == event_id
    assert anew["Tidings-Digest"] == headers["Tidings-Digest"]
    assert "Nats-Msg-Id" not in anew
    assert bare(anew) == bare(headers) and anew_payload == payload
    assert len(messages(url, DEAD)) == 1


def delete_stream(url, stream):
    async def delete(connection):
        await connection.jetstream().delete_stream(stream)

    on_bus(url, delete)


@pytest.mark.long
def test_attempts_to_come_that_are_deleted_come_after_all(tidings):
    tidings.nats()
    url = tidings.bus.url
    config = CONFIG.replace("1h", "1s")
    processors = [tidings.processor(config=config, ack_wait="1s") for _ in range(2)]
    gateway = tidings.gateway()
    events = [post(gateway, "fail:after=4s", "ok") for _ in range(20)]
    with Client(processors[0].address) as client:
        until(
            lambda: client.stats().counts.retrying == len(events),
            PATIENCE_S,
            "all have failed once",
        )
        until_all_acknowledged(url, PATIENCE_S)
        assert stream_info(url, RETRY).state.messages == len(events)
        delete_stream(url, RETRY)
        for event_id in events:
            answer = until_status(client, event_id, pb.EventStatus.PROCESSED, SWEPT_S)
            assert answer.history[-1].attempt == 2, answer
    assert sum(p.metrics()["tidings_attempts_swept_total"] for p in processors) >= len(events)
    assert not letters(url)
    until(lambda: stream_info(url, RETRY).state.messages == 0, PATIENCE_S, "no attempt is to come")

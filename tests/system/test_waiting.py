"""Requests that wait until an event has ended."""

import threading
import time

import pytest

from http_client import EVENTS
from program import PATIENCE_S
from tidings import Tidings
from wait import until

HANDLERS = """
handlers:
  - match: "slow.>"
    simulate: { delay: 2s }
  - match: "fails.>"
    simulate: { delay: 10ms, failure_rate: 1 }
    retry: { max_attempts: 2, backoff: 500ms, backoff_max: 500ms }
  - match: ">"
    log: {}
"""
ENOUGH = 50  # seconds, to be ended by nothing but the event


@pytest.fixture(scope="module")
def waiting(tmp_path_factory):
    with Tidings(tmp_path_factory.mktemp("waiting")) as tidings:
        tidings.nats()
        tidings.processor(config=HANDLERS, ack_wait="3s")
        yield tidings.gateway()


def post(gateway, name):
    reply = gateway.http.post({"name": name, "payload": 1})
    assert reply.status == 202
    return reply.event_id


def test_answers_the_moment_it_has_ended(waiting):
    event_id = post(waiting, "slow.one")
    begin = time.monotonic()
    reply = waiting.http.get(f"{EVENTS}/{event_id}?wait={ENOUGH}")
    assert reply.status == 200 and reply.json()["status"] == "processed"
    assert 1 < time.monotonic() - begin < PATIENCE_S
    again = time.monotonic()
    full = waiting.http.get(f"{EVENTS}/{event_id}?wait={ENOUGH}&view=full")
    assert full.json()["payload"] == 1 and time.monotonic() - again < 1


def test_dead_is_an_end_and_retrying_is_none(waiting):
    event_id = post(waiting, "fails.always")
    reply = waiting.http.get(f"{EVENTS}/{event_id}?wait={ENOUGH}&view=full").json()
    assert reply["status"] == "dead" and "retrying" in [c["status"] for c in reply["history"]]


def test_the_time_is_up(waiting):
    event_id = post(waiting, "slow.two")
    begin = time.monotonic()
    reply = waiting.http.get(f"{EVENTS}/{event_id}?wait=1")
    assert reply.status == 200 and reply.json()["status"] in ("accepted", "processing")
    assert time.monotonic() - begin >= 1


def test_a_preference(waiting):
    event_id = post(waiting, "slow.three")
    reply = waiting.http.get(f"{EVENTS}/{event_id}", Prefer="wait=100000")
    assert reply.headers["preference-applied"] == "wait=60"
    assert reply.json()["status"] == "processed"


def test_unknown_events_are_not_waited_for(waiting):
    begin = time.monotonic()
    reply = waiting.http.get(f"{EVENTS}/019ab5a0-1c7e-7d31-9f0c-6a1d3c1b2f4e?wait={ENOUGH}")
    assert reply.status == 404 and time.monotonic() - begin < PATIENCE_S


def test_many_wait_and_events_are_taken_meanwhile(waiting):
    ids = [post(waiting, "slow.many") for _ in range(40)]
    replies = {}

    def wait_for(event_id):
        replies[event_id] = waiting.http.get(f"{EVENTS}/{event_id}?wait={ENOUGH}").json()

    threads = [threading.Thread(target=wait_for, args=(i,)) for i in ids]
    for thread in threads:
        thread.start()
    assert post(waiting, "fast")
    for thread in threads:
        thread.join(ENOUGH)
    assert [replies[i]["status"] for i in ids] == ["processed"] * 40


def test_places_are_counted(tidings):
    tidings.nats()
    tidings.processor(config=HANDLERS)
    gateway = tidings.gateway(max_connections=8, max_followers=100)  # half of 8 at most
    event_id = post(gateway, "slow.places")
    path = f"{EVENTS}/{event_id}?wait={ENOUGH}"
    threads = [threading.Thread(target=gateway.http.get, args=(path,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    until(lambda: gateway.metrics()["tidings_followers"] == 4, PATIENCE_S, "four wait")
    refused = gateway.http.get(path)
    assert refused.status == 503 and refused.headers["retry-after"] == "1"
    assert gateway.metrics()["tidings_followers_refused_total"] == 1
    assert post(gateway, "fast")
    for thread in threads:
        thread.join(ENOUGH)
    assert gateway.http.get(path).status == 200
    assert gateway.metrics()["tidings_followers"] == 0


def test_a_processor_is_killed_while_it_is_waited_for(tidings):
    tidings.nats()
    processors = [tidings.processor(config=HANDLERS, ack_wait="2s") for _ in range(2)]
    gateway = tidings.gateway()
    ids = [post(gateway, "slow.killed") for _ in range(10)]
    replies = []
    threads = [
        threading.Thread(
            target=lambda i=i: replies.append(gateway.http.get(f"{EVENTS}/{i}?wait={ENOUGH}"))
        )
        for i in ids
    ]
    for thread in threads:
        thread.start()
    until(lambda: gateway.metrics()["tidings_followers"] == 10, PATIENCE_S, "all wait")
    processors[0].kill()
    for thread in threads:
        thread.join(ENOUGH + PATIENCE_S)
    assert [r.status for r in replies] == [200] * 10
    assert {r.json()["status"] for r in replies} == {"processed"}


def test_waiting_ends_when_the_gateway_stops(tidings):
    tidings.nats()
    tidings.processor(config=HANDLERS.replace("2s", "60s"))
    gateway = tidings.gateway()
    event_id = post(gateway, "slow.stop")
    replies = []
    path = f"{EVENTS}/{event_id}?wait={ENOUGH}"
    thread = threading.Thread(target=lambda: replies.append(gateway.http.get(path)))
    thread.start()
    until(lambda: gateway.metrics()["tidings_followers"] == 1, PATIENCE_S, "it waits")
    begin = time.monotonic()
    assert gateway.stop() == 0
    thread.join(ENOUGH)
    assert time.monotonic() - begin < PATIENCE_S
    assert replies[0].status == 200 and replies[0].json()["status"] in ("accepted", "processing")

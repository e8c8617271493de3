"""Requests that wait until an event has ended: that ask for it, or send it."""

import json
import threading
import time

import pytest

from http_client import EVENTS, JSON, Connection, request
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


class Posting(threading.Thread):
    """Sends an event and waits for its end; then it has a reply."""

    def __init__(self, gateway, name):
        super().__init__()
        self.http, self.event, self.reply = gateway.http, {"name": name, "payload": 1}, None
        self.start()

    def run(self):
        headers = {"Content-Type": JSON, "Prefer": f"wait={ENOUGH}"}
        body = json.dumps(self.event).encode()
        self.reply = self.http.send("POST", EVENTS, body, headers, timeout_s=ENOUGH + PATIENCE_S)

    def answered(self):
        self.join(ENOUGH + PATIENCE_S)
        assert self.reply
        return self.reply


def until_waiting(gateway, count):
    until(
        lambda: gateway.metrics()["tidings_followers"] == count, PATIENCE_S, f"{count} wait"
    )


def is_stored(gateway, reply):
    return gateway.http.get(f"{EVENTS}/{reply.event_id}").status == 200


def test_answers_the_moment_it_has_ended(waiting):
    event_id = post(waiting, "slow.one")
    begin = time.monotonic()
    reply = waiting.http.get(f"{EVENTS}/{event_id}?wait={ENOUGH}")
    assert reply.status == 200 and reply.json()["status"] == "processed"
    assert 1 < time.monotonic() - begin < PATIENCE_S
    again = time.monotonic()
    full = waiting.http.get(f"{EVENTS}/{event_id}?wait={ENOUGH}&view=full")
    assert full.json()["payload"] == 1 and time.monotonic() - again < PATIENCE_S


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


# ---- sent, and waited for ----


def test_sending_answers_the_moment_it_has_ended(waiting):
    begin = time.monotonic()
    reply = waiting.http.post({"name": "slow.sent", "payload": 1}, Prefer=f"wait={ENOUGH}")
    assert 1 < time.monotonic() - begin < PATIENCE_S
    assert reply.status == 200 and reply.headers["preference-applied"] == f"wait={ENOUGH}"
    status = waiting.http.get(reply.headers["location"]).json()
    told = reply.json()
    assert told["status"] == "processed" and told.pop("position") <= status.pop("position")
    assert told == status


def test_sending_what_dies(waiting):
    reply = waiting.http.post({"name": "fails.sent"}, Prefer=f"wait={ENOUGH}")
    assert reply.status == 200 and reply.json()["status"] == "dead"
    assert reply.json()["attempt"] == 2


def test_sending_what_takes_too_long(waiting):
    begin = time.monotonic()
    reply = waiting.http.post({"name": "slow.late"}, Prefer="wait=1")
    assert time.monotonic() - begin >= 1
    assert reply.status == 202 and reply.headers["preference-applied"] == "wait=1"
    assert reply.json() == {"event_id": reply.event_id, "status": "accepted"}
    ended = waiting.http.get(f"{reply.headers['location']}?wait={ENOUGH}").json()
    assert ended["status"] == "processed"


def test_sending_again(waiting):
    event = {"name": "slow.again", "id": "again", "source": "/waiting"}
    first = waiting.http.post(event, Prefer="wait=0")
    assert first.status == 202 and first.headers["preference-applied"] == "wait=0"
    second = waiting.http.post(event, Prefer=f"wait={ENOUGH}")
    assert second.status == 200 and second.event_id == first.event_id
    assert second.json()["status"] == "processed" and second.json()["duplicate"] is True
    begin = time.monotonic()
    third = waiting.http.post(event, Prefer=f"wait={ENOUGH}")
    assert third.json()["duplicate"] is True and time.monotonic() - begin < PATIENCE_S


def test_sending_many_does_not_wait(waiting):
    reply = waiting.http.post(b'[{"name":"slow.batch"}]', Prefer=f"wait={ENOUGH}")
    assert reply.status == 202 and "preference-applied" not in reply.headers
    lines = waiting.http.post(
        b'{"name":"slow.line"}\n', "application/x-ndjson", Prefer=f"wait={ENOUGH}"
    )
    assert lines.status == 200 and "preference-applied" not in lines.headers
    assert lines.lines()[0]["status"] == "accepted"


def test_a_connection_goes_on_after_it_has_waited(waiting):
    body = b'{"name":"slow.kept"}'
    with Connection(waiting.http_port) as connection:
        for preference, status in ((f"wait={ENOUGH}", 200), (None, 202)):
            headers = {"Content-Type": JSON, "Prefer": preference}
            connection.send(request("POST", EVENTS, body, headers))
            assert connection.receive().status == status


def test_more_are_sent_than_there_are_places(tidings):
    tidings.nats()
    tidings.processor(config=HANDLERS)
    gateway = tidings.gateway(max_followers=3)
    posting = [Posting(gateway, "slow.places") for _ in range(3)]
    until_waiting(gateway, 3)
    reply = gateway.http.post({"name": "slow.places"}, Prefer=f"wait={ENOUGH}")
    assert reply.status == 202 and "preference-applied" not in reply.headers
    assert is_stored(gateway, reply)
    assert gateway.metrics()["tidings_followers_refused_total"] == 1
    assert [p.answered().json()["status"] for p in posting] == ["processed"] * 3
    assert gateway.metrics()["tidings_followers"] == 0


def test_processors_are_killed_while_sent_events_are_waited_for(tidings):
    tidings.nats()
    processors = [tidings.processor(config=HANDLERS, ack_wait="2s") for _ in range(2)]
    gateway = tidings.gateway()
    posting = [Posting(gateway, "slow.killed") for _ in range(10)]
    until_waiting(gateway, 10)
    processors[0].kill()
    replies = [p.answered() for p in posting]
    assert [(r.status, r.json()["status"]) for r in replies] == [(200, "processed")] * 10


def test_there_is_no_processor(tidings):
    """The event is stored, and processed when there is one again."""
    tidings.nats()
    processor = tidings.processor(config=HANDLERS.replace("2s", "60s"), ack_wait="2s")
    gateway = tidings.gateway()
    posting = [Posting(gateway, "slow.alone") for _ in range(3)]
    until_waiting(gateway, 3)
    processor.kill()
    posting.append(Posting(gateway, "slow.alone"))
    begin = time.monotonic()
    replies = [p.answered() for p in posting]
    assert time.monotonic() - begin < ENOUGH / 2  # it is given up before
    assert [r.status for r in replies] == [202] * 4
    assert not any("preference-applied" in r.headers for r in replies)
    processor.configure(HANDLERS)
    processor.start()
    for reply in replies:
        ended = gateway.http.get(f"{EVENTS}/{reply.event_id}?wait={ENOUGH}")
        assert ended.status == 200 and ended.json()["status"] == "processed"


def test_a_client_that_goes_frees_its_place_and_its_event_stays(tidings):
    tidings.nats()
    tidings.processor(config=HANDLERS)
    gateway = tidings.gateway()
    headers = {"Content-Type": JSON, "Prefer": f"wait={ENOUGH}"}
    with Connection(gateway.http_port) as connection:
        body = b'{"name":"slow.gone","id":"gone"}'
        connection.send(request("POST", EVENTS, body, headers))
        until_waiting(gateway, 1)
    until_waiting(gateway, 0)
    status = gateway.http.get(f"{EVENTS}/gone?wait={ENOUGH}")
    assert status.status == 200 and status.json()["status"] == "processed"


def test_the_gateway_stops_while_sent_events_are_waited_for(tidings):
    tidings.nats()
    tidings.processor(config=HANDLERS.replace("2s", "60s"))
    gateway = tidings.gateway()
    posting = [Posting(gateway, "slow.stop") for _ in range(3)]
    until_waiting(gateway, 3)
    begin = time.monotonic()
    assert gateway.stop() == 0
    assert time.monotonic() - begin < PATIENCE_S
    replies = [p.answered() for p in posting]
    assert [r.status for r in replies] == [202] * 3
    assert not any("preference-applied" in r.headers for r in replies)
    gateway.start()
    gateway.until_reaches_a_processor()
    assert all(is_stored(gateway, r) for r in replies)

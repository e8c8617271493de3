"""At a bound the answer is 413, 429, 503 or 507: at once, with its reason, nothing stored."""

import threading
import time

from bus_client import stored_ids, stream_info
from grpc_client import until_all_processed
from http_client import EVENTS, JSON, Connection, Http, request
from program import PATIENCE_S
from wait import until

AT_ONCE_S = 2.0


def posted_at_once(port, count):
    """Posts events at the same time; returns (reply, seconds) of each as they come."""
    found = []

    def post():
        begin = time.monotonic()
        reply = Http(port).post({"name": "crowd"})
        found.append((reply, time.monotonic() - begin))

    threads = [threading.Thread(target=post) for _ in range(count)]
    for thread in threads:
        thread.start()
    return found, threads


def test_more_publishes_in_flight_than_allowed(tidings):
    """The bus answers nobody; those beyond the bound are told to come back, without waiting."""
    tidings.nats()
    tidings.processor()
    gateway = tidings.gateway(max_in_flight=4)
    tidings.bus.freeze()
    replies, threads = posted_at_once(gateway.http_port, 20)
    until(lambda: len(replies) >= 16, PATIENCE_S, lambda: f"16 answers: {replies}")
    busy = [(reply, seconds) for reply, seconds in replies if reply.status == 429]
    assert len(busy) == 16, replies
    assert all(seconds < AT_ONCE_S for _, seconds in busy)
    assert all(int(reply.headers["retry-after"]) >= 1 for reply, _ in busy)
    tidings.bus.thaw()
    for thread in threads:
        thread.join()
    statuses = [reply.status for reply, _ in replies]
    assert statuses.count(429) == 16 and set(statuses) <= {202, 429, 504}, statuses
    accepted = {reply.event_id for reply, _ in replies if reply.status == 202}
    assert accepted <= set(stored_ids(tidings.bus.url))
    gateway.until_ready()
    assert gateway.http.post({"name": "afterwards"}).status == 202


def test_a_full_event_log(tidings):
    """507, no 202; outcomes are still written, since they have a log of their own."""
    tidings.nats()
    tidings.processor(events_max_bytes="256KiB")
    gateway = tidings.gateway(events_max_bytes="256KiB")
    replies = [gateway.http.post({"name": "big", "payload": "x" * 20_000}) for _ in range(20)]
    statuses = [reply.status for reply in replies]
    assert set(statuses) == {202, 507}, statuses
    assert statuses == sorted(statuses), "once full it stays full"
    problem = replies[-1].json()
    assert problem["type"].endswith(":log-full") and problem["detail"]
    accepted = [reply.event_id for reply in replies if reply.status == 202]
    assert accepted == stored_ids(tidings.bus.url)
    until_all_processed(tidings.processors(), accepted)


def test_a_bus_that_takes_less_than_the_gateway(tidings):
    """NATS's own max_payload: 413 that says so, not a broken connection."""
    tidings.nats()
    tidings.processor()
    gateway = tidings.gateway(max_body="4MiB")
    body = b'{"name":"big","payload":"' + b"x" * (3 << 20) + b'"}'
    reply = gateway.http.post(body)
    assert reply.status == 413, reply
    assert stream_info(tidings.bus.url).state.messages == 0
    assert gateway.http.post({"name": "small"}).status == 202


def test_many_requests_on_one_connection(shared, gateway):
    with Connection(gateway.http_port) as connection:
        for _ in range(200):
            connection.send(request("POST", EVENTS, b'{"name":"again"}', {"Content-Type": JSON}))
            assert connection.receive().status == 202

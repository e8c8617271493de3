"""Several events in one request: one result each, in order; what is said to be stored is stored."""

import glob
import json
import time
from concurrent.futures import ThreadPoolExecutor

from bus_client import stored_ids, stream_info
from grpc_client import until_all_processed
from http_client import JSON
from nats_proxy import NatsProxy
from program import PATIENCE_S
from wait import until

BATCH = "application/cloudevents-batch+json"
AT_ONCE_S = 2.0


def plain(count, **members):
    return [{"name": f"batch.n{n % 7}", "payload": {"n": n}, **members} for n in range(count)]


def cloud_event(number):
    return {
        "specversion": "1.0",
        "id": str(number),
        "source": "/batches",
        "type": "batch.cloud",
        "data": {"n": number},
    }


def statuses(reply):
    return [result["status"] for result in reply.json()]


def stored(reply):
    return [result["event_id"] for result in reply.json() if result["status"] == "accepted"]


def is_frozen(program):
    """Each of its threads: a signal that stops a process does not reach them all at once."""
    states = []
    for path in glob.glob(f"/proc/{program.pid}/task/*/stat"):
        with open(path, encoding="ascii") as stat:
            states.append(stat.read().rpartition(") ")[2][0])
    return set(states) == {"T"}


def test_a_thousand_events_in_one_request(shared, gateway, processor):
    reply = gateway.http.post(plain(1000))
    assert reply.status == 202, reply
    assert len(set(stored(reply))) == 1000
    assert set(stored(reply)) <= set(stored_ids(shared.bus.url))
    until_all_processed([processor], stored(reply))


def test_events_keep_their_order(shared, gateway):
    before = stream_info(shared.bus.url).state.last_seq
    reply = gateway.http.post(plain(500))
    assert stored(reply) == stored_ids(shared.bus.url)[before:]


def test_cloud_events_in_a_batch_sent_twice(shared, gateway):
    first = gateway.http.post([cloud_event(n) for n in range(50)], content_type=BATCH)
    before = stream_info(shared.bus.url).state.last_seq
    second = gateway.http.post([cloud_event(n) for n in range(50)], content_type=BATCH)
    assert first.status == second.status == 202
    assert stored(first) == stored(second)
    assert not any("duplicate" in result for result in first.json())
    assert all(result["duplicate"] for result in second.json())
    assert stream_info(shared.bus.url).state.last_seq == before


def test_one_id_twice_in_a_batch(shared, gateway):
    """The bus itself never has both on their way."""
    before = stream_info(shared.bus.url).state.last_seq
    events = [{"name": "batch.twice", "id": "twice-1", "payload": n} for n in (1, 1, 2)]
    reply = gateway.http.post([*events, {"name": "batch.twice", "id": "twice-2"}])
    assert reply.status == 207
    assert statuses(reply) == ["accepted", "accepted", 409, "accepted"], reply
    results = reply.json()
    assert results[1]["duplicate"] and results[2]["type"].endswith(":id-reused")
    assert len({result["event_id"] for result in results[:3]}) == 1
    assert stream_info(shared.bus.url).state.last_seq == before + 2


def test_some_are_bad(gateway):
    good, bad = {"name": "batch.good"}, {"name": "not good"}
    reply = gateway.http.post([good, bad, good])
    assert reply.status == 207 and statuses(reply) == ["accepted", 422, "accepted"], reply
    problem = reply.json()[1]
    assert problem["type"] == "urn:tidings:problem:invalid" and problem["title"]
    assert "name" in problem["detail"]


def test_what_a_batch_may_not_be(shared, gateway):
    before = stream_info(shared.bus.url).state.last_seq
    for body, kind, status, word in [
        (json.dumps(plain(1001)).encode(), JSON, 413, "1000"),
        (b"[" + b" " * (1 << 20) + b'{"name":"a"}]', JSON, 413, "1048576"),
        (b'[{"name":"a"},]', JSON, 400, "byte"),
        (b"[]", BATCH, 422, "empty"),
        (b"{}", BATCH, 422, "array"),
        (b'[{"name":"a b"}]', JSON, 422, None),
    ]:
        reply = gateway.http.post(body, content_type=kind)
        assert reply.status == status, reply
        if word:
            assert word in reply.json()["detail"]
    assert stream_info(shared.bus.url).state.last_seq == before


def test_a_batch_takes_about_one_round_trip(tidings):
    """No acknowledgement comes back, and all events have been sent all the same."""
    nats = tidings.nats()
    with NatsProxy(nats.port) as proxy:
        tidings.bus_url = proxy.url
        gateway = tidings.gateway()
        proxy.hold_acks(every=1)
        with ThreadPoolExecutor(1) as executor:
            reply = executor.submit(gateway.http.post, plain(200))
            try:
                until(lambda: len(stored_ids(nats.url)) == 200, AT_ONCE_S, "all are stored")
                assert not reply.done()
            finally:
                proxy.heal()
            assert reply.result().status == 202


def test_the_bus_is_away(tidings):
    tidings.nats()
    gateway = tidings.gateway(publish_timeout="1s")
    tidings.bus.kill()
    until(lambda: not gateway.is_ready(), PATIENCE_S, "the gateway has noticed")
    begin = time.monotonic()
    reply = gateway.http.post(plain(100))
    assert reply.status == 503 and reply.headers["retry-after"], reply
    assert statuses(reply) == [503] * 100
    assert time.monotonic() - begin < AT_ONCE_S


def test_the_bus_does_not_answer(tidings):
    """Each may be stored, and each is told its id: sent again with it, it is one event."""
    tidings.nats()
    gateway = tidings.gateway(publish_timeout="1s")
    tidings.bus.freeze()
    until(lambda: is_frozen(tidings.bus), PATIENCE_S, "the bus stands still")
    reply = gateway.http.post(plain(30))
    tidings.bus.thaw()
    assert reply.status == 504 and statuses(reply) == [504] * 30, reply
    gateway.until_ready()
    again = [
        {**event, "id": result["event_id"]} for event, result in zip(plain(30), reply.json())
    ]
    second = gateway.http.post(again)
    assert second.status == 202 and stored(second) == [event["id"] for event in again]
    assert sorted(set(stored_ids(tidings.bus.url))) == sorted(stored(second))

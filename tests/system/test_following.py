"""Server-Sent Events: each change once, in order, whatever is killed; slow readers; limits."""

import os
import subprocess
import threading
import time
from collections import Counter

import pytest

from conftest import rounds
from http_client import EVENTS, Connection, Load, request
from program import PATIENCE_S, SANITIZED
from sse_client import STREAM, Follower, Stream
from tidings import Tidings
from wait import until

HANDLERS = """
handlers:
  - match: "slow.>"
    simulate: { delay: 3s }
  - match: "fails.>"
    simulate: { delay: 10ms, failure_rate: 1 }
    retry: { max_attempts: 3, backoff: 100ms, backoff_max: 100ms }
  - match: ">"
    log: {}
"""


@pytest.fixture(scope="module")
def following(tmp_path_factory):
    with Tidings(tmp_path_factory.mktemp("following")) as tidings:
        tidings.nats()
        tidings.processor(config=HANDLERS)
        yield tidings.gateway(stream_keepalive="1s")


def post(gateway, name):
    reply = gateway.http.post({"name": name})
    assert reply.status == 202
    return reply.event_id


def statuses(told):
    return [document["status"] for _, document in told]


# ---- one event ----


def test_curl_follows_an_event_to_its_end(following):
    event_id = post(following, "slow.curl")
    url = f"http://127.0.0.1:{following.http_port}{EVENTS}/{event_id}/stream"
    done = subprocess.run(
        ["curl", "-sSN", "--max-time", "60", url], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done
    blocks = done.stdout.split("\n\n")
    assert blocks[0].startswith("retry: ") and '"status":"processed"' in blocks[-2], done.stdout
    assert ": still here" in done.stdout


def test_each_change_of_an_event(following):
    with Stream(following.http_port, f"{EVENTS}/{post(following, 'fails.a')}/stream") as stream:
        told = [(document["attempt"], document["status"]) for _, _, document in stream]
    assert told[-1] == (3, "dead") and len(told) == len(set(told))
    assert {(1, "retrying"), (2, "retrying")} <= set(told)


def test_who_comes_back_is_told_what_was_missed(following):
    event_id = post(following, "fails.b")
    path = f"{EVENTS}/{event_id}/stream"
    with Stream(following.http_port, path) as stream:
        whole = [(identity, document["status"]) for identity, _, document in stream]
    for known, (identity, _) in enumerate(whole):
        with Stream(following.http_port, path, identity) as stream:
            if known == len(whole) - 1:
                assert stream.status == 204, "a browser must not come back for ever"
            else:
                rest = [(d["attempt"], d["status"]) for _, _, d in stream]
                assert [s for _, s in rest] == [s for _, s in whole[known + 1 :]]


def test_an_unknown_event_has_no_stream(following):
    reply = following.http.get(f"{EVENTS}/019ab5a0-1c7e-7d31-9f0c-6a1d3c1b2f4e/stream")
    assert reply.status == 404 and reply.headers["content-type"] == "application/problem+json"


# ---- all events ----


def test_a_filter(following):
    with Follower([following.http_port], f"{STREAM}?status=dead&name=fails.>") as follower:
        post(following, "other")
        event_id = post(following, "fails.filter")
        until(lambda: follower.told, PATIENCE_S, "the end is told")
    assert [(d["event_id"], d["status"]) for _, d in follower.told] == [(event_id, "dead")]


def test_from_the_beginning_and_from_each_id(following):
    """What is told from 0 on has no doubles; and from each id on it is the rest of the same."""
    for _ in range(20):
        post(following, "fails.ids")
    path = f"{STREAM}?name=fails.ids"
    with Follower([following.http_port], path, last_id="0") as follower:
        until(
            lambda: Counter(statuses(follower.told))["dead"] == 20, PATIENCE_S, "all have ended"
        )
    whole = follower.told
    ids = [identity for identity, _ in whole]
    assert len(set(ids)) == len(ids)
    for at in range(0, len(whole) - 1, 7):
        with Follower([following.http_port], path, last_id=ids[at]) as again:
            rest = whole[at + 1 :]
            until(lambda: len(again.told) >= len(rest), PATIENCE_S, "the rest is told")
        assert again.told == rest, f"after {ids[at]}"


# ---- whatever is killed ----


@pytest.mark.parametrize("life", range(rounds(2)))
def test_each_end_is_told_once_whatever_is_killed(tidings, life):
    tidings.nats()
    processors = [tidings.processor(ack_wait="2s") for _ in range(2)]
    gateways = [tidings.gateway() for _ in range(2)]
    ports = [gateway.http_port for gateway in gateways]
    with Follower(ports, f"{STREAM}?status=processed") as follower:
        with Load(ports, clients=4, rate=200) as load:
            for victim in (processors[0], gateways[0], processors[1], gateways[1]):
                count = len(load.accepted)
                until(lambda c=count: len(load.accepted) > c + 50, PATIENCE_S, "events are taken")
                victim.kill()
                victim.start().until_ready()
        accepted = set(load.accepted)
        until(
            lambda: accepted <= {d["event_id"] for _, d in follower.told},
            3 * PATIENCE_S,
            lambda: f"all are told: {len(follower.told)} of {len(accepted)}",
        )
    told = Counter(document["event_id"] for _, document in follower.told)
    assert {n for n in told.values()} == {1}, "none twice"
    positions = [document["position"] for _, document in follower.told]
    assert positions == sorted(positions)
    assert follower.connections > 1


def test_a_stream_ends_with_its_gateway(tidings):
    tidings.nats()
    tidings.processor()
    gateway = tidings.gateway()
    with Stream(gateway.http_port, STREAM) as stream:
        told = iter(stream)
        next(told)  # where it begins
        begin = time.monotonic()
        stop = threading.Thread(target=gateway.stop)
        stop.start()
        assert [data["reason"] for _, event, data in told if event == "closing"] == ["stopping"]
        stop.join()
        assert time.monotonic() - begin < PATIENCE_S


# ---- readers that are slow, and many ----


def test_one_that_does_not_read_is_in_nobodys_way(tidings):
    tidings.nats()
    tidings.processor()
    gateway = tidings.gateway(request_timeout="3s")
    with Connection(gateway.http_port) as idle, Follower([gateway.http_port]) as follower:
        idle.send(request("GET", STREAM))
        until(lambda: gateway.metrics()["tidings_followers"] == 2, PATIENCE_S, "both follow")
        before = gateway.resident_kb()
        with Load([gateway.http_port], clients=8) as load:
            # more than fits into what lies between a gateway and a client that takes nothing
            until(
                lambda: gateway.metrics()["tidings_followers"] == 1,
                6 * PATIENCE_S,
                "the idle one is dropped",
            )
        accepted = set(load.accepted)
        until(
            lambda: accepted <= {d["event_id"] for _, d in follower.told},
            2 * PATIENCE_S,
            lambda: f"the other is told all: {len(follower.told)} of {len(accepted)}",
        )
        assert follower.connections == 1, follower.closings
        assert SANITIZED or gateway.resident_kb() - before < 64 * 1024


def test_places_are_counted(tidings):
    tidings.nats()
    tidings.processor()
    gateway = tidings.gateway(max_followers=3)
    streams = [Stream(gateway.http_port, STREAM) for _ in range(3)]
    refused = gateway.http.get(STREAM)
    assert refused.status == 503 and refused.headers["retry-after"] == "1"
    assert post(gateway, "a"), "events are taken all the same"
    for stream in streams:
        stream.connection.close()
    until(lambda: gateway.metrics()["tidings_followers"] == 0, PATIENCE_S, "they are gone")
    with Stream(gateway.http_port, STREAM) as again:
        assert again.status == 200


def test_a_thousand_streams_are_resumed(tidings):
    """Fifty at a time, as after a gateway's restart; nothing stays behind. Those before them pass
    through all threads of the gateway, which keep what they once needed."""
    tidings.nats()
    processor = tidings.processor()
    gateway = tidings.gateway(max_connections=100)
    ids = {post(gateway, "a") for _ in range(20)}
    path = f"{STREAM}?last_event_id=0"

    def read_all(stream):
        told = set()
        assert stream.status == 200
        for _, _, document in stream:
            told |= {document["event_id"]} if document else set()
            if told == ids:
                return

    def resume():
        streams = [Stream(gateway.http_port, path) for _ in range(50)]
        for stream in streams:
            read_all(stream)
        threads = len(os.listdir(f"/proc/{gateway.pid}/task"))
        for stream in streams:
            stream.connection.close()
        until(lambda: gateway.metrics()["tidings_followers"] == 0, PATIENCE_S, "all are gone")
        return threads, gateway.descriptors(), gateway.resident_kb(), processor.resident_kb()

    first = [resume() for _ in range(10)][-1]
    last = [resume() for _ in range(20)][-1]
    assert last[0] <= first[0], "threads"
    assert last[1] <= first[1] + 8, "descriptors"
    if not SANITIZED:  # which keep what was freed
        assert last[2] < first[2] + 8 * 1024, "the gateway's memory"
        assert last[3] < first[3] + 8 * 1024, "the processor's memory"

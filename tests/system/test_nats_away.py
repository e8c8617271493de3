"""NATS goes away under load: 503 at once, no 202, memory flat.

It comes back: 202 within two seconds, without a restart.
"""

import time

import pytest

from grpc_client import Client, health_pb, until_all_processed
from http_client import Http, Load
from program import PATIENCE_S, SANITIZED
from wait import until, while_it_holds

AWAY_S = 20 if not SANITIZED else 8
AT_ONCE_S = 2.5  # half of --publish-timeout: nobody has waited for the bus
RETURN_S = 2.0 if not SANITIZED else 6.0
GROWTH_KB = 8 * 1024 if not SANITIZED else 64 * 1024


def away(tidings, leave, back, notice_s):
    """NATS leaves under load for a while. notice_s: how soon the gateway must know."""
    gateway = tidings.gateways()[0]
    with Load([gateway.http_port], clients=32) as load:
        until(lambda: len(load.accepted) > 500, PATIENCE_S, "load flows")
        leave()
        left = time.monotonic()
        until(lambda: not gateway.is_ready(), notice_s + 5, "/ready says 503")
        time.sleep(max(0, left + notice_s - time.monotonic()))
        accepted, resident = len(load.accepted), gateway.resident_kb()

        refused = gateway.http.post({"name": "while.away"})
        assert refused.status == 503, refused
        assert int(refused.headers["retry-after"]) >= 1
        assert refused.headers["content-type"] == "application/problem+json"

        while_it_holds(
            lambda: len(load.accepted) == accepted,
            left + AWAY_S - time.monotonic(),
            "no 202 while NATS is away",
        )
        assert gateway.resident_kb() - resident < GROWTH_KB, "memory grows while NATS is away"
        back()
        returned = time.monotonic()
        until(
            lambda: len(load.accepted) > accepted,
            RETURN_S + 5,
            lambda: f"202 again: {load.replies}",
        )
        took = load.last_accepted - returned
    late = [
        (seconds, reply)
        for begin, seconds, reply in load.other
        if reply.status == 503 and left + notice_s < begin < returned and seconds > AT_ONCE_S
    ]
    assert not late, f"refused, but not at once: {late[:3]}"
    assert all(
        reply.headers.get("retry-after") for _, _, reply in load.other if reply.status == 503
    )
    assert set(load.replies) <= {202, 503, 504, 429}, load.replies
    assert took <= RETURN_S, f"accepted only {took:.1f} s after the return"
    until_all_processed(tidings.processors(), load.accepted, limit_s=3 * PATIENCE_S)


@pytest.fixture
def running(tidings):
    tidings.nats()
    tidings.processor(ack_wait="3s")
    tidings.gateway()
    return tidings


def test_killed_for_twenty_seconds(running):
    away(running, running.bus.kill, running.bus.start, notice_s=1)


def test_frozen_for_twenty_seconds(running):
    """Connected, but silent: nothing tells the gateway but its own watch."""
    away(running, running.bus.freeze, running.bus.thaw, notice_s=6)


def test_started_before_nats(tidings):
    """The services wait for NATS, say so, and go on when it comes."""
    from tidings import Nats

    bus = Nats(tidings.folder)
    tidings.bus_url = bus.url
    processor = tidings.processor(start=False)
    processor.start()
    gateway = tidings.gateway(start=False)
    gateway.start()

    ready = gateway.http.get("/ready")
    assert ready.status == 503 and ready.json()["checks"]["bus"] != "ok"
    assert gateway.http.get("/health").status == 200, "it lives, it is only not ready"
    assert gateway.http.post({"name": "too.early"}).status == 503
    assert processor.http.get("/ready").status == 503

    tidings.add(bus).start()
    gateway.until_ready(), processor.until_ready()
    event_id = gateway.http.post({"name": "in.time"}).event_id
    with Client(processor.address) as client:
        client.until_processed(event_id)


def test_health_follows_the_bus(running):
    """gRPC health and its watchers hear of NATS going and coming."""
    processor = running.processors()[0]
    serving, not_serving = (
        health_pb.HealthCheckResponse.SERVING,
        health_pb.HealthCheckResponse.NOT_SERVING,
    )
    with Client(processor.address) as client:
        watch = client.health.Watch(
            health_pb.HealthCheckRequest(service="events.EventService"), timeout=60
        )
        assert next(watch).status == serving
        running.bus.kill()
        assert next(watch).status == not_serving
        until(lambda: not client.serving(), PATIENCE_S, "Check says NOT_SERVING")
        assert not Http.answers(processor.http_port, "/ready", 200)
        running.bus.start()
        assert next(watch).status == serving
        assert client.serving()
        watch.cancel()

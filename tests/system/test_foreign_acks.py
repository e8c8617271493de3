"""Acknowledgements that are lost, late or someone else's.

No request gets a 202 that is not its own, and nothing stalls.
"""

import asyncio
import threading

import nats
import pytest

from bus_client import stored_ids
from http_client import Load
from nats_proxy import NatsProxy
from program import PATIENCE_S
from wait import until

FOREIGN = [
    b"",
    b"+OK",
    b"thank you",
    b"{}",
    b"null",
    b"[]",
    b'{"ok":true}',
    b'{"stream":"TIDINGS_EVENTS"}',
    b'{"stream":"TIDINGS_EVENTS","seq":0}',
    b'{"stream":"TIDINGS_EVENTS","seq":-1}',
    b'{"stream":"TIDINGS_EVENTS","seq":"7"}',
    b'{"stream":"ANOTHER","seq":7}',
    b'{"stream":"TIDINGS_EVENTS_2","seq":7}',
    b'{"seq":7}',
    b'{"stream":"TIDINGS_EVENTS","seq":7',
    b"\x00\xff" * 400,
    b"[" * 5000,
]


class Responder(threading.Thread):
    """A careless subscriber: answers every event it sees, and later once more."""

    def __init__(self, url):
        super().__init__(daemon=True)
        self.url, self.answered = url, 0
        self.ready = threading.Event()

    def __enter__(self):
        self.start()
        assert self.ready.wait(PATIENCE_S)
        return self

    def __exit__(self, *_):
        self.loop.call_soon_threadsafe(self.over.set)
        self.join()

    def run(self):
        asyncio.run(self.respond())

    async def respond(self):
        self.loop, self.over = asyncio.get_running_loop(), asyncio.Event()
        connection = await nats.connect(self.url, allow_reconnect=False)
        earlier = []

        async def answer(message):
            if message.reply:
                await connection.publish(message.reply, FOREIGN[self.answered % len(FOREIGN)])
                earlier.append(message.reply)
                if len(earlier) > 50:  # an inbox whose waiter is long gone
                    await connection.publish(earlier.pop(0), b'{"stream":"TIDINGS_EVENTS","seq":1}')
                self.answered += 1

        await connection.subscribe("tidings.events.>", cb=answer)
        await connection.flush()
        self.ready.set()
        await self.over.wait()
        await connection.close()


def start(tidings, through_proxy=False, **flags):
    tidings.nats()
    processor = tidings.processor()
    proxy = None
    if through_proxy:
        proxy = NatsProxy(tidings.bus.port)
        tidings.bus_url = proxy.url
    return processor, tidings.gateway(publish_timeout="1500ms", **flags), proxy


def assert_all_stored(tidings, load):
    assert load.accepted
    missing = set(load.accepted) - set(stored_ids(tidings.bus.url))
    assert not missing, f"{len(missing)} events got a 202 and are not stored: {sorted(missing)[:3]}"


def test_foreign_replies_complete_nothing(tidings):
    start(tidings)
    gateway = tidings.gateways()[0]
    with Responder(tidings.bus.url) as responder, Load([gateway.http_port], clients=16) as load:
        until(
            lambda: responder.answered >= 1000,
            3 * PATIENCE_S,
            lambda: f"{responder.answered} foreign replies",
        )
    assert set(load.replies) == {202}, f"a foreign reply is worth nothing: {load.replies}"
    assert_all_stored(tidings, load)


def test_lost_publishes_get_no_202(tidings):
    """Every tenth publish never reaches NATS, and somebody else answers it: only 504 is right."""
    _, gateway, proxy = start(tidings, through_proxy=True)
    with proxy, Load([gateway.http_port], clients=16, rate=400) as load:
        until(lambda: len(load.accepted) > 100, PATIENCE_S, "load flows")
        proxy.lose_publishes(every=10, subject=b"tidings.events.", foreign=FOREIGN)
        until(
            lambda: load.replies.get(504, 0) >= 16, 3 * PATIENCE_S, lambda: f"504s: {load.replies}"
        )
        proxy.heal()
        seen = len(load.accepted)
        until(lambda: len(load.accepted) > seen + 200, PATIENCE_S, "nothing stalls")
    assert set(load.replies) <= {202, 504, 503}, load.replies
    assert_all_stored(tidings, load)


@pytest.mark.parametrize("late", [False, True], ids=["lost", "late"])
def test_acknowledgements_that_do_not_come_in_time(tidings, late):
    """Its publisher gets 504 with the event_id; everybody else is served.

    When they come late they complete nothing."""
    _, gateway, proxy = start(tidings, through_proxy=True)
    with proxy, Load([gateway.http_port], clients=16, rate=400) as load:
        until(lambda: len(load.accepted) > 100, PATIENCE_S, "load flows")
        proxy.hold_acks(every=10) if late else proxy.lose_acks(every=10)
        until(
            lambda: load.replies.get(504, 0) >= 16, 3 * PATIENCE_S, lambda: f"504s: {load.replies}"
        )
        proxy.heal()  # what was held arrives now, long after its time
        seen = len(load.accepted)
        until(lambda: len(load.accepted) > seen + 200, PATIENCE_S, "nothing stalls")

    assert set(load.replies) <= {202, 504, 503}, load.replies
    assert_all_stored(tidings, load)
    stored = set(stored_ids(tidings.bus.url))
    for _, _, reply in load.other:
        if reply.status == 504:
            problem = reply.json()
            assert problem["event_id"] not in load.accepted
            assert problem["event_id"] in stored, "only its acknowledgement was lost"


def test_all_acknowledgements_lost_at_once(tidings):
    """Every publish in flight is given up; the gateway recovers by itself."""
    _, gateway, proxy = start(tidings, through_proxy=True)
    with proxy, Load([gateway.http_port], clients=64) as load:
        until(lambda: len(load.accepted) > 500, PATIENCE_S, "load flows")
        proxy.lose_acks(every=1)
        until(
            lambda: load.replies.get(504, 0) >= 32, 3 * PATIENCE_S, lambda: f"504s: {load.replies}"
        )
        proxy.heal()
        seen = len(load.accepted)
        until(
            lambda: len(load.accepted) > seen + 500,
            PATIENCE_S,
            lambda: f"202s come again: {load.replies}",
        )
    assert_all_stored(tidings, load)

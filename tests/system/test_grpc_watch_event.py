"""Waiting for one event: its status at once, then each change until it has ended."""

import asyncio
import threading

import grpc
import pytest

from grpc_client import Client, Status, pb
from program import PATIENCE_S
from wait import until

SLOW = """
handlers:
  - match: "slow.>"
    simulate: { delay: 1500ms }
  - match: "never.>"
    simulate: { delay: 300s }
    retry: { timeout: 600s }
  - match: ">"
    simulate: { delay: 200ms, failure_rate: 1 }
    retry: { max_attempts: 3, backoff: 100ms }
"""
WATCHERS = 'tidings_watchers{kind="event"}'
TOLD = ("name", "event_position", "generation")


@pytest.fixture
def slow(tidings):
    tidings.nats()
    return tidings.processor(config=SLOW)


def watch(client, event_id, source="", timeout_s=PATIENCE_S + 30):
    question = pb.WatchEventRequest(event_id=event_id, source=source)
    return client.events.WatchEvent(question, timeout=timeout_s)


def words(messages):
    return [Status.Name(message.status) for message in messages]


def test_each_attempt_is_told_until_the_event_is_dead(tidings, slow):
    event_id = tidings.gateway().http.post({"name": "doomed"}).event_id
    with Client(slow.address) as client:
        told = list(watch(client, event_id))
        history = client.full(event_id).history
        (again,) = watch(client, event_id)
    first = words(told)[0]
    assert first in ("ACCEPTED", "RETRYING", "PROCESSING")
    assert words(told)[-1] == "DEAD" and told[-1].attempt == 3
    kept = [(c.status, c.attempt) for c in history]
    since = kept.index((told[0].status, told[0].attempt))
    assert [(m.status, m.attempt) for m in told] == kept[since:]
    assert [m.position for m in told] == sorted({m.position for m in told})
    assert again.status == pb.EventStatus.DEAD and again.position >= told[-1].position
    assert all(getattr(m, member) == getattr(told[0], member) for m in told for member in TOLD)


def test_a_producers_id_and_a_deadline(tidings, slow):
    tidings.gateway().http.post({"id": "w-1", "source": "/watch", "name": "never.ends"})
    with Client(slow.address) as client:
        stream = watch(client, "w-1", source="/watch", timeout_s=2)
        told = []
        with pytest.raises(grpc.RpcError) as error:
            told.extend(stream)
        assert error.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        with pytest.raises(grpc.RpcError) as error:
            list(watch(client, "w-1"))
        assert error.value.code() == grpc.StatusCode.NOT_FOUND, "of the default source"
        until(lambda: slow.metrics()[WATCHERS] == 0, PATIENCE_S, "it is forgotten")


def test_cancelled_watches_leave_nothing_behind(tidings, slow):
    event_id = tidings.gateway().http.post({"name": "never.ends"}).event_id
    with Client(slow.address) as client:
        streams = [watch(client, event_id) for _ in range(200)]
        assert {words([next(stream)])[0] for stream in streams} <= {"ACCEPTED", "PROCESSING"}
        assert slow.metrics()[WATCHERS] == 200
        for stream in streams:
            stream.cancel()
        until(lambda: slow.metrics()[WATCHERS] == 0, PATIENCE_S, "all are forgotten")


async def wait_for_ends(address, event_ids):
    """Watches all of them on one connection; the last message of each."""
    from grpc_client import events_grpc

    async def last(stub, event_id):
        message = None
        async for message in stub.WatchEvent(pb.WatchEventRequest(event_id=event_id), timeout=90):
            pass
        return message

    async with grpc.aio.insecure_channel(address) as channel:
        stub = events_grpc.EventServiceStub(channel)
        return await asyncio.gather(*(last(stub, event_id) for event_id in event_ids))


def test_a_thousand_wait_each_for_its_event(tidings, slow):
    http = tidings.gateway().http
    ids = [http.post({"name": "slow.order", "payload": n}).event_id for n in range(1000)]
    told = asyncio.run(wait_for_ends(slow.address, ids))
    assert [message.event_id for message in told] == ids
    assert {message.status for message in told} == {pb.EventStatus.PROCESSED}


def test_the_processors_end_is_told_and_another_one_goes_on(tidings, slow):
    other = tidings.processor(config=SLOW)
    event_id = tidings.gateway().http.post({"name": "slow.order"}).event_id
    with Client(slow.address) as client, Client(other.address) as second:
        stream = watch(client, event_id)
        told = [next(stream)]
        ended = threading.Thread(target=slow.stop)
        ended.start()
        try:
            told.extend(stream)  # the event may end while the processor drains
            assert told[-1].status == pb.EventStatus.PROCESSED
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.UNAVAILABLE, error
        ended.join()
        assert list(watch(second, event_id))[-1].status == pb.EventStatus.PROCESSED


def test_a_killed_processors_waiters_go_on_at_another_one(tidings, slow):
    other = tidings.processor(config=SLOW)
    event_id = tidings.gateway().http.post({"name": "slow.order"}).event_id
    with Client(slow.address) as client, Client(other.address) as second:
        stream = watch(client, event_id)
        position = next(stream).position
        slow.kill()
        try:
            list(stream)
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.UNAVAILABLE, error
        question = pb.WatchEventRequest(event_id=event_id, min_position=position)
        told = list(second.events.WatchEvent(question, timeout=PATIENCE_S + 60))
        assert told[-1].status == pb.EventStatus.PROCESSED
        assert all(message.position >= position for message in told)

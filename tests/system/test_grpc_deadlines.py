"""Callers that leave, by deadline or cancel: they are told so, and the processor forgets them."""

import uuid

import grpc
import pytest

from grpc_client import ENDED, Client, pb
from program import PATIENCE_S
from wait import until

SERVICE = pb.DESCRIPTOR.services_by_name["EventService"]
STREAMS = {method.name for method in SERVICE.methods if method.server_streaming}
HANDLERS = 'handlers: [{match: ">", simulate: {delay: 0ms}}]'
EVENTS = 100
MANY = 50


@pytest.fixture
def stack(tidings):
    tidings.nats()
    tidings.one = tidings.processor(config=HANDLERS)
    post = tidings.gateway().http.post
    tidings.ids = [post({"name": "order"}).event_id for _ in range(EVENTS)]
    with Client(tidings.one.address) as client:
        tidings.client = client
        until(
            lambda: all(r.status.status in ENDED for r in client.batch(tidings.ids).results),
            PATIENCE_S,
            "all have ended",
        )
        yield tidings


def question(method, event_id, replay_id):
    """A request that can be answered."""
    arguments = {
        "BatchGetEventStatus": {"event_ids": [event_id]},
        "GetEventStatus": {"event_id": event_id},
        "WatchEvent": {"event_id": event_id},
        "ReplayEvents": {"statuses": [pb.EventStatus.PROCESSED]},
    }
    known = {"replay_id": replay_id}
    arguments |= {"GetReplay": known, "WatchReplay": known, "CancelReplay": known}
    request = getattr(pb, SERVICE.methods_by_name[method].input_type.name)
    return request(**arguments.get(method, {}))


def begin(client, method, request, timeout_s=None):
    """The call; `settled` waits for its end."""
    stub = getattr(client.events, method)
    begun = stub if method in STREAMS else stub.future
    return begun(request, timeout=timeout_s)


def settled(method, call):
    """How many messages came, and its status."""
    count = 0
    try:
        for _ in call if method in STREAMS else [call.result()]:
            count += 1
    except (grpc.RpcError, grpc.FutureCancelledError):
        pass
    return count, call.code()


def slow_replay(client):
    """One that takes as many seconds as there are events."""
    asked = pb.ReplayEventsRequest(statuses=[pb.EventStatus.PROCESSED], rate=1, detach=True)
    (begun,) = client.events.ReplayEvents(asked, timeout=PATIENCE_S)
    assert begun.state == pb.ReplayProgress.RUNNING
    return begun.replay_id


def ended(processor, method):
    """How many calls of it have ended, by their codes, as the processor tells."""
    start = f'tidings_grpc_requests_total{{method="{SERVICE.full_name}/{method}",code="'
    return {
        series.removeprefix(start).rstrip('"}'): count
        for series, count in processor.metrics().items()
        if series.startswith(start) and count
    }


def until_nobody_watches(client):
    until(
        lambda: (s := client.stats()).watchers + s.event_watchers == 0,
        PATIENCE_S,
        lambda: f"all streams are forgotten: {client.stats()}",
    )


@pytest.mark.parametrize("leaves", ["DEADLINE_EXCEEDED", "CANCELLED"])
def test_every_call_of_a_processor_that_stands_still(stack, leaves):
    """It ends at once; and when the processor moves again, it answers as before."""
    methods = [method.name for method in SERVICE.methods]
    replay_id = slow_replay(stack.client)
    ask = {method: question(method, stack.ids[0], replay_id) for method in methods}
    timeout_s = 1 if leaves == "DEADLINE_EXCEEDED" else None
    stack.one.freeze()
    try:
        calls = {m: begin(stack.client, m, ask[m], timeout_s) for m in methods}
        if leaves == "CANCELLED":
            for call in calls.values():
                assert call.cancel()
        ends = {method: settled(method, call) for method, call in calls.items()}
    finally:
        stack.one.thaw()
    assert ends == {method: (0, grpc.StatusCode[leaves]) for method in methods}
    until_nobody_watches(stack.client)
    for method in methods:
        call = begin(stack.client, method, ask[method], timeout_s=PATIENCE_S)
        if method in STREAMS:
            next(call)
            call.cancel()
        else:
            assert call.result()
    until_nobody_watches(stack.client)


def test_calls_that_wait_for_the_bus_are_left(stack):
    """What cannot be known without it is looked into; none of these calls stays behind."""
    slow = slow_replay(stack.client)
    waiting = {
        "GetEventStatus": pb.GetEventStatusRequest(event_id=stack.ids[0], view=pb.FULL),
        "BatchGetEventStatus": pb.BatchGetEventStatusRequest(event_ids=[str(uuid.uuid4())]),
        "ListEvents": pb.ListEventsRequest(min_position=1 << 30),
        "WatchEvent": pb.WatchEventRequest(event_id=str(uuid.uuid4())),
        "WatchEvents": pb.WatchEventsRequest(after_position=1 << 30),
        "ReplayEvents": pb.ReplayEventsRequest(event_ids=stack.ids),
        "GetReplay": pb.GetReplayRequest(replay_id=str(uuid.uuid4())),
        "WatchReplay": pb.GetReplayRequest(replay_id=slow),
        "CancelReplay": pb.CancelReplayRequest(replay_id=slow),
    }
    before = {method: sum(ended(stack.one, method).values()) for method in waiting}
    stack.bus.freeze()
    try:
        calls = [
            (method, begin(stack.client, method, request))
            for method, request in waiting.items()
            for _ in range(MANY)
        ]
        stack.client.stats()  # on the same connection: the processor has got them all
        for _, call in calls:
            call.cancel()
        codes = {settled(method, call)[1].name for method, call in calls}
        # Those that were told before they left: that it cannot be known.
        assert "CANCELLED" in codes and codes <= {"CANCELLED", "UNAVAILABLE"}
        for method in waiting:
            until(
                lambda m=method: sum(ended(stack.one, m).values()) == before[m] + MANY,
                PATIENCE_S,
                lambda m=method: f"{before[m]} and {MANY} of {m} have ended: {ended(stack.one, m)}",
            )
        until_nobody_watches(stack.client)
    finally:
        stack.bus.thaw()


@pytest.mark.parametrize("method", ["WatchEvents", "WatchReplay"])
@pytest.mark.parametrize("leaves", ["DEADLINE_EXCEEDED", "CANCELLED"])
def test_streams_are_left_after_their_first_message(stack, method, leaves):
    request = question(method, stack.ids[0], slow_replay(stack.client))
    timeout_s = PATIENCE_S / 4 if leaves == "DEADLINE_EXCEEDED" else None
    streams = [begin(stack.client, method, request, timeout_s) for _ in range(MANY)]
    for stream in streams:
        next(stream)
    if leaves == "CANCELLED":
        for stream in streams:
            stream.cancel()
    assert {settled(method, stream)[1].name for stream in streams} == {leaves}
    until(
        lambda: sum(ended(stack.one, method).values()) == MANY,
        PATIENCE_S,
        lambda: f"{MANY} have ended: {ended(stack.one, method)}",
    )
    assert set(ended(stack.one, method)) <= {leaves, "CANCELLED"}  # whoever is first
    until_nobody_watches(stack.client)


def test_a_replay_goes_on_without_its_caller(stack):
    asked = pb.ReplayEventsRequest(statuses=[pb.EventStatus.PROCESSED], rate=20)
    stream = stack.client.events.ReplayEvents(asked, timeout=2)
    told = next(stream)
    assert settled("ReplayEvents", stream)[1] == grpc.StatusCode.DEADLINE_EXCEEDED
    left = stack.client.events.GetReplay(pb.GetReplayRequest(replay_id=told.replay_id))
    assert left.state == pb.ReplayProgress.RUNNING and left.replayed < EVENTS
    watch = stack.client.events.WatchReplay(pb.GetReplayRequest(replay_id=told.replay_id))
    *_, last = watch
    assert (last.state, last.replayed) == (pb.ReplayProgress.DONE, EVENTS)

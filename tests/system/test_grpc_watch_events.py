"""Watching all events' changes: as they happen, and from a position on, at any processor."""

import threading
import uuid

import grpc
import pytest

from bus_client import publish
from grpc_client import Client, Status, log_pb, pb
from program import PATIENCE_S
from wait import until

HANDLERS = """
handlers:
  - match: "bad.>"
    simulate: { delay: 0ms, failure_rate: 1 }
    retry: { max_attempts: 2, backoff: 10ms }
  - match: ">"
    simulate: { delay: 0ms }
"""
FLOOD = 120  # thousands of changes: about twice what a processor keeps at hand
ENDED = [pb.EventStatus.PROCESSED, pb.EventStatus.DEAD]


class Watch:
    """Reads a stream in a thread of its own, until it is closed or the stream ends."""

    def __init__(self, client, **filter_):
        self.stream = client.events.WatchEvents(pb.WatchEventsRequest(**filter_))
        self.begin = next(self.stream)
        assert not self.begin.changes
        self.position, self.changes, self.error = self.begin.position, [], None
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        try:
            for message in self.stream:
                assert message.position >= self.position
                self.changes.extend(message.changes)
                self.position = message.position
        except grpc.RpcError as error:
            self.error = error

    def until_passed(self, position):
        until(
            lambda: self.position >= position or self.error,
            PATIENCE_S,
            lambda: f"all up to {position} is told: {self.position}",
        )
        return self

    def close(self):
        self.stream.cancel()
        self.thread.join()
        return self


def keys(changes):
    return [(c.event_id, Status.Name(c.status), c.attempt, c.position) for c in changes]


@pytest.fixture
def stack(tidings):
    tidings.nats()
    tidings.first, tidings.second = (
        tidings.processor(config=HANDLERS, ack_wait="2s") for _ in range(2)
    )
    http = tidings.gateway().http
    tidings.post = lambda name, count: [http.post({"name": name}).event_id for _ in range(count)]
    return tidings


def until_all_ended(client, event_ids):
    """Returns the position that tells of all of them."""

    def ended():
        results = client.batch(event_ids).results
        if all(result.status.status in ENDED for result in results):
            return max(result.status.position for result in results)
        return None

    return until(ended, PATIENCE_S, "all have ended")


def test_every_processor_tells_the_same_changes_in_the_same_order(stack):
    with Client(stack.first.address) as one, Client(stack.second.address) as other:
        watches = [Watch(one, after_position=0), Watch(other)]
        orders = Watch(other, name="bad.*", statuses=[pb.EventStatus.DEAD])
        good, bad = stack.post("good", 100), stack.post("bad.luck", 20)
        until_all_ended(other, good + bad)
        position = until_all_ended(one, good + bad)
        for watch in watches:
            watch.until_passed(position).close()
        until(lambda: len(orders.changes) == 20, PATIENCE_S, "all that died are told")
        orders.close()
        told = [[k for k in keys(w.changes) if k[3] <= position] for w in watches]
        assert told[0] == told[1] and len(told[0]) == len(set(told[0]))
        ends = [key[0] for key in told[0] if key[1] in ("PROCESSED", "DEAD")]
        assert sorted(ends) == sorted(set(ends)) and set(good + bad) <= set(ends)
        assert {c.event_id for c in orders.changes} == set(bad)


def test_going_on_at_another_processor_after_a_kill_leaves_nothing_out(stack):
    """Watch at one that is killed, again and again; together all is told once."""
    clients = {p.name: Client(p.address) for p in (stack.first, stack.second)}
    told, position, stored = [], 0, []
    for round_ in range(6):
        victim, survivor = [stack.first, stack.second][:: 1 if round_ % 2 else -1]
        watch = Watch(clients[victim.name], after_position=position)
        stored += stack.post("good", 40) + stack.post("bad.luck", 4)
        until(lambda w=watch: len(w.changes) > 10, PATIENCE_S, "some is told")
        victim.kill()
        watch.thread.join(PATIENCE_S)
        assert watch.error and watch.error.code() == grpc.StatusCode.UNAVAILABLE
        told += watch.changes
        position = watch.position
        rest = Watch(clients[survivor.name], after_position=position)
        assert rest.begin.position == position
        stored += stack.post("good", 1)  # the victim may have told all there was
        victim.start().until_ready()
        told += rest.until_passed(position + 1).close().changes
        position = rest.position
    end = until_all_ended(clients[stack.first.name], stored)
    until_all_ended(clients[stack.second.name], stored)
    last = Watch(clients[stack.first.name], after_position=position)
    told += last.until_passed(end).close().changes
    whole = Watch(clients[stack.second.name], after_position=0).until_passed(last.position).close()
    expected = [key for key in keys(whole.changes) if key[3] <= last.position]
    assert keys(told) == expected and len(set(expected)) == len(expected)
    assert set(stored) <= {c.event_id for c in told if c.status in ENDED}
    for client in clients.values():
        client.channel.close()


def flood(url, event_id, event_position, lives):
    """Gives one event so many lives, of a thousand failed attempts each: a processor gone mad."""
    for generation in range(1, lives + 1):
        batch = log_pb.StatusBatch(
            version=1,
            processor="flood",
            event_ids=uuid.UUID(event_id).bytes * 1000,
            event_positions=[event_position] * 1000,
            statuses=[pb.EventStatus.RETRYING] * 1000,
            attempts=range(1, 1001),
            generations=[generation] * 1000,
            times_ms=[1700000000000] * 1000,
            previous_positions=[0] * 1000,
        )
        publish(url, "tidings.status.default", batch.SerializeToString())


def test_a_slow_client_beside_a_quick_one(stack):
    """One that does not read is ended when too much has come; it goes on where it was told to."""
    options = (("grpc.http2.lookahead_bytes", 65535), ("grpc.http2.bdp_probe", 0))
    with Client(stack.first.address, options) as sleepy, Client(stack.second.address) as client:
        slow = sleepy.events.WatchEvents(pb.WatchEventsRequest())
        begin = next(slow).position
        with Client(stack.first.address) as third:
            quick = Watch(third, after_position=begin)
            (event_id,) = stack.post("good", 1)
            event = third.until_processed(event_id)
            flood(stack.bus.url, event_id, event.event_position, lives=FLOOD)
            until(
                lambda: len(quick.changes) >= FLOOD * 1000,
                PATIENCE_S + 60,
                lambda: f"the quick one is told all: {len(quick.changes)}",
            )
            assert not quick.error
            quick.close()
        read = []
        with pytest.raises(grpc.RpcError) as error:
            for message in slow:
                read.append(message)
        assert error.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        position = read[-1].position if read else begin
        assert f"go on after position {position}" in error.value.details()
        rest = Watch(client, after_position=position).until_passed(quick.position).close()
        whole = [c for m in read for c in m.changes] + rest.changes
        assert keys(whole)[: len(quick.changes)] == keys(quick.changes)


@pytest.mark.parametrize(
    "filter_, code, message",
    [
        ({"statuses": [pb.EventStatus.ACCEPTED]}, "INVALID_ARGUMENT", "ACCEPTED is in the"),
        ({"name": ".a"}, "INVALID_ARGUMENT", "is no pattern"),
        ({"statuses": [9]}, "INVALID_ARGUMENT", "WatchEventsRequest"),
        ({"after_position": 1 << 40}, "OUT_OF_RANGE", "after_position 1099511627776 is beyond"),
    ],
)
def test_what_cannot_be_watched(client, filter_, code, message):
    with pytest.raises(grpc.RpcError) as error:
        next(client.events.WatchEvents(pb.WatchEventsRequest(**filter_), timeout=20))
    assert error.value.code().name == code and message in error.value.details()

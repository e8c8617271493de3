"""Lists of events, a page at a time."""

import threading

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from grpc_client import Client, pb
from program import PATIENCE_S
from wait import until

FAILING = """
handlers:
  - match: "bad.>"
    simulate: { delay: 0ms, failure_rate: 1 }
    retry: { max_attempts: 1 }
  - match: ">"
    simulate: { delay: 0ms }
"""
DEAD = [pb.EventStatus.DEAD]


@pytest.fixture
def stack(tidings):
    """Two processors; and a gateway, with a way to store events."""
    tidings.nats()
    tidings.first, tidings.second = (tidings.processor(config=FAILING) for _ in range(2))
    http = tidings.gateway().http
    tidings.post = lambda name, count: [http.post({"name": name}).event_id for _ in range(count)]
    return tidings


def ids(pages):
    return [event.event_id for page in pages for event in page.events]


def until_ended(client, event_ids):
    return max(
        until(
            lambda: (answer := client.status(event_id)).status
            in (pb.EventStatus.PROCESSED, pb.EventStatus.DEAD)
            and answer.position,
            PATIENCE_S,
            "it has ended",
        )
        for event_id in event_ids
    )


def test_dead_letters_are_found_by_status_and_name(stack):
    with Client(stack.first.address) as client:
        good, bad = stack.post("good", 30), stack.post("bad.one", 5)
        worse = stack.post("bad.two", 5)
        position = until_ended(client, good + bad + worse)
        newest_first = list(reversed(good + bad + worse))
        assert ids(client.pages(min_position=position)) == newest_first
        assert ids(client.pages(statuses=DEAD)) == newest_first[:10]
        assert ids(client.pages(statuses=DEAD, name="bad.one", page_size=2)) == newest_first[5:10]
        assert ids(client.pages(statuses=[pb.EventStatus.PROCESSED], name="bad.>")) == []
        assert ids(client.pages(name="good", page_size=7)) == newest_first[10:]
        (event,) = client.page(statuses=DEAD, page_size=1).events
        assert event.event_id == worse[-1] and event.attempt == 1 and event.name == "bad.two"


def test_pages_while_events_arrive_and_at_another_processor(stack):
    """Each event that was there at first is on one page; none is on two."""
    with Client(stack.first.address) as one, Client(stack.second.address) as other:
        before = stack.post("order.created", 200)
        position = until_ended(one, before)
        done = threading.Event()

        def go_on_posting():
            while not done.is_set():
                stack.post("order.created", 1)

        poster = threading.Thread(target=go_on_posting)
        poster.start()
        try:
            listed, token = [], ""
            for client in [one, other] * 50:
                page = client.page(
                    name="order.*", page_size=11, page_token=token, min_position=position
                )
                listed += [event.event_id for event in page.events]
                position = max(position, page.position)
                token = page.next_page_token
                if not token:
                    break
        finally:
            done.set()
            poster.join()
        assert not token and len(listed) == len(set(listed))
        assert listed[-200:] == before[::-1]


def test_a_token_outlives_its_processor(stack):
    with Client(stack.first.address) as client:
        stored = stack.post("order.created", 10)
        until_ended(client, stored)
        token = client.page(page_size=4).next_page_token
    stack.first.kill()
    with Client(stack.second.address) as client:
        assert ids([client.page(page_token=token)]) == stored[5::-1]


def test_times_are_when_events_were_stored(stack):
    with Client(stack.first.address) as client:
        first, second = stack.post("order.created", 5), stack.post("order.created", 5)
        until_ended(client, first + second)
        stored_at = client.full(second[0]).history[0].time
        assert ids(client.pages(accepted_since=stored_at, page_size=2)) == second[::-1]
        older = ids(client.pages(accepted_until=stored_at))
        assert older == first[::-1], "before, not at"
        assert ids(client.pages(accepted_since=Timestamp(seconds=4102444800))) == []


@pytest.mark.parametrize(
    "filter_, code, message",
    [
        ({"name": "a..b"}, "INVALID_ARGUMENT", "name 'a..b' is no pattern"),
        ({"page_size": 1001}, "INVALID_ARGUMENT", "at most 1000"),
        ({"page_token": "made up"}, "INVALID_ARGUMENT", "page_token is not one of this list"),
        ({"statuses": [17]}, "INVALID_ARGUMENT", "ListEventsRequest"),
        ({"min_position": 1 << 40}, "OUT_OF_RANGE", "beyond the status log's end"),
    ],
)
def test_lists_that_cannot_be(client, filter_, code, message):
    with pytest.raises(grpc.RpcError) as error:
        client.page(**filter_)
    assert error.value.code().name == code and message in error.value.details()


def test_a_token_of_another_filter_is_refused(gateway, client):
    event_ids = [gateway.http.post({"name": "list.token"}).event_id for _ in range(3)]
    until_ended(client, event_ids)
    token = client.page(name="list.>", page_size=1).next_page_token
    assert token
    with pytest.raises(grpc.RpcError) as error:
        client.page(name="list.*", page_token=token)
    assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT

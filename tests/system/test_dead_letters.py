"""Dead letters: what is no event, and copies that are other events than the first of their id."""

import time
import uuid

import grpc
from bus_client import messages, publish, stream_info, until_all_acknowledged
from grpc_client import Client, Status, log_pb, pb
from nats_proxy import NatsProxy
from program import PATIENCE_S
from wait import until

DEAD = "TIDINGS_DEAD"
STATUSES = "TIDINGS_STATUS_default"
POSITIONS = uuid.UUID("23e6c63b-793a-466c-835f-9c5fe4fcae40")


def own_id(position):
    """The id of what the event log has there, where it has none of its own."""
    return str(uuid.uuid5(POSITIONS, f"TIDINGS_EVENTS:{position}"))


def event_headers(event_id, name="n", **more):
    return {
        "Tidings-Event-Id": event_id,
        "ce-specversion": "1.0",
        "ce-id": event_id,
        "ce-source": "/elsewhere",
        "ce-type": name,
        "content-type": "text/plain",
        **{key.replace("_", "-"): value for key, value in more.items()},
    }


def until_status(client, event_id, status):
    def found():
        try:
            return client.status(event_id).status == status
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.NOT_FOUND, error
            return False

    until(found, PATIENCE_S, lambda: f"{event_id} is {Status.Name(status)}")


def until_same_digests(tidings, dead):
    """All processors say the same of the whole table."""

    def agree():
        answers = []
        for processor in tidings.processors():
            with Client(processor.address) as client:
                answers.append(client.stats())
        seen = {(a.digest, a.event_position, a.status_position) for a in answers}
        return len(seen) == 1 and answers[0].counts.dead == dead

    until(agree, PATIENCE_S, "the digests are equal")


def changes(url):
    """Each change in the status log as (event_id, letter's position, first's position)."""
    for _, _, payload in messages(url, STATUSES, "tidings.status.default"):
        batch = log_pb.StatusBatch.FromString(payload)
        letters = dict(zip(batch.letter_rows, batch.letter_positions))
        firsts = dict(zip(batch.conflict_rows, batch.conflict_positions))
        for row in range(len(batch.statuses)):
            event_id = str(uuid.UUID(bytes=batch.event_ids[16 * row : 16 * row + 16]))
            yield event_id, letters.get(row), firsts.get(row)


def test_an_id_used_again_later_for_another_event(tidings):
    tidings.nats()
    for _ in range(3):
        tidings.processor(duplicate_window="100ms")
    gateway = tidings.gateway(duplicate_window="100ms")
    first = {"id": "order-7", "source": "/shop", "name": "order.created", "payload": {"total": 1}}
    other = {**first, "name": "order.paid", "payload": {"total": 2}}
    event_id = gateway.http.post(first).event_id
    # 409 while the bus itself remembers the id, and nothing is stored; then only the processors can
    # tell.
    until(lambda: gateway.http.post(other).status == 202, PATIENCE_S, "the window is over")
    assert stream_info(tidings.bus.url).state.last_seq == 2
    conflict_id = own_id(2)

    with Client(tidings.processors()[0].address) as client:
        until_status(client, conflict_id, pb.EventStatus.DEAD)
        dead = client.full(conflict_id)
        assert dead.error.startswith("id_conflict: ") and event_id in dead.error
        assert [change.status for change in dead.history] == [
            pb.EventStatus.ACCEPTED,
            pb.EventStatus.DEAD,
        ]
        assert dead.history[1].error == dead.error
        assert (dead.id, dead.source, dead.name) == ("order-7", "/shop", "order.paid")
        assert dead.payload == b'{"total": 2}'
        assert dead.event_position == 2

        # The first is what it was: by its event_id, and by its producer's id.
        client.until_processed(event_id)
        question = pb.GetEventStatusRequest(event_id="order-7", source="/shop", view=pb.FULL)
        kept = client.events.GetEventStatus(question, timeout=10)
        assert kept.event_id == event_id and kept.event_position == 1
        assert kept.payload == b'{"total": 1}' and kept.status == pb.EventStatus.PROCESSED

    ((subject, headers, payload),) = messages(tidings.bus.url, DEAD)
    assert subject == "tidings.dead.default.order.paid"
    assert payload == b'{"total": 2}'
    expected = {
        "Tidings-Event-Id": conflict_id,
        "Tidings-Reason": "id_conflict",
        "Tidings-Error": dead.error,
        "Tidings-Group": "default",
        "Tidings-Position": "2",
        "Tidings-Attempts": "0",
        "Tidings-Generation": "0",
        "Tidings-Conflicts-With": event_id,
        "Tidings-Conflicts-With-Position": "1",
        "ce-id": "order-7",
        "ce-source": "/shop",
        "ce-type": "order.paid",
    }
    assert {name: headers.get(name) for name in expected} == expected
    message_id, _, stored_ms = headers["Nats-Msg-Id"].rpartition("/")
    assert message_id == f"default/{conflict_id}/0"
    assert abs(int(stored_ms) / 1000 - time.time()) < PATIENCE_S
    # Sent as they were, equal events are copies, also now: no letter more.
    until(lambda: gateway.http.post(first).status == 202, PATIENCE_S, "accepted again")
    until_all_acknowledged(tidings.bus.url, PATIENCE_S)
    assert stream_info(tidings.bus.url, DEAD).state.last_seq == 1
    until_same_digests(tidings, dead=1)


def test_messages_that_are_no_events(tidings):
    tidings.nats()
    processors = [tidings.processor() for _ in range(2)]
    url = tidings.bus.url
    publish(url, "tidings.events.order.created", b"no headers at all")
    publish(url, "tidings.events.order.paid", b"x", {"Tidings-Event-Id": "7", "X-Theirs": "1"})
    publish(url, "tidings.events.na$me", b"y", event_headers(str(uuid.uuid4())))
    publish(url, "tidings.events.big", b"z" * ((2 << 20) - 64))  # the server's max_payload
    good = str(uuid.uuid4())
    publish(url, "tidings.events.n", b"good", event_headers(good))

    with Client(processors[0].address) as client:
        client.until_processed(good)
        for position in range(1, 5):
            until_status(client, own_id(position), pb.EventStatus.DEAD)
        dead = client.full(own_id(2))
        assert dead.error.startswith("malformed: ") and "Tidings-Event-Id" in dead.error
        assert dead.payload == b"x"
        assert dead.history[-1].error == dead.error
    until_all_acknowledged(url, PATIENCE_S)
    letters = {letter[1]["Tidings-Position"]: letter for letter in messages(url, DEAD)}
    assert sorted(letters) == ["1", "2", "3", "4"]
    assert {headers["Tidings-Reason"] for _, headers, _ in letters.values()} == {"malformed"}
    subjects = [letters[str(position)][0] for position in range(1, 5)]
    assert subjects == [
        "tidings.dead.default.order.created",
        "tidings.dead.default.order.paid",
        "tidings.dead.default.(malformed)",
        "tidings.dead.default.big",
    ]
    assert letters["1"][2] == b"no headers at all"
    assert letters["2"][1]["X-Theirs"] == "1"
    assert letters["2"][1]["Tidings-Event-Id"] == own_id(2)
    assert letters["3"][1]["ce-source"] == "/elsewhere"
    # Too large with the letter's headers: it says where its payload is.
    assert letters["4"][2] == b"" and letters["4"][1]["Tidings-Payload-In"] == "TIDINGS_EVENTS"
    until_same_digests(tidings, dead=4)


def test_events_of_producers_that_know_nothing_of_digests(tidings):
    tidings.nats()
    processor = tidings.processor()
    url = tidings.bus.url
    event_id = str(uuid.uuid4())
    publish(url, "tidings.events.n", b"a", event_headers(event_id, ce_time="2026-01-02T03:04:05Z"))
    publish(url, "tidings.events.n", b"a", event_headers(event_id, ce_time="2026-01-02T03:04:09Z"))
    publish(url, "tidings.events.n", b"a", event_headers(event_id, ce_region="eu"))
    with Client(processor.address) as client:
        until_status(client, own_id(3), pb.EventStatus.DEAD)
        client.until_processed(event_id)
        assert dict(client.full(own_id(3)).extensions) == {"region": "eu"}
        code, message = client.error(own_id(2))  # an equal copy has no status of its own
        assert code == grpc.StatusCode.NOT_FOUND, message
    until_all_acknowledged(url, PATIENCE_S)
    assert [h["Tidings-Position"] for _, h, _ in messages(url, DEAD)] == ["3"]


def test_kill_between_a_letter_and_its_record(tidings):
    tidings.nats()
    url = tidings.bus.url
    event_id = str(uuid.uuid4())
    with NatsProxy(tidings.bus.port) as proxy:
        # What it records never arrives: it dies between the two.
        proxy.set_rule(
            "hold",
            1,
            lambda frame: frame.startswith((b"PUB ", b"HPUB "))
            and frame.split(b" ", 2)[1] == b"tidings.status.default",
        )
        doomed = tidings.processor(bus=proxy.url, ack_wait="1s")
        publish(url, "tidings.events.n", b"a", event_headers(event_id))
        publish(url, "tidings.events.n", b"b", event_headers(event_id))
        publish(url, "tidings.events.n", b"junk")
        until(lambda: stream_info(url, DEAD).state.last_seq == 2, PATIENCE_S, "both letters")
        assert stream_info(url, STATUSES).state.last_seq == 0
        with Client(doomed.address) as client:
            assert client.stats().counts.dead == 0
        doomed.kill()
    heir = tidings.processor(ack_wait="1s")
    with Client(heir.address) as client:
        client.until_processed(event_id)
        until_status(client, own_id(2), pb.EventStatus.DEAD)
        until_status(client, own_id(3), pb.EventStatus.DEAD)
    until_all_acknowledged(url, PATIENCE_S)
    stored = messages(url, DEAD)
    letters = {headers["Tidings-Position"]: at for at, (_, headers, _) in enumerate(stored, 1)}
    assert sorted(letters) == ["2", "3"] and len(stored) == 2
    recorded = {event_id: (letter, first) for event_id, letter, first in changes(url) if letter}
    assert recorded == {own_id(2): (letters["2"], 1), own_id(3): (letters["3"], None)}


def test_looking_up_a_producers_id(tidings):
    tidings.nats()
    processor = tidings.processor(source="/mine")
    gateway = tidings.gateway(source="/mine")
    with Client(processor.address) as client:
        code, message = client.error("123")
        assert code == grpc.StatusCode.NOT_FOUND
        assert "'123' of source '/mine'" in message and "event_id of the 202" in message
        # Also a moment after it was accepted.
        for number in range(20):
            event_id = gateway.http.post({"id": f"n-{number}", "name": "n"}).event_id
            assert client.status(f"n-{number}").event_id == event_id
        other = gateway.http.post({"id": "123", "source": "/other", "name": "n"}).event_id
        assert client.error("123")[0] == grpc.StatusCode.NOT_FOUND
        question = pb.GetEventStatusRequest(event_id="123", source="/other")
        assert client.events.GetEventStatus(question, timeout=10).event_id == other
        for bad in ("", "a\tb", "x" * 257):
            assert client.error(bad)[0] == grpc.StatusCode.INVALID_ARGUMENT, bad
        tidings.bus.stop()
        assert client.error("124")[0] == grpc.StatusCode.UNAVAILABLE

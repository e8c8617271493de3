"""Promise 3: any processor knows any event.

Also one accepted a millisecond ago, also right after a restart.
"""

import random
import threading

import grpc

from grpc_client import Client, pb, until_all_processed, until_digests_agree
from http_client import EVENTS, JSON, Connection, Load, request
from program import SANITIZED

EVENTS_A_CLIENT = 60 if SANITIZED else 400


class Asker(threading.Thread):
    """Posts an event and asks a random processor at once, again and again."""

    def __init__(self, gateway, processors, count):
        super().__init__(daemon=True)
        self.gateway, self.count = gateway, count
        self.addresses = [processor.address for processor in processors]
        self.accepted, self.wrong = [], []

    def run(self):
        clients = [Client(address) for address in self.addresses]
        with Connection(self.gateway.http_port) as connection:
            for _ in range(self.count):
                connection.send(
                    request("POST", EVENTS, b'{"name":"known"}', {"Content-Type": JSON})
                )
                event_id = connection.receive().event_id
                self.accepted.append(event_id)
                self.ask(random.choice(clients), event_id)
        for client in clients:
            client.channel.close()

    def ask(self, client, event_id):
        try:
            answer = client.status(event_id)
            if answer.event_id != event_id or answer.name != "known":
                self.wrong.append(f"{event_id}: {answer}")
        except grpc.RpcError as error:
            self.wrong.append(f"{event_id}: {error.code()} {error.details()}")


def ask_around(gateway, processors, count, clients=4):
    askers = [Asker(gateway, processors, count) for _ in range(clients)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    assert not sum((asker.wrong for asker in askers), []), "answers that must not be"
    accepted = sum((asker.accepted for asker in askers), [])
    assert len(accepted) == clients * count
    return accepted


def test_each_202_is_known_at_once_at_any_replica(tidings):
    tidings.nats()
    processors = [tidings.processor() for _ in range(3)]
    gateway = tidings.gateway()

    accepted = ask_around(gateway, processors, EVENTS_A_CLIENT)

    until_all_processed(processors, accepted)
    for stats in until_digests_agree(processors):
        assert stats.events == len(accepted)
        assert stats.counts.processed == len(accepted)


def test_known_while_others_load_the_system(tidings):
    """The followers have much to read then, and an answer must wait for them."""
    tidings.nats()
    processors = [tidings.processor() for _ in range(3)]
    gateway = tidings.gateway()

    with Load([gateway.http_port], clients=8) as load:
        ask_around(gateway, processors, EVENTS_A_CLIENT // 4)

    until_all_processed(processors, load.accepted[-200:])
    until_digests_agree(processors)


def test_known_right_after_a_restart(tidings):
    """A processor that has just come back answers for events that it never saw."""
    tidings.nats()
    processors = [tidings.processor() for _ in range(2)]
    gateway = tidings.gateway()
    late = processors[0]

    late.stop()
    accepted = [gateway.http.post({"name": "while.away"}).event_id for _ in range(50)]
    late.start()  # not until it is ready: whatever it answers meanwhile, it must not be NOT_FOUND
    with Client(late.address) as client:
        answers = list(client.ask_all(accepted))
    for event_id, answer in answers:
        if isinstance(answer, grpc.RpcError):
            assert (
                answer.code() == grpc.StatusCode.UNAVAILABLE
            ), f"{event_id}: {answer.code()} {answer.details()}"
        else:
            assert answer.name == "while.away"
    late.until_ready()
    with Client(late.address) as client:
        for event_id, answer in client.ask_all(accepted):
            assert not isinstance(answer, grpc.RpcError), f"{event_id}: {answer}"


def test_unknown_ids_are_not_found_and_say_what_to_do(shared, client):
    code, message = client.error("019ab5a0-1c7e-7d31-9f0c-6a1d3c1b2f4e")
    assert code == grpc.StatusCode.NOT_FOUND
    assert "019ab5a0-1c7e-7d31-9f0c-6a1d3c1b2f4e" in message

    code, message = client.error("123")
    assert code == grpc.StatusCode.NOT_FOUND
    assert "123" in message and len(message) > 20


def test_unknown_ids_are_no_way_to_load_the_bus(shared, processor, client):
    """Misses at the same time share a look at the logs' ends."""
    unknown = [f"019ab5a0-1c7e-7d31-9f0c-{n:012x}" for n in range(2000)]
    before = processor.metrics()
    answers = list(client.ask_all(unknown))
    assert all(answer.code() == grpc.StatusCode.NOT_FOUND for _, answer in answers)
    after = processor.metrics()
    misses, looks = (
        after[f"tidings_{what}_total"] - before[f"tidings_{what}_total"]
        for what in ("lookup_misses", "looks")
    )
    # How many share one depends on how fast the bus is; without sharing there were one for each.
    assert misses == 2000 and 0 < looks < misses, f"{looks} looks for {misses} misses"


def test_without_nats_an_unknown_id_is_unavailable_never_not_found(tidings):
    tidings.nats()
    processor = tidings.processor()
    gateway = tidings.gateway()
    known = gateway.http.post({"name": "known.before"}).event_id
    with Client(processor.address) as client:
        client.until_processed(known)
        tidings.bus.kill()
        code, message = client.error("019ab5a0-1c7e-7d31-9f0c-6a1d3c1b2f4e", timeout_s=30)
        assert code == grpc.StatusCode.UNAVAILABLE, message
        assert (
            client.status(known).status == pb.EventStatus.PROCESSED
        ), "what the table knows needs no bus"

        reply = gateway.http.get(f"{EVENTS}/019ab5a0-1c7e-7d31-9f0c-6a1d3c1b2f4e")
        assert reply.status == 503 and "retry-after" in reply.headers
        reply = gateway.http.get(f"{EVENTS}/{known}")
        assert reply.status == 200 and reply.json()["status"] == "processed"


def test_position_beyond_the_end_is_out_of_range(shared, gateway, client):
    event_id = gateway.http.post({"name": "position"}).event_id
    position = client.until_processed(event_id).position

    assert position > 0
    assert client.status(event_id, min_position=position).position >= position
    code, message = client.error(event_id, min_position=position + 1_000_000)
    assert code == grpc.StatusCode.OUT_OF_RANGE
    assert str(position + 1_000_000) in message


def test_status_never_goes_backwards_with_min_position(tidings):
    """Whoever saw `processed` on one replica and passes its position on never sees less."""
    tidings.nats()
    processors = [tidings.processor() for _ in range(3)]
    gateway = tidings.gateway()
    clients = [Client(processor.address) for processor in processors]
    try:
        with Load([gateway.http_port], clients=4):
            for n in range(EVENTS_A_CLIENT // 4):
                event_id = gateway.http.post({"name": "forwards"}).event_id
                first = clients[n % 3].until_processed(event_id)
                then = clients[(n + 1) % 3].status(event_id, min_position=first.position)
                assert then.status == pb.EventStatus.PROCESSED, f"{event_id}: {first} then {then}"
    finally:
        for client in clients:
            client.channel.close()

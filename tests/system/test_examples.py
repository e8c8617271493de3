"""What examples/ promises beyond test_docs.py: workers that die, share, or get nonsense."""

import os
import re

import pytest

from bus_client import messages, publish, stream_request
from http_client import EVENTS
from program import PATIENCE_S, ROOT, Program
from wait import until

pytestmark = pytest.mark.documents
PYTHON = os.path.join(ROOT, "build/venv/bin/python")


class Example(Program):
    """A script of examples/ that runs until it is ended."""

    def __init__(self, name, folder, script, shared):
        port = shared.gateways()[0].http_port
        where = {"GATEWAY": f"http://localhost:{port}", "NATS_URL": shared.bus.url}
        super().__init__(name, folder, [PYTHON, os.path.join(ROOT, "examples", script)], where)


@pytest.fixture
def example(shared, tmp_path):
    """example(script) starts one."""
    started = []

    def start(script):
        name = f"{os.path.basename(script)}-{len(started)}"
        started.append(Example(name, str(tmp_path), script, shared))
        return started[-1].start()

    yield start
    for program in started:
        program.discard()


def quick_to_come_again(shared, durable, subject):
    """The consumer that the example joins: what a killed one had comes again in two seconds."""
    config = {"durable_name": durable, "filter_subject": subject, "ack_policy": "explicit"}
    config |= {"ack_wait": 2 * 10**9, "deliver_policy": "all", "max_deliver": -1}
    body = {"stream_name": "TIDINGS_EVENTS", "config": config}
    answer = stream_request(
        shared.bus.url, f"CONSUMER.DURABLE.CREATE.TIDINGS_EVENTS.{durable}", body
    )
    assert "error" not in answer, answer


def until_all_wait(shared, durable, count):
    """So many of them ask for what comes: each will get some."""

    def waiting():
        answer = stream_request(shared.bus.url, f"CONSUMER.INFO.TIDINGS_EVENTS.{durable}", {})
        return answer["num_waiting"]

    until(lambda: waiting() >= count, PATIENCE_S, lambda: f"{count} ask, not {waiting()}")


def confirmations(shared):
    """Causes of the confirmations on the bus, one for each message."""
    found = messages(shared.bus.url, subject="tidings.events.order.confirmed")
    return [headers["ce-causationid"] for _, headers, _ in found]


def place(gateway, count, start=0):
    orders = range(start, start + count)
    event = {"source": "/shop", "name": "order.created"}
    return [
        gateway.http.post({**event, "id": f"order-{n}", "payload": {"order": n}}).event_id
        for n in orders
    ]


def test_an_order_is_confirmed_once_whatever_dies(shared, gateway, example):
    quick_to_come_again(shared, "orders", "tidings.events.order.created")
    workers = [example("orders/worker.py") for _ in range(2)]
    until_all_wait(shared, "orders", 2)
    placed = place(gateway, 60)
    until(lambda: "->" in workers[0].log(), PATIENCE_S, workers[0].tail)
    workers[0].kill()
    workers[0].start()
    placed += place(gateway, 20, start=60)

    def answer(cause):
        return gateway.http.get(f"{EVENTS}/{cause}.confirmed?source=/orders&view=full")

    until(
        lambda: all(answer(cause).status == 200 for cause in placed),
        4 * PATIENCE_S,
        lambda: f"all are confirmed\n{workers[0].tail()}\n{workers[1].tail()}",
    )
    assert sorted(confirmations(shared)) == sorted(placed)
    until(lambda: answer(placed[7]).json()["status"] == "processed", PATIENCE_S, "processed")
    confirmed = answer(placed[7]).json()
    assert confirmed["name"] == "order.confirmed" and confirmed["payload"] == {
        "order": {"order": 7}
    }
    assert confirmed["extensions"] == {"causationid": placed[7]}


def test_a_worker_without_a_gateway_tries_again(shared, gateway, example):
    (cause,) = place(gateway, 1, start=1000)
    gateway.stop()
    worker = example("orders/worker.py")
    until(lambda: "refused" in worker.log(), PATIENCE_S, worker.tail)
    gateway.start().until_ready()
    until(lambda: f"order.created {cause} -> " in worker.log(), PATIENCE_S, worker.tail)


def test_an_order_that_is_no_json_holds_up_no_other(gateway, example):
    worker = example("orders/worker.py")
    headers = {"ce-specversion": "1.0", "ce-id": "odd", "ce-source": "/shop"}
    headers |= {"ce-type": "order.created", "Content-Type": "text/plain"}
    odd = gateway.http.send("POST", EVENTS, b"seven apples", headers).event_id
    (cause,) = place(gateway, 1, start=2000)
    until(lambda: f"order.created {cause} -> " in worker.log(), PATIENCE_S, worker.tail)
    assert f"{odd}: " in worker.log()


def test_what_is_no_event_holds_up_no_other(shared, gateway, example):
    worker, consumer = example("orders/worker.py"), example("consumer.py")
    subject = "tidings.events.order.created"
    publish(shared.bus.url, subject, b"{}")
    publish(shared.bus.url, subject, b"{}", {"Tidings-Event-Id": "no id"})
    (cause,) = place(gateway, 1, start=2500)
    until(lambda: f"order.created {cause} -> " in worker.log(), PATIENCE_S, worker.tail)
    assert "a message without an id: " in worker.log() and "no id: " in worker.log()
    until(lambda: f"{cause} {subject} " in consumer.log(), PATIENCE_S, consumer.tail)
    assert f"None {subject} b'{{}}'" in consumer.log()


def test_two_consumers_share_the_work(shared, gateway, example):
    quick_to_come_again(shared, "billing", "tidings.events.order.>")
    consumers = [example("consumer.py") for _ in range(2)]
    before = [headers.get("Tidings-Event-Id") for _, headers, _ in messages(shared.bus.url)]
    placed = place(gateway, 50, start=3000)

    def seen():
        logs = "".join(consumer.log() for consumer in consumers)
        return re.findall(r"^(\S{36}) tidings.events.order", logs, re.M)

    until(lambda: set(placed) <= set(seen()), 2 * PATIENCE_S, lambda: f"{len(seen())} seen")
    assert len([event for event in seen() if event not in before]) == len(placed)

"""/ready of the gateway tells apart what is away, and says what works all the same."""

from bus_client import EVENTS as LOG
from bus_client import on_bus
from http_client import EVENTS
from program import PATIENCE_S
from wait import until

ONE_STREAM = """
accounts { T { jetstream { max_streams: 1 }, users: [{ user: t, password: t }] } }
no_auth_user: t
"""


def ready(gateway):
    reply = gateway.http.get("/ready")
    body = reply.json()
    assert reply.status == (200 if body["ready"] else 503), reply
    assert body["writes"] == body["ready"]
    return body


def until_ready_says(gateway, check, test):
    return until(
        lambda: test(ready(gateway)["checks"][check]),
        PATIENCE_S,
        lambda: f"what /ready says of the {check}: {ready(gateway)}",
    )


def is_ok(text):
    return text == "ok"


def is_not_ok(text):
    return text != "ok"


def test_a_processor_that_is_away(tidings):
    """Reads fail, writes go on: 200, so that nobody takes the gateway away for it."""
    tidings.nats()
    processor = tidings.processor()
    gateway = tidings.gateway()
    until_ready_says(gateway, "processor", is_ok)
    assert ready(gateway)["reads"] is True
    processor.kill()
    until_ready_says(gateway, "processor", is_not_ok)
    body = ready(gateway)
    assert (body["ready"], body["reads"]) == (True, False)
    assert body["checks"]["bus"] == body["checks"]["event_log"] == "ok"
    accepted = gateway.http.post({"name": "written"})
    assert accepted.status == 202
    assert gateway.http.get(f"{EVENTS}/{accepted.event_id}").status == 503
    processor.start()
    until_ready_says(gateway, "processor", is_ok)
    assert ready(gateway)["reads"] is True


def test_a_bus_that_is_away(tidings):
    tidings.nats()
    gateway = tidings.gateway()
    tidings.bus.kill()
    until_ready_says(gateway, "bus", is_not_ok)
    body = ready(gateway)
    assert body["ready"] is False
    assert body["checks"]["event_log"] == "unknown while the bus is away"
    assert gateway.http.get("/ready").headers["retry-after"] == "1"
    tidings.bus.start()
    gateway.until_ready()


def test_a_stream_that_is_missing(tidings):
    """Deleted by hand, and another one stands in its place: it cannot be made again."""
    tidings.nats(more=ONE_STREAM)
    gateway = tidings.gateway()

    async def displace(connection):
        js = connection.jetstream()
        await js.delete_stream(LOG)
        await js.add_stream(name="OTHER", subjects=["other"])

    async def give_back(connection):
        await connection.jetstream().delete_stream("OTHER")

    on_bus(tidings.bus_url, displace)
    until_ready_says(gateway, "event_log", is_not_ok)
    body = ready(gateway)
    assert body["ready"] is False
    assert body["checks"]["bus"] == "ok", "the bus itself is there"
    assert LOG in body["checks"]["event_log"]
    refused = gateway.http.post({"name": "nowhere"})
    assert refused.status == 503 and LOG in refused.json()["detail"], refused
    on_bus(tidings.bus_url, give_back)
    gateway.until_ready()
    assert gateway.http.post({"name": "somewhere"}).status == 202

"""A processor that cannot follow the logs hands its events on, and says so."""

from grpc_client import Client
from program import PATIENCE_S
from wait import until

ACCOUNTS = """server_name: test
jetstream {}
max_payload: 2MB
accounts {
  A {
    users: [{user: a, password: a}]
    jetstream { max_mem: 100MB, max_file: 1GB, max_streams: -1, max_consumers: %d }
  }
}
no_auth_user: a
"""


def configure(bus, consumers):
    """How many consumers the account may have: a follower needs one for each log."""
    with open(bus.command[bus.command.index("-c") + 1], "w", encoding="ascii") as out:
        out.write(ACCOUNTS % consumers)


def test_a_processor_that_may_not_read_the_logs(tidings):
    bus = tidings.nats()
    bus.stop()
    configure(bus, 10)
    bus.start()
    processor = tidings.processor(ack_wait="2s")
    gateway = tidings.gateway()
    first = gateway.http.post({"name": "first"}).event_id
    with Client(processor.address) as client:
        client.until_processed(first)
        bus.stop()
        configure(bus, 1)  # the group's own is there already
        bus.start()
        gateway.until_ready()
        assert gateway.http.post({"name": "second"}).status == 202

        # What it has fetched it gives back, once, and fetches no more.
        processor.entry("the status table does not come as far as the deliveries; giving them back")
        until(
            lambda: processor.metrics()['tidings_deliveries_in_hand{log="events"}'] == 0,
            PATIENCE_S,
            "nothing is in hand",
        )
        # /ready and health say why.
        until(lambda: processor.http.get("/ready").status == 503, PATIENCE_S, "not ready")
        why = processor.http.get("/ready").json()["checks"]["status_table"]
        assert "event log has not been read" in why or "status log has not been read" in why, why
        until(lambda: not client.serving(), PATIENCE_S, "NOT_SERVING")
        assert client.status(first).status, "what it knows it answers"

        bus.stop()
        configure(bus, 10)
        bus.start()
        processor.until_ready()
        until(lambda: client.stats().counts.processed == 2, PATIENCE_S, "both are processed")

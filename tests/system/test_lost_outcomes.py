"""The status log is lost, by somebody's hand or a server's failure: every event ends again."""

from bus_client import on_bus, stream_info, until_all_acknowledged
from grpc_client import Client, until_all_processed, until_digests_agree
from program import PATIENCE_S
from wait import until

STATUSES = "TIDINGS_STATUS_default"
RESTARTS = 'tidings_group_restarts_total{log="status"}'
COUNT = 200


def begin(tidings):
    """Events that have all ended and are acknowledged; their ids."""
    tidings.nats()
    for _ in range(2):
        tidings.processor(ack_wait="2s")
    gateway = tidings.gateway()
    events = [{"name": "outcome.lost", "payload": number} for number in range(COUNT)]
    ids = [gateway.http.post(event).event_id for event in events]
    until_all_processed(tidings.processors(), ids)
    until_all_acknowledged(tidings.bus_url, PATIENCE_S)
    return ids


def end(tidings, ids):
    """All have ended again, on each replica, and nothing else will be run."""
    processors = tidings.processors()
    until(
        lambda: sum(processor.metrics()[RESTARTS] for processor in processors) >= 1,
        PATIENCE_S,
        "the group has begun anew",
    )
    until_all_processed(processors, ids)
    until_all_acknowledged(tidings.bus_url, PATIENCE_S)
    until_digests_agree(processors)
    for processor in processors:
        with Client(processor.address) as client:
            counts = client.stats().counts
        assert (counts.processed, counts.accepted, counts.dead) == (COUNT, 0, 0)
    more = tidings.gateways()[0].http.post({"name": "outcome.lost"}).event_id
    until_all_processed(processors, [more])
    for processor in processors:
        assert processor.stop() == 0, processor.tail()


def test_made_anew_while_no_processor_runs(tidings):
    ids = begin(tidings)
    for processor in tidings.processors():
        assert processor.stop() == 0, processor.tail()

    async def make_anew(connection):
        js = connection.jetstream()
        config = (await js.stream_info(STATUSES)).config
        await js.delete_stream(STATUSES)
        await js.add_stream(config)

    on_bus(tidings.bus_url, make_anew)
    assert stream_info(tidings.bus_url, STATUSES).state.last_seq == 0
    for processor in tidings.processors():
        processor.start().until_ready()
    end(tidings, ids)


def test_deleted_while_processors_run(tidings):
    ids = begin(tidings)

    async def delete(connection):
        await connection.jetstream().delete_stream(STATUSES)

    on_bus(tidings.bus_url, delete)
    end(tidings, ids)

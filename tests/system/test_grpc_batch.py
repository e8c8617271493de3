"""Many events' statuses by one question."""

import grpc
import pytest

from grpc_client import Client, pb

MISSING = "00000000-0000-7000-8000-000000000000"


def post_many(gateway, count, name="batch.test"):
    return [gateway.http.post({"name": name, "payload": n}).event_id for n in range(count)]


def test_a_thousand_events_just_stored_are_known_in_their_order(gateway, client):
    ids = post_many(gateway, 999)
    ids.insert(500, MISSING)

    results = client.batch(ids).results

    assert [result.event_id for result in results] == ids
    assert results[500].error.code == grpc.StatusCode.NOT_FOUND.value[0]
    assert MISSING in results[500].error.message
    found = [result.status for result in results if result.HasField("status")]
    assert [status.event_id for status in found] == ids[:500] + ids[501:]
    assert len({status.position for status in found}) == 1, "all are of one moment"
    assert all(status.name == "batch.test" and not status.payload for status in found)


def test_producers_ids_and_their_source(gateway, client):
    for number in ("b-1", "b-2"):
        event = {"id": number, "source": "/batch", "name": "batch.test"}
        assert gateway.http.post(event).status == 202
    first, second, twice = client.batch(["b-1", "b-2", "b-1"], source="/batch").results
    assert first.status.event_id == twice.status.event_id != second.status.event_id
    (elsewhere,) = client.batch(["b-1"]).results
    assert elsewhere.error.code == grpc.StatusCode.NOT_FOUND.value[0]


def test_one_bad_id_fails_no_other(gateway, client):
    (event_id,) = post_many(gateway, 1)
    bad, empty, good = client.batch(["a\nb", "", event_id]).results
    assert bad.error.code == empty.error.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    assert "control characters" in bad.error.message and "empty" in empty.error.message
    assert good.status.event_id == event_id


@pytest.mark.parametrize(
    "ids, arguments, code, message",
    [
        ([], {}, "INVALID_ARGUMENT", "event_ids is empty"),
        (["x"] * 1001, {}, "INVALID_ARGUMENT", "too many or too long; at most 1000"),
        (["a\0b"], {}, "INVALID_ARGUMENT", "BatchGetEventStatusRequest"),
        (["x"], {"min_position": 1 << 40}, "OUT_OF_RANGE", "beyond the status log's end"),
    ],
    ids=["none", "too many", "a NUL", "a position to come"],
)
def test_questions_that_cannot_be_answered(client, ids, arguments, code, message):
    with pytest.raises(grpc.RpcError) as error:
        client.batch(ids, **arguments)
    assert error.value.code().name == code and message in error.value.details()


def test_without_nats_what_is_known_is_answered(tidings):
    nats = tidings.nats()
    processor = tidings.processor()
    gateway = tidings.gateway()
    ids = post_many(gateway, 10)
    with Client(processor.address) as client:
        position = max(client.until_processed(event_id).position for event_id in ids)
        nats.kill()
        results = client.batch([*ids, MISSING], min_position=position).results
        assert all(r.status.status == pb.EventStatus.PROCESSED for r in results[:10])
        assert results[10].error.code == grpc.StatusCode.UNAVAILABLE.value[0]
        assert "the bus does not answer" in results[10].error.message
        nats.start()

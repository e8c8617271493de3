"""Processors start from snapshots of their status tables; they know what the logs would tell."""

import os
import random

import grpc

from bus_client import on_bus
from conftest import rounds
from grpc_client import Client, pb, until_all_processed, until_digests_agree
from program import PATIENCE_S
from wait import until

HANDLERS = """
handlers:
  - match: "bad.>"
    simulate: { delay: 0ms, failure_rate: 1 }
    retry: { max_attempts: 3, backoff: 1ms }
  - match: ">"
    simulate: { delay: 0ms }
"""
WRITTEN = 'tidings_snapshots_total{outcome="written"}'
FAILED = 'tidings_snapshots_total{outcome="failed"}'


def post(gateway, count):
    """Events with ids of the producer's and without, with copies, and some that end dead."""
    ids = []
    for n in range(count):
        event = {"name": "bad.luck" if n % 5 == 4 else f"good.{n % 3}", "payload": n}
        if n % 3 == 0:
            event["id"] = f"{random.random()}"
            gateway.http.post(event)
        ids.append(gateway.http.post(event).event_id)
    return ids


def until_ended(processor, ids):
    with Client(processor.address) as client:
        ended = (pb.EventStatus.PROCESSED, pb.EventStatus.DEAD)
        until(
            lambda: all(client.status(event_id).status in ended for event_id in ids),
            PATIENCE_S,
            "all have ended",
        )


def answers(processor, ids):
    """All that it says of them, their histories included, and its digest."""
    with Client(processor.address) as client:
        said = [client.status(event_id, view=pb.FULL) for event_id in ids]
        for answer in said:
            answer.ClearField("position")  # how far the table had come
        return said, client.stats().digest


def start(tidings, **flags):
    processor = tidings.processor(config=HANDLERS, ack_wait="2s", **flags)
    return processor, tidings.gateway()


def test_a_restart_knows_all_that_was_known(tidings):
    tidings.nats()
    processor, gateway = start(tidings)
    ids = post(gateway, 60)
    until_ended(processor, ids)
    before = answers(processor, ids)
    assert processor.stop() == 0, processor.tail()
    assert processor.entry("snapshot written")["bytes"] > 0
    processor.start().until_ready()
    assert processor.entry("snapshot loaded")["event_position"] >= len(ids)
    assert answers(processor, ids) == before
    assert processor.metrics()["tidings_follower_rebuilds_total"] == 0
    more = post(gateway, 10)
    until_ended(processor, more)
    other = tidings.processor(config=HANDLERS, data=os.path.join(tidings.folder, "other"))
    until_digests_agree([processor, other])
    assert answers(other, ids + more) == answers(processor, ids + more)
    assert "snapshot loaded" not in other.log()


def test_killed_while_snapshots_are_written(tidings):
    tidings.nats()
    processor, gateway = start(tidings, snapshot_interval="5ms")
    ids = []
    for n in range(rounds()):
        ids += post(gateway, 10)
        until(lambda: processor.metrics()[WRITTEN] >= 1, PATIENCE_S, "one is written")
        processor.kill()
        processor.start().until_ready()
        processor.entry("snapshot loaded")
        assert "ignoring a snapshot" not in processor.log(), processor.tail()
        until_ended(processor, ids)
    other = tidings.processor(config=HANDLERS, data=os.path.join(tidings.folder, "other"))
    until_digests_agree([processor, other])
    assert answers(other, ids) == answers(processor, ids)
    left = os.listdir(processor.flags["data"])
    assert len(left) <= 3, f"one place, whatever was killed in it: {left}"


def test_the_event_log_is_another_one(tidings):
    tidings.nats()
    processor, gateway = start(tidings)
    ids = post(gateway, 20)
    until_ended(processor, ids)
    assert processor.stop() == 0, processor.tail()

    async def delete(connection):
        await connection.jetstream().delete_stream("TIDINGS_EVENTS")

    on_bus(tidings.bus_url, delete)
    processor.start().until_ready()
    processor.entry("snapshot loaded")
    processor.entry("rebuilding the status table", reason="the snapshot is of another log")
    with Client(processor.address) as client:
        assert client.error(ids[0])[0] == grpc.StatusCode.NOT_FOUND
    gateway.until_ready()  # it may have heard of the stream that was deleted
    more = post(gateway, 5)
    until_ended(processor, more)


def test_a_folder_that_cannot_be_used(tidings):
    tidings.nats()
    processor, gateway = start(tidings, data="/proc/tidings")
    assert '"msg":"no snapshots: the folder of --data cannot be used' in processor.log()
    until_ended(processor, post(gateway, 5))
    assert processor.stop() == 0, processor.tail()


def test_a_folder_that_vanishes(tidings, tmp_path):
    tidings.nats()
    processor, gateway = start(tidings, snapshot_interval="20ms")
    ids = post(gateway, 5)
    until_ended(processor, ids)
    until(lambda: processor.metrics()[WRITTEN] >= 1, PATIENCE_S, "one is written")
    os.rename(processor.flags["data"], tmp_path / "away")
    ids += post(gateway, 5)
    until_ended(processor, ids)
    until(lambda: processor.metrics()[FAILED] >= 1, PATIENCE_S, "one cannot be written")
    assert processor.is_ready()
    assert processor.stop() == 0, processor.tail()
    processor.start().until_ready()
    until_ended(processor, ids)


def test_processors_share_a_folder(tidings):
    tidings.nats()
    processors = [tidings.processor() for _ in range(2)]
    gateway = tidings.gateway()
    good = [gateway.http.post({"name": "good"}).event_id for _ in range(20)]
    until_all_processed(processors, good)
    for processor in processors:
        assert processor.stop() == 0, processor.tail()
    files = sorted(os.listdir(processors[0].flags["data"]))
    kinds = [f"{place}.{kind}" for place in (0, 1) for kind in ("lock", "snapshot")]
    assert files == [f"TIDINGS_STATUS_default.{kind}" for kind in kinds]
    for processor in processors:
        processor.start()
    for processor in processors:
        processor.until_ready()
        processor.entry("snapshot loaded")
    until_digests_agree(processors)
    until_all_processed(processors, good)

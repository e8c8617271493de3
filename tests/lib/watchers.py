"""A hundred who watch all events, while many change at once."""

import asyncio
import time

import grpc
import nats

from grpc_client import events_grpc, log_pb, pb
from load import PATIENCE_S, Cost

WATCHERS, CONNECTIONS = 100, 10
BATCH = 500  # changes in a record of the status log


def records(event_ids, generation):
    """The events, by position, have ended once more."""
    for first in range(0, len(event_ids), BATCH):
        ids = event_ids[first : first + BATCH]
        count = len(ids)
        yield log_pb.StatusBatch(
            version=1,
            processor="bench",
            event_ids=b"".join(ids),
            event_positions=range(first + 1, first + 1 + count),
            statuses=[pb.EventStatus.PROCESSED] * count,
            attempts=[1] * count,
            generations=[generation] * count,
            times_ms=[time.time_ns() // 1000000] * count,
            previous_positions=[0] * count,
        ).SerializeToString()


async def told(stream, changes):
    """Reads until all have come; messages without any only tell a position."""
    while changes > 0:
        message = await stream.read()
        assert message is not grpc.aio.EOF, await stream.details()
        changes -= len(message.changes)
    assert changes == 0


async def watch(programs, port, url, batches):
    """How long it takes until all have been told of all."""
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1)]
    channels = [
        grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options) for _ in range(CONNECTIONS)
    ]
    streams = [
        events_grpc.EventServiceStub(channels[n % CONNECTIONS]).WatchEvents(pb.WatchEventsRequest())
        for n in range(WATCHERS)
    ]
    for stream in streams:
        await stream.read()  # it has begun
    bus = await nats.connect(url)
    figures = {}
    with Cost(programs, figures):
        began = time.monotonic()
        for batch in batches:
            await bus.publish("tidings.status.default", batch)
        await bus.flush()
        changes = sum(len(log_pb.StatusBatch.FromString(batch).statuses) for batch in batches)
        everyone = asyncio.gather(*(told(stream, changes) for stream in streams))
        await asyncio.wait_for(everyone, PATIENCE_S)
        figures["events"] = changes * WATCHERS
        figures["rate"] = figures["events"] / (time.monotonic() - began)
    await bus.close()
    for channel in channels:
        await channel.close()
    return figures


def watched(programs, port, url, event_ids, generations):
    """Changes delivered a second: each of these events ends in each of these generations."""
    batches = [batch for generation in generations for batch in records(event_ids, generation)]
    return asyncio.run(watch(programs, port, url, batches))

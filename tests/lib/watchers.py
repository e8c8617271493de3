"""A hundred who watch all events, while many change at once."""

import asyncio
import os
import subprocess
import time

import nats

from grpc_client import log_pb, pb
from load import Cost
from program import BUILD

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


async def publish(url, batches):
    bus = await nats.connect(url)
    for batch in batches:
        await bus.publish("tidings.status.default", batch)
    await bus.flush()
    await bus.close()


def watched(programs, port, url, event_ids, generations):
    """Changes delivered a second: each of these events ends in each of these generations."""
    batches = [batch for generation in generations for batch in records(event_ids, generation)]
    changes = len(event_ids) * len(generations)
    command = [os.path.join(BUILD, "bench/watchers"), str(port)]
    command += map(str, (WATCHERS, CONNECTIONS, changes))
    figures = {"events": changes * WATCHERS}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdout.readline() == "watching\n"
        with Cost(programs, figures):
            began = time.monotonic()
            asyncio.run(publish(url, batches))
            assert client.stdout.readline() == "told\n"
            figures["rate"] = figures["events"] / (time.monotonic() - began)
    return figures

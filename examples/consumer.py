import asyncio
import os

import nats


async def main():
    bus = await nats.connect(os.environ.get("NATS_URL", "nats://127.0.0.1:4222"))
    orders = await bus.jetstream().pull_subscribe(
        "tidings.events.order.>", durable="billing", stream="TIDINGS_EVENTS"
    )
    while True:
        try:
            for event in await orders.fetch(100, timeout=60):
                headers = event.headers or {}  # anybody may publish here, and without any
                print(headers.get("Tidings-Event-Id"), event.subject, event.data, flush=True)
                await event.ack()
        except nats.errors.TimeoutError:
            pass  # nothing new


asyncio.run(main())

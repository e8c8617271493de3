"""Confirms orders: takes each order.created from the bus, and posts order.confirmed.

Whatever dies in between, an order is confirmed once: its event is acknowledged only when the
confirmation is stored, and the confirmation's id follows from the order's, so one that is sent
again is the same event. `causationid` names the event that it follows from.
"""

import asyncio
import json
import os
import urllib.request
import uuid

import nats

GATEWAY = os.environ.get("GATEWAY", "http://localhost:8080")
BUS = os.environ.get("NATS_URL", "nats://127.0.0.1:4222")


def confirm(cause, order):
    """Posts the follow-up. Raises unless the gateway says that it is stored (2xx)."""
    headers = {
        "ce-specversion": "1.0",
        "ce-id": f"{cause}.confirmed",
        "ce-source": "/orders",
        "ce-type": "order.confirmed",
        "ce-causationid": cause,
        "Content-Type": "application/json",
    }
    body = json.dumps({"order": order}).encode()
    request = urllib.request.Request(f"{GATEWAY}/api/v1/events", body, headers)
    with urllib.request.urlopen(request, timeout=10) as reply:
        return json.load(reply)


async def handle(event):
    cause = (event.headers or {}).get("Tidings-Event-Id", "")
    try:
        uuid.UUID(cause)
        answer = await asyncio.to_thread(confirm, cause, json.loads(event.data))
    except ValueError as error:  # no event (anybody may publish here), or no JSON: never will be
        print(f"{cause or 'a message without an id'}: {error}", flush=True)
        await event.term()
        return
    except OSError as error:  # no answer, or none of 2xx: the bus delivers the event again
        print(f"{cause}: {error}", flush=True)
        await event.nak(delay=1)
        return
    await event.ack()
    again = " (was confirmed before)" if answer.get("duplicate") else ""
    print(f"order.created {cause} -> order.confirmed {answer['event_id']}{again}", flush=True)


async def main():
    bus = await nats.connect(BUS)
    orders = await bus.jetstream().pull_subscribe(
        "tidings.events.order.created", durable="orders", stream="TIDINGS_EVENTS"
    )
    while True:
        try:
            for event in await orders.fetch(20, timeout=60):
                await handle(event)
        except nats.errors.TimeoutError:
            pass  # nothing new


asyncio.run(main())

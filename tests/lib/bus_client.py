"""The bus as any other NATS client sees it, through nats-py."""

import asyncio
import json

import nats
from nats.js.api import StreamConfig

from wait import until

EVENTS = "TIDINGS_EVENTS"


def on_bus(url, work):
    """Runs `await work(connection)` with a connection of its own and returns what it returns."""

    async def session():
        connection = await nats.connect(url, max_reconnect_attempts=0)
        try:
            return await work(connection)
        finally:
            await connection.close()

    return asyncio.run(session())


def stream_info(url, stream=EVENTS):
    async def ask(connection):
        return await connection.jetstream().stream_info(stream)

    return on_bus(url, ask)


def stream_request(url, subject, body):
    """A raw request of the JetStream API; returns the answer as a dict."""

    async def ask(connection):
        reply = await connection.request(
            f"$JS.API.{subject}", json.dumps(body).encode(), timeout=10
        )
        return json.loads(reply.data)

    return on_bus(url, ask)


def make_stream(url, **settings):
    async def make(connection):
        return await connection.jetstream().add_stream(StreamConfig(**settings))

    return on_bus(url, make)


def publish(url, subject, payload, headers=None):
    async def send(connection):
        return await connection.jetstream().publish(subject, payload, headers=headers)

    return on_bus(url, send)


def messages(url, stream=EVENTS, subject=">"):
    """All messages of a stream as (subject, headers, payload), read like any plain consumer."""

    async def read(connection):
        js = connection.jetstream()
        state = (await js.stream_info(stream)).state
        found = []
        if state.messages == 0:
            return found
        subscription = await js.subscribe(subject, stream=stream, ordered_consumer=True)
        while True:
            message = await subscription.next_msg(timeout=10)
            found.append((message.subject, message.headers or {}, message.data))
            if message.metadata.sequence.stream >= state.last_seq:
                return found

    return on_bus(url, read)


def stored_ids(url):
    """The event_ids of the event log."""
    return [headers.get("Tidings-Event-Id") for _, headers, _ in messages(url)]


class Bus:
    """A connection that is kept, for many questions."""

    def __init__(self, url):
        self.loop = asyncio.new_event_loop()
        self.connection = self.loop.run_until_complete(nats.connect(url))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.loop.run_until_complete(self.connection.close())
        self.loop.close()

    def message(self, position, stream=EVENTS):
        """The message at a position as (subject, headers, payload)."""
        found = self.loop.run_until_complete(
            self.connection.jetstream().get_msg(stream, seq=position)
        )
        return found.subject, found.headers or {}, found.data or b""


def waiting_and_delivered(url, group="default"):
    """How many events of the log the group has not got yet, and how many not acknowledged."""

    async def ask(connection):
        consumer = await connection.jetstream().consumer_info(EVENTS, group)
        return consumer.num_pending, consumer.num_ack_pending

    return on_bus(url, ask)


def redeliveries(url, group="default"):
    """How often an event of the log has come to the group once more: to whoever had it before it
    was no use. Counts while NATS lives."""

    async def ask(connection):
        consumer = await connection.jetstream().consumer_info(EVENTS, group)
        return consumer.delivered.consumer_seq - consumer.delivered.stream_seq

    return on_bus(url, ask)


def until_all_acknowledged(url, limit_s, group="default"):
    """Every event of the log has been delivered to the group, and acknowledged."""
    until(
        lambda: waiting_and_delivered(url, group) == (0, 0),
        limit_s,
        lambda: f"(waiting, delivered) is (0, 0): {waiting_and_delivered(url, group)}",
    )

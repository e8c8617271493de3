#!/usr/bin/env python3
"""How much a handler that is in trouble holds up another one.

    tests/marathon/isolation.py [--events 100000] [--processors 1] [--rate 400] [--seconds 15]

Events `b.run` come at a rate, and a handler takes 50 ms for each. They come alone; beside 100,000
events `a.run` that were stored right before, and whose handler always fails; and the same with a
handler that hangs until its time limit (5 s). Each in a Tidings of its own, in this order and then
in the opposite one. From the first b stored to the last one processed: its throughput; from each b
stored to its outcome: its latency. The medians of both, of all rounds, must differ by less than a
quarter from those without a's events. Publishes to the bus itself, so that only the processors are
measured.
"""
import argparse
import asyncio
import pathlib
import statistics
import sys
import tempfile
import time
import uuid

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
# pylint: disable=wrong-import-position
import nats
from bus_client import EVENTS, stream_info
from grpc_client import Status, log_pb
from tidings import Tidings
from wait import until

STATUS = "TIDINGS_STATUS_default"
B_SUBJECT = "tidings.events.b.run"
LIMIT_S = 60  # for the last b, once all have been sent
ALLOWED = 0.25

CONFIG = """
handlers:
  - match: "a.>"
    simulate: { delay: 0ms }
    retry: { timeout: 5s }
  - match: ">"
    simulate: { delay: 50ms }
"""
KINDS = {"alone": None, "beside failing": "fail:no use", "beside hanging": "hang"}


def event(name, payload):
    event_id = str(uuid.uuid4())
    headers = {
        "Tidings-Event-Id": event_id,
        "ce-specversion": "1.0",
        "ce-id": event_id,
        "ce-source": "/isolation",
        "ce-type": name,
        "content-type": "application/json",
    }
    return f"tidings.events.{name}", payload, headers


async def publish_all(connection, name, payload, count):
    for i in range(count):
        subject, body, headers = event(name, payload)
        await connection.publish(subject, body, headers=headers)
        if i % 500 == 499:
            await connection.flush()
    await connection.flush()


async def publish_at_rate(connection, name, rate, seconds):
    """In steps of 10 ms; one that is late is made up for."""
    begin, sent = time.monotonic(), 0
    total = int(rate * seconds)
    while sent < total:
        due = min(total, int((time.monotonic() - begin) * rate) + 1)
        for _ in range(due - sent):
            subject, body, headers = event(name, b'{"n":1}')
            await connection.publish(subject, body, headers=headers)
        sent = due
        await asyncio.sleep(0.01)
    await connection.flush()


async def read_all(connection, stream, subject, take):
    """Each message, from the first to what is the last one now."""
    js = connection.jetstream()
    last = (await js.stream_info(stream)).state.last_seq
    subscription = await js.subscribe(subject, stream=stream, ordered_consumer=True)
    seen = pending = None
    while seen is None or (seen < last and pending > 0):
        message = await subscription.next_msg(timeout=20)
        seen, pending = message.metadata.sequence.stream, message.metadata.num_pending
        take(message)
    await subscription.unsubscribe()


async def outcomes(connection):
    """When each b was stored, and when it was processed: by position, in seconds."""
    stored, ended = {}, {}

    def take_event(message):
        stored[message.metadata.sequence.stream] = message.metadata.timestamp.timestamp()

    def take_batch(message):
        batch = log_pb.StatusBatch.FromString(message.data)
        for position, status, at_ms in zip(batch.event_positions, batch.statuses, batch.times_ms):
            if status == Status.Value("PROCESSED"):
                ended.setdefault(position, at_ms / 1000)

    await read_all(connection, EVENTS, B_SUBJECT, take_event)
    await read_all(connection, STATUS, ">", take_batch)
    return stored, {position: ended[position] for position in stored if position in ended}


def cpu_s(program):
    with open(f"/proc/{program.pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


async def drive(tidings, args, payload):
    connection = await nats.connect(tidings.bus.url)
    try:
        if payload:
            await publish_all(connection, "a.run", payload, args.events)
            state = (await connection.jetstream().stream_info(EVENTS)).state
            assert state.messages == args.events, state
        before = {program.name: cpu_s(program) for program in tidings.programs}
        await publish_at_rate(connection, "b.run", args.rate, args.seconds)
        total = int(args.rate * args.seconds)
        limit = time.monotonic() + LIMIT_S
        while True:
            stored, ended = await outcomes(connection)
            if len(ended) == total or time.monotonic() > limit:
                break
            await asyncio.sleep(1)
        used = {program.name: cpu_s(program) - before[program.name] for program in tidings.programs}
        return total, stored, ended, used
    finally:
        await connection.close()


def measure(args, kind):
    """(throughput, median latency) of b; also prints the rest."""
    script = KINDS[kind]
    payload = f'{{"simulate":["{script}"]}}'.encode() if script else None
    with tempfile.TemporaryDirectory(prefix="tidings-isolation-") as folder, Tidings(
        folder
    ) as tidings:
        tidings.nats()
        for _ in range(args.processors):
            tidings.processor(config=CONFIG)
        until(lambda: stream_info(tidings.bus.url).state.messages == 0, 10, "an event log")
        total, stored, ended, used = asyncio.run(drive(tidings, args, payload))
    took = max(ended.values(), default=0) - min(stored.values())
    rate = len(ended) / took if len(ended) == total else 0
    latencies = sorted(ended[position] - stored[position] for position in ended) or [LIMIT_S]
    median = statistics.median(latencies)
    print(
        f"{kind:15} {len(ended)}/{total} processed, {rate:6.1f}/s,"
        f" latency ms: median {median * 1000:.0f}, 95 % {at(latencies, 0.95):.0f},"
        f" most {latencies[-1] * 1000:.0f}; CPU s: "
        + ", ".join(f"{name} {seconds:.1f}" for name, seconds in used.items()),
        flush=True,
    )
    return rate, median


def at(values, share):
    return values[min(len(values) - 1, int(len(values) * share))] * 1000


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--events", type=int, default=100000)
    parser.add_argument("--processors", type=int, default=1)
    parser.add_argument("--rate", type=float, default=400)
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--rounds", type=int, default=2, help="every other one in opposite order")
    parser.add_argument("--only", help="one of: " + ", ".join(KINDS))
    args = parser.parse_args()
    kinds = [kind for kind in KINDS if args.only in (None, kind)]
    found = {kind: [] for kind in kinds}
    for number in range(args.rounds):
        for kind in kinds if number % 2 == 0 else reversed(kinds):
            found[kind].append(measure(args, kind))
    failed = False
    rate, latency = (statistics.median(each) for each in zip(*found[kinds[0]]))
    for kind in kinds[1:]:
        other_rate, other_latency = (statistics.median(each) for each in zip(*found[kind]))
        worse = max(rate / other_rate if other_rate else float("inf"), other_latency / latency) - 1
        failed = failed or worse >= ALLOWED
        print(
            f"{kind}: throughput {other_rate / rate:.2f}, latency {other_latency / latency:.2f} of"
            f" what they are alone: {'too much' if worse >= ALLOWED else 'fine'}"
        )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

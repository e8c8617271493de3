"""Load on one server, and what it costs: wrk for POSTs, open_loop for POSTs at a given rate, h2load
for GetEventStatus, and JetStream's own limit. Each returns a dict: rate (events a second), p50_us,
p99_us, and for each program that is named, by its role, the CPU of an event and its memory."""

import json
import os
import re
import subprocess
import tempfile
import time

from bus_client import until_all_acknowledged
from grpc_client import Client, pb
from program import BUILD, ROOT
from wait import until

POST = os.path.join(ROOT, "tests/bench/post.lua")
JETSTREAM = os.path.join(BUILD, "bench/limits/jetstream_limit")
OPEN_LOOP = os.path.join(BUILD, "bench/open_loop")
TEN_MILLION = os.path.join(BUILD, "bench/ten_million")
PATIENCE_S = 300  # until a backlog has been worked off
UNITS = {"us": 1, "ms": 1e3, "s": 1e6}


class Several:
    """Programs that count as one."""

    def __init__(self, programs):
        self.programs = programs

    def cpu_s(self):
        return sum(program.cpu_s() for program in self.programs)

    def resident_kb(self):
        return sum(program.resident_kb() for program in self.programs)


class Cost:
    """with Cost(programs, figures): the load; then figures has cpu_us and rss_kb by role."""

    def __init__(self, programs, figures):
        self.programs, self.figures = programs, figures

    def __enter__(self):
        self.before = {role: program.cpu_s() for role, program in self.programs.items()}

    def __exit__(self, *failure):
        if failure[0]:
            return
        for role, program in self.programs.items():
            spent = program.cpu_s() - self.before[role]
            self.figures[f"{role}_cpu_us"] = spent * 1e6 / self.figures["events"]
            self.figures[f"{role}_rss_kb"] = program.resident_kb()


def run(command, environment=None):
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **(environment or {})},
    )
    assert done.returncode == 0, f"{command} failed:\n{done.stdout}{done.stderr}"
    return done.stdout


def microseconds(text):
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s)", text).groups()
    return float(number) * UNITS[unit]


def posts(programs, port, seconds, connections, payload=256, batch=0):
    """Every request must get its 202."""
    url = f"http://127.0.0.1:{port}/api/v1/events"
    command = ["wrk", "-t", str(min(2, connections)), "-c", str(connections), "-d", f"{seconds}s"]
    figures = {}
    with Cost(programs, figures):
        text = run(
            [*command, "--latency", "-s", POST, url],
            {"BENCH_BATCH": str(batch), "BENCH_PAYLOAD": str(payload)},
        )
        count, span = re.search(r"(\d+) requests in ([\d.]+\w+)", text).groups()
        figures["events"] = int(count) * (batch or 1)
    assert "Non-2xx" not in text and "Socket errors" not in text, text
    latency = {p: re.search(rf"^\s+{p}%\s+(\S+)", text, re.M).group(1) for p in (50, 99)}
    figures["rate"] = figures["events"] / (microseconds(span) / 1e6)
    return {**figures, **{f"p{p}_us": microseconds(text) for p, text in latency.items()}}


def questions(programs, port, seconds, event_id, connections=8, streams=32):
    """GetEventStatus of one event; every request must be answered."""
    message = pb.GetEventStatusRequest(event_id=event_id).SerializeToString()
    figures = {}
    with tempfile.NamedTemporaryFile() as body:
        body.write(b"\0" + len(message).to_bytes(4, "big") + message)
        body.flush()
        command = ["h2load", "-t", "1", "-c", str(connections), "-m", str(streams)]
        command += ["-D", str(seconds), "-d", body.name]
        command += ["-H", "content-type: application/grpc", "-H", "te: trailers"]
        with Cost(programs, figures):
            text = run([*command, f"http://127.0.0.1:{port}/events.EventService/GetEventStatus"])
            figures["events"] = int(re.search(r"(\d+) succeeded", text).group(1))
    assert re.search(r" 0 failed, 0 errored, 0 timeout", text), text
    figures["rate"] = float(re.search(r"([\d.]+) req/s", text).group(1))
    return figures


def at_rate(programs, port, seconds, connections, rate, payload=256):
    """So many POSTs a second, whatever the server does; latencies from when each was due."""
    numbers = (port, connections, max(1, round(rate)), seconds, payload)
    figures = {}
    with Cost(programs, figures):
        figures |= json.loads(run([OPEN_LOOP, *map(str, numbers)]))
    figures["rate"] = figures["events"] / figures.pop("seconds")
    return figures


def publishes(programs, url, seconds, in_flight, payload=256, pull=False):
    """What JetStream itself takes; with one in flight, how long a round trip is. With `pull` until
    a consumer has taken and acknowledged all."""
    command = [JETSTREAM, url, str(seconds), str(payload), str(in_flight)]
    figures = {}
    with Cost(programs, figures):
        told = json.loads(run(command + ["pull"] * pull))
        figures["events"] = told.pop("messages")
    figures["rate"] = figures["events"] / told.pop("seconds")
    return {**figures, **told}


def processes(tidings, seconds, connections, batch):
    """POSTs of batches until the last event has been processed."""
    services = Several(tidings.gateways() + tidings.processors())
    figures, began = {}, time.monotonic()
    with Cost({"server": services, "nats": tidings.bus}, figures):
        port = tidings.gateways()[0].http_port
        figures["events"] = posts({}, port, seconds, connections, batch=batch)["events"]
        until_all_acknowledged(tidings.bus.url, PATIENCE_S)
        figures["rate"] = figures["events"] / (time.monotonic() - began)
    return figures


def handles(tidings, seconds):
    """What processors make of a backlog, each of them: while there is one."""
    processors = tidings.processors()
    clients = [Client(processor.address) for processor in processors]

    def done():
        return sum(client.stats().work.processed for client in clients)

    until(done, PATIENCE_S, "the first events are processed")
    figures, began, before = {}, time.monotonic(), done()
    with Cost({"server": Several(processors), "nats": tidings.bus}, figures):
        until(lambda: time.monotonic() >= began + seconds, PATIENCE_S, "the time is over")
        figures["events"], took_s = done() - before, time.monotonic() - began
    for client in clients:
        client.channel.close()
    figures["rate"] = figures["events"] / took_s / len(processors)
    return figures


def ten_million(events):
    """Our table of so many events, beside one of 10,000: both's figures."""
    text = run([TEN_MILLION, str(events), "1"])

    def figure(row, unit):
        return float(re.search(rf"^\| {row} \| ([\d.]+){unit}", text, re.M).group(1))

    def asked(count):
        cost = re.search(rf"^\| {count} \|.*\| ([\d.]+) us", text, re.M).group(1)
        return {"rate": figure(count, "/s"), "server_cpu_us": float(cost)}

    table, resident = figure("table and index", ""), figure("resident memory of the process", "")
    return {
        "ours": {**asked(events), "table_bytes": table, "resident_bytes": resident},
        "small": asked(10000),
    }


def fill(peer, events):
    """What a peer's table of so many takes."""
    told = json.loads(run([peer, "fill", str(events)]))
    return {"resident_bytes": told["bytes"] / told["events"]}

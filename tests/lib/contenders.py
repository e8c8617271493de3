"""What `make bench` compares: Tidings, its peers in Go and Rust, and the limits. Each is built
where its toolchain is there, started with a NATS of its own, and asked whether it does the job."""

import os
import shutil
import subprocess
import tempfile
import uuid

import grpc

from bus_client import messages, stored_ids, until_all_acknowledged
from grpc_client import Client, pb
from http_client import Http
from ports import free_port
from program import BUILD, PATIENCE_S, ROOT, Program
from tidings import Nats, Tidings, connects
from wait import until

QUIET = 'handlers: [{match: ">", simulate: {delay: 0ms}}]'  # log writes a line an event
PEERS = {"go": ("go", "Go"), "rust": ("cargo", "Rust")}  # its tool, and its name
EVENTS = 10000  # with a status each
THOUSAND = [{"name": "bench.event", "payload": n} for n in range(1000)]


def build_peers():
    """Peers that can run here -> program; says which cannot, and why."""
    built = {}
    for peer, (tool, name) in PEERS.items():
        if not shutil.which(tool):
            print(f"{name} peer: skipped, there is no {tool}")
            continue
        script = os.path.join(ROOT, f"tests/bench/{peer}_peer/build")
        done = subprocess.run([script], capture_output=True, text=True, check=False)
        if done.returncode:
            last = "\n    ".join((done.stdout + done.stderr).splitlines()[-8:])
            print(f"{name} peer: skipped, it cannot be built here:\n    {last}")
            continue
        built[peer] = os.path.join(BUILD, "bench", f"{peer}_peer")
    return built


class Contender:
    """programs: what costs CPU, by role (server, nats). port: where the load goes."""

    def __init__(self, programs, port, bus=None):
        self.programs, self.port, self.bus = programs, port, bus


class Ring:
    """with Ring(folder, peers) as ring: all contenders, started; ring.http, ring.grpc: by name."""

    def __init__(self, folder, peers):
        self.folder, self.peers = folder, peers
        self.tidings, self.programs = [], []
        self.generation = 0  # of the events whose statuses are known

    def __enter__(self):
        self.http = {"ours": self.ours_http(), "civetweb": self.civetweb()}
        self.http |= {peer: self.peer_http(peer) for peer in self.peers}
        self.jetstream = Contender(*self.own_nats("jetstream"))
        self.grpc, self.event_id = self.statuses()
        return self

    def __exit__(self, *_):
        for tidings in self.tidings:
            tidings.__exit__()
        for program in self.programs:
            program.discard()

    # ---- parts ----

    def sub(self, name):
        path = os.path.join(self.folder, name)
        os.makedirs(path)
        return path

    def own_nats(self, name):
        nats = Nats(self.sub(name))
        self.programs.append(nats)
        nats.start()
        return {"nats": nats}, nats.port, nats.url

    def program(self, name, command, port):
        program = Program(name, self.folder, command)
        self.programs.append(program)
        program.start()
        until(lambda: connects(port), PATIENCE_S, lambda: f"{name} listens\n{program.tail()}")
        return program

    def a_tidings(self, name):
        tidings = Tidings(self.sub(name))
        self.tidings.append(tidings)
        tidings.nats()
        return tidings

    def ours_http(self):
        tidings = self.a_tidings("ours")
        gateway = tidings.gateway()
        programs = {"server": gateway, "nats": tidings.bus}
        return Contender(programs, gateway.http_port, tidings.bus.url)

    def peer_http(self, peer):
        programs, _, url = self.own_nats(peer)
        port = free_port()
        command = [self.peers[peer], "post", f"127.0.0.1:{port}", url]
        programs["server"] = self.program(f"{peer}-post", command, port)
        return Contender(programs, port, url)

    def civetweb(self):
        port = free_port()
        command = [os.path.join(BUILD, "bench/limits/civetweb_limit"), f"127.0.0.1:{port}"]
        return Contender({"server": self.program("civetweb", command, port)}, port)

    def flow(self, processors=1, waiting=0, **flags):
        """A Tidings of its own, whose processors find so many events waiting; the caller ends
        it."""
        tidings = Tidings(tempfile.mkdtemp(dir=self.folder))
        tidings.nats()
        gateway = tidings.gateway()
        for _ in range(0, waiting, len(THOUSAND)):
            reply = gateway.http.post(THOUSAND)
            assert reply.status == 202, reply
        started = [tidings.processor(start=False, **flags) for _ in range(processors)]
        for processor in started:
            processor.start()
        for processor in started:
            processor.until_ready()
        return tidings

    def statuses(self):
        """One Tidings with so many events that have ended; the peers follow its logs."""
        tidings = self.a_tidings("statuses")
        processor = tidings.processor(config=QUIET)
        plain = tidings.processor(config=QUIET, gather_writes="off")
        gateway = tidings.gateway()
        for _ in range(EVENTS // len(THOUSAND)):
            event_id = gateway.http.post(THOUSAND).json()[-1]["event_id"]
        until_all_acknowledged(tidings.bus.url, PATIENCE_S)
        found = {
            "ours": Contender({"server": processor}, processor.grpc_port),
            "plain": Contender({"server": plain}, plain.grpc_port),
        }
        for peer, path in self.peers.items():
            port = free_port()
            command = [path, "status", f"127.0.0.1:{port}", tidings.bus.url]
            program = self.program(f"{peer}-status", command, port)
            found[peer] = Contender({"server": program}, port)
        self.statuses_bus = tidings.bus.url
        self.event_ids = [uuid.UUID(text).bytes for text in stored_ids(tidings.bus.url)]
        return found, event_id

    def next_generations(self, count):
        """Of the events whose statuses are known: lives that they have not had yet."""
        first, self.generation = self.generation + 1, self.generation + count
        return range(first, self.generation + 1)


# ---- whether they do the job ----

ASKED = (
    b'{"name":"bench.check","payload":{"a":[1.0,"\xc3\xa9"]},"id":"7 \xc3\xa9","key":"k%1"}',
    b'{"name":"bench.check","payload":"x","time":"2026-01-02T03:04:05Z","source":"/shop"}',
    b'{"name":"bench.check"}',
    b'{"name":"bench.check","payload":{"a":[1.0,"\xc3\xa9"]},"id":"7 \xc3\xa9","key":"k%1"}',
    b'{"name":"bench.check","payload":2,"id":"7 \xc3\xa9","key":"k%1"}',
    b'{"name":"bench..check"}',
    b'{"name":"bench.check","nmae":1}',
    b'{"name":"bench.check","payload":01}',
    b'{"name":"bench.check","payload":"' + b"x" * (1 << 20) + b'"}',
)
HEADERS = ("content-type", "cache-control", "location")
REFUSED_MEMBER = {422, 400}  # an unknown member: peers' parsers call it malformed


def answered(port, body):
    """Status, the headers that all have, and the body; ids that were made are only `made`."""
    reply = Http(port).post(body)
    assert len(reply.headers["x-request-id"]) == 36, reply
    if reply.status != 202:
        return 400 if reply.status in REFUSED_MEMBER else reply.status, None, None
    told = {name: reply.headers.get(name) for name in HEADERS}
    event_id = uuid.UUID(reply.event_id)
    assert event_id.version in (5, 7)
    if event_id.version == 7:
        text = reply.text.replace(str(event_id), "made")
        told["location"] = told["location"].replace(str(event_id), "made")
        return 202, told, text
    return 202, told, reply.text


def stored(url):
    """What is on the bus; ids and times that were made are only `made`."""
    found = []
    for subject, headers, payload in messages(url):
        headers = dict(headers)
        made = uuid.UUID(headers["Tidings-Event-Id"]).version == 7
        if made:
            assert headers["ce-id"] == headers["Tidings-Event-Id"], headers
            headers["ce-id"] = headers["Tidings-Event-Id"] = "made"
        if headers["ce-time"] != "2026-01-02T03:04:05Z":
            assert len(headers["ce-time"]) == len("2026-01-02T03:04:05.678Z"), headers
            headers["ce-time"] = "made"
        found.append((subject, headers, payload))
    return found


def ended(client, event_id):
    """Peers say NOT_FOUND while they have not followed that far."""
    try:
        answer = client.status(event_id)
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.NOT_FOUND, error
        return None
    return answer if answer.status == pb.EventStatus.PROCESSED else None


def check(ring):
    """Peers answer, store and know the same as ours; raises where one doesn't."""
    answers, records = {}, {}
    for name, one in ring.http.items():
        if one.bus:
            answers[name] = [answered(one.port, body) for body in ASKED]
            records[name] = stored(one.bus)
    assert [status for status, _, _ in answers["ours"]] == [202] * 4 + [409] + [400] * 3 + [413]
    assert len(records["ours"]) == 3
    for name, answer in answers.items():
        for body, ours, theirs in zip(ASKED, answers["ours"], answer):
            assert theirs == ours, f"{name} answers {body[:99]}\n{theirs}\nours: {ours}"
        assert records[name] == records["ours"], f"{name}: {records[name]}\nours: {records['ours']}"
    known = {}
    for name, one in ring.grpc.items():
        with Client(f"127.0.0.1:{one.port}") as client:
            known[name] = until(
                lambda client=client: ended(client, ring.event_id),
                PATIENCE_S,
                lambda name=name: f"{name} knows an event's end",
            )
    for name, told in known.items():
        assert told == known["ours"], f"{name}: {told}\nours: {known['ours']}"

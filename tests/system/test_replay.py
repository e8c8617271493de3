"""Replays on the real bus, asked for with grpcurl: counted, watched, cancelled, taken over."""

import json
import os
import select
import shutil
import signal
import subprocess
import uuid

import pytest
from bus_client import messages
from grpc_client import Client, Status, log_pb
from program import PATIENCE_S, ROOT
from wait import until

STATUS = "TIDINGS_STATUS_default"
SERVICE = "events.EventService"
SILENCE_S = 20  # then another processor takes over

FAILING = """
handlers:
  - match: ">"
    simulate: { delay: 0ms, failure_rate: 1 }
    retry: { max_attempts: 2, backoff: 1ms }
"""
HEALTHY = """
handlers:
  - match: ">"
    simulate: { delay: 0ms, failure_rate: 0 }
"""

SLOW = """
handlers:
  - match: ">"
    simulate: { delay: 1h }
    retry: { timeout: 1h }
"""


class Grpcurl:
    """Calls of one processor, as a user would make them."""

    def __init__(self, processor):
        path = os.pathsep.join([os.path.join(ROOT, "build/bin"), os.environ["PATH"]])
        self.program = shutil.which("grpcurl", path=path)
        assert self.program, "grpcurl is missing: make grpcurl"
        self.address = processor.address

    def command(self, method, request):
        return [
            self.program,
            "-plaintext",
            "-emit-defaults",
            "-d",
            json.dumps(request),
            self.address,
            f"{SERVICE}/{method}",
        ]

    def run(self, method, request, limit_s=PATIENCE_S + 40):
        return subprocess.run(
            self.command(method, request), capture_output=True, text=True, timeout=limit_s
        )

    def __call__(self, method, **request):
        """All messages of the answer."""
        done = self.run(method, request)
        assert done.returncode == 0, done.stderr
        return documents(done.stdout)

    def one(self, method, **request):
        (message,) = self(method, **request)
        return message

    def error(self, method, **request):
        done = self.run(method, request)
        assert done.returncode != 0, done.stdout
        return done.stderr

    def begin(self, method, **request):
        """A stream that is read while other things happen."""
        return subprocess.Popen(
            self.command(method, request), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )


def documents(text):
    """The JSON documents of a text, one behind the other."""
    decoder, found, at = json.JSONDecoder(), [], 0
    while text[at:].strip():
        at += len(text[at:]) - len(text[at:].lstrip())
        document, at = decoder.raw_decode(text, at)
        found.append(document)
    return found


def post(gateway, name, count):
    answers = [gateway.http.post({"name": name, "payload": {"number": i}}) for i in range(count)]
    assert [answer.status for answer in answers] == [202] * count
    return [answer.event_id for answer in answers]


def until_count(client, status, count, limit_s=PATIENCE_S):
    until(
        lambda: getattr(client.stats().counts, status) == count,
        limit_s,
        lambda: f"{count} are {status}: {client.stats().counts}",
    )


def retried(url, generation):
    """How often each event's life of that number was begun by a replay."""
    begun = {}
    for _, _, payload in messages(url, STATUS):
        batch = log_pb.StatusBatch.FromString(payload)
        for row, status in enumerate(batch.statuses):
            fresh = status == Status.Value("RETRYING") and batch.attempts[row] == 0
            if fresh and batch.generations[row] == generation:
                event = batch.event_ids[16 * row : 16 * row + 16]
                begun[event] = begun.get(event, 0) + 1
    return begun


class Dead:
    """Two processors, and events that are dead; the handlers would do them now."""

    def __init__(self, tidings, orders, invoices=0):
        self.nats = tidings.nats()
        self.processors = [tidings.processor(config=FAILING) for _ in range(2)]
        gateway = tidings.gateway()
        self.ids = post(gateway, "order.created", orders)
        self.ids += post(gateway, "invoice.sent", invoices) if invoices else []
        with Client(self.processors[0].address) as client:
            until_count(client, "dead", len(self.ids))
        for processor in self.processors:
            assert processor.stop() == 0
            processor.configure(HEALTHY)
            processor.start().until_ready()

    def until_processed(self, count):
        for processor in self.processors:
            with Client(processor.address) as client:
                until_count(client, "processed", count)

    def generations(self):
        with Client(self.processors[0].address) as client:
            return [answer.generation for _, answer in client.ask_all(self.ids)]


def test_what_is_dead_is_replayed_and_its_history_shows_both_lives(tidings):
    dead = Dead(tidings, orders=30, invoices=10)
    first, second = (Grpcurl(processor) for processor in dead.processors)
    counted = first.one("ReplayEvents", name="order.*", dry_run=True)
    assert (counted["state"], counted["matched"], counted["replayId"]) == ("DONE", "30", "")
    reports = first("ReplayEvents", name="order.*")
    assert reports[-1]["state"] == "DONE"
    assert (reports[-1]["replayed"], reports[-1]["skipped"]) == ("30", "0")
    assert reports[-1]["request"]["statuses"] == ["DEAD"]
    dead.until_processed(30)
    assert dead.generations() == [1] * 30 + [0] * 10
    known = second.one("GetReplay", replay_id=reports[-1]["replayId"])
    assert (known["state"], known["replayed"]) == ("DONE", "30")
    listed = second.one("ListReplays")["replays"]
    assert [replay["replayId"] for replay in listed] == [known["replayId"]]
    with Client(dead.processors[1].address) as client:
        history = client.full(dead.ids[0]).history
    lives = [(change.generation, Status.Name(change.status)) for change in history]
    assert lives[0] == (0, "ACCEPTED") and (0, "DEAD") in lives
    assert lives[-1] == (1, "PROCESSED"), lives


def test_events_are_replayed_by_their_ids(tidings):
    dead = Dead(tidings, orders=5)
    ask = Grpcurl(dead.processors[0])
    watched = ask("ReplayEvents", event_ids=dead.ids[:2])
    assert watched[-1]["replayed"] == "2"
    dead.until_processed(2)
    watched = ask("ReplayEvents", event_ids=dead.ids[:1])  # what was processed, once more
    assert watched[-1]["replayed"] == "1"
    with Client(dead.processors[0].address) as client:
        until(
            lambda: client.status(dead.ids[0]).generation == 2
            and client.status(dead.ids[0]).status == Status.Value("PROCESSED"),
            PATIENCE_S,
            "a third life has ended",
        )


@pytest.mark.parametrize("cancelled", [False, True])
def test_a_replay_is_watched_to_its_end(tidings, cancelled):
    dead = Dead(tidings, orders=60)
    first, second = (Grpcurl(processor) for processor in dead.processors)
    begun = first.one("ReplayEvents", statuses=["DEAD"], rate=10 if cancelled else 40, detach=True)
    assert begun["state"] == "RUNNING"
    replay_id = begun["replayId"]
    watcher = second.begin("WatchReplay", replay_id=replay_id)
    assert select.select([watcher.stdout], [], [], PATIENCE_S)[0], "the watcher hears of it"
    if cancelled:
        until(
            lambda: int(second.one("GetReplay", replay_id=replay_id)["replayed"]) > 0,
            PATIENCE_S,
            "the replay moves",
        )
        assert second.one("CancelReplay", replay_id=replay_id)["state"] == "CANCELLED"
    output, complaints = watcher.communicate(timeout=PATIENCE_S + 20)
    reports = documents(output)
    assert watcher.returncode == 0, complaints
    assert [report["state"] for report in reports[:-1]] == ["RUNNING"] * (len(reports) - 1)
    assert reports[-1]["state"] == ("CANCELLED" if cancelled else "DONE")
    counts = [int(report["replayed"]) for report in reports]
    assert counts == sorted(counts) and len(counts) > 1
    if cancelled:
        ended = first.one("CancelReplay", replay_id=replay_id)  # it stays as it is
        assert ended["state"] == "CANCELLED" and int(ended["replayed"]) < 60
        until(
            lambda: int(first.one("GetReplay", replay_id=replay_id)["replayed"])
            == sum(dead.generations()),
            PATIENCE_S,
            "what was replayed is what the replay says",
        )
    else:
        assert counts[-1] == 60
        dead.until_processed(60)


def test_a_replay_whose_processor_is_killed_is_finished_by_another(tidings):
    dead = Dead(tidings, orders=200)
    runner, other = dead.processors
    begun = Grpcurl(runner).one("ReplayEvents", statuses=["DEAD"], rate=50, detach=True)
    ask = Grpcurl(other)
    replay_id = begun["replayId"]

    def progress():
        return ask.one("GetReplay", replay_id=replay_id)

    until(lambda: int(progress()["replayed"]) >= 20, PATIENCE_S, "the replay moves")
    runner.kill()
    until(
        lambda: progress()["state"] == "DONE",
        PATIENCE_S + SILENCE_S,
        lambda: f"another processor finishes it: {progress()}",
    )
    entry = other.entry("took over a replay whose runner has been silent")
    assert entry["replay"] == replay_id
    with Client(other.address) as client:
        until_count(client, "processed", 200, PATIENCE_S + 30)
        generations = [answer.generation for _, answer in client.ask_all(dead.ids)]
    assert generations == [1] * 200
    assert set(retried(dead.nats.url, 1).values()) <= {1}
    assert not retried(dead.nats.url, 2)
    # What its processor had begun and not recorded when it was killed, at most one step, may be
    # told as skipped or not at all.
    assert 195 <= int(progress()["replayed"]) <= 200


def test_what_cannot_be_replayed_is_said_clearly(tidings):
    dead = Dead(tidings, orders=2)
    ask = Grpcurl(dead.processors[0])
    for request, code, complaint in (
        ({}, "InvalidArgument", "nothing says which events"),
        ({"statuses": ["ACCEPTED"]}, "InvalidArgument", "DEAD and PROCESSED"),
        ({"name": "order..x"}, "InvalidArgument", "no pattern of names"),
        ({"replay_id": "7", "statuses": ["DEAD"]}, "InvalidArgument", "replay_id '7' is no UUID"),
        ({"from_position": 9, "to_position": 8}, "InvalidArgument", "from_position 9 is beyond"),
        ({"event_ids": ["nobody"]}, "NotFound", "'nobody'"),
        ({"event_ids": [str(i) for i in range(1001)]}, "InvalidArgument", "at most 1000"),
        ({"statuses": ["SLEEPING"]}, "", "SLEEPING"),
        (
            {"accepted_since": "2026-01-02T00:00:00Z", "accepted_until": "2026-01-01T00:00:00Z"},
            "InvalidArgument",
            "before accepted_until",
        ),
        ({"event_ids": dead.ids, "statuses": ["PROCESSED"]}, "FailedPrecondition", "none of the 2"),
        (
            {"event_ids": dead.ids[:1], "statuses": ["PROCESSED"]},
            "FailedPrecondition",
            "it is dead, and only what is processed was asked for",
        ),
    ):
        error = ask.error("ReplayEvents", **request)
        assert code in error and complaint in error, error
    assert "NotFound" in ask.error("GetReplay", replay_id=dead.ids[0])
    assert "no UUID" in ask.error("WatchReplay", replay_id="x")
    assert "NotFound" in ask.error("CancelReplay", replay_id=dead.ids[0])
    dead.nats.freeze()
    try:
        error = ask.error("ReplayEvents", statuses=["DEAD"])
        assert "Unavailable" in error, error
    finally:
        dead.nats.thaw()


def test_a_replay_id_belongs_to_one_request(tidings):
    dead = Dead(tidings, orders=3)
    first, second = (Grpcurl(processor) for processor in dead.processors)
    replay_id = str(uuid.uuid4())
    (begun,) = first("ReplayEvents", name="order.*", detach=True, replay_id=replay_id)
    assert begun["replayId"] == replay_id
    error = second.error("ReplayEvents", name="order.>", detach=True, replay_id=replay_id)
    assert "InvalidArgument" in error and f"{replay_id} belongs to another request" in error
    again = second("ReplayEvents", name="order.*", replay_id=replay_id)
    assert (again[-1]["state"], again[-1]["replayed"]) == ("DONE", "3")


def test_a_processor_that_drains_starts_no_replay(tidings):
    tidings.nats()
    leaving = tidings.processor(config=SLOW, drain_timeout="60s")
    gateway = tidings.gateway()
    post(gateway, "order.created", 1)
    with Client(leaving.address) as client:
        until_count(client, "processing", 1)
    leaving.signal(signal.SIGTERM)
    leaving.entry("draining")
    ask = Grpcurl(leaving)

    def refused():
        """In the first moments it may still be taken."""
        done = ask.run("ReplayEvents", {"statuses": ["DEAD"], "detach": True})
        return "Unavailable" in done.stderr and "shutting down; ask another one" in done.stderr

    until(refused, PATIENCE_S, "it refuses")
    leaving.kill()


def test_a_processor_ends_while_replays_are_asked_for(tidings):
    nats = tidings.nats()
    processor = tidings.processor(config=HEALTHY, drain_timeout="1s")
    processor.until_ready()
    ask = Grpcurl(processor)
    nats.freeze()  # so they wait
    try:
        streams = [ask.begin("ReplayEvents", statuses=["DEAD"]) for _ in range(10)]
        until(
            lambda: any(stream.poll() is not None for stream in streams),
            PATIENCE_S,
            "the first one has been answered",
        )
        assert processor.stop() == 0
    finally:
        nats.thaw()
    for stream in streams:
        _, complaints = stream.communicate(timeout=PATIENCE_S)
        assert stream.returncode != 0 and "Unavailable" in complaints, complaints

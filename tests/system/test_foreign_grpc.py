"""A foreign gRPC client, Go's ghz, calls every method many times at once, by reflection alone."""

import collections
import json
import os
import subprocess
import uuid

import pytest

from grpc_client import ENDED, Client, pb
from program import PATIENCE_S, ROOT
from wait import until

GHZ = os.path.join(ROOT, "build/bin/ghz")  # scripts/ghz
SERVICE = pb.DESCRIPTOR.services_by_name["EventService"]
CALLS = 300
AT_ONCE = 30
HANDLERS = """
handlers:
  - match: "bad.>"
    simulate: { delay: 0ms, failure_rate: 1 }
    retry: { max_attempts: 2, backoff: 1ms }
  - match: "slow.>"
    simulate: { delay: 5s }
  - match: ">"
    simulate: { delay: 0ms }
"""


class Ghz:
    """Calls one method; `data` is one request, or several to be sent in turns."""

    def __init__(self, processor, method, data, *options, calls=CALLS, at_once=AT_ONCE):
        settings = {"call": f"{SERVICE.full_name}/{method}", "total": calls}
        settings |= {"concurrency": at_once, "connections": 3, "format": "json"}
        command = [GHZ, "--insecure", f"--data={json.dumps(data)}"]
        command += [f"--{name}={value}" for name, value in settings.items()]
        command += [*(options or ["--timeout=60s"]), processor.address]
        assert os.path.exists(GHZ), "ghz is missing: scripts/ghz"
        self.calls = calls
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def running(self):
        return self.process.poll() is None

    def codes(self):
        """How often each status came."""
        output, complaints = self.process.communicate(timeout=PATIENCE_S + 100)
        assert self.process.returncode == 0, complaints
        report = json.loads(output)
        assert report["count"] == self.calls, report
        return report["statusCodeDistribution"]


@pytest.fixture
def stack(tidings):
    """One processor, and events that have ended."""
    tidings.nats()
    tidings.one = tidings.processor(config=HANDLERS)
    tidings.post = tidings.gateway().http.post
    tidings.good = [tidings.post({"name": "good.one"}).event_id for _ in range(20)]
    tidings.bad = [tidings.post({"name": "bad.one"}).event_id for _ in range(10)]
    tidings.ids = tidings.good + tidings.bad
    with Client(tidings.one.address) as client:
        tidings.client = client
        until_ended(client, tidings.ids)
        yield tidings


def until_ended(client, event_ids, generation=0):
    """Whatever they have become, in that life or a later one."""

    def ended():
        found = [result.status for result in client.batch(event_ids).results]
        return all(s.status in ENDED and s.generation >= generation for s in found) and found

    return until(ended, PATIENCE_S + 20, "all have ended")


def until_nobody_watches(client):
    until(
        lambda: (s := client.stats()).watchers + s.event_watchers == 0,
        PATIENCE_S,
        lambda: f"all streams are forgotten: {client.stats()}",
    )


def requests(stack, replay_id):
    """For each method what it is asked; WatchEvents, which never ends, has tests of its own."""
    both = ("BASIC", "FULL")
    replay = {"replay_id": replay_id}
    # Templates are ghz's: each of these calls starts a replay of its own.
    again = {"name": "good.*", "statuses": ["PROCESSED"], "replay_id": "{{newUUID}}"}
    return {
        "GetEventStatus": [{"event_id": id_, "view": view} for id_ in stack.ids for view in both],
        "BatchGetEventStatus": {"event_ids": stack.ids},
        "ListEvents": [{"statuses": ["DEAD"], "page_size": 3}, {"name": "good.*"}, {}],
        "WatchEvent": [{"event_id": event_id} for event_id in stack.ids],
        "ReplayEvents": [{"name": "bad.*", "dry_run": True}, again],
        "GetReplay": replay,
        "WatchReplay": replay,
        "CancelReplay": replay,
        "ListReplays": [{}, {"page_size": 2}],
        "GetStats": [{}, {"floor_position": 5}],
    }


def test_every_method_answers_hundreds_of_calls(stack):
    asked = pb.ReplayEventsRequest(event_ids=stack.bad[:1])
    *_, done = stack.client.events.ReplayEvents(asked, timeout=PATIENCE_S)
    table = requests(stack, done.replay_id)
    assert {*table, "WatchEvents"} == {method.name for method in SERVICE.methods}
    codes = {method: Ghz(stack.one, method, data).codes() for method, data in table.items()}
    assert codes == {method: {"OK": CALLS} for method in table}
    replayed = until_ended(stack.client, stack.good, generation=1)
    assert {event.status for event in replayed} == {pb.EventStatus.PROCESSED}
    assert len(stack.client.events.ListReplays(pb.ListReplaysRequest(page_size=1000)).replays) == (
        1 + CALLS // 2
    )
    until_nobody_watches(stack.client)


def test_streams_that_never_end_are_cancelled(stack):
    watches = [{}, {"after_position": 0}, {"name": "bad.*"}]
    ghz = Ghz(stack.one, "WatchEvents", watches, "--stream-call-count=1", "--timeout=60s")
    assert ghz.codes() == {"Canceled": CALLS}, "after the first message"
    until_nobody_watches(stack.client)


def test_streams_that_never_end_have_deadlines(stack):
    ghz = Ghz(stack.one, "WatchEvents", [{}, {"after_position": 0}], "--timeout=1s")
    until(
        lambda: stack.client.stats().watchers > 1 or not ghz.running(),
        PATIENCE_S,
        lambda: f"several at a time: {stack.client.stats()}",
    )
    assert ghz.running(), ghz.codes()
    assert ghz.codes() == {"DeadlineExceeded": CALLS}
    until_nobody_watches(stack.client)


def test_streams_that_wait_end_with_their_events(stack):
    ids = [stack.post({"name": "slow.one"}).event_id for _ in range(50)]
    ghz = Ghz(stack.one, "WatchEvent", [{"event_id": event_id} for event_id in ids], at_once=100)
    until(
        lambda: stack.client.stats().event_watchers > AT_ONCE or not ghz.running(),
        PATIENCE_S,
        lambda: f"they wait: {stack.client.stats()}",
    )
    assert ghz.running(), ghz.codes()
    assert ghz.codes() == {"OK": CALLS}
    ended = {event.status for event in until_ended(stack.client, ids)}
    assert ended == {pb.EventStatus.PROCESSED}
    until_nobody_watches(stack.client)


def test_a_replay_that_hundreds_ask_for_runs_once(stack):
    """All with its one replay_id; each is told of it until it has ended."""
    asked = {"name": "bad.*", "statuses": ["DEAD"], "rate": 5, "replay_id": str(uuid.uuid4())}
    assert Ghz(stack.one, "ReplayEvents", asked, at_once=100).codes() == {"OK": CALLS}
    (replay,) = stack.client.events.ListReplays(pb.ListReplaysRequest()).replays
    assert (replay.replay_id, replay.replayed) == (asked["replay_id"], len(stack.bad))
    lives = collections.Counter(e.generation for e in until_ended(stack.client, stack.bad, 1))
    assert lives == {1: len(stack.bad)}

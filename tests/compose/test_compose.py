"""docker compose up, as the README says: scaled, killed, restarted and taken down under load."""

import collections
import json
import os
import random
import signal
import subprocess
import threading
import uuid

import grpc
import pytest

from compose import START_S, Compose
from documents import blocks, paths, readme_commands
from grpc_client import Client, Status
from http_client import EVENTS, Closed, Http, Load
from make_run import TOOLS
from wait import until

MIB = 1 << 20
ONE = "docker compose up --build"
THREE = "docker compose up --build --scale event-processor=3"
SCALE = "docker compose up --detach --no-recreate --scale event-processor=5"
ROLL = (
    "for id in $(docker compose ps --quiet event-processor); do "
    'docker restart -t 40 "$id"; until docker exec "$id" healthcheck 9091; do sleep 0.2; done; done'
)
DOWN = "docker compose down"
DROP = "docker compose down --volumes"
CLUSTER = "docker compose --env-file docker/cluster.env up --build"
CLUSTER_DOWN = "docker compose --env-file docker/cluster.env down"


@pytest.fixture(scope="module")
def stack():
    compose = Compose("one")
    try:
        compose.shell(THREE)
        yield compose
    finally:
        compose.down()


def statuses(stack, ids):
    """How many of them have which status, as a processor says."""
    with Client(f"127.0.0.1:{stack.ports[9090]}") as client:
        answers = [answer for _, answer in client.ask_all(ids)]
    errors = [answer for answer in answers if isinstance(answer, grpc.RpcError)]
    return collections.Counter(
        answer.code().name if answer in errors else Status.Name(answer.status) for answer in answers
    )


def assert_all_processed(stack, ids):
    assert ids
    until(
        lambda: statuses(stack, ids) == {"PROCESSED": len(ids)},
        START_S,
        lambda: f"{statuses(stack, ids)}\n{stack.logs()}",
    )


def answering(stack, count):
    """Whether that many processors answer at the one address, and no others."""
    names = set()
    for _ in range(3 * count):
        with Client(f"127.0.0.1:{stack.ports[9090]}") as client:
            names.add(client.stats().processor)
    return len(names) == count


def is_ready(container):
    command = ["docker", "exec", container, "healthcheck", "9091"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def shell(stack, text):
    for port, own in stack.ports.items():
        text = text.replace(f"localhost:{port}", f"localhost:{own}")
    environment = {**os.environ, "PATH": f"{TOOLS}:{os.environ['PATH']}"}
    return subprocess.run(
        text, shell=True, capture_output=True, text=True, timeout=60, env=environment, check=False
    )


def test_the_commands_of_the_readme(stack):
    post, services, describe, status, unknown, get, full, *again = readme_commands()
    reply = shell(stack, post)
    assert reply.stdout.startswith("HTTP/1.1 202 Accepted"), reply
    event_id = json.loads(reply.stdout.splitlines()[-1])["event_id"]
    assert_all_processed(stack, [event_id])
    assert "events.EventService" in shell(stack, services).stdout
    assert "GetEventStatus" in shell(stack, describe).stdout
    status = shell(stack, status.replace("<the id from the 202>", event_id))
    assert json.loads(status.stdout)["status"] == "PROCESSED"
    assert "NotFound" in shell(stack, unknown).stderr
    assert json.loads(shell(stack, get.replace("<id>", event_id)).stdout)["status"] == "processed"
    full = shell(stack, full.replace("<id>", event_id))
    assert json.loads(full.stdout)["payload"] == "some data"
    assert json.loads(shell(stack, again[0]).stdout)["status"] == "accepted"
    assert json.loads(shell(stack, again[1]).stdout)["duplicate"] is True


def test_the_documents_commands_are_run():
    """Those with docker are this file's: each of them above is used by a test."""
    documented = {c for path in paths() for block in blocks(path) for c in block.commands}
    ours = {ONE, THREE, SCALE, ROLL, DOWN, DROP, CLUSTER, CLUSTER_DOWN}
    assert {command for command in documented if "docker " in command} == ours


def test_containers_are_locked_down(stack):
    for service in ("http-gateway", "event-processor", "grpc"):
        for container in stack.containers(service):
            assert container["Config"]["User"] == "10001:10001"
            host = container["HostConfig"]
            assert host["ReadonlyRootfs"] and host["CapDrop"] == ["ALL"] and host["Memory"] > 0
            assert host["LogConfig"]["Config"]["max-size"]
            assert container["Config"]["StopTimeout"] > 25 + 2, "the drain time-out and its margin"


def test_images_are_small(stack):
    def size(image):
        text = subprocess.run(
            ["docker", "image", "inspect", image], capture_output=True, text=True, check=True
        ).stdout
        return json.loads(text)[0]["Size"]

    base = size(os.environ.get("DEBIAN", "debian:bookworm-slim"))
    for service in ("http-gateway", "event-processor"):
        added = size(stack.containers(service)[0]["Image"]) - base
        print(f"{service}: {added / MIB:.1f} MiB above its base")
        assert added < 80 * MIB


def test_all_processors_answer_at_one_address(stack):
    until(lambda: answering(stack, 3), START_S, stack.logs)


def test_a_killed_processor_loses_nothing_and_comes_back(stack):
    victim = stack.containers("event-processor")[1]
    with Load([stack.ports[8080]], clients=4, rate=200) as load:
        until(lambda: len(load.accepted) > 50, START_S, "some are accepted")
        os.kill(victim["State"]["Pid"], signal.SIGKILL)
        count = len(load.accepted)
        until(lambda: len(load.accepted) > count + 200, START_S, "others go on")
    assert load.replies == {202: len(load.accepted)} and load.broken == 0
    until(lambda: answering(stack, 3), START_S, stack.logs)
    assert_all_processed(stack, load.accepted)


def test_a_restarted_gateway_loses_nothing(stack):
    with Load([stack.ports[8080]], clients=4, rate=200) as load:
        until(lambda: len(load.accepted) > 50, START_S, "some are accepted")
        stack("restart", "http-gateway")
        count = len(load.accepted)
        until(lambda: len(load.accepted) > count + 100, START_S, "it accepts again")
    assert set(load.replies) <= {202, 503}, load.other
    assert_all_processed(stack, load.accepted)


class Reads:
    """Asks the gateway for events of a load, one after the other, until it is left."""

    def __init__(self, stack, load):
        self.stack, self.load = stack, load
        self.answered, self.failed = 0, []
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join(START_S)

    def run(self):
        while not self.over.is_set():
            event_id = random.choice(self.load.accepted)
            try:
                reply = self.stack.http.get(f"{EVENTS}/{event_id}")
            except (OSError, Closed) as failure:
                reply = failure
            if getattr(reply, "status", None) == 200:
                self.answered += 1
            else:
                self.failed.append(reply)

    def more(self, count):
        goal = self.answered + count
        until(lambda: self.answered >= goal, START_S, lambda: f"answers; {self.failed}")


def test_scaling_and_rolling_restarts_fail_no_request(stack):
    with Load([stack.ports[8080]], clients=4, rate=200) as load:
        until(lambda: len(load.accepted) > 50, START_S, "some are accepted")
        with Reads(stack, load) as reads:
            for processors in (1, 5, 3):
                stack.shell(SCALE.replace("5", str(processors)))
                until(lambda n=processors: answering(stack, n), START_S, stack.logs)
                reads.more(200)
            stack.shell(ROLL)
            until(lambda: answering(stack, 3), START_S, stack.logs)
            reads.more(200)
    assert not reads.failed, (len(reads.failed), reads.answered, reads.failed[:5], stack.logs())
    assert load.replies == {202: len(load.accepted)} and load.broken == 0, load.other
    assert_all_processed(stack, load.accepted)


def test_what_is_known_is_answered_while_nats_is_away(stack):
    known = [stack.http.post({"name": "known", "payload": n}).event_id for n in range(20)]
    assert_all_processed(stack, known)
    stack("stop", "nats")
    try:
        until(lambda: Http.answers(stack.ports[8080], "/ready", 503), START_S, stack.logs)
        for container in stack.containers("event-processor"):
            until(lambda c=container["Id"]: not is_ready(c), START_S, stack.logs)
        unknown = str(uuid.uuid4())
        until(  # the proxy looks once a second who is ready
            lambda: statuses(stack, [*known, unknown])
            == {"PROCESSED": len(known), "UNAVAILABLE": 1},
            START_S,
            lambda: f"{statuses(stack, [*known, unknown])}\n{stack.logs()}",
        )
        assert stack.http.get(f"{EVENTS}/{known[0]}").json()["status"] == "processed"
        assert stack.http.get(f"{EVENTS}/{unknown}").status == 503
        assert stack.http.post({"name": "refused", "payload": 1}).status == 503
    finally:
        stack("start", "nats")
    until(lambda: Http.answers(stack.ports[8080], "/ready", 200), START_S, stack.logs)
    assert stack.http.post({"name": "known", "payload": 20}).status == 202
    until(lambda: answering(stack, 3), START_S, stack.logs)


def test_what_was_accepted_is_there_after_down_and_up(stack):
    ids = [stack.http.post({"name": "kept", "payload": n}).event_id for n in range(20)]
    assert_all_processed(stack, ids)
    stack.shell(DOWN)
    stack.shell(ONE)
    assert statuses(stack, ids) == {"PROCESSED": len(ids)}
    assert "snapshot loaded" in stack("logs", "event-processor")
    stack.shell(DROP)
    stack.shell(ONE)
    assert stack.http.get(f"{EVENTS}/{ids[0]}").status == 404


def test_three_nats_servers_survive_the_death_of_one():
    cluster = Compose("three", "--env-file", "docker/cluster.env")
    try:
        cluster.shell(CLUSTER)
        with Load([cluster.ports[8080]], clients=2, rate=50) as load:
            until(lambda: len(load.accepted) > 50, START_S, "some are accepted")
            os.kill(cluster.containers("nats-2")[0]["State"]["Pid"], signal.SIGKILL)
            count = len(load.accepted)
            until(lambda: len(load.accepted) > count + 100, START_S, "others go on")
        assert_all_processed(cluster, load.accepted)
        cluster.shell(CLUSTER_DOWN)
        assert cluster("ps", "--all", "--quiet") == ""
    finally:
        cluster.down()

"""The README is a promise, too: `make run`'s script, and then its commands, word by word."""

import json
import os
import re
import signal
import socket
import subprocess

import pytest

from program import BUILD, PATIENCE_S, ROOT, Program, clean_environment
from tidings import free_port
from wait import until

VARIABLES = {8080: "TIDINGS_HTTP_LISTEN", 9090: "TIDINGS_GRPC_LISTEN", 9091: "TIDINGS_ADMIN_LISTEN"}
GRPCURL = os.path.join(ROOT, "build/bin")


class Run(Program):
    """scripts/run on other ports and with its data elsewhere."""

    def __init__(self, folder, ports=None):
        self.ports = ports or {port: free_port() for port in (*VARIABLES, 4222)}
        environment = {name: f"127.0.0.1:{self.ports[port]}" for port, name in VARIABLES.items()}
        environment["TIDINGS_BUS"] = f"nats://127.0.0.1:{self.ports[4222]}"
        environment["TIDINGS_BUILD"] = BUILD
        self.var = os.path.join(folder, "var")
        super().__init__(
            "run", folder, [os.path.join(ROOT, "scripts/run"), "--var", self.var], environment
        )

    def until_ready(self):
        until(
            lambda: "Ready. Send an event" in self.log() or not self.alive(),
            2 * PATIENCE_S,
            lambda: f"it says that it is ready\n{self.tail()}",
        )
        assert self.alive(), self.tail()
        return self

    def children(self):
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/stat", encoding="utf-8") as stat:
                    fields = stat.read().rpartition(")")[2].split()
                with open(f"/proc/{pid}/cmdline", encoding="utf-8") as line:
                    if int(fields[1]) == self.pid:
                        found.append((int(pid), line.read().split("\0")[0]))
            except OSError:
                continue
        return {os.path.basename(program): pid for pid, program in found}

    def shell(self, text):
        """Runs a command of the README in a shell, with our ports for the documented ones."""
        for port, own in self.ports.items():
            text = text.replace(f"localhost:{port}", f"localhost:{own}")
        environment = clean_environment()
        environment["PATH"] = f"{GRPCURL}:{environment['PATH']}"
        return subprocess.run(
            text,
            shell=True,
            capture_output=True,
            text=True,
            timeout=60,
            env=environment,
            check=False,
        )


@pytest.fixture
def run(tmp_path):
    program = Run(str(tmp_path))
    yield program
    program.discard()


def readme_commands():
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as readme:
        blocks = re.findall(r"```sh\n(.*?)```", readme.read(), re.S)
    lines = [line for block in blocks for line in block.splitlines()]
    return [line for line in lines if line.startswith(("curl ", "grpcurl "))]


def test_the_commands_of_the_readme(run):
    run.start().until_ready()
    post, services, describe, status, unknown, get, full, *again = readme_commands()

    reply = run.shell(post)
    assert reply.stdout.startswith("HTTP/1.1 202 Accepted"), reply
    event_id = json.loads(reply.stdout.splitlines()[-1])["event_id"]

    assert "events.EventService" in run.shell(services).stdout.splitlines()
    assert "grpc.health.v1.Health" in run.shell(services).stdout
    assert (
        "rpc GetEventStatus ( .events.GetEventStatusRequest ) returns ( .events.EventStatus )"
        in run.shell(describe).stdout
    )

    status = status.replace("<the id from the 202>", event_id)
    until(
        lambda: json.loads(run.shell(status).stdout).get("status") == "PROCESSED",
        PATIENCE_S,
        lambda: run.shell(status),
    )
    answer = json.loads(run.shell(status).stdout)
    assert answer["eventId"] == event_id and answer["name"] == "test-event"

    reply = run.shell(unknown)
    assert reply.returncode != 0 and "NotFound" in reply.stderr and "123" in reply.stderr

    assert json.loads(run.shell(get.replace("<id>", event_id)).stdout)["status"] == "processed"
    assert json.loads(run.shell(full.replace("<id>", event_id)).stdout)["payload"] == "some data"

    *again, replay, dry_run = again
    first, second, found = (json.loads(run.shell(command).stdout) for command in again)
    assert first == {"event_id": first["event_id"], "status": "accepted"}
    assert second == {**first, "duplicate": True}
    assert found["event_id"] == first["event_id"]

    reply = json.loads(run.shell(replay.replace("<id>", event_id)).stdout)
    assert reply["filter"]["event_ids"] == [event_id]
    until(
        lambda: (answer := json.loads(run.shell(status).stdout)).get("generation") == 1
        and answer["status"] == "PROCESSED",
        PATIENCE_S,
        lambda: run.shell(status),
    )
    counted = json.loads(run.shell(dry_run).stdout)
    assert counted["dry_run"] is True and counted["matched"] == 0


def test_what_it_says_to_try_is_what_the_readme_says(run):
    run.start().until_ready()
    printed = [line.strip() for line in run.log().splitlines()]
    for command in readme_commands()[:4]:
        for port, own in run.ports.items():
            command = command.replace(f"localhost:{port}", f"localhost:{own}")
        command = command.replace("<the id from the 202>", "<id>")
        assert any(line.endswith(command) for line in printed), f"not printed: {command}"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ends_all_in_order_and_keeps_what_was_accepted(run, number):
    run.start().until_ready()
    post = readme_commands()[0]
    event_id = json.loads(run.shell(post).stdout.splitlines()[-1])["event_id"]
    children = run.children()
    assert set(children) == {"nats-server", "event-processor", "http-gateway"}

    run.signal(number)
    assert run.process.wait(2 * PATIENCE_S) == 0, run.tail()

    assert not any(
        os.path.exists(f"/proc/{pid}") for pid in children.values()
    ), "something is left behind"
    for port in run.ports.values():
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0, f"port {port} still answers"

    run.start().until_ready()
    get = readme_commands()[5].replace("<id>", event_id)
    assert json.loads(run.shell(get).stdout)["status"] == "processed"


@pytest.mark.parametrize("victim", ["nats-server", "event-processor", "http-gateway"])
def test_a_child_that_dies_ends_all_with_the_reason(run, victim):
    run.start().until_ready()
    children = run.children()
    os.kill(children[victim], signal.SIGKILL)
    assert run.process.wait(2 * PATIENCE_S) == 1
    assert f"{victim} was killed by SIGKILL" in run.log()
    assert not any(
        os.path.exists(f"/proc/{pid}") for pid in children.values()
    ), "something is left behind"


def runs(pid):
    """Not so a process that has ended and that nobody asks about: a container may have no init."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_nothing_is_left_when_the_script_itself_is_killed(run):
    run.start().until_ready()
    children = run.children()
    run.kill()
    until(
        lambda: not any(runs(pid) for pid in children.values()),
        2 * PATIENCE_S,
        f"all of {children} end",
    )


@pytest.mark.parametrize("port", [8080, 9090, 9091, 4222])
def test_a_taken_port_is_named_with_its_owner_before_anything_starts(run, port):
    with socket.create_server(("127.0.0.1", run.ports[port])):
        run.start()
        assert run.process.wait(PATIENCE_S) == 1
    words = run.log()
    assert f"port {run.ports[port]}" in words and f"process {os.getpid()} (" in words
    assert "Starting nats-server" not in words


def test_two_on_one_folder_are_refused(run, tmp_path):
    run.start().until_ready()
    second = Run(str(tmp_path))
    second.log_path += ".second"
    try:
        second.start()
        assert second.process.wait(PATIENCE_S) == 1
        assert f"process {run.pid}" in second.log()
        assert run.alive()
    finally:
        second.discard()


def test_output_is_prefixed(run):
    run.start().until_ready()
    names = {line.split("|")[0].strip() for line in run.log().splitlines() if "|" in line}
    assert {"nats", "processor", "gateway"} <= names


def test_make_help_lists_every_target():
    text = subprocess.run(
        ["make", "help"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    ).stdout
    for target in (
        "run",
        "test",
        "quick",
        "lint",
        "asan-test",
        "tsan-test",
        "fuzz",
        "bench",
        "clean",
    ):
        assert f"make {target} " in text


def test_nobody_is_warned_of_the_variables_of_the_other(run):
    """But a slip in a name is told."""
    run.environment["TIDINGS_GRUOP"] = "slip"
    run.start().until_ready()
    warned = set(re.findall(r"(TIDINGS_\w+): unknown", run.log()))
    assert warned == {"TIDINGS_GRUOP"}

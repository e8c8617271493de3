"""`make run`: its script starts all and ends all, whatever happens."""

import json
import os
import re
import signal
import socket
import subprocess

import pytest

from documents import readme_commands
from make_run import Run
from program import PATIENCE_S, ROOT
from wait import until

pytestmark = pytest.mark.documents


@pytest.fixture
def run(tmp_path):
    program = Run(str(tmp_path))
    yield program
    program.discard()


def test_what_it_says_to_try_is_what_the_readme_says(run):
    run.start().until_ready()
    printed = [line.strip() for line in run.log().splitlines()]
    for command in readme_commands()[:4]:
        command = run.own(command).replace("<the id from the 202>", "<id>")
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
    assert "snapshot loaded" in run.log()


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

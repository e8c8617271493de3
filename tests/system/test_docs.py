"""Each ```sh block of README, docs/ and examples/ is run as it stands, but for ports and ids.

What is shown beside a command is what must come out, with ids and times compared by shape. What has
no such output, or is done in another way here, stands in CHECKS with the reason. A command that is
in neither fails: say there how it is checked.
"""

import glob
import json
import os
import re
import subprocess
import time

import pytest

from documents import blocks, outside_fences, paths, read
from http_client import Connection
from make_run import Run
from program import BUILD, PATIENCE_S, ROOT, SANITIZED
from shapes import Differs, compare
from wait import POLL_S, until

DOCUMENTS = [path for path in paths() if blocks(path)]
ORDER = "docs/http-api.md"  # its first block sends the event that others ask for


class Reader:
    """Who reads the documents and tries everything, in a folder that looks like the repository."""

    def __init__(self, run, folder):
        self.run, self.folder = run, folder
        self.ids = {}  # documented -> here
        self.last_id = None  # of the latest 202; what <id> in a document stands for
        for name in ("examples", "scripts", "tests"):
            os.symlink(os.path.join(ROOT, name), os.path.join(folder, name))
        os.symlink(BUILD, os.path.join(folder, "build"))

    def own(self, command):
        for documented, here in self.ids.items():
            command = command.replace(documented, here)
        return re.sub(r"<(?:the )?id[^>]*>", str(self.last_id), command)

    def shell(self, command, limit_s=60, folder=None):
        done = self.run.shell(self.own(command), folder or self.folder, limit_s)
        accepted = re.search(r'"event_id":"([^"]+)","status":"accepted"', done.stdout)
        if accepted:
            self.last_id = accepted.group(1)
        return done

    def has_sent_the_order(self):
        if not self.ids:
            block = blocks(ORDER)[0]
            shows(self, block.commands[0], block.output)


# ---- ways to check a command: each is called with the reader and the command ----


def succeeds(done, command):
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def says(*patterns):
    """It succeeds, and its output has all of these."""

    def check(reader, command):
        def all_said():
            text = succeeds(reader.shell(command), command)
            said.append(text)
            return all(re.search(pattern, text) for pattern in patterns)

        said = []
        if asks(command):
            until(all_said, PATIENCE_S, lambda: f"{command} says {patterns}\n{said[-1]}")
        else:
            assert all_said(), f"{command} says {patterns}\n{said[-1]}"

    return check


def refuses(*patterns):
    """It fails, and says these."""

    def check(reader, command):
        done = reader.shell(command)
        assert done.returncode != 0 and all(p in done.stderr for p in patterns), done

    return check


def goes_on(pattern, after=None):
    """It runs until it is stopped, and says this before; `after`: what makes it say so."""

    def check(reader, command):
        with running(reader, command) as text:
            if after:
                succeeds(reader.shell(after), after)
            until(
                lambda: re.search(pattern, text()),
                PATIENCE_S,
                lambda: f"{command} says {pattern}\n{text()}",
            )

    return check


class running:
    """A command in the background; gives a function that returns what it has said."""

    def __init__(self, reader, command, **variables):
        self.path = os.path.join(reader.folder, "output")
        with open(self.path, "wb") as output:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "sh", "-c", f"exec {reader.run.own(command)}"],
                cwd=reader.folder,
                env={**reader.run.surroundings(), **variables},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    def text(self):
        with open(self.path, encoding="utf-8", errors="replace") as output:
            return output.read()

    def __enter__(self):
        return self.text

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


def instead(command, reason, check, here=True):
    """Another command is run in its place. `here`: only where the build is not one with sanitizers."""
    assert reason

    def other(reader, _):
        if here or not SANITIZED:
            check(reader, command)

    return other


def elsewhere(where, marker):
    """It is run by another test, which has this text."""

    def check(_, command):
        assert marker in read(where), f"{command}: {where} has no {marker!r}"

    return check


def in_the_repository(pattern, limit_s):
    """For make, which wants the Makefile's folder."""

    def check(reader, command):
        assert re.search(pattern, succeeds(reader.shell(command, limit_s, ROOT), command))

    return check


def checks_a_configuration(reader, command):
    """docs/config.md's own example; then the slips whose messages it shows."""
    text = read("docs/config.md")
    path = os.path.join(reader.folder, "processor.yaml")
    with open(path, "w", encoding="utf-8") as out:
        out.write(re.search(r"```yaml\n(# processor.yaml\n.*?)```", text, re.S).group(1))
    succeeds(reader.shell(command), command)
    with open(path, "w", encoding="utf-8") as out:
        out.write("group: orders\n\nlog-levl: debug\n")
    done = reader.shell(f"{command} --concurrency 0")
    shown = re.search(r"```\n(event-processor: processor.yaml:3: .*?)```", text, re.S).group(1)
    assert done.returncode == 2 and done.stderr.splitlines() == shown.splitlines(), done


def gives_consent(reader, command):
    """The gateway that is started so answers the request that is shown as it is shown."""
    shown = re.search(r"```\n(OPTIONS .*?)\n\n(HTTP.*?)```", read(ORDER), re.S)
    request, answer = (part.splitlines() for part in shown.groups())
    places = {"TIDINGS_HTTP_LISTEN": "127.0.0.1:0", "TIDINGS_BUS": reader.run.bus}
    with running(reader, command, **places) as text:
        port = until(
            lambda: re.search(r'"listener":"listen".*?"port":(\d+)', text()),
            PATIENCE_S,
            lambda: f"{command} listens\n{text()}",
        ).group(1)
        with Connection(int(port)) as connection:
            connection.send("\r\n".join([*request, "", ""]).encode())
            reply = connection.receive(body=False)
    assert f"HTTP/1.1 {reply.status} No Content" == answer[0]
    for name, _, value in (line.partition(": ") for line in answer[1:]):
        assert reply.headers[name.lower()] == value


def confirms_an_order(reader, command):
    """With the worker of the line before."""
    with running(reader, "python3 examples/orders/worker.py") as text:
        done = reader.shell(command)
        assert "order.confirmed" in succeeds(done, command) and "order.created" in text(), text()


def leaves_a_file(name):
    def check(reader, command):
        succeeds(reader.shell(command), command)
        assert os.path.getsize(os.path.join(reader.folder, name)) > 0

    return check


COMPOSE = elsewhere("tests/compose/test_compose.py", "def test_the_documents_commands_are_run(")
WATCH = """grpcurl -plaintext -d '{"service":"events.EventService"}' localhost:9090 """
CHECKS = {
    "make run": elsewhere("tests/lib/make_run.py", "scripts/run"),
    "make test": elsewhere(".ci/run", "make test"),
    "docker compose up --build": COMPOSE,
    "docker compose up --build --scale event-processor=3": COMPOSE,
    "docker compose up --detach --no-recreate --scale event-processor=5": COMPOSE,
    'for id in $(docker compose ps --quiet event-processor); do docker restart "$id"; done': COMPOSE,
    "docker compose down": COMPOSE,
    "docker compose down --volumes": COMPOSE,
    "docker compose --env-file docker/cluster.env up --build": COMPOSE,
    # README
    "grpcurl -plaintext localhost:9090 list": says("events.EventService", "grpc.health.v1.Health"),
    "grpcurl -plaintext localhost:9090 describe events.EventService": says(
        r"rpc GetEventStatus \( .events.GetEventStatusRequest \) returns \( .events.EventStatus \)"
    ),
    """grpcurl -plaintext -d '{"event_id":"<the id from the 202>"}' localhost:9090 """
    "events.EventService/GetEventStatus": says('"status": "PROCESSED"', '"name": "test-event"'),
    """grpcurl -plaintext -d '{"event_id":"123"}' localhost:9090 """
    "events.EventService/GetEventStatus": refuses("NotFound", "123"),
    "curl -s http://localhost:8080/api/v1/events/<id>": says('"status":"processed"'),
    "curl -s 'http://localhost:8080/api/v1/events/<id>?view=full'": says('"payload":"some data"'),
    "curl -s http://localhost:8080/api/v1/events -H \"Content-Type: application/json\" -d "
    """'{"id":"order-7","source":"/shop","name":"order.created","payload":{"total":12.5}}'""": says(
        '"status":"accepted"}$'
    ),
    'curl -s http://localhost:8080/api/v1/events -H "ce-specversion: 1.0" -H "ce-id: order-7" '
    '-H "ce-source: /shop" -H "ce-type: order.created" -H "Content-Type: application/json" '
    """-d '{"total":12.5}'""": says('"status":"accepted","duplicate":true}$'),
    "curl -s 'http://localhost:8080/api/v1/events/order-7?source=/shop'": says(
        '"name":"order.created"', '"status":"processed"'
    ),
    # docs/http-api.md
    'curl -i http://localhost:8080/api/v1/events -H "Content-Type: application/cloudevents+json" -d '
    """'{"specversion":"1.0","id":"7","source":"/shop","type":"order.created","data":{"order":7}}'""":
    says("^HTTP/1.1 202 Accepted", '"status":"accepted"'),
    "curl -i http://localhost:8080/api/v1/events -H \"Content-Type: application/xml\" -d '<order/>' "
    '-H "ce-specversion: 1.0" -H "ce-id: 8" -H "ce-source: /shop" -H "ce-type: order.created"': says(
        "^HTTP/1.1 202 Accepted", '"status":"accepted"'
    ),
    "curl -s 'http://localhost:8080/api/v1/events/order%2F7?source=/shop'": says(
        "urn:tidings:problem:not-found", "order/7", "/shop"  # of the form that it shows, but not sent
    ),
    "build/http-gateway --webhook-origins eventgrid.azure.net,events.example.com": gives_consent,
    # docs/grpc-api.md
    """grpcurl -plaintext -d '{"event_id":"01a20da3-2fa2-7f15-bd07-88fd2d6b93ff"}' localhost:9090 """
    "events.EventService/GetEventStatus": says('"status": "PROCESSED"'),
    "grpcurl -plaintext localhost:9090 grpc.health.v1.Health/Check": says('"status": "SERVING"'),
    WATCH + "grpc.health.v1.Health/Watch": goes_on('"status": "SERVING"'),
    "grpcurl -plaintext localhost:9090 describe events.EventStatus.Status": says("enum Status"),
    "grpcurl -plaintext -protoset-out tidings.protoset localhost:9090 describe events.EventService":
    leaves_a_file("tidings.protoset"),
    # docs/bus.md
    "nats stream ls": says("TIDINGS_EVENTS", "TIDINGS_STATUS_default", "TIDINGS_DEAD"),
    'nats sub --all "tidings.events.order.>"': goes_on(
        "tidings.events.order.created"
    ),
    "nats stream get TIDINGS_EVENTS 1": says("(?i)tidings-event-id: .{36}"),
    "nats consumer info TIDINGS_EVENTS default": says("TIDINGS_EVENTS > default", "Unprocessed"),
    # docs/config.md
    "build/event-processor --help": says(*(f"--{flag}" for flag in ("bus", "group", "config"))),
    "build/event-processor --check-config --config processor.yaml": checks_a_configuration,
    # docs/simulation.md
    "make sim": instead(
        "make sim COUNT=20",
        "2,000 take minutes, and .ci/run has a gate for them; it builds without sanitizers only",
        in_the_repository("20 histories", 600),
        here=False,
    ),
    "make sim SEED=5000 COUNT=100000": instead(
        "make sim SEED=5000 COUNT=18",
        "100,000 take an hour",
        in_the_repository("18 histories", 600),
        here=False,
    ),
    "build/sim 5017": instead(
        "build/sim 5017",
        "the program is in build/ only",
        in_the_repository("", 60),
        here=False,
    ),
    # docs/operations.md
    "tests/bench/durability": instead(
        "BENCH_SECONDS=1 tests/bench/durability",
        "its runs are longer to mean something",
        says("one server", "three servers, three copies"),
    ),
    "build/venv/bin/python tests/bench/sizes": instead(
        "BENCH_SECONDS=1 build/venv/bin/python tests/bench/sizes",
        "as before; and build/venv is in the repository only",
        in_the_repository("status table", 120),
    ),
    # examples/README.md
    "examples/curl-session.sh": says(
        '"status":"accepted"}\nHTTP 202',
        '"duplicate":true}\nHTTP 202',
        "id-reused.*\nHTTP 409",
        "problem:invalid.*\nHTTP 422",
        '"status":"processed".*"payload":{"total":12.5}',
    ),
    "python3 examples/consumer.py": goes_on(
        "tidings.events.order.created", after="examples/curl-session.sh"
    ),
    "python3 examples/orders/worker.py": goes_on(
        "order.created .* -> order.confirmed", after="examples/curl-session.sh"
    ),
    "examples/orders/place-order.sh 4711": confirms_an_order,
}


def asks(command):
    """Whether it may be run again until its answer is the one that is shown."""
    return not (command.startswith("curl ") and (" -d " in command or " -X " in command))


def parts(output):
    """What is shown, or has come out: status line, headers, JSON (None where there is none)."""
    start, headers, body = "", {}, output.strip().replace("\r\n", "\n")
    if body.startswith("HTTP/"):
        head, _, body = body.partition("\n\n")
        start, *lines = head.split("\n")
        headers = dict(line.lower().split(": ", 1) for line in lines if ": " in line)
    if body.startswith(("{", "[")):
        return start, headers, json.loads(body)
    return start, headers, body


def compare_outputs(shown, actual, ids):
    """An output has all the headers that are shown, and maybe more."""
    (start, headers, body), (own_start, own_headers, own_body) = parts(shown), parts(actual)
    compare(start, own_start, ids, "status line")
    compare(body, own_body, ids)
    for name, value in headers.items():
        compare(value, own_headers.get(name), ids, name)


def shows(reader, command, output):
    """What it prints is what is shown; what only asks is asked again until it is."""
    end = time.monotonic() + PATIENCE_S
    while True:
        done = reader.shell(command)
        try:
            # What sends gives the ids that it shows; what asks must get them again.
            known = reader.ids.items()
            ids = {shown: own for shown, own in known if asks(command) or shown not in output}
            compare_outputs(output, done.stdout or done.stderr, ids)
            reader.ids = ids
            return
        except (Differs, ValueError) as differs:
            if not asks(command) or time.monotonic() > end:
                raise AssertionError(f"{command}\n{differs}\n{done.stdout}{done.stderr}") from None
        time.sleep(POLL_S)


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("docs"))
    run = Run(folder)
    try:
        run.start().until_ready()
        yield Reader(run, folder)
    finally:
        run.discard()


def way(block, command):
    """How a command is checked: by its entry, or by the output that follows it as the last one."""
    if block.output and command == block.commands[-1] and not elsewhere_shown(command):
        return lambda reader, command: shows(reader, command, block.output)
    return CHECKS.get(command)


def elsewhere_shown(command):
    """Where the block that follows is not its output: its check looks at it."""
    return CHECKS.get(command) in (gives_consent, checks_a_configuration)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands(reader, document):
    reader.has_sent_the_order()
    for block in blocks(document):
        for command in block.commands:
            check = way(block, command)
            assert check, f"{block}: say in CHECKS how this is checked: {command}"
            check(reader, command)


def test_no_check_is_stale():
    documented = {c for path in DOCUMENTS for block in blocks(path) for c in block.commands}
    assert set(CHECKS) <= documented


@pytest.mark.parametrize("document", paths())
def test_no_command_stands_outside_a_block(document):
    """Indented, it would not be run."""
    command = r"^    +(\$ |make |build/|scripts/|examples/|curl |grpcurl |nats |docker |tests/)"
    assert not re.search(command, outside_fences(document), re.M)
    assert not re.search(r"^```\n\$ ", read(document), re.M)


# ---- README ----


def promises():
    return re.findall(r"`(scripts/system -k [^`]+)`", read("README.md"))


def test_each_promise_has_a_command():
    rows = re.findall(r"^\| \*\*[^*]+\.\*\*.*\|$", read("README.md"), re.M)
    assert len(rows) == 4 == len(promises())


@pytest.mark.parametrize("command", promises(), ids=range(4))  # their words would match themselves
def test_commands_that_try_to_break_a_promise_have_tests(command):
    environment = {**os.environ, "PYTEST_ADDOPTS": "--collect-only -q"}
    done = subprocess.run(
        command, shell=True, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120
    )
    collected = set(re.findall(r"^(?:tests/system/)?(test_\w+)\.py::", done.stdout, re.M))
    words = re.search(r'-k "?([^"]+)"?', command).group(1).split(" or ")
    assert done.returncode == 0 and collected == {f"test_{word}" for word in words}, done


def test_the_drawing_is_the_same_in_both_colours():
    def bare(path):
        return re.sub(r"#[0-9a-f]{6}", "", read(path))

    light, dark = re.findall(r'src(?:set)?="(docs/flow-[^"]+)"', read("README.md"))[::-1]
    assert bare(light) == bare(dark) and read(light) != read(dark)


def test_links_lead_somewhere():
    for document in [*paths(), "CHANGELOG.md"]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", outside_fences(document)):
            path = os.path.join(ROOT, os.path.dirname(document), target)
            assert os.path.exists(path), f"{document}: {target}"


def test_the_consumer_in_the_docs_is_the_example():
    assert f"```python\n{read('examples/consumer.py')}```" in read("docs/bus.md")


# ---- docs/operations.md ----


def messages_of(text):
    """What log_warn and log_error say in a source; None for each that isn't written out."""
    for call in re.finditer(r'\blog_(?:warn|error)\(\s*((?:"[^"]*"\s*)*)', text):
        yield "".join(re.findall(r'"([^"]*)"', call.group(1))) or None


def test_each_message_that_asks_for_action_is_explained():
    section = read("docs/operations.md").split("\n## What log messages ask for\n")[1]
    rows = re.findall(r"^\| (`.*?) \|", section.split("\n## ")[0], re.M)
    explained = [message for row in rows for message in re.findall(r"`([^`]+)`", row)]
    said = set()
    for path in glob.glob(f"{ROOT}/common/*.c") + glob.glob(f"{ROOT}/*-*/*.c"):
        with open(path, encoding="utf-8") as source:
            text = source.read()
        found = list(messages_of(text))
        if None in found:  # outcomes.c: its own warn() hands one on
            found.remove(None)
            found += re.findall(r'\bwarn\(held, "([^"]*)"', text)
            assert os.path.basename(path) == "outcomes.c" and None not in found, path
        said.update(found)
    assert len(explained) == len(set(explained)) and set(explained) == said

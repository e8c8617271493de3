"""Each ```sh block of README, docs/ and examples/ is run as it stands, but for ports and ids.

What is shown beside a command is what must come out, with ids and times compared by shape. What has
no such output, or is done in another way here, stands in CHECKS with the reason. A command that is
in neither fails: say there how it is checked.
"""

import glob
import os
import re

import pytest

from documents import anchors, blocks, links, outside_fences, paths, read
from http_client import Connection
from make_run import Run
from program import PATIENCE_S, ROOT
from reader import (
    Reader,
    Running,
    elsewhere,
    goes_on,
    in_the_repository,
    instead,
    leaves_a_file,
    refuses,
    says,
    shows,
    succeeds,
)
from wait import until

pytestmark = pytest.mark.documents
DOCUMENTS = [path for path in paths() if blocks(path)]
ORDER = "docs/http-api.md"  # its first block sends the event that others ask for


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
    text = read(ORDER).split(f"\n{command}\n")[1]
    shown = re.search(r"```\n(OPTIONS .*?)\n\n(HTTP.*?)```", text, re.S)
    request, answer = (part.splitlines() for part in shown.groups())
    places = {"TIDINGS_HTTP_LISTEN": "127.0.0.1:0", "TIDINGS_BUS": reader.run.bus}
    with Running(reader, command, **places) as text:
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
    with Running(reader, "python3 examples/orders/worker.py") as text:
        done = reader.shell(command)
        assert "order.confirmed" in succeeds(done, command) and "order.created" in text(), text()


def replays(reader, command):
    """The stream's messages, of which one is shown: the last one says that it is done."""
    shown = re.search(r'"replayId": "([^"]+)"', read("docs/grpc-api.md")).group(1)
    said = succeeds(reader.shell(command), command)
    assert '"state": "DONE"' in said and '"name": "order.*"' in said, said
    reader.ids[shown] = re.search(r'"replayId": "([^"]+)"', said).group(1)


def replays_an_event(reader, command):
    """Once the event has ended, what is asked for is told; then it is run once more."""
    status = expanded("curl -s $EVENTS/<id>")
    until(
        lambda: '"status":"processed"' in reader.shell(status).stdout, PATIENCE_S, "the event ends"
    )
    assert re.search('"state":"(running|done)"', succeeds(reader.shell(command), command))


FINDS = says('"events":\\[{"event_id":', '"name":"order.created"', '"position":')
TELLS = says("^retry: 2000\n\nid: [0-9]+-0.1.processed\nevent: status\ndata: {.*}\n\n$")
COMPOSE = elsewhere("tests/compose/test_compose.py", "def test_the_documents_commands_are_run(")
# Short for what many commands have; `expanded` puts it back.
SHORT = {
    "$REPLAYS": "http://localhost:8080/api/v1/replays",
    "$REPLAY_ID": "01a20da3-5bb0-7a1e-9c05-3f0a6be1d0c2",
    "$GRPC_REPLAY_ID": "01a20f4c-2350-73e6-9bd7-e1b64b27b736",
    "$REPLAY_EVENTS": "$SERVICE/ReplayEvents",
    "$WATCH_EVENTS": "$SERVICE/WatchEvents",
    "$SERVICE": "localhost:9090 events.EventService",
    "$EVENTS": "http://localhost:8080/api/v1/events",
    "$GRPC": "grpcurl -plaintext",
    "$JSON": '-H "Content-Type: application/json"',
    "$STATUS": "localhost:9090 events.EventService/GetEventStatus",
    "$ID": "01a20da3-2fa2-7f15-bd07-88fd2d6b93ff",
    "$UP": "docker compose up",
}


def expanded(command):
    for short, long in SHORT.items():
        command = command.replace(short, long)
    return command


README = {
    "make run": elsewhere("tests/lib/make_run.py", "scripts/run"),
    "make test": elsewhere(".ci/run", "make test"),
    "$UP --build": COMPOSE,
    "$UP --build --scale event-processor=3": COMPOSE,
    "$GRPC localhost:9090 list": says("events.EventService", "grpc.health.v1.Health"),
    "$GRPC localhost:9090 describe events.EventService": says(
        r"rpc GetEventStatus \( .events.GetEventStatusRequest \) returns \( .events.EventStatus \)"
    ),
    """$GRPC -d '{"event_id":"<the id from the 202>"}' $STATUS""": says(
        '"status": "PROCESSED"', '"name": "test-event"'
    ),
    """$GRPC -d '{"event_id":"123"}' $STATUS""": refuses("NotFound", "123"),
    "curl -s $EVENTS/<id>": says('"status":"processed"'),
    "curl -s '$EVENTS/<id>?view=full'": says('"payload":"some data"'),
    "curl -s $EVENTS $JSON -d "
    """'{"id":"order-7","source":"/shop","name":"order.created","payload":{"total":12.5}}'""": says(
        '"status":"accepted"}$'
    ),
    'curl -s $EVENTS -H "ce-specversion: 1.0" -H "ce-id: order-7" -H "ce-source: /shop" '
    """-H "ce-type: order.created" $JSON -d '{"total":12.5}'""": says(
        '"status":"accepted","duplicate":true}$'
    ),
    "curl -s '$EVENTS/order-7?source=/shop'": says(
        '"name":"order.created"', '"status":"processed"'
    ),
    "curl -s -X POST $EVENTS/<id>/replay": replays_an_event,
    "curl -s $REPLAYS $JSON -d "
    """'{"statuses":["dead"],"dry_run":true}'""": says('"matched":0', '"dry_run":true'),
}
HTTP_API = {
    'curl -i $EVENTS -H "Content-Type: application/cloudevents+json" -d \'{"specversion":"1.0",'
    """"id":"7","source":"/shop","type":"order.created","data":{"order":7}}'""": says(
        "^HTTP/1.1 202 Accepted", '"status":"accepted"'
    ),
    """curl -i $EVENTS -H "Content-Type: application/xml" -d '<order/>' -H "ce-specversion: 1.0" """
    '-H "ce-id: 8" -H "ce-source: /shop" -H "ce-type: order.created"': says(
        "^HTTP/1.1 202 Accepted", '"status":"accepted"'
    ),
    "curl -s '$EVENTS/$ID?view=full'": says('"payload":{"order":7}', '"history":\\['),
    'curl -s $EVENTS -H "Content-Type: application/cloudevents-batch+json" -d \'[{"specversion":'
    """"1.0","id":"9","source":"/shop","type":"order.created","data":{"order":9}}]'""": says(
        r'^\[{"event_id":"[^"]+","status":"accepted"}\]$'
    ),
    """echo '{"name":"order.created","payload":{"order":11}}' | gzip | """
    'curl -s $EVENTS --data-binary @- $JSON -H "Content-Encoding: gzip"': says(
        '"status":"accepted"}$'
    ),
    "curl -s '$EVENTS/order%2F7?source=/shop'": says(  # shows the form; nobody has sent that one
        "urn:tidings:problem:not-found", "order/7", "/shop"
    ),
    "curl -s '$EVENTS/$ID?wait=10'": says('"status":"processed"'),
    "curl -s '$EVENTS?status=processed,dead&name=order.%3E&limit=10'": FINDS,
    "curl -sN $EVENTS/$ID/stream": TELLS,
    "curl -sN '$EVENTS/stream?status=processed,dead&name=order.%3E'": goes_on(
        '(?s)id: .*"name":"order.created"', "examples/curl-session.sh", first="^retry: .*\n\nid: "
    ),
    "curl -s -X POST $EVENTS/$ID/replay": replays_an_event,
    """curl -s $REPLAYS $JSON -d '{"statuses":["dead"],"name":"order.>","dry_run":true}'""": says(
        '"matched":0', '"dry_run":true'
    ),
    "curl -s $REPLAYS/$REPLAY_ID": says('"state":"(running|done)"'),
    "curl -s -X DELETE $REPLAYS/$REPLAY_ID": says('"state":"(cancelled|done)"'),
    "curl -s '$REPLAYS?limit=10'": says('^{"replays":'),
    "build/http-gateway --webhook-origins eventgrid.azure.net,events.example.com": gives_consent,
    "build/http-gateway --cors-origins https://app.example.com,http://localhost:3000": (
        gives_consent
    ),
}
GRPC_API = {
    """$GRPC -d '{"event_id":"$ID"}' $STATUS""": says('"status": "PROCESSED"'),
    """$GRPC -d '{"event_ids":["$ID","123"]}' $SERVICE/BatchGetEventStatus""": says(
        '"status": "PROCESSED"', '"code": 5'
    ),
    """$GRPC -d '{"statuses":["DEAD"],"name":"order.>"}' $SERVICE/ListEvents""": says(
        '"position"'
    ),
    """$GRPC -d '{"name":"order.*","page_size":1}' $SERVICE/ListEvents""": says(
        '"events"'
    ),
    """$GRPC -d '{"event_id":"$ID"}' $SERVICE/WatchEvent""": says('"status": "PROCESSED"'),
    """$GRPC -d '{"statuses":["PROCESSED","DEAD"],"name":"order.>"}' $WATCH_EVENTS""": goes_on(
        '"position"'
    ),
    """$GRPC -d '{"after_position":0}' $SERVICE/WatchEvents""": goes_on('"changes"'),
    "$GRPC localhost:9090 grpc.health.v1.Health/Check": says('"status": "SERVING"'),
    """$GRPC -d '{"service":"events.EventService"}' localhost:9090 """
    "grpc.health.v1.Health/Watch": goes_on('"status": "SERVING"'),
    "$GRPC localhost:9090 describe events.EventStatus.Status": says("enum Status"),
    """$GRPC -d '{"statuses":["DEAD"],"name":"order.*","dry_run":true}' $REPLAY_EVENTS""": says(
        '"state": "DONE"'
    ),
    """$GRPC -d '{"statuses":["DEAD"],"name":"order.*","rate":100}' $REPLAY_EVENTS""": replays,
    """$GRPC -d '{"replay_id":"$GRPC_REPLAY_ID"}' $SERVICE/GetReplay""": says('"state": "DONE"'),
    """$GRPC -d '{"replay_id":"$GRPC_REPLAY_ID"}' $SERVICE/WatchReplay""": says('"state": "DONE"'),
    """$GRPC -d '{"replay_id":"$GRPC_REPLAY_ID"}' $SERVICE/CancelReplay""": says('"state": "DONE"'),
    """$GRPC -d '{"page_size":10}' $SERVICE/ListReplays""": says('"replays": \\['),
    "$GRPC -protoset-out tidings.protoset localhost:9090 "
    "describe events.EventService": leaves_a_file("tidings.protoset"),
}
BUS = {
    "nats stream ls": says("TIDINGS_EVENTS", "TIDINGS_STATUS_default", "TIDINGS_DEAD"),
    'nats sub --all "tidings.events.order.>"': goes_on("tidings.events.order.created"),
    "nats stream get TIDINGS_EVENTS 1": says("(?i)tidings-event-id: .{36}"),
    "nats consumer info TIDINGS_EVENTS default": says("TIDINGS_EVENTS > default", "Unprocessed"),
}
CONFIG = {
    "build/event-processor --help": says(*(f"--{flag}" for flag in ("bus", "group", "config"))),
    "build/event-processor --check-config --config processor.yaml": checks_a_configuration,
}
NO_MUTANT = instead(
    "tests/sim/mutants 'no such rule'",
    "each is compiled and simulated, which takes half an hour; it does say which there are",
    refuses("no such rule", "no barrier"),
)
SIMULATION = {
    "tests/sim/mutants": NO_MUTANT,
    "COUNT=20000 tests/sim/mutants 'no barrier'": NO_MUTANT,
    "tests/sim/mutants --check": says(""),
    "make sim": instead(
        "make sim COUNT=20",
        "2,000 take minutes, and .ci/run has a gate for them; it builds without sanitizers only",
        in_the_repository("20 histories", 600),
        sanitized=False,
    ),
    "make sim SEED=5000 COUNT=100000": instead(
        "make sim SEED=5000 COUNT=18",
        "100,000 take an hour",
        in_the_repository("18 histories", 600),
        sanitized=False,
    ),
    "build/sim 5017": instead(
        "build/sim 5017",
        "the program is in the repository's build/ only",
        in_the_repository("", 60),
        sanitized=False,
    ),
}
OPERATIONS = {
    "$UP --detach --no-recreate --scale event-processor=5": COMPOSE,
    "for id in $(docker compose ps --quiet event-processor); do "
    'docker restart -t 40 "$id"; '
    'until docker exec "$id" healthcheck 9091; do sleep 0.2; done; done': COMPOSE,
    "docker compose down": COMPOSE,
    "docker compose down --volumes": COMPOSE,
    "docker compose --env-file docker/cluster.env up --build": COMPOSE,
    "docker compose --env-file docker/cluster.env down": COMPOSE,
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
}
EXAMPLES = {
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
PARTS = (README, HTTP_API, GRPC_API, BUS, CONFIG, SIMULATION, OPERATIONS, EXAMPLES)
CHECKS = {expanded(command): check for part in PARTS for command, check in part.items()}


@pytest.fixture
def reader(tmp_path):
    """Each document has a Tidings of its own: what others have sent would show in its lists."""
    folder = str(tmp_path)
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
    check = CHECKS.get(command)
    return check in (gives_consent, checks_a_configuration, replays, FINDS, TELLS)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands(reader, document):
    reader.has_sent(blocks(ORDER)[0])
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


def test_commands_that_try_to_break_a_promise_have_tests():
    """Each runs whole files, nothing else: -k looks at the names of tests and at their files'."""
    names = {}
    for path in glob.glob(f"{ROOT}/tests/system/test_*.py"):
        tests = re.findall(r"^def (test_\w+)", read(os.path.relpath(path, ROOT)), re.M)
        names[os.path.basename(path)] = tests
    for command in promises():
        words = re.search(r'-k "?([^"]+)"?', command).group(1).split(" or ")
        chosen = {
            file
            for file, tests in names.items()
            if any(word in name for word in words for name in (file, *tests))
        }
        assert chosen == {f"test_{word}.py" for word in words}, command


def test_the_drawing_is_the_same_in_both_colours():
    def bare(path):
        return re.sub(r"#[0-9a-f]{6}", "", read(path))

    light, dark = re.findall(r'src(?:set)?="(docs/flow-[^"]+)"', read("README.md"))[::-1]
    assert bare(light) == bare(dark) and read(light) != read(dark)


def test_links_lead_somewhere():
    for document in [*paths(), "CHANGELOG.md"]:
        for link in links(document):
            target, _, anchor = link.partition("#")
            path = os.path.normpath(os.path.join(os.path.dirname(document), target))
            path = path if target else document
            assert os.path.exists(os.path.join(ROOT, path)), f"{document}: {link}"
            assert not anchor or anchor in anchors(path), f"{document}: {link}"


def test_decisions_has_each_page():
    pages = {os.path.basename(path) for path in glob.glob(f"{ROOT}/docs/decisions/*.md")}
    assert pages - {"README.md"} <= set(links("docs/decisions/README.md"))


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

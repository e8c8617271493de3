"""Streams whose settings break a promise: neither program starts, and both say how to mend it."""

import json
import os
import subprocess

import pytest

from bus_client import stream_request
from grpc_client import Client
from program import BUILD, PATIENCE_S, clean_environment
from tidings import Tidings

pytestmark = pytest.mark.sequential

EVENTS, STATUS, DEAD = "TIDINGS_EVENTS", "TIDINGS_STATUS_default", "TIDINGS_DEAD"
RETRY = "TIDINGS_RETRY_default"
SUBJECTS = {
    EVENTS: "tidings.events.>",
    STATUS: "tidings.status.default",
    RETRY: "tidings.retry.default",
    DEAD: "tidings.dead.>",
}
GATEWAY, PROCESSOR = "http-gateway", "event-processor"
HOUR_NS = 3600 * 10**9

BROKEN = [
    (EVENTS, {"storage": "memory"}, "a restart loses", f"nats stream rm {EVENTS}"),
    (EVENTS, {"retention": "workqueue"}, "retention isn't limits", f"nats stream rm {EVENTS}"),
    (EVENTS, {"max_consumers": 2}, "max_consumers", f"nats stream rm {EVENTS}"),
    (EVENTS, {"discard": "old"}, "events get lost", f"nats stream edit {EVENTS} --discard=new"),
    (EVENTS, {"no_ack": True}, "no_ack", f"nats stream edit {EVENTS} --ack"),
    (EVENTS, {"subjects": ["mine"]}, "subjects", "--subjects='tidings.events.>,mine'"),
    (
        EVENTS,
        {"deny_purge": False, "allow_rollup_hdrs": True},
        "allow_rollup_hdrs",
        f"nats stream edit {EVENTS} --no-allow-rollup --deny-purge",
    ),
    (STATUS, {"deny_delete": False}, "deleted", f"nats stream edit {STATUS} --deny-delete"),
    (STATUS, {"deny_purge": False}, "purged", f"nats stream edit {STATUS} --deny-purge"),
    (STATUS, {"max_age": HOUR_NS}, EVENTS, f"nats stream edit {STATUS} --max-age=0ms"),
    (STATUS, {"sources": [{"name": "OTHER"}]}, "sources", f"nats stream edit {STATUS}"),
    (RETRY, {}, "retention isn't workqueue", f"nats stream rm {RETRY}"),
    (
        RETRY,
        {"retention": "workqueue", "max_age": HOUR_NS},
        "never end",
        f"nats stream edit {RETRY} --max-age=0",
    ),
    (DEAD, {"max_age": HOUR_NS}, EVENTS, f"nats stream edit {DEAD} --max-age=0ms"),
    (DEAD, {"max_msg_size": 1024}, "max_msg_size", f"nats stream edit {DEAD} --max-msg-size=-1"),
    (
        DEAD,
        {"max_msgs_per_subject": 9},
        "max_msgs_per_subject",
        f"nats stream edit {DEAD} --max-msgs-per-subject=-1",
    ),
]


def make(url, stream, **settings):
    config = {
        "name": stream,
        "subjects": [SUBJECTS[stream]],
        "storage": "file",
        "retention": "limits",
        "discard": "new",
        "deny_delete": True,
        "deny_purge": True,
        **settings,
    }
    answer = stream_request(url, f"STREAM.CREATE.{stream}", config)
    assert "error" not in answer, answer


def start(program, url):
    """Its end: it must not go on."""
    flags = ["--bus", url, "--listen", "127.0.0.1:0"]
    if program == PROCESSOR:
        flags += ["--admin", "127.0.0.1:0"]
    return subprocess.run(
        [os.path.join(BUILD, program), *flags],
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE_S,
        env=clean_environment(),
        check=False,
    )


@pytest.fixture(scope="module")
def nats(tmp_path_factory):
    with Tidings(tmp_path_factory.mktemp("streams")) as stack:
        yield stack.nats()


@pytest.fixture
def url(nats):
    yield nats.url
    for stream in SUBJECTS:
        stream_request(nats.url, f"STREAM.DELETE.{stream}", {})


CASES = [
    (program, *case)
    for case in BROKEN
    for program in ((GATEWAY, PROCESSOR) if case[0] == EVENTS else (PROCESSOR,))
]


@pytest.mark.parametrize(
    "program, stream, settings, promise, mend",
    CASES,
    ids=[f"{program}-{stream}-{'-'.join(settings)}" for program, stream, settings, *_ in CASES],
)
def test_a_setting_that_breaks_a_promise(url, program, stream, settings, promise, mend):
    make(url, EVENTS, **(settings if stream == EVENTS else {}))
    if stream != EVENTS:
        make(url, stream, **settings)
    result = start(program, url)
    assert result.returncode == 1, result
    entries = [json.loads(line) for line in result.stderr.splitlines() if line.startswith("{")]
    (why,) = (entry["detail"] for entry in entries if entry["msg"] == "cannot go on")
    assert why.startswith(f"stream {stream}: ") and promise in why and mend in why, why
    assert "Sanitizer" not in result.stderr, result.stderr


def test_both_start_with_streams_that_an_operator_has_made(tidings):
    """Size, age, window and further subjects are the operator's."""
    tidings.nats()
    bounds = {"max_bytes": 1 << 28, "max_age": HOUR_NS, "duplicate_window": 60 * 10**9}
    make(tidings.bus.url, EVENTS, **bounds, subjects=[SUBJECTS[EVENTS], "mine.>"])
    make(tidings.bus.url, STATUS, **{**bounds, "max_age": 2 * HOUR_NS})
    make(tidings.bus.url, DEAD, **{**bounds, "max_age": 0})
    processor = tidings.processor()
    event_id = tidings.gateway().http.post({"name": "kept", "id": "1"}).event_id
    with Client(processor.address) as client:
        client.until_processed(event_id)

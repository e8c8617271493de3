"""What an operator does: start, stop, restart, read metrics, make mistakes in the configuration."""

import os
import shutil
import subprocess

import pytest

from grpc_client import ENDED, Client, pb, until_all_processed, until_digests_agree
from http_client import EVENTS, Closed, Connection, Load, request
from program import BUILD, PATIENCE_S, ROOT, clean_environment
from wait import until


def start(tidings, processors=2):
    tidings.nats()
    for _ in range(processors):
        tidings.processor(ack_wait="3s")
    return tidings.gateway()


# ---- stopping ----


def test_sigterm_drains_the_gateway(tidings):
    """No request that it took fails; it ends with 0."""
    gateway = start(tidings)
    with Load([gateway.http_port], clients=16) as load:
        until(lambda: len(load.accepted) > 200, PATIENCE_S, "load flows")
        assert gateway.stop() == 0, gateway.tail()
    assert set(load.replies) == {202}, f"a request in progress failed: {load.replies}"
    until_all_processed(tidings.processors(), load.accepted)


def test_sigterm_drains_a_processor(tidings):
    """What it has begun it finishes: nothing waits for ack_wait, and nothing runs twice."""
    gateway = start(tidings, processors=0)
    slow = 'handlers: [{match: ">", simulate: {delay: 1s}}]'
    one = tidings.processor(config=slow, ack_wait="60s")
    ids = [gateway.http.post({"name": "slow"}).event_id for _ in range(50)]
    with Client(one.address) as client:
        until(lambda: client.stats().event_position == 50, PATIENCE_S, "it knows them")
    assert one.stop() == 0, one.tail()
    other = tidings.processor(config=slow, ack_wait="60s")
    until_all_processed([other], ids)
    with Client(other.address) as client:
        for _, answer in client.ask_all(ids, view=pb.FULL):
            run = answer.history[1:]  # PROCESSING too, if it took a little longer
            assert len({(change.attempt, change.processor) for change in run}) == 1, answer
            ends = [change.status for change in run if change.status in ENDED]
            assert len(ends) == 1, f"it ran twice: {answer}"


def test_sigterm_without_nats(tidings):
    gateway = start(tidings)
    tidings.bus.kill()
    for program in (gateway, *tidings.processors()):
        assert program.stop() == 0, program.tail()


def test_second_signal_ends_at_once(tidings):
    start(tidings, processors=0)
    endless = 'handlers: [{match: ">", simulate: {delay: 1h}, retry: {timeout: 1h}}]'
    processor = tidings.processor(config=endless, drain_timeout="1h")
    gateway = tidings.gateway(processor=f"ipv4:{processor.address}")
    gateway.http.post({"name": "endless"})
    with Client(processor.address) as client:
        until(lambda: client.stats().event_position == 1, PATIENCE_S, "it knows the event")
    processor.signal(15)
    processor.entry("draining")
    processor.signal(15)
    assert processor.process.wait(PATIENCE_S) is not None


# ---- starting again ----


def test_everything_is_still_there_after_a_restart_of_all(tidings):
    gateway = start(tidings)
    ids = [gateway.http.post({"name": "kept", "payload": n}).event_id for n in range(100)]
    until_all_processed(tidings.processors(), ids)
    before = until_digests_agree(tidings.processors())
    for program in (gateway, *tidings.processors(), tidings.bus):
        assert program.stop() in (
            0,
            1,
        ), program.tail()  # Debian's nats-server ends with 1 on SIGTERM

    tidings.bus.start()
    for program in (*tidings.processors(), gateway):
        program.start().until_ready()

    after = until_digests_agree(tidings.processors())
    assert after[0].digest == before[0].digest
    assert after[0].counts == before[0].counts
    with Client(tidings.processors()[1].address) as client:
        answer = client.full(ids[42])
        assert answer.payload == b"42" and len(answer.history) == 2


def test_a_stream_made_anew_is_noticed(tidings):
    """Everything deleted behind our back: the table must not answer from another log's life."""
    gateway = start(tidings, processors=1)
    processor = tidings.processors()[0]
    old = [gateway.http.post({"name": "old"}).event_id for _ in range(30)]
    until_all_processed([processor], old)
    tidings.bus.stop()
    shutil.rmtree(tidings.bus.store)
    tidings.bus.start()
    gateway.until_ready(), processor.until_ready()
    new = [gateway.http.post({"name": "new"}).event_id for _ in range(10)]
    until_all_processed([processor], new)
    with Client(processor.address) as client:
        assert client.error(old[0])[0].name == "NOT_FOUND"
        assert client.stats().events == 10


# ---- looking ----


def test_health_ready_and_metrics_of_both(shared, gateway, processor):
    event_id = gateway.http.post({"name": "seen"}).event_id
    with Client(processor.address) as client:
        client.until_processed(event_id)
    for service in (gateway, processor):
        assert service.http.get("/health").status == 200
        ready = service.http.get("/ready")
        assert ready.status == 200
        body = ready.json()
        assert body["ready"] is True and body["checks"]["bus"] == "ok"
        reply = service.http.get("/metrics")
        assert reply.headers["content-type"].startswith("text/plain; version=0.0.4")
        metrics = service.metrics()
        assert any(name.startswith("tidings_build_info{") for name in metrics)
        assert metrics["process_resident_memory_bytes"] > 0
    assert gateway.http.get("/ready").json()["checks"]["processor"] == "ok"
    requests = {
        k: v for k, v in gateway.metrics().items() if k.startswith("tidings_http_requests_total{")
    }
    assert any('code="202"' in k and EVENTS in k and v >= 1 for k, v in requests.items()), requests
    calls = {
        k: v for k, v in processor.metrics().items() if k.startswith("tidings_grpc_requests_total{")
    }
    assert any("GetEventStatus" in k and v >= 1 for k, v in calls.items()), calls


def test_the_log_handler_says_which_event_it_was(shared, gateway, processor):
    event_id = gateway.http.post({"name": "logged", "payload": [1, "two"]}).event_id
    processor.entry("event", event_id=event_id, name="logged", size=10, payload='[1, "two"]')


def access_lines(gateway):
    return [entry for entry in gateway.entries() if entry["msg"] == "request"]


def test_the_access_log(tidings):
    tidings.nats()
    everything, errors, nothing = (
        tidings.gateway(access_log=what) for what in ("all", "errors", "off")
    )
    body = b'{"name":"logged"}'
    for gateway in (everything, errors, nothing):
        accepted = gateway.http.post(body, X_Request_Id="good-1")
        assert gateway.http.get("/nowhere", **{"X-Request-Id": "bad-1"}).status == 404
        assert gateway.stop() == 0, gateway.tail()
    line = next(entry for entry in access_lines(everything) if entry["request_id"] == "good-1")
    assert 0 < line.pop("duration_ms") < 60_000
    assert {key: value for key, value in line.items() if key not in ("time", "program")} == {
        "level": "info",
        "msg": "request",
        "method": "POST",
        "path": EVENTS,
        "route": EVENTS,
        "status": 202,
        "request_bytes": len(body),
        "response_bytes": len(accepted.body),
        "remote": "127.0.0.1",
        "request_id": "good-1",
    }
    failed = [entry for entry in access_lines(errors) if entry["path"] != "/ready"]
    assert [(entry["request_id"], entry["problem"]) for entry in failed] == [("bad-1", "not-found")]
    assert access_lines(nothing) == []


def test_descriptors_and_memory_do_not_grow(tidings):
    gateway = start(tidings, processors=1)

    def some_load():
        with Load([gateway.http_port], clients=16) as load:
            until(lambda: len(load.accepted) > 1500, PATIENCE_S, "load flows")
        until_all_processed(tidings.processors(), load.accepted[-50:])

    some_load()
    until(
        lambda: gateway.descriptors() < 60,
        PATIENCE_S,
        lambda: f"{gateway.descriptors()} descriptors",
    )
    memory = gateway.resident_kb()
    for _ in range(3):
        some_load()
    until(
        lambda: gateway.descriptors() < 60,
        PATIENCE_S,
        lambda: f"{gateway.descriptors()} descriptors",
    )
    # AddressSanitizer keeps stack frames of threads that have ended their work; it looks for leaks.
    assert "asan" in BUILD or gateway.resident_kb() < memory * 1.5 + 8192


def test_more_connections_than_there_is_room_for(tidings):
    """Beyond the limit: 503 and the connection closed, at once; those inside are served."""
    tidings.nats()
    tidings.processor()
    gateway = tidings.gateway(max_connections=20, idle_timeout="60s")
    inside = [Connection(gateway.http_port) for _ in range(20)]
    for connection in inside:
        connection.send(request("GET", "/health"))
        assert connection.receive().status == 200
    answered = []
    outside = [Connection(gateway.http_port, timeout_s=PATIENCE_S) for _ in range(8)]
    for connection in outside:
        try:
            connection.send(request("GET", "/health"))
            answered.append(connection.receive().status)
        except (Closed, OSError):
            answered.append(0)
    assert set(answered) <= {200, 503}, f"a connection is left without an answer: {answered}"
    for connection in (*inside, *outside):
        connection.close()


# ---- configuration ----


def run(program, *flags, **environment):
    return subprocess.run(
        [os.path.join(BUILD, program), *flags],
        capture_output=True,
        text=True,
        timeout=60,
        env={**clean_environment(), **environment},
        check=False,
    )


BAD = [
    ("http-gateway", ["--listen", "nowhere"], "--listen", "nowhere"),
    ("http-gateway", ["--listen", "127.0.0.1:99999"], "--listen", "99999"),
    ("http-gateway", ["--log-level", "loud"], "--log-level", "debug"),
    ("http-gateway", ["--bus", "ftp://x"], "--bus", "nats://"),
    ("http-gateway", ["--namespace", "a b"], "--namespace", "a b"),
    ("http-gateway", ["--access-log", "some"], "--access-log", "off, errors, all, or a number"),
    ("http-gateway", ["--stream-replicas", "2"], "--stream-replicas", "1, 3 or 5"),
    ("http-gateway", ["--listne", "127.0.0.1:0"], "--listne", "--listen"),
    ("http-gateway", ["extra"], "extra", "--help"),
    ("http-gateway", ["--cors-origins", "https://a/"], "--cors-origins", "https://a/"),
    ("event-processor", ["--ack-wait", "soon"], "--ack-wait", "soon"),
    ("event-processor", ["--ack-wait", "0"], "--ack-wait", "0"),
    ("event-processor", ["--concurrency", "-1"], "--concurrency", "-1"),
    ("event-processor", ["--group", "a.b"], "--group", "a.b"),
    ("event-processor", ["--ack-wait"], "--ack-wait", "value"),
]


@pytest.mark.parametrize("program, flags, name, words", BAD, ids=[" ".join(bad[1]) for bad in BAD])
def test_a_bad_value_names_itself_and_what_is_allowed(program, flags, name, words):
    result = run(program, *flags)
    assert result.returncode == 2
    assert name in result.stderr and words in result.stderr and "Sanitizer" not in result.stderr


def test_environment_and_file_are_checked_like_flags(tmp_path):
    result = run("http-gateway", TIDINGS_HTTP_LISTEN="nowhere")
    assert (
        result.returncode == 2
        and "TIDINGS_HTTP_LISTEN" in result.stderr
        and "nowhere" in result.stderr
    )
    for text, word in (
        ("listen: nowhere", "nowhere"),
        ("lisen: 127.0.0.1:0", "lisen"),
        ("a: [", "a"),
        ("- x", "mapping"),
    ):
        (tmp_path / "bad.yaml").write_text(text)
        result = run("http-gateway", "--config", str(tmp_path / "bad.yaml"))
        assert result.returncode == 2, f"{text}: {result}"
        assert "bad.yaml" in result.stderr and word in result.stderr, result.stderr
    result = run("http-gateway", "--config", "/no/such/file")
    assert result.returncode == 2 and "/no/such/file" in result.stderr


def test_flags_beat_the_environment_which_beats_the_file(tmp_path):
    """Seen by which of the three values is complained about."""
    (tmp_path / "c.yaml").write_text("listen: from-file\n")
    file = ["--config", str(tmp_path / "c.yaml")]
    assert "from-file" in run("http-gateway", *file).stderr
    assert (
        "from-environment"
        in run("http-gateway", *file, TIDINGS_HTTP_LISTEN="from-environment").stderr
    )
    flags = [*file, "--listen", "from-flag"]
    assert "from-flag" in run("http-gateway", *flags, TIDINGS_HTTP_LISTEN="from-environment").stderr


@pytest.mark.parametrize("program", ["http-gateway", "event-processor"])
def test_help_version_and_check(program):
    text = run(program, "--help")
    assert text.returncode == 0 and "--listen" in text.stdout and "TIDINGS_BUS" in text.stdout
    version = run(program, "--version")
    assert version.returncode == 0 and program in version.stdout
    assert run(program, "--check-config").returncode == 0
    assert run(program, "--check-config", "--log-level", "loud").returncode == 2


def test_config_document_is_true():
    """docs/config.md is made from the programs' own tables."""
    result = subprocess.run(
        [os.path.join(ROOT, "scripts/config-doc"), "--check"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("which", ["gateway", "processor", "admin"])
def test_a_taken_port_is_named_with_its_owner(tidings, which):
    tidings.nats()
    processor = tidings.processor()
    gateway = tidings.gateway()
    if which == "gateway":
        owner, port = gateway, gateway.http_port
        late = tidings.gateway(start=False, listen=f"127.0.0.1:{port}")
    elif which == "processor":
        owner, port = processor, processor.grpc_port
        late = tidings.processor(start=False, listen=f"127.0.0.1:{port}")
    else:
        owner, port = processor, processor.http_port
        late = tidings.processor(start=False, admin=f"127.0.0.1:{port}")
    late.learn_ports = lambda: None
    late.start()
    assert late.process.wait(PATIENCE_S) not in (0, -6, -11), "two servers on one port"
    said = late.log()
    assert str(port) in said and str(owner.pid) in said and owner.program in said, said

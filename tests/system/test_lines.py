"""One event a line, any number of them: each is answered, in order, while memory is bounded."""

import gzip
import json
import re
import signal
import subprocess
import time

import pytest

from bus_client import stored_ids, stream_info
from grpc_client import until_all_processed
from http_client import EVENTS, Closed, Connection, Load, request
from program import PATIENCE_S, SANITIZED
from wait import until

LINES = "application/x-ndjson"
UPLOAD = 20_000 if SANITIZED else 300_000
MEMORY_KIB = 16 * 1024
HEAD = request(
    "POST",
    EVENTS,
    headers={"Content-Type": LINES, "Transfer-Encoding": "chunked"},
)


def line(number, **members):
    return json.dumps({"name": f"line.n{number % 7}", "payload": {"n": number}, **members}).encode()


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


def begin(connection):
    """An upload in chunks. What is sent next is answered by what `results` yields next."""
    connection.send(HEAD + chunk(line(0) + b"\n"))
    while b"\r\n\r\n" not in connection.pending:
        connection.more()
    head, _, connection.pending = connection.pending.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 "), head
    return results(connection)


def results(connection):
    for data in connection.chunks():
        yield from map(json.loads, data.splitlines())


def peak_kib(program):
    with open(f"/proc/{program.pid}/status", encoding="ascii") as status:
        return int(re.search(r"VmHWM:\s+(\d+) kB", status.read()).group(1))


def curl(gateway, file, *more):
    """The answer as lines."""
    url = f"http://127.0.0.1:{gateway.http_port}{EVENTS}"
    command = ["curl", "-sS", "-X", "POST", "-T", file, "-H", f"Content-Type: {LINES}", *more, url]
    done = subprocess.run(command, capture_output=True, timeout=600, check=True)
    return [json.loads(answer) for answer in done.stdout.splitlines()]


def test_a_large_upload_by_curl(tidings, tmp_path):
    tidings.nats()
    file = str(tmp_path / "events.ndjson")
    with open(file, "wb") as out:
        for number in range(UPLOAD):
            out.write((b"{}" if number % 1000 == 500 else line(number)) + b"\n")
    *answers, summary = curl(tidings.gateway(), file)
    failed = UPLOAD // 1000
    assert [answer["line"] for answer in answers] == list(range(1, UPLOAD + 1))
    assert summary == {
        "stored": UPLOAD - failed,
        "duplicates": 0,
        "failed": failed,
        "complete": True,
    }
    assert [a["line"] % 1000 for a in answers if a["status"] == 422] == [501] * failed
    assert stream_info(tidings.bus.url).state.messages == UPLOAD - failed


@pytest.mark.alone
@pytest.mark.skipif(bool(SANITIZED), reason="sanitizers keep what has been freed")
def test_the_memory_of_a_large_upload(tidings, tmp_path):
    tidings.nats()
    file = str(tmp_path / "events.ndjson")
    with open(file, "wb") as out:
        for number in range(UPLOAD):
            out.write(line(number) + b"\n")
    gateway = tidings.gateway()
    gateway.http.post({"name": "warm.up"})
    idle = gateway.resident_kb()
    curl(gateway, file)
    assert peak_kib(gateway) - idle < MEMORY_KIB


def test_results_come_while_the_body_goes_on(gateway, processor):
    with Connection(gateway.http_port) as connection:
        said = begin(connection)
        ids = [next(said)["event_id"]]
        for number in range(1, 50):
            connection.send(chunk(line(number) + b"\n"))
            result = next(said)
            assert result["line"] == number + 1 and result["status"] == "accepted"
            ids.append(result["event_id"])
        until_all_processed([processor], ids)
        connection.send(chunk(b""))
        assert next(said) == {"stored": 50, "duplicates": 0, "failed": 0, "complete": True}
        assert next(said, None) is None


def test_ids_that_come_again(shared, gateway):
    before = stream_info(shared.bus.url).state.last_seq
    body = b"\n".join(line(n % 100, id=f"line-{n % 100}", source="/lines") for n in range(1000))
    reply = gateway.http.post(body, content_type=LINES)
    *answers, summary = reply.lines()
    assert summary == {"stored": 100, "duplicates": 900, "failed": 0, "complete": True}
    assert len({answer["event_id"] for answer in answers}) == 100
    assert stream_info(shared.bus.url).state.last_seq == before + 100


def test_a_client_that_never_reads_is_ended(tidings):
    """It fills what lies between, and is ended; others have not noticed."""
    tidings.nats()
    gateway = tidings.gateway(request_timeout="1s")
    piece = chunk(b"{}\n" * 20000)
    with Load([gateway.http_port], clients=2) as load, Connection(gateway.http_port) as connection:
        connection.send(HEAD)
        begun = time.monotonic()
        try:
            while time.monotonic() - begun < PATIENCE_S:
                connection.send(piece)
            raise AssertionError("it may send for ever")
        except (BrokenPipeError, ConnectionResetError):
            pass
        load.stop()
        assert set(load.replies) == {202} and not load.broken
    gateway.until_ready()


def test_a_connection_that_is_cut(shared, gateway):
    before = stream_info(shared.bus.url).state.last_seq
    with Connection(gateway.http_port) as connection:
        said = begin(connection)
        connection.send(chunk(line(1) + b"\n" + line(2) + b"\n" + line(3)))
        ids = [next(said)["event_id"] for _ in range(3)]
    assert stored_ids(shared.bus.url)[before:] == ids


def test_the_gateway_is_stopped_in_an_upload(tidings):
    """What was answered is stored, and the client learns how far it has come."""
    tidings.nats()
    gateway = tidings.gateway()
    with Connection(gateway.http_port) as connection:
        said = begin(connection)
        ids = [next(said)["event_id"]]
        gateway.signal(signal.SIGTERM)
        summary = next(said)
        assert not summary["complete"] and summary["status"] == 503 and summary["stored"] == 1
        assert next(said, None) is None
    assert gateway.process.wait(PATIENCE_S) == 0
    assert stored_ids(tidings.bus.url) == ids


def test_the_gateway_is_killed_in_an_upload(tidings):
    tidings.nats()
    gateway = tidings.gateway()
    ids = []
    with Connection(gateway.http_port) as connection:
        said = begin(connection)
        try:
            for number in range(1, 100_000):
                connection.send(chunk(line(number) + b"\n"))
                ids.append(next(said)["event_id"])
                if number == 200:
                    gateway.kill()
            raise AssertionError("it was killed")
        except (OSError, Closed):
            pass
    assert len(ids) >= 200 and set(ids) <= set(stored_ids(tidings.bus.url))


def test_the_bus_is_away_for_some_lines(tidings):
    tidings.nats()
    gateway = tidings.gateway()
    with Connection(gateway.http_port) as connection:
        said = begin(connection)
        assert next(said)["status"] == "accepted"
        tidings.bus.kill()
        until(lambda: not gateway.is_ready(), PATIENCE_S, "the gateway has noticed")
        connection.send(chunk(line(1) + b"\n"))
        assert next(said)["status"] == 503
        tidings.bus.start()
        gateway.until_ready()
        connection.send(chunk(line(2) + b"\n") + chunk(b""))
        assert next(said)["status"] == "accepted"
        assert next(said) == {"stored": 2, "duplicates": 0, "failed": 1, "complete": True}


def test_compressed_uploads_by_curl(tidings, tmp_path):
    """Of a known length, and in chunks."""
    tidings.nats()
    gateway = tidings.gateway()
    file = str(tmp_path / "events.ndjson")
    with gzip.open(file, "wb") as out:
        for number in range(UPLOAD // 10):
            out.write(line(number) + b"\n")
    *answers, summary = curl(gateway, file, "-H", "Content-Encoding: gzip")
    assert summary["complete"] and summary["stored"] == len(answers) == UPLOAD // 10
    *answers, summary = curl(
        gateway, file, "-H", "Content-Encoding: gzip", "-H", "Transfer-Encoding: chunked"
    )
    assert summary["complete"] and summary["stored"] == len(answers) == UPLOAD // 10
    assert stream_info(tidings.bus.url).state.messages == 2 * (UPLOAD // 10)

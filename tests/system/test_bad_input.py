"""Bad input: each gets its own problem document, and nothing is published."""

import gzip
import json
import time

import pytest

from bus_client import stream_info
from http_client import EVENTS, JSON, Closed, Connection, raw, request
from program import PATIENCE_S, SANITIZED

pytestmark = pytest.mark.sequential

PROBLEM = "application/problem+json"
LIMIT = 1024 * 1024


@pytest.fixture
def refused(shared, gateway):
    """refused(reply, status, slug, words...) checks a problem; at the end nothing was published."""
    before = stream_info(shared.bus.url).state.last_seq

    def check(reply, status, slug, *words):
        assert reply.status == status, reply
        assert reply.headers["content-type"] == PROBLEM
        problem = reply.json()
        assert problem["type"].rpartition(":")[2] == slug
        assert problem["status"] == status
        assert problem["title"]
        for word in words:
            assert word in problem["detail"], problem
        assert reply.headers["x-request-id"]
        return problem

    yield check
    assert stream_info(shared.bus.url).state.last_seq == before, "something was published"
    assert gateway.http.get("/ready").status == 200


# ---- what JSON may not be: 400 ----

BROKEN = {
    "empty": b"",
    "blanks": b"  \r\n ",
    "a word": b"hello",
    "cut off": b'{"name":"a"',
    "cut off in a string": b'{"name":"a',
    "trailing comma": b'{"name":"a",}',
    "single quotes": b"{'name':'a'}",
    "two documents": b'{"name":"a"}{"name":"b"}',
    "trailing garbage": b'{"name":"a"} x',
    "a comment": b'{"name":"a"/*x*/}',
    "invalid UTF-8": b'{"name":"a","payload":"\xff\xfe"}',
    "an overlong sequence": b'{"name":"a","payload":"\xc0\xaf"}',
    "a surrogate in UTF-8": b'{"name":"a","payload":"\xed\xa0\x80"}',
    "a cut UTF-8 sequence": b'{"name":"a","payload":"\xe2\x82"}',
    "a NUL byte": b'{"name":"a\x00b"}',
    "a NUL after the document": b'{"name":"a"}\x00',
    "an escaped NUL in the name": b'{"name":"a\\u0000b"}',
    "a raw line feed in a string": b'{"name":"a","payload":"x\ny"}',
    "a lone surrogate": b'{"name":"a","payload":"\\ud800"}',
    "a bad escape": b'{"name":"a","payload":"\\x41"}',
    "a bare NaN": b'{"name":"a","payload":NaN}',
    "a hexadecimal number": b'{"name":"a","payload":0x10}',
    "a leading zero": b'{"name":"a","payload":01}',
    "a member twice": b'{"name":"a","name":"b"}',
    "deep arrays": b'{"name":"a","payload":' + b"[" * 100 + b"]" * 100 + b"}",
    "very deep arrays": b'{"name":"a","payload":' + b"[" * 200_000 + b"]" * 200_000 + b"}",
    "very deep and never closed": b'{"a":' * 150_000,
    "UTF-16": '{"name":"a"}'.encode("utf-16"),
}


@pytest.mark.parametrize("body", BROKEN.values(), ids=BROKEN.keys())
def test_not_json(gateway, refused, body):
    refused(gateway.http.post(body), 400, "malformed")


# ---- well-formed, but no event: 422 ----

LONG = "a" * 129
INVALID = {
    "an empty array": ([], "empty"),
    "a string": ("name", "object"),
    "null": (None, "object"),
    "no name": ({"payload": 1}, "name"),
    "an empty name": ({"name": ""}, "name"),
    "a number as name": ({"name": 7}, "name"),
    "null as name": ({"name": None}, "name"),
    "an object as name": ({"name": {}}, "name"),
    "an unknown member": ({"name": "a", "colour": "red"}, "colour"),
    "a key that is no string": ({"name": "a", "key": 7}, "key"),
    "an empty key": ({"name": "a", "key": ""}, "key"),
    "a key that is too long": ({"name": "a", "key": "k" * 257}, "key"),
    "a time that is none": ({"name": "a", "time": "yesterday"}, "time"),
    "a number as time": ({"name": "a", "time": 1700000000}, "time"),
    "a time that cannot be": ({"name": "a", "time": "2026-02-30T12:00:00Z"}, "time"),
    "a time with a line feed": (
        {"name": "a", "time": "2026-02-03T12:00:00Z\r\nNats-Msg-Id: x"},
        "time",
    ),
    **{
        f"the name {name!r:.40}": ({"name": name}, "name")
        for name in (
            "*",
            ">",
            "a.*",
            "a.>",
            "a b",
            " a",
            "a\r\nb",
            "a\tb",
            ".",
            "..",
            ".a",
            "a.",
            "a..b",
            "a/b",
            "a$b",
            "$SYS.REQ",
            "ä",
            "a\u200bb",
            "😀",
            LONG,
            "a." * 64 + "a",
            "n" * 100_000,
        )
    },
}


@pytest.mark.parametrize("event, word", INVALID.values(), ids=INVALID.keys())
def test_not_an_event(gateway, refused, event, word):
    refused(gateway.http.post(event), 422, "invalid", word)


# ---- how it is sent ----

GOOD = b'{"name":"good"}'


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/xml",
        "application/jsonx",
        "json",
        "/",
        ";",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "",
    ],
)
def test_wrong_content_type(gateway, refused, content_type):
    problem = refused(gateway.http.post(GOOD, content_type), 415, "unsupported-media-type")
    assert JSON in problem["detail"], "it says what would be right"


def test_missing_content_type(gateway, refused):
    refused(gateway.http.post(GOOD, content_type=None), 415, "unsupported-media-type", JSON)


@pytest.mark.parametrize(
    "content_type",
    [
        JSON,
        "application/json; charset=utf-8",
        "Application/JSON",
        'application/json;charset="UTF-8"',
    ],
)
def test_right_content_types(gateway, content_type):
    assert gateway.http.post(GOOD, content_type).status == 202


def test_no_content_length(gateway, refused):
    head = f"POST {EVENTS} HTTP/1.1\r\nHost: x\r\nContent-Type: {JSON}\r\n\r\n".encode()
    refused(raw(gateway.http_port, head), 411, "length-required")


def body_of(size):
    filler = size - len('{"name":"big","payload":""}')
    return b'{"name":"big","payload":"' + b"x" * filler + b'"}'


def test_body_at_the_limit(gateway):
    assert gateway.http.post(body_of(LIMIT)).status == 202


@pytest.mark.parametrize("size", [LIMIT + 1, 3 * LIMIT])
def test_body_over_the_limit(gateway, refused, size):
    refused(gateway.http.post(body_of(size)), 413, "too-large", str(LIMIT))


def test_announced_body_over_the_limit_is_refused_before_it_is_sent(gateway, refused):
    head = request("POST", EVENTS, None, {"Content-Type": JSON, "Content-Length": str(10**12)})
    refused(raw(gateway.http_port, head), 413, "too-large")


@pytest.mark.parametrize(
    "length", ["-1", "x", "1e3", "99999999999999999999999999", "5, 6", "0x10", ""]
)
def test_broken_content_length(gateway, refused, length):
    data = request("POST", EVENTS, None, {"Content-Type": JSON, "Content-Length": length}) + GOOD
    reply = raw(gateway.http_port, data)
    assert reply.status in (400, 411, 413), reply
    assert reply.headers["content-type"] == PROBLEM


# ---- chunked bodies (RFC 9112, section 7.1) ----

CHUNKED = {"Content-Type": JSON, "Transfer-Encoding": "chunked"}


def chunks(*parts, extension=b"", trailer=b""):
    framed = b"".join(b"%x%s\r\n%s\r\n" % (len(part), extension, part) for part in parts)
    return framed + b"0\r\n" + trailer + b"\r\n"


@pytest.mark.parametrize(
    "data",
    [
        chunks(GOOD),
        chunks(*[GOOD[n : n + 1] for n in range(len(GOOD))]),
        chunks(GOOD, trailer=b"X-Trailer: 1\r\n"),
    ],
    ids=["one", "a byte each", "a trailer"],
)
def test_chunked_body(gateway, data):
    reply = raw(gateway.http_port, request("POST", EVENTS, None, CHUNKED) + data)
    assert reply.status == 202, reply


@pytest.mark.parametrize(
    "data",
    [
        b"zz\r\n" + GOOD,
        b"-5\r\nhello\r\n0\r\n\r\n",
        b"ffffffffffffffffff\r\nx",
        b"5\r\nhelloXX0\r\n\r\n",
    ],
    ids=["no size", "negative", "huge", "no line end"],
)
def test_broken_chunks(gateway, refused, data):
    reply = raw(gateway.http_port, request("POST", EVENTS, None, CHUNKED) + data)
    assert reply.status in (400, 413), reply
    assert reply.headers["content-type"] == PROBLEM


def test_chunk_extension_is_refused_by_name_or_ignored(gateway):
    """HTTP lets receivers ignore them; civetweb does so from 1.16 on. Nobody sends any."""
    data = request("POST", EVENTS, None, CHUNKED) + chunks(GOOD, extension=b";a=b")
    reply = raw(gateway.http_port, data)
    if reply.status != 202:
        assert (reply.status, reply.headers["content-type"]) == (400, PROBLEM)
        assert "chunk extensions" in reply.json()["detail"]


def test_chunked_body_over_the_limit(gateway, refused):
    part = b"x" * 65536
    reply = raw(gateway.http_port, request("POST", EVENTS, None, CHUNKED) + chunks(*[part] * 17))
    refused(reply, 413, "too-large")


def test_chunked_body_that_ends_early(gateway, refused):
    with Connection(gateway.http_port) as connection:
        connection.send(request("POST", EVENTS, None, CHUNKED) + b"f\r\n" + GOOD[:5])
    # no reply to check: the fixture sees that nothing was published


# ---- slow and vanishing senders ----


@pytest.fixture(scope="module")
def impatient(shared):
    """A gateway that waits 1 s for a request to arrive."""
    return shared.gateway(request_timeout="1s")


def test_slow_body(impatient, refused):
    head = request("POST", EVENTS, None, {"Content-Type": JSON, "Content-Length": str(len(GOOD))})
    begin = time.monotonic()
    with Connection(impatient.http_port) as connection:
        connection.send(head + GOOD[:4])
        refused(connection.receive(), 408, "request-timeout")
    assert time.monotonic() - begin < PATIENCE_S


def trickle(connection, data, interval_s, limit_s):
    """Sends a byte at a time until the other side has had enough; returns its reply, or None."""
    end = time.monotonic() + limit_s
    connection.socket.settimeout(interval_s)
    try:
        for n in range(len(data)):
            assert time.monotonic() < end, "the gateway waits for ever"
            connection.send(data[n : n + 1])
            try:
                return connection.receive()
            except TimeoutError:
                continue
    except (OSError, Closed):
        return None
    raise AssertionError("the whole trickle was taken")


def test_a_byte_now_and_then(impatient, refused):
    """Progress alone does not earn time: the limit is for the whole request."""
    head = request("POST", EVENTS, None, {"Content-Type": JSON, "Content-Length": "5000"})
    with Connection(impatient.http_port) as connection:
        connection.send(head)
        reply = trickle(connection, b" " * 5000, 0.2, PATIENCE_S)
    assert reply is None or reply.status == 408


def test_a_header_byte_now_and_then(impatient, refused):
    with Connection(impatient.http_port) as connection:
        reply = trickle(
            connection, b"POST /api/v1/events HTTP/1.1\r\nX-A: " + b"a" * 5000, 0.2, PATIENCE_S
        )
    assert reply is None or reply.status == 408


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"POST",
        b"POST /api/v1/events HTTP/1.1\r\nHost: x\r\n",
        request("POST", EVENTS, None, {"Content-Length": "15", "Content-Type": JSON}) + GOOD[:7],
    ],
    ids=["nothing", "a word", "half a head", "half a body"],
)
def test_vanishing_sender(gateway, refused, data):
    with Connection(gateway.http_port) as connection:
        connection.send(data)


# ---- lines that no request has ----

GARBAGE = {
    "zeros": b"\x00" * 100,
    "TLS": bytes.fromhex("16030100a5010000a10303") + b"\x00" * 100 + b"\r\n\r\n",
    "no version": b"GET /health\r\n\r\n",
    "an unknown version": b"GET /health HTTP/9.9\r\n\r\n",
    "a long line": b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
    "a long header": b"GET /health HTTP/1.1\r\nX-Long: " + b"a" * 100_000 + b"\r\n\r\n",
    "many headers": b"GET /health HTTP/1.1\r\n"
    + b"".join(b"X-%d: 1\r\n" % n for n in range(5000))
    + b"\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
}


@pytest.mark.parametrize("data", GARBAGE.values(), ids=GARBAGE.keys())
def test_garbage(gateway, refused, data):
    try:
        reply = raw(gateway.http_port, data)
    except (Closed, OSError):
        return  # to hang up is an answer, too
    assert 400 <= reply.status < 600, reply


# ---- paths and methods ----


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/api",
        "/api/v1",
        "/api/v1/event",
        "/api/v1/events/a/b",
        "/api/v2/events",
        "/../etc/passwd",
        "/%2e%2e/etc/passwd",
        "/health/",
        "//health",
    ],
)
def test_unknown_path(gateway, refused, path):
    problem = refused(gateway.http.get(path), 404, "not-found")
    assert "/api/v1/events" in problem["detail"], "it names what there is"


@pytest.mark.parametrize(
    "method, path, allowed",
    [
        ("PATCH", EVENTS, {"GET", "HEAD", "POST"}),
        ("PUT", EVENTS, {"POST"}),
        ("DELETE", EVENTS, {"POST"}),
        ("POST", f"{EVENTS}/x", {"GET", "HEAD"}),
        ("POST", "/health", {"GET", "HEAD"}),
    ],
)
def test_wrong_method(gateway, refused, method, path, allowed):
    reply = gateway.http.send(method, path, b"" if method != "GET" else None)
    refused(reply, 405, "method-not-allowed")
    assert allowed <= {word.strip() for word in reply.headers["allow"].split(",")}


@pytest.mark.parametrize("method", ["TRACE", "QUERY", "PATCH", "PROPFIND"])
def test_a_method_that_is_known_and_never_allowed(gateway, refused, method):
    reply = gateway.http.send(method, "/health")
    refused(reply, 405, "method-not-allowed")
    assert reply.headers["allow"] == "GET, HEAD, OPTIONS"


def test_unknown_method(gateway, refused):
    refused(gateway.http.send("BREW", EVENTS, b""), 501, "unimplemented", "BREW")


@pytest.mark.parametrize("path", ["not-a-uuid", "%00", "%ff", "a%2Fb", "x" * 3000])
def test_status_of_what_is_no_id(gateway, refused, path):
    """An id that never was is not found, whatever its form."""
    reply = gateway.http.get(f"{EVENTS}/{path}")
    assert reply.status in (400, 404, 413, 414, 422), reply
    assert reply.headers["content-type"] == PROBLEM


def test_problems_are_safe_to_print(gateway, refused):
    """What came from outside is in the detail only as harmless text."""
    reply = gateway.http.post(json.dumps({"name": "a", "evil\x1b[31m\u0007": 1}).encode())
    problem = refused(reply, 422, "invalid")
    assert all(character.isprintable() for character in problem["detail"])


def test_an_unread_body_does_not_become_a_request(gateway, refused):
    """The body of a refused request must not be taken for the next one on the same connection."""
    smuggled = request("POST", EVENTS, GOOD, {"Content-Type": JSON})
    with Connection(gateway.http_port) as connection:
        connection.send(request("POST", EVENTS, smuggled, {"Content-Type": "text/plain"}))
        assert connection.receive().status == 415
        connection.socket.settimeout(2)
        try:
            second = connection.receive()
        except (Closed, OSError, TimeoutError):
            return
        raise AssertionError(f"a second reply: {second}")


# ---- compressed bodies ----

GZIP = {"Content_Encoding": "gzip"}


@pytest.mark.parametrize(
    "body, words",
    [
        (b'{"name":"a"}', "gzip"),
        (gzip.compress(b'{"name":"a"}')[:-1], "too early"),
        (gzip.compress(b'{"name":"a"}') + b"x", "gzip"),
        (b"", "too early"),
    ],
    ids=["not at all", "cut off", "with more", "empty"],  # gzip writes the time into each
)
def test_broken_compression(refused, gateway, body, words):
    refused(gateway.http.post(body, **GZIP), 400, "malformed", words)


def test_a_bomb(refused, gateway):
    """A kilobyte for each megabyte: told once the bound is reached, not at its end."""
    bomb = gzip.compress(b"[" + b" " * (512 << 20), 9)
    assert len(bomb) < LIMIT
    before, used_s = gateway.resident_kb(), gateway.cpu_s()
    refused(gateway.http.post(bomb, **GZIP), 413, "too-large", str(LIMIT))
    assert SANITIZED or gateway.cpu_s() - used_s < 0.3, "all of it would take three times that"
    assert SANITIZED or gateway.resident_kb() - before < 8 * 1024


def test_unknown_codings(refused, gateway):
    reply = gateway.http.post({"name": "a"}, Content_Encoding="br")
    refused(reply, 415, "unsupported-media-type", "br", "gzip, zstd, identity")
    assert reply.headers["accept-encoding"] == "gzip, zstd, identity"

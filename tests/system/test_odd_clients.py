"""Clients that are odd, old, slow, many, or up to something: each is served or refused by the rules
of RFC 9110 and 9112, and nobody else notices."""

import resource
import select
import socket
import threading
import time

import pytest

from bus_client import stored_ids, stream_info
from http_client import EVENTS, JSON, Closed, Connection, Http, request
from program import PATIENCE_S, SANITIZED
from wait import until

PROBLEM = "application/problem+json"
BODY = b'{"name":"odd"}'


def lines(*fields, body=b""):
    """A request of these lines as they are."""
    return "\r\n".join(fields).encode("latin-1") + b"\r\n\r\n" + body


def post(*fields, target=EVENTS, version="1.1", body=BODY):
    return lines(
        f"POST {target} HTTP/{version}", "Host: x", f"Content-Type: {JSON}", *fields, body=body
    )


LENGTH = f"Content-Length: {len(BODY)}"


def is_closed(connection):
    """Whether the gateway ends the connection, without another answer."""
    connection.socket.settimeout(PATIENCE_S)
    try:
        connection.more()
    except (Closed, ConnectionError):
        return True
    return False


@pytest.fixture
def talk(gateway):
    """talk(bytes) sends them on a connection of its own, which stays open until the test's end."""
    opened = []

    def begin(data):
        opened.append(Connection(gateway.http_port))
        opened[-1].send(data)
        return opened[-1]

    yield begin
    for connection in opened:
        connection.close()


@pytest.fixture
def refused(shared, talk):
    """refused(bytes): 400 and the end of the connection; nothing of it was stored."""
    before = stream_info(shared.bus.url).state.last_seq

    def check(data):
        connection = talk(data)
        reply = connection.receive()
        assert reply.status == 400, reply
        assert reply.headers["content-type"] == PROBLEM
        assert reply.headers["connection"] == "close"
        assert is_closed(connection), f"something follows: {connection.pending}"
        return reply

    yield check
    assert stream_info(shared.bus.url).state.last_seq == before, "something was stored"


# ---- several requests at once ----


def test_pipelined_requests_are_answered_in_order(talk):
    """RFC 9112, section 9.3.2."""
    ids = [f"pipelined-{n}" for n in range(20)]
    connection = talk(b"".join(post(LENGTH, f"X-Request-Id: {i}") for i in ids))
    assert [connection.receive().headers["x-request-id"] for _ in ids] == ids


def test_a_refusal_in_the_middle_of_a_pipeline(talk):
    """Its body is over before the next request, so the others go on."""
    connection = talk(
        post(LENGTH)
        + post("Content-Length: 7", body=b"no json")
        + lines("GET /nowhere HTTP/1.1", "Host: x")
        + post(LENGTH)
    )
    assert [connection.receive().status for _ in range(4)] == [202, 400, 404, 202]


def test_a_pipeline_behind_an_ambiguous_request(shared, talk):
    """What follows a request whose end is open to interpretation is no request."""
    before = stream_info(shared.bus.url).state.last_seq
    connection = talk(
        post(LENGTH)
        + post(LENGTH, "Transfer-Encoding: chunked", body=b"0\r\n\r\n")
        + post(LENGTH)
        + post(LENGTH)
    )
    assert [connection.receive().status for _ in range(2)] == [202, 400]
    assert is_closed(connection)
    assert stream_info(shared.bus.url).state.last_seq == before + 1


def test_a_client_that_closes_its_half(talk):
    """Nothing more comes from it, but it waits for its answers."""
    connection = talk(post(LENGTH) * 3)
    connection.socket.shutdown(socket.SHUT_WR)
    assert [connection.receive().status for _ in range(3)] == [202] * 3
    assert is_closed(connection)


def test_a_request_in_pieces(talk):
    """Each byte a segment of its own."""
    connection = talk(b"")
    for byte in post(LENGTH):
        connection.send(bytes([byte]))
    assert connection.receive().status == 202


# ---- Expect (RFC 9110, section 10.1.1) ----


def test_a_client_that_asks_before_it_sends(talk):
    """As curl does for larger bodies."""
    connection = talk(post(LENGTH, "Expect: 100-continue", body=b""))
    connection.more()
    assert connection.pending == b"HTTP/1.1 100 Continue\r\n\r\n"
    connection.send(BODY)
    assert connection.receive().status == 202


def test_a_client_that_asks_and_does_not_wait(talk):
    connection = talk(post(LENGTH, "expect: 100-Continue"))
    assert connection.receive().status == 202


@pytest.mark.parametrize(
    "fields, status",
    [
        ((f"Content-Length: {1 << 30}",), 413),
        ((LENGTH, "Content-Encoding: br"), 415),
        ((LENGTH, "Accept: text/html"), 406),
    ],
)
def test_a_client_that_asks_and_is_refused(talk, fields, status):
    """The body is not asked for; whether it comes all the same is unknown, so the end."""
    connection = talk(post(*fields, "Expect: 100-continue", body=b""))
    while b"\r\n\r\n" not in connection.pending:
        connection.more()
    assert connection.pending.startswith(f"HTTP/1.1 {status} ".encode())
    assert connection.receive().headers["connection"] == "close"
    assert is_closed(connection)


def test_an_old_client_is_not_told_to_go_on(talk):
    """HTTP/1.0 knows no 100."""
    connection = talk(post(LENGTH, "Expect: 100-continue", version="1.0"))
    connection.more()
    assert connection.pending.startswith(b"HTTP/1.1 202 ")


# ---- HTTP/1.0 ----


def test_an_old_client(talk):
    """No Host, and the connection ends with the answer."""
    connection = talk(lines(f"POST {EVENTS} HTTP/1.0", f"Content-Type: {JSON}", LENGTH, body=BODY))
    reply = connection.receive()
    assert (reply.status, reply.headers["connection"]) == (202, "close")
    assert is_closed(connection)


def test_an_old_client_that_stays(talk):
    connection = talk(post(LENGTH, "Connection: Keep-Alive", version="1.0") * 2)
    for _ in range(2):
        reply = connection.receive()
        assert (reply.status, reply.headers["connection"]) == (202, "keep-alive")


# ---- targets ----


@pytest.mark.parametrize(
    "authority",
    ["http://x", "http://tidings.example:80", "http://127.0.0.1:1", "https://x", "HTTP://X"],
)
def test_an_absolute_target(talk, authority):
    """As proxies send it (RFC 9112, section 3.2.2), whatever host it names."""
    connection = talk(post(LENGTH, target=authority + EVENTS))
    assert connection.receive().status == 202


@pytest.mark.parametrize("target", ["http://x", "http://x?a=b", "http://[::1]/health", "ftp://x/"])
def test_an_absolute_target_that_civetweb_cannot_read(refused, target):
    """HTTP allows the first three; docs/http-api.md says that they are refused."""
    refused(lines(f"GET {target} HTTP/1.1", "Host: x"))


def test_a_tunnel(talk):
    """CONNECT is for proxies."""
    reply = talk(lines("CONNECT x:443 HTTP/1.1", "Host: x")).receive()
    assert 400 <= reply.status < 600 and reply.headers["content-type"] == PROBLEM, reply


# ---- whose end is open to interpretation: requests to be smuggled past a proxy ----

HIDDEN = post(LENGTH, "X-Request-Id: hidden")
CHUNKS = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)

AMBIGUOUS = {
    "length and chunks": (LENGTH, "Transfer-Encoding: chunked"),
    "chunks and length": ("Transfer-Encoding: chunked", LENGTH),
    "length 0 and chunks": ("Content-Length: 0", "Transfer-Encoding: chunked"),
    "two equal lengths": (LENGTH, LENGTH),
    "two lengths": (LENGTH, "Content-Length: 5"),
    "two lengths, other case": (LENGTH, "content-length: 5"),
    "a list of equal lengths": (f"{LENGTH}, {len(BODY)}",),
    "a list of lengths": ("Content-Length: 5, 6",),
    "a signed length": (f"Content-Length: +{len(BODY)}",),
    "a length with a fraction": ("Content-Length: 14.0",),
    "a hexadecimal length": ("Content-Length: 0xe",),
    "a huge length": ("Content-Length: 18446744073709551630",),
    "an empty length": ("Content-Length:",),
    "chunked twice": ("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"),
    "chunked and another": ("Transfer-Encoding: chunked", "Transfer-Encoding: identity"),
    "another, then chunked": ("Transfer-Encoding: gzip, chunked",),
    "chunked, then another": ("Transfer-Encoding: chunked, identity",),
    "identity": ("Transfer-Encoding: identity", LENGTH),
    "nearly chunked": ("Transfer-Encoding: xchunked", LENGTH),
    "chunked in quotes": ('Transfer-Encoding: "chunked"', LENGTH),
    "a tab before chunked": ("Transfer-Encoding:\tchunked",),
    "a vertical tab before chunked": ("Transfer-Encoding: \x0bchunked",),
    "a blank before the colon": ("Transfer-Encoding : chunked", LENGTH),
    "a blank before the name": (" Transfer-Encoding: chunked", LENGTH),
    "a folded line": ("X-Name: a", " b", LENGTH),
    "a folded line with a tab": ("X-Name: a", "\tb", LENGTH),
    "a folded coding": ("Transfer-Encoding:", " chunked", LENGTH),
    "a length hidden behind LF": (f"X-Name: a\n{LENGTH}",),
    "a length hidden behind CR": (f"X-Name: a\r{LENGTH}", "Content-Length: 5"),
    "a NUL in a name": ("Content-\x00Length: 5", LENGTH),
    "two hosts": ("Host: y", LENGTH),
    "a line without a colon": ("X-Name", LENGTH),
}


@pytest.mark.parametrize("fields", AMBIGUOUS.values(), ids=AMBIGUOUS.keys())
def test_a_request_that_can_be_read_in_two_ways(refused, fields):
    body = CHUNKS if any("ransfer" in field for field in fields) else BODY
    refused(post(*fields, body=body) + HIDDEN)


CHUNKED = {
    "a sign": b"+e\r\n" + BODY + b"\r\n0\r\n\r\n",
    "0x": b"0xe\r\n" + BODY + b"\r\n0\r\n\r\n",
    "no size": b"\r\n" + BODY + b"\r\n0\r\n\r\n",
    "a negative size": b"-1\r\n" + BODY + b"\r\n0\r\n\r\n",
    "too large a size": b"10000000000000000e\r\n" + BODY + b"\r\n0\r\n\r\n",
    "LF behind the size": b"e\n" + BODY + b"\r\n0\r\n\r\n",
    "LF behind the data": b"e\r\n" + BODY + b"\n0\r\n\r\n",
    "data longer than the size": b"5\r\n" + BODY + b"\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("body", CHUNKED.values(), ids=CHUNKED.keys())
def test_chunks_that_can_be_read_in_two_ways(refused, body):
    refused(post("Transfer-Encoding: chunked", body=body) + HIDDEN)


def test_nothing_follows_a_chunked_body(shared, talk):
    """Whether trailers, an empty line or a request stand there, civetweb does not tell."""
    before = stream_info(shared.bus.url).state.last_seq
    connection = talk(post("Transfer-Encoding: chunked", body=CHUNKS) + HIDDEN)
    reply = connection.receive()
    assert (reply.status, reply.headers["connection"]) == (202, "close")
    assert is_closed(connection)
    assert stream_info(shared.bus.url).state.last_seq == before + 1


# ---- many clients that do nothing, and slow ones ----

CROWD = 300 if SANITIZED else 2500
HONEST_S = 3 * PATIENCE_S  # the longest that an honest client may have to try
SLOW_REQUEST_S = 2


def open_files_allowed(count):
    """Raises this process's soft limit, or skips where the hard one forbids it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count:
        pytest.skip(f"this machine allows {hard} open files")
    if soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))


class Crowd:
    """Connections that all send the same, made without waiting for any."""

    def __init__(self, port, count, data=b""):
        self.sockets = []
        for _ in range(count):
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
            self.sockets.append(one)
        if data:
            until(lambda: self.are_connected(count // 4), PATIENCE_S, "a quarter is connected")
            self.send(data)

    def are_connected(self, count):
        connected = select.poll()
        for one in self.sockets:
            connected.register(one, select.POLLOUT)
        return len(connected.poll(0)) >= count

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for one in self.sockets:
            one.close()

    def send(self, byte):
        """On each; those that the gateway has ended are left out from now on."""
        alive = []
        for one in self.sockets:
            try:
                one.send(byte)
                alive.append(one)
            except BlockingIOError:  # it waits for its place still
                alive.append(one)
            except OSError:
                one.close()
        self.sockets = alive


def until_served(port, count):
    """An honest client with a new connection each time comes back while it is told to; returns its
    events."""
    accepted = []

    def post_once():
        try:
            reply = Http(port).post({"name": "honest"})
        except (OSError, Closed):
            return False
        assert reply.status in (202, 503), reply
        if reply.status == 202:
            accepted.append(reply.event_id)
        return len(accepted) >= count

    until(post_once, HONEST_S, lambda: f"{count} events are accepted, not {len(accepted)}")
    return accepted


@pytest.mark.parametrize(
    "first", [b"", lines("GET /health HTTP/1.1", "Host: x")], ids=["new", "kept"]
)
def test_thousands_of_idle_connections(tidings, first):
    """Whoever is connected already notices nothing; whoever comes finds a place."""
    open_files_allowed(CROWD + 256)
    tidings.nats()
    gateway = tidings.gateway(max_connections=128, request_timeout="60s", idle_timeout="60s")
    with Connection(gateway.http_port) as before:
        before.send(post(LENGTH))
        assert before.receive().status == 202
        with Crowd(gateway.http_port, CROWD, first):
            ids = until_served(gateway.http_port, 20)
            assert gateway.metrics()["tidings_http_connections"] <= 128 + 16
    assert set(ids) <= set(stored_ids(tidings.bus_url))
    assert gateway.http.post({"name": "afterwards"}).status == 202
    assert gateway.alive()


@pytest.mark.parametrize(
    "head",
    [
        f"POST {EVENTS} HTTP/1.1\r\nHost: x\r\nX-Slow: ".encode(),
        request("POST", EVENTS, None, {"Content-Type": JSON, "Content-Length": "5000"}),
    ],
    ids=["header", "body"],
)
def test_a_byte_a_second_from_many(tidings, head):
    """More slow clients than there are threads: each has --request-timeout, and no more."""
    tidings.nats()
    gateway = tidings.gateway(max_connections=24, request_timeout=f"{SLOW_REQUEST_S}s")
    over = threading.Event()
    with Crowd(gateway.http_port, 60, head) as slow:

        def trickle():
            while not over.wait(1):
                slow.send(b" ")

        thread = threading.Thread(target=trickle)
        thread.start()
        try:
            begin = time.monotonic()
            until_served(gateway.http_port, 10)
            until(lambda: not slow.sockets, HONEST_S, "all slow clients were ended")
            # 60 of them on 28 threads are three rounds, at most
            assert SANITIZED or time.monotonic() - begin < 3 * (SLOW_REQUEST_S + 1) + PATIENCE_S
        finally:
            over.set()
            thread.join()
    slow_ones = 'tidings_http_refusals_total{reason="request-timeout"}'
    assert gateway.metrics()[slow_ones] >= 10
    assert gateway.http.post({"name": "afterwards"}).status == 202

"""Small HTTP clients: Http for single requests, raw() for bytes as they are, Load for many."""

import json
import random
import socket
import threading
import time

from wait import POLL_S

EVENTS = "/api/v1/events"
JSON = "application/json"


class Reply:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body  # header names in lower case

    @property
    def text(self):
        return self.body.decode("utf-8")

    def json(self):
        return json.loads(self.body)

    def lines(self):
        return [json.loads(line) for line in self.body.splitlines()]

    @property
    def event_id(self):
        return self.json()["event_id"]

    def __repr__(self):
        return f"<{self.status} {self.headers} {self.body[:400]!r}>"


class Closed(Exception):
    """The connection ended before there was a whole reply."""


class Connection:
    """One connection that speaks HTTP/1.1: what is sent is up to the caller."""

    def __init__(self, port, timeout_s=30):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout_s)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.pending = b""

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def send(self, data):
        self.socket.sendall(data)

    def more(self):
        data = self.socket.recv(65536)
        if not data:
            raise Closed
        self.pending += data

    def receive(self, body=True):
        """One reply; body=False for the answer to a HEAD."""
        while (end := self.pending.find(b"\r\n\r\n")) < 0:
            self.more()
        lines = self.pending[:end].decode("latin-1").split("\r\n")
        self.pending = self.pending[end + 4 :]
        headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines[1:])
        }
        status = int(lines[0].split(" ")[1])
        if status == 100:
            return self.receive(body)
        body = body and status not in (204, 304)
        content = self.content(headers) if body else b""
        return Reply(status, headers, content)

    def content(self, headers):
        if "content-length" in headers:
            length = int(headers["content-length"])
            while len(self.pending) < length:
                self.more()
            content, self.pending = self.pending[:length], self.pending[length:]
            return content
        if headers.get("transfer-encoding") == "chunked":
            return b"".join(self.chunks())
        try:  # until the end
            while True:
                self.more()
        except Closed:
            content, self.pending = self.pending, b""
            return content


    def chunks(self):
        """Each as it comes; raises Closed where the last one is missing."""
        while True:
            while (end := self.pending.find(b"\r\n")) < 0:
                self.more()
            size = int(self.pending[:end], 16)
            while len(self.pending) < end + 2 + size + 2:
                self.more()
            data = self.pending[end + 2 : end + 2 + size]
            self.pending = self.pending[end + 2 + size + 2 :]
            if size == 0:
                return
            yield data


def request(method, path, body=None, headers=None):
    """A request's bytes. A header with value None is left out."""
    fields = {"Host": "localhost"}
    if body is not None:
        fields["Content-Length"] = str(len(body))
    fields.update(headers or {})
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items() if value is not None)
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode("utf-8") + (body or b"")


def raw(port, data, timeout_s=30):
    """Sends bytes as they are on a connection of their own and reads one reply."""
    with Connection(port, timeout_s) as connection:
        connection.send(data)
        return connection.receive()


class Http:
    """Single requests, each on a connection of its own."""

    def __init__(self, port):
        self.port = port

    def send(self, method, path, body=None, headers=None, timeout_s=30):
        with Connection(self.port, timeout_s) as connection:
            connection.send(request(method, path, body, headers))
            return connection.receive(body=method != "HEAD")

    def get(self, path, **headers):
        return self.send("GET", path, headers=headers)

    def post(self, event, content_type=JSON, **headers):
        """Posts an event: a dict, or bytes as they are. Header names with _ for -."""
        body = event if isinstance(event, bytes) else json.dumps(event).encode()
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.send("POST", EVENTS, body, {"Content-Type": content_type, **fields})

    @staticmethod
    def answers(port, path, status):
        try:
            return Http(port).send("GET", path, timeout_s=5).status == status
        except (OSError, Closed, ValueError):
            return False


class Load:
    """Clients that post events, each on its own connection, one at a time, until stopped.

    with Load([port], clients=8) as load: ...; then load.accepted holds the event_id of each 202.
    """

    def __init__(self, ports, clients=8, rate=None, name="load", timeout_s=30):
        self.ports, self.name, self.timeout_s = ports, name, timeout_s
        self.interval_s = clients / rate if rate else 0
        self.accepted = []  # event_ids
        self.replies = {}  # status -> count
        self.broken = 0  # connections that ended without a reply
        self.slowest_s = {}  # status -> seconds
        self.other = []  # some replies that were not 202, with the time since the request
        self.last_accepted = 0.0
        self.lock = threading.Lock()
        self.over = threading.Event()
        self.failure = None
        self.threads = [
            threading.Thread(target=self.guarded, args=(n,), daemon=True) for n in range(clients)
        ]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self.over.set()
        for thread in self.threads:
            thread.join(self.timeout_s + 10)
        if self.failure:
            raise self.failure

    def guarded(self, number):
        try:
            self.client(number)
        except Exception as failure:  # shown by stop()
            self.failure = failure

    def client(self, number):
        connection, count, due = None, 0, time.monotonic()
        while not self.over.is_set():
            body = b'{"name":"%s.%d","payload":{"n":%d}}' % (self.name.encode(), number, count)
            count += 1
            begin = time.monotonic()
            try:
                connection = connection or Connection(random.choice(self.ports), self.timeout_s)
                reply = self.exchange(connection, body)
            except (OSError, Closed):
                reply = None
                self.broken += 1
            if connection and (not reply or reply.headers.get("connection") == "close"):
                connection.close()
                connection = None
            due = max(due + self.interval_s, begin)
            if not reply or reply.status != 202:  # an honest client does not hammer
                due = max(due, time.monotonic() + POLL_S)
            self.over.wait(max(0, due - time.monotonic()))

    def exchange(self, connection, body):
        begin = time.monotonic()
        connection.send(request("POST", EVENTS, body, {"Content-Type": JSON}))
        reply = connection.receive()
        self.note(reply, time.monotonic() - begin)
        return reply

    def note(self, reply, seconds):
        if reply.status == 202:
            self.accepted.append(reply.event_id)
            self.last_accepted = time.monotonic()
        with self.lock:
            self.replies[reply.status] = self.replies.get(reply.status, 0) + 1
            self.slowest_s[reply.status] = max(seconds, self.slowest_s.get(reply.status, 0))
            if reply.status != 202 and len(self.other) < 5000:
                self.other.append((time.monotonic() - seconds, seconds, reply))

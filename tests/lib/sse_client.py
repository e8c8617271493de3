"""Server-Sent Events: one stream, and a follower that comes back as a browser does."""

import json
import random
import threading

from http_client import Closed, Connection, Reply, request

STREAM = "/api/v1/events/stream"


class Stream:
    """One answer of events; iterating gives (id, event, data) of each block with any of them."""

    def __init__(self, port, path, last_id=None, timeout_s=30):
        self.connection = Connection(port, timeout_s)
        headers = {"Accept": "text/event-stream", "Last-Event-ID": last_id}
        self.connection.send(request("GET", path, headers=headers))
        self.reply = self.head()
        self.status = self.reply.status
        self.text = b""
        self.comments = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.close()

    def head(self):
        c = self.connection
        while (end := c.pending.find(b"\r\n\r\n")) < 0:
            c.more()
        lines = c.pending[:end].decode("latin-1").split("\r\n")
        c.pending = c.pending[end + 4 :]
        pairs = (line.partition(":") for line in lines[1:])
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        return Reply(int(lines[0].split(" ")[1]), headers, b"")

    def chunk(self):
        """The next one; empty: the last. Closed: the stream broke."""
        c = self.connection
        while (end := c.pending.find(b"\r\n")) < 0:
            c.more()
        size = int(c.pending[:end], 16)
        while len(c.pending) < end + 2 + size + 2:
            c.more()
        data = c.pending[end + 2 : end + 2 + size]
        c.pending = c.pending[end + 2 + size + 2 :]
        return data

    def blocks(self):
        while True:
            while (end := self.text.find(b"\n\n")) >= 0:
                block, self.text = self.text[:end].decode(), self.text[end + 2 :]
                yield block
            data = self.chunk()
            if not data:
                assert not self.text, f"half an event: {self.text!r}"
                return
            self.text += data

    def __iter__(self):
        for block in self.blocks():
            fields = {}
            for line in block.split("\n"):
                name, _, value = line.partition(": ")
                fields[name] = value
            self.comments += "" in fields
            data = json.loads(fields["data"]) if "data" in fields else None
            if "id" in fields or data is not None:
                yield fields.get("id"), fields.get("event"), data


class Follower:
    """Follows until it is stopped, through whatever happens, with any of the gateways.

    with Follower(ports, path) as follower: ...; then follower.told has (id, document) of each
    event in the order they came."""

    def __init__(self, ports, path=STREAM, last_id=None, timeout_s=30):
        self.ports, self.path, self.timeout_s = ports, path, timeout_s
        self.last_id = last_id
        self.told = []
        self.closings = []  # the reasons
        self.answers = []  # statuses other than 200
        self.connections = 0
        self.ready = threading.Event()
        self.over = threading.Event()
        self.stream = None
        self.failure = None
        self.thread = threading.Thread(target=self.guarded, daemon=True)

    def __enter__(self):
        self.thread.start()
        assert self.ready.wait(self.timeout_s), f"no stream: {self.answers}"
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self.over.set()
        if self.stream:
            self.stream.connection.close()
        self.thread.join(self.timeout_s + 10)
        if self.failure:
            raise self.failure

    def guarded(self):
        try:
            while not self.over.is_set():
                self.follow()
                self.over.wait(0.05)
        except Exception as failure:  # shown by stop()
            self.failure = failure

    def follow(self):
        try:
            with Stream(
                random.choice(self.ports), self.path, self.last_id, self.timeout_s
            ) as self.stream:
                self.connections += 1
                if self.stream.status == 204:
                    self.over.set()
                elif self.stream.status != 200:
                    self.answers.append(self.stream.status)
                else:
                    self.read(self.stream)
        except (OSError, Closed, ValueError):
            return  # the gateway has gone, or stop() has closed the connection

    def read(self, stream):
        for identity, event, data in stream:
            if event == "closing":
                self.closings.append(data["reason"])
            elif data is not None:
                self.told.append((identity, data))
            self.last_id = identity or self.last_id
            self.ready.set()

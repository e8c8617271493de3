"""Reads whole streams, and fast: nats-py takes 100 us for a message with headers."""

import contextlib
import itertools
import json
import secrets
import socket

from bus_client import stream_request

CHUNK = 1 << 18
PART = 2000  # messages at a time
PATIENCE_S = 60


class Wire:
    """A connection that speaks just enough of NATS' protocol to be a pull consumer."""

    def __init__(self, url):
        host, port = url.removeprefix("nats://").split(":")
        self.socket = socket.create_connection((host, int(port)), timeout=PATIENCE_S)
        self.data, self.at = b"", 0
        assert self.line().startswith(b"INFO ")
        options = {"verbose": False, "pedantic": False, "headers": True, "lang": "python"}
        self.send(b"CONNECT %s\r\n" % json.dumps(options).encode())

    def close(self):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def more(self):
        got = self.socket.recv(CHUNK)
        assert got, "NATS has closed the connection of a reader"
        self.data, self.at = self.data[self.at :] + got, 0

    def line(self):
        while (end := self.data.find(b"\r\n", self.at)) < 0:
            self.more()
        line, self.at = self.data[self.at : end], end + 2
        return line

    def bytes(self, size):
        while len(self.data) - self.at < size + 2:
            self.more()
        found, self.at = self.data[self.at : self.at + size], self.at + size + 2
        return found

    def subscribe(self, subject):
        self.send(b"SUB %s 1\r\nPING\r\n" % subject.encode())
        while self.line() != b"PONG":
            pass

    def request(self, subject, inbox, body):
        self.send(f"PUB {subject} {inbox} {len(body)}\r\n{body}\r\n".encode())

    def messages(self):
        """(reply subject, headers, payload) of each."""
        while True:
            line = self.line()
            if line.startswith(b"HMSG "):
                words = line.split(b" ")
                size = int(words[-2])
                content = self.bytes(int(words[-1]))
                yield words[3] if len(words) == 6 else b"", content[:size], content[size:]
            elif line.startswith(b"MSG "):
                words = line.split(b" ")
                content = self.bytes(int(words[-1]))
                yield words[3] if len(words) == 5 else b"", b"", content
            elif line == b"PING":
                self.send(b"PONG\r\n")
            else:
                assert not line.startswith(b"-ERR"), line


def make_consumer(url, stream, headers_only):
    config = {
        "deliver_policy": "all",
        "ack_policy": "none",
        "replay_policy": "instant",
        "headers_only": headers_only,
        "inactive_threshold": PATIENCE_S * 1_000_000_000,
    }
    made = stream_request(
        url, f"CONSUMER.CREATE.{stream}", {"stream_name": stream, "config": config}
    )
    assert "error" not in made, made
    return made["name"]


def records(url, stream, headers_only=False):
    """Yields (position, headers, payload) of each message up to the stream's present end.

    It asks for a part at a time: a server closes connections that it cannot get rid of a lot on."""
    state = stream_request(url, f"STREAM.INFO.{stream}", {})["state"]
    left = state["messages"]
    if left == 0:
        return
    consumer = make_consumer(url, stream, headers_only)
    inbox = f"_INBOX.{secrets.token_hex(11)}"
    with contextlib.closing(Wire(url)) as wire:
        wire.subscribe(inbox)
        messages = wire.messages()
        number = 0
        while left > 0:
            part = min(PART, left)
            wire.request(f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}", inbox, str(part))
            for reply, headers, payload in itertools.islice(messages, part):
                assert not headers.startswith(b"NATS/1.0 "), headers
                # $JS.ACK.<stream>.<consumer>.<times>.<position>.<number>.<timestamp>.<pending>
                tokens = reply.split(b".")
                number += 1
                assert int(tokens[6]) == number, f"{stream}: a reader misses message {number}"
                yield int(tokens[5]), headers, payload
            left -= part


def header(headers, name):
    """A header's value, or None."""
    start = headers.find(b"\r\n%s:" % name.encode())
    if start < 0:
        return None
    start += len(name) + 3
    return headers[start : headers.index(b"\r\n", start)].strip().decode()

"""Producers that keep to the contract: each event has an id, and is sent until its 202."""

import collections
import itertools
import json
import threading

from http_client import EVENTS, JSON, Closed, Connection, request
from program import PATIENCE_S

SEND_AGAIN = (429, 503, 504)
PAUSE_S = 0.05  # after a failure: an honest client does not hammer
SOURCE = "/producers"


class Producers:
    """Clients that post events 0, 1, ... over kept connections, each `depth` at a time.

    content(n) is the n-th event's name and payload (JSON text). They end after `count` events, or
    when stop() is called; each event that was begun is sent, by the same id, until it has its 202.
    rate: events a second, of all clients together."""

    def __init__(self, ports, content, clients=8, depth=16, count=None, rate=None):
        self.ports, self.content, self.depth, self.count = ports, content, depth, count
        self.interval_s = clients * depth / rate if rate else 0
        self.numbers = {}  # event_id -> n, of those with a 202
        self.ids = []  # the same event_ids, in the order of their 202s
        self.replies = collections.Counter()
        self.broken = 0
        self.failures = []
        self.next = itertools.count()  # its next() is atomic
        self.over = threading.Event()
        self.threads = [
            threading.Thread(target=self.guarded, args=(turn,), daemon=True)
            for turn in range(clients)
        ]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()

    def running(self):
        assert not self.failures, self.failures
        return any(thread.is_alive() for thread in self.threads)

    def finish(self, limit_s=3 * PATIENCE_S):
        """Waits until each event has its 202; fails when that stands still for so long."""
        for thread in self.threads:
            before = None
            while thread.is_alive() and before != len(self.ids):
                before = len(self.ids)
                thread.join(limit_s)
            assert not thread.is_alive(), f"no more 202s for {limit_s} s: {self.replies}"
        assert not self.failures, self.failures

    def stop(self):
        self.over.set()
        self.finish()

    def guarded(self, turn):
        try:
            self.client(itertools.cycle(self.ports[turn % len(self.ports) :] + self.ports))
        except Exception as failure:  # shown by finish()
            self.failures.append(failure)

    def take(self):
        """The numbers of the next events."""
        if self.over.is_set():
            return []
        found = list(itertools.islice(self.next, self.depth))
        return [n for n in found if self.count is None or n < self.count]

    def client(self, ports):
        connection = None
        try:
            while numbers := self.take():
                waiting = {n: self.request(n) for n in numbers}
                while waiting:
                    connection = self.send(connection, ports, waiting)
                    if waiting:
                        threading.Event().wait(PAUSE_S)
                self.over.wait(self.interval_s)
        finally:
            if connection:
                connection.close()

    def send(self, connection, ports, waiting):
        """Sends all that wait; they wait no more once they have a 202. Returns a connection."""
        try:
            connection = connection or Connection(next(ports))
            connection.send(b"".join(waiting.values()))
            for n in list(waiting):
                if self.note(n, connection.receive()):
                    del waiting[n]
            return connection
        except (OSError, Closed):
            self.broken += 1
            if connection:
                connection.close()
            return None

    def request(self, n):
        name, payload = self.content(n)
        body = '{"id":"%d","source":"%s","name":"%s","payload":%s}' % (n, SOURCE, name, payload)
        return request("POST", EVENTS, body.encode(), {"Content-Type": JSON})

    def note(self, n, reply):
        self.replies[reply.status] += 1
        if reply.status != 202:
            assert reply.status in SEND_AGAIN, reply
            return False
        event_id = json.loads(reply.body)["event_id"]
        assert self.numbers.setdefault(event_id, n) == n, f"{event_id} is two events"
        self.ids.append(event_id)
        return True

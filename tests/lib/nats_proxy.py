"""A TCP proxy before NATS that knows the protocol well enough to lose or hold single messages.

Frames are those of https://docs.nats.io/reference/reference-protocols/nats-protocol: a control
line, and for PUB, HPUB, MSG and HMSG a body of the length that the line ends with.
"""

import selectors
import socket
import threading

WITH_BODY = (b"PUB ", b"HPUB ", b"MSG ", b"HMSG ")


class Frames:
    """Cuts a stream of bytes into whole frames."""

    def __init__(self):
        self.pending = b""

    def feed(self, data):
        self.pending += data
        while (end := self.pending.find(b"\r\n")) >= 0:
            size = end + 2
            line = self.pending[:end]
            if line.upper().startswith(WITH_BODY):
                size += int(line.rsplit(b" ", 1)[1]) + 2
            if len(self.pending) < size:
                return
            frame, self.pending = self.pending[:size], self.pending[size:]
            yield frame


class NatsProxy(threading.Thread):
    """with NatsProxy(port) as proxy: services connect to proxy.url."""

    def __init__(self, nats_port):
        super().__init__(daemon=True)
        self.nats_port = nats_port
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"nats://127.0.0.1:{self.listener.getsockname()[1]}"
        self.lock = threading.Lock()
        self.over = False
        self.rule = None  # (kind, every, match)
        self.counted = 0
        self.held = []  # (socket, frame)
        self.foreign = []
        self.subscriptions = {}  # socket -> [(subject up to its wildcard, sid)]
        self.selector = selectors.DefaultSelector()
        self.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.over = True
        self.join()

    # ---- rules ----

    def lose_publishes(self, every, subject, foreign):
        """Their publishers get one of the foreign replies instead, in turn."""
        self.foreign = foreign
        self.set_rule(
            "lose",
            every,
            lambda frame: frame.startswith((b"PUB ", b"HPUB "))
            and frame.split(b" ", 2)[1].startswith(subject),
        )

    def lose_acks(self, every):
        self.set_rule("lose", every, self.is_ack)

    def hold_acks(self, every):
        self.set_rule("hold", every, self.is_ack)

    def heal(self):
        """No rule any more; what was held is delivered."""
        with self.lock:
            self.rule = None
            for target, frame in self.held:
                try:
                    target.sendall(frame)
                except OSError:
                    pass  # that connection is gone
            self.held = []

    @staticmethod
    def is_ack(frame):
        return (
            frame.startswith((b"MSG ", b"HMSG "))
            and b'{"stream":"TIDINGS_EVENTS"' in frame
            and b'"seq":' in frame
        )

    def set_rule(self, kind, every, match):
        with self.lock:
            self.rule, self.counted = (kind, every, match), 0

    def passes(self, source, target, frame):
        if frame.startswith(b"SUB "):
            words = frame.split()
            known = self.subscriptions.setdefault(source, [])
            known.append((words[1].rstrip(b"*>"), words[-1]))
        if not self.rule or not self.rule[2](frame):
            return True
        self.counted += 1
        if self.counted % self.rule[1]:
            return True
        if self.rule[0] == "hold":
            self.held.append((target, frame))
        elif frame.startswith((b"PUB ", b"HPUB ")):
            self.answer(source, frame)
        return False

    def answer(self, publisher, frame):
        """A reply of somebody who is not JetStream."""
        reply = frame.split(b" ", 3)[2]
        body = self.foreign[self.counted // self.rule[1] % len(self.foreign)]
        for subject, sid in self.subscriptions[publisher]:
            if reply.startswith(subject):
                publisher.sendall(b"MSG %s %s %d\r\n%s\r\n" % (reply, sid, len(body), body))
                return
        raise AssertionError(f"nobody listens to {reply}")

    # ---- relay ----

    def run(self):
        self.selector.register(self.listener, selectors.EVENT_READ, None)
        while not self.over:
            for key, _ in self.selector.select(timeout=0.1):
                if key.data is None:
                    self.accept()
                else:
                    self.relay(key.fileobj, *key.data)
        for key in list(self.selector.get_map().values()):
            key.fileobj.close()

    def accept(self):
        near, _ = self.listener.accept()
        try:
            far = socket.create_connection(("127.0.0.1", self.nats_port), timeout=5)
        except OSError:
            near.close()
            return
        far.settimeout(None)
        for one, other in ((near, far), (far, near)):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.selector.register(one, selectors.EVENT_READ, (other, Frames()))

    def relay(self, source, target, frames):
        if source.fileno() < 0:
            return  # closed with its other end, in this very turn
        try:
            data = source.recv(1 << 18)
            if data:
                with self.lock:
                    passing = b"".join(
                        f for f in frames.feed(data) if self.passes(source, target, f)
                    )
                    if passing:
                        target.sendall(passing)
                return
        except OSError:
            pass
        for end in (source, target):
            self.selector.unregister(end)
            end.close()

"""Asks about events all the time, one replica after the other: no status may go backwards."""

import collections
import itertools
import threading

import grpc

from grpc_client import Client
from status_fold import Change, wins

AWAY = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
)
# A replica that was killed is asked again soon.
RECONNECT = [("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 500)]
TIMEOUT_S = 1
RECENT = 32  # events
LATEST = 4


def state_of(answer):
    return Change(answer.status, answer.attempt, answer.generation, False, 0, 0)


class Poller:
    """with Poller(addresses, ids, chance) as poller: ...; then poller.check().

    `ids` is a list of event_ids that have got a 202; it may grow. Each answer's position is the
    next question's min_position."""

    def __init__(self, addresses, ids, chance, pause_s=0.004):
        self.addresses, self.ids, self.chance, self.pause_s = addresses, ids, chance, pause_s
        self.position = 0
        self.recent = collections.deque(maxlen=RECENT)
        self.seen = {}  # event_id -> (state, who said so)
        self.answers = collections.Counter()  # address -> count
        self.away = collections.Counter()  # code -> count
        self.moves = 0  # an event that has another status than it had when last asked about
        self.wrong = []
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.guarded, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join(TIMEOUT_S + 10)

    def guarded(self):
        clients = [Client(address, RECONNECT) for address in self.addresses]
        try:
            for client, address in itertools.cycle(list(zip(clients, self.addresses))):
                if self.over.wait(self.pause_s):
                    return
                if self.ids:
                    self.ask(client, address, self.choose())
        except Exception as failure:  # shown by check()
            self.wrong.append(repr(failure))
        finally:
            for client in clients:
                client.channel.close()

    def choose(self):
        """Often one of the latest, and often one that it has asked about lately."""
        if self.recent and self.chance.random() < 0.5:
            return self.chance.choice(self.recent)
        count = min(LATEST, len(self.ids)) if self.chance.random() < 0.7 else len(self.ids)
        event_id = self.ids[-1 - self.chance.randrange(count)]
        self.recent.append(event_id)
        return event_id

    def ask(self, client, address, event_id):
        try:
            answer = client.status(event_id, min_position=self.position, timeout_s=TIMEOUT_S)
        except grpc.RpcError as error:
            self.away[error.code().name] += 1
            if error.code() not in AWAY:
                self.wrong.append(f"{address}, {event_id}: {error.code()} {error.details()}")
            return
        self.answers[address] += 1
        if answer.event_id != event_id or answer.position < self.position:
            self.wrong.append(f"{address}, from {self.position} on, {event_id}: {answer}")
        self.position = max(self.position, answer.position)
        self.note(event_id, state_of(answer), f"{address} at {answer.position}")

    def note(self, event_id, state, who):
        before, whose = self.seen.get(event_id, (None, None))
        if before and state != before:
            self.moves += 1
            if not wins(before, state):
                self.wrong.append(f"{event_id}: {before} says {whose}, then {state} says {who}")
        self.seen[event_id] = (state, who)

    def check(self):
        assert not self.wrong, f"{len(self.wrong)} wrong answers: {self.wrong[:3]}"
        assert set(self.answers) == set(self.addresses), f"not all were asked: {self.answers}"
        assert self.moves > 0, "no event was seen to move: the poller shows nothing"

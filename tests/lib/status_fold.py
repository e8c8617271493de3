"""What became of every event, folded from the logs by other code than the processors': it knows
their records and the rules of the moves, and asks no processor."""

import collections
import uuid

from bus_client import EVENTS
from grpc_client import log_pb, pb
from log_reader import header, records

STATUS_LOG = "TIDINGS_STATUS_default"
LETTERS = "TIDINGS_DEAD"
ALONE = 16

Change = collections.namedtuple("Change", "status attempt generation alone position place")
ACCEPTED = Change(pb.EventStatus.ACCEPTED, 0, 0, False, 0, 0)
Loser = collections.namedtuple("Loser", "event change processor")
Letter = collections.namedtuple("Letter", "event_id generation attempts reason error")

RANKS = {
    pb.EventStatus.ACCEPTED: 0,
    pb.EventStatus.PROCESSING: 1,
    pb.EventStatus.RETRYING: 3,
    pb.EventStatus.PROCESSED: 4,
    pb.EventStatus.DEAD: 4,
}


def rank(change):
    return 2 if change.alone else RANKS[change.status]


def has_ended(change):
    return change.status in (pb.EventStatus.PROCESSED, pb.EventStatus.DEAD)


def wins(cell, change):
    """The rule of docs/design.md: whether a change moves an event on."""
    if change.generation != cell.generation:
        return change.generation > cell.generation
    if has_ended(cell):
        return False
    if change.attempt != cell.attempt:
        return change.attempt > cell.attempt
    return rank(change) > rank(cell)


class Event:
    """One event: its changes that won, and what goes with its ends."""

    __slots__ = ("event_id", "position", "history", "letters", "errors")

    def __init__(self, event_id, position):
        self.event_id, self.position = event_id, position
        self.history = (ACCEPTED,)
        self.letters = {}  # generation -> where the letter is that its `dead` names
        self.errors = {}  # (generation, attempt) -> text

    @property
    def last(self):
        return self.history[-1]

    def ends(self):
        return [change for change in self.history if has_ended(change)]

    def failed(self, generation=0):
        """The attempts of a generation that failed, by their records."""
        failures = (pb.EventStatus.RETRYING, pb.EventStatus.DEAD)
        return [
            change.attempt
            for change in self.history
            if change.generation == generation and change.status in failures and change.attempt > 0
        ]


class Fold:
    """All logs as they are now."""

    def __init__(self, url):
        self.url = url
        self.events = {}  # event_id (bytes) -> Event
        self.by_position = {}  # without copies
        self.copies = 0
        self.losers = []
        self.event_position = self.status_position = 0
        for position, headers, _ in records(url, EVENTS, headers_only=True):
            self.add_event(position, header(headers, "Tidings-Event-Id"))
        for position, _, payload in records(url, STATUS_LOG):
            self.add_batch(position, log_pb.StatusBatch.FromString(payload))

    def add_event(self, position, event_id):
        key = uuid.UUID(event_id).bytes
        self.event_position = position
        if key in self.events:
            self.copies += 1
            return
        self.events[key] = self.by_position[position] = Event(event_id, position)

    def add_batch(self, position, batch):
        assert batch.version == 1 and not batch.conflict_rows, batch
        self.status_position = position
        letters = dict(zip(batch.letter_rows, batch.letter_positions))
        errors = dict(zip(batch.error_rows, batch.error_texts))
        rows = zip(batch.event_positions, batch.statuses, batch.attempts, batch.generations)
        for row, (where, status, attempt, generation) in enumerate(rows):
            event = self.by_position.get(where)
            if not event:
                continue  # of a copy: nobody sees its state
            event_id = batch.event_ids[16 * row : 16 * row + 16]
            assert self.events.get(event_id) is event, f"row {row} of {position}: another event's"
            change = Change(
                status & ~ALONE, attempt, generation, bool(status & ALONE), position, row
            )
            if wins(event.last, change):
                self.apply(event, change, letters.get(row), errors.get(row))
            else:
                self.losers.append(Loser(event, change, batch.processor))

    @staticmethod
    def apply(event, change, letter, error):
        event.history += (change,)
        if letter is not None:
            event.letters[change.generation] = letter
        if error:
            event.errors[change.generation, change.attempt] = error

    # ---- what it says ----

    def __getitem__(self, event_id):
        return self.events[uuid.UUID(event_id).bytes]

    def ids(self):
        return {event.event_id for event in self.by_position.values()}

    def counts(self):
        return collections.Counter(event.last.status for event in self.by_position.values())

    def with_status(self, status):
        return [event for event in self.by_position.values() if event.last.status == status]

    def late_ends(self):
        """Ends that came too late: the event had been ended by somebody else."""
        return [loser for loser in self.losers if has_ended(loser.change)]

    def read_letters(self):
        """Position in the letters' log -> letter."""
        return {
            position: Letter(
                header(headers, "Tidings-Event-Id"),
                int(header(headers, "Tidings-Generation")),
                int(header(headers, "Tidings-Attempts")),
                header(headers, "Tidings-Reason"),
                header(headers, "Tidings-Error"),
            )
            for position, headers, _ in records(self.url, LETTERS, headers_only=True)
        }

    def digest(self):
        """What a processor's table must have as its digest (event-processor/status_cell.c)."""
        return sum(map(digest_of, self.by_position.values())) & MASK


MASK = (1 << 64) - 1


def mix(x):
    x ^= x >> 33
    x = x * 0xFF51AFD7ED558CCD & MASK
    x ^= x >> 33
    x = x * 0xC4CEB9FE1A85EC53 & MASK
    return x ^ x >> 33


def digest_of(event):
    last, identity = event.last, uuid.UUID(event.event_id).bytes
    state = last.status | last.alone << 3 | last.attempt << 4 | last.generation << 14
    digest = mix(event.position + 0x9E3779B97F4A7C15 & MASK)
    digest = mix(digest ^ int.from_bytes(identity[:8], "little"))
    digest = mix(digest ^ int.from_bytes(identity[8:], "little"))
    digest = mix(digest ^ (state | last.place << 24))
    return mix(digest ^ last.position)

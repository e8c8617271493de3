"""What must hold once all is over: every event has ended, once, and everybody says so."""

import threading
import time

import grpc

from bus_client import stream_info, waiting_and_delivered
from grpc_client import Client, pb, until_digests_agree
from http_client import Closed
from program import PATIENCE_S
from status_fold import Fold, has_ended
from wait import until

RETRY_LOG = "TIDINGS_RETRY_default"
POLL_S = 0.1
STALL_S = 6 * PATIENCE_S
PROCESSED, DEAD = pb.EventStatus.PROCESSED, pb.EventStatus.DEAD
SAMPLE = 2000  # events whose status, and whose history, each replica is asked for


def in_hand(processor):
    metrics = processor.metrics()
    return sum(n for name, n in metrics.items() if name.startswith("tidings_deliveries_in_hand{"))


def progress(tidings):
    """What moves while there is something left to do: the bus', and each replica's."""
    moving = [waiting_and_delivered(tidings.bus.url)]
    for processor in tidings.processors():
        if not processor.is_ready():
            moving.append(processor.name)  # it has to catch up first
            continue
        try:
            with Client(processor.address) as client:
                stats = client.stats()
            open_events = stats.counts.accepted + stats.counts.processing + stats.counts.retrying
            moving.append((open_events, in_hand(processor), stats.status_position))
        except (grpc.RpcError, OSError, Closed):
            moving.append(processor.name)
    return moving


def is_over(moving):
    return moving[0] == (0, 0) and all(replica[:2] == (0, 0) for replica in moving[1:])


def until_over(tidings, meanwhile=lambda: None):
    """Nothing is left to do, and nobody does anything; however long that takes.

    It fails when nothing has moved for STALL_S. The attempts to come are not counted on the bus:
    a server that was killed may list some that are long gone (make_sure_no_attempt_is_left)."""
    before, since = None, time.monotonic()
    while not is_over(now := progress(tidings)):
        if now != before:
            before, since = now, time.monotonic()
        what = "(waiting, delivered), of each replica (open, in hand, position)"
        assert time.monotonic() - since < STALL_S, f"nothing moves any more; {what}: {now}"
        meanwhile()
        threading.Event().wait(POLL_S)
    for processor in tidings.processors():
        processor.until_ready(STALL_S)


def make_sure_no_attempt_is_left(tidings):
    """None lies in the retry log. Only where NATS has not been killed: it may find messages again
    that were acknowledged, and which no consumer gets (2.9.10)."""
    left = stream_info(tidings.bus.url, RETRY_LOG).state.messages
    assert left == 0, f"{left} attempts to come are left behind"


def fold_and_stats(tidings):
    """Our fold of the logs and what each replica says of itself, at the same positions."""

    def same():
        stats = until_digests_agree(tidings.processors(), STALL_S)
        fold = Fold(tidings.bus.url)
        theirs = (stats[0].event_position, stats[0].status_position)
        return (fold, stats) if (fold.event_position, fold.status_position) == theirs else None

    return until(same, STALL_S, "the logs' ends are where the replicas are")


def check_ends(tidings, ids, max_attempts, chance):
    """Waits until all is over, and checks everything. Returns the fold and the letters."""
    until_over(tidings)
    fold, stats = fold_and_stats(tidings)
    assert fold.ids() == set(ids), "what got a 202, and what is stored"
    check_counts(fold, stats)
    check_histories(fold, max_attempts)
    letters = fold.read_letters()
    check_letters(fold, letters, max_attempts)
    check_answers(tidings, fold, chance)
    return fold, letters


def check_counts(fold, stats):
    counts = fold.counts()
    assert counts[PROCESSED] + counts[DEAD] == len(fold.events), f"not all have ended: {counts}"
    for one in stats:
        theirs = one.counts
        said = (theirs.accepted, theirs.processing, theirs.retrying, theirs.processed, theirs.dead)
        assert said == (0, 0, 0, counts[PROCESSED], counts[DEAD]), f"{said}; the logs: {counts}"
        assert one.events == len(fold.events)
        assert one.digest == fold.digest(), f"{one.processor}: its table is not what the logs say"


def check_histories(fold, max_attempts):
    """One end in each generation; before `dead`, each attempt failed once."""
    for event in fold.events.values():
        ends = event.ends()
        generations = [change.generation for change in ends]
        assert generations == list(range(event.last.generation + 1)), event.history
        for change in ends:
            if change.status == DEAD:
                failed = event.failed(change.generation)
                assert failed == list(range(1, max_attempts + 1)), event.history
            else:
                assert 1 <= change.attempt <= max_attempts, event.history


def check_letters(fold, letters, max_attempts):
    """Each `dead` that counts names a letter of its own, and no other letter counts."""
    named = {}
    for event in fold.events.values():
        dead = [change.generation for change in event.ends() if change.status == DEAD]
        assert sorted(event.letters) == dead, f"{event.history} names {event.letters}"
        for generation, position in event.letters.items():
            assert named.setdefault(position, event) is event, f"letter {position} is two events'"
            letter = letters[position]
            assert (letter.event_id, letter.generation) == (event.event_id, generation), letter
            assert letter.reason == "attempts_exhausted" and letter.attempts == max_attempts, letter


def steps(history):
    return [(change.status, change.attempt, change.generation) for change in history]


def missing_steps(theirs, ours):
    """Those of the log's steps that an answer's history lacks; it must have no others."""
    left, missing = list(theirs), []
    for step in ours:
        if left and left[0] == step:
            left.pop(0)
        else:
            missing.append(step)
    assert not left, f"{theirs} is no part of {ours}"
    return missing


def is_overtaken(step, later):
    """Whether it says nothing that a later step does not: one of the same attempt, or, for the
    beginning of a replay (attempt 0), one of the same generation."""
    _, attempt, generation = step
    return any(other[2] == generation and attempt in (0, other[1]) for other in later)


def check_history(theirs, ours):
    """No step is missing but overtaken ones: a processor may append a record in ignorance of the
    one just before it, when it was frozen, or has taken a replay's item before that is recorded."""
    for step in missing_steps(theirs, ours):
        later = ours[ours.index(step) + 1 :]
        assert is_overtaken(step, later), f"{theirs} lacks {step} of {ours}"


def check_answers(tidings, fold, chance):
    """A sample, with all the dead that fit: each replica says what the logs say."""
    dead = [event for event in fold.events.values() if DEAD in {c.status for c in event.ends()}]
    others = [event for event in fold.events.values() if event.last.status == PROCESSED]
    sample = [
        *chance.sample(dead, min(len(dead), SAMPLE)),
        *chance.sample(others, min(len(others), SAMPLE // 2)),
    ]
    events = {event.event_id: event for event in sample}
    for processor in tidings.processors():
        with Client(processor.address) as client:
            for event_id, answer in client.ask_all(events, view=pb.FULL):
                event = events[event_id]
                ours = steps(event.history)
                assert answer.event_position == event.position, answer
                assert (answer.status, answer.attempt, answer.generation) == ours[-1], answer
                check_history(steps(answer.history), ours)


def figures(fold, letters):
    counts = fold.counts()
    attempts = sum(
        len(event.failed(generation))
        for event in fold.events.values()
        for generation in range(event.last.generation + 1)
    )
    return {
        "events": len(fold.events),
        "processed": counts[PROCESSED],
        "dead": counts[DEAD],
        "attempts that failed": attempts,
        "letters": len(letters),
        "letters that count": sum(len(event.letters) for event in fold.events.values()),
        "records that lost": len(fold.losers),
        "of these ends": sum(has_ended(loser.change) for loser in fold.losers),
    }

"""Proofs that every event ends, against real parts; each is a function of its sizes.

tests/system/test_every_event_ends.py runs them small, tests/marathon/ as they are meant. Each
raises AssertionError, or returns its figures."""

import signal
import threading
import time

from ends import (
    DEAD,
    PROCESSED,
    STALL_S,
    check_ends,
    figures,
    in_hand,
    make_sure_no_attempt_is_left,
    until_over,
)
from grpc_client import Client, pb
from poller import Poller
from producers import Producers
from program import PATIENCE_S
from tidings import connects
from wait import until

RETRY = "backoff: 20ms, backoff_max: 100ms, timeout: 10s"


def config(max_attempts, **simulate):
    simulated = ", ".join(f"{key}: {value}" for key, value in simulate.items())
    return f"""
handlers:
  - match: ">"
    simulate: {{ {simulated} }}
    retry: {{ max_attempts: {max_attempts}, {RETRY} }}
"""


def start(tidings, processors, config, gateways=2, **flags):
    tidings.nats()
    for _ in range(processors):
        tidings.processor(config=config, **flags)
    for _ in range(gateways):
        tidings.gateway()
    return [gateway.http_port for gateway in tidings.gateways()]


def plain(n):
    return "proof.plain", f'{{"n":{n}}}'


# ---- failures, and a replay of the dead ----


def prove_failures(tidings, chance, events, processors=3, max_attempts=3, failure_rate=0.2):
    """Accepted = processed + dead; a replay of the dead without failures leaves none."""
    ports = start(
        tidings, processors, config(max_attempts, delay="0ms", failure_rate=failure_rate)
    )
    began = time.monotonic()
    with Producers(ports, plain, count=events, clients=32) as producers:
        producers.finish()
    posted_s = time.monotonic() - began
    until_over(tidings)
    ended_s = time.monotonic() - began
    fold, letters = check_ends(tidings, producers.ids, max_attempts, chance)
    found = {
        **figures(fold, letters),
        "seconds": round(ended_s, 1),
        "events/s posted": round(events / posted_s),
        "events/s ended": round(events / ended_s),
    }
    make_sure_no_attempt_is_left(tidings)
    expected = events * failure_rate**max_attempts
    assert expected / 2 < found["dead"] < expected * 2, f"{expected} should be dead: {found}"

    dead = {event.event_id for event in fold.with_status(DEAD)}
    configure_anew(tidings.processors(), config(max_attempts, delay="0ms"))
    found["seconds of the replay"] = round(replay_dead(tidings, len(dead)), 1)
    fold, letters = check_ends(tidings, producers.ids, max_attempts, chance)
    assert not fold.with_status(DEAD)
    again = {event.event_id for event in fold.events.values() if event.last.generation == 1}
    assert again == dead, "the dead have a second life, and nobody else"
    found["processed after the replay"] = fold.counts()[PROCESSED]
    return found


def configure_anew(processors, config):
    """All are stopped, at once, and started with another configuration."""
    for processor in processors:
        processor.signal(signal.SIGTERM)
    for processor in processors:
        assert processor.process.wait(STALL_S) == 0, processor.tail()
        processor.configure(config)
        processor.start()


def replay_dead(tidings, count):
    """Replays all that are dead; returns the seconds until they have ended."""
    processor = tidings.processors()[0].until_ready(STALL_S)
    began = time.monotonic()
    with Client(processor.address) as client:
        progress = list(client.events.ReplayEvents(pb.ReplayEventsRequest(statuses=[DEAD])))
    assert progress[-1].state == pb.ReplayProgress.DONE, progress
    assert (progress[-1].replayed, progress[-1].skipped) == (count, 0), progress[-1]
    until_over(tidings)
    return time.monotonic() - began


# ---- poison ----


class Fleet:
    """Starts again whoever has died by an event's hand; nobody may die of anything else."""

    def __init__(self, processors):
        self.processors = processors
        self.crashes = 0

    def tend(self):
        for processor in self.processors:
            if processor.alive():
                continue
            code = processor.process.returncode
            assert code == -signal.SIGABRT, f"it ended with {code}\n{processor.tail()}"
            self.crashes += 1
            processor.relaunch()


def prove_poison(tidings, chance, events, poisons, processors=3, max_attempts=2):
    """Events that kill their process end dead, and no other event is charged for them."""
    ports = start(
        tidings,
        processors,
        config(max_attempts, delay="5ms", allow_crash="true"),
        ack_wait="2s",
        concurrency=32,
    )
    fleet = Fleet(tidings.processors())
    poisonous = set(chance.sample(range(events), poisons))

    def content(n):
        return ("proof.poison", '{"simulate":["crash"]}') if n in poisonous else plain(n)

    began = time.monotonic()
    with Producers(ports, content, count=events, clients=4, depth=4) as producers:
        until(lambda: fleet.tend() or not producers.running(), STALL_S, "all have their 202")
        producers.finish()
    until_over(tidings, fleet.tend)
    seconds = time.monotonic() - began
    fold, letters = check_ends(tidings, producers.ids, max_attempts, chance)
    make_sure_no_attempt_is_left(tidings)
    dead = fold.with_status(DEAD)
    assert {producers.numbers[event.event_id] for event in dead} == poisonous
    for event in dead:
        assert "vanished" in letters[event.letters[0]].error, letters[event.letters[0]]
    for event in fold.with_status(PROCESSED):
        assert {change.attempt for change in event.history} <= {0, 1}, event.history
    assert fleet.crashes >= 2, "hardly anybody has died: the test shows nothing"
    return {**figures(fold, letters), "seconds": round(seconds, 1), "crashes": fleet.crashes}


# ---- frozen ----


def freeze_and_thaw(tidings, seconds, ack_wait_s, chance):
    """Freezes some, not all, for longer than ack_wait, again and again. Returns how often."""
    processors, freezes = tidings.processors(), 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        frozen = chance.sample(processors, chance.randrange(1, len(processors)))
        for processor in frozen:
            processor.freeze()
        threading.Event().wait(ack_wait_s * (1.5 + chance.random()))
        for processor in frozen:
            processor.thaw()
        freezes += len(frozen)
        for processor in frozen:
            until(lambda p=processor: in_hand(p) > 0, PATIENCE_S, f"{processor.name} works again")
    return freezes


def prove_frozen(tidings, chance, seconds, rate, processors=3, max_attempts=2):
    """Processors that were frozen past ack_wait and go on: no event has two outcomes."""
    ack_wait_s = 1
    ports = start(
        tidings,
        processors,
        config(max_attempts, delay="100ms", failure_rate=0.3),
        ack_wait=f"{ack_wait_s}s",
    )
    addresses = [processor.address for processor in tidings.processors()]
    with Producers(ports, plain, clients=4, depth=4, rate=rate) as producers:
        with Poller(addresses, producers.ids, chance) as poller:
            freezes = freeze_and_thaw(tidings, seconds, ack_wait_s, chance)
            producers.stop()
            until_over(tidings)
    poller.check()
    fold, letters = check_ends(tidings, producers.ids, max_attempts, chance)
    make_sure_no_attempt_is_left(tidings)
    assert fold.late_ends(), "no outcome came too late: the test shows nothing"
    return {
        **figures(fold, letters),
        "freezes": freezes,
        "answers to the poller": sum(poller.answers.values()),
    }


# ---- killed ----


def kill_every_second(programs, seconds, chance):
    """kill -9 of one of them each second, and it is started again at once. All have their turn
    before one has another."""
    kills = {program.name: 0 for program in programs}
    spared = []
    begin = time.monotonic()
    for turn in range(1, seconds + 1):
        threading.Event().wait(max(0, begin + turn - time.monotonic()))
        for program in programs:
            assert program.alive(), f"{program.name} ended by itself\n{program.tail()}"
        spared = spared or chance.sample(programs, len(programs))
        victim = spared.pop()
        victim.kill()
        victim.relaunch()
        kills[victim.name] += 1
    return kills


def prove_kills(tidings, chance, seconds, rate, processors=3, max_attempts=3):
    """Anybody is killed at any time: all ends well, and nobody has said anything else meanwhile."""
    ports = start(
        tidings,
        processors,
        config(max_attempts, delay="20ms", failure_rate=0.2),
        ack_wait="2s",
    )
    programs = [tidings.bus, *tidings.gateways(), *tidings.processors()]
    addresses = [processor.address for processor in tidings.processors()]
    began = time.monotonic()
    with Producers(ports, plain, clients=4, depth=4, rate=rate) as producers:
        with Poller(addresses, producers.ids, chance) as poller:
            kills = kill_every_second(programs, seconds, chance)
            until(lambda: connects(tidings.bus.port), PATIENCE_S, "NATS is back")
            producers.stop()
            until_over(tidings)
    poller.check()
    took = time.monotonic() - began
    refused = sum(count for status, count in producers.replies.items() if status != 202)
    assert producers.broken + refused > 0, "no producer noticed any kill: the test shows nothing"
    fold, letters = check_ends(tidings, producers.ids, max_attempts, chance)
    return {
        **figures(fold, letters),
        "kills": sum(kills.values()),
        **{f"kills of {name}": count for name, count in kills.items()},
        "seconds": round(took, 1),
        "broken connections of producers": producers.broken,
        "answers to the poller": sum(poller.answers.values()),
        "moves seen by the poller": poller.moves,
    }

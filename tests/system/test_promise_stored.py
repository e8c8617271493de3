"""Promises 1 and 4: whatever got a 202 becomes processed, and every replica says so.

However often programs are killed.
"""

import time

import pytest

from bus_client import redeliveries, stored_ids
from conftest import rounds
from grpc_client import until_all_processed, until_digests_agree
from http_client import Load
from program import PATIENCE_S, SANITIZED
from wait import until

ACK_WAIT = "3s"  # so that what a killed processor held comes back soon
RATE = 300 if SANITIZED else 600  # events per second offered
ROUND_S = (0.5, 2.5)
# So that each processor has events in hand at any time.
HANDLERS = """
handlers:
  - match: ">"
    simulate: { delay: 100ms }
"""


def start(tidings, gateways=1, processors=3):
    tidings.nats()
    for _ in range(processors):
        tidings.processor(config=HANDLERS, ack_wait=ACK_WAIT)
    for _ in range(gateways):
        tidings.gateway()


def until_flowing(load):
    """New events are accepted again."""
    seen = len(load.accepted)
    until(
        lambda: len(load.accepted) >= seen + 50,
        PATIENCE_S,
        lambda: f"202s come again: {load.replies}",
    )


def tell(tidings, chance, kill):
    """Rounds of: load, a kill at a random moment, all back, load goes on. Then the reckoning."""
    with Load([g.http_port for g in tidings.gateways()], clients=8, rate=RATE) as load:
        for _ in range(rounds()):
            until_flowing(load)
            time.sleep(chance.uniform(*ROUND_S))  # the random moment, under load
            kill()
    assert len(load.accepted) > 100 * rounds()
    assert len(set(load.accepted)) == len(load.accepted), "one event_id for two events"
    until_all_processed(tidings.processors(), load.accepted, limit_s=3 * PATIENCE_S)
    for stats in until_digests_agree(tidings.processors()):
        assert stats.counts.processed == stats.events >= len(load.accepted)
    return load


@pytest.mark.long
def test_gateway_is_killed(tidings, chance):
    start(tidings, gateways=2)

    def kill():
        victim = chance.choice(tidings.gateways())
        victim.kill()
        victim.start().until_ready()

    load = tell(tidings, chance, kill)
    assert load.broken > 0, "no client noticed any kill: the test shows nothing"


@pytest.mark.long
def test_nats_is_killed(tidings, chance):
    start(tidings)

    def kill():
        tidings.bus.kill()
        tidings.bus.start()

    load = tell(tidings, chance, kill)
    # Events in flight at a kill are unknown, and new ones were refused; no other reply is allowed.
    assert {202} < set(load.replies) <= {202, 503, 504}, load.replies
    for status in (503, 504):
        for _, _, reply in load.other:
            assert (
                reply.status != status
                or reply.headers["content-type"] == "application/problem+json"
            )


@pytest.mark.long
def test_processors_are_killed(tidings, chance):
    start(tidings)

    def kill():
        victims = chance.sample(tidings.processors(), chance.choice((1, 1, 2, 3)))
        for victim in victims:
            victim.kill()
        for victim in victims:
            victim.start()
        for victim in victims:
            victim.until_ready()

    load = tell(tidings, chance, kill)
    assert set(load.replies) == {
        202
    }, f"a processor's death is nothing to the gateway: {load.replies}"
    assert redeliveries(tidings.bus.url) > 0, "none had anything in hand: the test shows nothing"


@pytest.mark.long
def test_everything_is_killed_at_once(tidings, chance):
    start(tidings)

    def kill():
        everything = [tidings.bus, *tidings.processors(), *tidings.gateways()]
        chance.shuffle(everything)
        for program in everything:
            program.kill()
        chance.shuffle(everything)  # they come back in any order, and find each other
        for program in everything:
            program.start()
        for program in everything[:]:
            if program is not tidings.bus:
                program.until_ready()

    load = tell(tidings, chance, kill)
    assert load.broken > 0, "no client noticed any kill: the test shows nothing"


def test_gateway_answers_202_only_for_what_the_log_holds(tidings):
    """The last 202 before a kill -9 of everything is in the event log, read by a plain client."""
    start(tidings, processors=1)
    with Load([tidings.gateways()[0].http_port], clients=8) as load:
        until_flowing(load)
        for program in tidings.programs:
            program.kill()
    assert load.broken > 0 or set(load.replies) > {202}, "nobody noticed: the test shows nothing"
    tidings.bus.start()
    assert set(load.accepted) <= set(stored_ids(tidings.bus.url))


def test_frozen_processor_wakes_up_late(tidings):
    """Another one handles its events; what it says afterwards changes nothing."""
    start(tidings, processors=3)
    victim = tidings.processors()[0]
    with Load([tidings.gateways()[0].http_port], clients=8, rate=RATE) as load:
        until_flowing(load)
        victim.freeze()
        until(
            lambda: redeliveries(tidings.bus.url) > 0, PATIENCE_S, "its events come to the others"
        )
        victim.thaw()
        until_flowing(load)
    until_all_processed(tidings.processors(), load.accepted, limit_s=3 * PATIENCE_S)
    until_digests_agree(tidings.processors())

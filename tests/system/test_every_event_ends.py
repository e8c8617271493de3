"""Promise 4: every event ends; who proves what, and how, is in tests/lib/proofs.py.

`make marathon` tells the same stories at their full length."""

from conftest import rounds
from program import SANITIZED
from proofs import prove_failures, prove_frozen, prove_kills, prove_poison


def test_failures_at_random_and_a_replay_of_the_dead(tidings, chance):
    prove_failures(tidings, chance, events=600 if SANITIZED else 4000, max_attempts=2)


def test_events_that_kill_their_process(tidings, chance):
    prove_poison(tidings, chance, events=100 if SANITIZED else 500, poisons=2)


def test_processors_that_are_frozen_and_go_on(tidings, chance):
    prove_frozen(tidings, chance, seconds=2 * rounds(5), rate=60 if SANITIZED else 200)


def test_anybody_is_killed_every_second(tidings, chance):
    prove_kills(tidings, chance, seconds=rounds(10) + 2, rate=60 if SANITIZED else 200)

"""Waiting for a condition, with a limit: what tests do instead of sleeping."""

import time

POLL_S = 0.02


def until(condition, limit_s, what):
    """Returns the first true value of condition().

    `what` says what did not come: a text, or a function that makes one."""
    end = time.monotonic() + limit_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {limit_s} s: {what() if callable(what) else what}")
        time.sleep(POLL_S)


def while_it_holds(condition, span_s, what):
    """Fails as soon as the condition does not hold; it must hold during the whole span."""
    end = time.monotonic() + span_s
    while time.monotonic() < end:
        assert condition(), what() if callable(what) else what
        time.sleep(POLL_S)

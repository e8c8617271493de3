"""Processors that are frozen past ack_wait and go on, under load."""

from marathon import run
from proofs import prove_frozen

run(prove_frozen, seconds=120, rate=300, processors=3)

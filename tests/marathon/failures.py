"""A million events with a fifth of all attempts failing, and a replay of the dead."""

from marathon import run
from proofs import prove_failures

run(prove_failures, events=1_000_000, processors=3)

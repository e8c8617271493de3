"""kill -9 of anybody, every second for two minutes, under load with failures."""

from marathon import run
from proofs import prove_kills

run(prove_kills, seconds=120, rate=300, processors=3)

"""Events that kill their process, in a fleet that is started again."""

from marathon import run
from proofs import prove_poison

run(prove_poison, events=20_000, poisons=20, processors=3)

"""What the programs here share: a Tidings in a folder of its own, a seed, and figures."""

import argparse
import os
import random
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

from tidings import Tidings  # noqa: E402 (the path comes first)


def run(prove, **sizes):
    """Runs a proof with these sizes, each of which is a flag, too; prints its figures."""
    flags = argparse.ArgumentParser(description=prove.__doc__)
    for name, size in sizes.items():
        flags.add_argument(f"--{name.replace('_', '-')}", type=type(size), default=size)
    flags.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    flags.add_argument("--keep", help="a folder for data and logs, which stays")
    given = vars(flags.parse_args())
    seed, keep = given.pop("seed"), given.pop("keep")
    print(f"{prove.__name__}: {given}, seed {seed}", flush=True)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="tidings-marathon-") as folder:
        with Tidings(keep or folder) as tidings:
            try:
                figures = prove(tidings, random.Random(seed), **given)
                tidings.assert_clean()
            except AssertionError:
                print(tidings.logs(), flush=True)
                raise
    for name, value in figures.items():
        print(f"    {name:34}{value:>12}")
    print(f"    holds, after {time.monotonic() - began:.0f} s", flush=True)

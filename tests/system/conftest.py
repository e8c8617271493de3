"""Fixtures: a Tidings of one's own (`tidings`), or one shared by a module's tests (`shared`)."""

import os
import random

import pytest

from program import SANITIZED
from tidings import Tidings

stacks = []  # those in use, for the logs of a test that fails


def rounds(default=10):
    """How often a story of kills is told; fewer for builds with sanitizers."""
    return int(os.environ.get("TIDINGS_ROUNDS", default))


@pytest.fixture
def tidings(tmp_path):
    """An empty Tidings in a folder of its own: the test starts what it needs."""
    with Tidings(tmp_path) as stack:
        stacks.append(stack)
        try:
            yield stack
        finally:
            stacks.remove(stack)
        stack.assert_clean()


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """NATS, one processor and one gateway that run for a whole module."""
    with Tidings(tmp_path_factory.mktemp("shared")) as stack:
        stacks.append(stack)
        try:
            stack.nats()
            stack.processor()
            stack.gateway()
            yield stack
            for program in (*stack.gateways(), *stack.processors()):
                assert program.stop() == 0, program.tail()
        finally:
            stacks.remove(stack)
        stack.assert_clean()


@pytest.fixture
def gateway(shared):
    return shared.gateways()[0]


@pytest.fixture
def processor(shared):
    return shared.processors()[0]


@pytest.fixture
def client(processor):
    from grpc_client import Client

    with Client(processor.address) as asked:
        yield asked


@pytest.fixture
def chance():
    """Random moments, the same ones again with TIDINGS_SEED."""
    seed = int(os.environ.get("TIDINGS_SEED", random.randrange(1 << 30)))
    print(f"TIDINGS_SEED={seed}")
    return random.Random(seed)


def is_wanted(item):
    """What is left out with which sanitizer: pytest.ini."""
    alone = os.environ.get("TIDINGS_ALONE")
    if alone and (alone == "yes") != bool(item.get_closest_marker("alone")):
        return False
    if SANITIZED == "tsan" and item.get_closest_marker("sequential"):
        return False
    return not (SANITIZED and item.get_closest_marker("documents"))


def long_ones_first(items):
    """Each worker begins with some of them: of the last one, others would wait for the end."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 1))
    long = [item for item in items if item.get_closest_marker("long")]
    ordered = [item for item in items if item not in long]
    for number, item in enumerate(long):
        share = len(items) * (number % workers) // workers
        ordered.insert(share + number // workers, item)
    return ordered


def pytest_collection_modifyitems(config, items):
    config.hook.pytest_deselected(items=[item for item in items if not is_wanted(item)])
    items[:] = long_ones_first([item for item in items if is_wanted(item)])


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for stack in stacks:
            report.sections.append(("logs", stack.logs()))

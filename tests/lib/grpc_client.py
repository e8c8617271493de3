"""Processors over gRPC: stubs are made from proto/ when this is first imported."""

import collections
import importlib
import os
import sys
import tempfile

import grpc
import grpc_tools
from grpc_tools import protoc

from program import PATIENCE_S, ROOT
from wait import until

PROTOS = (
    "events.proto",
    "status_log.proto",
    "grpc/health/v1/health.proto",
    "grpc/reflection/v1/reflection.proto",
    "grpc/reflection/v1alpha/reflection.proto",
)


def compile_protos():
    out = tempfile.TemporaryDirectory(prefix="tidings-proto-")
    shipped = os.path.join(os.path.dirname(grpc_tools.__file__), "_proto")
    arguments = [
        "protoc",
        f"-I{ROOT}/proto",
        f"-I{shipped}",
        f"--python_out={out.name}",
        f"--grpc_python_out={out.name}",
        *PROTOS,
    ]
    assert protoc.main(arguments) == 0, "proto/ does not compile"
    sys.path.append(out.name)
    grpc.__path__.append(os.path.join(out.name, "grpc"))  # grpc.health.v1 and so on live there
    return out


generated = compile_protos()
pb = importlib.import_module("events_pb2")
log_pb = importlib.import_module("status_log_pb2")
events_grpc = importlib.import_module("events_pb2_grpc")
health_pb = importlib.import_module("grpc.health.v1.health_pb2")
health_grpc = importlib.import_module("grpc.health.v1.health_pb2_grpc")
reflection = {
    version: (
        importlib.import_module(f"grpc.reflection.{version}.reflection_pb2"),
        importlib.import_module(f"grpc.reflection.{version}.reflection_pb2_grpc"),
    )
    for version in ("v1", "v1alpha")
}

Status = pb.EventStatus.Status
ENDED = (pb.EventStatus.PROCESSED, pb.EventStatus.DEAD)
IN_FLIGHT = 200  # questions at once


class Client:
    """Asks one processor."""

    def __init__(self, address, options=()):
        # A channel of its own: grpc shares connections between channels otherwise.
        self.channel = grpc.insecure_channel(
            address, options=[("grpc.use_local_subchannel_pool", 1), *options]
        )
        self.events = events_grpc.EventServiceStub(self.channel)
        self.health = health_grpc.HealthStub(self.channel)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.channel.close()

    def status(self, event_id, view=pb.BASIC, min_position=0, timeout_s=10):
        question = pb.GetEventStatusRequest(event_id=event_id, view=view, min_position=min_position)
        return self.events.GetEventStatus(question, timeout=timeout_s)

    def error(self, event_id, timeout_s=10, **arguments):
        """The error that the question gets: code and message."""
        try:
            answer = self.status(event_id, timeout_s=timeout_s, **arguments)
        except grpc.RpcError as error:
            return error.code(), error.details()
        raise AssertionError(f"an answer where an error was expected: {answer}")

    def full(self, event_id):
        return self.status(event_id, view=pb.FULL)

    def batch(self, event_ids, source="", min_position=0, timeout_s=10):
        question = pb.BatchGetEventStatusRequest(
            event_ids=event_ids, source=source, min_position=min_position
        )
        return self.events.BatchGetEventStatus(question, timeout=timeout_s)

    def page(self, timeout_s=20, **filter_):
        return self.events.ListEvents(pb.ListEventsRequest(**filter_), timeout=timeout_s)

    def pages(self, **filter_):
        """All pages, one after the other."""
        token = ""
        while True:
            page = self.page(page_token=token, **filter_)
            yield page
            token = page.next_page_token
            if not token:
                return

    def stats(self, floor_position=0):
        return self.events.GetStats(pb.GetStatsRequest(floor_position=floor_position), timeout=10)

    def serving(self, service=""):
        answer = self.health.Check(health_pb.HealthCheckRequest(service=service), timeout=10)
        return answer.status == health_pb.HealthCheckResponse.SERVING

    def ask_all(self, event_ids, view=pb.BASIC, timeout_s=30):
        """Yields (event_id, status or grpc.RpcError) for each, many questions at once."""
        waiting = collections.deque()
        for event_id in event_ids:
            question = pb.GetEventStatusRequest(event_id=event_id, view=view)
            waiting.append(
                (event_id, self.events.GetEventStatus.future(question, timeout=timeout_s))
            )
            if len(waiting) >= IN_FLIGHT:
                yield self.settled(*waiting.popleft())
        while waiting:
            yield self.settled(*waiting.popleft())

    @staticmethod
    def settled(event_id, future):
        try:
            return event_id, future.result()
        except grpc.RpcError as error:
            return event_id, error

    def until_processed(self, event_id, limit_s=PATIENCE_S):
        def processed():
            answer = self.status(event_id)
            return answer if answer.status == pb.EventStatus.PROCESSED else None

        return until(
            processed, limit_s, lambda: f"{event_id} is processed: {self.status(event_id)}"
        )


def until_all_processed(processors, event_ids, limit_s=PATIENCE_S):
    """Every one of these events is PROCESSED, and every processor says so.

    Until then it may be that it cannot be known (UNAVAILABLE), but never is one NOT_FOUND."""
    for processor in processors:
        with Client(processor.address) as client:
            left = set(event_ids)

            def ask(client=client, left=left):
                for event_id, answer in list(client.ask_all(list(left))):
                    if isinstance(answer, grpc.RpcError):
                        why = f"{event_id}: {answer.code()} {answer.details()}"
                        assert answer.code() == grpc.StatusCode.UNAVAILABLE, why
                        continue
                    assert answer.event_id == event_id
                    if answer.status == pb.EventStatus.PROCESSED:
                        left.discard(event_id)
                return not left

            until(
                ask,
                limit_s,
                lambda p=processor, l=left: f"{p.name} says PROCESSED for all; "
                f"{len(l)} of {len(event_ids)} are not, for example {sorted(l)[:3]}",
            )


def until_digests_agree(processors, limit_s=PATIENCE_S):
    """Waits until all have followed both logs equally far; their digests must be equal then.

    Returns their stats."""
    clients = [Client(processor.address) for processor in processors]
    try:

        def agree():
            stats = [client.stats() for client in clients]
            positions = {(s.event_position, s.status_position) for s in stats}
            return stats if len(positions) == 1 else None

        stats = until(
            agree, limit_s, lambda: f"all are equally far: {[c.stats() for c in clients]}"
        )
        assert len({s.digest for s in stats}) == 1, f"digests differ at the same positions: {stats}"
        return stats
    finally:
        for client in clients:
            client.channel.close()

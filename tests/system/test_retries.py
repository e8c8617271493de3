"""Failed attempts on the real bus: retried, or dead with a letter, whoever dies in between."""

import time

import grpc
from bus_client import messages, stream_info, until_all_acknowledged
from grpc_client import Client, Status, pb
from program import PATIENCE_S
from wait import until

DEAD = "TIDINGS_DEAD"
RETRY = "TIDINGS_RETRY_default"
MAX_ATTEMPTS = 3

CONFIG = f"""
handlers:
  - match: ">"
    simulate: {{ delay: 0ms, allow_crash: true }}
    retry: {{ max_attempts: {MAX_ATTEMPTS}, backoff: 100ms, backoff_max: 300ms, timeout: 10s }}
"""


def post(gateway, *script):
    answer = gateway.http.post({"name": "demo.run", "payload": {"simulate": list(script)}})
    assert answer.status == 202, answer
    return answer.event_id


def until_status(client, event_id, status, limit_s=PATIENCE_S):
    until(
        lambda: client.status(event_id).status == status,
        limit_s,
        lambda: f"{event_id} is {Status.Name(status)}: {client.status(event_id)}",
    )
    return client.full(event_id)


def letters(url):
    """Headers of each letter by event_id."""
    return {headers["Tidings-Event-Id"]: headers for _, headers, _ in messages(url, DEAD)}


def until_no_attempt_is_to_come(url):
    until(
        lambda: stream_info(url, RETRY).state.messages == 0, PATIENCE_S, "the retry log is empty"
    )


def steps(answer):
    return [(Status.Name(change.status), change.attempt) for change in answer.history]


def test_an_event_that_fails_at_first_is_processed_in_the_end(tidings):
    tidings.nats()
    processors = [tidings.processor(config=CONFIG) for _ in range(2)]
    gateway = tidings.gateway()
    event_id = post(gateway, "fail:too early", "fail:still too early", "ok")
    for processor in processors:
        with Client(processor.address) as client:
            answer = until_status(client, event_id, pb.EventStatus.PROCESSED)
            failed = [change for change in answer.history if change.error]
            assert [change.error for change in failed] == ["too early", "still too early"]
            assert ("RETRYING", 1) in steps(answer) and ("RETRYING", 2) in steps(answer)
            assert steps(answer)[-1] == ("PROCESSED", 3)
    assert not letters(tidings.bus.url)
    until_no_attempt_is_to_come(tidings.bus.url)
    until_all_acknowledged(tidings.bus.url, PATIENCE_S)


def test_an_event_that_always_fails_is_dead_with_its_letter(tidings):
    tidings.nats()
    processor = tidings.processor(config=CONFIG)
    gateway = tidings.gateway()
    exhausted, hopeless = post(gateway, "fail:no use"), post(gateway, "never:malformed order")
    with Client(processor.address) as client:
        answer = until_status(client, exhausted, pb.EventStatus.DEAD)
        assert steps(answer)[-1] == ("DEAD", MAX_ATTEMPTS)
        answer = until_status(client, hopeless, pb.EventStatus.DEAD)
        assert steps(answer) == [("ACCEPTED", 0), ("DEAD", 1)]
        assert client.stats().counts.dead == 2
    found = letters(tidings.bus.url)
    assert set(found) == {exhausted, hopeless}
    assert found[exhausted]["Tidings-Reason"] == "attempts_exhausted"
    assert found[exhausted]["Tidings-Attempts"] == str(MAX_ATTEMPTS)
    assert found[exhausted]["Tidings-Error"] == "no use"
    assert found[hopeless]["Tidings-Reason"] == "never_again"
    assert found[hopeless]["Tidings-Attempts"] == "1"
    until_no_attempt_is_to_come(tidings.bus.url)


def test_an_attempt_to_come_outlives_its_processor_and_waits_until_it_is_due(tidings):
    tidings.nats()
    first = tidings.processor(config=CONFIG, ack_wait="1s")
    gateway = tidings.gateway()
    began = time.monotonic()
    event_id = post(gateway, "fail:after=4s", "ok")
    with Client(first.address) as client:
        until_status(client, event_id, pb.EventStatus.RETRYING)
        assert client.stats().counts.retrying == 1
    first.kill()
    second = tidings.processor(config=CONFIG, ack_wait="1s")
    with Client(second.address) as client:
        until_status(client, event_id, pb.EventStatus.PROCESSED)
    assert time.monotonic() - began >= 4


def test_a_long_attempt_is_seen_as_processing(tidings):
    tidings.nats()
    processor = tidings.processor(config=CONFIG)
    gateway = tidings.gateway()
    event_id = post(gateway, "delay:5s")
    with Client(processor.address) as client:
        until_status(client, event_id, pb.EventStatus.PROCESSING)
        answer = until_status(client, event_id, pb.EventStatus.PROCESSED)
        assert steps(answer) == [("ACCEPTED", 0), ("PROCESSING", 1), ("PROCESSED", 1)]


def test_an_event_that_crashes_its_processor_ends_and_its_neighbours_do_not_suffer(tidings):
    tidings.nats()
    processor = tidings.processor(config=CONFIG, ack_wait="1s")
    gateway = tidings.gateway()
    innocent = [post(gateway, "delay:300ms") for _ in range(5)]
    poison = post(gateway, "crash")
    innocent += [post(gateway, "delay:300ms") for _ in range(5)]

    def over():
        if not processor.alive():
            processor.relaunch()  # and may crash again before it is ready
        with Client(processor.address) as client:
            try:
                return client.stats().counts.dead == 1
            except grpc.RpcError:
                return False  # it isn't there yet, or not any more

    until(over, 8 * PATIENCE_S, "the poison is dead")
    with Client(processor.address) as client:
        answer = until_status(client, poison, pb.EventStatus.DEAD)
        assert steps(answer)[-1] == ("DEAD", MAX_ATTEMPTS)
        assert "vanished" in answer.history[-1].error
        for event_id in innocent:
            answer = until_status(client, event_id, pb.EventStatus.PROCESSED)
            assert steps(answer)[-1] == ("PROCESSED", 1), "no attempt was charged"
    assert set(letters(tidings.bus.url)) == {poison}


def test_killed_processors_lose_no_attempt(tidings):
    tidings.nats()
    processors = [tidings.processor(config=CONFIG, ack_wait="1s") for _ in range(2)]
    gateway = tidings.gateway()
    recovering = [post(gateway, "fail", "ok") for _ in range(30)]
    hopeless = [post(gateway, "fail") for _ in range(30)]
    for _ in range(3):
        for processor in processors:
            processor.kill()
            processor.start().until_ready()
    for processor in processors:
        with Client(processor.address) as client:
            for event_id in hopeless:
                until_status(client, event_id, pb.EventStatus.DEAD, 3 * PATIENCE_S)
            for event_id in recovering:
                # Killed while it ran alone it may have been charged for that, no more.
                until(
                    lambda e=event_id, c=client: c.status(e).status
                    in (pb.EventStatus.PROCESSED, pb.EventStatus.DEAD),
                    3 * PATIENCE_S,
                    f"{event_id} has ended",
                )
    assert set(hopeless) <= set(letters(tidings.bus.url))
    until_no_attempt_is_to_come(tidings.bus.url)

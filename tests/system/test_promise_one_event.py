"""Promise 2: one id, one event, on any gateway, for as long as it is kept."""

import collections
import itertools
import json
import threading

from bus_client import EVENTS as LOG
from bus_client import messages, stream_info, stream_request, until_all_acknowledged
from grpc_client import Client, pb, until_all_processed
from http_client import EVENTS, JSON, Closed, Connection, request
from program import PATIENCE_S, SANITIZED
from wait import POLL_S, until

IDS = 30 if SANITIZED else 100
CLIENTS = 8
WINDOW = "200ms"  # short, so that it passes in a test; still above what NATS allows at least


def start(tidings, **flags):
    tidings.nats()
    for _ in range(2):
        tidings.processor(ack_wait="3s", **flags)
    for _ in range(2):
        tidings.gateway(**flags)


def event(number, **changes):
    return {
        "id": f"order-{number}",
        "source": "/shop",
        "name": "order.created",
        "payload": {"n": number},
        **changes,
    }


class Clients:
    """Each sends all its events, to one gateway after the other until it gets a 202.

    with Clients(gateways, lists of events) as clients: ...; then clients.replies."""

    def __init__(self, gateways, lists):
        self.gateways = gateways
        self.replies = []  # (event's id, reply), for each 202
        self.refused = collections.Counter()
        self.broken = 0
        self.failures = []
        self.threads = [
            threading.Thread(target=self.guarded, args=(number, events), daemon=True)
            for number, events in enumerate(lists)
        ]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        for thread in self.threads:
            thread.join(6 * PATIENCE_S)
            assert not thread.is_alive(), f"a client waits for ever: {self.refused}"
        assert not self.failures, self.failures

    def guarded(self, number, events):
        try:
            self.client(itertools.cycle(range(number, number + len(self.gateways))), events)
        except Exception as failure:  # shown at the end
            self.failures.append(failure)

    def client(self, turn, events):
        for sent in events:
            while not self.accepted(sent, self.gateways[next(turn) % len(self.gateways)]):
                threading.Event().wait(POLL_S)  # an honest client does not hammer

    def accepted(self, sent, gateway):
        try:
            with Connection(gateway.http_port) as connection:
                body = json.dumps(sent).encode()
                connection.send(request("POST", EVENTS, body, {"Content-Type": JSON}))
                reply = connection.receive()
        except (OSError, Closed):
            self.broken += 1
            return False
        if reply.status == 202:
            self.replies.append((sent["id"], reply))
            return True
        self.refused[reply.status] += 1
        assert reply.status in (503, 504), reply  # the two that say: send again
        return False

    def event_ids(self):
        """The producers' ids -> event_ids: the same one in every answer."""
        found = {}
        for producer_id, reply in self.replies:
            assert found.setdefault(producer_id, reply.event_id) == reply.event_id
        return found

    def firsts(self):
        """How many answers to each id were not for a duplicate."""
        return collections.Counter(
            i for i, reply in self.replies if "duplicate" not in reply.json()
        )


def stored(tidings):
    """event_id -> how many copies the event log holds."""
    return collections.Counter(h["Tidings-Event-Id"] for _, h, _ in messages(tidings.bus.url))


def handled(tidings):
    """event_id -> how often a handler ran, in all lives of all processors, by their logs."""
    found = collections.Counter()
    for processor in tidings.processors():
        for line in processor.log(whole=True).splitlines():
            if '"msg":"event"' in line:
                found[json.loads(line)["event_id"]] += 1
    return found


def assert_handled_once(tidings, event_ids):
    """When all copies have been acknowledged, each event has run once."""
    until_all_processed(tidings.processors(), event_ids)
    until_all_acknowledged(tidings.bus.url, PATIENCE_S)
    assert handled(tidings) == {event_id: 1 for event_id in event_ids}


def deliveries(tidings, outcome):
    name = f'tidings_deliveries_total{{outcome="{outcome}"}}'
    return sum(processor.metrics()[name] for processor in tidings.processors())


# ---- the same event ----


def test_one_id_from_many_clients_at_two_gateways(tidings):
    """Also once more after a restart of everything."""
    start(tidings)
    events = [event(n) for n in range(IDS)]
    with Clients(tidings.gateways(), [events] * CLIENTS) as clients:
        pass
    ids = clients.event_ids()
    assert clients.firsts() == {e["id"]: 1 for e in events}, "one answer to each is the first"
    assert stored(tidings) == {event_id: 1 for event_id in ids.values()}
    assert_handled_once(tidings, ids.values())
    assert deliveries(tidings, "processed") == IDS

    for program in (*tidings.gateways(), *tidings.processors()):
        assert program.stop() == 0, program.tail()
    tidings.bus.stop()
    tidings.bus.start()
    for program in (*tidings.processors(), *tidings.gateways()):
        program.start().until_ready()

    with Clients(tidings.gateways(), [events] * CLIENTS) as again:
        pass
    assert again.event_ids() == ids
    assert not again.firsts(), "all of them are duplicates now"
    assert stored(tidings) == {event_id: 1 for event_id in ids.values()}
    assert_handled_once(tidings, ids.values())


def send_past_the_window(gateway, sent):
    """Sends it until the bus has forgotten that it knows it."""

    def stored_again():
        reply = gateway.http.post(sent)
        assert reply.status == 202, reply
        return reply if "duplicate" not in reply.json() else None

    return until(stored_again, PATIENCE_S, "the duplicate window has passed")


def test_one_id_when_the_window_has_passed(tidings):
    start(tidings, duplicate_window=WINDOW)
    one, other = tidings.gateways()
    events = [event(n) for n in range(10)]
    ids = [one.http.post(sent).event_id for sent in events]
    for sent, event_id in zip(events, ids):
        assert send_past_the_window(other, sent).event_id == event_id
    assert stored(tidings) == {event_id: 2 for event_id in ids}, "the bus does not know them again"

    assert_handled_once(tidings, ids)

    assert deliveries(tidings, "processed") == len(ids)
    assert deliveries(tidings, "copy") + deliveries(tidings, "ended") >= len(ids)
    for processor in tidings.processors():
        with Client(processor.address) as client:
            for event_id in ids:
                history = client.full(event_id).history
                assert [c.status for c in history] == [
                    pb.EventStatus.ACCEPTED,
                    pb.EventStatus.PROCESSED,
                ]
    assert not messages(tidings.bus.url, stream="TIDINGS_DEAD")


# ---- another event with the same id ----


def test_an_id_that_is_used_for_something_else(tidings):
    """409 (422 for Idempotency-Key) within the window; nothing is stored."""
    start(tidings)
    one, other = tidings.gateways()
    first = event(1)
    event_id = one.http.post(first).event_id
    keyed = {"name": "order.created", "payload": 1}
    keyed_id = one.http.post(keyed, Idempotency_Key='"key-1"').event_id
    for gateway in (one, other):
        for changes in ({"payload": {"n": 2}}, {"name": "order.gone"}, {"key": "k"}):
            reply = gateway.http.post({**first, **changes})
            assert reply.status == 409 and reply.event_id == event_id, reply
        reply = gateway.http.post({**keyed, "payload": 2}, Idempotency_Key='"key-1"')
        assert reply.status == 422 and reply.event_id == keyed_id, reply
        assert gateway.http.post(keyed, Idempotency_Key="key-1").json()["duplicate"] is True
        another = gateway.http.post({**first, "source": f"/{gateway.name}"})
        assert another.status == 202 and another.event_id != event_id
    assert stored(tidings)[event_id] == stored(tidings)[keyed_id] == 1
    until_all_processed(tidings.processors(), [event_id, keyed_id])
    with Client(tidings.processors()[0].address) as client:
        assert json.loads(client.full(event_id).payload) == {"n": 1}


def test_an_id_that_is_used_for_something_else_when_the_window_has_passed(tidings):
    """The copy becomes a dead letter, and the first event is what it was."""
    start(tidings, duplicate_window=WINDOW)
    one, other = tidings.gateways()
    first = event(1)
    event_id = one.http.post(first).event_id
    until_all_processed(tidings.processors(), [event_id])
    with Client(tidings.processors()[0].address) as client:
        before = client.full(event_id)

    def taken():
        reply = other.http.post({**first, "payload": {"n": 2}})
        assert reply.status in (202, 409), reply
        return reply.status == 202

    until(taken, PATIENCE_S, "the duplicate window has passed")
    until_all_acknowledged(tidings.bus.url, PATIENCE_S)

    ((subject, headers, payload),) = messages(tidings.bus.url, stream="TIDINGS_DEAD")
    assert subject == "tidings.dead.default.order.created"
    assert headers["Tidings-Reason"] == "id_conflict" and json.loads(payload) == {"n": 2}
    assert handled(tidings) == {event_id: 1}
    for processor in tidings.processors():
        with Client(processor.address) as client:
            after = client.full(event_id)
            after.position = before.position  # how much of the status log it reflects
            assert after == before
    document = one.http.get(f"{EVENTS}/order-1?source=/shop&view=full").json()
    assert (document["status"], document["payload"]) == ("processed", {"n": 1})


# ---- things that happen behind our back ----


def edit(tidings, **changes):
    config = stream_request(tidings.bus.url, f"STREAM.INFO.{LOG}", {})["config"]
    answer = stream_request(tidings.bus.url, f"STREAM.UPDATE.{LOG}", {**config, **changes})
    assert "error" not in answer, answer


def assert_accepted_means_stored(tidings, events):
    with Clients(tidings.gateways(), [events[n::CLIENTS] for n in range(CLIENTS)] * 2) as clients:
        pass
    ids = clients.event_ids()
    assert len(ids) == len(events)
    kept = stored(tidings)
    missing = [event_id for event_id in ids.values() if event_id not in kept]
    assert not missing, f"{len(missing)} got a 202 and are not stored: {missing[:3]}"
    until_all_processed(tidings.processors(), ids.values())


def test_a_log_that_is_emptied_by_hand(tidings):
    """NATS goes on knowing the ids of what is gone, and calls the events duplicates."""
    start(tidings)
    events = [event(n) for n in range(IDS)]
    assert_accepted_means_stored(tidings, events)
    for program in (*tidings.gateways(), *tidings.processors()):
        assert program.stop() == 0, program.tail()  # they would not stand by
    edit(tidings, discard="old", max_msgs=1)  # purges cannot be allowed again; this can
    assert stream_info(tidings.bus.url).state.messages == 1
    edit(tidings, discard="new", max_msgs=-1)
    for program in (*tidings.processors(), *tidings.gateways()):
        program.start().until_ready()

    assert_accepted_means_stored(tidings, events)

    assert stream_info(tidings.bus.url).state.messages >= IDS
    name = 'tidings_publishes_total{outcome="duplicate"}'
    assert sum(g.metrics()[name] for g in tidings.gateways()) >= IDS, "NATS knew none of them"


def test_a_log_that_is_deleted(tidings):
    """It is made again, and forgets its ids with its events."""
    start(tidings)
    events = [event(n) for n in range(IDS)]
    assert_accepted_means_stored(tidings, events)
    answer = stream_request(tidings.bus.url, f"STREAM.DELETE.{LOG}", {})
    assert answer["success"], answer
    assert_accepted_means_stored(tidings, events)


def test_a_gateway_is_killed_and_its_clients_go_to_the_other(tidings, chance):
    """What was in flight is sent again with its id: every event is handled exactly once."""
    start(tidings)
    over = threading.Event()

    def endless(client):
        for number in itertools.count():
            if over.is_set():
                return
            yield event(f"{client}-{number}")

    with Clients(tidings.gateways(), map(endless, range(CLIENTS))) as clients:
        try:
            for victim in tidings.gateways() * 2:
                seen = len(clients.replies) + chance.randrange(IDS, 3 * IDS)
                until(lambda s=seen: len(clients.replies) > s, PATIENCE_S, "the load flows")
                victim.kill()
                victim.start().until_ready()
        finally:
            over.set()
    assert clients.broken > 0, "no client noticed any kill: the test shows nothing"
    ids = clients.event_ids()
    assert stored(tidings) == {event_id: 1 for event_id in ids.values()}
    assert_handled_once(tidings, ids.values())

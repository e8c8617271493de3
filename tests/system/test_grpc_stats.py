"""What a processor tells of itself."""

import time

from grpc_client import Client, pb
from program import PATIENCE_S
from wait import until

HANDLERS = """
handlers:
  - match: "bad.>"
    simulate: { delay: 0ms, failure_rate: 1 }
    retry: { max_attempts: 3, backoff: 1ms }
  - match: "slow.>"
    simulate: { delay: 2s }
  - match: ">"
    simulate: { delay: 0ms }
"""


def test_what_it_does_and_has_done(tidings):
    tidings.nats()
    processor = tidings.processor(config=HANDLERS, concurrency=7)
    http = tidings.gateway().http
    with Client(processor.address) as client:
        fresh = client.stats()
        assert fresh.ready and fresh.version and fresh.handlers_max == 7
        assert abs(fresh.started_at.ToMilliseconds() / 1000 - time.time()) < 2 * PATIENCE_S
        assert (fresh.work.processed, fresh.work.retried, fresh.work.dead) == (0, 0, 0)

        slow = [http.post({"name": "slow.one"}).event_id for _ in range(3)]
        watches = [
            client.events.WatchEvent(pb.WatchEventRequest(event_id=event_id)) for event_id in slow
        ]
        everything = client.events.WatchEvents(pb.WatchEventsRequest())
        for stream in (*watches, everything):
            next(stream)
        stats = until(
            lambda: (s := client.stats()).handlers_running == 3 and s, PATIENCE_S, "three run"
        )
        assert (stats.event_watchers, stats.watchers) == (3, 1)

        for name in ("good", "bad.luck"):
            for _ in range(5):
                http.post({"name": name})
        for stream in watches:
            assert list(stream)[-1].status == pb.EventStatus.PROCESSED
        everything.cancel()
        done = until(
            lambda: (s := client.stats()).work.dead == 5
            and s.work.processed == 8
            and s.event_log_end == s.event_position == 13
            and s.watchers + s.event_watchers == 0
            and s,
            PATIENCE_S,
            lambda: f"all has been done: {client.stats()}",
        )
        assert done.work.retried == 10 and done.handlers_running == 0
        assert done.status_log_end == done.status_position > 0
        assert done.uptime_seconds >= 2, "as long as a slow event took"


def test_without_nats_the_logs_ends_are_not_known(tidings):
    nats = tidings.nats()
    processor = tidings.processor(config=HANDLERS)
    event_id = tidings.gateway().http.post({"name": "good"}).event_id
    with Client(processor.address) as client:
        client.until_processed(event_id)
        nats.kill()
        stats = until(
            lambda: (s := client.stats()).event_log_end == s.status_log_end == 0 and s,
            PATIENCE_S,
            "they are not known",
        )
        assert stats.event_position == 1 and stats.ready
        nats.start()

"""Lists of events over HTTP."""

import re
import threading

from http_client import EVENTS
from program import PATIENCE_S
from wait import until

HANDLERS = """
handlers:
  - match: "fails.>"
    simulate: { delay: 10ms, failure_rate: 1 }
    retry: { max_attempts: 1 }
  - match: ">"
    log: {}
"""


def until_listed(gateway, query, count):
    """A list knows what its processor has followed so far, some milliseconds after a 202."""
    until(
        lambda: len(gateway.http.get(f"{EVENTS}?{query}").json()["events"]) == count,
        PATIENCE_S,
        f"{count} are listed",
    )


def answer(gateway, path):
    """One who is told 503, since a processor has just gone, asks again."""
    replies = []

    def answered():
        replies.append(gateway.http.get(path))
        return replies[-1].status != 503

    until(answered, PATIENCE_S, lambda: f"an answer: {replies[-1]}")
    assert replies[-1].status == 200, replies[-1]
    return replies[-1]


def all_pages(gateways, query, between=lambda: None):
    """Each page from the next gateway, by its Link."""
    path, pages = f"{EVENTS}?{query}", []
    while path:
        reply = answer(gateways[len(pages) % len(gateways)], path)
        page = reply.json()
        pages.append(page["events"])
        link = re.fullmatch(r'<([^>]+)>; rel="next"', reply.headers.get("link", ""))
        assert bool(link) == ("next_page_token" in page)
        path = link.group(1) if link else None
        between()
    return pages


def test_pages_stay_as_they_are_while_events_arrive(tidings):
    tidings.nats()
    for _ in range(2):
        tidings.processor(config=HANDLERS)
    gateways = [tidings.gateway() for _ in range(2)]

    def post(name):
        return gateways[0].http.post({"name": name}).event_id

    ids = [post("order.created") for _ in range(57)]
    failed = [post("fails.always") for _ in range(5)]
    for gateway in gateways * 2:  # each processor
        until_listed(gateway, "name=order.*", 57)
        until_listed(gateway, "status=dead", 5)
    pages = all_pages(gateways, "name=order.*&limit=10", lambda: post("order.created"))
    listed = [event["event_id"] for page in pages for event in page]
    assert listed == ids[::-1], "each once, the latest first, and none that came later"
    assert all(len(page) <= 10 for page in pages)

    dead = [e for page in all_pages(gateways, "status=dead&limit=2") for e in page]
    assert [e["event_id"] for e in dead] == failed[::-1]
    assert all(e["status"] == "dead" and e["name"] == "fails.always" for e in dead)
    both = [e for page in all_pages(gateways, "status=dead,processed&limit=1000") for e in page]
    assert {e["event_id"] for e in both} >= {*ids, *failed}


def test_a_restart_changes_no_page(tidings):
    tidings.nats()
    processor = tidings.processor()
    gateway = tidings.gateway()
    ids = [gateway.http.post({"name": "a"}).event_id for _ in range(7)]

    def restart():
        processor.kill()
        processor.start().until_ready()

    until_listed(gateway, "limit=10", 7)
    pages = all_pages([gateway], "limit=3", restart)
    assert [e["event_id"] for page in pages for e in page] == ids[::-1]


def test_by_time(gateway):
    first = gateway.http.post({"name": "times.a"}).event_id
    full = until(
        lambda: gateway.http.get(f"{EVENTS}/{first}?view=full").json(), PATIENCE_S, "known"
    )
    threading.Event().wait(0.05)  # so that the next is stored later by the clock, too
    second = gateway.http.post({"name": "times.a"}).event_id
    stored = full["history"][0]["time"]

    def listed(query):
        reply = gateway.http.get(f"{EVENTS}?name=times.a&{query}")
        assert reply.status == 200, reply
        return [event["event_id"] for event in reply.json()["events"]]

    until_listed(gateway, "name=times.a", 2)
    assert listed(f"since={stored}") == [second, first]
    assert listed(f"until={stored}") == []
    assert listed("since=2999-01-01T00:00:00Z") == []


def test_a_token_goes_with_its_filter(gateway):
    for _ in range(3):
        gateway.http.post({"name": "tokens.a"})
    until_listed(gateway, "name=tokens.a", 3)
    token = gateway.http.get(f"{EVENTS}?name=tokens.a&limit=1").json()["next_page_token"]
    other = gateway.http.get(f"{EVENTS}?name=tokens.b&limit=1&page_token={token}")
    none = gateway.http.get(f"{EVENTS}?page_token=nonsense")
    assert other.status == none.status == 422

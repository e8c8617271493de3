"""/metrics: what Prometheus reads of it, what is documented, what moves when something happens."""

import os
import re

import pytest

import metrics_lint
from grpc_client import Client
from http_client import EVENTS, JSON, Connection, request
from program import PATIENCE_S, ROOT
from wait import until

pytestmark = pytest.mark.sequential


def series(name, **labels):
    """As /metrics writes it: labels in the order given."""
    text = ",".join(f'{label}="{value}"' for label, value in labels.items())
    return f"{name}{{{text}}}" if text else name


@pytest.fixture
def moved(gateway):
    """moved(name, **labels): how much the series has grown since the test began."""
    before = gateway.metrics()
    return lambda name, **labels: (
        gateway.metrics()[series(name, **labels)] - before[series(name, **labels)]
    )


def until_moved(moved, by, name, **labels):
    """A request is counted after its answer has left."""
    until(
        lambda: moved(name, **labels) == by,
        PATIENCE_S,
        lambda: f"{series(name, **labels)} has grown by {by}, not {moved(name, **labels)}",
    )


# ---- form ----


def test_prometheus_has_nothing_to_say(shared, gateway, processor):
    event_id = gateway.http.post({"name": "seen"}).event_id
    with Client(processor.address) as client:
        client.until_processed(event_id)
    for service in (gateway, processor):
        reply = service.http.get("/metrics")
        assert reply.headers["content-type"].startswith("text/plain; version=0.0.4")
        assert metrics_lint.problems(reply.text) == []


BAD = {
    "# HELP a_total A\n# TYPE a_total gauge\na_total 1\n": "only they, end with _total",
    "# HELP a A\n# TYPE a counter\na 1\n": "end with _total",
    "# HELP a_milliseconds A\n# TYPE a_milliseconds gauge\na_milliseconds 1\n": "base unit",
    "# HELP a_ms A\n# TYPE a_ms gauge\na_ms 1\n": "abbreviated unit ms",
    "# HELP a_gauge A\n# TYPE a_gauge gauge\na_gauge 1\n": "the type gauge",
    "# HELP aB A\n# TYPE aB gauge\naB 1\n": "camelCase",
    "# TYPE a gauge\na 1\n": "no help text",
    "# HELP a_sum A\n# TYPE a_sum gauge\na_sum 1\n": "a histogram's",
    '# HELP a A\n# TYPE a gauge\na{b="1"} 1\na{b="1"} 2\n': "not unique",
    '# HELP a A\n# TYPE a histogram\na_bucket{le="1"} 3\na_bucket{le="+Inf"} 2\n'
    "a_sum 1\na_count 2\n": "out of order",
    '# HELP a A\n# TYPE a histogram\na_bucket{le="+Inf"} 2\na_sum 1\na_count 3\n': "not the count",
}


@pytest.mark.parametrize("text, words", BAD.items(), ids=BAD.values())
def test_the_check_finds_what_is_wrong(text, words):
    assert any(words in problem for problem in metrics_lint.problems(text))


def test_the_document_lists_them_all(gateway):
    """docs/http-api.md, "Metrics": each series of the gateway, and none that there isn't."""
    with open(os.path.join(ROOT, "docs/http-api.md"), encoding="utf-8") as text:
        section = text.read().split("\n## Metrics\n")[1].split("\n## ")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    documented = {}
    for name, labels in re.findall(r"`([a-z_]+)(?:\{([a-z,_]+)\})?`", " ".join(rows)):
        documented[name] = set(labels.split(",")) if labels else set()
    served = {
        name: set().union(*(sample.labels for sample in family.samples)) - {"le"}
        for name, family in metrics_lint.families(gateway.http.get("/metrics").text).items()
        if not name.startswith("process_")
    }
    assert documented == served


# ---- meaning ----


def test_an_event_that_is_stored(gateway, moved):
    body = b'{"name":"counted","payload":[1,2,3]}'
    reply = gateway.http.post(body)
    assert reply.status == 202
    here = {"method": "POST", "route": EVENTS}
    until_moved(moved, 1, "tidings_http_requests_total", **here, code=202)
    until_moved(moved, 1, "tidings_http_request_duration_seconds_count", **here)
    until_moved(moved, len(body), "tidings_http_request_body_bytes_total", **here)
    until_moved(moved, len(reply.body), "tidings_http_response_body_bytes_total", **here)
    assert moved("tidings_publishes_total", outcome="stored") == 1
    assert moved("tidings_publish_duration_seconds_count") == 1
    assert moved("tidings_publish_duration_seconds_sum") > 0
    assert gateway.metrics()["tidings_publishes_in_flight"] == 0


def test_a_duplicate_and_a_conflict(gateway, moved):
    for payload in (1, 1, 2):
        gateway.http.post({"name": "twice", "id": "metrics-1", "payload": payload})
    assert moved("tidings_duplicates_total") == 1
    assert moved("tidings_conflicts_total", reason="id") == 1
    until_moved(moved, 1, "tidings_http_refusals_total", reason="id-reused")


def test_refusals(gateway, moved):
    gateway.http.post(b"no json")
    gateway.http.post({"payload": "no name"})
    gateway.http.post(b"text", "text/plain")
    gateway.http.get("/nowhere")
    for reason in ("malformed", "invalid", "unsupported-media-type", "not-found"):
        until_moved(moved, 1, "tidings_http_refusals_total", reason=reason)


def test_connections(gateway, moved):
    with Connection(gateway.http_port) as one, Connection(gateway.http_port) as other:
        for connection in (one, other):
            connection.send(request("GET", "/health"))
            assert connection.receive().status == 200
        assert gateway.metrics()["tidings_http_connections"] >= 3  # and the one that asks
    assert moved("tidings_http_connections_accepted_total") >= 3
    limit = gateway.flags.get("max_connections", 512)
    assert gateway.metrics()["tidings_http_connections_limit"] == limit


def test_publishes_in_flight(tidings):
    """The bus answers nobody: they are counted, and those beyond the bound as refusals."""
    tidings.nats()
    gateway = tidings.gateway(max_in_flight=2)
    tidings.bus.freeze()
    held = [Connection(gateway.http_port) for _ in range(2)]
    for connection in held:
        connection.send(request("POST", EVENTS, b'{"name":"held"}', {"Content-Type": JSON}))
    until(
        lambda: gateway.metrics()["tidings_publishes_in_flight"] == 2, PATIENCE_S, "both are held"
    )
    assert gateway.metrics()["tidings_publishes_in_flight_limit"] == 2
    assert gateway.http.post({"name": "one.more"}).status == 429
    refused = series("tidings_http_refusals_total", reason="too-many-requests")
    until(lambda: gateway.metrics()[refused] == 1, PATIENCE_S, "the third is counted")
    tidings.bus.thaw()
    for connection in held:
        assert connection.receive().status in (202, 504)
        connection.close()

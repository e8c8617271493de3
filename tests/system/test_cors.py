"""Web pages of other origins: what a browser asks before, and what it must find in answers."""

import pytest

from http_client import EVENTS

pytestmark = pytest.mark.sequential

PAGE = {"Origin": "https://app.example.com"}
STRANGER = {"Origin": "https://evil.example"}


@pytest.fixture(scope="module")
def open_gateway(tmp_path_factory):
    from tidings import Tidings

    with Tidings(tmp_path_factory.mktemp("cors")) as tidings:
        tidings.nats()
        yield tidings.gateway(
            cors_origins="https://app.example.com,http://localhost:3000",
            webhook_origins="events.example.com",
        ).http


def granted(reply):
    return {name for name in reply.headers if name.startswith("access-control-")}


def test_a_page_sends_an_event(open_gateway):
    asked = open_gateway.send(
        "OPTIONS",
        EVENTS,
        headers={
            **PAGE,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "ce-id,ce-type,content-type",
        },
    )
    assert asked.status == 204
    assert "POST" in asked.headers["access-control-allow-methods"]
    assert asked.headers["access-control-allow-headers"] == "ce-id, ce-type, content-type"
    sent = open_gateway.post({"name": "a.b"}, **PAGE)
    assert sent.status == 202
    assert sent.headers["access-control-allow-origin"] == PAGE["Origin"]
    assert "Location" in sent.headers["access-control-expose-headers"]
    assert "access-control-allow-credentials" not in sent.headers


def test_a_page_reads_why_it_was_refused(open_gateway):
    for reply in (open_gateway.post(b"{", **PAGE), open_gateway.get("/nowhere", **PAGE)):
        assert reply.status in (400, 404)
        assert reply.headers["access-control-allow-origin"] == PAGE["Origin"]


def test_other_pages_are_told_nothing(open_gateway):
    asked = open_gateway.send(
        "OPTIONS", EVENTS, headers={**STRANGER, "Access-Control-Request-Method": "POST"}
    )
    got = open_gateway.get("/health", **STRANGER)
    for reply in (asked, got):
        assert not granted(reply) and reply.headers["vary"] == "Origin"


def test_webhooks_ask_at_the_same_place(open_gateway):
    asked = open_gateway.send(
        "OPTIONS",
        EVENTS,
        headers={
            **PAGE,
            "Access-Control-Request-Method": "POST",
            "WebHook-Request-Origin": "events.example.com",
        },
    )
    assert asked.headers["webhook-allowed-origin"] == "events.example.com"
    assert asked.headers["access-control-allow-origin"] == PAGE["Origin"]
    only = open_gateway.send(
        "OPTIONS", EVENTS, headers={"WebHook-Request-Origin": "events.example.com"}
    )
    assert only.headers["webhook-allowed-origin"] == "events.example.com" and not granted(only)


def test_nobody_by_default(gateway):
    reply = gateway.http.get("/health", **PAGE)
    assert not granted(reply) and "vary" not in reply.headers

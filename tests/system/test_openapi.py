"""/openapi.json: valid OpenAPI 3.1, the same as docs/openapi.json, and true: its examples fit its
schemas, and schemathesis finds nothing that a gateway answers otherwise."""

import json
import os
import subprocess
import sys

import pytest
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from http_client import EVENTS, JSON
from program import ROOT, SANITIZED, clean_environment
from sse_client import STREAM, Stream

pytestmark = pytest.mark.sequential

NDJSON, SSE = "application/x-ndjson", "text/event-stream"

with open(os.path.join(ROOT, "docs/openapi.json"), encoding="utf-8") as text:
    DOCUMENT = json.load(text)
REGISTRY = Registry().with_resource(
    "urn:document", Resource(contents=DOCUMENT, specification=DRAFT202012)
)


def resolved(node):
    """What a $ref stands for."""
    while "$ref" in node:
        target = DOCUMENT
        for name in node["$ref"].removeprefix("#/").split("/"):
            target = target[name.replace("~1", "/").replace("~0", "~")]
        node = target
    return node


def absolute(node):
    """The same schema with references that lead into the document from anywhere."""
    if isinstance(node, list):
        return [absolute(item) for item in node]
    if not isinstance(node, dict):
        return node
    return {
        name: f"urn:document{value}" if name == "$ref" else absolute(value)
        for name, value in node.items()
    }


def operations():
    for path, item in DOCUMENT["paths"].items():
        for method, operation in item.items():
            yield f"{method} {path}", operation


# What does not end by itself, or ends when an event does.
STREAMS = [
    operation["operationId"]
    for _, operation in operations()
    if SSE in operation["responses"].get("200", {}).get("content", {})
]


def examples():
    """(where, value, schema) of all that the document shows."""
    for name, operation in operations():
        for parameter in map(resolved, operation.get("parameters", [])):
            for value in shown(parameter):
                yield f"{name} {parameter['name']}", value, parameter["schema"]
        contents = [("request", operation["requestBody"])] if "requestBody" in operation else []
        contents += list(operation["responses"].items())
        for what, holder in contents:
            for media_type, content in resolved(holder).get("content", {}).items():
                for value in shown(content):
                    yield f"{name} {what} {media_type}", value, content["schema"]


def shown(holder):
    if "example" in holder:
        yield holder["example"]
    for example in holder.get("examples", {}).values():
        yield example["value"]


def test_it_is_valid():
    OpenAPIV31SpecValidator(DOCUMENT).validate()


def test_the_examples_fit_their_schemas():
    found = list(examples())
    assert len(found) > 50
    for where, value, schema in found:
        errors = list(OAS31Validator(absolute(schema), registry=REGISTRY).iter_errors(value))
        assert not errors, f"{where}: {errors[0].message}"


def test_all_bodies_and_answers_have_examples():
    for name, operation in operations():
        for status, response in operation["responses"].items():
            for media_type, content in resolved(response).get("content", {}).items():
                assert list(shown(content)), f"{name} {status} {media_type}"


def test_the_gateway_serves_the_document(gateway):
    reply = gateway.http.get("/openapi.json")
    assert (reply.status, reply.headers["content-type"]) == (200, "application/json")
    assert reply.json() == DOCUMENT
    assert gateway.http.get("/health").json()["version"] == DOCUMENT["info"]["version"]


# ---- what schemas and schemathesis do not look at ----


def with_examples(path, operation):
    """The path with its parameters' examples in place of their names."""
    for parameter in map(resolved, operation.get("parameters", [])):
        if parameter["in"] == "path":
            path = path.replace(f"{{{parameter['name']}}}", next(shown(parameter)))
    return path


def example_body(operation):
    content = operation.get("requestBody", {}).get("content", {}).get(JSON)
    return content and json.dumps(next(shown(content))).encode()


def test_queries_have_the_parameters_that_are_documented(gateway):
    """A gateway that is asked for a parameter that there is not says which there are."""
    for name, operation in operations():
        method, path = name.split(" ")
        if not path.startswith("/api/") or (path == EVENTS and method != "get"):
            continue
        queries = [p for p in map(resolved, operation["parameters"]) if p["in"] == "query"]
        reply = gateway.http.send(
            method.upper(),
            f"{with_examples(path, operation)}?surely_none=1",
            example_body(operation),
            {"Content-Type": JSON} if "requestBody" in operation else {"Content-Length": "0"},
        )
        assert reply.status == 422, name
        allowed = reply.json()["detail"].partition("allowed: ")[2]
        assert allowed == (", ".join(sorted(p["name"] for p in queries)) or "none"), name


def test_head_and_options_are_answered_everywhere(gateway):
    for name, operation in operations():
        method, path = name.split(" ")
        if method != "get":
            continue
        path = with_examples(path, operation)
        head = gateway.http.send("HEAD", path)
        assert str(head.status) in operation["responses"], path
        assert head.body == b"" and "x-request-id" in head.headers
        options = gateway.http.send("OPTIONS", path)
        assert options.status == 204 and "HEAD" in options.headers["allow"], path


def fits(value, schema):
    errors = list(OAS31Validator(absolute(schema), registry=REGISTRY).iter_errors(value))
    assert not errors, f"{value}: {errors[0].message}"
    return True


def schema_of(operation_id, status, media_type):
    operation = next(o for _, o in operations() if o["operationId"] == operation_id)
    return operation["responses"][status]["content"][media_type]["schema"]


def fits_stream(operation_id, fields):
    """One event as it was sent, and its data, whose schema depends on what event it is."""
    fits(fields, schema_of(operation_id, "200", SSE))
    kinds = DOCUMENT["components"]["schemas"]["StreamEvent"]["oneOf"]
    kind = next(k for k in kinds if fields["event"] in k["properties"]["event"]["enum"])
    return fits(json.loads(fields["data"]), kind["properties"]["data"]["contentSchema"])


def test_the_examples_of_streams_have_data_that_fit():
    for operation_id in STREAMS:
        for _, operation in operations():
            if operation["operationId"] == operation_id:
                for value in shown(operation["responses"]["200"]["content"][SSE]):
                    assert fits_stream(operation_id, value)


def test_streams_are_as_described(gateway):
    """schemathesis would read them to an end that one of them has not."""
    event_id = gateway.http.post({"name": "seen"}).event_id
    with Stream(gateway.http_port, f"{EVENTS}/{event_id}/stream") as stream:
        assert (stream.status, stream.reply.headers["content-type"]) == (200, SSE)
        told = list(stream)
    with Stream(gateway.http_port, f"{STREAM}?name=seen&status=processed", "0") as stream:
        assert (stream.status, stream.reply.headers["content-type"]) == (200, SSE)
        told_of_all = next(event for event in stream if event[1])
    for operation_id, (identity, event, data) in [
        *(("streamEvent", one) for one in told),
        ("streamEvents", told_of_all),
    ]:
        assert fits_stream(
            operation_id, {"id": identity, "event": event, "data": json.dumps(data)}
        )
    assert told[-1][2]["status"] == "processed"
    with Stream(gateway.http_port, f"{EVENTS}/{event_id}/stream", told[-1][0]) as stream:
        assert stream.status == 204


def test_ids_of_streams_are_what_is_described(gateway):
    """What matches the documented pattern is taken, what does not is refused with 422."""
    event_id = gateway.http.post({"name": "seen"}).event_id
    for operation_id, path, good, bad in [
        ("streamEvent", f"{EVENTS}/{event_id}/stream", ["", "0", "0-0.0.accepted"], ["0-1", "x"]),
        ("streamEvents", STREAM, ["", "0"], ["0-", "1-0", "1-0.1.dead", "x"]),
    ]:
        operation = next(o for _, o in operations() if o["operationId"] == operation_id)
        parameters = map(resolved, operation["parameters"])
        schema = next(p["schema"] for p in parameters if p["name"] == "Last-Event-ID")
        for identity in good:
            assert fits(identity, schema)
            with Stream(gateway.http_port, path, identity) as stream:
                assert stream.status == 200, identity
        for identity in bad:
            assert not OAS31Validator(schema).is_valid(identity)
            with Stream(gateway.http_port, path, identity) as stream:
                assert stream.status == 422, identity


def test_an_unchanged_event_is_as_described(gateway):
    event_id = gateway.http.post({"name": "seen"}).event_id
    operation = DOCUMENT["paths"]["/api/v1/events/{id}"]["get"]
    reply = gateway.http.get(f"{EVENTS}/{event_id}?wait=10")
    assert reply.json()["status"] == "processed"
    again = gateway.http.get(f"{EVENTS}/{event_id}", **{"If-None-Match": reply.headers["etag"]})
    waited = gateway.http.get(f"{EVENTS}/{event_id}", Prefer="wait=1000")
    assert (again.status, waited.headers["preference-applied"]) == (304, "wait=60")
    assert {"etag", "cache-control"} <= again.headers.keys()
    for answer in (reply, again, waited):
        described = operation["responses"][str(answer.status)]["headers"]
        for name in ("ETag", "Cache-Control", "Preference-Applied"):
            assert name in described or name.lower() not in answer.headers


def test_an_event_that_is_waited_for_is_as_described(gateway):
    operation = DOCUMENT["paths"][EVENTS]["post"]
    for preference, status in (("wait=10", 200), ("wait=10", 200), ("wait=0", 202)):
        reply = gateway.http.post({"name": "seen", "id": "waited"}, Prefer=preference)
        assert (reply.status, reply.headers["preference-applied"]) == (status, preference)
        assert fits(reply.json(), schema_of("postEvent", str(status), JSON))
        described = {name.lower() for name in operation["responses"][str(status)]["headers"]}
        assert {"location", "preference-applied"} <= described & reply.headers.keys()
    assert reply.json()["duplicate"]


def test_pages_are_as_described(gateway):
    for _ in range(3):
        gateway.http.get(f"{EVENTS}/{gateway.http.post({'name': 'pages'}).event_id}?wait=10")
    path, count = f"{EVENTS}?name=pages&limit=1", 0
    while path:
        reply = gateway.http.get(path)
        assert reply.status == 200 and fits(reply.json(), schema_of("listEvents", "200", JSON))
        count += len(reply.json()["events"])
        assert ("next_page_token" in reply.json()) == ("link" in reply.headers)
        path = reply.headers.get("link", "").partition("<")[2].partition(">")[0]
    assert count == 3


def test_lines_are_as_described(gateway):
    body = b'{"name":"seen"}\n\n{"name":"not seen"}\n'
    reply = gateway.http.post(body, NDJSON)
    assert (reply.status, reply.headers["content-type"]) == (200, NDJSON)
    assert [line.get("line") for line in reply.lines()] == [1, 3, None]
    for line in reply.lines():
        assert fits(line, schema_of("postEvent", "200", NDJSON))


def test_a_preflight_is_as_described(shared):
    gateway = shared.gateway(cors_origins="https://app.example.com")
    operation = DOCUMENT["paths"][EVENTS]["options"]
    asked = {p["name"]: next(shown(p), None) for p in map(resolved, operation["parameters"])}
    reply = gateway.http.send("OPTIONS", EVENTS, headers=asked)
    described = {name.lower() for name in operation["responses"]["204"]["headers"]}
    sent = {name for name in reply.headers if name.startswith("access-control-") or name == "vary"}
    assert sent == {name for name in described if name.startswith("access-control-")} | {"vary"}


# ---- schemathesis ----

EXAMPLES = 10 if SANITIZED else 40  # an operation and phase
HERE = os.path.join(ROOT, "tests/system/schemathesis")


@pytest.mark.long
@pytest.mark.parametrize("seed", [1])
def test_schemathesis_finds_nothing(shared, gateway, tmp_path, seed):
    """All of its checks, with good data and bad, on a gateway with a processor behind it."""
    for n in range(3):
        seen = gateway.http.post({"name": "seen", "id": f"order-{n}", "source": "/shop"})
        gateway.http.get(f"{EVENTS}/{seen.event_id}?wait=10")
    result = subprocess.run(
        [
            os.path.join(os.path.dirname(sys.executable), "schemathesis"),
            *("--config-file", os.path.join(HERE, "schemathesis.toml")),
            *("run", f"http://127.0.0.1:{gateway.http_port}/openapi.json"),
            *("--max-examples", str(EXAMPLES), "--seed", str(seed)),
            *(f"--exclude-operation-id={name}" for name in STREAMS),
        ],
        cwd=tmp_path,
        env={**clean_environment(), "SCHEMATHESIS_HOOKS": "hooks", "PYTHONPATH": HERE},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert result.returncode == 0, result.stdout[-20000:] + result.stderr
    assert gateway.http.get("/ready").status == 200

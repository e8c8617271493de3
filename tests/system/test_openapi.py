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

from program import ROOT, SANITIZED, clean_environment

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


# ---- schemathesis ----

EXAMPLES = 10 if SANITIZED else 40  # an operation and phase
HERE = os.path.join(ROOT, "tests/system/schemathesis")


@pytest.mark.parametrize("seed", [1])
def test_schemathesis_finds_nothing(shared, gateway, tmp_path, seed):
    """All of its checks, with good data and bad, on a gateway with a processor behind it."""
    for n in range(3):
        gateway.http.post({"name": "seen", "id": f"order-{n}", "source": "/shop"})
    result = subprocess.run(
        [
            os.path.join(os.path.dirname(sys.executable), "schemathesis"),
            *("--config-file", os.path.join(HERE, "schemathesis.toml")),
            *("run", f"http://127.0.0.1:{gateway.http_port}/openapi.json"),
            *("--max-examples", str(EXAMPLES), "--seed", str(seed)),
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

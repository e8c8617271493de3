"""What JSON Schema cannot say of the gateway's requests; schemathesis loads this file.

- The form of an event is told by its content type and `ce-` headers together.
- An event, or a replay, with an id of its own must not have another one as its Idempotency-Key,
  another event not the same one, and a batch none.
- The ends of a span must not be in the wrong order, and data and data_base64 exclude each other.
- A page_token is one that a page has given, with the same filter; a min_position is one that the
  status log has reached.
- A body is in its Content-Encoding. Here that is gzip; zstd is not in Python's library, and
  test_bad_input.py and the unit tests look at it.
- `data` is a text where datacontenttype is not JSON.
- JSON Schema calls 7.0 an integer; the gateway wants 7.
"""

import gzip
import json
import uuid

import schemathesis
from schemathesis.core import NotSet

CE = {"ce-specversion": "1.0", "ce-id": "7", "ce-source": "/shop", "ce-type": "order.created"}
BINARY = "application/octet-stream"
LINES = "application/x-ndjson"
CODINGS = {"gzip", "x-gzip", "zstd"}
RIVALS = {
    "from_position": "to_position",
    "accepted_since": "accepted_until",
    "data": "data_base64",
    "since": "until",
}


@schemathesis.serializer(LINES)
def as_lines(context, value):
    """The schema is of a line, so what is generated is one."""
    return json.dumps(value).encode() + b"\n"


@schemathesis.deserializer(LINES)
def first_line(context, response):
    """Fits the schema; test_openapi.py looks at all."""
    return json.loads(response.content.partition(b"\n")[0])


@schemathesis.check
def lines_are_answered(context, response, case):
    """Good lines are stored, and each answer ends with the counts of what stands before them."""
    if response.headers.get("content-type", [""])[0] != LINES:
        return
    *results, end = [json.loads(line) for line in response.content.splitlines()]
    failed = [result for result in results if "status" not in result or "title" in result]
    assert end["complete"] and end["failed"] == len(failed), (results, end)
    assert len(results) == end["stored"] + end["duplicates"] + end["failed"], (results, end)
    if case.meta and case.meta.generation.mode.is_positive:
        assert all(result["status"] == 409 for result in failed), failed


@schemathesis.hook
def before_call(context, case, kwargs):
    if case.operation.label == "POST /api/v1/events":
        settle_form(case)
    if case.meta and case.meta.generation.mode.is_positive:
        keep_together(case)
    if case.operation.label == "POST /api/v1/events":
        compress(case, kwargs)


def compress(case, kwargs):
    headers = case.headers or {}
    for name in [name for name in headers if name.lower() == "content-encoding"]:
        if headers[name] not in CODINGS:
            continue
        headers[name] = "gzip" if headers[name] == "zstd" else headers[name]
        if not isinstance(case.body, NotSet):
            kwargs["data"] = gzip.compress(serialized(case.body))


def serialized(body):
    if isinstance(body, (bytes, str)):
        return body if isinstance(body, bytes) else body.encode()
    return json.dumps(body).encode()


def settle_form(case):
    case.headers = {
        name: value
        for name, value in (case.headers or {}).items()
        if not name.lower().startswith("ce-")
    }
    if case.media_type == BINARY:
        case.headers.update(CE)


def keep_together(case):
    body = case.body
    case.query = settled({**(case.query or {})})
    case.query.pop("page_token", None)
    if "min_position" in case.query:
        case.query["min_position"] = int(case.query["min_position"]) % 2
    own_id = case.media_type in (BINARY, LINES) or isinstance(body, list)
    own_id = own_id or (isinstance(body, dict) and (body.get("id") or body.get("replay_id")))
    for name in [name for name in case.headers or {} if name.lower() == "idempotency-key"]:
        if own_id:
            del case.headers[name]
        else:
            case.headers[name] = f'"{uuid.uuid4()}"'
    if isinstance(body, dict):
        case.body = settled(body)
        if "replay_id" in body:  # each asks for something else
            case.body["replay_id"] = str(uuid.uuid4())
    elif isinstance(body, list):
        case.body = [settled(item) if isinstance(item, dict) else item for item in body]


def settled(members):
    dropped = [rival for name, rival in RIVALS.items() if name in members]
    if not isinstance(members.get("data", ""), str):
        dropped.append("datacontenttype")
    return {name: whole(value) for name, value in members.items() if name not in dropped}


def whole(value):
    return int(value) if isinstance(value, float) and value.is_integer() else value

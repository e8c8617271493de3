"""Any event that the CloudEvents SDK for Python can make comes out of the bus as it went in.

Within the documented limits (common/event.h), in both modes.
"""

import base64
import itertools
import os
import random
import string
from datetime import datetime, timedelta, timezone

import pytest
from cloudevents.core.bindings.http import to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent
from hypothesis import given, seed, settings
from hypothesis import strategies as st
from hypothesis.configuration import set_hypothesis_home_dir

from bus_client import Bus
from cloud_events import (
    OPTIONAL,
    REQUIRED,
    assert_same,
    by_the_python_sdk,
    by_the_specification,
    is_json,
    text_of,
)
from http_client import EVENTS
from program import BUILD, SANITIZED

pytestmark = pytest.mark.sequential

EXAMPLES = 40 if SANITIZED else 200
SEED = int(os.environ.get("TIDINGS_SEED", random.randrange(1 << 30)))
set_hypothesis_home_dir(os.path.join(BUILD, "hypothesis"))

NAME_MAX, ID_MAX, SOURCE_MAX, KEY_MAX, SUBJECT_MAX, DATASCHEMA_MAX = 128, 256, 512, 256, 512, 512
EXTENSIONS_MAX, EXTENSION_NAME_MAX, EXTENSIONS_BYTES = 24, 40, 4096
IN_HEADERS = 2000  # of the extensions: a request's header has 16 KiB at most, encoded
COUNTER = 8  # bytes at an id's end, which keep examples apart

# ---- events ----

NONCHARACTERS = [chr(plane << 16 | c) for plane in range(17) for c in (0xFFFE, 0xFFFF)]
NONCHARACTERS += [chr(c) for c in range(0xFDD0, 0xFDF0)]
NOT_EXTENSIONS = (*REQUIRED, *OPTIONAL, "data", "traceparent", "tracestate")


def size(value):
    return len(text_of(value).encode("utf-8"))


def texts(max_bytes, without=""):
    """The specification's String: no control characters, surrogates or noncharacters."""
    characters = st.characters(
        exclude_categories=("Cc", "Cs"), exclude_characters=[*NONCHARACTERS, *without]
    )
    return st.text(characters, min_size=1, max_size=max_bytes).filter(
        lambda value: size(value) <= max_bytes
    )


def uris(max_bytes):
    """URI references, as leniently as the SDK takes them."""
    return texts(max_bytes, without=" ")


names = st.from_regex(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*", fullmatch=True).filter(
    lambda name: len(name) <= NAME_MAX
)
times = st.datetimes(  # in UTC, too, of the years 0001 to 9999
    datetime(1, 1, 2),
    datetime(9999, 12, 30),
    timezones=st.integers(-23 * 60, 23 * 60).map(lambda m: timezone(timedelta(minutes=m))),
)
extension_names = st.text(
    string.ascii_lowercase + string.digits, min_size=1, max_size=EXTENSION_NAME_MAX
).filter(lambda name: name not in NOT_EXTENSIONS)
extensions = st.dictionaries(
    st.just("partitionkey") | extension_names,
    texts(KEY_MAX) | st.booleans() | st.integers(-(2**31), 2**31 - 1),
    max_size=EXTENSIONS_MAX,
).filter(lambda found: sum(size(k) + size(v) for k, v in found.items()) <= IN_HEADERS)
attributes = st.fixed_dictionaries(
    {"id": texts(ID_MAX - COUNTER), "source": uris(SOURCE_MAX), "type": names, "time": times},
    optional={"subject": texts(SUBJECT_MAX), "dataschema": uris(DATASCHEMA_MAX)},
)

# RFC 8259 less NUL and lone surrogates: docs/http-api.md.
json_texts = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"))
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | json_texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(json_texts, inner, max_size=4),
    max_leaves=20,
)
json_types = st.sampled_from([None, "application/json", "text/json", "application/vnd.a+json; v=1"])
other_types = st.sampled_from(["text/plain", "text/plain; charset=utf-8", "application/xml", "a/b"])
payloads = st.one_of(
    st.tuples(st.none(), json_types | other_types),
    st.tuples(st.dictionaries(json_texts, json_values, max_size=4), json_types),
    st.tuples(json_texts, json_types | other_types),
    st.tuples(st.binary(), json_types | other_types),
)


def data_of(data, content_type, mode):
    """What the SDK says that it sends."""
    if data is None:
        return {}
    if isinstance(data, bytes):
        return {"base64": base64.b64encode(data).decode()}
    if isinstance(data, dict) or (mode == "structured" and is_json(content_type)):
        return {"json": data}
    return {"text": data}


# ---- the property ----


def post(gateway, event, mode):
    to_message = to_structured_event if mode == "structured" else to_binary_event
    message = to_message(CloudEvent(*event))
    reply = gateway.http.send("POST", EVENTS, message.body, message.headers)
    assert reply.status == 202, reply
    return gateway.http.get(f"{EVENTS}/{reply.event_id}").json()["event_position"]


def check(gateway, bus, sent, more, data, mode):
    content_type = sent.get("datacontenttype")
    # The SDK writes Python's own True and False into headers, where the specification has true.
    spelled = more if mode == "structured" else {name: text_of(v) for name, v in more.items()}
    position = post(gateway, ({**sent, **spelled}, data), mode)

    subject, headers, payload = bus.message(position)

    assert subject == f"tidings.events.{sent['type']}"
    expected = {
        "attributes": {name: text_of(value) for name, value in sent.items()},
        "extensions": more,
        "data": data_of(data, content_type, mode),
    }
    assert_same(expected, by_the_specification(headers, payload))
    assert_same(expected, {**by_the_python_sdk(headers, payload), "data": payload})


@pytest.mark.long
@pytest.mark.parametrize("mode", ["structured", "binary"])
def test_any_event_comes_out_as_it_went_in(shared, gateway, mode):
    print(f"TIDINGS_SEED={SEED}")
    numbers = itertools.count()
    with Bus(shared.bus.url) as bus:

        @seed(SEED)
        @settings(max_examples=EXAMPLES, deadline=None, database=None)
        @given(attributes, extensions, payloads)
        def holds(drawn, more, payload):
            data, content_type = payload
            sent = {**drawn, "id": f"{drawn['id']}{mode[0]}{next(numbers)}"}
            if content_type:
                sent["datacontenttype"] = content_type
            check(gateway, bus, sent, more, data, mode)

        holds()


def test_an_event_of_the_greatest_size(shared, gateway):
    """In structured mode: encoded in headers it would be above what a request's header may have."""
    sent = {
        "id": "ü" * (ID_MAX // 2),
        "source": "/" + "%" * (SOURCE_MAX - 1),
        "type": "n." * (NAME_MAX // 2 - 1) + "nn",
        "subject": "世" * (SUBJECT_MAX // 3),
        "dataschema": "h:" + '"' * (DATASCHEMA_MAX - 2),
        "datacontenttype": "text/" + "p" * 251,
    }
    each = EXTENSIONS_BYTES // EXTENSIONS_MAX - EXTENSION_NAME_MAX
    more = {
        f"{'x' * (EXTENSION_NAME_MAX - 2)}{n}": "%" * each for n in range(10, 10 + EXTENSIONS_MAX)
    }
    more["partitionkey"] = " " * KEY_MAX
    with Bus(shared.bus.url) as bus:
        check(gateway, bus, sent, more, "x", "structured")

"""What any gRPC tool expects of the processor: health, reflection, proper statuses."""

import grpc
import pytest
from google.protobuf import descriptor_pb2

from grpc_client import health_pb, pb, reflection

pytestmark = pytest.mark.sequential

SERVICES = {
    "events.EventService",
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
}


@pytest.mark.parametrize("service", ["", "events.EventService"])
def test_health(client, service):
    assert client.serving(service)


def test_health_of_an_unknown_service(client):
    with pytest.raises(grpc.RpcError) as error:
        client.serving("no.such.Service")
    assert error.value.code() == grpc.StatusCode.NOT_FOUND
    watch = client.health.Watch(health_pb.HealthCheckRequest(service="no.such.Service"), timeout=10)
    assert next(watch).status == health_pb.HealthCheckResponse.SERVICE_UNKNOWN
    watch.cancel()


@pytest.fixture(params=["v1", "v1alpha"])
def ask(request, client):
    """ask(field=value, ...) sends one reflection request of the version and returns the answer."""
    messages, stubs = reflection[request.param]
    stub = stubs.ServerReflectionStub(client.channel)

    def send(**field):
        question = messages.ServerReflectionRequest(**field)
        (answer,) = stub.ServerReflectionInfo(iter([question]), timeout=10)
        assert answer.original_request == question
        return answer

    return send


def test_reflection_lists_services(ask):
    names = {service.name for service in ask(list_services="").list_services_response.service}
    assert names == SERVICES


@pytest.mark.parametrize(
    "symbol",
    [
        "events.EventService",
        "events.EventService.GetEventStatus",
        "events.EventStatus",
        "events.EventStatus.Status",
        "events.GetStatsResponse.Counts",
        "grpc.health.v1.Health",
    ],
)
def test_reflection_describes_symbols(ask, symbol):
    files = [
        descriptor_pb2.FileDescriptorProto.FromString(data)
        for data in ask(
            file_containing_symbol=symbol
        ).file_descriptor_response.file_descriptor_proto
    ]
    assert any(symbol.startswith(file.package + ".") for file in files)


def test_reflection_by_file_name(ask):
    answer = ask(file_by_filename="events.proto")
    names = [
        descriptor_pb2.FileDescriptorProto.FromString(data).name
        for data in answer.file_descriptor_response.file_descriptor_proto
    ]
    assert "events.proto" in names
    timestamp = ask(file_by_filename="google/protobuf/timestamp.proto")
    assert (
        timestamp.file_descriptor_response.file_descriptor_proto
    ), "what ours imports is there, too"


@pytest.mark.parametrize(
    "field",
    [
        {"file_containing_symbol": "events.Nothing"},
        {"file_by_filename": "nothing.proto"},
        {"file_containing_symbol": ""},
    ],
)
def test_reflection_of_the_unknown(ask, field):
    assert ask(**field).error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]


def test_internal_records_are_not_shown(ask):
    """The status log's own messages are no part of the public API."""
    assert ask(file_by_filename="status_log.proto").HasField("error_response")


# ---- odd calls ----


def call(client, path, data, timeout_s=10):
    method = client.channel.unary_unary(path, request_serializer=bytes, response_deserializer=bytes)
    return method(data, timeout=timeout_s)


STATUS = "/events.EventService/GetEventStatus"
ODD = {
    "an unknown method": ("/events.EventService/Nothing", b"", "UNIMPLEMENTED"),
    "an unknown service": ("/no.Service/Nothing", b"", "UNIMPLEMENTED"),
    "no message at all": (STATUS, b"\xff\xff\xff\xff", "INVALID_ARGUMENT"),
    "a cut message": (STATUS, b"\x0a\x24abc", "INVALID_ARGUMENT"),
    "invalid UTF-8": (STATUS, b"\x0a\x02\xff\xfe", "INVALID_ARGUMENT"),
    "no id": (STATUS, b"", "INVALID_ARGUMENT"),
    "a long id": (
        STATUS,
        pb.GetEventStatusRequest(event_id="x" * 100_000).SerializeToString(),
        "INVALID_ARGUMENT",
    ),
    "many empty ids": (
        "/events.EventService/BatchGetEventStatus",
        b"\x0a\x00" * (1 << 18) + b"\x0a\x00",
        "RESOURCE_EXHAUSTED",
    ),
    "a huge message": (
        STATUS,
        b"\x0a" + b"\x80\x80\x80\x04" + b"x" * (8 << 20),
        "RESOURCE_EXHAUSTED",
    ),
}


@pytest.mark.parametrize("path, data, code", ODD.values(), ids=ODD.keys())
def test_odd_calls(client, path, data, code):
    with pytest.raises(grpc.RpcError) as error:
        call(client, path, data)
    assert error.value.code().name == code, error.value.details()
    assert error.value.details(), "it says why"


def test_unknown_fields_are_ignored(gateway, client):
    """A newer client's request: https://protobuf.dev/programming-guides/proto3/#unknowns"""
    event_id = gateway.http.post({"name": "newer"}).event_id
    data = pb.GetEventStatusRequest(event_id=event_id).SerializeToString() + b"\xfa\x3e\x03new"
    assert pb.EventStatus.FromString(call(client, STATUS, data)).event_id == event_id


def test_garbage_on_the_port_harms_nobody(processor, client):
    import socket

    for data in (
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x00" * 1000,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 1000,
    ):
        with socket.create_connection(("127.0.0.1", processor.grpc_port), timeout=10) as connection:
            connection.sendall(data)
    assert client.serving()

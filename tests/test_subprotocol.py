"""Messages of the JSON subprotocol: what is written can be read, and nothing else gets through."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wpsload.errors import LocalProtocolError, RemoteProtocolError
from wpsload.subprotocol import (
    Ack,
    Connected,
    DataType,
    Disconnected,
    Event,
    GroupMessage,
    JoinGroup,
    LeaveGroup,
    Ping,
    Pong,
    Request,
    Response,
    SendToGroup,
    SequenceAck,
    ServerMessage,
    check_group,
    decode_request,
    decode_response,
    encode_request,
    encode_response,
    encode_success,
)

# Strategies: every message the types allow

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)  # no half surrogate pairs
groups = text.filter(str.strip)
ack_ids = st.none() | st.integers(0, 2**64 - 1)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | text,
    lambda children: st.lists(children, max_size=3) | st.dictionaries(text, children, max_size=3),
    max_leaves=8,
)
keys = st.from_regex(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,20}", fullmatch=True)
metadata = st.none() | st.dictionaries(
    keys, st.text(st.characters(codec="ascii"), max_size=20), min_size=1, max_size=3
)
events = st.from_regex(r"[A-Za-z][A-Za-z0-9_.-]{0,127}", fullmatch=True)


@st.composite
def typed_data(draw: st.DrawFn) -> tuple[Any, DataType]:
    """Data and the type it has."""
    data_type: DataType = draw(st.sampled_from(["text", "json", "binary", "protobuf"]))
    match data_type:
        case "text":
            return draw(text), data_type
        case "json":
            return draw(json_values.filter(lambda value: value is not None)), data_type
        case _:
            return draw(st.binary(max_size=20)), data_type


requests = st.one_of(
    st.builds(JoinGroup, groups, ack_ids),
    st.builds(LeaveGroup, groups, ack_ids),
    st.builds(
        lambda group, data, *rest: SendToGroup(group, data[0], data[1], *rest),
        groups,
        typed_data(),
        st.booleans(),
        ack_ids,
        metadata,
    ),
    st.builds(
        lambda event, data, *rest: Event(event, data[0], data[1], *rest),
        events,
        typed_data(),
        ack_ids,
        metadata,
    ),
    st.just(Ping()),
    st.builds(SequenceAck, st.integers(0, 2**64 - 1)),
)
responses = st.one_of(
    st.builds(lambda ack_id: Ack(ack_id, True), st.integers(0, 2**64 - 1)),
    st.builds(lambda ack_id, *error: Ack(ack_id, False, *error), ack_ids.filter(bool), text, text),
    st.builds(
        lambda group, data, *rest: GroupMessage(group, data[0], data[1], *rest),
        groups,
        typed_data(),
        st.none() | text,
        metadata,
    ),
    st.builds(
        lambda data, metadata: ServerMessage(data[0], data[1], metadata), typed_data(), metadata
    ),
    st.builds(Connected, text, st.none() | text),
    st.builds(Disconnected, text),
    st.just(Pong()),
)


@given(requests)
def test_requests_round_trip(request: Request) -> None:
    """A request that is encoded and decoded is the same request."""
    assert request == decode_request(encode_request(request))


@given(responses)
def test_responses_round_trip(response: Response) -> None:
    """A response that is encoded and decoded is the same response."""
    assert response == decode_response(encode_response(response))


@given(st.integers(0, 2**64 - 1))
def test_the_short_way_to_a_successful_ack_is_the_long_one(ack_id: int) -> None:
    """`encode_success` writes the same bytes as `encode_response`."""
    assert encode_success(ack_id) == encode_response(Ack(ack_id, True))


# Anything at all: random bytes, random JSON, and JSON that looks nearly right

almost = st.fixed_dictionaries(
    {"type": st.sampled_from(["sendToGroup", "event", "joinGroup", "ack", "message", "system"])},
    optional={
        name: json_values | st.sampled_from(["g", "text", "binary", "group", "server", "connected"])
        for name in ("group", "event", "data", "dataType", "ackId", "noEcho", "from", "success")
    }
    | {name: json_values for name in ("error", "connectionId", "sequenceId", "userId", "message")}
    | {name: json_values for name in ("metadata", "ttlSeconds")},
)
frames = st.one_of(
    st.binary(max_size=50),
    st.text(max_size=50).map(lambda value: value.encode(errors="replace")),
    json_values.map(lambda value: json.dumps(value).encode()),
    almost.map(lambda value: json.dumps(value).encode()),
)


@given(frames)
def test_any_frame_is_a_request_or_a_remote_error(frame: bytes) -> None:
    """Whatever a client sends gives a request, or an error whose close code is 1007."""
    try:
        decode_request(frame)
    except RemoteProtocolError as error:
        assert error.close_code == 1007  # noqa: PT017  # both ways out are fine


@given(frames)
def test_any_frame_is_a_response_or_a_remote_error(frame: bytes) -> None:
    """Whatever a service sends gives a response, None for an unknown type, or an error."""
    try:
        decode_response(frame)
    except RemoteProtocolError as error:
        assert error.message  # noqa: PT017  # both ways out are fine


# The wire, as the documentation shows it


@pytest.mark.parametrize(
    ("frame", "request_"),
    [
        ('{"type":"joinGroup","group":"g1","ackId":1}', JoinGroup("g1", 1)),
        ('{"type":"LEAVEGROUP","group":"g1"}', LeaveGroup("g1")),
        (
            '{"type":"sendToGroup","group":"g1","dataType":"text","data":"hi","noEcho":true,'
            '"ackId":2}',
            SendToGroup("g1", "hi", "text", True, 2),
        ),
        ('{"type":"sendToGroup","group":"g","data":[1]}', SendToGroup("g", [1], "json")),
        (
            '{"type": "sendToGroup", "group": "g", "ackId": 1, "dataType": "binary", '
            '"data": "AP8=", "noEcho": null, "extra": 1}',
            SendToGroup("g", b"\x00\xff", "binary", False, 1),
        ),
        (
            '{"type":"event","event":"echo","dataType":"json","data":{"n":1},"ackId":3}',
            Event("echo", {"n": 1}, "json", 3),
        ),
        ('{"type":"event","event":"e","data":false}', Event("e", False)),
        ('{"type":"event","event":"e","data":1,"dataType":null}', Event("e", 1)),
        ('{"type":"sendToGroup","group":"g","data":1,"ttlSeconds":0}', SendToGroup("g", 1)),
        ('{"type":"sendToGroup","group":"g","data":1,"ttlSeconds":300}', SendToGroup("g", 1)),
        ('{"type":"sendToGroup","group":"g","data":1,"ttlSeconds":null}', SendToGroup("g", 1)),
        (
            '{"type":"sendToGroup","group":"g","data":1,"metadata":{"a-b":"c d"}}',
            SendToGroup("g", 1, metadata={"a-b": "c d"}),
        ),
        (
            '{"type":"event","event":"e","metadata":{"k":""}}',
            Event("e", "", "text", metadata={"k": ""}),
        ),
        ('{"type":"event","event":"e","data":1,"metadata":{}}', Event("e", 1)),
        ('{"type":"ping"}', Ping()),
        ('{"type":"sequenceAck","sequenceId":"5"}', SequenceAck(5)),
        ('{"type":"sequenceAck","sequenceId":5}', SequenceAck(5)),
    ],
)
def test_documented_requests(frame: str, request_: Request) -> None:
    """Requests as the documentation and the SDKs write them are read."""
    assert request_ == decode_request(frame.encode())


@pytest.mark.parametrize(
    "frame",
    [
        "",
        "[]",
        "{}",
        '{"type":1}',
        '{"type":"unheard"}',
        '{"type":"joinGroup"}',
        '{"type":"joinGroup","group":""}',
        '{"type":"joinGroup","group":" \\t"}',
        '{"type":"joinGroup","group":"g","ackId":-1}',
        '{"type":"joinGroup","group":"g","ackId":1.0}',
        '{"type":"joinGroup","group":"g","ackId":true}',
        '{"type":"joinGroup","group":"g","ackId":18446744073709551616}',
        '{"type":"sendToGroup","group":"g"}',
        '{"type":"sendToGroup","group":"g","data":null}',
        '{"type":"sendToGroup","group":"g","dataType":"text","data":1}',
        '{"type":"sendToGroup","group":"g","dataType":"binary","data":"AP8"}',
        '{"type":"sendToGroup","group":"g","dataType":"binary","data":"ü"}',
        '{"type":"sendToGroup","group":"g","dataType":"xml","data":"x"}',
        '{"type":"sendToGroup","group":"g","dataType":[],"data":"x"}',
        '{"type":"sendToGroup","group":"g","data":1,"noEcho":1}',
        '{"type":"sendToGroup","group":"g","data":1,"ttlSeconds":-1}',
        '{"type":"sendToGroup","group":"g","data":1,"ttlSeconds":301}',
        '{"type":"sendToGroup","group":"g","data":1,"ttlSeconds":1.0}',
        '{"type":"sendToGroup","group":"g","data":1,"ttlSeconds":true}',
        '{"type":"sendToGroup","group":"g","data":1,"ttlSeconds":"1"}',
        '{"type":"event","event":"1e","data":1}',
        '{"type":"event","event":"e e","data":1}',
        '{"type":"sequenceAck"}',
        '{"type":"sequenceAck","sequenceId":"-5"}',
        '{"type":"sequenceAck","sequenceId":"18446744073709551616"}',
        '{"type":"sequenceAck","sequenceId":"' + "9" * 5000 + '"}',
    ],
)
def test_invalid_requests(frame: str) -> None:
    """A request that lacks something, or has it wrong, is the client's fault."""
    with pytest.raises(RemoteProtocolError):
        decode_request(frame.encode())


@pytest.mark.parametrize(
    "frame",
    [
        '{"type":"ack"}',
        '{"type":"ack","ackId":1}',
        '{"type":"ack","ackId":1,"success":false,"error":"no"}',
        '{"type":"ack","ackId":1,"success":false,"error":{}}',
        '{"type":"message","data":1}',
        '{"type":"message","from":"moon","data":1}',
        '{"type":"message","from":"group","data":1}',
        '{"type":"system","event":"connected"}',
    ],
)
def test_invalid_responses(frame: str) -> None:
    """A response that lacks something is the service's fault."""
    with pytest.raises(RemoteProtocolError):
        decode_response(frame.encode())


@pytest.mark.parametrize(
    "frame", ['{"type":"streamAck","streamId":"s"}', '{"type":"system","event":"moved"}']
)
def test_unknown_responses_are_none(frame: str) -> None:
    """Types and events of later services are skipped, as the official SDKs do."""
    assert decode_response(frame.encode()) is None


@pytest.mark.parametrize(
    ("response", "frame"),
    [
        (Ack(2, True), '{"type":"ack","ackId":2,"success":true}'),
        (
            Ack(4, False, "Forbidden", "no permission for g2"),
            '{"type":"ack","ackId":4,"success":false,'
            '"error":{"name":"Forbidden","message":"no permission for g2"}}',
        ),
        (
            GroupMessage("g1", "hi", "text", "u17"),
            '{"type":"message","from":"group","group":"g1","dataType":"text","data":"hi",'
            '"fromUserId":"u17"}',
        ),
        (
            ServerMessage(b"\x00", "binary"),
            '{"type":"message","from":"server","dataType":"binary","data":"AA=="}',
        ),
        (
            Connected("c0ffee", "u17"),
            '{"type":"system","event":"connected","userId":"u17","connectionId":"c0ffee"}',
        ),
    ],
)
def test_documented_responses(response: Response, frame: str) -> None:
    """Responses are written as the documentation shows them."""
    assert frame == encode_response(response).decode()


@pytest.mark.parametrize(
    "metadata",
    [
        1,
        [],
        "k",
        {"": "v"},
        {"a b": "v"},
        {"ü": "v"},
        {"a:b": "v"},
        {"k\n": "v"},
        {"k" * 257: "v"},
        {"k": 1},
        {"k": None},
        {"k": {"nested": "v"}},
        {"k": "ü"},
        {"k": "v" * 1025},
        {f"k{n}": "v" * 1022 for n in range(9)},
    ],
)
def test_invalid_metadata(metadata: Any) -> None:
    """Metadata is a flat mapping of texts within the limits of the service."""
    for fields in ({"type": "sendToGroup", "group": "g"}, {"type": "event", "event": "e"}):
        with pytest.raises(RemoteProtocolError):
            decode_request(json.dumps({**fields, "data": 1, "metadata": metadata}).encode())
    if isinstance(metadata, dict):
        with pytest.raises(LocalProtocolError):
            encode_request(SendToGroup("g", 1, metadata=metadata))


@pytest.mark.parametrize(
    "metadata",
    [{"k" * 256: "v" * 1024}, {f"k{n}": "v" * 1022 for n in range(8)}, {"!#$%&'*+.^_`|~-": "\n"}],
)
def test_largest_metadata(metadata: dict[str, str]) -> None:
    """Metadata of exactly the limits passes."""
    request = Event("e", 1, metadata=metadata)
    assert request == decode_request(encode_request(request))


# Large numbers


@pytest.mark.parametrize(
    "number",
    ["1E400", "-1e+400", "1" + "0" * 400, "-" + "9" * 5000, "[1,-9223372036854775808,1E999]"],
)
def test_a_number_too_large_for_a_double_is_kept_as_written(number: str) -> None:
    """JSON allows it, so that the frame is valid and the number is passed on with its digits."""
    frame = f'{{"type":"sendToGroup","group":"g","data":{number},"ackId":{2**64 - 1}}}'
    request = decode_request(frame.encode())
    assert isinstance(request, SendToGroup)
    assert request.ack_id == 2**64 - 1
    assert f'"data":{number}'.encode() in encode_response(GroupMessage("g", request.data, "json"))


def test_an_integer_beyond_64_bit_is_rounded() -> None:
    """Other numbers become what a double holds, as the module says."""
    request = decode_request(b'{"type":"event","event":"e","data":123456789012345678901}')
    assert isinstance(request, Event)
    assert request.data == 1.2345678901234568e20


@pytest.mark.parametrize(
    "data", ["NaN", "Infinity", "-Infinity", '"\\ud800"', "01", "1E", "[" * 5000 + "]" * 5000]
)
def test_a_large_number_excuses_nothing_else(data: str) -> None:
    """What is not JSON stays so beside a number that is too large."""
    with pytest.raises(RemoteProtocolError, match="frame is not JSON"):
        decode_request(f'{{"type":"event","event":"e","data":[1E400,{data}]}}'.encode())


def test_a_failed_ack_without_error_is_unknown() -> None:
    """A failed ack that names no error still has a name to be counted under."""
    assert decode_response(b'{"type":"ack","ackId":1,"success":false}') == Ack(1, False, "Unknown")


def test_metadata_of_the_service_is_taken_as_it_is() -> None:
    """The limits bind who sends; a message that comes with other metadata is not refused."""
    start = b'{"type":"message","from":"server","data":1,"metadata":'
    long = "v" * 2000
    message = decode_response(start + b'{"k k":"' + long.encode() + b'"}}')
    assert message == ServerMessage(1, "json", {"k k": long})
    assert decode_response(start + b"7}") == ServerMessage(1, "json")


@pytest.mark.parametrize(
    ("ack", "is_success"),
    [
        (Ack(1, True), True),
        (Ack(1, False, "Duplicate"), True),
        (Ack(1, False, "Forbidden"), False),
    ],
)
def test_duplicate_is_a_success(ack: Ack, is_success: bool) -> None:
    """An ack named `Duplicate` says that the request is done already."""
    assert is_success == ack.is_success


@pytest.mark.parametrize(
    "request_",
    [
        SendToGroup("g", "text", "binary"),
        SendToGroup("g", b"bytes", "text"),
        SendToGroup("g", object(), "json"),
        SendToGroup("g", 2**64, "json"),
        SendToGroup("g", "x", "xml"),  # type: ignore[arg-type]  # what a careless scenario does
    ],
)
def test_data_that_does_not_fit_is_our_fault(request_: Request) -> None:
    """Data that does not fit its type is a mistake of the scenario, told before it is sent."""
    with pytest.raises(LocalProtocolError):
        encode_request(request_)


@pytest.mark.parametrize("group", ["g", "a b", "ü", "x" * 1024])
def test_good_group_names(group: str) -> None:
    """Group names of up to 1,024 characters pass."""
    assert group == check_group(group)


@pytest.mark.parametrize("group", ["", " ", "\t\n", "x" * 1025])
def test_bad_group_names(group: str) -> None:
    """Blank and overlong group names do not."""
    with pytest.raises(LocalProtocolError):
        check_group(group)

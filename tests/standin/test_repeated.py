"""A request that is told by the last one is what the parser says, whatever it looks like."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wpsload.errors import RemoteProtocolError
from wpsload.subprotocol import MAX_ACK_ID, SendToGroup, decode_request, encode_request

repeated = pytest.importorskip("wpsload.standin._repeated")


def parsed(payload: bytes) -> object:
    """What the parser makes of it; a text frame that is no UTF-8 never comes this far."""
    try:
        return decode_request(payload)
    except RemoteProtocolError:
        return None


def learned(payload: bytes) -> Any:
    """After one request."""
    last_send = repeated.LastSend()
    request = decode_request(payload)
    assert isinstance(request, SendToGroup)
    last_send.learn(payload, request)
    return last_send


def test_the_usual_request_is_told() -> None:
    """Other text, other length, other ack id."""
    last_send = learned(encode_request(SendToGroup("room", "one", "text", True, 7)))
    for text, ack_id in (("two", 8), ("", 9), ("x" * 2000, 10**18)):
        request = SendToGroup("room", text, "text", True, ack_id)
        assert last_send.read(encode_request(request)) == request


def test_before_the_first_nothing_is_told() -> None:
    """There is no last one."""
    assert repeated.LastSend().read(b"") is None


@pytest.mark.parametrize(
    "payload",
    [
        b'{"type":"sendToGroup","group":"g","data":"x","dataType":"text","ackId":1}',
        b'{"ackId":1,"type":"sendToGroup","group":"g","dataType":"text","data":"x"}',
        b'{"type":"sendToGroup","group":"g","dataType":"text","data":"a\\"b","ackId":1}',
        b'{"type":"sendToGroup","group":"%b","dataType":"text","data":"x","ackId":1}'
        % (b"g" * 600),
        b'{"type":"sendToGroup","group":"\\"dataType\\":\\"text\\",\\"data\\":\\"","dataType":"text",'
        b'"data":"x","ackId":1}',
        b'{"type":"sendToGroup","group":"g","x":{"dataType":"text","data":"x"},"data":"x",'
        b'"dataType":"text","ackId":1}',
        b'{"type":"sendToGroup","group":"g","dataType":"text","data":"x","noEcho":null,"ackId":1}',
    ],
)
def test_an_unusual_one_teaches_nothing(payload: bytes) -> None:
    """Or nothing wrong."""
    last_send = learned(payload)
    assert last_send.read(payload) in (None, decode_request(payload))
    usual = encode_request(SendToGroup("g", "x", "text", False, 2))
    assert last_send.read(usual) in (None, decode_request(usual))


FRONT = b'{"type":"sendToGroup","group":"g","dataType":"text","data":"'
PARTS = st.sampled_from(
    [
        *(b'"', b"\\", b'\\"', b',"ackId":', b'","ackId":', b"}", b"{", b"1", b"0", b"-", b".0"),
        *(b"x", b" ", b"\n", b"\x7f", "ü".encode(), b'"data":"', b',"group":"h"', b"e5", b"true"),
        *(str(MAX_ACK_ID).encode(), str(MAX_ACK_ID + 1).encode(), b"9" * 19, b"1" * 30),
    ]
)


@given(behind=st.lists(PARTS, max_size=12).map(b"".join), is_like=st.booleans())
def test_it_says_what_the_parser_says(behind: bytes, is_like: bool) -> None:
    """Anything behind the front, and mostly something that could be a request."""
    last_send = learned(FRONT + b'one","noEcho":true,"ackId":7}')
    payload = FRONT + behind + (b'","noEcho":true,"ackId":12}' if is_like else b"")
    read = last_send.read(payload)
    assert read is None or read == parsed(payload)


@pytest.mark.parametrize("no_echo", [True, False])
def test_either_order_of_the_properties_is_told(no_echo: bool) -> None:
    """Ours and that of others."""
    word = b"true" if no_echo else b"false"
    other = (
        b'{"type":"sendToGroup","group":"g","noEcho":%b,"dataType":"text","data":"%b","ackId":%d}'
    )
    last_send = learned(other % (word, b"one", 1))
    assert last_send.read(other % (word, b"two", 2)) == SendToGroup("g", "two", "text", no_echo, 2)
    ours = encode_request(SendToGroup("g", "three", "text", no_echo, 3))
    last_send.learn(ours, decode_request(ours))
    ours = encode_request(SendToGroup("g", "four", "text", no_echo, 4))
    assert last_send.read(ours) == SendToGroup("g", "four", "text", no_echo, 4)


@given(front=st.integers(0, len(FRONT)), byte=st.integers(0, 255))
def test_another_front_is_another_request(front: int, byte: int) -> None:
    """Of any one byte."""
    last_send = learned(FRONT + b'one","noEcho":true,"ackId":7}')
    payload = bytearray(FRONT + b'two","ackId":8}')
    payload[front] = byte
    read = last_send.read(bytes(payload))
    assert read is None or read == parsed(bytes(payload))

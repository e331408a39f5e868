"""Frames of RFC 6455: any pieces give the same messages, and whatever breaks the rules ends it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame
from websockets.frames import Opcode as TheirOpcode
from websockets.protocol import Protocol, Side, State

from wpsload.frames import (
    BINARY,
    CLOSE,
    NO_STATUS,
    PING,
    PONG,
    TEXT,
    FrameReader,
    close_payload,
    encode,
    masked,
    read_close,
)

LIMIT_BYTES = 100_000
KEY = b"\x01\x80\xff\x42"

SIZES = st.sampled_from([0, 1, 125, 126, 127, 1023, 1024, 1025, 65_535, 65_536])
PAYLOADS = st.one_of(st.binary(max_size=300), SIZES.map(bytes))
MESSAGES = st.one_of(
    st.tuples(st.just(BINARY), PAYLOADS),
    st.tuples(st.just(TEXT), st.text(max_size=200).map(str.encode)),
    st.tuples(st.sampled_from([PING, PONG]), st.binary(max_size=125)),
)


def reader(*, is_peer_client: bool = True) -> FrameReader:
    """A reader with the limit of these tests."""
    return FrameReader(is_peer_client=is_peer_client, max_message_bytes=LIMIT_BYTES)


def head(first: int, size: int, *, is_masked: bool = True) -> bytes:
    """The two bytes that a short frame starts with."""
    return bytes((first, (0x80 if is_masked else 0) | size))


def frame(first: int, payload: bytes) -> bytes:
    """A short masked frame with any first byte."""
    return head(first, len(payload)) + KEY + masked(payload, KEY)


@given(messages=st.lists(MESSAGES), cuts=st.lists(st.integers(0, 400_000)), is_client=st.booleans())
def test_any_pieces_give_the_same_messages(
    messages: list[tuple[int, bytes]], cuts: list[int], is_client: bool
) -> None:
    """However the stream is cut, what was encoded comes out, in order and whole."""
    key = KEY if is_client else None
    stream = b"".join(encode(opcode, payload, mask_key=key) for opcode, payload in messages)
    ends = [*sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    read = reader(is_peer_client=is_client)
    got = []
    start = 0
    for end in ends:
        got += read.feed(stream[start:end])
        start = end
    assert read.error is None
    assert got == messages


@given(message=MESSAGES, is_client=st.booleans())
def test_a_stranger_reads_what_we_write(message: tuple[int, bytes], is_client: bool) -> None:
    """`websockets` understands our frames."""
    opcode, payload = message
    side = Side.SERVER if is_client else Side.CLIENT
    stranger = Protocol(side, state=State.OPEN, max_size=None)
    stranger.receive_data(encode(opcode, payload, mask_key=KEY if is_client else None))
    assert stranger.events_received() == [Frame(TheirOpcode(opcode), payload)]


@given(message=MESSAGES, is_client=st.booleans())
def test_we_read_what_a_stranger_writes(message: tuple[int, bytes], is_client: bool) -> None:
    """Frames of `websockets`, with masks of its own choice, are understood."""
    opcode, payload = message
    theirs = Frame(TheirOpcode(opcode), payload).serialize(mask=is_client)
    assert reader(is_peer_client=is_client).feed(theirs) == [message]


@given(st.binary(max_size=2000), st.binary(min_size=4, max_size=4))
def test_masking_is_the_formula_of_the_rfc(payload: bytes, key: bytes) -> None:
    """Octet i is combined with octet i modulo 4 of the key: RFC 6455, 5.3."""
    expected = bytes(octet ^ key[i % 4] for i, octet in enumerate(payload))
    assert masked(payload, key) == expected
    assert masked(expected, key) == payload


@given(pieces=st.lists(st.binary(max_size=200), max_size=50), is_client=st.booleans())
def test_random_bytes_end_without_a_crash(pieces: list[bytes], is_client: bool) -> None:
    """Nothing that arrives raises, and after an error nothing more is read."""
    read = reader(is_peer_client=is_client)
    for piece in pieces:
        was_over = read.error is not None
        messages = read.feed(piece)
        assert not (was_over and messages)


def test_fragments_make_one_message_around_control_frames() -> None:
    """A ping between two fragments is answered at once; the message comes when it is whole."""
    read = reader()
    assert read.feed(frame(TEXT, "Grü".encode()[:3])) == []
    assert read.feed(frame(0x80 | PING, b"?")) == [(PING, b"?")]
    assert read.feed(frame(0x00, "Grü".encode()[3:])) == []
    assert read.feed(frame(0x80, b"se")) == [(TEXT, "Grüse".encode())]
    assert read.feed(frame(0x80 | TEXT, b"next")) == [(TEXT, b"next")]


# Numbers are those of the cases in the Autobahn test suite that ask for the same.
@pytest.mark.parametrize(
    ("stream", "close_code"),
    [
        pytest.param(frame(0xC0 | TEXT, b""), 1002, id="3.1 RSV1"),
        pytest.param(frame(0xA0 | TEXT, b""), 1002, id="3.2 RSV2"),
        pytest.param(frame(0x90 | PING, b""), 1002, id="3.5 RSV3 on a ping"),
        pytest.param(frame(0x83, b""), 1002, id="4.1.1 reserved opcode 3"),
        pytest.param(frame(0x8F, b""), 1002, id="4.2.5 reserved opcode 15"),
        pytest.param(head(0x80 | PING, 126) + b"\0\x7e", 1002, id="2.5 ping of 126 bytes"),
        pytest.param(frame(PING, b""), 1002, id="5.1 fragmented ping"),
        pytest.param(frame(0x80, b"x"), 1002, id="5.12 continuation of nothing"),
        pytest.param(frame(TEXT, b"a") + frame(0x80 | TEXT, b"b"), 1002, id="5.18 two at once"),
        pytest.param(frame(0x80 | TEXT, b"\xce\xba\xe1"), 1007, id="6.3 text that is cut short"),
        pytest.param(frame(0x80 | TEXT, b"\xed\xa0\x80"), 1007, id="6.4 surrogate in UTF-8"),
        pytest.param(frame(0x80 | CLOSE, b"\x03"), 1002, id="7.3.2 close of one byte"),
        pytest.param(frame(0x80 | CLOSE, b"\x03\xe8\xff"), 1007, id="7.5.1 reason not UTF-8"),
        pytest.param(frame(0x80 | CLOSE, close_payload(999)), 1002, id="7.9.1 code 999"),
        pytest.param(frame(0x80 | CLOSE, close_payload(1005)), 1002, id="7.9.4 code 1005"),
        pytest.param(frame(0x80 | CLOSE, close_payload(1016)), 1002, id="7.9.6 code 1016"),
        pytest.param(frame(0x80 | CLOSE, close_payload(5000)), 1002, id="7.13.1 code 5000"),
        pytest.param(head(0x80 | TEXT, 1, is_masked=False) + b"x", 1002, id="5.1 no mask"),
        pytest.param(
            head(0x80 | BINARY, 127) + (LIMIT_BYTES + 1).to_bytes(8, "big"), 1009, id="too long"
        ),
        pytest.param(head(0x80 | BINARY, 127) + b"\xff" * 8, 1009, id="absurdly long"),
    ],
)
def test_what_breaks_the_rules_is_refused(stream: bytes, close_code: int) -> None:
    """The close code answers the mistake; it is found by the head, where that is enough."""
    read = reader()
    assert read.feed(stream) == []
    assert read.error is not None
    assert read.error.close_code == close_code
    assert read.feed(frame(0x80 | TEXT, b"more")) == []


def test_what_came_before_a_mistake_is_given() -> None:
    """Messages in the same piece as a mistake, but before it, are not lost."""
    read = reader()
    assert read.feed(frame(0x80 | TEXT, b"fine") + frame(0x83, b"")) == [(TEXT, b"fine")]
    assert read.error is not None


def test_fragments_count_together_towards_the_limit() -> None:
    """A message cannot grow past the limit in small steps."""
    read = reader()
    for _ in range(LIMIT_BYTES // 100):
        assert read.feed(frame(BINARY if _ == 0 else 0x00, bytes(100))) == []
    assert read.error is None
    read.feed(frame(0x80, b"x"))
    assert read.error is not None
    assert read.error.close_code == 1009


def test_a_server_must_not_mask() -> None:
    """A client refuses masked frames: RFC 6455, 5.1."""
    read = reader(is_peer_client=False)
    read.feed(frame(0x80 | TEXT, b"x"))
    assert read.error is not None
    assert read.error.close_code == 1002


@pytest.mark.parametrize("code", [1000, 1001, 1003, 1007, 1011, 3000, 4999])
def test_close_codes_that_peers_may_send(code: int) -> None:
    """Each valid code comes through with its reason."""
    ((opcode, payload),) = reader().feed(frame(0x80 | CLOSE, close_payload(code, "why")))
    assert opcode == CLOSE
    assert read_close(payload) == (code, "why")


def test_a_close_without_a_code() -> None:
    """It is known as 1005, which is never sent: RFC 6455, 7.1.5."""
    assert read_close(b"") == (NO_STATUS, "")


@given(st.text())
def test_a_long_reason_is_cut_between_characters(reason: str) -> None:
    """A close frame is a control frame: its payload fits, and stays UTF-8."""
    payload = close_payload(1000, reason)
    assert len(payload) <= 125
    assert reason.startswith(read_close(payload)[1])

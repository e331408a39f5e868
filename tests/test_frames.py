"""Frames of RFC 6455: any pieces give the same messages, and whatever breaks the rules ends it."""

import tracemalloc

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
MIB = 1024 * 1024
KEY = b"\x01\x80\xff\x42"

SIZES = st.sampled_from([0, 1, 125, 126, 127, 1023, 1024, 1025, 65_535, 65_536])
PAYLOADS = st.one_of(st.binary(max_size=300), SIZES.map(bytes))
MESSAGES = st.one_of(
    st.tuples(st.just(BINARY), PAYLOADS),
    st.tuples(st.just(TEXT), st.text(max_size=200).map(str.encode)),
    st.tuples(st.sampled_from([PING, PONG]), st.binary(max_size=125)),
)
# Frames that look like frames, but may have any first byte, a false mask bit and any payload: most
# streams of them get somewhere before they break a rule.
ODD_FRAMES = st.builds(
    lambda first, payload, key: bytes((first,)) + encode(0, payload, mask_key=key)[1:],
    st.one_of(
        st.sampled_from([0x00, 0x01, 0x02, 0x80, 0x81, 0x82, 0x88, 0x89]), st.integers(0, 255)
    ),
    st.one_of(st.text(max_size=130).map(str.encode), PAYLOADS),
    st.one_of(st.just(KEY), st.none()),
)
STREAMS = st.one_of(st.binary(max_size=2000), st.lists(ODD_FRAMES).map(b"".join))


def reader(*, is_peer_client: bool = True) -> FrameReader:
    """A reader with the limit of these tests."""
    return FrameReader(is_peer_client=is_peer_client, max_message_bytes=LIMIT_BYTES)


def head(first: int, size: int, *, is_masked: bool = True) -> bytes:
    """The two bytes that a short frame starts with."""
    return bytes((first, (0x80 if is_masked else 0) | size))


def frame(first: int, payload: bytes) -> bytes:
    """A short masked frame with any first byte."""
    return head(first, len(payload)) + KEY + masked(payload, KEY)


def feed_in_pieces(read: FrameReader, stream: bytes, cuts: list[int]) -> list[tuple[int, bytes]]:
    """What `read` makes of `stream` if it comes in pieces, cut somewhere."""
    ends = [*sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    messages = []
    start = 0
    for end in ends:
        messages += read.feed(stream[start:end])
        start = end
    return messages


CUTS = st.lists(st.integers(0, 400_000))


@given(messages=st.lists(MESSAGES), cuts=CUTS, is_client=st.booleans())
def test_any_pieces_give_the_same_messages(
    messages: list[tuple[int, bytes]], cuts: list[int], is_client: bool
) -> None:
    """However the stream is cut, what was encoded comes out, in order and whole."""
    key = KEY if is_client else None
    stream = b"".join(encode(opcode, payload, mask_key=key) for opcode, payload in messages)
    read = reader(is_peer_client=is_client)
    assert feed_in_pieces(read, stream, cuts) == messages
    assert read.error is None


@given(stream=STREAMS, cuts=CUTS, is_client=st.booleans())
def test_any_pieces_of_any_stream_give_the_same_end(
    stream: bytes, cuts: list[int], is_client: bool
) -> None:
    """Cut or whole, valid or not, a stream gives the same messages and the same mistake."""
    whole, cut = reader(is_peer_client=is_client), reader(is_peer_client=is_client)
    assert feed_in_pieces(cut, stream, cuts) == whole.feed(stream)
    assert repr(cut.error) == repr(whole.error)
    if whole.error is not None and cut.error is not None:
        assert cut.error.close_code == whole.error.close_code


@given(
    message=st.tuples(st.sampled_from([TEXT, BINARY]), st.text(max_size=300).map(str.encode)),
    splits=st.lists(st.integers(0, 2000), min_size=1, max_size=10),
    controls=st.lists(st.tuples(st.sampled_from([PING, PONG]), st.binary(max_size=125))),
    cuts=CUTS,
    is_client=st.booleans(),
)
def test_any_fragments_make_one_message_around_control_frames(
    message: tuple[int, bytes],
    splits: list[int],
    controls: list[tuple[int, bytes]],
    cuts: list[int],
    is_client: bool,
) -> None:
    """A message may come in any fragments, even within a character, with pings between them."""
    opcode, payload = message
    key = KEY if is_client else None
    ends = [*sorted(split % (len(payload) + 1) for split in splits), len(payload)]
    stream, start = b"", 0
    for i, end in enumerate(ends):
        part = encode(0 if i else opcode, payload[start:end], mask_key=key)
        is_last = i == len(ends) - 1
        stream += part if is_last else bytes((part[0] & 0x7F,)) + part[1:]
        start = end
        if not is_last:
            stream += b"".join(encode(*control, mask_key=key) for control in controls)
    read = reader(is_peer_client=is_client)
    expected = [*controls * (len(ends) - 1), message]
    assert feed_in_pieces(read, stream, cuts) == expected
    assert read.error is None


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


@pytest.mark.timeout(30)
def test_pieces_cost_what_their_bytes_cost() -> None:
    """Two MiB byte by byte take a second, not the minutes of copying all for each byte."""
    payload = bytes(2 * MIB)
    stream = encode(BINARY, payload)
    read = FrameReader(is_peer_client=False, max_message_bytes=len(payload))
    messages = []
    for i in range(len(stream)):
        messages += read.feed(stream[i : i + 1])
    assert messages == [(BINARY, payload)]


@pytest.mark.parametrize(
    ("start", "piece"),
    [
        pytest.param(frame(BINARY, b""), frame(0x00, b""), id="empty fragments"),
        pytest.param(frame(BINARY, b""), frame(0x00, b"ab"), id="short fragments"),
        pytest.param(
            encode(BINARY, bytes(LIMIT_BYTES), mask_key=KEY)[:14],
            b"ab",
            id="a frame piece by piece",
        ),
    ],
)
def test_what_is_under_way_never_takes_more_than_the_limit(start: bytes, piece: bytes) -> None:
    """A message or frame that never ends is held once, without a price for each piece of it."""
    read = reader()
    tracemalloc.start()
    try:
        assert read.feed(start) == []
        for _ in range(40_000):
            assert read.feed(piece) == []
        held_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert read.error is None
    assert held_bytes < 1.5 * LIMIT_BYTES


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

"""Familiar messages: never told otherwise than by the parser, and never too many kept."""

import json
import struct
from collections.abc import Callable
from random import Random
from typing import Any

import orjson
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from wpsload import payload
from wpsload.errors import RemoteProtocolError
from wpsload.familiar import Familiar
from wpsload.payload import MIN_NUMBERED_BYTES, Stamp, stamp
from wpsload.subprotocol import GroupMessage, decode_response, encode_response

CLOCK = "0badcafe"
ANOTHER_CLOCK = "deadbeef"
MARK = f"wps1:{CLOCK}:"
NUMBERED_MARK = f"wps2:{CLOCK}:0000000babe:"

names = st.text(min_size=1, max_size=12).filter(str.strip) | st.sampled_from(
    [
        '"data":"',
        MARK,
        NUMBERED_MARK,
        f"{NUMBERED_MARK}{'0' * 24}:",
        f"{MARK}{'0' * 16}:",
        f"{MARK}{'0' * 16}:xx",
        '"',
        "\\",
        "дом",
    ]
)
times_ns = st.integers(0, 2**63)
sizes_bytes = st.integers(MIN_NUMBERED_BYTES, MIN_NUMBERED_BYTES + 4)


is_numbered = True


@pytest.fixture(scope="module", params=[False, True], ids=["bare", "numbered"], autouse=True)
def kind(request: pytest.FixtureRequest) -> None:
    """All tests of this module hold for stamps without and with a number."""
    globals()["is_numbered"] = request.param


def test_another_run_is_never_familiar() -> None:
    """Its envelope is not learned: each message goes to the parser, and is told apart there."""
    ours = payload.first_stream(7, Random(1))
    theirs = payload.first_stream(8, Random(1))
    familiar = Familiar({CLOCK: 0}, run=7)
    for stream, is_known in ((ours, True), (theirs, False)):
        assert familiar.is_ours(stream) is is_known
        data = stamp(Stamp(CLOCK, 1, stream, 2), size_bytes=60)
        frame = encode_response(GroupMessage("g", data, "text"))
        assert bool(familiar.learn(frame, data)) is is_known
    assert familiar.is_ours(None)


@given(st.integers(0, payload.MOST_RUN), st.integers(0, 2**32))
def test_streams_name_their_run(run: int, seed: int) -> None:
    """All those of a process do, and they fit into the eleven digits of a stamp."""
    stream = payload.first_stream(run, Random(seed)) + 2**29
    assert payload.run_of(stream) == run
    assert stream < 16**11


def new_familiar() -> Familiar:
    """One that has seen nothing."""
    return Familiar({CLOCK: 0}, is_numbered=is_numbered)


def new_stamp(sent_ns: int, clock: str = CLOCK) -> Stamp:
    """A stamp of the kind that is tested; its number follows from its time."""
    return (
        Stamp(clock, sent_ns, 0xBABE, sent_ns * 7 % 2**32) if is_numbered else Stamp(clock, sent_ns)
    )


def said(familiar: Familiar, frame: bytes, at: int) -> int | None:
    """The send time, as the short way tells it; its stream and number are checked on the way."""
    found = familiar.stamp(frame, at)
    if found is None:
        return None
    message = decode_response(frame)
    assert isinstance(message, GroupMessage)
    read = payload.read(message.data)
    assert read is not None
    assert found == (read.stream, read.sent_ns, read.number)
    return found[1]


def general(frame: bytes) -> int | None:
    """What the parser says: the send time of a group message, None if there is none to tell."""
    try:
        message = decode_response(frame)
    except RemoteProtocolError:
        return None
    if not isinstance(message, GroupMessage):
        return None
    stamp = payload.read(message.data)
    return stamp.sent_ns if stamp is not None and stamp.clock == CLOCK else None


def learn(familiar: Familiar, frame: bytes) -> int:
    """Let it learn from a message, as a session does; where a stamp is."""
    message = decode_response(frame)
    assert isinstance(message, GroupMessage)
    return familiar.learn(frame, message.data)


def same(familiar: Familiar, frame: bytes, at: int) -> int | None:
    """What `familiar` says, which is nothing or what the parser says."""
    told = said(familiar, frame, at)
    assert told is None or told == general(frame)
    return told


def escaped(text: str) -> str:
    """A JSON string in which every character is written by its number."""
    units = struct.unpack(f"!{len(text.encode('utf-16-be')) // 2}H", text.encode("utf-16-be"))
    return '"' + "".join(f"\\u{unit:04x}" for unit in units) + '"'


def envelope(fields: dict[str, Any], order: list[str], write: Callable[[str, Any], str]) -> bytes:
    """A JSON object with its fields in that order."""
    return (
        "{" + ",".join(f'"{name}":{write(name, fields[name])}' for name in order) + "}"
    ).encode()


@st.composite
def messages(draw: st.DrawFn) -> Callable[[int, int], bytes]:
    """Group messages that are alike but for send time and size, written in any manner."""
    fields: dict[str, Any] = {
        "type": "message",
        "from": "group",
        "group": draw(names),
        "dataType": draw(st.sampled_from(["text", "json"])),
        "data": "",
    }
    if draw(st.booleans()):
        fields["fromUserId"] = draw(names)
    if draw(st.booleans()):
        fields["metadata"] = draw(st.dictionaries(names, names, max_size=2))
    order = draw(st.permutations(list(fields)))
    is_escaped = {name: draw(st.integers(0, 5)) == 0 for name in fields}
    clock = draw(st.sampled_from([CLOCK, CLOCK, CLOCK, ANOTHER_CLOCK]))
    is_ascii = draw(st.booleans())

    def write(name: str, value: Any) -> str:
        is_odd = is_escaped[name] and isinstance(value, str)
        return escaped(value) if is_odd else json.dumps(value, ensure_ascii=is_ascii)

    def make(sent_ns: int, size_bytes: int) -> bytes:
        data = stamp(new_stamp(sent_ns, clock), size_bytes=size_bytes)
        return envelope(fields | {"data": data}, order, write)

    return make


@given(
    makes=st.lists(messages(), min_size=1, max_size=4),
    told=st.lists(st.tuples(st.integers(0, 3), times_ns, sizes_bytes), min_size=1, max_size=12),
)
def test_any_group_message_is_told_as_by_the_parser(
    makes: list[Callable[[int, int], bytes]], told: list[tuple[int, int, int]]
) -> None:
    """Groups, users, order and manner of writing: what was learnt from some is right for all."""
    familiar = new_familiar()
    places = {0}
    for which, sent_ns, size_bytes in told:
        frame = makes[which % len(makes)](sent_ns, size_bytes)
        for at in places:
            same(familiar, frame, at)
        places.add(learn(familiar, frame))


@pytest.mark.parametrize("user_id", [None, "u"])
def test_what_was_read_once_is_known(user_id: str | None) -> None:
    """Members of a group get the next message without parsing, whoever is told of it first."""
    familiar = new_familiar()

    def frame(sent_ns: int) -> bytes:
        data = stamp(new_stamp(sent_ns), size_bytes=200)
        return encode_response(GroupMessage("g", data, "text", user_id))

    at = learn(familiar, frame(1))
    assert said(familiar, frame(2**60), at) == 2**60
    assert learn(familiar, frame(3)) == at


@pytest.mark.parametrize("change", [bytes.upper, lambda digits: b"_" + digits[1:]])
def test_digits_are_as_the_parser_has_them(change: Callable[[bytes], bytes]) -> None:
    """What else Python would read as a number is no stamp."""
    familiar = new_familiar()
    frame = encode_response(
        GroupMessage("g", stamp(new_stamp(0xABC), size_bytes=200), "text", None)
    )
    at = learn(familiar, frame)
    changed = frame[:at] + change(frame[at : at + 16]) + frame[at + 16 :]
    assert said(familiar, changed, at) is general(changed) is None


@given(
    make=messages(),
    sent_ns=times_ns,
    size_bytes=sizes_bytes,
    change=st.tuples(st.integers(0, 400), st.integers(0, 255)),
)
def test_a_changed_byte_is_seen(
    make: Callable[[int, int], bytes],
    sent_ns: int,
    size_bytes: int,
    change: tuple[int, int],
) -> None:
    """Whatever byte of a familiar message is another, the answer is still that of the parser."""
    familiar = new_familiar()
    frame = bytearray(make(sent_ns, size_bytes))
    at = learn(familiar, bytes(frame))
    where, value = change
    frame[where % len(frame)] = value
    same(familiar, bytes(frame), at)


@given(frame=st.binary(max_size=80), at=st.integers(0, 90))
def test_anything_else_is_for_the_parser(frame: bytes, at: int) -> None:
    """Random bytes are told nothing of, wherever a stamp is expected."""
    familiar = new_familiar()
    learn(familiar, encode_response(GroupMessage("g", stamp(new_stamp(1), size_bytes=60), "text")))
    assert said(familiar, frame, at) is None


@given(cut=st.integers(0, 150), sent_ns=times_ns)
def test_a_message_that_is_cut_or_repeated_is_for_the_parser(cut: int, sent_ns: int) -> None:
    """Half a message is none, and neither are two."""
    familiar = new_familiar()
    frame = encode_response(
        GroupMessage("g", stamp(new_stamp(sent_ns), size_bytes=60), "text", "u")
    )
    at = learn(familiar, frame)
    assume(cut < len(frame))
    assert said(familiar, frame[:cut], at) is None
    assert said(familiar, frame + frame[cut:], at) is None


def test_a_stamp_elsewhere_is_not_that_of_the_data() -> None:
    """A group whose name looks like a stamp, and data that is written in escapes."""
    familiar = new_familiar()
    data = stamp(new_stamp(5), size_bytes=MIN_NUMBERED_BYTES)
    assert isinstance(data, str)
    for sent_ns in (5, 6):
        group = stamp(new_stamp(sent_ns), size_bytes=MIN_NUMBERED_BYTES)
        frame = b'{"type":"message","from":"group","group":%b,"dataType":"text","data":%b}' % (
            orjson.dumps(group),
            escaped(data).encode(),
        )
        assert general(frame) == 5
        at = learn(familiar, frame)
        same(familiar, frame, at)
        same(familiar, frame, frame.index(b"wps") + len(NUMBERED_MARK if is_numbered else MARK))


@example(digits="0x00000000000001")
@example(digits="000000000000000A")
@example(digits="00000000_0000001")
@given(digits=st.text("0123456789abcdefABCDEFx_+- \u0663\xb2", min_size=16, max_size=24))
def test_odd_digits(digits: str) -> None:
    """A time that only Python would read as one is read the same by both, or left."""
    familiar = new_familiar()
    at = learn(
        familiar,
        encode_response(
            GroupMessage("g", stamp(new_stamp(1), size_bytes=MIN_NUMBERED_BYTES), "text")
        ),
    )
    same(
        familiar,
        encode_response(
            GroupMessage("g", f"{NUMBERED_MARK if is_numbered else MARK}{digits}:x", "text")
        ),
        at,
    )


def test_another_clock_is_translated() -> None:
    """Once it is known how far ours is ahead; and what is learnt later of it holds at once."""
    lead_ns = {CLOCK: 0}
    familiar = Familiar(lead_ns, is_numbered=is_numbered)

    def frame(sent_ns: int) -> bytes:
        data = stamp(new_stamp(sent_ns, ANOTHER_CLOCK), size_bytes=60)
        return encode_response(GroupMessage("g", data, "text"))

    assert learn(familiar, frame(1)) == 0
    lead_ns[ANOTHER_CLOCK] = 1_000
    at = learn(familiar, frame(1))
    found = familiar.stamp(frame(5), at)
    assert found is not None
    assert found[1] == 1_005
    lead_ns[ANOTHER_CLOCK] = -3
    found = familiar.stamp(frame(5), at)
    assert found is not None
    assert found[1] == 2


def test_memory_is_bounded() -> None:
    """More groups and senders than are kept are learnt anew; what is kept stays known."""
    familiar = new_familiar()
    data = stamp(new_stamp(1), size_bytes=60)
    known = 0
    for number in range(70_000):
        frame = encode_response(GroupMessage(f"g{number % 1000}", data, "text", f"u{number}"))
        learn(familiar, frame)
        assert said(familiar, frame, learn(familiar, frame)) == 1
        known = max(known, familiar._count)
    assert known <= 65_536


def test_long_envelopes_are_not_kept() -> None:
    """A message of a megabyte around a stamp is for the parser: thousands would not fit."""
    familiar = new_familiar()
    data = stamp(new_stamp(1), size_bytes=60)
    metadata = {"m": "x" * 100_000}
    frame = b'{"metadata":%b,' % orjson.dumps(metadata) + encode_response(
        GroupMessage("g", data, "text")
    ).removeprefix(b"{")
    assert learn(familiar, frame) == 0
    assert said(familiar, frame, 0) is None


def test_a_full_memory_forgets_nothing_for_what_it_knows() -> None:
    """Only what is new makes room: a run with as many groups as fit is known for good."""
    familiar = new_familiar()
    data = stamp(new_stamp(1), size_bytes=60)
    frames = [
        encode_response(GroupMessage(f"g{number:05}", data, "text")) for number in range(65_536)
    ]
    for frame in (*frames, frames[0], frames[-1]):
        at = learn(familiar, frame)
    assert all(said(familiar, frame, at) == 1 for frame in frames)

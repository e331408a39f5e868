"""The compiled reading and writing: what is told as a message is one, and nothing is sent twice."""

import select
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wpsload import frames
from wpsload.frames import FrameReader
from wpsload.subprotocol import MAX_MESSAGE_BYTES

ready = pytest.importorskip("wpsload.standin._ready")


@dataclass
class Receiver:
    """What is looked at of a receiver."""

    is_between_messages: bool = True


@dataclass
class Pipe:
    """What is looked at of a pipe."""

    fd: int = -1
    receiver: Receiver = field(default_factory=Receiver)
    is_closing: bool = False
    is_kept: bool = False


@dataclass
class Wire:
    """What is looked at of a wire; counts what is left to it."""

    pipe: Pipe
    outgoing: list[bytes] = field(default_factory=list)
    behind_bytes: int = 0
    flushes: int = 0

    def flush(self) -> None:
        """Called for what is not usual."""
        self.flushes += 1


@contextmanager
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two ends of a stream, none of which waits."""
    one, other = socket.socketpair()
    one.setblocking(False)
    other.setblocking(False)
    with one, other:
        yield one, other


def read(data: bytes) -> list[tuple[Pipe, int, bytes | None]]:
    """What is told of a socket that `data` has come to."""
    with pair() as (ours, theirs), select.epoll() as epoll:
        epoll.register(ours, select.EPOLLIN)
        pipe = Pipe(ours.fileno())
        theirs.sendall(data)
        told: list[tuple[Pipe, int, bytes | None]] = ready.read_ready(epoll, {ours.fileno(): pipe})
        assert ready.read_ready(epoll, {}) == []
        return told


def masked(first: int, payload: bytes, key: bytes = b"abcd") -> bytes:
    """A frame of a client with any first byte."""
    return bytes([first]) + frames.encode(frames.TEXT, payload, mask_key=key)[1:]


@settings(deadline=None)
@given(
    payload=st.binary(max_size=300)
    | st.integers(0, 60_000).map(lambda size: b"x" * size)
    | st.text(max_size=200).map(str.encode),
    first=st.sampled_from([0x81, 0x81, 0x81, 0x01, 0x80, 0x82, 0x88, 0x89, 0xC1]),
    key=st.binary(min_size=4, max_size=4),
    more=st.sampled_from([b"", b"", b"", b"\x81", masked(0x81, b"{}")]),
    missing=st.sampled_from([0, 0, 0, 1, 5]),
)
def test_a_message_is_told_only_if_it_is_one(
    *, payload: bytes, first: int, key: bytes, more: bytes, missing: int
) -> None:
    """Whole, in ASCII, and alone; anything else comes as it was."""
    data = masked(first, payload, key)
    data = data[: len(data) - missing] if missing else data + more
    ((_, happened, told),) = read(data)
    if happened:
        assert (happened, told) == (select.EPOLLIN, data)
    else:
        judge = FrameReader(is_peer_client=True, max_message_bytes=MAX_MESSAGE_BYTES)
        assert judge.feed(data) == [(frames.TEXT, told)]
    is_one = first == 0x81 and payload.isascii() and not more and not missing
    assert (happened == 0) is is_one


def test_a_frame_that_is_not_masked_is_no_message() -> None:
    """It breaks the protocol, which the reader of frames says."""
    data = frames.encode(frames.TEXT, b"{}")
    assert [(events, told) for _, events, told in read(data)] == [(select.EPOLLIN, data)]


def test_within_a_message_bytes_are_bytes() -> None:
    """What looks like a frame there may be none."""
    data = masked(0x81, b"{}")
    with pair() as (ours, theirs), select.epoll() as epoll:
        epoll.register(ours, select.EPOLLIN)
        pipe = Pipe(ours.fileno(), Receiver(is_between_messages=False))
        theirs.sendall(data)
        assert ready.read_ready(epoll, {pipe.fd: pipe}) == [(pipe, select.EPOLLIN, data)]


def test_the_end_and_a_closing_pipe_are_the_pipes_own() -> None:
    """It knows what to do."""
    with pair() as (ours, theirs), select.epoll() as epoll:
        epoll.register(ours, select.EPOLLIN)
        pipe = Pipe(ours.fileno())
        theirs.send(b"x")
        pipe.is_closing = True
        assert ready.read_ready(epoll, {pipe.fd: pipe}) == [(pipe, select.EPOLLIN, None)]
        pipe.is_closing = False
        assert ready.read_ready(epoll, {pipe.fd: pipe}) == [(pipe, select.EPOLLIN, b"x")]
        theirs.shutdown(socket.SHUT_WR)
        assert ready.read_ready(epoll, {pipe.fd: pipe}) == [(pipe, select.EPOLLIN, b"")]
        theirs.close()
        ((_, happened, told),) = ready.read_ready(epoll, {pipe.fd: pipe})
        assert happened & select.EPOLLHUP
        assert told is None


@pytest.mark.parametrize("sizes", [[10], [10, 20], [400_000] * 3, [1, 3_000_000], [3_000_000, 1]])
def test_what_the_system_does_not_take_is_left(sizes: list[int]) -> None:
    """Not a byte more or less than that."""
    with pair() as (ours, theirs):
        sent = [bytes([number + 1]) * size for number, size in enumerate(sizes)]
        wire = Wire(Pipe(ours.fileno()), sent.copy())
        ready.write_all([wire])
        came = bytearray()
        while True:
            try:
                came += theirs.recv(1 << 20)
            except BlockingIOError:
                break
        assert bytes(came) + b"".join(wire.outgoing) == b"".join(sent)
        assert wire.flushes == bool(wire.outgoing) == (sum(sizes) > 1_000_000)


def test_who_is_behind_writes_by_itself() -> None:
    """What waits goes first."""
    with pair() as (ours, theirs):
        fd = ours.fileno()
        wires = [
            Wire(Pipe(fd, is_kept=True), [b"x"]),
            Wire(Pipe(fd, is_closing=True), [b"x"]),
            Wire(Pipe(fd), [b"x"], behind_bytes=1),
            Wire(Pipe(fd)),
        ]
        ready.write_all(wires)
        assert [wire.flushes for wire in wires] == [1, 1, 1, 1]
        with pytest.raises(BlockingIOError):
            theirs.recv(1)

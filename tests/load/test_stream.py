"""Streams, plain and with TLS: all that is written comes out, whole and in order, at any pace."""

import contextlib
import socket
import ssl
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import trustme
from gevent import monkey
from hypothesis import given
from hypothesis import strategies as st

from wpsload.stream import Stream, TlsStream

_system = monkey.get_original("socket", "socketpair")
Pair = tuple[Stream, Stream]


def sockets() -> list[Any]:
    """Two ends with buffers as small as the system lets them be."""
    pair: list[Any] = list(_system())
    for one in pair:
        one.setblocking(False)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    return pair


def plain_pair() -> Pair:
    """Two plain streams."""
    one, other = sockets()
    return Stream(one), Stream(other)


_authority = trustme.CA()
_server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
_authority.issue_cert("localhost").configure_cert(_server_context)
_client_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
_authority.configure_trust(_client_context)


def tls_pair() -> Pair:
    """Two streams whose TLS handshake is done."""
    made = []
    for sock, context, options in zip(
        sockets(),
        (_client_context, _server_context),
        ({"server_hostname": "localhost"}, {"server_side": True}),
        strict=True,
    ):
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(incoming, outgoing, **options)  # type: ignore[arg-type]  # a union
        made.append((sock, incoming, TlsStream(sock, tls, incoming, outgoing)))
    is_done = [False, False]
    while not all(is_done):
        for number, (_, _, stream) in enumerate(made):
            if not is_done[number]:
                is_done[number] = stream.shake_hands()
            while stream.unsent_bytes:
                stream.drain()
                take(made[1 - number])
            take(made[1 - number])
    return made[0][2], made[1][2]


def take(end: tuple[Any, Any, TlsStream]) -> None:
    """Let one end have what has arrived for it, during the handshake."""
    sock, incoming, _ = end
    with contextlib.suppress(BlockingIOError):
        incoming.write(sock.recv(65536))


@pytest.fixture(params=[plain_pair, tls_pair])
def make(request: pytest.FixtureRequest) -> Iterator[Callable[[], Pair]]:
    """Makes pairs of either kind, and closes them."""
    made: list[Stream] = []

    def pair() -> Pair:
        one, other = request.param()
        made.extend((one, other))
        return one, other

    yield pair
    for stream in made:
        stream.close()


def read_all(stream: Stream) -> bytes:
    """What there is to read by now."""
    data = b""
    while piece := stream.read():
        data += piece
    return data


def fill(stream: Stream) -> None:
    """Write until the system takes no more."""
    while stream.write(bytes(1000)):
        pass


STEPS = st.lists(
    st.tuples(st.booleans(), st.integers(1, 40_000), st.integers(0, 3)), min_size=1, max_size=8
)


@given(steps=STEPS)
@pytest.mark.parametrize("pair", [plain_pair, tls_pair])
def test_what_is_written_comes_out(
    pair: Callable[[], Pair], steps: list[tuple[bool, int, int]]
) -> None:
    """Both ways at once, with buffers of a few kilobytes, read and drained now and then."""
    ends = pair()
    written, read = [b"", b""], [b"", b""]
    for count, (which, size, drains) in enumerate(steps):
        end = ends[which]
        data = bytes((count + i) % 251 for i in range(size))
        is_gone = end.write(data)
        assert is_gone is (end.unsent_bytes == 0)
        written[which] += data
        for _ in range(drains):
            for number in range(2):
                read[number] += ends[1 - number].read() or b""
                if ends[number].unsent_bytes:
                    ends[number].drain()
    while read != written:
        for number in range(2):
            if ends[number].unsent_bytes:
                ends[number].drain()
            read[number] += read_all(ends[1 - number])
            assert written[number].startswith(read[number])
    assert [end.unsent_bytes for end in ends] == [0, 0]
    for end in ends:
        end.close()


def test_nothing_to_read_is_none(make: Callable[[], Pair]) -> None:
    """Which is not the end; also when only half a record of TLS has arrived."""
    one, other = make()
    assert other.read() is None
    one.write(b"a")
    assert other.read() == b"a"
    assert other.read() is None


def test_the_end_is_empty(make: Callable[[], Pair]) -> None:
    """What was written before it is read first."""
    one, other = make()
    one.write(b"last words")
    one.close()
    assert read_all(other) == b"last words"
    assert other.read() == b""


def test_unsent_bytes_tell_of_a_peer_that_does_not_read(make: Callable[[], Pair]) -> None:
    """They grow by what is written, and fall as it is taken."""
    one, other = make()
    fill(one)
    held = one.unsent_bytes
    assert held > 0
    assert one.write(bytes(1000)) is False
    assert held + 1000 <= one.unsent_bytes <= held + 1100  # TLS adds a little
    while one.unsent_bytes:
        one.drain()
        read_all(other)
    assert one.write(b"x") is True


def test_draining_at_a_bad_time_changes_nothing(make: Callable[[], Pair]) -> None:
    """A peer that has taken nothing yet leaves everything where it is."""
    one, _ = make()
    fill(one)
    held = one.unsent_bytes
    one.drain()
    assert one.unsent_bytes <= held


def test_closing_forgets_what_is_unsent(make: Callable[[], Pair]) -> None:
    """Nobody will take it any more."""
    one, _ = make()
    fill(one)
    one.close()
    assert one.unsent_bytes == 0
    assert one.fileno() == -1


def test_a_peer_that_is_gone_is_an_error(make: Callable[[], Pair]) -> None:
    """Writing to it raises what the system says, an `OSError` of some kind."""
    one, other = make()
    other.close()
    with pytest.raises(OSError, match=r"Broken pipe|reset|closed"):
        fill(one)


def test_garbage_instead_of_tls_is_an_error() -> None:
    """It is never taken for data, and it is an `OSError` like everything that ends a stream."""
    one, other = tls_pair()
    other._socket.send(b"no record of TLS, but long enough for one")
    with pytest.raises(OSError, match="SSL"):
        read_all(one)
    one.close()
    other.close()


def test_the_end_of_tls_is_the_end() -> None:
    """A peer that says goodbye within TLS has ended the stream, whatever it does with TCP."""
    one, other = tls_pair()
    other.write(b"last words")
    assert isinstance(other, TlsStream)
    with pytest.raises(ssl.SSLWantReadError):
        other._tls.unwrap()
    Stream.write(other, other._outgoing.read())
    assert one.read() == b"last words"
    assert one.read() == b""
    one.close()
    other.close()

"""The sockets of all WebSocket clients, once their handshake is done.

On Linux one epoll, which the event loop watches, stands for all of them: what is ready is read in
one go, then handled, and then what that caused is written, as in `wpsload.turn`. Elsewhere each
client keeps the transport of asyncio that it came with.
"""

import asyncio
import select
import socket
from collections.abc import Callable
from typing import Any, Protocol

from wpsload.compiled import load

__all__ = [
    "EpollPipes",
    "Pipe",
    "Pipes",
    "Receiver",
    "TransportPipes",
    "Turn",
    "open_pipes",
]

TRANSPORT_READ_BYTES = 256 * 1024
"""What a transport reads at once. Only one buffer of that size: a new one for each read would cost
more than all the rest of a small message, because memory this large is fetched from the system each
time."""

_EPOLLIN, _EPOLLOUT = 1, 4  # not in `select` on other systems
_READ_BYTES = 65536
_BATCH = 256  # sockets in one go, before timers and HTTP have their turn


class Receiver(Protocol):
    """Told by its pipe, from the event loop.

    `is_between_messages` is False while it waits for the rest of one.
    """

    is_between_messages: bool

    def received(self, data: bytes) -> None:
        """Some bytes arrived."""

    def message(self, payload: bytes) -> None:
        """One frame arrived, and nothing else: a whole text message of a client, in ASCII."""

    def lost(self) -> None:
        """The TCP connection is gone; told once, and never from within a call of the pipe."""


class Pipe(Protocol):
    """A TCP connection. Its end, from either side, is told to the receiver."""

    @property
    def is_closing(self) -> bool:
        """True if nothing is read or taken over any more."""

    @property
    def unsent_bytes(self) -> int:
        """Bytes that wait until the client takes them."""

    def write(self, data: bytes) -> bool:
        """Send `data`, or keep what is not taken at once; False if something is kept."""

    def write_eof(self) -> None:
        """End this side of the connection when all is sent; reading goes on."""

    def close(self) -> None:
        """Read no more, and end the connection when all is sent."""

    def abort(self) -> None:
        """End the connection; what is unsent is lost."""


class Pipes(Protocol):
    """The pipes of one event loop."""

    def take(self, transport: asyncio.Transport, receiver: Receiver) -> Pipe:
        """The connection of `transport`, whose protocol is not called any more."""

    def close(self) -> None:
        """Give back what all of them share."""


class Writer(Protocol):
    """Has something to write, in `outgoing`, to `pipe`."""

    def flush(self) -> None:
        """Write it."""


def _flush_all(writers: list[Writer]) -> None:
    for writer in writers:
        writer.flush()


class Turn:
    """Who has something to write when the current turn of the event loop ends: each then writes all
    that it was given, with one system call. `flush_all` has them do it.
    """

    def __init__(self) -> None:
        self.flush_all: Callable[[list[Writer]], None] = _flush_all
        self._writers: list[Writer] = []
        self._is_begun = False

    def add(self, writer: Writer) -> None:
        """Flush `writer` when the turn ends."""
        if not (self._writers or self._is_begun):
            asyncio.get_running_loop().call_soon(self.end)
        self._writers.append(writer)

    def begin(self) -> None:
        """Whoever calls this calls `end` too."""
        self._is_begun = True

    def end(self) -> None:
        """Do it now."""
        self._is_begun = False
        writers, self._writers = self._writers, []
        self.flush_all(writers)


class TransportPipes:
    """Each on the transport of asyncio that it came with."""

    def __init__(self) -> None:
        self._buffer = memoryview(bytearray(TRANSPORT_READ_BYTES))

    def take(self, transport: asyncio.Transport, receiver: Receiver) -> Pipe:
        """Go on with `transport` as it is."""
        return _TransportPipe(transport, receiver, self._buffer)

    def close(self) -> None:
        """They share nothing that had to be given back."""


class _TransportPipe(asyncio.BufferedProtocol):
    def __init__(
        self, transport: asyncio.Transport, receiver: Receiver, buffer: memoryview
    ) -> None:
        self._transport = transport
        self._receiver = receiver
        self._buffer = buffer
        self.write_eof = transport.write_eof
        self.close = transport.close
        self._is_lost = False
        transport.set_protocol(self)

    @property
    def is_closing(self) -> bool:
        return self._transport.is_closing()

    @property
    def unsent_bytes(self) -> int:
        return self._transport.get_write_buffer_size()

    def write(self, data: bytes) -> bool:
        self._transport.write(data)
        return not self._transport.get_write_buffer_size()

    def abort(self) -> None:
        if not self._is_lost:  # asyncio's own may fail after that
            self._transport.abort()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        self._receiver.received(bytes(self._buffer[:nbytes]))

    def connection_lost(self, error: Exception | None) -> None:
        self._is_lost = True
        self._receiver.lost()


def _read_ready(
    epoll: Any, pipes: "dict[int, _EpollPipe]"
) -> "list[tuple[_EpollPipe, int, bytes | None]]":
    """See `_ready.pyx`. Here no message is told."""
    ready: list[tuple[_EpollPipe, int, bytes | None]] = []
    for fd, events in epoll.poll(0, _BATCH):
        pipe = pipes.get(fd)
        if pipe is not None:  # one before it may have closed this one
            data = pipe.read(events)
            if data is not None:
                ready.append((pipe, events, data))
    return ready


class EpollPipes:
    """All of them behind one file descriptor, which the running event loop watches.

    Each time it is ready makes a turn of its own, after which `turn` ends. If `is_compiled`, then
    reading and writing are compiled, where that is to be had.
    """

    def __init__(self, turn: Turn, *, is_compiled: bool = True) -> None:
        self._turn = turn
        self._loop = asyncio.get_running_loop()
        self._epoll = select.epoll()
        self._read_ready = _read_ready
        compiled = load("wpsload.standin._ready") if is_compiled else None
        if compiled is not None:
            self._read_ready = compiled.read_ready
            turn.flush_all = compiled.write_all
        self._pipes: dict[int, _EpollPipe] = {}
        self._loop.add_reader(self._epoll.fileno(), self._handle)

    def take(self, transport: asyncio.Transport, receiver: Receiver) -> Pipe:
        """Go on with a file descriptor of our own, so that asyncio may close its own one."""
        sock: socket.socket = transport.get_extra_info("socket").dup()
        transport.set_protocol(asyncio.Protocol())
        transport.close()
        pipe = _EpollPipe(sock, receiver, self._loop, self._epoll, self._pipes)
        self._epoll.register(sock.fileno(), _EPOLLIN)
        self._pipes[sock.fileno()] = pipe
        return pipe

    def close(self) -> None:
        """Watch nothing any more."""
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()

    def _handle(self) -> None:
        self._turn.begin()
        for pipe, events, data in self._read_ready(self._epoll, self._pipes):
            read = pipe.read(events) if data is None else data
            if read is not None and not pipe.is_closing:
                try:
                    if events:
                        pipe.handle(read)
                    else:
                        pipe.message(read)
                except Exception as error:  # the others are ready all the same
                    context = {"message": "a client could not be handled", "exception": error}
                    self._loop.call_exception_handler(context)
                    pipe.abort()
        self._turn.end()


class _EpollPipe:
    __slots__ = (
        "_ends_when_sent",
        "_epoll",
        "_is_ended",
        "_loop",
        "_pipes",
        "_received",
        "_recv",
        "_send",
        "_socket",
        "_unsent",
        "fd",
        "is_closing",
        "is_kept",
        "message",
        "receiver",
    )

    def __init__(
        self,
        sock: socket.socket,
        receiver: Receiver,
        loop: asyncio.AbstractEventLoop,
        epoll: Any,
        pipes: "dict[int, _EpollPipe]",
    ) -> None:
        sock.setblocking(False)
        self._socket = sock
        self.fd = sock.fileno()
        self._recv = sock.recv
        self._send = sock.send
        self._unsent = bytearray()
        self.receiver = receiver
        self._received = receiver.received
        self.message = receiver.message
        self._loop = loop
        self._epoll = epoll
        self._pipes = pipes
        self.is_kept = False  # something that was written: the socket is watched for writing
        self._ends_when_sent = False
        self._is_ended = False
        self.is_closing = False

    @property
    def unsent_bytes(self) -> int:
        return len(self._unsent)

    def read(self, events: int) -> bytes | None:
        """What there is to read, after writing what is kept; called for what epoll found."""
        if events != _EPOLLIN:
            if self.is_kept:
                self._drain()
            if events == _EPOLLOUT:
                return None
        if self.is_closing:
            return None
        try:
            return self._recv(_READ_BYTES)
        except BlockingIOError:
            return None
        except OSError:
            self.abort()
            return None

    def handle(self, data: bytes) -> None:
        """Pass on what was read, or the end of it."""
        if data:
            self._received(data)
        else:
            self.close()

    def write(self, data: bytes) -> bool:
        if self.is_closing:
            return True
        if self.is_kept:
            self._unsent += data
            return False
        try:
            sent = self._send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.abort()
            return True
        if sent == len(data):
            return True
        self._unsent += data[sent:]
        self.is_kept = True
        self._watch(_EPOLLIN | _EPOLLOUT)
        return False

    def write_eof(self) -> None:
        self._ends_when_sent = True
        if not (self.is_kept or self.is_closing):
            self._shut_down()

    def close(self) -> None:
        if self.is_closing:
            return
        self.is_closing = True
        if self.is_kept:
            self._watch(_EPOLLOUT)
        else:
            self._end()

    def abort(self) -> None:
        self.is_closing = True
        self._end()

    def _watch(self, events: int) -> None:
        self._epoll.modify(self._socket.fileno(), events)

    def _drain(self) -> None:
        try:
            sent = self._send(self._unsent)
        except BlockingIOError:
            return
        except OSError:
            self.abort()
            return
        del self._unsent[:sent]
        if self._unsent:
            return
        self.is_kept = False
        if self.is_closing:
            self._end()
            return
        self._watch(_EPOLLIN)
        if self._ends_when_sent:
            self._shut_down()

    def _shut_down(self) -> None:
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            self.abort()  # the client is gone

    def _end(self) -> None:
        if self._is_ended:
            return
        self._is_ended = True
        fd = self._socket.fileno()
        del self._pipes[fd]
        self._epoll.unregister(fd)
        self._loop.call_soon(self._lose)

    def _lose(self) -> None:
        self._unsent.clear()
        self._socket.close()
        self.receiver.lost()


def open_pipes(turn: Turn) -> Pipes:
    """The faster ones where the system has epoll; for the running event loop."""
    return EpollPipes(turn) if hasattr(select, "epoll") else TransportPipes()

"""A client's socket, by epoll and by asyncio's own transports: both keep the same promises."""

import asyncio
import select
import socket
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from serving import DEADLINE_S

from wpsload.compiled import load
from wpsload.standin.pipe import EpollPipes, Pipe, Pipes, TransportPipes, Turn, open_pipes

Open = Callable[[Turn], Pipes]

KINDS: dict[str, Open] = {"transport": lambda _turn: TransportPipes()}
if hasattr(select, "epoll"):
    KINDS["epoll"] = lambda turn: EpollPipes(turn, is_compiled=False)
if load("wpsload.standin._ready") is not None:
    KINDS["compiled"] = lambda turn: EpollPipes(turn, is_compiled=True)

LARGE = bytes(8 * 1024 * 1024)
"""More than the system takes without a reader."""


class Receiver:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.is_between_messages = True
        self.losses = 0
        self.act: Callable[[], None] | None = None

    def received(self, data: bytes) -> None:
        """Keep it."""
        self.data += data
        if self.act is not None:
            self.act()

    def message(self, payload: bytes) -> None:
        """Keep it as well."""
        self.received(payload)

    def lost(self) -> None:
        """Count it."""
        self.losses += 1


class Ends:
    """A pipe, its receiver, and the socket of the client."""

    def __init__(self, pipe: Pipe, receiver: Receiver, client: socket.socket) -> None:
        self.pipe = pipe
        self.receiver = receiver
        self.client = client

    async def until(self, is_true: Callable[[], bool]) -> None:
        """Let the loop turn until something is true."""
        async with asyncio.timeout(DEADLINE_S):
            while not is_true():
                await asyncio.sleep(0.001)

    async def read(self, count: int = 65536) -> bytes:
        """What the client reads."""
        loop = asyncio.get_running_loop()
        return await asyncio.wait_for(loop.sock_recv(self.client, count), DEADLINE_S)

    async def read_all(self) -> bytes:
        """What the client reads until the end."""
        whole = bytearray()
        while data := await self.read():
            whole += data
        return bytes(whole)


@contextmanager
def _client(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.setblocking(False)
        yield client


def check(kind: str, act: Callable[[Ends], Coroutine[Any, Any, None]]) -> None:
    """Run `act` on a new connection."""

    async def run() -> None:
        problems: list[str] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _loop, context: problems.append(context["message"]))
        pipes = KINDS[kind](Turn())
        receiver = Receiver()
        taken: asyncio.Future[Pipe] = loop.create_future()

        class Handshake(asyncio.Protocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                assert isinstance(transport, asyncio.Transport)
                taken.set_result(pipes.take(transport, receiver))

        server = await loop.create_server(Handshake, "127.0.0.1", 0)
        with _client(server.sockets[0].getsockname()[1]) as client:
            pipe = await taken
            await act(Ends(pipe, receiver, client))
            pipe.abort()
            await asyncio.sleep(0.01)
        assert receiver.losses == 1
        pipes.close()
        server.close()
        assert problems == []

    asyncio.run(run())


@pytest.mark.parametrize("kind", KINDS)
def test_both_ways(kind: str) -> None:
    """What one side writes the other reads."""

    async def act(ends: Ends) -> None:
        ends.client.send(b"there")
        await ends.until(lambda: ends.receiver.data == b"there")
        assert ends.pipe.write(b"back")
        assert await ends.read() == b"back"

    check(kind, act)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_taken_at_once_is_kept_in_order(kind: str) -> None:
    """A client that reads late gets everything, and `close` waits for it."""

    async def act(ends: Ends) -> None:
        assert not ends.pipe.write(LARGE)
        assert not ends.pipe.write(b"last")
        assert ends.pipe.unsent_bytes > 4
        ends.pipe.close()
        assert ends.pipe.is_closing
        whole = await ends.read_all()
        assert whole == LARGE + b"last"
        await ends.until(lambda: ends.receiver.losses == 1)

    check(kind, act)


@pytest.mark.parametrize("kind", KINDS)
def test_reading_goes_on_after_the_end_of_writing(kind: str) -> None:
    """`write_eof` comes after what was kept."""

    async def act(ends: Ends) -> None:
        ends.pipe.write(LARGE)
        ends.pipe.write_eof()
        ends.pipe.write_eof()
        assert await ends.read_all() == LARGE
        ends.client.send(b"heard")
        await ends.until(lambda: ends.receiver.data == b"heard")
        assert not ends.pipe.is_closing

    check(kind, act)


@pytest.mark.parametrize("kind", KINDS)
def test_the_end_of_the_client_is_told(kind: str) -> None:
    """What it sent before is given first."""

    async def act(ends: Ends) -> None:
        ends.client.send(b"bye")
        ends.client.shutdown(socket.SHUT_WR)
        await ends.until(lambda: ends.receiver.losses == 1)
        assert ends.receiver.data == b"bye"
        assert ends.pipe.is_closing

    check(kind, act)


@pytest.mark.parametrize("kind", KINDS)
def test_abort_drops_what_is_kept(kind: str) -> None:
    """It is told later, not from within, and only once."""

    async def act(ends: Ends) -> None:
        ends.pipe.write(LARGE)
        ends.pipe.abort()
        ends.pipe.abort()
        ends.pipe.close()
        assert ends.receiver.losses == 0
        await ends.until(lambda: ends.receiver.losses == 1)
        assert len(await ends.read_all()) < len(LARGE)

    check(kind, act)


@pytest.mark.parametrize("kind", KINDS)
def test_a_client_that_resets(kind: str) -> None:
    """It ends the pipe, whatever was kept for it."""

    async def act(ends: Ends) -> None:
        ends.pipe.write(LARGE)
        ends.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        ends.client.close()
        await ends.until(lambda: ends.receiver.losses == 1)
        ends.pipe.write(b"nobody")
        assert ends.pipe.unsent_bytes == 0

    check(kind, act)


def test_a_mistake_ends_one_client_only() -> None:
    """It is reported to the event loop, and the turn goes on."""
    if "epoll" not in KINDS:
        pytest.skip("needs epoll")

    async def act(ends: Ends) -> None:
        def fail() -> None:
            raise RuntimeError("a mistake")

        reported: list[BaseException] = []
        asyncio.get_running_loop().set_exception_handler(
            lambda _loop, context: reported.append(context["exception"])
        )
        ends.receiver.act = fail
        ends.client.send(b"x")
        await ends.until(lambda: ends.receiver.losses == 1)
        assert [str(each) for each in reported] == ["a mistake"]

    check("epoll", act)


def test_the_system_decides() -> None:
    """Epoll where there is one."""

    async def run() -> None:
        pipes = open_pipes(Turn())
        assert isinstance(pipes, EpollPipes if "epoll" in KINDS else TransportPipes)
        pipes.close()

    asyncio.run(run())

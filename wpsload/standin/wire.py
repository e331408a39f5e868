"""One client's WebSocket as the stand-in sees it: writing, ack delay, keep-alive and closing.

Reading is aiohttp's, behind `MaskCheck`, because aiohttp's reader also takes frames that a client
must not send: unmasked ones. Writing goes to the transport directly: aiohttp's send is a coroutine
that may wait, and then the moment of counting would no longer be the moment of writing. Here both
are one step, for a fan-out to thousands too, which makes the ledger exact.

The service handles the messages of one connection one at a time, in order. So while an ack waits
for its delay, all later frames to the same connection queue behind it; other connections do not
wait. Without a delay there is no queue. Source: protocol reference, 10.3.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from aiohttp import WebSocketError, WSMsgType, web

from wpsload.standin.hub import Hub, Output, farewell
from wpsload.standin.ledger import Kind, Ledger, bump

__all__ = ["MaskCheck", "Wire", "WireSettings", "data_frame", "frame"]

MAX_BACKLOG_MESSAGES = 1000
MAX_BACKLOG_BYTES = 16 * 1024 * 1024
"""What may wait for a client that reads slowly; beyond it the client is closed with 1008.
Source: protocol reference, 8.1."""

CLOSE_TIMEOUT_S = 5.0
"""Wait for the client's close frame after ours, then drop the TCP connection."""

SILENT_INTERVALS = 2
"""Keep-alive intervals without a sign of life after which a client is gone.
Source: protocol reference, section 13, row 12."""

_INVALID_FRAME = bytes((0x80 | 0x3, 0x80, 0, 0, 0, 0))
"""A masked, empty frame with an opcode that is reserved, which every reader refuses with 1002."""

_TEXT, _BINARY, _CLOSE, _PING, _PONG = 0x1, 0x2, 0x8, 0x9, 0xA


@dataclass(frozen=True, slots=True)
class WireSettings:
    """Durations in seconds; an ack delay of 0 writes acks at once."""

    ack_delay_s: float = 0.001
    keep_alive_s: float = 20.0


def frame(opcode: int, payload: bytes) -> bytes:
    """One whole, unmasked, uncompressed WebSocket frame. Source: RFC 6455, 5.2."""
    size = len(payload)
    if size < 126:
        return bytes((0x80 | opcode, size)) + payload
    if size < 65536:
        return bytes((0x80 | opcode, 126)) + size.to_bytes(2) + payload
    return bytes((0x80 | opcode, 127)) + size.to_bytes(8) + payload


def data_frame(payload: bytes, *, is_text: bool) -> bytes:
    """A frame with a message."""
    return frame(_TEXT if is_text else _BINARY, payload)


class MaskCheck(asyncio.Protocol):
    """Stands between a transport and aiohttp's protocol, and lets masked frames pass.

    At the first frame without a mask aiohttp gets an invalid frame instead, and nothing more: so
    the frames before it are still handled, then the connection is closed with 1002. What a client
    sends before it has the answer to its handshake, which RFC 6455 forbids, is not looked at if
    aiohttp has read it already.

    Source: RFC 6455, 5.1 and 5.2.
    """

    def __init__(self, inner: asyncio.Protocol) -> None:
        self._inner = inner
        self._rest_bytes = 0  # of a frame that passes and has not arrived to its end
        self._held = b""  # the beginning of a header
        self._is_refused = False

    @classmethod
    def install(cls, transport: asyncio.Transport) -> None:
        """Put a check in front of whatever reads from `transport`."""
        inner = transport.get_protocol()
        if isinstance(inner, asyncio.Protocol):
            transport.set_protocol(cls(inner))

    def data_received(self, data: bytes) -> None:
        """Pass on what has a mask; the beginning of a header waits for the rest of it."""
        if self._is_refused:
            return
        if self._held:
            data, self._held = self._held + data, b""
        size = len(data)
        start = self._rest_bytes  # of the next frame
        while start + 2 <= size:
            if not data[start + 1] & 0x80:
                self._is_refused = True
                self._inner.data_received(data[:start] + _INVALID_FRAME)
                return
            payload_bytes = data[start + 1] & 0x7F
            header_end = start + 2
            if payload_bytes >= 126:
                header_end += 2 if payload_bytes == 126 else 8
                if header_end > size:
                    break
                payload_bytes = int.from_bytes(data[start + 2 : header_end])
            start = header_end + 4 + payload_bytes
        self._rest_bytes = max(0, start - size)
        if start < size:
            data, self._held = data[:start], data[start:]
        if data:
            self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        """As aiohttp wants it."""
        return self._inner.eof_received()

    def connection_lost(self, error: Exception | None) -> None:
        """Tell aiohttp."""
        self._inner.connection_lost(error)

    def pause_writing(self) -> None:
        """Tell aiohttp."""
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """Tell aiohttp."""
        self._inner.resume_writing()


class _Queued(NamedTuple):
    """A frame that waits: `due_at` is in seconds of the event loop's clock, 0 for no delay of its
    own; `enter` counts it in the ledger."""

    due_at: float
    data: bytes
    enter: Callable[[], None]


class Wire:
    """The connection of one client, from its `connected` frame to its close."""

    def __init__(
        self,
        connection_id: str,
        *,
        is_simple: bool,
        websocket: web.WebSocketResponse,
        transport: asyncio.Transport,
        hub: Hub,
        ledger: Ledger,
        settings: WireSettings,
        perform: Callable[[list[Output]], None],
        ended: Callable[[str], None],
    ) -> None:
        self.id = connection_id
        self._is_simple = is_simple
        self._websocket = websocket
        self._transport = transport
        self._hub = hub
        self._ledger = ledger
        self._settings = settings
        self._perform = perform
        self._ended = ended
        self._loop = asyncio.get_running_loop()
        self._is_over = False
        self._queue: deque[_Queued] = deque()  # empty, or an ack that waits and what is behind it
        self._queue_timer: asyncio.TimerHandle | None = None
        self._written_bytes = 0
        self._unsent_ends: deque[int] = deque()
        self._silent_intervals = 0
        self._close_timer: asyncio.TimerHandle | None = None
        self._keep_alive_timer = self._loop.call_later(settings.keep_alive_s, self._keep_alive)

    async def serve(self) -> None:
        """Read until the connection is over."""
        try:
            while await self._read_one():
                pass
        finally:
            self._finish(1006)
            if self._close_timer is not None:
                self._close_timer.cancel()
            # Also stops aiohttp from adding a second close frame when the handler returns.
            self._transport.close()

    async def _read_one(self) -> bool:
        message = await self._websocket.receive()
        self._silent_intervals = 0
        match message.type:
            case WSMsgType.TEXT:
                self._received(message.data.encode(), is_text=True)
            case WSMsgType.BINARY:
                self._received(message.data, is_text=False)
            case WSMsgType.PING:
                if self._can_write:
                    self._transport.write(frame(_PONG, message.data))
            case WSMsgType.PONG:
                pass
            case WSMsgType.CLOSE:
                self._answer_close(message.data or 1005)
                return False
            case _:
                # The TCP connection ended, or aiohttp closed it for a frame that breaks RFC 6455.
                if isinstance(message.data, WebSocketError):
                    self._finish(message.data.code)
                return False
        return True

    @property
    def _can_write(self) -> bool:
        # `closed` turns true when aiohttp itself is about to send a close frame.
        return not (self._is_over or self._websocket.closed or self._transport.is_closing())

    def _received(self, payload: bytes, *, is_text: bool) -> None:
        if not self._is_over:
            self._perform(self._hub.receive(self.id, payload, is_text=is_text))

    def write(self, data: bytes, kind: Kind, payload_bytes: int) -> bool:
        """Take over one whole frame; True if it was written at once, for the caller to count.

        Behind an ack that waits it waits too, and is counted here when it is written. After the
        end of the connection it is dropped.
        """
        if not self._can_write:
            return False
        if self._queue:
            self._queue.append(_Queued(0, data, partial(self._ledger.wrote, kind, payload_bytes)))
            return False
        self._transport.write(data)
        self._note_backlog(len(data), messages=1)
        return True

    def queue_ack(self, payload: bytes, name: str) -> None:
        """Write an ack after the delay, and count it then."""
        if not self._can_write:
            return
        data = data_frame(payload, is_text=True)
        delay_s = self._settings.ack_delay_s
        if not delay_s:
            self._transport.write(data)
            self._ledger.wrote_ack(name, len(payload))
            self._note_backlog(len(data), messages=1)
            return
        enter = partial(self._ledger.wrote_ack, name, len(payload))
        self._queue.append(_Queued(self._loop.time() + delay_s, data, enter))
        if self._queue_timer is None:
            self._queue_timer = self._loop.call_later(delay_s, self._release)

    def close(self, code: int, reason: str, message: bytes | None = None) -> None:
        """Close with `code`: what is pending first, then `message`, then the close frame."""
        if not self._can_write:
            return
        self._write_queued(len(self._queue))
        if not self._can_write:
            return  # they were too many for a slow client
        if message is not None:
            self._transport.write(data_frame(message, is_text=True))
            self._ledger.bytes_out += len(message)
        self._transport.write(frame(_CLOSE, code.to_bytes(2) + reason.encode()))
        self._finish(code)
        self._close_timer = self._loop.call_later(CLOSE_TIMEOUT_S, self._transport.abort)

    def go_away(self) -> None:
        """Close because the service stops. Source: protocol reference, 8.3."""
        reason = "service is stopping"
        self.close(1001, reason, farewell(reason, is_simple=self._is_simple))

    def abort(self) -> None:
        """Drop the TCP connection without a close frame."""
        self._finish(1006)
        self._transport.abort()

    def _answer_close(self, code: int) -> None:
        if not self._can_write:
            return
        self._write_queued(len(self._queue))
        if self._can_write:
            answer = 1000 if code == 1005 else code
            self._transport.write(frame(_CLOSE, answer.to_bytes(2)))
            self._finish(code)

    def _finish(self, code: int) -> None:
        """From here on nothing is written or counted."""
        if self._is_over:
            return
        self._is_over = True
        self._keep_alive_timer.cancel()
        if self._queue_timer is not None:
            self._queue_timer.cancel()
        self._queue.clear()
        self._hub.disconnect(self.id)
        self._ledger.connections_open -= 1
        bump(self._ledger.closed, str(int(code)))
        self._ended(self.id)

    def _release(self) -> None:
        """Write what is due, and wait for the rest."""
        self._queue_timer = None
        now = self._loop.time()
        due = 0
        for queued in self._queue:
            if queued.due_at > now:
                break
            due += 1
        self._write_queued(due)
        if self._queue:
            self._queue_timer = self._loop.call_at(self._queue[0].due_at, self._release)

    def _write_queued(self, count: int) -> None:
        """Write the first `count` frames of the queue at once."""
        if not count or not self._can_write:
            return
        frames: list[bytes] = []
        for _ in range(count):
            queued = self._queue.popleft()
            frames.append(queued.data)
            queued.enter()
        data = b"".join(frames)
        self._transport.write(data)
        self._note_backlog(len(data), messages=count)

    def _note_backlog(self, written_bytes: int, *, messages: int) -> None:
        """Close a client for which too much is waiting."""
        self._written_bytes += written_bytes
        waiting_bytes = self._transport.get_write_buffer_size()
        if not waiting_bytes:
            self._unsent_ends.clear()
            return
        self._unsent_ends.extend([self._written_bytes] * messages)
        sent_bytes = self._written_bytes - waiting_bytes
        while self._unsent_ends and self._unsent_ends[0] <= sent_bytes:
            self._unsent_ends.popleft()
        if len(self._unsent_ends) > MAX_BACKLOG_MESSAGES or waiting_bytes > MAX_BACKLOG_BYTES:
            self.close(1008, "too slow: outbound queue is full")

    def _keep_alive(self) -> None:
        self._silent_intervals += 1
        if self._silent_intervals >= SILENT_INTERVALS:
            self.abort()
            return
        if self._can_write:
            self._transport.write(frame(_PING, b""))
        self._keep_alive_timer = self._loop.call_later(
            self._settings.keep_alive_s, self._keep_alive
        )

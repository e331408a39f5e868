"""One client's WebSocket as the stand-in sees it: frames, ack delay, keep-alive and closing.

aiohttp answers the handshake; from then on the connection is a pipe of ours. Writing and counting
are one step, for a fan-out to thousands too, which makes the ledger exact.

The service handles the messages of one connection one at a time, in order. So while an ack waits
for its delay, all later frames to the same connection queue behind it; other connections do not
wait. Without a delay there is no queue. Source: protocol reference, 10.3. Only what a fault delays
is apart from that order: others overtake it. A close writes it too, before the close frame.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from wpsload import frames
from wpsload.frames import BINARY, CLOSE, PING, TEXT
from wpsload.standin.hub import Hub, Output, SendAck, farewell
from wpsload.standin.late import LateFrames
from wpsload.standin.ledger import Kind, Ledger, bump
from wpsload.standin.line import Line
from wpsload.standin.masking import unmasked
from wpsload.standin.pipe import Pipes, Turn
from wpsload.units import nanoseconds

__all__ = ["Wire", "WireSettings", "data_frame"]

_DATA_OPCODES = (TEXT, BINARY)
_NO_MASK = bytes(4)

MAX_BACKLOG_MESSAGES = 1000
MAX_BACKLOG_BYTES = 16 * 1024 * 1024
"""What may wait for a client that reads slowly; beyond it the client is closed with 1008.
Source: protocol reference, 8.1."""

CLOSE_TIMEOUT_S = 5.0
"""Wait for the client's close frame after ours, then drop the TCP connection."""

SILENT_INTERVALS = 2
"""Keep-alive intervals without a sign of life after which a client is gone.
Source: protocol reference, section 13, row 12."""


@dataclass(frozen=True, slots=True)
class WireSettings:
    """Durations in seconds; an ack delay of 0 writes acks at once."""

    ack_delay_s: float = 0.001
    keep_alive_s: float = 20.0


def data_frame(payload: bytes, *, is_text: bool) -> bytes:
    """A frame with a message."""
    return frames.encode(TEXT if is_text else BINARY, payload)


class _Queued(NamedTuple):
    """A frame that waits: `due_at` is in seconds of the event loop's clock, 0 for no delay of its
    own; `enter` counts it in the ledger."""

    due_at: float
    data: bytes
    enter: Callable[[], None]


class Wire:
    """The connection of one client, from its `connected` frame to its close.

    `handshake` is the protocol that has read from `transport` until now; it is told of the end.
    Messages wait in `line`, if there is one, before the hub gets them.
    """

    def __init__(
        self,
        connection_id: str,
        *,
        is_simple: bool,
        transport: asyncio.Transport,
        handshake: asyncio.BaseProtocol,
        max_message_bytes: int,
        hub: Hub,
        ledger: Ledger,
        settings: WireSettings,
        pipes: Pipes,
        turn: Turn,
        perform: Callable[[list[Output]], None],
        ended: Callable[[str], None],
        line: Line | None = None,
    ) -> None:
        self.id = connection_id
        self._is_simple = is_simple
        self.pipe = pipes.take(transport, self)
        self._handshake = handshake
        self._reader = frames.FrameReader(
            is_peer_client=True, max_message_bytes=max_message_bytes, unmask=unmasked
        )
        self._feed = self._reader.feed
        self.is_between_messages = True
        self._hub = hub
        self._receive = hub.receive if line is None else partial(self._receive_later, line)
        self._ledger = ledger
        self._keep_alive_s = settings.keep_alive_s
        self._ack_delay_s = settings.ack_delay_s
        self._flush_later = turn.add
        self._perform = perform
        self._ended = ended
        self._loop = asyncio.get_running_loop()
        self._lost: asyncio.Future[None] = self._loop.create_future()
        self._is_over = False
        self._queue: deque[_Queued] = deque()  # empty, or an ack that waits and what is behind it
        self._queue_timer: asyncio.TimerHandle | None = None
        self._late: LateFrames | None = None
        self.outgoing: list[bytes] = []  # of this turn of the event loop
        self.behind_bytes = 0  # what was written since something has waited to be sent
        self._unsent_ends: deque[int] = deque()
        self._silent_intervals = 0
        self._close_timer: asyncio.TimerHandle | None = None
        self._keep_alive_timer = self._loop.call_later(settings.keep_alive_s, self._keep_alive)

    async def serve(self) -> None:
        """Wait until the connection is over."""
        try:
            await self._lost
        finally:
            self.pipe.close()  # if this server is what ends

    def received(self, data: bytes) -> None:
        """Handle what has been read; called by the pipe."""
        self._silent_intervals = 0
        for opcode, payload in self._feed(data):
            if opcode in _DATA_OPCODES:
                self._handle(payload, is_text=opcode == TEXT)
            elif opcode == PING:
                self._send(frames.encode(frames.PONG, payload))
            elif opcode == CLOSE:
                code, _ = frames.read_close(payload)
                self._answer_close(code)
                self.pipe.close()
                return
        self.is_between_messages = self._reader.is_between_messages
        if (error := self._reader.error) is not None:
            self._refuse(error)

    def message(self, payload: bytes) -> None:
        """Handle a frame that was read by somebody else; called by the pipe."""
        if len(payload) <= self._reader.max_message_bytes:
            self._silent_intervals = 0
            self._handle(payload, is_text=True)
        else:  # the reader knows what to say
            self.received(frames.encode(TEXT, payload, mask_key=_NO_MASK))

    def _handle(self, payload: bytes, *, is_text: bool) -> None:
        if self._is_over:
            return
        outputs = self._receive(self.id, payload, is_text=is_text)
        if len(outputs) == 1 and type(outputs[0]) is SendAck:  # ours, and nothing else
            _, answer, name = outputs[0]
            self.queue_ack(answer, name)
        else:
            self._perform(outputs)

    def _receive_later(self, line: Line, _: str, payload: bytes, *, is_text: bool) -> list[Output]:
        line.enter(partial(self._handle_late, payload, is_text=is_text))
        return []

    def _handle_late(self, payload: bytes, *, is_text: bool) -> None:
        if not self._is_over:
            self._perform(self._hub.receive(self.id, payload, is_text=is_text))

    def _refuse(self, error: frames.FrameError) -> None:
        """Close for what breaks RFC 6455; a PubSub client that does speak it is told why.

        The answer to the close frame would not be read any more: the service's side of the TCP
        connection ends here. Source: RFC 6455, 7.1.1 and 7.1.7.
        """
        is_told = not self._is_simple and error.close_code != frames.PROTOCOL_ERROR
        message = farewell(str(error), is_simple=False) if is_told else None
        self.close(error.close_code, str(error), message)
        self.pipe.write_eof()

    def lost(self) -> None:
        """The TCP connection is gone; called by the pipe."""
        self._finish(1006)
        if self._close_timer is not None:
            self._close_timer.cancel()
        self._handshake.connection_lost(None)
        if not self._lost.done():
            self._lost.set_result(None)

    @property
    def can_write(self) -> bool:
        """True until the connection ends, or is about to."""
        return not (self._is_over or self.pipe.is_closing)

    def write(self, data: bytes, kind: Kind, payload_bytes: int) -> bool:
        """Take over one whole frame; True if it was written at once, for the caller to count.

        Behind an ack that waits it waits too, and is counted here when it is written. After the
        end of the connection it is dropped.
        """
        if self._queue and self.can_write:
            self._queue.append(_Queued(0, data, partial(self._ledger.wrote, kind, payload_bytes)))
            return False
        return self._send(data)

    def queue_ack(self, payload: bytes, name: str) -> None:
        """Write an ack after the delay, and count it then."""
        if self._is_over or self.pipe.is_closing:
            return
        data = frames.encode(TEXT, payload)
        delay_s = self._ack_delay_s
        if not delay_s:
            if not self.outgoing:
                self._flush_later(self)
            self.outgoing.append(data)
            self._ledger.wrote_ack(name, len(payload))
            return
        enter = partial(self._ledger.wrote_ack, name, len(payload))
        self._queue.append(_Queued(self._loop.time() + delay_s, data, enter))
        if self._queue_timer is None:
            self._queue_timer = self._loop.call_later(delay_s, self._release)

    @property
    def late(self) -> LateFrames:
        """What waits outside the queue."""
        if self._late is None:
            self._late = LateFrames(self._write_late)
        return self._late

    def put(self, data: bytes, enter: Callable[[], None]) -> None:
        """Take over one whole frame as `write` does, but `enter` counts it, and not the caller."""
        if self._queue and self.can_write:
            self._queue.append(_Queued(0, data, enter))
        else:
            self._write_late(data, enter)

    def put_late(
        self, data: bytes, enter: Callable[[], None], *, fault: str, delay_s: float
    ) -> None:
        """Write one frame after `delay_s`; whatever is written until then overtakes it.

        When it is written, `enter` counts it, and so does the ledger as an injection of `fault`.
        """
        if not self.can_write:
            return
        ready_at = self._loop.time()

        def enter_late() -> None:
            enter()
            self._ledger.wrote_late(fault, nanoseconds(self._loop.time() - ready_at))

        self.late.add(object(), data, enter_late, delay_s=delay_s)

    def queue_late_ack(self, payload: bytes, name: str, *, fault: str, by_s: float) -> None:
        """Write an ack `by_s` after the ack delay."""
        data = frames.encode(TEXT, payload)
        enter = partial(self._ledger.wrote_ack, name, len(payload))
        self.put_late(data, enter, fault=fault, delay_s=self._ack_delay_s + by_s)

    def close(self, code: int, reason: str, message: bytes | None = None) -> None:
        """Close with `code`: what is pending first, then `message`, then the close frame."""
        if not self.can_write:
            return
        self._write_pending()
        if not self.can_write:
            return  # they were too many for a slow client
        if message is not None:
            self._send(data_frame(message, is_text=True))
            self._ledger.bytes_out += len(message)
        self._send(frames.encode(CLOSE, frames.close_payload(code, reason)))
        self._finish(code)
        self.flush()
        self._close_timer = self._loop.call_later(CLOSE_TIMEOUT_S, self.pipe.abort)

    def go_away(self) -> None:
        """Close because the service stops. Source: protocol reference, 8.3."""
        reason = "service is stopping"
        self.close(1001, reason, farewell(reason, is_simple=self._is_simple))

    def abort(self) -> None:
        """Drop the TCP connection without a close frame."""
        self.flush()
        self._finish(1006)
        self.pipe.abort()

    def _answer_close(self, code: int) -> None:
        if not self.can_write:
            return
        self._write_pending()
        if self.can_write:
            answer = 1000 if code == frames.NO_STATUS else code
            self._send(frames.encode(CLOSE, frames.close_payload(answer)))
            self._finish(code)
            self.flush()

    def _finish(self, code: int) -> None:
        """From here on nothing is written or counted."""
        if self._is_over:
            return
        self._is_over = True
        self._keep_alive_timer.cancel()
        if self._queue_timer is not None:
            self._queue_timer.cancel()
        self._queue.clear()
        if self._late is not None:
            self._late.drop_all()
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

    def _write_pending(self) -> None:
        self._write_queued(len(self._queue))
        if self._late is not None:
            self._late.write_all()

    def _write_late(self, data: bytes, enter: Callable[[], None]) -> None:
        if self._send(data):
            enter()

    def _write_queued(self, count: int) -> None:
        """Write the first `count` frames of the queue at once."""
        if not count or not self.can_write:
            return
        for _ in range(count):
            queued = self._queue.popleft()
            self._send(queued.data)
            queued.enter()
        self.flush()

    def _send(self, data: bytes) -> bool:
        """Write at the end of this turn of the event loop; False if the connection is over."""
        if self._is_over or self.pipe.is_closing:
            return False
        if not self.outgoing:
            self._flush_later(self)
        self.outgoing.append(data)
        return True

    def flush(self) -> None:
        """Write what was sent since the last time."""
        outgoing = self.outgoing
        if not outgoing:
            return
        written = outgoing.copy()
        outgoing.clear()
        if not self.pipe.write(written[0] if len(written) == 1 else b"".join(written)):
            self._note_backlog(written)
        elif self.behind_bytes:
            self.behind_bytes = 0
            self._unsent_ends.clear()

    def _note_backlog(self, written: list[bytes]) -> None:
        """Close a client for which too much is waiting."""
        waiting_bytes = self.pipe.unsent_bytes
        for data in written:
            self.behind_bytes += len(data)
            self._unsent_ends.append(self.behind_bytes)
        sent_bytes = self.behind_bytes - waiting_bytes
        while self._unsent_ends and self._unsent_ends[0] <= sent_bytes:
            self._unsent_ends.popleft()
        if len(self._unsent_ends) > MAX_BACKLOG_MESSAGES or waiting_bytes > MAX_BACKLOG_BYTES:
            self.close(1008, "too slow: outbound queue is full")

    def _keep_alive(self) -> None:
        self._silent_intervals += 1
        if self._silent_intervals >= SILENT_INTERVALS:
            self.abort()
            return
        self._send(frames.encode(PING, b""))
        self._keep_alive_timer = self._loop.call_later(self._keep_alive_s, self._keep_alive)

"""One WebSocket connection on the engine: bytes from the event loop, frames to its owner.

What arrives in one read is handled in one go, and all that its owner writes meanwhile leaves in
one write, see `wpsload.turn`.
"""

from collections.abc import Callable
from typing import Any

import gevent

from wpsload import frames
from wpsload.agenda import Entry
from wpsload.dialing import Address, Dialed, Steps, dial
from wpsload.engine import Engine
from wpsload.errors import ConnectError
from wpsload.link import (
    ABNORMAL_CLOSURE,
    UNSENT_LIMIT_BYTES,
    Lane,
    Limits,
    Listener,
    Owner,
    closed,
)
from wpsload.meter import Meter
from wpsload.publication import Publication
from wpsload.receipts import Receipts
from wpsload.session import PubSubSession
from wpsload.stream import Stream
from wpsload.subprotocol import MAX_MESSAGE_BYTES
from wpsload.units import nanoseconds

__all__ = ["Wire"]

_FLUSH_BYTES = 64 * 1024  # so much waits for the loop to turn, so that the unsent stays bounded


class Wire:
    """A `wpsload.link.Link` over a non-blocking stream; dials as soon as it is made.

    Args:
        owner: told what happens.
        address: gives the address; may raise `ConnectError`, and wait if `may_wait`.
        subprotocol: None for a simple client.
        max_message_bytes: a larger message ends the link.

    `is_writable` is False while the peer does not read what was written.
    """

    __slots__ = (
        "_asking",
        "_clock_ns",
        "_dialing",
        "_engine",
        "_fd",
        "_is_broken",
        "_is_close_sent",
        "_is_flush_due",
        "_is_moving",
        "_is_over",
        "_is_write_wanted",
        "_lane",
        "_limits",
        "_mask_keys",
        "_outgoing",
        "_outgoing_bytes",
        "_owner",
        "_reader",
        "_stalled",
        "_stream",
        "_turn",
        "_watched",
        "is_writable",
    )

    def __init__(
        self,
        engine: Engine,
        owner: Owner,
        *,
        address: Callable[[], Address],
        may_wait: bool = True,
        subprotocol: str | None,
        limits: Limits,
        max_message_bytes: int = MAX_MESSAGE_BYTES,
    ) -> None:
        self._engine = engine
        self._owner = owner
        self._limits = limits
        self._turn = engine.turn
        self._clock_ns = engine.clock_ns
        self._mask_keys = engine.mask_keys
        self._reader = frames.FrameReader(is_peer_client=False, max_message_bytes=max_message_bytes)
        self._stream: Stream | None = None
        self._outgoing: list[bytes] = []
        self._outgoing_bytes = 0
        self._is_flush_due = False
        self._lane: Lane | None = None
        self._is_close_sent = False
        self._is_broken = False  # nothing can be written; reading will tell why
        self._is_over = False
        self._is_moving = False
        self.is_writable = True
        self._stalled: Entry | None = None  # while the peer does not read what we write
        self._watched: Any = None  # the socket that the poller watches
        self._fd = -1  # its number, also once it is closed
        self._is_write_wanted = False  # while dialing
        self._asking: gevent.Greenlet[..., None] | None = None  # what dialing waits for
        self._dialing: Steps[Dialed] | None = dial(
            address, may_wait=may_wait, subprotocol=subprotocol, clock_ns=engine.clock_ns
        )
        engine.soon(self._step, self._dialing.send, None)

    def _step(self, go_on: Callable[[Any], Any], what: Any) -> None:
        """Go on with dialing until it has to wait for something."""
        if self._dialing is None:
            return
        try:
            wanted = go_on(what)
        except StopIteration as done:
            self._dialing = None
            self._opened(done.value)
        except ConnectError as error:
            self.abort(error.outcome)
        except BaseException as error:
            self.abort("internal error")
            self._owner.broken(error)
        else:
            if isinstance(wanted, tuple):
                self._watch_socket(*wanted)
            else:
                self._asking = gevent.spawn(self._ask, wanted, self._dialing)

    def _ask(self, ask: Callable[[], Any], dialing: Steps[Dialed]) -> None:
        """Call what may wait, which nothing may in the event loop."""
        try:
            answer = ask()
        except Exception as error:
            self._engine.soon(self._step, dialing.throw, error)
        else:
            self._engine.soon(self._step, dialing.send, answer)

    def _watch_socket(self, sock: Any, is_writing: bool) -> None:
        if sock is not self._watched:
            self._unwatch()  # an address that did not answer
            self._engine.poller.add(sock.fileno(), self, is_writing=is_writing)
            self._watched, self._fd = sock, sock.fileno()
        elif is_writing is not self._is_write_wanted:
            self._engine.poller.want_write(self._fd, is_writing)
        self._is_write_wanted = is_writing

    def _unwatch(self) -> None:
        if self._watched is not None:
            self._watched = None
            self._engine.poller.remove(self._fd)

    def _opened(self, dialed: Dialed) -> None:
        self._stream = dialed.transport
        self._engine.sample(dialed.transport)
        self._owner.upgraded(dialed)
        if dialed.rest and not self._is_over:
            self.handle(dialed.rest, self._clock_ns())

    def read(self, is_writable: bool) -> bytes | None:
        """What has arrived, for the poller; goes on with dialing, or with what is unsent."""
        try:
            if is_writable and self._dialing is None:
                self._drain()
            if self._stream is None:
                if self._dialing is not None:
                    self._step(self._dialing.send, None)
                return None
            try:
                return self._stream.read()
            except OSError:
                return b""
        except Exception:
            self.abort("internal error")  # or the loop would come back to it for ever
            raise

    def handle(self, data: bytes, read_ns: int) -> None:
        """Take what was read; nothing is the end of the stream."""
        if not data:
            self.abort(closed(ABNORMAL_CLOSURE))
            return
        reader = self._reader
        try:
            self._owner.received(reader.feed(data), read_ns)
        except Exception:
            self.abort("internal error")
            raise
        if reader.error is not None and not self._is_over:
            self.close(reader.error.close_code)
            self.abort("protocol error")
        elif self._outgoing and not self._is_flush_due:
            self.flush()

    def lane(
        self, session: PubSubSession, meter: Meter, receipts: Receipts, listener: Listener
    ) -> Lane | None:
        """The short way for what `session` publishes and receives, if there is one."""
        express, stream = self._engine.express, self._stream
        if (
            express is None
            or stream is None
            or self._is_broken
            or self._reader.max_message_bytes < frames.MEDIUM_BYTES
        ):
            return None
        self._lane = express.lane(
            self._fd,
            source=self,
            is_bare=stream.is_bare,
            write=self._write,
            outgoing=self._outgoing,
            unsent=stream.unsent,
            lags_ns=stream.lags_ns,
            reader=self._reader,
            session=session,
            meter=meter,
            receipts=receipts,
            observer=listener,
        )
        return self._lane

    @property
    def is_drained(self) -> bool:
        """True if the system has taken all that was flushed."""
        return self._stalled is None

    def write(self, payload: bytes, *, is_text: bool) -> None:
        """Put one message into the next `flush`."""
        opcode = frames.TEXT if is_text else frames.BINARY
        self._put(opcode, payload)

    def publish(self, publication: Publication, due_ns: int, ack_id: int) -> int:
        """Write the next message of `publication`; the size of its payload in bytes."""
        frame = publication.frame(due_ns, ack_id, next(self._mask_keys))
        self._outgoing.append(frame)
        size = len(frame)
        self._outgoing_bytes += size
        if not self._is_flush_due and self._turn.is_under_way:  # `flush`, without a call
            self._is_flush_due = True
            self._turn.hold(self._write)
        if self._outgoing_bytes > _FLUSH_BYTES:
            self._write()
        return frames.payload_bytes(size)

    def _put(self, opcode: int, payload: bytes) -> None:
        key = next(self._mask_keys).to_bytes(4, "little")
        frame = frames.encode(opcode, payload, mask_key=key)
        self._outgoing.append(frame)
        self._outgoing_bytes += len(frame)
        if self._outgoing_bytes > _FLUSH_BYTES:
            self._write()

    def flush(self) -> None:
        """Send what was written, at the end of this turn if one is under way."""
        if not self._turn.is_under_way:
            self._write()
        elif not self._is_flush_due:
            self._is_flush_due = True
            self._turn.hold(self._write)

    def flush_soon(self) -> None:
        """Send what was written when the loop turns, with whatever else is written until then."""
        if not self._is_flush_due:
            self._is_flush_due = True
            self._engine.soon(self._write)

    def _write(self) -> None:
        self._is_flush_due = False
        outgoing, stream = self._outgoing, self._stream
        if not outgoing or stream is None:
            return
        data = outgoing[0] if len(outgoing) == 1 else b"".join(outgoing)
        outgoing.clear()
        self._outgoing_bytes = 0
        if self._is_broken:
            return
        try:
            is_gone = stream.write(data)
        except OSError:
            self._break()
            return
        if not is_gone:
            if self.is_writable and stream.unsent_bytes >= UNSENT_LIMIT_BYTES:
                self.is_writable = False
                self._engine.buffers_full += 1
            if self._stalled is None:
                self._engine.poller.want_write(stream.fileno(), True)
                self._watch()

    def _drain(self) -> None:
        """The peer has read: go on with what was kept."""
        stream = self._stream
        if stream is None or self._stalled is None:
            return
        self._is_moving = True
        try:
            stream.drain()
        except OSError:
            self._break()
        if self._is_broken or not stream.unsent_bytes:
            self._stalled.cancel()
            self._stalled = None
            self.is_writable = True
            self._engine.poller.want_write(stream.fileno(), False)
            self._owner.writable()

    def _break(self) -> None:
        self._is_broken = True
        if self._lane is not None:
            self._lane.end()  # nothing is to be written behind what was cut off

    def _watch(self) -> None:
        """Give the peer up that takes nothing at all within the time for an ack."""
        self._is_moving = False
        due_ns = self._clock_ns() + nanoseconds(self._limits.ack_timeout_s)
        self._stalled = self._engine.at(due_ns, self._look)

    def _look(self) -> None:
        if self._is_moving:
            self._watch()
        else:
            self.abort("write timeout")

    def control(self, opcode: int, payload: bytes) -> None:
        """Answer a control frame; the peer's close frame ends the link."""
        if opcode == frames.PING:
            self._put(frames.PONG, payload)
        elif opcode == frames.CLOSE:
            code, _ = frames.read_close(payload)
            self.close(code)
            self.abort(closed(code))

    def close(self, code: int) -> None:
        """Send a close frame, unless there was one; the link ends when the peer answers."""
        if self._is_close_sent:
            return
        self._is_close_sent = True
        self._put(frames.CLOSE, b"" if code == frames.NO_STATUS else frames.close_payload(code))
        self._write()

    def give_up(self) -> None:
        """Connecting takes too long."""
        if self._dialing is not None:
            self._stop_asking()
            self._step(self._dialing.throw, gevent.Timeout())
        else:
            self.abort("timeout (connected)")

    def abort(self, failure: str) -> None:
        """End at once, with `failure`."""
        if self._is_over:
            return
        self._is_over = True
        self._unwatch()
        if self._dialing is not None:
            self._stop_asking()
            self._dialing.close()
            self._dialing = None
        if self._stalled is not None:
            self._stalled.cancel()
        if self._stream is not None:
            self._stream.close()
            self._stream = None
        self._owner.ended(failure)

    def _stop_asking(self) -> None:
        if self._asking is not None:
            self._asking.kill(block=False)
            self._asking = None

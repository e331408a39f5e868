"""One WebSocket connection over websocket-client: a reader greenlet, and a writer when needed.

For who doubts the engine. The socket is ours, so that the phases can be told apart and reads are
buffered; handshake, frames, and the way through a proxy are websocket-client's.
"""

import sys
from collections import deque
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import gevent
import websocket
from gevent import socket

from wpsload import frames
from wpsload.dialing import (
    USER_AGENT,
    Address,
    Dialed,
    Proxy,
    Stopwatch,
    open_tcp,
    outcome,
    resolve,
    tls_context,
    wait_through,
)
from wpsload.engine import Engine
from wpsload.errors import ConnectError
from wpsload.link import (
    ABNORMAL_CLOSURE,
    UNSENT_LIMIT_BYTES,
    Limits,
    Listener,
    Owner,
    closed,
)
from wpsload.meter import Meter
from wpsload.publication import Publication
from wpsload.receipts import Receipts
from wpsload.session import PubSubSession
from wpsload.subprotocol import MAX_MESSAGE_BYTES

__all__ = ["BufferedSocket", "WebSocketClient", "dial"]

_READ_BYTES = 65536
_WRITE_TIMEOUT = websocket.WebSocketTimeoutException("write")


class BufferedSocket:
    """A socket whose small reads are served from one large read.

    websocket-client reads the handshake byte by byte and a frame in two or three pieces; each
    would be a system call. Everything but `recv` is the socket's own.
    """

    def __init__(self, sock: Any) -> None:
        self._socket = sock
        self._data = b""
        self._position = 0

    def recv(self, size_bytes: int) -> bytes:
        """Up to `size_bytes` bytes, empty at the end of the stream; waits only if none are held."""
        data, start = self._data, self._position
        if start == len(data):
            data = self._socket.recv(max(size_bytes, _READ_BYTES))
            if len(data) <= size_bytes:
                return bytes(data)
            self._data, start = data, 0
        self._position = end = min(start + size_bytes, len(data))
        return data[start:end]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)


class _WebSocket(websocket.WebSocket):
    """websocket-client's connection, where RFC 6455 asks for more.

    - It never sends a second close frame: `recv_data_frame` answers each, the answer to our own
      included. An answer repeats the code.
    - What a frame's head forbids is refused before its payload is waited for.
    - A peer that takes nothing for `write_timeout_s` is a timeout, one that takes little is none.
    """

    _is_close_sent = False
    _heard_close: bytes | None = None
    _message_bytes = 0  # of the fragments so far
    write_timeout_s: float | None = None

    def recv_frame(self) -> Any:
        buffer = self.frame_buffer
        if buffer.needs_header():
            buffer.recv_header()
        if buffer.has_mask():
            raise frames.FrameError("masked frame")
        if buffer.needs_length():
            buffer.recv_length()
        self._check_head(buffer.header, buffer.length)
        frame = super().recv_frame()  # type: ignore[no-untyped-call]  # it has no types
        if frame.opcode == frames.CLOSE:
            frames.check_text(frame.data[2:])
            self._heard_close = frame.data[:2]
        elif frame.opcode < frames.CLOSE:
            self._message_bytes = 0 if frame.fin else self._message_bytes + len(frame.data)
        return frame

    def _check_head(self, header: Any, size_bytes: Any) -> None:
        is_final, *extensions, opcode, _, _ = header
        if any(extensions) or opcode not in websocket.ABNF.OPCODES:
            raise frames.FrameError("extension bits, or unknown opcode")
        if opcode >= frames.CLOSE:
            if size_bytes > frames.LONGEST_CONTROL_BYTES or not is_final:
                raise frames.FrameError("control frame that is long or fragmented")
            return
        if (opcode == websocket.ABNF.OPCODE_CONT) is not bool(self.cont_frame.recving_frames):
            raise frames.FrameError("fragment out of its message")
        if self._message_bytes + size_bytes > MAX_MESSAGE_BYTES:
            raise frames.FrameError("message too big", frames.TOO_BIG)

    def _send(self, data: str | bytes) -> int:
        with gevent.Timeout(self.write_timeout_s, _WRITE_TIMEOUT):
            sent: int = super()._send(data)
            return sent

    def send_close(self, status: int = websocket.STATUS_NORMAL, reason: str | bytes = b"") -> None:
        if self._is_close_sent:
            return
        self._is_close_sent = True
        if self._heard_close is None:
            super().send_close(status, reason)
        else:
            self.send(self._heard_close, frames.CLOSE)
            self.connected = False


def _proxy_options(proxy: Proxy | None) -> dict[str, Any]:
    """What websocket-client is told of a proxy."""
    if proxy is None:
        return {}
    return {
        "http_proxy_host": proxy.host,
        "http_proxy_port": proxy.port,
        "http_proxy_auth": proxy.credentials,
        "proxy_type": proxy.scheme,
    }


def _outcome(error: Exception, phase: str) -> str:
    """As `dialing.outcome`, for the errors of websocket-client too."""
    match error:
        case websocket.WebSocketAddressException():
            return "host not found"
        case websocket.WebSocketConnectionClosedException():
            return f"connection reset ({phase})"
        case websocket.WebSocketTimeoutException():
            return f"timeout ({phase})"
        case websocket.WebSocketProxyException():
            return "proxy refused the tunnel"
        case _:
            return outcome(error, phase)


class _TimedTlsContext:
    """What websocket-client takes for an `SSLContext`: times the handshake, buffers the reads."""

    def __init__(self, watch: Stopwatch) -> None:
        self._watch = watch

    def wrap_socket(self, sock: Any, **options: Any) -> BufferedSocket:
        self._watch.begin("tls")
        wrapped = tls_context().wrap_socket(sock, **options)
        self._watch.begin("upgrade")
        return BufferedSocket(wrapped)


def _open_socket(host: str, port: int, watch: Stopwatch, *, is_secure: bool) -> BufferedSocket:
    """A buffered connection to `host`, with TLS if asked for."""
    addresses = resolve(host, port)
    watch.begin("tcp")
    system = wait_through(open_tcp(addresses))
    sock = socket.socket(system.family, system.type, system.proto, fileno=system.detach())
    try:
        if is_secure:
            return _TimedTlsContext(watch).wrap_socket(sock, server_hostname=host)
        watch.begin("upgrade")
        return BufferedSocket(sock)
    except BaseException:
        sock.close()
        raise


def dial(address: Address, *, subprotocol: str | None, clock_ns: Callable[[], int]) -> Dialed:
    """Connect to a `ws` or `wss` URL and upgrade; its transport is a websocket-client object.

    A `gevent.Timeout` that is thrown in is a failure of the phase under way. A proxy that the
    environment names (`http_proxy`, `https_proxy`, `no_proxy`) is used; its name, connection and
    tunnel then all count as `tcp`, and with a `ws` URL so does the upgrade, since nothing tells
    them apart.

    Raises:
        ConnectError: if any phase fails; it says which.
    """
    parts = urlsplit(address.url)
    host, is_secure = parts.hostname or "", parts.scheme == "wss"
    proxy = Proxy.for_host(host, is_secure=is_secure)
    watch = Stopwatch(clock_ns, "tcp" if proxy else "dns")
    connection = _WebSocket(
        sslopt={"context": _TimedTlsContext(watch)},
        skip_utf8_validation=True,  # its own takes 0.3 ms for 2 KB, 200 ms for 1 MB
    )
    try:
        sock = None
        if not proxy:
            port = parts.port or (443 if is_secure else 80)
            sock = _open_socket(host, port, watch, is_secure=is_secure)
        connection.connect(  # type: ignore[no-untyped-call]  # it has no types
            address.url,
            socket=sock,
            header={"User-Agent": USER_AGENT, **address.headers},
            subprotocols=[subprotocol] if subprotocol else None,
            suppress_origin=True,  # browsers send one, native clients have none
            redirect_limit=0,
            **_proxy_options(proxy),
        )
    except websocket.WebSocketBadStatusException as error:
        raise ConnectError(
            f"HTTP {error.status_code}", phase=watch.phase, status=error.status_code
        ) from None  # its text holds headers and body
    except (OSError, ValueError, LookupError, websocket.WebSocketException) as error:
        # It splits and converts what it reads without looking.
        raise ConnectError(_outcome(error, watch.phase), phase=watch.phase) from error
    except gevent.Timeout:
        raise ConnectError(f"timeout ({watch.phase})", phase=watch.phase) from None
    return watch.dialed(connection)


class WebSocketClient:
    """A `wpsload.link.Link` over websocket-client; dials as soon as it is made.

    Args: as those of `wpsload.wire.Wire`.
    """

    def __init__(
        self,
        engine: Engine,
        owner: Owner,
        *,
        address: Callable[[], Address],
        may_wait: bool,
        subprotocol: str | None,
        limits: Limits,
    ) -> None:
        self._engine = engine
        self._owner = owner
        self._limits = limits
        self._websocket: Any = None
        self._outgoing: deque[tuple[int, bytes]] = deque()
        self._outgoing_bytes = 0
        self._is_over = False
        self.is_writable = True
        self._failure: str | None = None
        self._writer: gevent.Greenlet[[], None] | None = None
        # It reads in a greenlet, where `address` may wait in any case.
        self._reader = gevent.Greenlet(self._run, address, subprotocol)
        self._reader.link_exception(self._broken)
        self._reader.start()

    def _broken(self, reader: "gevent.Greenlet[..., None]") -> None:
        if reader.exception is not None:
            self._owner.broken(reader.exception)

    def _run(self, address: Callable[[], Address], subprotocol: str | None) -> None:
        try:
            dialed = dial(address(), subprotocol=subprotocol, clock_ns=self._engine.clock_ns)
        except ConnectError as error:
            self._end(error.outcome)
            return
        except gevent.Timeout:  # `dial` has its own
            self._end("timeout (negotiate)")
            return
        self._websocket = dialed.transport
        self._websocket.write_timeout_s = self._limits.ack_timeout_s
        try:
            self._owner.upgraded(dialed)
            failure = self._read()
        except Exception:  # a mistake in this program; as it is reported on the engine
            self._engine.hub.handle_error(self._reader, *sys.exc_info())
            failure = "internal error"
        self._end(failure)

    def _read(self) -> str:
        """Hand on what arrives until the connection ends; how it ended."""
        try:
            while not self._is_over:
                opcode, frame = self._websocket.recv_data_frame(control_frame=True)
                if opcode == frames.CLOSE:
                    code, _ = frames.read_close(frame.data)
                    return closed(code)
                if opcode == frames.TEXT:
                    frames.check_text(frame.data)
                if opcode in (frames.TEXT, frames.BINARY):
                    self._owner.received([(opcode, frame.data)], self._engine.clock_ns())
                    self.flush()
        except (websocket.WebSocketConnectionClosedException, OSError):
            return closed(ABNORMAL_CLOSURE)
        except websocket.WebSocketTimeoutException:  # in answer to a ping
            return "write timeout"
        except websocket.WebSocketException:
            self.close(frames.PROTOCOL_ERROR)
            return "protocol error"
        except frames.FrameError as error:
            self.close(error.close_code)
            return "protocol error"
        return closed(ABNORMAL_CLOSURE)  # it is over already

    def lane(
        self, session: PubSubSession, meter: Meter, receipts: Receipts, listener: Listener
    ) -> None:
        """There is none."""

    @property
    def is_drained(self) -> bool:
        """True if the system has taken all that was flushed."""
        return self._writer is None

    def write(self, payload: bytes, *, is_text: bool) -> None:
        """Put one message into the next `flush`."""
        self._put(frames.TEXT if is_text else frames.BINARY, payload)

    def publish(self, publication: Publication, due_ns: int, ack_id: int) -> int:
        """Write the next message of `publication`; the size of its payload in bytes."""
        payload = publication.payload(due_ns, ack_id)
        self._put(frames.TEXT, payload)
        self.flush()
        return len(payload)

    def _put(self, opcode: int, payload: bytes) -> None:
        self._outgoing.append((opcode, payload))
        self._outgoing_bytes += len(payload)
        if self.is_writable and self._outgoing_bytes >= UNSENT_LIMIT_BYTES:
            self.is_writable = False
            self._engine.buffers_full += 1

    def flush(self) -> None:
        """Send what was written, from a greenlet of its own: whoever writes does not wait."""
        if self._outgoing and self._writer is None:
            self._writer = gevent.spawn(self._write)

    def flush_soon(self) -> None:
        """Send it when the event loop turns, with whatever else is written until then."""
        self.flush()

    def control(self, opcode: int, payload: bytes) -> None:
        """Nothing: websocket-client answers control frames itself."""

    def _write(self) -> None:
        try:
            while self._outgoing:
                opcode, payload = self._outgoing.popleft()
                if opcode == frames.CLOSE:
                    self._websocket.send_close(int.from_bytes(payload))
                else:
                    self._websocket.send(payload, opcode)
                self._outgoing_bytes -= len(payload)
                self.is_writable = self._outgoing_bytes < UNSENT_LIMIT_BYTES
        except websocket.WebSocketTimeoutException:
            self._failure = "write timeout"
            self._websocket.abort()
        except (OSError, websocket.WebSocketException):
            self._websocket.abort()  # the reader sees the end, and why
        finally:
            self._writer = None
        if not self._is_over:
            self._engine.soon(self._owner.writable)  # where nothing may wait, whatever it calls

    def close(self, code: int) -> None:
        """Send a close frame, unless there was one; the link ends when the peer answers."""
        if gevent.getcurrent() is not self._reader:
            self._put(frames.CLOSE, code.to_bytes(2))
            self.flush()
            return
        try:
            self._websocket.send_close(code)
        except (OSError, websocket.WebSocketException):
            self._websocket.abort()

    def give_up(self) -> None:
        """Connecting takes too long."""
        if self._websocket is None:
            self._reader.kill(gevent.Timeout, block=False)
        else:
            self.abort("timeout (connected)")

    def abort(self, failure: str) -> None:
        """End at once, with `failure`."""
        current = gevent.getcurrent()
        for greenlet in (self._reader, self._writer):
            if greenlet is not None and greenlet is not current:
                greenlet.kill(block=False)
        self._end(failure)

    def _end(self, failure: str) -> None:
        if self._is_over:
            return
        self._is_over = True
        if self._websocket is not None:
            sock = self._websocket.sock
            self._websocket.shutdown()
            if sock is not None:
                sock.close()
        self._owner.ended(self._failure or failure)

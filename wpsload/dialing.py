"""Opening one WebSocket connection, each phase timed: dns, tcp, tls, upgrade.

The socket is ours, so that the phases can be told apart and reads are buffered; the opening
handshake, and the way through a proxy, are websocket-client's.
"""

import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import gevent
import websocket
from gevent import socket, ssl

from wpsload import __version__
from wpsload.errors import ConnectError

__all__ = ["BufferedSocket", "Dialed", "dial"]

_USER_AGENT = f"wpsload/{__version__}"
_READ_BYTES = 65536


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
    """websocket-client's connection, but it never sends a second close frame.

    Its `recv_data_frame` answers each close frame, the answer to our own included.
    """

    _is_close_sent = False

    def send_close(self, status: int = websocket.STATUS_NORMAL, reason: str | bytes = b"") -> None:
        if not self._is_close_sent:
            self._is_close_sent = True
            super().send_close(status, reason)


@dataclass(frozen=True, slots=True)
class Dialed:
    """An upgraded connection.

    `started_ns` is when connecting began, `upgraded_ns` when the 101 response was in; `phases_ns`
    holds how long `dns`, `tcp`, `tls` and `upgrade` took, which add up to the time between.
    """

    websocket: Any
    started_ns: int
    upgraded_ns: int
    phases_ns: Mapping[str, int]


@cache
def _tls_context() -> Any:
    """The one TLS context of the process: certificates are loaded once, sessions can be reused."""
    return ssl.create_default_context()


def _proxy(host: str, *, is_secure: bool) -> dict[str, Any]:
    """websocket-client's options for the proxy the environment names for `host`, if any."""
    if host in ("localhost", "127.0.0.1", "::1") or urllib.request.proxy_bypass(host):
        return {}
    proxies = urllib.request.getproxies()
    address = proxies.get("https" if is_secure else "http") or proxies.get("all")
    if not address:
        return {}
    parts = urlsplit(address if "://" in address else f"http://{address}")
    return {
        "http_proxy_host": parts.hostname,
        "http_proxy_port": parts.port or 80,
        "http_proxy_auth": (parts.username, parts.password or "") if parts.username else None,
        "proxy_type": "http" if parts.scheme in ("http", "https") else parts.scheme,
    }


def _connect_tcp(addresses: list[Any], timeout_s: float) -> Any:
    """The first of `addresses` that accepts a connection."""
    refusal: OSError | None = None
    for family, kind, protocol, _, address in addresses:
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(timeout_s)
            for option in websocket.DEFAULT_SOCKET_OPTION:
                sock.setsockopt(*option)
            sock.connect(address)
        except OSError as error:
            sock.close()
            refusal = error
        except BaseException:
            sock.close()  # the user was stopped while connecting
            raise
        else:
            return sock
    raise refusal if refusal is not None else OSError("no address")


def _outcome(error: Exception, phase: str) -> str:
    """A short text for a failure to connect, the same for equal failures and without any id."""
    match error:
        case socket.gaierror() | websocket.WebSocketAddressException():
            return "host not found"
        case ConnectionRefusedError():
            return "connection refused"
        case ConnectionResetError() | websocket.WebSocketConnectionClosedException():
            return f"connection reset ({phase})"
        case TimeoutError() | websocket.WebSocketTimeoutException():
            return f"timeout ({phase})"
        case ssl.SSLCertVerificationError():
            return f"TLS certificate: {error.verify_message}"
        case ssl.SSLError():
            return f"TLS: {error.reason or 'handshake failed'}"
        case websocket.WebSocketProxyException():
            return "proxy refused the tunnel"
        case OSError():
            return f"{error.strerror or type(error).__name__} ({phase})"
        case _:
            return f"invalid handshake ({phase})"


class _Stopwatch:
    """Consecutive phases: each lasts until the next begins, so they add up to the whole."""

    def __init__(self, clock_ns: Callable[[], int], phase: str) -> None:
        self._clock_ns = clock_ns
        self.phase = phase
        self.started_ns = self.now_ns = clock_ns()
        self.phases_ns = dict.fromkeys(("dns", "tcp", "tls", "upgrade"), 0)

    def begin(self, phase: str) -> None:
        now_ns = self._clock_ns()
        self.phases_ns[self.phase] += now_ns - self.now_ns
        self.phase, self.now_ns = phase, now_ns


class _TimedTlsContext:
    """What websocket-client takes for an `SSLContext`: times the handshake, buffers the reads."""

    def __init__(self, watch: _Stopwatch) -> None:
        self._watch = watch

    def wrap_socket(self, sock: Any, **options: Any) -> BufferedSocket:
        self._watch.begin("tls")
        wrapped = _tls_context().wrap_socket(sock, **options)
        self._watch.begin("upgrade")
        return BufferedSocket(wrapped)


def _open_socket(
    host: str, port: int, watch: _Stopwatch, *, is_secure: bool, timeout_s: float
) -> BufferedSocket:
    """A buffered connection to `host`, with TLS if asked for."""
    addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    watch.begin("tcp")
    sock = _connect_tcp(addresses, timeout_s)
    try:
        if is_secure:
            return _TimedTlsContext(watch).wrap_socket(sock, server_hostname=host)
        watch.begin("upgrade")
        return BufferedSocket(sock)
    except BaseException:
        sock.close()
        raise


def dial(
    url: str,
    *,
    subprotocol: str | None,
    headers: Mapping[str, str],
    timeout_s: float,
    clock_ns: Callable[[], int],
) -> Dialed:
    """Connect to the WebSocket `url` (`ws` or `wss`) and upgrade.

    `timeout_s` bounds the whole. A proxy that the environment names
    (`http_proxy`, `https_proxy`, `no_proxy`) is used; its name, connection and tunnel then all
    count as `tcp`, and with a `ws` URL so does the upgrade, since nothing tells them apart.

    Raises:
        ConnectError: if any phase fails; it says which.
    """
    parts = urlsplit(url)
    host, is_secure = parts.hostname or "", parts.scheme == "wss"
    proxy = _proxy(host, is_secure=is_secure)
    watch = _Stopwatch(clock_ns, "tcp" if proxy else "dns")
    connection = _WebSocket(
        sslopt={"context": _TimedTlsContext(watch)},
        # In pure Python: 0.3 ms for 2 KB, 200 ms for 1 MB. The session decodes it all the same.
        skip_utf8_validation=True,
    )
    limit = gevent.Timeout.start_new(timeout_s)
    try:
        sock = None
        if not proxy:
            port = parts.port or (443 if is_secure else 80)
            sock = _open_socket(host, port, watch, is_secure=is_secure, timeout_s=timeout_s)
        connection.connect(  # type: ignore[no-untyped-call]  # it has no types
            url,
            socket=sock,
            timeout=timeout_s,
            header={"User-Agent": _USER_AGENT, **headers},
            subprotocols=[subprotocol] if subprotocol else None,
            suppress_origin=True,  # browsers send one, native clients have none
            redirect_limit=0,
            **proxy,
        )
    except websocket.WebSocketBadStatusException as error:
        raise ConnectError(
            f"HTTP {error.status_code}", phase=watch.phase, status=error.status_code
        ) from None  # its text holds headers and body
    except (OSError, websocket.WebSocketException) as error:
        raise ConnectError(_outcome(error, watch.phase), phase=watch.phase) from error
    except gevent.Timeout as fired:
        if fired is not limit:
            raise
        raise ConnectError(f"timeout ({watch.phase})", phase=watch.phase) from None
    finally:
        limit.close()
    watch.begin("")
    connection.settimeout(None)
    return Dialed(connection, watch.started_ns, watch.now_ns, watch.phases_ns)

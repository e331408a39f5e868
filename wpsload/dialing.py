"""Opening one WebSocket connection, each phase timed: dns, tcp, tls, upgrade.

The code reads from top to bottom in a generator. Wherever it has to wait it says for what, and
whoever runs it goes on with it then: the engine from the event loop, without a greenlet, or
`wait_through` in one. `websocket_client` dials in its own way and shares the parts.
"""

import base64
import os
import re
import secrets
import urllib.request
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

import gevent
from gevent import monkey, socket, ssl

from wpsload import __version__
from wpsload.errors import ConnectError, RemoteProtocolError
from wpsload.opening import Opening, Refused
from wpsload.stream import Stream, TlsStream
from wpsload.tokens import ClientUrl

__all__ = [
    "USER_AGENT",
    "Address",
    "Dialed",
    "Proxy",
    "Steps",
    "Stopwatch",
    "dial",
    "open_tcp",
    "outcome",
    "resolve",
    "tls_context",
    "wait_through",
]

USER_AGENT = f"wpsload/{__version__}"

_Result = TypeVar("_Result")
Steps = Generator[tuple[Any, bool] | Callable[[], Any], Any, _Result]
"""What has to wait. It yields a socket, with True to wait until it can be written to and with False
until it can be read from; or a function that may itself wait, and is sent what that returns."""

_SocketOption = tuple[int, int, int]
_OPTIONS: tuple[_SocketOption, ...] = (
    (socket.SOL_TCP, socket.TCP_NODELAY, 1),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
)
_READ_BYTES = 65536

# What gevent's socket and Python's are made of: whoever waits for it does so by itself.
_system_socket = monkey.get_original("socket", "SocketType")
_system_getaddrinfo = monkey.get_original("socket", "getaddrinfo")


@dataclass(frozen=True, slots=True)
class Address:
    """Where to connect, and the headers to send. Holds a token: never print it."""

    url: str
    headers: Mapping[str, str]

    @classmethod
    def of(cls, client: ClientUrl, *, is_token_in_header: bool) -> "Address":
        """The address of a client URL; its token travels in the query, or in a header."""
        if not is_token_in_header:
            return cls(client.url.reveal(), {})
        url, token = client.split()
        return cls(url, {"Authorization": f"Bearer {token.reveal()}"} if token else {})

    def __repr__(self) -> str:
        return "Address(***)"


@dataclass(frozen=True, slots=True)
class Dialed:
    """An upgraded connection.

    `transport` is what carries it from here on, and `rest` what has arrived after the handshake.
    `started_ns` is when connecting began, `upgraded_ns` when the 101 response was in; `phases_ns`
    holds how long `dns`, `tcp`, `tls` and `upgrade` took, which add up to the time between.
    """

    transport: Any
    rest: bytes
    started_ns: int
    upgraded_ns: int
    phases_ns: Mapping[str, int]


class Stopwatch:
    """Consecutive phases: each lasts until the next begins, so they add up to the whole."""

    def __init__(self, clock_ns: Callable[[], int], phase: str) -> None:
        self._clock_ns = clock_ns
        self.phase = phase
        self.started_ns = self.now_ns = clock_ns()
        self.phases_ns = dict.fromkeys(("dns", "tcp", "tls", "upgrade"), 0)

    def begin(self, phase: str) -> None:
        """The phase under way is over, and `phase` begins."""
        now_ns = self._clock_ns()
        self.phases_ns[self.phase] += now_ns - self.now_ns
        self.phase, self.now_ns = phase, now_ns

    def dialed(self, transport: Any, rest: bytes = b"") -> Dialed:
        """The last phase is over."""
        self.begin("")
        return Dialed(transport, rest, self.started_ns, self.now_ns, self.phases_ns)


@cache
def tls_context() -> Any:
    """The one TLS context of the process: certificates are loaded once, sessions can be reused."""
    return ssl.create_default_context()


@cache
def _sessions(context: Any) -> dict[tuple[str, int], Any]:
    """The last TLS session with each service: a client that resumes it spares both sides the
    certificates. Source: RFC 8446, 2.2."""
    return {}


def outcome(error: Exception, phase: str) -> str:
    """A short text for a failure to connect, the same for equal failures and without any id."""
    match error:
        case socket.gaierror():
            return "host not found"
        case UnicodeError() if phase in ("dns", "tcp"):  # it cannot even be a name
            return "host not found"
        case ProxyRefused():
            return "proxy refused the tunnel"
        case ConnectionRefusedError():
            return "connection refused"
        case ConnectionResetError():
            return f"connection reset ({phase})"
        case TimeoutError():
            return f"timeout ({phase})"
        case ssl.SSLCertVerificationError():
            return f"TLS certificate: {error.verify_message}"
        case ssl.SSLError():
            return f"TLS: {error.reason or 'handshake failed'}"
        case OSError():
            return f"{error.strerror or type(error).__name__} ({phase})"
        case _:
            return f"invalid handshake ({phase})"


@dataclass(frozen=True, slots=True)
class Proxy:
    """The HTTP proxy on the way to a service; `credentials` are `name:word`, or None."""

    scheme: str
    host: str
    port: int
    credentials: tuple[str, str] | None

    def __repr__(self) -> str:
        return "Proxy(***)"

    @classmethod
    def for_host(cls, host: str, *, is_secure: bool) -> "Proxy | None":
        """What the environment (`http_proxy`, `https_proxy`, `no_proxy`) names for `host`."""
        if host in ("localhost", "127.0.0.1", "::1") or urllib.request.proxy_bypass(host):
            return None
        proxies = urllib.request.getproxies()
        address = proxies.get("https" if is_secure else "http") or proxies.get("all")
        if not address:
            return None
        parts = urlsplit(address if "://" in address else f"http://{address}")
        credentials = (parts.username, parts.password or "") if parts.username else None
        scheme = "http" if parts.scheme in ("http", "https") else parts.scheme
        return cls(scheme, parts.hostname or "", parts.port or 80, credentials)


class ProxyRefused(Exception):
    """The proxy did not open a way to the service."""


def resolve(host: str, port: int) -> list[Any]:
    """The addresses of `host`; one that is written in digits needs no resolver, nor its thread.

    Raises:
        OSError: if there is none.
    """
    return _addresses_in_digits(host, port) or socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM
    )


@cache
def _addresses_in_digits(host: str, port: int) -> list[Any]:
    try:
        found: list[Any] = _system_getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
        )
    except socket.gaierror:
        return []
    # Plain numbers: each use of an enumeration's member costs as much as the call it is for.
    return [(int(family), int(kind), *rest) for family, kind, *rest in found]


def wait_through(steps: Steps[_Result]) -> _Result:
    """Run `steps` in the present greenlet, which waits wherever they do."""
    try:
        wanted = next(steps)
        while True:
            answer = None
            try:
                match wanted:
                    case (sock, True):
                        socket.wait_write(sock.fileno())
                    case (sock, False):
                        socket.wait_read(sock.fileno())
                    case ask:
                        answer = ask()
            except BaseException as error:
                wanted = steps.throw(error)
            else:
                wanted = steps.send(answer)
    except StopIteration as done:
        result: _Result = done.value
        return result


def open_tcp(addresses: list[Any]) -> Steps[Any]:
    """A non-blocking socket of the system, connected to the first address that accepts.

    Raises:
        OSError: what the last address said.
    """
    refusal = OSError("no address")
    for family, kind, protocol, _, address in addresses:
        sock = _system_socket(family, kind, protocol)
        try:
            sock.setblocking(False)
            for option in _OPTIONS:
                sock.setsockopt(*option)
            try:
                sock.connect(address)
            except BlockingIOError:
                yield sock, True
                if code := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                    raise OSError(code, os.strerror(code)) from None
        except OSError as error:
            sock.close()
            refusal = error
        except BaseException:
            sock.close()  # the user was stopped while connecting
            raise
        else:
            return sock
    raise refusal


def _read(sock: Any) -> Steps[bytes]:
    """What arrives next.

    Raises:
        ConnectionResetError: at the end of the stream.
    """
    while True:
        yield sock, False
        try:
            data: bytes = sock.recv(_READ_BYTES)
        except BlockingIOError:
            continue
        if not data:
            raise ConnectionResetError
        return data


def _open_tunnel(sock: Any, proxy: Proxy, host: str, port: int) -> Steps[None]:
    """Have `proxy` connect `sock` to the service. Source: RFC 9110, 9.3.6."""
    if proxy.scheme != "http":
        raise ProxyRefused
    target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    if proxy.credentials is not None:
        secret = base64.b64encode(":".join(map(unquote, proxy.credentials)).encode()).decode()
        lines.append(f"Proxy-Authorization: Basic {secret}")
    sock.send("\r\n".join((*lines, "", "")).encode())  # the first bytes always have room
    head = b""
    while not head.endswith(b"\r\n\r\n"):  # nobody speaks before we do: nothing follows it
        head += yield from _read(sock)
        if len(head) > _READ_BYTES:
            raise ProxyRefused
    if not re.match(rb"HTTP/1\.[01] 2", head):
        raise ProxyRefused


def _open_tls(sock: Any, host: str, port: int) -> Steps[TlsStream]:
    """TLS over `sock`, its handshake done; the last session with that service is resumed."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = tls_context()
    session = _sessions(context).get((host, port))
    tls = context.wrap_bio(incoming, outgoing, server_hostname=host, session=session)
    stream = TlsStream(sock, tls, incoming, outgoing)
    while not stream.shake_hands():
        incoming.write((yield from _read(sock)))
    return stream


def _upgrade(sock: Any, stream: Stream, opening: Opening) -> Steps[bytes]:
    """Do the opening handshake; what came after it."""
    stream.write(opening.request)
    while stream.unsent_bytes:
        yield sock, True
        stream.drain()
    while True:
        yield sock, False
        data = stream.read()
        if data is None:
            continue
        if not data:
            raise ConnectionResetError
        if (rest := opening.feed(data)) is not None:
            return rest


def dial(
    address: Callable[[], Address],
    *,
    may_wait: bool,
    subprotocol: str | None,
    clock_ns: Callable[[], int],
) -> Steps[Dialed]:
    """Connect to a `ws` or `wss` URL and upgrade; its transport is a `Stream`.

    A `gevent.Timeout` that is thrown in is a failure of the phase under way. An HTTP proxy that
    the environment names is used; then `dns` is that of the proxy, and its tunnel part of `tcp`.

    Args:
        address: gives where to connect to, before time is taken.
        may_wait: True if it may wait for somebody.

    Raises:
        ConnectError: if any phase fails; it says which.
    """
    try:
        found = (yield address) if may_wait else address()
    except gevent.Timeout:
        raise ConnectError("timeout (negotiate)", phase="negotiate") from None
    parts = urlsplit(found.url)
    host, is_secure = parts.hostname or "", parts.scheme == "wss"
    port = parts.port or (443 if is_secure else 80)
    proxy = Proxy.for_host(host, is_secure=is_secure)
    watch = Stopwatch(clock_ns, "dns")
    sock: Any = None
    try:
        peer = (proxy.host, proxy.port) if proxy else (host, port)
        addresses = _addresses_in_digits(*peer) or (yield partial(resolve, *peer))
        opening = Opening(
            parts,
            subprotocol=subprotocol,
            headers={"User-Agent": USER_AGENT, **found.headers},
            nonce=secrets.token_bytes(16),
        )
        watch.begin("tcp")
        sock = yield from open_tcp(addresses)
        if proxy is not None:
            yield from _open_tunnel(sock, proxy, host, port)
        if is_secure:
            watch.begin("tls")
            stream: Stream = yield from _open_tls(sock, host, port)
        else:
            stream = Stream(sock)
        watch.begin("upgrade")
        rest = yield from _upgrade(sock, stream, opening)
        if isinstance(stream, TlsStream):
            _sessions(tls_context())[host, port] = (
                stream.session
            )  # TLS 1.3 sends it after the handshake
    except BaseException as error:
        if sock is not None:
            sock.close()
        match error:
            case Refused():
                raise ConnectError(str(error), phase=watch.phase, status=error.status) from None
            case OSError() | RemoteProtocolError() | ProxyRefused() | UnicodeError():
                raise ConnectError(outcome(error, watch.phase), phase=watch.phase) from error
            case gevent.Timeout():
                raise ConnectError(f"timeout ({watch.phase})", phase=watch.phase) from None
        raise
    return watch.dialed(stream, rest)

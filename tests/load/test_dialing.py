"""Opening a connection: phases add up, failures are short stable texts, TLS and proxies work."""

import contextlib
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest
import trustme
from gevent import socket
from gevent.server import StreamServer
from hypothesis import given
from hypothesis import strategies as st
from serving import DEADLINE_S, StandIn

from wpsload import dialing, websocket_client
from wpsload.clock import clock_ns
from wpsload.dialing import Address, Dialed, wait_through
from wpsload.errors import ConnectError
from wpsload.subprotocol import JSON_V1
from wpsload.websocket_client import BufferedSocket


def dial_step_by_step(address: Address) -> Dialed:
    """Our own, in this greenlet."""
    steps = dialing.dial(lambda: address, may_wait=False, subprotocol=JSON_V1, clock_ns=clock_ns)
    return wait_through(steps)


def dial_with_websocket_client(address: Address) -> Dialed:
    """That of websocket-client."""
    return websocket_client.dial(address, subprotocol=JSON_V1, clock_ns=clock_ns)


_dial: Callable[[Address], Dialed] = dial_step_by_step


@pytest.fixture(
    scope="module", params=[dial_step_by_step, dial_with_websocket_client], autouse=True
)
def way(request: pytest.FixtureRequest) -> None:
    """All tests of this module hold for our dialing, and for that of websocket-client."""
    globals()["_dial"] = request.param


def dial(url: str, *, timeout_s: float = DEADLINE_S) -> Dialed:
    """Dial as a PubSub client."""
    with gevent.Timeout(timeout_s):
        return _dial(Address(url, {}))


def url_of(stand_in: StandIn, scheme: str, address: str) -> str:
    """A client URL of the stand-in as it is reached by another address."""
    token = stand_in.token(aud=f"http://{address}/client/hubs/{stand_in.hub}")
    return f"{scheme}://{address}/client/hubs/{stand_in.hub}?access_token={token}"


def hang_up(dialed: Dialed) -> None:
    """Close without a handshake."""
    dialed.transport.close()


def pump(source: Any, sink: Any) -> None:
    """Copy bytes one way until the source ends."""
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def splice(one: Any, other: Any) -> None:
    """Copy bytes both ways until both ends are closed."""
    both = [gevent.spawn(pump, one, other), gevent.spawn(pump, other, one)]
    gevent.joinall(both)
    other.close()


@pytest.fixture
def tls_url(stand_in: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A `wss://` URL of the stand-in, behind TLS with a certificate of its own authority."""
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)

    def forward(client: Any, _: Any) -> None:
        splice(client, socket.create_connection(("127.0.0.1", stand_in.port)))

    server = StreamServer(("127.0.0.1", 0), forward, ssl_context=context)
    server.start()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    dialing.tls_context.cache_clear()
    yield url_of(stand_in, "wss", f"localhost:{server.server_port}")
    server.stop()
    dialing.tls_context.cache_clear()


@pytest.fixture
def proxy(stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bytes]]:
    """An HTTP proxy that the environment names; the requests it got. All names lead to us."""
    requests: list[bytes] = []

    def tunnel(client: Any, _: Any) -> None:
        request = b""
        while not request.endswith(b"\r\n\r\n"):
            request += client.recv(1)
        requests.append(request)
        port = int(request.split(b" ")[1].rpartition(b":")[2])
        client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        splice(client, socket.create_connection(("127.0.0.1", port)))

    server = StreamServer(("127.0.0.1", 0), tunnel)
    server.start()
    for variable in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(variable, f"http://user:word@127.0.0.1:{server.server_port}")
    monkeypatch.delenv("no_proxy", raising=False)
    yield requests
    server.stop()


def test_phases_add_up(stand_in: StandIn) -> None:
    """The four phases are consecutive: together they are the time from start to upgrade."""
    dialed = dial(stand_in.client_url())
    hang_up(dialed)
    assert sum(dialed.phases_ns.values()) == dialed.upgraded_ns - dialed.started_ns
    assert list(dialed.phases_ns) == ["dns", "tcp", "tls", "upgrade"]
    assert dialed.phases_ns["tls"] == 0
    assert min(dialed.phases_ns["tcp"], dialed.phases_ns["upgrade"]) > 0


def test_tls_is_a_phase(tls_url: str) -> None:
    """With TLS its handshake has its own time, and the phases still add up."""
    dialed = dial(tls_url)
    hang_up(dialed)
    assert dialed.phases_ns["tls"] > 0
    assert sum(dialed.phases_ns.values()) == dialed.upgraded_ns - dialed.started_ns


def test_an_untrusted_certificate_is_named(tls_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate of an unknown authority is a failure of the TLS phase."""
    monkeypatch.delenv("SSL_CERT_FILE")
    dialing.tls_context.cache_clear()
    with pytest.raises(ConnectError, match="TLS certificate: ") as caught:
        dial(tls_url)
    assert caught.value.phase == "tls"


def test_a_refused_token_has_its_status(stand_in: StandIn) -> None:
    """The service's HTTP status is the failure, without headers, body or URL."""
    with pytest.raises(ConnectError) as caught:
        dial(stand_in.client_url()[:-3])
    assert (caught.value.outcome, caught.value.status) == ("HTTP 401", 401)
    assert caught.value.phase == "upgrade"
    assert "access_token" not in repr(caught.value.__cause__)


def test_nobody_listens() -> None:
    """A closed port is `connection refused`, in the phase that met it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(ConnectError, match="connection refused") as caught:
        dial(f"ws://127.0.0.1:{port}/client/hubs/load")
    assert caught.value.phase == "tcp"


def test_unknown_host() -> None:
    """A name that does not resolve is `host not found`."""
    with pytest.raises(ConnectError, match="host not found") as caught:
        dial("ws://nothing.invalid/client/hubs/load")
    assert caught.value.phase == "dns"


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (b"SSH-2.0-OpenSSH\r\n\r\n", "invalid handshake"),
        (b"HTTP/1.1\r\n\r\n", "invalid handshake"),
        (b"HTTP/1.1 \xb2\xb2\xb2\r\n\r\n", "invalid handshake"),
        (b"HTTP/1.1 x y\r\n\r\n", "invalid handshake"),
        (b"", "connection reset"),
    ],
)
def test_not_a_websocket_server(answer: bytes, outcome: str) -> None:
    """A peer that speaks something else, or nothing, is a failure of the upgrade."""

    def reply(client: Any, _: Any) -> None:
        client.recv(65536)
        client.sendall(answer)
        client.close()

    server = StreamServer(("127.0.0.1", 0), reply)
    server.start()
    with pytest.raises(ConnectError, match=outcome) as caught:
        dial(f"ws://127.0.0.1:{server.server_port}/client/hubs/load")
    server.stop()
    assert caught.value.phase == "upgrade"


def test_a_silent_server_is_a_timeout() -> None:
    """A server that accepts and says nothing ends in a timeout of the upgrade."""
    with (
        socket.create_server(("127.0.0.1", 0)) as server,  # the kernel accepts, nobody answers
        pytest.raises(ConnectError, match=r"timeout \(upgrade\)"),
    ):
        dial(f"ws://127.0.0.1:{server.getsockname()[1]}/", timeout_s=0.2)


def test_the_environment_names_a_proxy(stand_in: StandIn, proxy: list[bytes]) -> None:
    """A host beyond the loopback is reached through the proxy, its password sent to it alone."""
    dialed = dial(url_of(stand_in, "ws", f"hub.example:{stand_in.port}"))
    hang_up(dialed)
    assert sum(dialed.phases_ns.values()) == dialed.upgraded_ns - dialed.started_ns
    (request,) = proxy
    assert request.startswith(f"CONNECT hub.example:{stand_in.port} HTTP/1.1\r\n".encode())
    assert b"Proxy-Authorization: Basic dXNlcjp3b3Jk" in request


def test_loopback_needs_no_proxy(stand_in: StandIn, proxy: list[bytes]) -> None:
    """The stand-in is reached directly whatever the environment says."""
    hang_up(dial(stand_in.client_url()))
    assert proxy == []


def test_a_tls_session_is_resumed(tls_url: str) -> None:
    """A second connection to a service spares the certificates, as browsers do."""
    transports = [dial_step_by_step(Address(tls_url, {})).transport for _ in range(2)]
    assert [one.is_resumed for one in transports] == [False, True]
    for one in transports:
        one.close()


@given(steps=st.lists(st.tuples(st.binary(min_size=1, max_size=20), st.lists(st.integers(1, 9)))))
def test_buffered_reads_are_the_stream(steps: list[tuple[bytes, list[int]]]) -> None:
    """However the bytes come in and are asked for, they come out whole and in order."""
    one, other = socket.socketpair()
    sent, read = b"", b""
    with one, other:
        reader = BufferedSocket(other)
        for chunk, sizes in steps:
            one.sendall(chunk)
            sent += chunk
            for size in sizes:
                if len(read) < len(sent):
                    piece = reader.recv(size)
                    assert 0 < len(piece) <= size
                    read += piece
        one.shutdown(socket.SHUT_WR)
        while piece := reader.recv(7):
            read += piece
    assert read == sent

"""Autobahn|Testsuite's cases, by number: the stand-in as server, any echoing client as client.

`python tests/autobahn_suite.py` asks the suite itself.
"""

import base64
import hashlib
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import BinaryIO
from urllib.parse import urlsplit

import pytest
from autobahn_cases import CASES, Case, play
from autobahn_suite import ECHO_CLIENTS
from serving import DEADLINE_S, StandIn

BY_NUMBER = [pytest.param(case, id=case.number) for case in CASES]


def test_each_case_is_there_once() -> None:
    """A number stands for one case."""
    assert len({case.number for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", BY_NUMBER)
def test_the_stand_in_as_server(shared_stand_in: StandIn, case: Case) -> None:
    """The stand-in passes the case, and ends the TCP connection without being asked to."""
    group = f"autobahn-{case.number}"
    url = shared_stand_in.client_url(groups=[group], webpubsub_mode="sendToGroup", group=group)
    address = urlsplit(url)
    assert address.hostname is not None
    with (
        socket.create_connection((address.hostname, address.port or 80), DEADLINE_S) as connection,
        connection.makefile("rb") as arrived,
    ):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        request = (
            f"GET {address.path}?{address.query} HTTP/1.1",
            f"Host: {address.netloc}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Version: 13",
        )
        connection.sendall("\r\n".join((*request, "", "")).encode())
        assert arrived.readline().split()[1] == b"101"
        while arrived.readline() != b"\r\n":
            pass
        play(case, connection, arrived, is_client=True)
        assert arrived.read() == b""


@pytest.fixture(scope="module")
def listener() -> Iterator[socket.socket]:
    """Where echoing clients connect to."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(DEADLINE_S)
        yield listening


def _is_for(client: str, case: Case) -> bool:
    """`websockets` closes for a mistake before its user has echoed what came with it, and does not
    take a close frame within a message; the suite says so too (NON-STRICT, and FAILED for 7.1.5).
    """
    is_late = case.answers and not case.closing
    return client != "websockets" or not (is_late or case.number == "7.1.5")


@pytest.mark.parametrize(
    ("echo_client", "case"),
    [
        pytest.param(echo_client, case, id=f"{name}-{case.number}")
        for name, echo_client in ECHO_CLIENTS.items()
        for case in CASES
        if _is_for(name, case)
    ],
)
def test_an_echoing_client(
    listener: socket.socket, echo_client: Callable[[str], None], case: Case
) -> None:
    """The client passes the case, and returns when its connection is over."""
    with ThreadPoolExecutor(1) as thread:
        client = thread.submit(echo_client, f"ws://127.0.0.1:{listener.getsockname()[1]}/")
        connection, _ = listener.accept()
        connection.settimeout(DEADLINE_S)
        with connection, connection.makefile("rb") as arrived:
            _accept(connection, arrived)
            play(case, connection, arrived, is_client=False)
        client.result(DEADLINE_S)


def _accept(connection: socket.socket, arrived: BinaryIO) -> None:
    """Answer the opening handshake. Source: RFC 6455, 4.2.2."""
    key = b""
    while (line := arrived.readline()) != b"\r\n":
        name, _, value = line.partition(b":")
        if name.lower() == b"sec-websocket-key":
            key = value.strip()
    digest = hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11")  # noqa: S324  # as the RFC
    answer = (
        b"HTTP/1.1 101 Switching Protocols",
        b"Upgrade: websocket",
        b"Connection: Upgrade",
        b"Sec-WebSocket-Accept: " + base64.b64encode(digest.digest()),
    )
    connection.sendall(b"\r\n".join((*answer, b"", b"")))

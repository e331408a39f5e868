"""The opening handshake: what `websockets` accepts, and only the response to it is a way in."""

import base64
import contextlib
import hashlib
import itertools
from collections.abc import Mapping
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.http11 import Request
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from wpsload.errors import RemoteProtocolError
from wpsload.opening import Opening, Refused
from wpsload.subprotocol import JSON_V1

NONCE = bytes(range(16))
ACCEPT = base64.b64encode(
    hashlib.sha1(  # noqa: S324  # RFC 6455 demands it
        base64.b64encode(NONCE) + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    ).digest()
).decode()
URL = "ws://host.example/client/hubs/load?access_token=a.b.c"
HEADERS = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Accept": ACCEPT,
    "Sec-WebSocket-Protocol": JSON_V1,
}


def opening(
    url: str = URL, *, subprotocol: str | None = JSON_V1, headers: dict[str, str] | None = None
) -> Opening:
    """One handshake with a known nonce."""
    return Opening(urlsplit(url), subprotocol=subprotocol, headers=headers or {}, nonce=NONCE)


def response(
    status: str = "HTTP/1.1 101 Switching Protocols",
    changes: Mapping[str, str | None] | None = None,
) -> bytes:
    """The right response, but for `changes`; a header that is None is left out."""
    headers = {**HEADERS, **(changes or {})}
    lines = [f"{name}: {value}" for name, value in headers.items() if value is not None]
    return "\r\n".join((status, *lines, "", "")).encode("latin-1")


@pytest.mark.parametrize("subprotocol", [JSON_V1, None])
@pytest.mark.parametrize(
    "url",
    [
        URL,
        "ws://host.example",
        "wss://host.example:8443/?a=b",
        "ws://[::1]:8080/client",
        "ws://host.example/with space/and ü?q=ä&r=%20%zz",
    ],
)
def test_a_stranger_accepts_the_request(url: str, subprotocol: str | None) -> None:
    """Another implementation reads the request, accepts it, and its response is taken."""
    offered = None if subprotocol is None else [Subprotocol(subprotocol)]
    server = ServerProtocol(subprotocols=offered)
    ours = opening(url, subprotocol=subprotocol, headers={"Authorization": "Bearer a.b"})
    server.receive_data(ours.request)
    (request,) = server.events_received()
    assert isinstance(request, Request)
    assert request.headers["Authorization"] == "Bearer a.b"
    answer = server.accept(request)
    assert answer.status_code == 101
    server.send_response(answer)
    server.send_text(b"first")
    data = b"".join(server.data_to_send())
    assert ours.feed(data) == b"\x81\x05first"


@pytest.mark.parametrize(
    ("url", "first", "host"),
    [
        ("ws://host.example", "/", "host.example"),
        ("ws://host.example?a=b", "/?a=b", "host.example"),
        ("ws://host.example:80/x", "/x", "host.example"),
        ("ws://host.example:443/x", "/x", "host.example:443"),
        ("wss://host.example:443/x", "/x", "host.example"),
        ("wss://host.example:80/x", "/x", "host.example:80"),
        ("ws://HOST.example:8080/X", "/X", "host.example:8080"),
        ("ws://[::1]/x", "/x", "[::1]"),
        ("wss://[2001:db8::1]:8443/x", "/x", "[2001:db8::1]:8443"),
        ("ws://Дом.example/x", "/x", "xn--d1aqf.example"),
        ("ws://user:word@host.example/x", "/x", "host.example"),
        ("ws://host.example/x#fragment", "/x", "host.example"),
        ("ws://host.example/a b?c=ü", "/a%20b?c=%C3%BC", "host.example"),
        ("ws://host.example/%20?a=%2B+%zz", "/%20?a=%2B+%zz", "host.example"),
        ("ws://host.example/\x00\x7f", "/%00%7F", "host.example"),
    ],
)
def test_the_url_becomes_resource_and_host(url: str, first: str, host: str) -> None:
    """What is quoted stays as it is, what is not is quoted; a default port is left out."""
    lines = opening(url).request.decode("ascii").split("\r\n")
    assert lines[0] == f"GET {first} HTTP/1.1"
    assert lines[1] == f"Host: {host}"


@given(text=st.text(max_size=30))
def test_no_url_breaks_out_of_its_line(text: str) -> None:
    """Whatever a path or query holds, the request has the lines it always has."""
    lines = opening("ws://h/" + text.replace("#", "")).request.split(b"\r\n")
    assert len(lines) == len(opening().request.split(b"\r\n"))
    assert len(lines[0].split(b" ")) == 3
    assert all(0x20 < byte < 0x7F for byte in lines[0].split(b" ")[1])


@given(rest=st.binary(max_size=40), cuts=st.lists(st.integers(0, 250), max_size=8).map(sorted))
def test_any_split_of_the_response_is_the_same(rest: bytes, cuts: list[int]) -> None:
    """The end of the handshake is found, and what came behind it is handed on, whole."""
    data = response() + rest
    bounds = [0, *(min(cut, len(data)) for cut in cuts), len(data)]
    ours = opening()
    after = None
    for start, end in itertools.pairwise(bounds):
        piece = data[start:end]
        after = ours.feed(piece) if after is None else after + piece
    assert after == rest


@pytest.mark.parametrize("status", [200, 301, 400, 401, 403, 404, 429, 500, 503])
def test_another_status_is_a_refusal(status: int) -> None:
    """It is known by its number alone; text, headers and body may hold anything."""
    with pytest.raises(Refused) as caught:
        opening().feed(response(f"HTTP/1.1 {status} for access_token=x") + b"body")
    assert caught.value.status == status
    assert str(caught.value) == f"HTTP {status}"


@pytest.mark.parametrize(
    "status",
    [
        "SSH-2.0-OpenSSH",
        "",
        "HTTP/2 101",
        "HTTP/1.1",
        "HTTP/1.1 ",
        "HTTP/1.1 1o1 no",
        "HTTP/1.1 1",
        "HTTP/1.1 1011",
        "HTTP/1.1 \xb2\xb2\xb2",
        "HTTP/1.1  101",
        "http/1.1 101",
        "HTTP/1.\xb9 101",
    ],
)
def test_what_is_no_http_is_no_response(status: str) -> None:
    """Whatever else listens on that port is told apart from a service that refuses."""
    with pytest.raises(RemoteProtocolError, match="no HTTP response"):
        opening().feed(response(status))


@pytest.mark.parametrize(
    "changes",
    [
        {"Upgrade": None},
        {"Upgrade": "h2c"},
        {"Connection": None},
        {"Connection": "keep-alive"},
        {"Connection": "notUpgrade"},
        {"Sec-WebSocket-Accept": None},
        {"Sec-WebSocket-Accept": ACCEPT.lower()},
        {"Sec-WebSocket-Accept": f"{ACCEPT}\r\nSec-WebSocket-Accept: {ACCEPT}"},
        {"Sec-WebSocket-Protocol": "other"},
        {"Sec-WebSocket-Protocol": ""},
        {"Sec-WebSocket-Protocol": None},
        {"Sec-WebSocket-Extensions": "permessage-deflate"},
    ],
)
def test_the_response_to_another_handshake_is_refused(changes: dict[str, str | None]) -> None:
    """Each header is what the request asked for, or the two sides would not mean the same."""
    with pytest.raises(RemoteProtocolError, match="another handshake"):
        opening().feed(response(changes=changes))


def test_a_simple_client_asked_for_no_subprotocol() -> None:
    """So there is none in the response."""
    data = response(changes={"Sec-WebSocket-Protocol": None})
    assert opening(subprotocol=None).feed(data) == b""
    with pytest.raises(RemoteProtocolError, match="another handshake"):
        opening(subprotocol=None).feed(response())


@pytest.mark.parametrize(
    "changes",
    [
        {"Upgrade": "WebSocket"},
        {"Connection": "keep-alive, upgrade"},
        {"Connection": "keep-alive,Upgrade , x"},
        {"Connection": "Upgrade\r\nConnection: keep-alive"},
        {"Connection": "Upgrade\r\ncONNECTION:Upgrade"},
        {"Sec-WebSocket-Accept": f"  {ACCEPT}  "},
        {"X-Whatever": "no colon\r\nneeded"},
    ],
)
def test_what_http_allows_is_accepted(changes: dict[str, str | None]) -> None:
    """Case, space and repeated list headers mean nothing. Source: RFC 9110, 5.3 and 5.6."""
    assert opening().feed(response(changes=changes)) == b""


@given(size=st.integers(100, 70_000))
def test_a_head_without_an_end_is_bounded(size: int) -> None:
    """A peer that goes on and on is given up, whatever the size of its pieces."""
    ours = opening()
    for _ in range(64 * 1024 // size):
        assert ours.feed(b"x" * size) is None
    with pytest.raises(RemoteProtocolError, match="without an end"):
        ours.feed(b"x" * size)


@given(
    pieces=st.lists(
        st.binary(max_size=20)
        | st.sampled_from([b"HTTP/1.1 ", b"101", b" \r\n", b"\r\n\r\n", b":", b"\xb2\xb3"])
    )
)
def test_random_bytes_are_refused_and_nothing_else(pieces: list[bytes]) -> None:
    """No response, however odd, ends in another error than those that are told."""
    ours = opening()
    with contextlib.suppress(RemoteProtocolError, Refused):
        for piece in pieces:
            assert ours.feed(piece) is None

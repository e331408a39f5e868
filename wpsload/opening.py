"""The opening handshake of a WebSocket client, without I/O. RFC 6455, section 4.

`Opening` gives the request and reads the response, in any pieces. No extension is ever offered.
"""

import base64
import hashlib
import re
from collections.abc import Mapping
from functools import cache
from urllib.parse import SplitResult, quote, urlsplit

from wpsload.errors import RemoteProtocolError

__all__ = ["Opening", "Refused"]

_ACCEPT_SUFFIX = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3
_HEAD_END = b"\r\n\r\n"
_MAX_HEAD_BYTES = 64 * 1024
_STATUS_LINE = re.compile(r"HTTP/1\.[0-9] ([0-9]{3})(?: .*)?", re.DOTALL)  # RFC 9112, 4
_SWITCHING_PROTOCOLS = 101
_DEFAULT_PORTS = {"ws": 80, "wss": 443}
_KEPT = "".join(map(chr, range(0x21, 0x7F)))
_STRAY = re.compile(r"[^\x21-\x7e]")  # a URL is quoted already, but for what a user typed


class Refused(Exception):
    """The service answered with an HTTP status other than 101."""

    def __init__(self, status: int) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status


class Opening:
    """One handshake.

    Args:
        url: the parts of a `ws` or `wss` URL.
        subprotocol: what to ask for, None for a simple client.
        headers: sent in addition; they may hold a token.
        nonce: 16 random bytes.

    Raises:
        UnicodeError: if the host of the URL cannot be a name.
    """

    def __init__(
        self,
        url: SplitResult,
        *,
        subprotocol: str | None,
        headers: Mapping[str, str],
        nonce: bytes,
    ) -> None:
        self._subprotocol = subprotocol
        self._key = base64.b64encode(nonce)
        self._head = b""
        lines = [
            f"GET {_resource(url)} HTTP/1.1",
            f"Host: {_host(url.scheme, url.netloc)}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {self._key.decode()}",
            "Sec-WebSocket-Version: 13",
            *([f"Sec-WebSocket-Protocol: {subprotocol}"] if subprotocol else []),
            *(f"{name}: {value}" for name, value in headers.items()),
        ]
        self.request = "\r\n".join((*lines, "", "")).encode("latin-1")

    def feed(self, data: bytes) -> bytes | None:
        """Read `data`; once the handshake is done, what came after it, otherwise None.

        Raises:
            Refused: if the status is not 101.
            RemoteProtocolError: if it is no response to this request.
        """
        self._head += data
        end = self._head.find(_HEAD_END)
        if end < 0:
            if len(self._head) > _MAX_HEAD_BYTES:
                raise RemoteProtocolError("response without an end", close_code=1002)
            return None
        self._check(self._head[:end])
        return self._head[end + len(_HEAD_END) :]

    def _check(self, head: bytes) -> None:
        first, *lines = head.decode("latin-1").split("\r\n")
        found = _STATUS_LINE.fullmatch(first)
        if found is None:
            raise RemoteProtocolError("no HTTP response", close_code=1002)
        status = int(found[1])
        if status != _SWITCHING_PROTOCOLS:
            raise Refused(status)
        headers: dict[str, str] = {}
        for line in lines:
            name, _, value = line.partition(":")
            key, value = name.strip().lower(), value.strip()
            # A repeated header is a list in parts. Source: RFC 9110, 5.3.
            headers[key] = f"{headers[key]}, {value}" if key in headers else value
        accept = base64.b64encode(hashlib.sha1(self._key + _ACCEPT_SUFFIX).digest())  # noqa: S324  # RFC 6455, 4.2.2
        tokens = [token.strip() for token in headers.get("connection", "").lower().split(",")]
        if not (
            headers.get("upgrade", "").lower() == "websocket"
            and "upgrade" in tokens
            and headers.get("sec-websocket-accept") == accept.decode()
            and headers.get("sec-websocket-protocol") == self._subprotocol
            and "sec-websocket-extensions" not in headers
        ):
            raise RemoteProtocolError("response to another handshake", close_code=1002)


def _resource(url: SplitResult) -> str:
    target = f"{url.path or '/'}?{url.query}" if url.query else url.path or "/"
    return quote(target, safe=_KEPT) if _STRAY.search(target) else target


@cache
def _host(scheme: str, netloc: str) -> str:
    url = urlsplit(f"//{netloc}")
    host = url.hostname or ""
    name = f"[{host}]" if ":" in host else host.encode("idna").decode()
    return name if url.port in (None, _DEFAULT_PORTS.get(scheme)) else f"{name}:{url.port}"

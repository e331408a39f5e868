"""A WebSocket client that keeps every frame: the sans-I/O core of `websockets` over a socket.

The stand-in's frames are judged by an independent implementation, and nothing is hidden: messages
that arrive after our own close frame are kept as well, until the close frame of the stand-in.
"""

import json
import socket
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from serving import DEADLINE_S
from websockets.client import ClientProtocol
from websockets.exceptions import InvalidStatus
from websockets.extensions import ClientExtensionFactory
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

__all__ = ["JSON_V1", "RawClient", "refused"]

JSON_V1 = Subprotocol("json.webpubsub.azure.v1")


class RawClient:
    """One connection to `url`; entering it opens the connection, leaving it drops it.

    `response` is the answer to the handshake.
    """

    response: Response

    def __init__(
        self,
        url: str,
        *,
        subprotocols: Sequence[Subprotocol] | None = (JSON_V1,),
        extensions: Sequence[ClientExtensionFactory] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        self._uri = parse_uri(url)
        self._headers = headers or {}
        self._protocol = ClientProtocol(
            self._uri, subprotocols=subprotocols, extensions=extensions, max_size=None
        )
        self._frames: list[Frame] = []

    def __enter__(self) -> Self:
        self._socket = socket.create_connection((self._uri.host, self._uri.port), DEADLINE_S)
        try:
            request = self._protocol.connect()
            request.headers.update(self._headers)
            self._protocol.send_request(request)
            self._flush()
            while self._is_connecting():
                self._fill()
        except BaseException:
            self._socket.close()
            raise
        if self._protocol.handshake_exc is not None:
            self._socket.close()
            raise self._protocol.handshake_exc
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._socket.close()

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol that the stand-in chose."""
        return self._protocol.subprotocol

    @property
    def extensions(self) -> Sequence[object]:
        """The extensions that the stand-in agreed to."""
        return self._protocol.extensions

    @property
    def close_code(self) -> int:
        """The close code the stand-in has sent, 1006 if there was none."""
        received = self._protocol.close_rcvd
        return received.code if received is not None else 1006

    def send(self, message: str | bytes | dict[str, Any]) -> None:
        """Send a text frame (str, or a dict as JSON) or a binary frame (bytes)."""
        match message:
            case bytes():
                self._protocol.send_binary(message)
            case str():
                self._protocol.send_text(message.encode())
            case dict():
                self._protocol.send_text(json.dumps(message).encode())
        self._flush()

    def send_unchecked(self, opcode: Opcode, payload: bytes, *, mask: bool = True) -> None:
        """Send one frame that a careful client would not send."""
        self._socket.sendall(Frame(opcode, payload).serialize(mask=mask))

    def start_close(self, code: int = 1000) -> None:
        """Send a close frame, and go on reading."""
        self._protocol.send_close(code)
        self._flush()

    def frame(self) -> Frame:
        """The next frame of any kind; `EOFError` after the last one."""
        while not self._frames:
            self._fill()
        return self._frames.pop(0)

    def payload(self) -> str | bytes:
        """The next message: str of a text frame, bytes of a binary one."""
        while True:
            frame = self.frame()
            if frame.opcode is Opcode.TEXT:
                return bytes(frame.data).decode()
            if frame.opcode is Opcode.BINARY:
                return bytes(frame.data)
            if frame.opcode is Opcode.CLOSE:
                raise EOFError("closed")

    def message(self) -> dict[str, Any]:
        """The next text frame as JSON."""
        message: dict[str, Any] = json.loads(self.payload())
        return message

    def messages_to_end(self) -> list[str | bytes]:
        """All messages until the close frame or the end of the connection."""
        messages: list[str | bytes] = []
        while True:
            try:
                messages.append(self.payload())
            except EOFError:
                return messages

    def wait_closed(self) -> None:
        """Read until the stand-in ends the TCP connection."""
        while True:
            try:
                self.frame()
            except EOFError:
                return

    def _is_connecting(self) -> bool:
        return self._protocol.state is State.CONNECTING and self._protocol.handshake_exc is None

    def _fill(self) -> None:
        try:
            data = self._socket.recv(1 << 16)
        except ConnectionResetError:
            data = b""
        if data:
            self._protocol.receive_data(data)
        else:
            self._protocol.receive_eof()
        for event in self._protocol.events_received():
            if isinstance(event, Response):
                self.response = event
            elif isinstance(event, Frame):
                self._frames.append(event)
        self._flush()
        if not data and not self._frames:
            raise EOFError("the connection ended")

    def _flush(self) -> None:
        try:
            for data in self._protocol.data_to_send():
                if data:
                    self._socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass  # what the stand-in still said can be read


def refused(url: str, *, headers: dict[str, str] | None = None) -> Response:
    """The answer to a handshake that must be refused."""
    try:
        with RawClient(url, headers=headers):
            raise AssertionError("the handshake was accepted")
    except InvalidStatus as error:
        return error.response

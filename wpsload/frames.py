"""WebSocket frames, both roles, without I/O: bytes in, messages out, and back. RFC 6455.

`encode` gives the bytes of one frame. A `FrameReader` takes what the transport read, in any pieces,
and gives whole messages and control frames. It holds at most one message within its limit and the
frame that is under way; what breaks the protocol ends it, with the close code that answers it.
Extensions are never negotiated here, so their bits are refused.
"""

from collections.abc import Callable
from struct import Struct

__all__ = [
    "BINARY",
    "CLOSE",
    "LONGEST_CONTROL_BYTES",
    "MEDIUM_BYTES",
    "NO_STATUS",
    "PING",
    "PONG",
    "PROTOCOL_ERROR",
    "SHORT_BYTES",
    "TEXT",
    "TOO_BIG",
    "FrameError",
    "FrameReader",
    "Message",
    "check_text",
    "close_payload",
    "encode",
    "header",
    "masked",
    "payload_bytes",
    "read_close",
]

# Opcodes. Plain integers: they are compared once for every frame. Source: RFC 6455, 5.2.
_CONTINUATION = 0
TEXT = 1
BINARY = 2
CLOSE = 8
PING = 9
PONG = 10
_DATA_OPCODES = frozenset((_CONTINUATION, TEXT, BINARY))
_CONTROL_OPCODES = frozenset((CLOSE, PING, PONG))
_FINAL = 0x80
_WHOLE_TEXT = _FINAL | TEXT  # the first byte of nearly every frame

Message = tuple[int, bytes]
"""The opcode and the whole payload of a message or of a control frame."""

NO_STATUS = 1005
"""What `read_close` gives for a close frame without a code. Source: RFC 6455, 7.1.5."""

PROTOCOL_ERROR = 1002
_NOT_UTF8 = 1007
TOO_BIG = 1009
# Codes that a close frame may carry. Source: RFC 6455, 7.4.2, and the registry it founded.
_CLOSE_CODES = frozenset((*range(1000, 1004), *range(1007, 1015)))
_PRIVATE_CLOSE_CODES = range(3000, 5000)

_MASKED = 0x80
SHORT_BYTES = 125
"""The longest payload whose size fits into the second byte."""

MEDIUM_BYTES = 65535
"""The longest payload whose size fits into the two bytes behind it."""

LONGEST_CONTROL_BYTES = SHORT_BYTES
_short_head = Struct("!BB").pack
_SHORT_TEXT_HEADS = tuple(_short_head(_WHOLE_TEXT, size) for size in range(SHORT_BYTES + 1))
_medium_head = Struct("!BBH").pack
_long_head = Struct("!BBQ").pack

_XOR_TABLES = tuple(bytes(value ^ key for value in range(256)) for key in range(256))
_ONE_NUMBER_BYTES = 1024  # longer payloads are masked faster by table than as one number
# Times a key of four bytes, seen as a number: the key, repeated that often.
_REPEAT = tuple(sum(1 << 32 * i for i in range(n)) for n in range(_ONE_NUMBER_BYTES // 4 + 1))


def encode(opcode: int, payload: bytes, *, mask_key: bytes | None = None) -> bytes:
    """The bytes of one whole frame; masked, as clients must, with the four bytes of `mask_key`.

    Source: RFC 6455, 5.2 and 5.3.
    """
    size = len(payload)
    if mask_key is None:
        if opcode == TEXT and size <= SHORT_BYTES:  # most of what a server writes
            return _SHORT_TEXT_HEADS[size] + payload
        return header(opcode, size, is_masked=False) + payload
    return header(opcode, size, is_masked=True) + mask_key + masked(payload, mask_key)


def header(opcode: int, size_bytes: int, *, is_masked: bool) -> bytes:
    """What a whole frame with a payload of `size_bytes` starts with, up to the mask key.

    Source: RFC 6455, 5.2.
    """
    mask_bit = _MASKED if is_masked else 0
    if size_bytes <= SHORT_BYTES:
        return _short_head(_FINAL | opcode, mask_bit | size_bytes)
    if size_bytes <= MEDIUM_BYTES:
        return _medium_head(_FINAL | opcode, mask_bit | 126, size_bytes)
    return _long_head(_FINAL | opcode, mask_bit | 127, size_bytes)


def payload_bytes(frame_bytes: int) -> int:
    """The size of the payload in a masked frame of `frame_bytes` bytes that `encode` gave."""
    if frame_bytes < 126 + 6:
        return frame_bytes - 6
    return frame_bytes - 8 if frame_bytes < 65536 + 8 else frame_bytes - 14


def masked(payload: bytes, key: bytes) -> bytes:
    """`payload` masked with the four bytes of `key`, or unmasked: it is the same. RFC 6455, 5.3."""
    size = len(payload)
    if size > _ONE_NUMBER_BYTES:
        result = bytearray(payload)
        for offset in range(4):
            result[offset::4] = result[offset::4].translate(_XOR_TABLES[key[offset]])
        return bytes(result)
    words = (size + 3) // 4
    keys = int.from_bytes(key, "little") * _REPEAT[words]
    number = int.from_bytes(payload, "little") ^ keys
    return number.to_bytes(words * 4, "little")[:size]


def close_payload(code: int, reason: str = "") -> bytes:
    """The payload of a close frame; a reason that is too long for it is cut.

    Source: RFC 6455, 5.5.1.
    """
    text = reason.encode()[: LONGEST_CONTROL_BYTES - 2].decode(errors="ignore")
    return code.to_bytes(2, "big") + text.encode()


def read_close(payload: bytes) -> tuple[int, str]:
    """Code and reason of a close frame that a `FrameReader` gave; 1005 if it has no code."""
    if not payload:
        return NO_STATUS, ""
    return int.from_bytes(payload[:2], "big"), payload[2:].decode()


class FrameError(Exception):
    """The peer broke RFC 6455; `close_code` is how to answer."""

    def __init__(self, message: str, close_code: int = PROTOCOL_ERROR) -> None:
        super().__init__(message)
        self.close_code = close_code


class FrameReader:
    """Reads the frames of one peer.

    Args:
        is_peer_client: frames of a client must be masked, those of a server must not.
        max_message_bytes: largest message, assembled; a larger one is an error with code 1009
            as soon as its header is in.
        unmask: gives a payload unmasked with a key of four bytes.

    `error` is None until the peer breaks the protocol; after that nothing more is read.
    `is_between_messages` is True while nothing is held of a message that has begun.
    """

    __slots__ = (
        "_held",
        "_is_peer_client",
        "_message",
        "_needed_bytes",
        "_opcode",
        "_quick_bytes",
        "_unmask",
        "error",
        "is_between_messages",
        "max_message_bytes",
    )

    def __init__(
        self,
        *,
        is_peer_client: bool,
        max_message_bytes: int,
        unmask: Callable[[bytes, bytes], bytes] = masked,
    ) -> None:
        self._unmask = unmask
        self._is_peer_client = is_peer_client
        self.max_message_bytes = max_message_bytes
        self._held = bytearray()  # the frame that is under way
        self._needed_bytes = 0  # of that frame, as far as is known
        self._message = bytearray()  # its fragments so far
        self._opcode = _CONTINUATION  # of the message that is under way
        self.is_between_messages = True
        # Payloads of up to this size may come by the short way through `feed`; masked ones do not.
        self._quick_bytes = -1 if is_peer_client else min(SHORT_BYTES, max_message_bytes)
        self.error: FrameError | None = None

    def feed(self, data: bytes) -> list[Message]:
        """What `data` completes, in order. What comes before an error is still given."""
        size = len(data) - 2
        if (
            # One short message, such as an ack, and nothing else: the client's usual case.
            self.is_between_messages
            and 0 <= size <= self._quick_bytes
            and data[0] == _WHOLE_TEXT
            and data[1] == size
        ):
            payload = data[2:]
            if payload.isascii():
                return [(TEXT, payload)]
        elif (
            # One masked message of some more bytes and nothing else: the server's usual case.
            self._is_peer_client
            and self.is_between_messages
            and 6 <= size <= self.max_message_bytes
            and data[0] == _WHOLE_TEXT
            and data[1] == _MASKED | 126
            and data[2] << 8 | data[3] == size - 6
        ):
            payload = self._unmask(data[8:], data[4:8])
            if payload.isascii():
                return [(TEXT, payload)]
        return self._feed(data)

    def _feed(self, data: bytes) -> list[Message]:
        if self.error is not None:
            return []
        if self._held:
            self._held += data
            if len(self._held) < self._needed_bytes:
                return []
            data = bytes(self._held)
            self._held.clear()
        messages: list[Message] = []
        try:
            rest = self._read(data, messages)
        except FrameError as error:
            self.error = error
            self._message.clear()
            rest = len(data)
        if rest < len(data):
            self._held += data[rest:]
        self.is_between_messages = not (self._held or self._opcode or self.error)
        return messages

    def _read(  # noqa: C901, PLR0912  # in one piece: a call costs a fifth of a frame
        self, data: bytes, messages: list[Message]
    ) -> int:
        """Read whole frames of `data` into `messages`; where the first incomplete one starts."""
        start, end = 0, len(data)
        is_masked = self._is_peer_client
        mask_bit = _MASKED if is_masked else 0
        max_message_bytes = self.max_message_bytes
        while True:
            payload_start = start + 2
            if payload_start > end:
                self._needed_bytes = 2
                return start
            first = data[start]
            size = data[start + 1] ^ mask_bit
            if size > SHORT_BYTES:
                if size > 127:
                    raise FrameError("unmasked frame" if is_masked else "masked frame")
                payload_start += 2 if size == 126 else 8
                if payload_start > end:
                    self._needed_bytes = payload_start - start
                    return start
                if size == 126:
                    size = data[start + 2] << 8 | data[start + 3]
                else:
                    size = int.from_bytes(data[start + 2 : payload_start], "big")
            if first != _WHOLE_TEXT or size > max_message_bytes or self._opcode:
                self._check(first, size)
            if is_masked:
                payload_start += 4
            payload_end = payload_start + size
            if payload_end > end:
                self._needed_bytes = payload_end - start
                return start
            payload = data[payload_start:payload_end]
            if is_masked:
                payload = self._unmask(payload, data[payload_start - 4 : payload_start])
            start = payload_end
            if first == _WHOLE_TEXT:
                if not payload.isascii():
                    check_text(payload)
                messages.append((TEXT, payload))
            else:
                self._take(first, payload, messages)

    def _check(self, first: int, size: int) -> None:
        """Refuse a frame by its head alone, before its payload is waited for."""
        opcode = first & 0x0F
        if first & 0x70:
            raise FrameError("extension bits, but no extension")
        if opcode in _CONTROL_OPCODES:
            if size > LONGEST_CONTROL_BYTES or first < _FINAL:
                raise FrameError("control frame that is long or fragmented")
            return
        if opcode not in _DATA_OPCODES:
            raise FrameError("unknown opcode")
        if (opcode == _CONTINUATION) is not (self._opcode != _CONTINUATION):
            raise FrameError("fragment out of its message")
        if len(self._message) + size > self.max_message_bytes:
            raise FrameError("message too big", TOO_BIG)

    def _take(self, first: int, payload: bytes, messages: list[Message]) -> None:
        """A whole frame: a control frame, a message, or a part of one."""
        opcode = first & 0x0F
        if opcode in _CONTROL_OPCODES:
            if opcode == CLOSE:
                _check_close(payload)
            messages.append((opcode, payload))
            return
        if first < _FINAL:  # more of this message is to come
            self._opcode = opcode or self._opcode
            self._message += payload
            return
        if opcode == _CONTINUATION:
            self._message += payload
            payload = bytes(self._message)
            opcode, self._opcode = self._opcode, _CONTINUATION
            self._message.clear()
        if opcode == TEXT and not payload.isascii():
            check_text(payload)
        messages.append((opcode, payload))


def check_text(payload: bytes) -> None:
    """Refuse what is not UTF-8.

    Raises:
        FrameError: with close code 1007.
    """
    try:
        payload.decode()
    except UnicodeDecodeError:
        raise FrameError("text that is not UTF-8", _NOT_UTF8) from None


def _check_close(payload: bytes) -> None:
    """Source: RFC 6455, 5.5.1 and 7.4."""
    if not payload:
        return
    code = int.from_bytes(payload[:2], "big")
    if len(payload) == 1 or not (code in _CLOSE_CODES or code in _PRIVATE_CLOSE_CODES):
        raise FrameError("close frame with an invalid code")
    check_text(payload[2:])

"""Cases of Autobahn|Testsuite as data: what to send and what has to come back, in either role.

Each case carries the number of the one it re-expresses. The subject echoes text and binary messages
and answers pings; `play` is its peer, a client or a server as the subject is not. Nothing here uses
the frames of `wpsload`: a codec cannot be the judge of itself.

Left out are 12 and 13, because permessage-deflate is never negotiated, what is longer than the
service's limit of 1 MiB in 9, and 7.1.6, whose outcome the suite itself leaves open.
"""

import itertools
import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

__all__ = ["CASES", "Case", "play"]

FIN, TEXT, BINARY, CLOSE, PING, PONG = 0x80, 1, 2, 8, 9, 10
KEY = b"\x37\xfa\x21\x3d"
HELLO = b"Hello, world!"
ODD = b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff"
KOSME = bytes.fromhex("cebae1bdb9cf83cebcceb5")

FRAMES = 0
"""As `chop_bytes`: one write for each frame."""


class Frame(NamedTuple):
    """The first byte, with FIN, RSV and opcode, and the payload, unmasked."""

    first: int
    payload: bytes = b""


@dataclass(frozen=True, slots=True)
class Case:
    """What to send to a subject and what it has to answer.

    Attributes:
        number: that of Autobahn|Testsuite.
        frames: sent first.
        answers: then expected, in this order, and nothing else.
        closing: sent after that; nothing, if the subject has to close by itself.
        codes: what the subject's close frame may say; 1005 if it may say nothing.
        chop_bytes: size of each write of `frames`; None for a single one.
    """

    number: str
    frames: tuple[Frame, ...] = ()
    answers: tuple[Frame, ...] = ()
    closing: tuple[Frame, ...] = ()
    codes: tuple[int, ...] = (1000,)
    chop_bytes: int | None = None


def play(case: Case, connection: socket.socket, arrived: BinaryIO, *, is_client: bool) -> None:
    """Be the peer of one subject, after the handshake; AssertionError if it fails the case.

    `arrived` reads from `connection`. As a client the peer masks what it sends.
    """
    frames = [_encode(frame, is_masked=is_client) for frame in case.frames]
    closing = [_encode(frame, is_masked=is_client) for frame in case.closing]
    # It may close before it has read everything; then what it said counts.
    with suppress(BrokenPipeError, ConnectionResetError):
        for piece in _chop(frames, case.chop_bytes):
            connection.sendall(piece)
    for answer in case.answers:
        got = _read(arrived, is_masked=not is_client)
        assert got == answer, f"it answered {_shorten(got)}, expected {_shorten(answer)}"
    with suppress(BrokenPipeError, ConnectionResetError):
        connection.sendall(b"".join(closing))
    last = _read(arrived, is_masked=not is_client)
    assert last.first == FIN | CLOSE, f"it answered {_shorten(last)}, expected a close frame"
    code = int.from_bytes(last.payload[:2], "big") if last.payload else 1005
    assert code in case.codes, f"it closed with {code}, expected one of {case.codes}"


def _shorten(frame: Frame) -> str:
    return f"{frame.first:#x} {frame.payload[:40]!r} of {len(frame.payload)} bytes"


def _encode(frame: Frame, *, is_masked: bool) -> bytes:
    """Source: RFC 6455, 5.2."""
    size = len(frame.payload)
    mask_bit = 0x80 if is_masked else 0
    if size < 126:
        head = bytes((frame.first, mask_bit | size))
    elif size < 65536:
        head = bytes((frame.first, mask_bit | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((frame.first, mask_bit | 127)) + size.to_bytes(8, "big")
    return head + KEY + _xor(frame.payload) if is_masked else head + frame.payload


def _read(arrived: BinaryIO, *, is_masked: bool) -> Frame:
    head = arrived.read(2)
    assert len(head) == 2, "it ended the connection without a close frame"
    first, second = head
    assert (second & 0x80 > 0) is is_masked, "its mask bit is wrong"
    size = second & 0x7F
    if size > 125:
        size = int.from_bytes(arrived.read(2 if size == 126 else 8), "big")
    key = arrived.read(4) if is_masked else bytes(4)
    return Frame(first, _xor(arrived.read(size), key))


def _xor(payload: bytes, key: bytes = KEY) -> bytes:
    keys = (key * (len(payload) // 4 + 1))[: len(payload)]
    number = int.from_bytes(payload, "big") ^ int.from_bytes(keys, "big")
    return number.to_bytes(len(payload), "big")


def _chop(frames: list[bytes], chop_bytes: int | None) -> Iterator[bytes]:
    if chop_bytes == FRAMES:
        yield from frames
        return
    stream = b"".join(frames)
    step = chop_bytes or len(stream) or 1
    for start in range(0, len(stream), step):
        yield stream[start : start + step]


def text(payload: bytes) -> Frame:
    """A whole text message."""
    return Frame(FIN | TEXT, payload)


def ping(payload: bytes = b"") -> Frame:
    """A ping."""
    return Frame(FIN | PING, payload)


def pong(payload: bytes = b"") -> Frame:
    """A pong."""
    return Frame(FIN | PONG, payload)


def close(code: int, reason: bytes = b"") -> Frame:
    """A close frame."""
    return Frame(FIN | CLOSE, code.to_bytes(2, "big") + reason)


def parts(*payloads: bytes, opcode: int = TEXT) -> tuple[Frame, ...]:
    """A message in fragments."""
    last = len(payloads) - 1
    return tuple(
        Frame((FIN if i == last else 0) | (0 if i else opcode), payload)
        for i, payload in enumerate(payloads)
    )


def octets(payload: bytes) -> tuple[Frame, ...]:
    """A text message in fragments of one octet."""
    return parts(*(payload[i : i + 1] for i in range(len(payload))))


def echoed(number: str, *frames: Frame, chop_bytes: int | None = None) -> Case:
    """Each of these whole messages comes back, then we close."""
    return fine(number, *frames, answers=frames, chop_bytes=chop_bytes)


def fine(
    number: str,
    *frames: Frame,
    answers: tuple[Frame, ...] = (),
    chop_bytes: int | None = None,
) -> Case:
    """All is legal: the answers come, then we close."""
    return Case(number, frames, answers, (close(1000),), chop_bytes=chop_bytes)


def refused(
    number: str,
    *frames: Frame,
    answers: tuple[Frame, ...] = (),
    code: int = 1002,
    chop_bytes: int | None = None,
) -> Case:
    """The subject has to fail the connection, after these answers and no more."""
    return Case(number, frames, answers, codes=(code,), chop_bytes=chop_bytes)


def closed(
    number: str, *closing: Frame, codes: tuple[int, ...] = (1000,), frames: tuple[Frame, ...] = ()
) -> Case:
    """We close, and the subject answers with one of `codes` and nothing else."""
    return Case(number, frames, (), closing, codes)


def _lengths() -> Iterator[Case]:
    """1: text and binary messages of any length."""
    for group, opcode, fill in (("1.1", TEXT, b"*"), ("1.2", BINARY, b"\xfe")):
        sizes = (0, 125, 126, 127, 128, 65535, 65536, 65536)
        for i, size in enumerate(sizes, 1):
            chop_bytes = 997 if i == len(sizes) else None
            yield echoed(f"{group}.{i}", Frame(FIN | opcode, fill * size), chop_bytes=chop_bytes)


def _pings() -> Iterator[Case]:
    """2: pings and pongs."""
    for i, payload in enumerate((b"", HELLO, ODD, b"\xfe" * 125), 1):
        yield fine(f"2.{i}", ping(payload), answers=(pong(payload),))
    yield refused("2.5", ping(b"\xfe" * 126))
    yield fine("2.6", ping(b"\xfe" * 125), answers=(pong(b"\xfe" * 125),), chop_bytes=1)
    yield fine("2.7", pong())
    yield fine("2.8", pong(b"unsolicited pong payload"))
    unsolicited = pong(b"unsolicited pong payload")
    yield fine("2.9", unsolicited, ping(b"ping payload"), answers=(pong(b"ping payload"),))
    payloads = [f"payload-{i}".encode() for i in range(10)]
    for number, chop_bytes in (("2.10", None), ("2.11", 1)):
        pongs = tuple(map(pong, payloads))
        yield fine(number, *map(ping, payloads), answers=pongs, chop_bytes=chop_bytes)


def _reserved_bits() -> Iterator[Case]:
    """3: bits of extensions that were not negotiated."""
    yield refused("3.1", Frame(FIN | 0x10 | TEXT, HELLO))
    for number, bits, chop_bytes in (
        ("3.2", 0x20, None),
        ("3.3", 0x30, FRAMES),
        ("3.4", 0x40, 1),
    ):
        frames = (text(HELLO), Frame(FIN | bits | TEXT, HELLO), ping())
        yield refused(number, *frames, answers=frames[:1], chop_bytes=chop_bytes)
    yield refused("3.5", Frame(FIN | 0x50 | BINARY, ODD))
    yield refused("3.6", Frame(FIN | 0x60 | PING, HELLO))
    yield refused("3.7", Frame(FIN | 0x70 | CLOSE))


def _opcodes() -> Iterator[Case]:
    """4: opcodes that mean nothing."""
    for group, opcode in (("4.1", 3), ("4.2", 11)):
        yield refused(f"{group}.1", Frame(FIN | opcode))
        yield refused(f"{group}.2", Frame(FIN | opcode + 1, b"reserved opcode payload"))
        for i, payload, chop_bytes in ((3, b"", None), (4, HELLO, None), (5, HELLO, 1)):
            frames = (text(HELLO), Frame(FIN | opcode + i - 1, payload), ping())
            yield refused(f"{group}.{i}", *frames, answers=frames[:1], chop_bytes=chop_bytes)


def _fragments() -> Iterator[Case]:
    """5: fragments, and control frames between them."""
    one, two, three, four, five = (f"fragment{i}".encode() for i in range(1, 6))
    yield refused("5.1", *parts(one, two, opcode=PING))
    yield refused("5.2", *parts(one, two, opcode=PONG))
    chops = (None, FRAMES, 1)
    whole = text(one + two)
    start, end = parts(one, two)
    around = (start, ping(b"ping payload"), end)
    for i, chop_bytes in enumerate(chops):
        yield fine(f"5.{3 + i}", start, end, answers=(whole,), chop_bytes=chop_bytes)
        answers = (pong(b"ping payload"), whole)
        yield fine(f"5.{6 + i}", *around, answers=answers, chop_bytes=chop_bytes)
        for first_number, first in ((9, FIN), (12, 0)):
            stray = Frame(first, b"non-continuation payload")
            yield refused(f"5.{first_number + i}", stray, text(HELLO), chop_bytes=chop_bytes)
    yield refused("5.15", *parts(one, two), Frame(0, three), text(four), answers=(text(one + two),))
    for number, first in (("5.16", 0), ("5.17", FIN)):
        yield refused(number, *(Frame(first, one), *parts(two, three)) * 2)
    yield refused("5.18", Frame(TEXT, one), text(two))
    whole = text(one + two + three + four + five)
    start, second, third, fourth, end = parts(one, two, three, four, five)
    frames = (start, second, ping(b"pongme 1!"), third, fourth, ping(b"pongme 2!"), end)
    pongs = (pong(b"pongme 1!"), pong(b"pongme 2!"))
    yield fine("5.19", *frames, answers=(*pongs, whole))
    yield fine("5.20", *frames, answers=(*pongs, whole), chop_bytes=FRAMES)


def _spaced(start: int, stop: int) -> str:
    return " ".join(f"{lead:02x}20" for lead in range(start, stop)).replace(" ", "")


UTF_8: dict[str, str] = {
    "6.5": "68656c6c6f24776f726c64 68656c6c6fc2a2776f726c64 68656c6c6fe282ac776f726c64"
    " 68656c6c6ff0a4ada2776f726c64 cebae1bdb9cf83cebcceb5",
    "6.6": " ".join(KOSME[:end].hex() for end in range(1, len(KOSME) + 1)),
    "6.7": "00 c280 e0a080 f0908080",
    "6.8": "f888808080 fc8480808080",
    "6.9": "7f dfbf efbfbf f48fbfbf",
    "6.10": "f7bfbfbf fbbfbfbfbf fdbfbfbfbfbf",
    "6.11": "ed9fbf ee8080 efbfbd f48fbfbf f4908080",
    "6.12": "80 bf 80bf 80bf80 80bf80bf 80bf80bf80 80bf80bf80bf " + bytes(range(0x80, 0xBF)).hex(),
    "6.13": " ".join(
        itertools.starmap(
            _spaced, ((0xC0, 0xDF), (0xE0, 0xEF), (0xF0, 0xF7), (0xF8, 0xFB), (0xFC, 0xFD))
        )
    ),
    "6.14": "c0 e080 f08080 f8808080 fc80808080 df efbf f7bfbf fbbfbfbf fdbfbfbfbf",
    "6.15": "c0e080f08080f8808080fc80808080dfefbff7bfbffbbfbfbffdbfbfbfbf",
    "6.16": "fe ff fefeffff",
    "6.17": "c0af e080af f08080af f8808080af fc80808080af",
    "6.18": "c1bf e09fbf f08fbfbf f887bfbfbf fc83bfbfbfbf",
    "6.19": "c080 e08080 f0808080 f880808080 fc8080808080",
    "6.20": "eda080 edadbf edae80 edafbf edb080 edbe80 edbfbf",
    "6.21": "eda080edb080 eda080edbfbf edadbfedb080 edadbfedbfbf"
    " edae80edb080 edae80edbfbf edafbfedb080 edafbfedbfbf",
    "6.22": " ".join(
        chr(plane << 16 | last).encode().hex() for plane in range(17) for last in (0xFFFE, 0xFFFF)
    ),
    "6.23": " ".join(chr(last).encode().hex() for last in range(0xFFF9, 0x10000)),
}
"""Texts from Markus Kuhn's stress test for decoders of UTF-8, in hex, and the like."""

VALID_UTF_8 = frozenset(("6.5", "6.7", "6.9", "6.22", "6.23"))
VALID_ALONE = frozenset(("6.6.2", "6.6.5", "6.6.7", "6.6.9", "6.6.11"))
VALID_ALONE |= frozenset(f"6.11.{i}" for i in range(1, 5))


def _utf_8() -> Iterator[Case]:
    """6: text is UTF-8, in whatever pieces it comes.

    6.4 asks to fail before the message is whole, but lets it be done later, as here.
    """
    yield echoed("6.1.1", text(b""))
    yield fine("6.1.2", *parts(b"", b"", b""), answers=(text(b""),))
    middle = b"middle frame payload"
    yield fine("6.1.3", *parts(b"", middle, b""), answers=(text(middle),))
    front, back = "Hello-µ@ßöä".encode(), "üàá-UTF-8!!".encode()
    yield echoed("6.2.1", text(front + back))
    yield fine("6.2.2", *parts(front, back), answers=(text(front + back),))
    yield fine("6.2.3", *octets(front + back), answers=(text(front + back),))
    yield fine("6.2.4", *octets(KOSME), answers=(text(KOSME),))
    broken = KOSME + b"\xed\xa0\x80edited"
    yield refused("6.3.1", text(broken), code=1007)
    yield refused("6.3.2", *octets(broken), code=1007)
    beyond = b"\xf4\x90\x80\x80"
    yield refused("6.4.1", *parts(KOSME, beyond, b"edited"), code=1007)
    yield refused("6.4.2", *parts(KOSME + b"\xf4", b"\x90", b"\x80\x80edited"), code=1007)
    yield refused("6.4.3", text(KOSME + beyond + b"edited"), code=1007, chop_bytes=17)
    yield refused("6.4.4", text(KOSME + beyond + b"edited"), code=1007, chop_bytes=1)
    for group, payloads in UTF_8.items():
        for i, payload in enumerate(map(bytes.fromhex, payloads.split()), 1):
            number = f"{group}.{i}"
            if group in VALID_UTF_8 or number in VALID_ALONE:
                yield echoed(number, text(payload))
            else:
                yield refused(number, text(payload), code=1007)


def _closing() -> Iterator[Case]:
    """7: the closing handshake."""
    yield echoed("7.1.1", text(HELLO))
    yield closed("7.1.2", close(1000), close(1000))
    yield closed("7.1.3", close(1000), ping())
    yield closed("7.1.4", close(1000), text(HELLO))
    start, end = parts(b"fragment1", b"fragment2")
    yield closed("7.1.5", close(1000), end, frames=(start,))
    yield closed("7.3.1", Frame(FIN | CLOSE), codes=(1000, 1005))
    yield closed("7.3.2", Frame(FIN | CLOSE, b"a"), codes=(1002,))
    yield closed("7.3.3", close(1000))
    yield closed("7.3.4", close(1000, b"Hello World!"))
    yield closed("7.3.5", close(1000, b"*" * 123))
    yield closed("7.3.6", close(1000, b"*" * 124), codes=(1002,))
    yield closed("7.5.1", close(1000, KOSME + b"\xed\xa0\x80edited"), codes=(1002, 1007))
    valid = (*range(1000, 1004), *range(1007, 1012), 3000, 3999, 4000, 4999)
    for i, code in enumerate(valid, 1):
        yield closed(f"7.7.{i}", close(code), codes=(code, 1000))
    for i, code in enumerate((0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999), 1):
        yield closed(f"7.9.{i}", close(code), codes=(1002,))
    yield closed("7.13.1", close(5000), codes=(1002,))
    yield closed("7.13.2", close(65535), codes=(1002,))


def _limits() -> Iterator[Case]:
    """9 and 10: long messages, many messages, many fragments."""
    kib, mib = 1024, 1024 * 1024
    for group, opcode, fill in ((1, TEXT, b"*"), (2, BINARY, b"\xfe")):
        for i, size in ((1, 64 * kib), (2, 256 * kib), (3, mib)):
            yield echoed(f"9.{group}.{i}", Frame(FIN | opcode, fill * size))
        for i, chop_bytes in enumerate((64, 128, 256, 512, 1024, 2048), 1):
            message = Frame(FIN | opcode, fill * mib)
            yield echoed(f"9.{group + 4}.{i}", message, chop_bytes=chop_bytes)
        for i, size in enumerate((0, 16, 64, 256, 1024), 1):
            messages = (Frame(FIN | opcode, fill * size),) * 100
            yield echoed(f"9.{group + 6}.{i}", *messages, chop_bytes=FRAMES)
    payload = b"*" * 65536
    pieces = [payload[start : start + 1300] for start in range(0, len(payload), 1300)]
    yield fine("10.1.1", *parts(*pieces), answers=(text(payload),))


CASES: tuple[Case, ...] = (
    *_lengths(),
    *_pings(),
    *_reserved_bits(),
    *_opcodes(),
    *_fragments(),
    *_utf_8(),
    *_closing(),
    *_limits(),
)
"""In the order of the suite, but for some in 5."""

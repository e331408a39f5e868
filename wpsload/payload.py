"""Payloads that carry their send time and number: a receiver can tell latency, and what is missing.

A stamped payload is `wps1:CLOCK:SENT:` and filler up to the size asked for. CLOCK names the clock
that SENT (16 hex digits, nanoseconds) was read from: a receiver that does not know how far that is
from its own counts the message but gives no latency. With a number it is
`wps2:CLOCK:STREAM:SENTNUMBER:`, where STREAM (11 hex digits) names the run and a sender in it, and
NUMBER (8 more) counts its messages from 0 on. The two sizes are multiples of 3, for base64.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from wpsload.errors import ConfigError
from wpsload.subprotocol import DataType

__all__ = [
    "MIN_NUMBERED_BYTES",
    "MIN_PAYLOAD_BYTES",
    "MOST_RUN",
    "Stamp",
    "check_size",
    "clock_id",
    "first_stream",
    "latency_ns",
    "read",
    "run_of",
    "stamp",
]

_MARK = "wps1:"
_NUMBERED_MARK = "wps2:"
_CLOCK_DIGITS = 8
_SENT_DIGITS = 16

MIN_PAYLOAD_BYTES = len(_MARK) + _CLOCK_DIGITS + 1 + _SENT_DIGITS + 1
"""Smallest payload with room for a stamp without a number."""

_STREAM_DIGITS = 11
_RUN_SHIFT = 30  # of 44 bits: the upper ones name the run, the others a sender in it
MOST_RUN = (1 << 4 * _STREAM_DIGITS - _RUN_SHIFT) - 1
"""The greatest number that a run can have."""
_NUMBER_DIGITS = 8
_BARE = re.compile(
    rf"{_MARK}(?P<clock>.{{{_CLOCK_DIGITS}}}):(?P<sent>[0-9a-f]{{{_SENT_DIGITS}}}):",
    re.ASCII | re.DOTALL,
)
_NUMBERED = re.compile(
    rf"{_NUMBERED_MARK}(?P<clock>.{{{_CLOCK_DIGITS}}}):(?P<stream>[0-9a-f]{{{_STREAM_DIGITS}}}):"
    rf"(?P<sent>[0-9a-f]{{{_SENT_DIGITS}}})(?P<number>[0-9a-f]{{{_NUMBER_DIGITS}}}):",
    re.ASCII | re.DOTALL,
)

MIN_NUMBERED_BYTES = MIN_PAYLOAD_BYTES + _STREAM_DIGITS + 1 + _NUMBER_DIGITS
"""Smallest payload with room for a stamp with a number."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """When a message was written (`sent_ns`), on the clock named `clock`.

    It is message `number` of `stream`, or without a number if that is None.
    """

    clock: str
    sent_ns: int
    stream: int | None = None
    number: int = 0


def first_stream(run: int, random: Random) -> int:
    """A number of a stream of that run, to count up from; not that of another process of it."""
    return run << _RUN_SHIFT | random.getrandbits(_RUN_SHIFT - 1)


def run_of(stream: int) -> int:
    """The run that a stream is of."""
    return stream >> _RUN_SHIFT


def clock_id(source: str) -> str:
    """Eight hex digits that name a clock; `source` is what identifies it, such as a boot id."""
    return hashlib.sha256(source.encode()).hexdigest()[:_CLOCK_DIGITS]


def check_size(size_bytes: int, *, is_numbered: bool = False) -> int:
    """`size_bytes` itself, if a stamp fits.

    Raises:
        ConfigError: if it does not.
    """
    if size_bytes < MIN_PAYLOAD_BYTES:
        raise ConfigError(
            f"a payload of {size_bytes} bytes has no room for the time stamp",
            hint=f"use {MIN_PAYLOAD_BYTES} bytes or more",
        )
    if is_numbered and size_bytes < MIN_NUMBERED_BYTES:
        raise ConfigError(
            f"a payload of {size_bytes} bytes has no room for the time stamp and a number",
            hint=f"use {MIN_NUMBERED_BYTES} bytes or more, or --wps-no-ledger",
        )
    return size_bytes


def stamp(stamp: Stamp, *, size_bytes: int, data_type: DataType = "text") -> str | bytes:
    """A payload of exactly `size_bytes` bytes: a str for `text` and `json`, bytes otherwise.

    As `json` it is a JSON string; its two quotes are not counted.
    """
    sent = f"{stamp.sent_ns:0{_SENT_DIGITS}x}"
    if stamp.stream is None:
        text = f"{_MARK}{stamp.clock}:{sent}:"
    else:
        number = f"{stamp.number:0{_NUMBER_DIGITS}x}"
        text = f"{_NUMBERED_MARK}{stamp.clock}:{stamp.stream:0{_STREAM_DIGITS}x}:{sent}{number}:"
    text = text.ljust(size_bytes, "x")
    return text if data_type in ("text", "json") else text.encode("ascii")


def read(data: Any) -> Stamp | None:
    """The stamp of a received payload, or None if it has none (somebody else's message)."""
    if isinstance(data, bytes):
        try:
            data = data[:MIN_NUMBERED_BYTES].decode("ascii")
        except UnicodeDecodeError:
            return None
    if not isinstance(data, str):
        return None
    if found := _NUMBERED.match(data):
        sent_ns, stream, number = (int(found[name], 16) for name in ("sent", "stream", "number"))
        return Stamp(found["clock"], sent_ns, stream, number)
    if found := _BARE.match(data):
        return Stamp(found["clock"], int(found["sent"], 16))
    return None


def latency_ns(stamp: Stamp | None, *, lead_ns: Mapping[str, int], now_ns: int) -> int | None:
    """Time from `stamp` to `now_ns` of our clock.

    `lead_ns` tells how far that is ahead of the clocks that are known, by their names; None if the
    stamp is of another one.
    """
    if stamp is None or (lead := lead_ns.get(stamp.clock)) is None:
        return None
    return max(0, now_ns - stamp.sent_ns - lead)

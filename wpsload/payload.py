"""Payloads that carry their own send time, so that a receiver can tell the delivery latency.

A stamped payload is `wps1:CLOCK:SENT:` and filler up to the size asked for. CLOCK names the clock
that SENT (16 hex digits, nanoseconds) was read from: a receiver that reads another clock counts
the message but gives no latency, as the difference would mean nothing.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

from wpsload.errors import ConfigError
from wpsload.subprotocol import DataType

__all__ = ["MIN_PAYLOAD_BYTES", "Stamp", "check_size", "clock_id", "latency_ns", "read", "stamp"]

_MARK = "wps1:"
_CLOCK_DIGITS = 8
_SENT_DIGITS = 16
_CLOCK_END = len(_MARK) + _CLOCK_DIGITS
_SENT_START = _CLOCK_END + 1
_SENT_END = _SENT_START + _SENT_DIGITS

MIN_PAYLOAD_BYTES = _SENT_END + 1
"""Smallest payload with room for the stamp."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """When a message was written (`sent_ns`), on the clock named `clock`."""

    clock: str
    sent_ns: int


def clock_id(source: str) -> str:
    """Eight hex digits that name a clock; `source` is what identifies it, such as a boot id."""
    return hashlib.sha256(source.encode()).hexdigest()[:_CLOCK_DIGITS]


def check_size(size_bytes: int) -> int:
    """`size_bytes` itself, if a stamp fits.

    Raises:
        ConfigError: if it does not.
    """
    if size_bytes < MIN_PAYLOAD_BYTES:
        raise ConfigError(
            f"a payload of {size_bytes} bytes has no room for the time stamp",
            hint=f"use {MIN_PAYLOAD_BYTES} bytes or more",
        )
    return size_bytes


def stamp(stamp: Stamp, *, size_bytes: int, data_type: DataType = "text") -> str | bytes:
    """A payload of exactly `size_bytes` bytes: a str for `text` and `json`, bytes otherwise.

    As `json` it is a JSON string; its two quotes are not counted.
    """
    text = f"{_MARK}{stamp.clock}:{stamp.sent_ns:0{_SENT_DIGITS}x}:".ljust(size_bytes, "x")
    return text if data_type in ("text", "json") else text.encode("ascii")


def read(data: Any) -> Stamp | None:
    """The stamp of a received payload, or None if it has none (somebody else's message)."""
    if isinstance(data, bytes):
        try:
            data = data[:MIN_PAYLOAD_BYTES].decode("ascii")
        except UnicodeDecodeError:
            return None
    if not isinstance(data, str) or not data.startswith(_MARK):
        return None
    digits = data[_SENT_START:_SENT_END]
    try:
        sent_ns = int(digits, 16)
    except ValueError:
        return None
    if len(digits) != _SENT_DIGITS or data[_SENT_END : _SENT_END + 1] != ":":
        return None
    return Stamp(data[len(_MARK) : _CLOCK_END], sent_ns)


def latency_ns(stamp: Stamp | None, *, clock: str, now_ns: int) -> int | None:
    """Time from `stamp` to `now_ns`; None if it was not read from the clock named `clock`."""
    if stamp is None or stamp.clock != clock:
        return None
    return max(0, now_ns - stamp.sent_ns)

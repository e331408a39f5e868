"""Messages that are published again and again, serialised once: only what changes is written anew.

A publication gives its next message as a payload, or as a whole frame masked for the wire. Both
are what `encode_request` and `frames.encode` give, byte for byte. A mask key is a number of 32 bits
here, whose lowest byte masks first: a product repeats it, and one XOR masks all of a message.

The filler of a stamped payload is one letter over and over. Masked, it is the same four bytes over
and over, so that a large message costs no more than a small one: it is cut where the mask begins
anew, and what stands before and behind it is masked as one.
"""

import base64
from collections.abc import Callable
from typing import Any, Literal, Protocol

from wpsload import frames
from wpsload.ledger import Stream
from wpsload.payload import Stamp, stamp
from wpsload.subprotocol import DataType, SendToGroup, check_group, encode_request

__all__ = ["Computed", "Publication", "Stamped"]

_PERIOD = 4  # of the mask, and of "xxx" in base64
_DATA = b'"data":"'
_MARK_BYTES = {False: 14, True: 26}  # of a stamp, up to its digits, without and with a number
_DIGITS = {False: 16, True: 24}
_STAMPED_BYTES = {False: 30, True: 51}  # divisible by 3: in base64 nothing behind them changes
_TEXT = {False: b"%b%016x%b%d}", True: b"%b%024x%b%d}"}
_BEFORE_BASE64 = {False: b"%b%016x", True: b"%b%024x:"}
_LITTLE: Literal["little"] = "little"
_LONGEST_COPY_BYTES = 16_384
# By the sizes of the filler and of the rest, for all publications, so that those of thousands of
# clients find it in the processor's cache.
_PREPARED: dict[int, dict[int, tuple[bytes, int, int]]] = {}


class Publication(Protocol):
    """Gives one message after another; `sent_ns` is the time it is stamped with, if it is.

    Whoever sends it counts `stream.sequence` up: until then it is the same message.
    """

    @property
    def stream(self) -> Stream:
        """What counts the messages, and may number them."""

    def payload(self, sent_ns: int, ack_id: int) -> bytes:
        """The next request, as it stands in a text frame."""

    def frame(self, sent_ns: int, ack_id: int, mask_key: int) -> bytes:
        """The same as a whole frame, masked with `mask_key`."""


class Stamped:
    """Messages of `size_bytes` that carry their send time, which delivery latency is told by.

    Args:
        clock: name of the clock that send times are read from, see `wpsload.payload`.
        stream: numbers them, if it is one of a group.

    `template` is for whoever writes its frames in another way: what they keep of it.

    Raises:
        LocalProtocolError: if `group` is no group name.
    """

    __slots__ = (
        "_back",
        "_cut",
        "_filler",
        "_format",
        "_front",
        "_is_numbered",
        "_mark",
        "_periods",
        "_prepared",
        "stream",
        "template",
    )

    def __init__(
        self,
        group: str,
        data_type: DataType,
        *,
        no_echo: bool,
        size_bytes: int,
        clock: str,
        stream: Stream | None = None,
    ) -> None:
        self.stream = stream = stream or Stream(0)
        self._is_numbered = is_numbered = stream.group is not None
        mark_bytes = _MARK_BYTES[is_numbered]
        first = Stamp(clock, 0, stream.number if is_numbered else None)
        data = stamp(first, size_bytes=size_bytes, data_type=data_type)
        whole = encode_request(SendToGroup(check_group(group), data, data_type, no_echo, ack_id=0))
        start = whole.rindex(_DATA) + len(_DATA)
        end = whole.index(b'"', start)
        # The time is written into the text, or in base64 together with the mark before it.
        self._mark = data[:mark_bytes] if isinstance(data, bytes) else None
        self._format = (_BEFORE_BASE64 if self._mark else _TEXT)[is_numbered]
        written = start if self._mark else start + mark_bytes
        after = written + (
            _STAMPED_BYTES[is_numbered] * 4 // 3 if self._mark else _DIGITS[is_numbered]
        )
        # The first letters still belong to the stamp, and the last ones in base64 are others.
        cut = min(after + _PERIOD + -after % _PERIOD, end)
        unit = whole[cut : cut + _PERIOD]
        self._periods = (end - cut) // _PERIOD
        while not whole.startswith(unit * self._periods, cut):
            self._periods -= 1
        filler_end = cut + self._periods * _PERIOD
        self._filler = whole[cut:filler_end]
        # Masked along with the rest: nothing, which gives the key, and a period of the filler.
        self._front = bytes(_PERIOD) + (unit if self._periods else bytes(_PERIOD)) + whole[:written]
        self._back = whole[after:cut] + whole[filler_end : -len(b"0}")]
        self._cut = 2 * _PERIOD + cut
        self._prepared = _PREPARED.setdefault(len(self._filler), {})
        self.template: object = None

    def around_stamp(self) -> tuple[bytes, bytes, bool] | None:
        """What stands before the digits of the stamp, and behind them up to the ack id, and whether
        they have a number; None if the stamp is in base64.

        None for a large one as well: its filler is masked here for nothing, and a copy of it for
        each client would take too much memory.
        """
        if self._mark is not None or len(self._filler) > _LONGEST_COPY_BYTES:
            return None
        front = self._front[2 * _PERIOD :]
        before_filler = self._cut - 2 * _PERIOD - len(front) - _DIGITS[self._is_numbered]
        back = self._back[:before_filler] + self._filler + self._back[before_filler:]
        return front, back, self._is_numbered

    def _without_filler(self, sent_ns: int, ack_id: int) -> bytes:
        stamped = sent_ns << 32 | self.stream.sequence if self._is_numbered else sent_ns
        if self._mark is None:
            return self._format % (self._front, stamped, self._back, ack_id)
        letters = base64.b64encode(self._format % (self._mark, stamped))
        return b"%b%b%b%d}" % (self._front, letters, self._back, ack_id)

    def payload(self, sent_ns: int, ack_id: int) -> bytes:
        """The next request, as it stands in a text frame."""
        short, cut = self._without_filler(sent_ns, ack_id), self._cut
        return short[2 * _PERIOD : cut] + self._filler + short[cut:]

    def frame(self, sent_ns: int, ack_id: int, mask_key: int) -> bytes:
        """The same as a whole frame, masked with `mask_key`."""
        short, cut = self._without_filler(sent_ns, ack_id), self._cut
        size = len(short)
        prepared = self._prepared.get(size)
        if prepared is None:
            prepared = self._prepared[size] = self._prepare(size)
        header, rounded, repeat = prepared
        masked = (int.from_bytes(short, _LITTLE) ^ mask_key * repeat).to_bytes(rounded, _LITTLE)
        return b"".join(
            (header, masked[:4], masked[8:cut], masked[4:8] * self._periods, masked[cut:size])
        )

    def _prepare(self, size: int) -> tuple[bytes, int, int]:
        """For `size` bytes without filler: the frame's header, `size` rounded up to whole mask
        keys, and the number that repeats a mask key over them."""
        rounded = size + -size % _PERIOD
        payload_bytes = size - 2 * _PERIOD + len(self._filler)
        header = frames.header(frames.TEXT, payload_bytes, is_masked=True)
        repeat = int.from_bytes(b"\x01\0\0\0" * (rounded // _PERIOD), _LITTLE)
        return header, rounded, repeat


class Computed:
    """Messages whose data is asked for each time.

    Args:
        data: gives the data of the next message, by its `data_type`: a str for `text`, bytes for
            `binary` and `protobuf`, any JSON value for `json`.
    """

    __slots__ = ("_data", "_data_type", "_group", "_no_echo", "stream")

    def __init__(
        self,
        group: str,
        data: Callable[[], Any],
        data_type: DataType,
        *,
        no_echo: bool,
        stream: Stream | None = None,
    ) -> None:
        self.stream = stream or Stream(0)
        self._group = check_group(group)
        self._data = data
        self._data_type = data_type
        self._no_echo = no_echo

    def payload(self, sent_ns: int, ack_id: int) -> bytes:
        """The next request, as it stands in a text frame.

        Raises:
            LocalProtocolError: if the data does not fit its type.
        """
        data = self._data()
        return encode_request(
            SendToGroup(self._group, data, self._data_type, self._no_echo, ack_id)
        )

    def frame(self, sent_ns: int, ack_id: int, mask_key: int) -> bytes:
        """The same as a whole frame, masked with `mask_key`."""
        key = mask_key.to_bytes(_PERIOD, _LITTLE)
        return frames.encode(frames.TEXT, self.payload(sent_ns, ack_id), mask_key=key)

"""Messages that differ from one read before in nothing but their send time: told without parsing.

Members of a group receive the same envelope again and again, around a stamp and its filler. Once
one has been parsed, the next like it needs no JSON: what stands before the stamp and behind the
filler is known, and what stands between cannot mean anything else. Whatever is not exactly like
that is for the parser.
"""

import re

import orjson

from wpsload.payload import MIN_PAYLOAD_BYTES, Stamp, stamp

__all__ = ["Familiar"]

_QUOTE = b'"'
_DIGITS = 16
_MOST = 4096  # envelopes; a run with more groups and senders learns them anew now and then
_LONGEST_BYTES = 4096  # of an envelope: a group's name, a user's, and little metadata


class Familiar:
    """The envelopes that the clients of one process have seen.

    Args:
        clock: name of the clock whose stamps mean something here, see `wpsload.payload`.
    """

    def __init__(self, clock: str) -> None:
        text = str(stamp(Stamp(clock, 0), size_bytes=MIN_PAYLOAD_BYTES))
        self._mark = text.encode().partition(b"0" * _DIGITS)[0]
        self._data = re.compile(re.escape(self._mark.decode()) + "[0-9a-f]{16}(:x*)")
        self._envelopes: dict[bytes, set[bytes]] = {}  # what stands before a stamp: what behind it
        self._count = 0
        self._filler = b""

    def sent_ns(self, payload: bytes, stamp_at: int) -> int | None:
        """The send time of a familiar message; None if it is another.

        `stamp_at` is where its digits are expected, which `learn` told.
        """
        known = self._envelopes.get(payload[:stamp_at])
        if known is None:
            return None
        digits_end = stamp_at + _DIGITS
        filler_end = payload.find(_QUOTE, digits_end)
        if payload[digits_end:filler_end] != self._filler or payload[filler_end:] not in known:
            return None
        digits = payload[stamp_at:digits_end]
        try:
            return int(digits, 16) if digits.isalnum() else None
        except ValueError:
            return None

    def learn(self, payload: bytes, data: object) -> int:
        """Remember the envelope of `payload`, a group message with `data`, if a stamp is all of it.

        Returns where the digits of its stamp are; 0 if there is nothing to remember.
        """
        found = self._data.fullmatch(data) if isinstance(data, str) else None
        if found is None or payload.count(self._mark) != 1:
            return 0
        stamp_at = payload.index(self._mark) + len(self._mark)
        digits_end = stamp_at + _DIGITS
        filler = found[1].encode()
        filler_end = digits_end + len(filler)
        front, back = payload[:stamp_at], payload[filler_end:]
        if payload[digits_end:filler_end] != filler or back[:1] != _QUOTE:
            return 0  # written with escapes
        if back not in self._envelopes.get(front, ()):
            if len(front) + len(back) > _LONGEST_BYTES or not self._is_data(front, filler + back):
                return 0
            if self._count == _MOST:
                self._envelopes.clear()
                self._count = 0
            self._count += 1
            self._envelopes.setdefault(front, set()).add(back)
        self._filler = filler
        return stamp_at

    def _is_data(self, front: bytes, behind: bytes) -> bool:
        """True if other digits there are other data: a group may be named like a stamp."""
        read = {orjson.loads(front + digit * _DIGITS + behind)["data"] for digit in (b"0", b"f")}
        return len(read) > 1

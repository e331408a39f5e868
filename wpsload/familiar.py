"""Messages that differ from one read before in nothing but time and number: told without parsing.

Members of a group receive the same envelope again and again, around a stamp and its filler. Once
one has been parsed, the next like it needs no JSON: what stands before the stamp and behind the
filler is known, and what stands between cannot mean anything else. Whatever is not exactly like
that is for the parser.
"""

import re
from collections.abc import Mapping

import orjson

from wpsload.payload import MIN_NUMBERED_BYTES, Stamp, run_of, stamp

__all__ = ["Familiar"]

_QUOTE = b'"'
_TIME_DIGITS = 16
_NUMBER_DIGITS = 8
_NUMBER_MASK = 0xFFFF_FFFF
_MOST = 65_536  # envelopes; a run with more groups and senders learns them anew now and then
_LONGEST_BYTES = 4096  # of an envelope: a group's name, a user's, and little metadata


class Familiar:
    """The envelopes that the clients of one process have seen.

    Args:
        lead_ns: how far our clock is ahead, by the name of each clock whose stamps mean something
            here; 0 for our own. See `wpsload.payload`.
        is_numbered: True to know stamps with a number, False to know those without.
        run: whose stamps with a number mean something here; None for any run.

    Attributes:
        envelopes: by what stands before the digits: what may stand behind the filler, clock and
            stream.
        filler: what stood between the two the last time.
    """

    def __init__(
        self, lead_ns: Mapping[str, int], *, is_numbered: bool = True, run: int | None = None
    ) -> None:
        self.lead_ns = lead_ns
        self._run = run
        self.is_numbered = is_numbered
        first = Stamp("", 0, 0 if is_numbered else None)
        text = str(stamp(first, size_bytes=MIN_NUMBERED_BYTES))
        self._mark = text.partition(":")[0].encode() + b":"
        self._digits = _TIME_DIGITS + _NUMBER_DIGITS if is_numbered else _TIME_DIGITS
        self._data = re.compile(
            re.escape(self._mark.decode())
            + "([0-9a-f]{8}):"
            + ("([0-9a-f]{11}):" if is_numbered else "()")
            + f"[0-9a-f]{{{self._digits}}}(:x*)"
        )
        self.envelopes: dict[bytes, tuple[set[bytes], str, int | None]] = {}
        self._count = 0
        self.filler = b""

    def is_ours(self, stream: int | None) -> bool:
        """False if a stamp of that stream is of another run, which goes by the same groups."""
        return stream is None or self._run is None or run_of(stream) == self._run

    def stamp(self, payload: bytes, stamp_at: int) -> tuple[int | None, int, int] | None:
        """Stream, send time in ns and number of a familiar message; None if it is another.

        The time is translated into that of our clock.

        `stamp_at` is where its digits are expected, which `learn` told. The stream is None if
        messages have no numbers.
        """
        known = self.envelopes.get(payload[:stamp_at])
        if known is None:
            return None
        digits_end = stamp_at + self._digits
        filler_end = payload.find(_QUOTE, digits_end)
        if payload[digits_end:filler_end] != self.filler or payload[filler_end:] not in known[0]:
            return None
        digits = payload[stamp_at:digits_end]
        if not digits.isalnum() or digits.lower() != digits:
            return None
        try:
            stamped = int(digits, 16)
        except ValueError:
            return None
        lead_ns = self.lead_ns[known[1]]
        if self.is_numbered:
            return known[2], (stamped >> 32) + lead_ns, stamped & _NUMBER_MASK
        return None, stamped + lead_ns, 0

    def learn(self, payload: bytes, data: object) -> int:
        """Remember the envelope of `payload`, a group message with `data`, if a stamp is all of it.

        Returns where the digits of its stamp are; 0 if there is nothing to remember.
        """
        found = self._data.fullmatch(data) if isinstance(data, str) else None
        if found is None or found[1] not in self.lead_ns or payload.count(self._mark) != 1:
            return 0
        stream = int(found[2], 16) if self.is_numbered else None
        if not self.is_ours(stream):
            return 0
        stamp_at = payload.index(self._mark) + found.end(2) + self.is_numbered
        digits_end = stamp_at + self._digits
        filler = found[3].encode()
        filler_end = digits_end + len(filler)
        front, back = payload[:stamp_at], payload[filler_end:]
        if payload[digits_end:filler_end] != filler or back[:1] != _QUOTE:
            return 0  # written with escapes
        known = self.envelopes.get(front)
        if known is None or back not in known[0]:
            if len(front) + len(back) > _LONGEST_BYTES or not self._is_data(front, filler + back):
                return 0
            if self._count == _MOST:
                self.envelopes.clear()
                self._count = 0
            self._count += 1
            self.envelopes.setdefault(front, (set(), found[1], stream))[0].add(back)
        self.filler = filler
        return stamp_at

    def _is_data(self, front: bytes, behind: bytes) -> bool:
        """True if other digits there are other data: a group may be named like a stamp."""
        read = {
            orjson.loads(front + digit * self._digits + behind)["data"] for digit in (b"0", b"f")
        }
        return len(read) > 1

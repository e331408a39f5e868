"""Frames of one connection that wait outside its queue, each for a time of its own.

Only faults make a frame wait here: whatever else is written overtakes it.
"""

import asyncio
from collections.abc import Callable, Hashable
from typing import NamedTuple

__all__ = ["Late", "LateFrames"]


class Late(NamedTuple):
    """A frame, what counts it when it is written, and what writes it."""

    timer: asyncio.TimerHandle
    data: bytes
    enter: Callable[[], None]


class LateFrames:
    """What waits, by a key of the caller's; `write` gets each frame with what counts it."""

    def __init__(self, write: Callable[[bytes, Callable[[], None]], None]) -> None:
        self._write = write
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[Hashable, Late] = {}

    def __contains__(self, key: Hashable) -> bool:
        """True while the frame of `key` waits."""
        return key in self._waiting

    def add(self, key: Hashable, data: bytes, enter: Callable[[], None], *, delay_s: float) -> None:
        """Write a frame after `delay_s`; no other may wait under the same key."""
        timer = self._loop.call_later(delay_s, self._release, key)
        self._waiting[key] = Late(timer, data, enter)

    def take(self, key: Hashable) -> Late:
        """The frame of `key`, which does not wait any more; the caller writes and counts it."""
        late = self._waiting.pop(key)
        late.timer.cancel()
        return late

    def write_all(self) -> None:
        """Write everything now, in the order in which it would have been written."""
        for key in sorted(self._waiting, key=lambda key: self._waiting[key].timer.when()):
            if key in self._waiting:  # a slow client is closed by what is written to it
                self._release(key)

    def drop_all(self) -> None:
        """Write nothing any more."""
        for late in self._waiting.values():
            late.timer.cancel()
        self._waiting.clear()

    def _release(self, key: Hashable) -> None:
        late = self.take(key)
        self._write(late.data, late.enter)

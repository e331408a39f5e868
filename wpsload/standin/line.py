"""What a service does that handles no more than so many messages a second: they wait in line.

One line for all clients of the stand-in. Each message takes the same time and nothing is refused,
so beyond the capacity the wait grows, as in a queue with one server and a constant service time.
"""

import asyncio
from collections import deque
from collections.abc import Callable

__all__ = ["Line"]


class Line:
    """Handles `per_s` messages a second, in the order in which they came."""

    def __init__(self, per_s: float) -> None:
        self._each_s = 1 / per_s
        self._loop = asyncio.get_running_loop()
        self._free_at = 0.0  # when all that wait are handled, in seconds of the loop's clock
        self._waiting: deque[tuple[float, Callable[[], None]]] = deque()

    def enter(self, handle: Callable[[], None]) -> None:
        """Call `handle` when it is this message's turn and its time has passed."""
        self._free_at = max(self._free_at, self._loop.time()) + self._each_s
        self._waiting.append((self._free_at, handle))
        if len(self._waiting) == 1:
            self._loop.call_at(self._free_at, self._serve)

    def _serve(self) -> None:
        now = self._loop.time()
        while self._waiting and self._waiting[0][0] <= now:
            _, handle = self._waiting.popleft()
            handle()
        if self._waiting:
            self._loop.call_at(self._waiting[0][0], self._serve)

"""One load run in this process: its target, settings, recorder, and the numbers of its users."""

import heapq
from collections.abc import Callable

from wpsload.clock import unix_s
from wpsload.connection import Address
from wpsload.metrics import Sample
from wpsload.options import Settings
from wpsload.recorder import Recorder
from wpsload.target import Slice, Target

__all__ = ["LoadRun"]


class LoadRun:
    """What all users of this process share.

    Args:
        target: gives where the clients go, once a user asks.
        fire: told of every sample, for Locust's own statistics.
    """

    def __init__(self, target: Callable[[], Target], *, fire: Callable[[Sample], None]) -> None:
        self._target = target
        self.settings = Settings.read({})
        self.recorder = Recorder()
        self.slice = Slice(0, 1)
        self._fire = fire
        self._next_number = 0
        self._free_numbers: list[int] = []

    def start(self, settings: Settings) -> None:
        """A test begins: forget what the last one in this process left."""
        self.settings = settings
        self.recorder.reset()
        self._next_number = 0
        self._free_numbers.clear()

    def take_number(self) -> int:
        """The number of a new user, unique over all workers; the lowest that is free."""
        if self._free_numbers:
            local = heapq.heappop(self._free_numbers)
        else:
            local = self._next_number
            self._next_number += 1
        return self.slice.global_number(local)

    def release_number(self, number: int) -> None:
        """The user with that number is gone; another may have it."""
        heapq.heappush(self._free_numbers, number // self.slice.count)

    def address(self, number: int) -> Address:
        """Where user `number` connects; mints or fetches a token, so never within a measurement.

        Raises:
            ConnectError: if there is none, as from a negotiate endpoint that fails.
        """
        ttl_s = self.settings.token_ttl_s
        client = self._target().client_url(number, now_s=unix_s(), ttl_s=ttl_s)
        return Address.of(client, is_token_in_header=self.settings.is_token_in_header)

    def record(self, sample: Sample) -> None:
        """One measured operation is over."""
        self.recorder.add(sample, int(unix_s()))
        self._fire(sample)

    def count(self, name: str, amount: int) -> None:
        """`amount` more of the countable `name`."""
        self.recorder.count(name, amount, int(unix_s()))

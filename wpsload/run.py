"""One load run in this process: its target, settings, recorder, and the numbers of its users."""

import heapq
from collections.abc import Callable
from typing import Protocol

from wpsload.clock import unix_s
from wpsload.connection import Address
from wpsload.metrics import Sample
from wpsload.options import Settings
from wpsload.recorder import Recorder
from wpsload.target import Target

__all__ = ["LoadRun", "NumberSource", "Numbers"]


class NumberSource(Protocol):
    """Gives each user a number that no other user of the whole run has."""

    def take(self) -> int:
        """A number for a new user; may wait for it."""

    def release(self, number: int) -> None:
        """The user with that number is gone; another may have it."""


class Numbers:
    """Numbers from 0 on, the lowest free one first: tokens are few, so none is skipped."""

    def __init__(self) -> None:
        self._next = 0
        self._free: list[int] = []

    def take(self) -> int:
        """The lowest number that nobody has."""
        if self._free:
            return heapq.heappop(self._free)
        self._next += 1
        return self._next - 1

    def release(self, number: int) -> None:
        """`number` is free again."""
        heapq.heappush(self._free, number)


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
        self.numbers: NumberSource = Numbers()
        self._fire = fire

    def start(self, settings: Settings) -> None:
        """A test begins: forget what the last one in this process left."""
        self.settings = settings
        self.recorder.reset()

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

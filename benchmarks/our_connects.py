"""Connects, waits until the connection is open and closes, again and again, with wpsload.

    python -m gevent.monkey benchmarks/our_connects.py CONCURRENCY

`BENCH_URL` is the client URL. SIGTERM ends it: it prints how often it got through as one line of
JSON.
"""

import itertools
import json
import os
import signal
import sys

import gevent
from gevent.event import Event

from wpsload.clock import CLOCK
from wpsload.connection import Connection
from wpsload.dialing import Address
from wpsload.engine import Engine
from wpsload.familiar import Familiar
from wpsload.ledger import Ledger
from wpsload.link import Limits
from wpsload.meter import Meter
from wpsload.metrics import Sample
from wpsload.session import Message, PubSubSession

__all__ = ["main"]


class Counter:
    """Counts connections that opened."""

    is_listening = False

    def __init__(self) -> None:
        self.opened = 0

    def record(self, sample: Sample) -> None:
        """A failure ends the benchmark: it would be counted as speed."""
        if sample.failure is not None:
            sys.exit(f"{sample.metric.name}: {sample.failure}")

    def count(self, name: str, amount: int) -> None:
        """Keep the one count of interest."""
        if name == "opened":
            self.opened += amount

    def message(self, message: Message) -> None:
        """Nobody sends any."""

    def mistake(self, error: Exception) -> None:
        """There is no scenario that could fail."""


def main() -> None:
    """Run until SIGTERM."""
    url, concurrency = os.environ["BENCH_URL"], int(sys.argv[1])
    over = Event()
    gevent.signal_handler(signal.SIGTERM, over.set)
    counter, meter, engine = Counter(), Meter(), Engine(gevent.get_hub())
    familiar = Familiar({CLOCK: 0})  # one for all, as users have it

    def connect_on_and_on() -> None:
        while not over.is_set():
            connection = Connection(
                PubSubSession(clock=CLOCK, familiar=familiar),
                address=lambda: Address(url, {}),
                may_wait=False,
                observer=counter,
                ledger=Ledger(itertools.count().__next__),
                meter=meter,
                limits=Limits(),
                engine=engine,
            )
            connection.start()
            connection.wait_open()
            connection.close()

    gevent.joinall([gevent.spawn(connect_on_and_on) for _ in range(concurrency)])
    sys.stdout.write(json.dumps({"opened": counter.opened}) + "\n")


if __name__ == "__main__":
    main()

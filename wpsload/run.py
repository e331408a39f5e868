"""One load run in this process: its target, settings, what it measures, its users' numbers.

What is rare, such as a failure or a new connection, is recorded when it happens. What happens once
a message goes to the meter, and from there into the recorder by `roll`: a few times a second, and
before anybody reads. Then Locust's statistics are told of both, in a greenlet where listeners may
wait. So each sample is in both, once.
"""

import heapq
import itertools
import logging
from collections import deque
from collections.abc import Callable, Iterator
from random import Random
from typing import Protocol

from gevent import get_hub
from gevent.lock import RLock

from wpsload.arrivals import Plan, due_times_ns
from wpsload.clock import CLOCK, clock_ns, unix_s
from wpsload.dialing import Address
from wpsload.engine import Engine
from wpsload.familiar import Familiar
from wpsload.fan_out import FanOut
from wpsload.histogram import Histogram
from wpsload.ledger import Ledger
from wpsload.meter import Batch, Meter
from wpsload.metrics import DELIVERY, GROUP_FIRST, GROUP_LAST, OWN_METRICS, Sample
from wpsload.options import Settings
from wpsload.payload import first_stream
from wpsload.poller import has_epoll
from wpsload.recorder import Recorder
from wpsload.target import Target

__all__ = ["Books", "LoadRun", "NumberSource", "Numbers", "Statistics"]

_log = logging.getLogger(__name__)

_SLICE = 500  # samples at once, unless there are so many
_MOST_SLICES = 16  # of a metric: who rolls must be done before it is time to roll again
_METERED = (
    *("sent", "sent_bytes", "received_bytes"),
    *("due", "achieved", "late", "dropped", "dropped_waiting"),
)


class NumberSource(Protocol):
    """Gives each user a number that no other user of the whole run has."""

    def take(self) -> int:
        """A number for a new user; may wait for it."""

    def release(self, number: int) -> None:
        """The user with that number is gone; another may have it."""


class Statistics(Protocol):
    """Is told of every success and failure, besides the recorder."""

    def add(self, samples: list[Sample]) -> None:
        """These operations are over; may wait for who listens."""

    def add_batch(self, batch: Batch, latency: Histogram, *, ago_s: float) -> Iterator[None]:
        """Many are, with these latencies, and were `ago_s` ago; may wait for who listens.

        Told in pieces, one whenever the iterator is asked for the next.
        """


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


class Books:
    """What the connections of one run write into, each by itself: `meter` what happens once a
    message, `ledger` what became of it. Those that outlive their run write on into its books, which
    nobody reads any more."""

    __slots__ = ("ledger", "meter")

    def __init__(self, first_stream: int = 0) -> None:
        self.meter = Meter()
        self.ledger = Ledger(itertools.count(first_stream).__next__)


class LoadRun:
    """What all users of this process share.

    `books` are those of the present run. `lead_ns` maps each clock that is known to how far ours
    is ahead of it.

    Args:
        target: gives where the clients go, once a user asks.
        statistics: those of Locust.
        now_s: gives Unix time.
    """

    def __init__(
        self,
        target: Callable[[], Target],
        statistics: Statistics,
        *,
        now_s: Callable[[], float] = unix_s,
    ) -> None:
        self._target = target
        self._statistics = statistics
        self._now_s = now_s
        self.settings = Settings.read({})
        self.numbers: NumberSource = Numbers()
        self.books = Books()
        self._samples: list[Sample] = []  # that the statistics have not been told yet
        self._recorder = Recorder()
        self._engines: dict[str, Engine] = {}
        self.lead_ns = {CLOCK: 0}
        self.familiar = Familiar(self.lead_ns)
        self.fan_out = FanOut()
        self._started_ns = clock_ns()
        self._random = Random()  # noqa: S311  # spreads senders
        self._rolled_s = now_s()
        self._rolling = RLock()

    @property
    def engine(self) -> Engine:
        """What drives the connections of this process, by the options of the present test."""
        name = self.settings.engine
        if name not in self._engines:  # kept for good, as it holds files that it never gives back
            self._engines[name] = Engine(get_hub(), name)
            if name == "fast" and has_epoll() and self._engines[name].express is None:
                _log.warning(
                    "the compiled part of wpsload is missing or of another version, and a message "
                    "costs up to twice the CPU: see to it that there are a C compiler and Python's "
                    "headers, and install wpsload again"
                )
        return self._engines[name]

    @property
    def recorder(self) -> Recorder:
        """What was measured until now."""
        self.roll()
        return self._recorder

    @property
    def rolled(self) -> Recorder:
        """What was measured until the last `roll`, for who must not hold up the load with one."""
        return self._recorder

    def start(self, settings: Settings) -> None:
        """A test begins: forget what the last one in this process left."""
        self.settings = settings
        with self._rolling:
            self._started_ns = clock_ns()
            self.books = Books(first_stream(settings.run_id, self._random))
            self._samples.clear()
            self._rolled_s = self._now_s()
            self._recorder.reset()
        self.fan_out.reset()
        self.familiar = Familiar(self.lead_ns, is_numbered=settings.has_ledger, run=settings.run_id)

    def due_times_ns(self, plan: Plan | None, *sender: int) -> Iterator[int]:
        """When the messages of one more sender are due, from now on.

        A `plan` of its own begins now. Without one the plan of the run holds, at the point where
        the run is by now. With `--wps-seed` the same `sender` has the same times.
        """
        now_ns = clock_ns()
        seed = self.settings.seed
        chance = Random(f"{seed} {sender}") if seed else self._random  # noqa: S311  # no secret
        if plan is not None:
            return due_times_ns(plan.segments, now_ns, chance)
        shared = self.settings.plan
        left = shared.after(now_ns - self._started_ns) if shared is not None else ()
        return due_times_ns(left, now_ns, chance)

    def roll(self) -> None:
        """Bring in what the meter was told since the last time."""
        deque(self.rolling(), maxlen=0)

    def rolling(self) -> Iterator[None]:
        """The same, a fraction of a millisecond at a time: the load has to go on in between.

        It counts in the second in which the middle of that time lies, so that rolling at the edges
        of seconds, give or take, finds the right one.
        """
        with self._rolling:  # a reader waits while another one's batch is told to who listens
            now_s = self._now_s()
            taken_s = (self._rolled_s + now_s) / 2
            self._rolled_s = now_s
            taken = self.books.meter.take()
            for name in _METERED:
                if amount := getattr(taken, name):
                    self._recorder.count(name, amount, int(taken_s))
            self.fan_out.add(taken.followed, int(taken_s))
            latencies = []
            for batch in taken.batches:
                latency = Histogram()
                size = max(_SLICE, len(batch.latencies_ns) // _MOST_SLICES + 1)
                for first in range(0, len(batch.latencies_ns), size):
                    latency.record_all(batch.latencies_ns[first : first + size])
                    if latency.count % size == 0:
                        yield
                self._recorder.add_latencies(batch.metric, latency, int(taken_s))
                latencies.append(latency)
                if latency.count > size:
                    yield
            samples, self._samples = self._samples, []
            self._statistics.add(samples)
            for batch, latency in zip(taken.batches, latencies, strict=True):
                if batch.metric is DELIVERY and self.settings.has_ledger:
                    self.books.ledger.counts.received += len(batch.latencies_ns)
                if batch.metric in OWN_METRICS:
                    continue
                yield from self._statistics.add_batch(batch, latency, ago_s=now_s - taken_s)

    @property
    def may_address_wait(self) -> bool:
        """True if `address` waits for somebody."""
        return self._target().may_wait

    def complete_fan_out(self, *, is_over: bool = False) -> None:
        """Record the messages that have reached their last member; all, once the run is over."""
        for one in self.fan_out.complete(None if is_over else int(self._now_s())):
            for metric, latency_ns in ((GROUP_FIRST, one.first_ns), (GROUP_LAST, one.last_ns)):
                self._recorder.add(Sample(metric, latency_ns), one.second)

    def address(self, number: int) -> Address:
        """Where user `number` connects; mints or fetches a token, so never within a measurement.

        Raises:
            ConnectError: if there is none, as from a negotiate endpoint that fails.
        """
        ttl_s = self.settings.token_ttl_s
        client = self._target().client_url(number, now_s=self._now_s(), ttl_s=ttl_s)
        return Address.of(client, is_token_in_header=self.settings.is_token_in_header)

    def record(self, sample: Sample) -> None:
        """One measured operation is over."""
        self._recorder.add(sample, int(self._now_s()))
        self._samples.append(sample)

    def count(self, name: str, amount: int) -> None:
        """`amount` more of the countable `name`."""
        self._recorder.count(name, amount, int(self._now_s()))

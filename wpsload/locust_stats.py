"""What was measured, told to Locust: one sample at a time, or thousands at once.

A sample of its own is fired as a `request` event, as any Locust user does: Locust counts it, and so
does whoever else listens. That takes longer than the engine takes for the message, so the successes
of the hot path arrive in batches. They are merged into Locust's statistics the way a master merges
what its workers report: an entry is filled, and the entry of that name and the total are extended
by it. That costs per different latency, not per sample.

A scenario, a plugin or an exporter may listen to `request` events too. While anybody does, each
sample of a batch is fired after all. Either way a listener hears of a sample up to `flush_every_s`
late, one metric after the other, and in no user's greenlet. One that raises `StopUser` or another
word to the user is therefore not heard, while `StopTest` stops the test as ever.

Whether anybody else listens is not for Locust to say, so `_has_other_listeners` looks into the
event. A test holds it against the Locust that is installed.
"""

from locust import stats
from locust.env import Environment
from locust.event import EventHook
from locust.exception import (
    InterruptTaskSet,
    RescheduleTask,
    RescheduleTaskImmediately,
    StopTest,
    StopUser,
)
from locust.runners import Runner, locust_exception_handler

import weakref
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import islice
from typing import NoReturn

import gevent

from wpsload.histogram import Histogram
from wpsload.locust_precision import bucket_response_time
from wpsload.meter import Batch
from wpsload.metrics import Metric, Sample
from wpsload.units import ms

__all__ = ["LocustStats", "merge"]

_FLUSH_EVERY_S = 0.5
_PIECE = 64  # different latencies
_SUMMED = 4096  # sizes at once
_REPLAY_EVERY_S = 0.01  # more at once would hold up the engine for long enough to be measured

_TO_A_USER = (StopUser, RescheduleTask, RescheduleTaskImmediately, InterruptTaskSet)


class _Failure(Exception):
    """A failed sample, as Locust's table of failures shows it: by its text alone."""

    def __repr__(self) -> str:
        return str(self)


class LocustStats:
    """The statistics and the `request` event of one environment."""

    def __init__(self, environment: Environment) -> None:
        # Runs are kept by environment, weakly: one that held on to it would never be released.
        self._environment: Environment = weakref.proxy(environment)
        self._request = environment.events.request

    @property
    def flush_every_s(self) -> float:
        """Seconds between batches; a whole number of them makes a second."""
        return _REPLAY_EVERY_S if _has_other_listeners(self._request) else _FLUSH_EVERY_S

    def add(self, samples: Iterable[Sample]) -> None:
        """Tell one sample after the other; may wait for who listens."""
        asked: StopTest | None = None
        for sample in samples:
            try:
                self._fire(sample)
            except _TO_A_USER:
                pass  # it has gone on long ago
            except StopTest as error:
                asked = asked or error
        if asked is not None:  # as in a greenlet of a user, which ends by it
            handler = locust_exception_handler(self._environment)
            gevent.spawn(_raise, asked).link_exception(handler)

    def _fire(self, sample: Sample) -> None:
        # A failure has no time: it must not improve a percentile by failing fast.
        is_timed = sample.failure is None and sample.latency_ns is not None
        self._request.fire(
            request_type=sample.metric.type,
            name=sample.metric.name,
            response_time=ms(sample.latency_ns or 0) if is_timed else None,
            response_length=sample.size_bytes,
            exception=None if sample.failure is None else _Failure(sample.failure),
            context={},
        )

    def add_batch(self, batch: Batch, latency: Histogram, *, ago_s: float) -> Iterator[None]:
        """Tell all samples of `batch`, whose latencies are in `latency`, and which are `ago_s` old.

        What is fired, instead of merged, counts as of now. See `merge` for what it yields.
        """
        if _has_other_listeners(self._request):
            timed = zip(batch.latencies_ns, batch.sizes_bytes, strict=True)
            self.add(Sample(batch.metric, ns, size_bytes=size) for ns, size in timed)
        else:
            yield from merge(
                self._environment.stats, batch.metric, latency, batch.sizes_bytes, ago_s=ago_s
            )


def merge(
    into: stats.RequestStats,
    metric: Metric,
    latency: Histogram,
    sizes_bytes: Sequence[int],
    *,
    ago_s: float = 0.0,
) -> Iterator[None]:
    """Add successes of `metric` to its entry and to the total, as of `ago_s` seconds ago.

    It yields after each few of the different latencies, for something else to happen: until it is
    over, only some of the samples are in.

    Percentiles are within 1 % from a microsecond up: 0.4 % by the histogram, 0.5 % by
    `bucket_response_time`. Count, mean, least and greatest are exact.
    """
    entry = into.get(metric.name, metric.type)
    values = latency.values()
    sum_ns, size_bytes = latency.sum_ns, 0
    for first in range(0, len(sizes_bytes), _SUMMED):
        size_bytes += sum(sizes_bytes[first : first + _SUMMED])
        if len(sizes_bytes) - first > _SUMMED:
            yield
    at_s: float | None = None
    while piece := list(islice(values, _PIECE)):
        batch = stats.StatsEntry(into, metric.name, metric.type)
        if at_s is None:  # by the clock of Locust, whose other times it is compared with
            at_s = batch.start_time - ago_s
        batch.num_requests = sum(count for _, count in piece)
        batch.num_reqs_per_sec[int(at_s)] = batch.num_requests
        batch.last_request_timestamp = at_s
        batch.total_content_length, size_bytes = size_bytes, 0  # with the first piece
        batch.total_response_time, sum_ns = ms(sum_ns), 0  # type: ignore[assignment]  # says int, as below
        batch.min_response_time = ms(latency.min_ns or 0)  # type: ignore[assignment]  # is a float too
        batch.max_response_time = ms(latency.max_ns or 0)  # type: ignore[assignment]  # likewise
        times: dict[float, int] = batch.response_times  # type: ignore[assignment]  # likewise
        for value_ns, count in piece:
            times[_bucketed_ms(value_ns)] += count
        entry.extend(batch)
        into.total.extend(batch)
        if len(piece) == _PIECE:
            yield


@lru_cache(16384)  # a histogram has few different values, and the next one has them as well
def _bucketed_ms(value_ns: int) -> float:
    return bucket_response_time(ms(value_ns))


def _has_other_listeners(request: EventHook) -> bool:
    """Whether anybody but Locust's runner, which keeps the statistics, hears of each request."""
    return any(getattr(one, "__module__", None) != Runner.__module__ for one in request._handlers)


def _raise(error: Exception) -> NoReturn:
    raise error

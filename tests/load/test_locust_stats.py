"""Batches are in Locust's statistics like samples one by one, and whoever listens hears of each."""

from locust.env import Environment
from locust.exception import InterruptTaskSet, RescheduleTask, StopTest, StopUser
from locust.runners import LocalRunner
from locust.stats import RequestStats, StatsEntry

import functools
import gc
import math
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from gevent.event import Event
from hypothesis import given
from hypothesis import strategies as st
from serving import DEADLINE_S

from wpsload import locust_precision
from wpsload.histogram import Histogram
from wpsload.locust_stats import LocustStats, _has_other_listeners, merge
from wpsload.meter import Batch
from wpsload.metrics import DELIVERY, ECHO, SEND_TO_GROUP, Sample

locust_precision.install()

LATENCIES_NS = st.integers(0, 31).flatmap(lambda bits: st.integers(1_000, 1_000 + 2**bits))
BATCHES = st.lists(st.lists(LATENCIES_NS, min_size=1), min_size=1, max_size=3)


def histogram_of(latencies_ns: Sequence[int]) -> Histogram:
    """What a batch comes with."""
    histogram = Histogram()
    histogram.record_all(latencies_ns)
    return histogram


def merged(*batches_ns: list[int], into: RequestStats | None = None) -> RequestStats:
    """Statistics that these batches were merged into, 200 bytes a sample."""
    into = into or RequestStats()
    for latencies_ns in batches_ns:
        list(merge(into, SEND_TO_GROUP, histogram_of(latencies_ns), [200] * len(latencies_ns)))
    return into


def both(requests: RequestStats) -> tuple[StatsEntry, StatsEntry]:
    """The entry of the metric, and the total."""
    return requests.get(SEND_TO_GROUP.name, SEND_TO_GROUP.type), requests.total


def tell(statistics: LocustStats, batch: Batch, *, ago_s: float = 0.0) -> None:
    """Add a batch the way a run does."""
    list(statistics.add_batch(batch, histogram_of(batch.latencies_ns), ago_s=ago_s))


@pytest.fixture
def environment() -> Environment:
    """One with a runner, whose listener keeps the statistics."""
    environment = Environment()
    environment.create_local_runner()
    return environment


@given(BATCHES)
def test_merging_is_logging_each(batches: list[list[int]]) -> None:
    """Everything that Locust keeps is what it would be, apart from the rounding of percentiles."""
    logged = RequestStats()
    for latencies_ns in batches:
        for latency_ns in latencies_ns:
            logged.log_request("ACK", "sendToGroup", latency_ns / 1e6, 200)  # type: ignore[arg-type]  # says int
    for told, truth in zip(both(merged(*batches)), both(logged), strict=True):
        assert told.num_requests == truth.num_requests == sum(told.num_reqs_per_sec.values())
        assert told.num_requests == sum(told.response_times.values())
        assert told.total_content_length == truth.total_content_length
        assert told.total_response_time == pytest.approx(truth.total_response_time)
        assert told.min_response_time == truth.min_response_time
        assert told.max_response_time == truth.max_response_time
        assert (told.num_failures, told.num_none_requests) == (0, 0)


@given(BATCHES, st.sampled_from([0.5, 0.9, 0.99, 1.0]))
def test_percentiles_are_within_one_percent(batches: list[list[int]], share: float) -> None:
    """From a microsecond up, against the values themselves."""
    values_ns = sorted(value for batch in batches for value in batch)
    # As Locust counts: the least time that no more than this many exceed.
    truth_ms = values_ns[max(0, math.floor(len(values_ns) * share) - 1)] / 1e6
    after_ms = values_ns[min(len(values_ns) - 1, math.floor(len(values_ns) * share))] / 1e6
    for entry in both(merged(*batches)):
        found_ms = entry.get_response_time_percentile(share)
        assert truth_ms * 0.99 <= found_ms <= after_ms * 1.01


def test_single_time_is_shown_as_it_was() -> None:
    """The middle of its bucket would be another number."""
    (entry, _) = both(merged([370_000]))
    assert dict(entry.response_times) == {0.37: 1}


def test_time_of_the_batch_counts() -> None:
    """A batch belongs to the second in which it was measured, not to that of its merge."""
    requests = RequestStats()
    before = requests.total.start_time
    list(merge(requests, SEND_TO_GROUP, histogram_of([5, 6]), [0, 0], ago_s=100.0))
    entry, total = both(requests)
    (second,) = entry.num_reqs_per_sec
    assert before - 101 <= second <= entry.start_time - 100
    assert entry.last_request_timestamp == total.last_request_timestamp
    assert second == int(total.last_request_timestamp or 0)


def test_start_is_that_of_the_entry() -> None:
    """Rates count from there, and a batch does not move it."""
    requests = RequestStats()
    starts = [one.start_time for one in both(requests)]
    merged([5], [6], into=requests)
    assert [one.start_time for one in both(requests)] == starts


def test_percentiles_of_now_are_those_of_the_last_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """The charts of Locust's page, which a cache of each second stands behind."""
    clock = [1_000.2]
    monkeypatch.setattr("locust.stats.time.time", lambda: clock[0])
    requests = RequestStats()
    for second in range(30):
        clock[0] = 1_000.2 + second
        merged([50_000_000 if second < 15 else 1_000_000] * 10, into=requests)
    for entry in both(requests):
        assert entry.get_response_time_percentile(0.9) == 50
        assert entry.get_current_response_time_percentile(0.9) == 1
        assert entry.current_rps == 10


def test_percentiles_of_now_outlive_failures_in_between(monkeypatch: pytest.MonkeyPatch) -> None:
    """Failures are logged one by one into the same cache."""
    clock = [1_000.2]
    monkeypatch.setattr("locust.stats.time.time", lambda: clock[0])
    requests = RequestStats()
    for second in range(30):
        clock[0] = 1_000.1 + second
        requests.log_request("ACK", "sendToGroup", None, 0)  # type: ignore[arg-type]  # is no failure's
        clock[0] = 1_000.2 + second
        merged([50_000_000 if second < 15 else 1_000_000] * 10, into=requests)
    for entry in both(requests):
        assert entry.get_current_response_time_percentile(0.9) == 1


def test_a_reset_forgets_what_was_merged() -> None:
    """`--reset-stats`, and the button on the page."""
    requests = merged([5_000_000])
    requests.reset_all()
    merged([7_000_000], into=requests)
    for entry in both(requests):
        assert (entry.num_requests, entry.min_response_time) == (1, 7)


def test_workers_merge_at_the_master() -> None:
    """Batches of two workers, over Locust's own serialization, are one at the master."""
    master = RequestStats()
    for latencies_ns in ([370_000] * 3, [420_000] * 2):
        worker = RequestStats(use_response_times_cache=False)
        (report,) = merged(latencies_ns, into=worker).serialize_stats()
        master.total.extend(StatsEntry.unserialize(report, master))
        assert worker.get("sendToGroup", "ACK").num_requests == 0, "a report empties the worker"
    assert dict(master.total.response_times) == {0.37: 3, 0.42: 2}
    assert master.total.total_content_length == 5 * 200


def test_a_runner_alone_is_nobody_else(environment: Environment) -> None:
    """If this fails, Locust's runners listen in another way, or its events keep them elsewhere."""
    assert len(environment.events.request._handlers) == 1
    assert not _has_other_listeners(environment.events.request)
    assert not _has_other_listeners(Environment().events.request)


class Exporter:
    """A listener as plugins have them."""

    def on_request(self, **_: Any) -> None:
        """Hear of a request."""


def hear(**_: Any) -> None:
    """Hear of a request."""


@pytest.mark.parametrize(
    "listener", [hear, Exporter().on_request, functools.partial(hear, extra=1), lambda **_: None]
)
def test_other_listeners_are_noticed(environment: Environment, listener: Any) -> None:
    """Of whatever kind, as soon and as long as they are there."""
    statistics = LocustStats(environment)
    environment.events.request.add_listener(listener)
    assert _has_other_listeners(environment.events.request)
    assert statistics.flush_every_s == 0.01
    environment.events.request.remove_listener(listener)
    assert not _has_other_listeners(environment.events.request)
    assert statistics.flush_every_s == 0.5


def test_listener_hears_every_sample_of_a_batch(environment: Environment) -> None:
    """With its own values, and Locust counts each once, as without a listener."""
    heard: list[dict[str, Any]] = []
    statistics = LocustStats(environment)
    tell(statistics, Batch(ECHO, [1_000_000], [11]))
    environment.events.request.add_listener(lambda **request: heard.append(request))
    tell(statistics, Batch(ECHO, [370_000, 5_000_000], [22, 33]))
    tell(statistics, Batch(DELIVERY, [7_000_000], [44]))
    assert [
        (one["request_type"], one["name"], one["response_time"], one["response_length"])
        for one in heard
    ] == [
        ("ECHO", "message", 0.37, 22),
        ("ECHO", "message", 5.0, 33),
        ("DELIVERY", "group", 7.0, 44),
    ]
    assert all(one["exception"] is None and one["context"] == {} for one in heard)
    echo, total = environment.stats.get("message", "ECHO"), environment.stats.total
    assert (echo.num_requests, echo.total_content_length) == (3, 66)
    assert (total.num_requests, total.total_content_length) == (4, 110)


def test_single_samples_are_fired_as_they_are(environment: Environment) -> None:
    """A failure has no time, and its text stands in Locust's table of failures."""
    heard: list[dict[str, Any]] = []
    environment.events.request.add_listener(lambda **request: heard.append(request))
    statistics = LocustStats(environment)
    statistics.add([Sample(SEND_TO_GROUP, 5_000_000, size_bytes=9)])
    statistics.add([Sample(SEND_TO_GROUP, 5_000_000, failure="Forbidden")])
    statistics.add([Sample(SEND_TO_GROUP, None)])
    assert [one["response_time"] for one in heard] == [5.0, None, None]
    entry, _ = both(environment.stats)
    assert (entry.num_requests, entry.num_none_requests, entry.num_failures) == (3, 2, 1)
    (error,) = environment.stats.errors.values()
    assert (error.to_name(), error.occurrences) == ("ACK sendToGroup: Forbidden", 1)


def raising(error: Exception) -> Callable[..., None]:
    """A listener that raises."""

    def listener(**_: Any) -> None:
        raise error

    return listener


@pytest.mark.parametrize("error", [StopUser(), RescheduleTask(), InterruptTaskSet()])
def test_a_word_to_the_user_loses_no_sample(environment: Environment, error: Exception) -> None:
    """The user that it was meant for cannot be told from a batch."""
    environment.events.request.add_listener(raising(error))
    tell(LocustStats(environment), Batch(SEND_TO_GROUP, [1, 2, 3], [0, 0, 0]))
    assert environment.stats.total.num_requests == 3


def test_a_listener_can_stop_the_test(environment: Environment) -> None:
    """Once, and the samples that come after it are counted."""
    stopped, stops = Event(), []
    environment.events.test_stopping.add_listener(lambda **_: stops.append(1))
    environment.events.test_stop.add_listener(lambda **_: stopped.set())
    environment.events.request.add_listener(raising(StopTest("seen enough")))
    tell(LocustStats(environment), Batch(SEND_TO_GROUP, [1, 2, 3], [0, 0, 0]))
    assert environment.stats.total.num_requests == 3
    assert stopped.wait(DEADLINE_S)
    assert stops == [1]
    assert isinstance(environment.runner, LocalRunner)
    assert environment.runner.state == "stopped"


def test_an_environment_is_not_kept() -> None:
    """Runs are kept as long as their environment is, which must not be forever."""
    environment = Environment()
    statistics = LocustStats(environment)
    gone = weakref.ref(environment)
    del environment
    gc.collect()
    assert gone() is None
    assert statistics.flush_every_s == 0.5

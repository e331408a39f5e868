"""Whatever sends or cuts Locust's statistics finds all in them that was measured until then."""

import locust
from locust.env import Environment
from locust.stats import setup_distributed_stats_event_listeners

from collections.abc import Iterator
from typing import Any

import gevent
import pytest
from gevent.event import Event
from serving import DEADLINE_S

from wpsload import plugin
from wpsload.housekeeping import breathe
from wpsload.metrics import SEND_TO_GROUP
from wpsload.plugin import run_of
from wpsload.recorder import Recorder


@pytest.fixture
def environment() -> Iterator[Environment]:
    """The one of a process: it has Locust's own events, which are left as they were found."""
    hooks = [one for one in vars(locust.events).values() if hasattr(one, "_handlers")]
    handlers = [list(one._handlers) for one in hooks]
    yield Environment(events=locust.events)
    for hook, found in zip(hooks, handlers, strict=True):
        hook._handlers[:] = found


def acknowledge(environment: Environment, count: int) -> None:
    """Tell the meter of so many acks."""
    series = run_of(environment).books.meter.series(SEND_TO_GROUP)
    series.latencies_ns.extend([1_000_000] * count)
    series.sizes_bytes.extend([0] * count)


def test_reports_to_the_master_are_complete(environment: Environment) -> None:
    """Locust's part of a report holds what ours does: the batches come before both."""
    run = run_of(environment)
    setup_distributed_stats_event_listeners(environment.events, environment.stats)
    master = Recorder()

    def report(data: dict[str, Any], **_: Any) -> None:  # as a worker does
        data["ours"] = run.recorder.drain()

    environment.events.report_to_master.add_listener(report)
    for count in (3, 4):
        acknowledge(environment, count)
        data: dict[str, Any] = {}
        environment.events.report_to_master.fire(client_id="worker", data=data)
        assert data["stats_total"]["num_requests"] == count
        assert [one["num_requests"] for one in data["stats"]] == [count]
        master.merge(data["ours"])
    assert master.totals().acked == 7


def test_a_reset_cuts_off_what_was_before(environment: Environment) -> None:
    """`--reset-stats` drops what was measured while users were spawned, the last batch as well."""
    environment.reset_stats = True
    environment.create_local_runner()
    acknowledge(environment, 3)
    environment.events.spawning_complete.fire(user_count=1)
    acknowledge(environment, 2)
    assert run_of(environment).recorder.totals().acked == 5
    assert environment.stats.total.num_requests == 2


def test_a_reset_on_the_page_cuts_off_what_was_before(environment: Environment) -> None:
    """Locust says so before it does it."""
    acknowledge(environment, 3)
    environment.events.reset_stats.fire()
    environment.stats.reset_all()
    run_of(environment).roll()
    assert environment.stats.total.num_requests == 0


def test_who_writes_in_pieces_does_so_alone(environment: Environment) -> None:
    """The end of a run, which releases its seconds, waits for who is in the midst of them."""
    begun, order = Event(), list[str]()

    def write_in_pieces() -> None:
        order.append("a piece")
        begun.set()
        breathe()
        order.append("the rest")

    writer = gevent.spawn(plugin._writing, environment, write_in_pieces)
    assert begun.wait(DEADLINE_S)
    plugin._writing(environment, lambda: order.append("the end"))
    writer.get(timeout=DEADLINE_S)
    assert order == ["a piece", "the rest", "the end"]


def test_runs_of_environments_are_apart(environment: Environment) -> None:
    """A process may have several, as tests do."""
    other = Environment()
    assert run_of(environment) is run_of(environment)
    assert run_of(environment) is not run_of(other)

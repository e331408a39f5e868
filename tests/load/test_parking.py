"""Parked users: counted and stopped by Locust like any other, without a greenlet of their own."""

from locust import User
from locust.env import Environment
from locust.runners import LocalRunner

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest
from gevent.event import Event
from serving import DEADLINE_S

from wpsload.parking import park, unpark


def leave_at_once() -> None:
    """Nothing is due."""


def leave_never() -> None:
    """It waits for what does not come."""
    Event().wait()


def leave_by_mistake() -> None:
    """The scenario's own."""
    raise ZeroDivisionError


_leave: dict[str, Callable[[], None]] = {}


class Idle(User):
    """Does nothing, and notes how it starts and stops."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self.is_parked = False
        self.notes: list[str] = []
        self.tasks = [Idle.rest]
        self.ended: list[object] = []

    def on_start(self) -> None:
        """Locust's call."""
        self.notes.append("start")

    def rest(self) -> None:
        """The only task."""
        self.is_parked = True
        park(self, ended=self.ended.append)

    def on_stop(self) -> None:
        """Locust's call."""
        self.notes.append("stop")
        _leave["present"]()
        self.notes.append("stopped")

    def stop(self, force: bool = False) -> bool:
        """As a user of ours does it."""
        if not self.is_parked:
            return bool(super().stop(force=force))
        unpark(self, force=force)
        return force


@pytest.fixture(params=[None, 0.2], ids=["no stop timeout", "stop timeout"])
def runner(request: pytest.FixtureRequest) -> Iterator[LocalRunner]:
    """A runner whose users have all been parked."""
    _leave["present"] = leave_at_once
    environment = Environment(user_classes=[Idle], stop_timeout=request.param)
    made = environment.create_local_runner()
    made.start(3, spawn_rate=100)
    with gevent.Timeout(DEADLINE_S):
        while not (len(users(made)) == 3 and all(user.is_parked for user in users(made))):
            gevent.idle()
    yield made
    made.quit()


def users(runner: LocalRunner) -> list[Any]:
    """The users whom Locust knows, by their greenlets."""
    return [greenlet.args[0] for greenlet in runner.user_greenlets]


def stop(runner: LocalRunner) -> None:
    """Stop the run, in time."""
    with gevent.Timeout(DEADLINE_S):
        runner.stop()


def test_a_parked_user_counts_and_has_no_stack(runner: LocalRunner) -> None:
    """Its place is a greenlet that was never started, and there is one of it."""
    assert runner.user_count == 3
    assert runner.user_classes_count == {"Idle": 3}
    for user in users(runner):
        assert not user.greenlet.started
        assert user.greenlet in runner.user_greenlets
        assert user.notes == ["start"]
        assert user.ended == []


def test_it_stops_once(runner: LocalRunner) -> None:
    """`on_stop` runs to its end, its place is over, and nobody is left."""
    parked = users(runner)
    stop(runner)
    assert [user.notes for user in parked] == [["start", "stop", "stopped"]] * 3
    assert [user.ended for user in parked] == [[user.greenlet] for user in parked]
    assert runner.user_count == 0


def test_fewer_users_stop_some(runner: LocalRunner) -> None:
    """A ramp-down takes as many as it should, and those alone are stopped."""
    parked = users(runner)
    runner.start(1, spawn_rate=100)
    with gevent.Timeout(DEADLINE_S):
        while runner.user_count != 1:
            gevent.idle()
    assert sorted(user.notes[-1] for user in parked) == ["start", "stopped", "stopped"]
    stop(runner)
    assert [user.notes for user in parked] == [["start", "stop", "stopped"]] * 3


def test_who_does_not_leave_is_killed_in_time() -> None:
    """A stop timeout holds for parked users too; they are told to stop once."""
    _leave["present"] = leave_never
    environment = Environment(user_classes=[Idle], stop_timeout=0.2)
    runner = environment.create_local_runner()
    runner.start(2, spawn_rate=100)
    with gevent.Timeout(DEADLINE_S):
        while not (runner.user_count == 2 and all(user.is_parked for user in users(runner))):
            gevent.idle()
    parked = users(runner)
    stop(runner)
    assert [user.notes for user in parked] == [["start", "stop"]] * 2
    assert all(user.ended == [user.greenlet] for user in parked)
    assert runner.user_count == 0
    runner.quit()


def test_a_mistake_while_stopping_keeps_nobody(runner: LocalRunner) -> None:
    """A scenario whose `on_stop` fails is over all the same."""
    _leave["present"] = leave_by_mistake
    parked = users(runner)
    stop(runner)
    assert [user.notes for user in parked] == [["start", "stop"]] * 3
    assert runner.user_count == 0


def test_stopping_twice_by_force_ends_it(runner: LocalRunner) -> None:
    """Who was asked kindly, and did not leave, can be made to."""
    _leave["present"] = leave_never
    user = users(runner)[0]
    user.stop(force=False)
    user.stop(force=False)
    with gevent.Timeout(DEADLINE_S):
        user.stop(force=True)
    assert user.greenlet.dead
    assert user.notes in (["start"], ["start", "stop"])
    _leave["present"] = leave_at_once


def test_locust_still_has_what_parking_leans_on() -> None:
    """Two private names, and that users are found by the arguments of their greenlets."""
    source = inspect.getsource(User)
    for name in ("_greenlet", "_taskset_instance"):
        assert f"self.{name} = " in source
    assert "user_greenlet.args[0]" in inspect.getsource(LocalRunner.stop_users)
    assert "len(self.user_greenlets)" in inspect.getsource(LocalRunner.user_count.fget)  # type: ignore[attr-defined]  # a property

"""Fixtures for all tests: a real stand-in process."""

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from hypothesis import HealthCheck, settings
from serving import StandIn, running

# Properties are about values. How long one takes on a busy machine says nothing about them.
settings.register_profile("values", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("values")

# A job in the background of a shell ignores Ctrl-C, and so would all the processes that it starts.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def start_stand_in() -> Iterator[Callable[..., StandIn]]:
    """A function that starts `wpsload serve` with the given arguments; all stop after the test."""
    with ExitStack() as stack:

        def start(*arguments: str, environ: dict[str, str] | None = None) -> StandIn:
            return stack.enter_context(running(*arguments, environ=environ))

        yield start


@pytest.fixture
def stand_in(request: pytest.FixtureRequest, start_stand_in: Callable[..., StandIn]) -> StandIn:
    """A running stand-in; parametrize indirectly with a list of arguments to start it otherwise."""
    return start_stand_in(*getattr(request, "param", ()))


@pytest.fixture(scope="session")
def shared_stand_in() -> Iterator[StandIn]:
    """One stand-in with default settings, for tests that do not look at its counts: starting a
    process takes longer than most of them."""
    with running() as stand_in:
        yield stand_in

"""A service with a capacity: nothing is refused, what exceeds it waits."""

import asyncio

import pytest

from wpsload.standin.line import Line


def handled_at_s(arrivals_s: list[float], per_s: float) -> list[float]:
    """When each message was handled, in seconds from the start."""

    async def run() -> list[float]:
        loop = asyncio.get_running_loop()
        line, started = Line(per_s), loop.time()
        times: list[float] = []
        everything = asyncio.Event()

        def handle() -> None:
            times.append(loop.time() - started)
            if len(times) == len(arrivals_s):
                everything.set()

        for arrival_s in arrivals_s:
            loop.call_at(started + arrival_s, line.enter, handle)
        await asyncio.wait_for(everything.wait(), 10)
        return times

    return asyncio.run(run())


def test_what_comes_at_once_is_handled_one_after_the_other() -> None:
    """The hundredth message waits for all before it."""
    times = handled_at_s([0.0] * 100, per_s=400)
    assert times == sorted(times)
    assert 0.25 <= times[-1] < 0.5
    assert all(at >= 0.0025 * number for number, at in enumerate(times, 1))


def test_who_comes_to_an_empty_line_waits_for_the_service_time_alone() -> None:
    """What was not used before is not saved up."""
    first, second = handled_at_s([0.0, 0.3], per_s=20)
    assert first >= 0.05
    assert 0.35 <= second == pytest.approx(0.35, abs=0.1)

"""A turn: what is written waits for its end, but not for ever, and a mistake is its maker's."""

from typing import Any

from wpsload.clock import clock_ns
from wpsload.turn import MOST_HELD, Turn


class Hub:
    """Is told of mistakes, as gevent's is."""

    def __init__(self) -> None:
        self.told: list[type[BaseException]] = []

    def handle_error(self, context: object, kind: Any, value: Any, trace: Any) -> None:
        """gevent's method."""
        self.told.append(kind)


def test_writes_wait_for_the_end_in_order() -> None:
    """Nothing is written before the end, and nothing twice."""
    turn = Turn(Hub(), clock_ns)
    written: list[int] = []
    turn.begin()
    for number in range(3):
        turn.hold(lambda number=number: written.append(number))  # type: ignore[misc]  # bound now
    assert turn.is_under_way
    assert written == []
    turn.end()
    turn.end()
    assert not turn.is_under_way
    assert written == [0, 1, 2]


def test_many_do_not_wait_for_the_end() -> None:
    """A long turn is no reason to be late."""
    turn = Turn(Hub(), clock_ns)
    written: list[bool] = []
    turn.begin()
    for _ in range(MOST_HELD + 1):
        turn.hold(lambda: written.append(turn.is_under_way))
    assert written == [True] * MOST_HELD
    turn.end()
    assert written == [True] * MOST_HELD + [False]


def test_a_mistake_of_one_leaves_the_others() -> None:
    """It is told, and the rest is written."""
    hub = Hub()
    turn = Turn(hub, clock_ns)
    written: list[str] = []

    def fail() -> None:
        raise ZeroDivisionError

    turn.begin()
    turn.hold(fail)
    turn.hold(lambda: written.append("other"))
    turn.end()
    assert hub.told == [ZeroDivisionError]
    assert written == ["other"]

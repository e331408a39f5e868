"""The agenda: what is due comes in order, once, and what was cancelled never does."""

import sys
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from wpsload.agenda import Act, Agenda


def noting(notes: list[int], number: int) -> Callable[[], None]:
    """Something to be done that can be told apart."""
    return lambda: notes.append(number)


def never_fails(act: Act) -> None:
    """Nothing here raises."""
    raise AssertionError(act)


@given(
    dues=st.lists(st.tuples(st.integers(0, 20), st.booleans())),
    looks=st.lists(st.integers(0, 20)).map(sorted),
)
def test_everything_happens_in_order_and_once(
    dues: list[tuple[int, bool]], looks: list[int]
) -> None:
    """What is due by the time of a look is given, earliest first, equals as they were added."""
    agenda, notes = Agenda(), list[int]()
    for number, (due_ns, is_cancelled) in enumerate(dues):
        entry = agenda.add(due_ns, noting(notes, number))
        if is_cancelled:
            entry.cancel()
    expected = [
        number
        for number in sorted(range(len(dues)), key=lambda number: dues[number][0])
        if not dues[number][1]
    ]
    for now_ns in looks:
        agenda.act(now_ns, never_fails)
        assert notes == [number for number in expected if dues[number][0] <= now_ns]
        assert agenda.next_due_ns is None or agenda.next_due_ns > now_ns
    assert len(agenda) == sum(due_ns > max(looks, default=-1) for due_ns, _ in dues)


def test_what_happens_may_add_more() -> None:
    """An act that is due again at once comes with the next look, not within this one."""
    agenda, notes = Agenda(), list[int]()

    def again() -> None:
        agenda.add(1, noting(notes, 2))

    agenda.add(1, again)
    agenda.act(1, never_fails)
    assert notes == []
    agenda.act(1, never_fails)
    assert notes == [2]


def test_an_act_says_when_it_is_due_again() -> None:
    """It is the same entry: cancelling it ends it, from within the act as well."""
    agenda, notes = Agenda(), list[int]()

    times_ns = iter((1, 3, 5))

    def again() -> int | None:
        notes.append(0)
        if (again_ns := next(times_ns)) == 5:
            entry.cancel()
        return again_ns

    entry = agenda.add(0, again)
    agenda.add(1, noting(notes, 1))
    for now_ns, expected in [
        (0, [0]),
        (1, [0, 1, 0]),  # those due at the same time in the order in which they were added
        (2, [0, 1, 0]),
        (3, [0, 1, 0, 0]),
        (9, [0, 1, 0, 0]),
    ]:
        agenda.act(now_ns, never_fails)
        assert notes == expected
    assert agenda.next_due_ns is None


def test_what_raises_does_not_keep_the_others_from_happening() -> None:
    """It is told of, and does not come again."""
    agenda, notes = Agenda(), list[int]()

    def fail() -> int:
        raise ZeroDivisionError

    failures: list[tuple[Act, type[BaseException] | None]] = []
    agenda.add(1, fail)
    agenda.add(1, noting(notes, 1))
    agenda.act(1, lambda act: failures.append((act, sys.exc_info()[0])))
    assert failures == [(fail, ZeroDivisionError)]
    assert notes == [1]
    assert agenda.next_due_ns is None


def test_cancelling_again_or_late_changes_nothing() -> None:
    """Who cancels needs not know whether it has happened."""
    agenda, notes = Agenda(), list[int]()
    entry = agenda.add(1, noting(notes, 1))
    agenda.act(1, never_fails)
    entry.cancel()
    entry.cancel()
    assert notes == [1]
    assert agenda.next_due_ns is None

"""The agenda: what is due comes in order, once, and what was cancelled never does."""

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from wpsload.agenda import Agenda


def noting(notes: list[int], number: int) -> Callable[[], None]:
    """Something to be done that can be told apart."""
    return lambda: notes.append(number)


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
        for act in agenda.take_due(now_ns):
            act()
        assert notes == [number for number in expected if dues[number][0] <= now_ns]
        assert agenda.next_due_ns is None or agenda.next_due_ns > now_ns
    assert len(agenda) == sum(due_ns > max(looks, default=-1) for due_ns, _ in dues)


def test_what_happens_may_add_more() -> None:
    """An act that is due again at once comes with the next look, not within this one."""
    agenda, notes = Agenda(), list[int]()

    def again() -> None:
        agenda.add(1, noting(notes, 2))

    agenda.add(1, again)
    for act in agenda.take_due(1):
        act()
    assert notes == []
    for act in agenda.take_due(1):
        act()
    assert notes == [2]


def test_cancelling_again_or_late_changes_nothing() -> None:
    """Who cancels needs not know whether it has happened."""
    agenda, notes = Agenda(), list[int]()
    entry = agenda.add(1, noting(notes, 1))
    (act,) = agenda.take_due(1)
    entry.cancel()
    entry.cancel()
    act()
    assert notes == [1]
    assert agenda.next_due_ns is None

"""Fan-out: first and last receipt of a message, whichever process saw them in whichever order."""

import json

from hypothesis import given
from hypothesis import strategies as st

from wpsload.fan_out import QUIET_S, FanOut, Reached

receipts = st.lists(
    st.tuples(st.integers(1, 3), st.integers(0, 3), st.integers(0, 1000), st.integers(0, 5)),
    max_size=40,
)


@given(seen=receipts, workers=st.integers(1, 3))
def test_the_first_and_the_last_of_all(seen: list[tuple[int, int, int, int]], workers: int) -> None:
    """Against lists: spread over processes, drained after each, and merged as JSON."""
    whole = FanOut()
    parts = [FanOut() for _ in range(workers)]
    latencies: dict[tuple[int, int], list[int]] = {}
    seconds: dict[tuple[int, int], int] = {}
    for at, (stream, number, latency_ns, second) in enumerate(seen):
        part = parts[at % workers]
        part.add([(stream, number, latency_ns)], second)
        whole.merge(json.loads(json.dumps(part.drain())))
        key = stream, number
        latencies.setdefault(key, []).append(latency_ns)
        seconds[key] = max(seconds.get(key, 0), second)
    done = sorted(whole.complete(), key=repr)
    expected = [
        Reached(min(found), max(found), len(found), seconds[key])
        for key, found in latencies.items()
    ]
    assert done == sorted(expected, key=repr)
    assert whole.complete() == []


def test_a_message_is_complete_when_it_is_quiet() -> None:
    """Counted from the last receipt; nothing is counted twice."""
    fan_out = FanOut()
    fan_out.add([(1, 0, 5)], 100)
    fan_out.add([(1, 0, 9)], 103)
    assert fan_out.complete(103 + QUIET_S - 1) == []
    assert fan_out.complete(103 + QUIET_S) == [Reached(5, 9, 2, 103)]
    assert fan_out.complete() == []

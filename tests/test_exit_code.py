"""Of several reasons the exit code names the one that matters most."""

from typing import Any

import pytest
from recording import record_of, steady_run

from wpsload.exit_code import exit_code
from wpsload.record import Ladder
from wpsload.thresholds import judge, parse_all

INVALID = {"level": "INVALID"}


@pytest.mark.parametrize(
    ("state", "verdict", "thresholds", "doubts", "code"),
    [
        ("finished", None, "", [], None),
        ("finished", {"level": "SUSPECT"}, "loss==0", [], None),
        ("finished", None, "", ["a doubt"], 1),
        ("finished", None, "loss==0; echo.p99<1s", ["a doubt"], 3),
        ("finished", INVALID, "loss==1", ["a doubt"], 4),
        ("finished", {**INVALID, "is_enforced": False}, "loss==1", [], 3),
        ("interrupted", INVALID, "loss==1", ["a doubt"], 130),
    ],
)
def test_precedence(  # the columns of the table above
    state: str, verdict: dict[str, object] | None, thresholds: str, doubts: list[str], code: int
) -> None:
    """Interrupted, invalid, threshold, doubt; the rest is left to Locust."""
    record = record_of(steady_run(), state=state, verdict=verdict, doubts=doubts)
    results = judge(parse_all(thresholds), record)
    judged = record_of(
        steady_run(), state=state, verdict=verdict, doubts=doubts, thresholds=results
    )
    assert exit_code(judged) == code


@pytest.mark.parametrize(
    ("held", "ended", "verdict", "code"),
    [
        (2, "missed", None, None),
        (2, "top", None, None),
        (None, "missed", None, 3),
        (1, "generator limit", {"level": "VALID", "is_enforced": True}, 4),
        (None, "generator limit", INVALID, 4),
        (1, "generator limit", {"level": "VALID", "is_enforced": False}, None),
    ],
)
def test_a_climb(
    held: int | None, ended: Any, verdict: dict[str, object] | None, code: int | None
) -> None:
    """A capacity was found, there is none on the ladder, or the generator was in the way."""
    ladder = Ladder(objective=[], held=held, ended=ended)
    assert exit_code(record_of(steady_run(), verdict=verdict, ladder=ladder)) == code

"""Values on the command line: what is taken, and how the rest is refused."""

import click
import pytest

from wpsload.arguments import Duration, WholeNumber


@pytest.mark.parametrize(("text", "number"), [("1", 1), ("007", 7), ("10", 10)])
def test_whole_numbers(text: str, number: int) -> None:
    """Both ends are in."""
    assert number == WholeNumber(1, 10).convert(text, None, None)


@pytest.mark.parametrize("text", ["", "x", "-1", "1.0", " 1", "٣", "0", "11", "9" * 5000])
def test_other_numbers(text: str) -> None:
    """The error says what is allowed."""
    with pytest.raises(click.BadParameter, match="is not a whole number from 1 to 10"):
        WholeNumber(1, 10).convert(text, None, None)


def test_a_number_without_end() -> None:
    """Large is fine where nothing bounds it."""
    assert WholeNumber(1).convert("123456789", None, None) == 123456789
    with pytest.raises(click.BadParameter, match="is not a whole number of at least 1"):
        WholeNumber(1).convert("0", None, None)


def test_durations() -> None:
    """A duration is in seconds, and bounded."""
    assert Duration(0, 60).convert("250ms", None, None) == 0.25
    with pytest.raises(click.BadParameter, match="61s is not between 0s and 60s"):
        Duration(0, 60).convert("61s", None, None)
    with pytest.raises(click.BadParameter, match="'soon' is not a duration; write it"):
        Duration(0, 60).convert("soon", None, None)

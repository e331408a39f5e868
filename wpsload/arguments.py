"""Kinds of values on the command line, each with an error that says what is allowed."""

import re

import click

from wpsload.errors import ConfigError
from wpsload.units import parse_duration_s

__all__ = ["Duration", "Rate", "WholeNumber"]

_MAX_DIGITS = 18
"""More digits are out of any range here, and Python refuses to read thousands of them."""


class Duration(click.ParamType[float]):
    """A duration such as 20s, as seconds from `shortest_s` to `longest_s`."""

    name = "duration"

    def __init__(self, shortest_s: float, longest_s: float) -> None:
        self._shortest_s = shortest_s
        self._longest_s = longest_s

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Seconds."""
        try:
            duration_s = parse_duration_s(value)
        except ConfigError as error:
            self.fail(f"{error.message}; {error.hint}", param, ctx)
        if not self._shortest_s <= duration_s <= self._longest_s:
            self.fail(
                f"{value} is not between {self._shortest_s:g}s and {self._longest_s:g}s", param, ctx
            )
        return duration_s


class Rate(click.ParamType[float]):
    """A rate such as 200/s, more than 0."""

    name = "rate"

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """How many a second."""
        found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)/s", value)
        per_s = float(found[1]) if found else 0.0
        if not per_s:
            self.fail(f"{value[:40]!r} is not a rate such as 200/s", param, ctx)
        return per_s


class WholeNumber(click.ParamType[int]):
    """A whole number from `least` to `most`; None is without end."""

    name = "integer"

    def __init__(self, least: int, most: int | None = None) -> None:
        self._least = least
        self._most = most

    def convert(
        self, value: str | int, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """The number; a default comes as one already."""
        text = str(value)
        is_number = text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS
        number = int(text) if is_number else -1
        if number < self._least or (self._most is not None and number > self._most):
            allowed = (
                f"of at least {self._least}"
                if self._most is None
                else f"from {self._least} to {self._most}"
            )
            self.fail(f"{text[:40]!r} is not a whole number {allowed}", param, ctx)
        return number

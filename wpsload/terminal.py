"""How a program ends whose user made a mistake: one line that says it, one with advice."""

import sys
from typing import NoReturn

import click

__all__ = ["fail"]


def fail(message: str, *, hint: str | None, exit_code: int) -> NoReturn:
    """Say what is wrong and what to do about it, and end the process."""
    click.echo(f"error: {message}", err=True)
    if hint:
        click.echo(f"hint: {hint}", err=True)
    sys.exit(exit_code)

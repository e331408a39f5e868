"""Packages of Node.js for tests; what cannot be had is skipped, and says why."""

from functools import cache
from pathlib import Path

import pytest

from benchmarks import programs

__all__ = ["node_modules"]

_INSTALL_S = 60


def node_modules(*packages: str) -> Path:
    """A folder with `packages`, each a name and a version; without it the test is skipped."""
    found = _find(packages)
    if isinstance(found, str):
        pytest.skip(found)
    return found


@cache  # who has waited once for a registry that does not answer does not wait again
def _find(packages: tuple[str, ...]) -> Path | str:
    try:
        return programs.node_modules(*packages, within_s=_INSTALL_S)
    except programs.Missing as error:
        return str(error)

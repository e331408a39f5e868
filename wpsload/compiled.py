"""The modules that the installation compiled, if it did, and they fit their sources."""

from importlib import import_module
from pathlib import Path
from typing import Any

__all__ = ["load"]

_UNPACKING_S = 10.0
"""An installation may write a module and its source in any order."""


def load(name: str) -> Any:
    """The compiled module of that name.

    None if there was no compiler or the system is another one, and if a checkout was updated and
    not installed again: a module of other sources would do what nobody expects.
    """
    try:
        module = import_module(name)
    except ImportError:
        return None
    built = Path(str(module.__file__))
    source = built.with_name(name.rpartition(".")[2] + ".pyx")
    is_old = source.exists() and source.stat().st_mtime > built.stat().st_mtime + _UNPACKING_S
    return None if is_old else module

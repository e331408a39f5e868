"""A compiled module is used if it fits the source beside it."""

import os
import sys
from pathlib import Path

import pytest

from wpsload.compiled import load


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module that may be loaded; nothing is compiled for it, as what counts are the times."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "made_up", raising=False)
    built = tmp_path / "made_up.py"
    built.write_text("answer = 42\n", encoding="utf-8")
    return built


def test_what_is_not_there_is_none() -> None:
    """As without a compiler."""
    assert load("wpsload.no_such_module") is None


def test_without_a_source_it_is_used(module: Path) -> None:
    """As installed from a wheel that has none."""
    assert load("made_up").answer == 42


@pytest.mark.parametrize(("newer_by_s", "is_used"), [(-3600, True), (1, True), (3600, False)])
def test_it_is_used_unless_its_source_is_newer(
    module: Path, newer_by_s: int, is_used: bool
) -> None:
    """A checkout that was updated has to be installed again."""
    source = module.with_suffix(".pyx")
    source.touch()
    built_s = module.stat().st_mtime
    os.utime(source, (built_s, built_s + newer_by_s))
    assert (load("made_up") is not None) is is_used

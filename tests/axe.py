"""axe-core, the referee of accessibility, from npm: packages for Python carry an old one."""

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

from selenium import webdriver

__all__ = ["Missing", "axe_script", "violations"]

VERSION = "4.14.1"
_DEADLINE_S = 60.0


class Missing(Exception):
    """axe-core cannot be had here; the text says why."""


@cache
def axe_script() -> str:
    """Its source, installed into a cache outside the tree the first time.

    Raises:
        Missing: without npm, or if npm cannot install it.
    """
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "wpsload-tests"
    folder = root / f"axe-core-{VERSION}"
    script = folder / "node_modules" / "axe-core" / "axe.min.js"
    if not script.exists():
        if shutil.which("npm") is None:
            raise Missing("axe-core is not there, and no npm to install it: apt install npm")
        folder.mkdir(parents=True, exist_ok=True)
        options = ("--prefix", str(folder), "--ignore-scripts", "--no-save", "--no-audit")
        try:
            subprocess.run(
                ["npm", "install", *options, f"axe-core@{VERSION}"],
                capture_output=True,
                text=True,
                timeout=_DEADLINE_S,
                check=True,
            )
        except (subprocess.SubprocessError, OSError) as error:
            raise Missing(f"npm could not install axe-core {VERSION}: {error}") from error
    return script.read_text(encoding="utf-8")


def violations(browser: webdriver.Chrome) -> list[dict[str, Any]]:
    """What axe-core finds on the page that is open, of every impact."""
    browser.execute_script(axe_script())
    found: list[dict[str, Any]] = browser.execute_async_script(
        "const done = arguments[arguments.length - 1];"
        "axe.run().then(result => done(result.violations));"
    )
    return found

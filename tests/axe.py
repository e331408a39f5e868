"""axe-core, the referee of accessibility, from npm: packages for Python carry an old one."""

from typing import Any

from node_packages import node_modules
from selenium import webdriver

__all__ = ["violations"]


def violations(browser: webdriver.Chrome) -> list[dict[str, Any]]:
    """What axe-core finds on the page that is open, of every impact; skips where it is not."""
    script = node_modules("axe-core@4.14.1") / "axe-core" / "axe.min.js"
    browser.execute_script(script.read_text(encoding="utf-8"))
    found: list[dict[str, Any]] = browser.execute_async_script(
        "const done = arguments[arguments.length - 1];"
        "axe.run().then(result => done(result.violations));"
    )
    return found

"""A headless Chromium to look at pages with."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from selenium import webdriver

__all__ = ["IS_THERE", "MISSING", "appear", "chromium"]

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
CHROMEDRIVER = shutil.which("chromedriver")

IS_THERE = bool(CHROMIUM and CHROMEDRIVER)
MISSING = "no Chromium with its driver: apt install them"

ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1400,1200",
)


@contextmanager
def chromium(*, downloads: Path | None = None) -> Iterator[webdriver.Chrome]:
    """One with a profile of its own, whose log of the console is kept."""
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM or ""
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for argument in ARGUMENTS:
        options.add_argument(argument)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options.add_argument(f"--user-data-dir={profile}")
        if downloads is not None:
            preferences = {"download.default_directory": str(downloads)}
            options.add_experimental_option("prefs", preferences)
        service = webdriver.ChromeService(CHROMEDRIVER)
        driver = webdriver.Chrome(options=options, service=service)
        try:
            yield driver
        finally:
            driver.quit()


def appear(browser: webdriver.Chrome, *, width: int, height: int, scheme: str) -> None:
    """Have the browser be so large, in CSS pixels, and prefer the colours `scheme`."""
    screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    browser.execute_cdp_cmd("Emulation.setScrollbarsHidden", {"hidden": True})
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})

"""Locust's page in a real browser: start a run, watch it move, stop it, take the figures home."""

import csv
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from browsing import IS_THERE, MISSING, chromium
from locusting import free_port, post, running_locust
from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait
from serving import DEADLINE_S, StandIn

pytestmark = pytest.mark.skipif(not IS_THERE, reason=MISSING)


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[webdriver.Chrome]:
    """A headless Chromium with a profile of its own, which downloads into `tmp_path`."""
    with chromium(downloads=tmp_path) as driver:
        yield driver


@pytest.fixture
def page(stand_in: StandIn, tmp_path: Path) -> Iterator[str]:
    """The address of the page of a Locust that is ready to start a run."""
    port = free_port()
    environ = {"WPS_CONNECTION_STRING": stand_in.connection_string}
    arguments = ("--web-port", str(port))
    with running_locust("pubsub.py", *arguments, folder=tmp_path, environ=environ) as process:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{port}/"
        listening = {
            connection.laddr.ip
            for connection in psutil.Process(process.pid).net_connections("tcp")
            if connection.status == psutil.CONN_LISTEN
        }
        assert listening == {"127.0.0.1"}, "the page can be reached from other machines"
        process.terminate()
        code = process.wait(DEADLINE_S)
        assert code in (0, 130), process.stdout.read()  # 130: a run was going on


def wait(browser: webdriver.Chrome) -> WebDriverWait[webdriver.Chrome]:
    """Waits for what the page should soon show."""
    return WebDriverWait(browser, 2 * DEADLINE_S)


def visit(browser: webdriver.Chrome, page: str) -> None:
    """Open `page`, once it is there."""

    def get(shown: webdriver.Chrome) -> bool:
        shown.get(page)
        return True

    WebDriverWait(browser, 2 * DEADLINE_S, ignored_exceptions=[WebDriverException]).until(get)


def field(browser: webdriver.Chrome, name: str) -> WebElement:
    """An input of the start form."""
    return wait(browser).until(lambda shown: shown.find_element(By.NAME, name))


def fill(browser: webdriver.Chrome, name: str, value: str) -> None:
    """Replace what stands in an input."""
    element = field(browser, name)
    element.send_keys(Keys.CONTROL, "a")
    element.send_keys(value)


def press(browser: webdriver.Chrome, label: str) -> None:
    """Click the button with that label."""

    def click(shown: webdriver.Chrome) -> bool:
        for button in shown.find_elements(By.TAG_NAME, "button"):
            if button.is_displayed() and button.text.strip().lower() == label.lower():
                button.click()
                return True
        return False

    wait(browser).until(click)


def requests_of(browser: webdriver.Chrome) -> dict[str, int]:
    """The column `# Requests` of the table, by name; read at once, as the page redraws it."""
    rows = browser.execute_script(
        "return [...document.querySelectorAll('tbody tr')]"
        ".map(row => [...row.querySelectorAll('td')].map(cell => cell.innerText))"
    )
    return {row[1]: int(row[2]) for row in rows if len(row) > 2 and row[2].isdigit()}


def test_a_run_from_the_page(
    browser: webdriver.Chrome, page: str, stand_in: StandIn, tmp_path: Path
) -> None:
    """Options are on the form, rows move while it runs, and the CSV holds what was counted."""
    visit(browser, page)
    fill(browser, "userCount", "8")
    fill(browser, "spawnRate", "8")
    press(browser, "Custom parameters")
    wait(browser).until(lambda shown: field(shown, "wpsInterval").is_displayed())
    assert field(browser, "wpsPayloadBytes").get_attribute("value") == "2048"
    fill(browser, "wpsInterval", "100ms")
    assert stand_in.access_key not in browser.page_source
    assert f"{stand_in.endpoint} hub load" in browser.page_source
    assert "no host attribute" not in browser.page_source
    press(browser, "Start")

    wanted = {"connect", "sendToGroup", "group"}
    wait(browser).until(lambda shown: wanted <= requests_of(shown).keys())
    before = requests_of(browser)
    wait(browser).until(
        lambda shown: all(requests_of(shown)[name] > before[name] for name in wanted - {"connect"})
    )
    press(browser, "Stop")
    wait(browser).until(lambda shown: "STOPPED" in shown.find_element(By.TAG_NAME, "body").text)

    press(browser, "Download Data")
    press_link(browser, "Download requests CSV")
    wait(browser).until(lambda _: list(tmp_path.glob("*.csv")))
    (downloaded,) = tmp_path.glob("*.csv")
    with downloaded.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    counted = {row["Name"]: int(row["Request Count"]) for row in rows}
    stats = stand_in.stats()
    assert counted["sendToGroup"] + counted["joinGroup"] == stats["acks_total"]
    assert counted["group"] == stats["deliveries"]
    medians = {row["Name"]: float(row["Median Response Time"]) for row in rows}
    assert medians["sendToGroup"] > 0, "a sub-millisecond figure became 0"


def press_link(browser: webdriver.Chrome, label: str) -> None:
    """Click the link with that label."""
    wait(browser).until(lambda shown: shown.find_element(By.LINK_TEXT, label)).click()


def test_the_page_does_not_choose_the_target(page: str, stand_in: StandIn) -> None:
    """A host that is typed into the form would be shown and ignored: the start is refused."""
    form = {"user_count": 1, "spawn_rate": 1, "host": "http://elsewhere"}
    answer = post(f"{page}swarm", form)
    assert answer["success"] is False
    assert "Host" in answer["message"]
    assert stand_in.stats()["requests"] == {}


def test_a_bad_option_is_refused_on_the_page(
    browser: webdriver.Chrome, page: str, stand_in: StandIn
) -> None:
    """A value that an option does not take starts nothing, and the page says which it was."""
    visit(browser, page)
    press(browser, "Custom parameters")
    wait(browser).until(lambda shown: field(shown, "wpsInterval").is_displayed())
    fill(browser, "wpsInterval", "soon")
    press(browser, "Start")
    wait(browser).until(
        lambda shown: "--wps-interval" in shown.find_element(By.TAG_NAME, "body").text
    )
    assert stand_in.stats()["acks_total"] == 0

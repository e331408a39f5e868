"""The sample clients do what their README says, alone and among Locust's users."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlencode

import pytest
from browsing import IS_THERE, MISSING, chromium
from locusting import LOCUSTFILES, environment, running_locust
from sampling import CLIENTS, COMMANDS, Program, running
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait
from serving import DEADLINE_S, StandIn

from wpsload.client_url import parse_client_url
from wpsload.target import DEFAULT_ROLES

PAGE = CLIENTS / "browser" / "index.html"
README = (CLIENTS / "README.md").read_text(encoding="utf-8")
BROWSER = "the browser"
TOKEN = "eyJ"  # how every JWT begins

needs_browser = pytest.mark.skipif(not IS_THERE, reason=MISSING)
every_language = pytest.mark.parametrize("language", COMMANDS)
every_client = pytest.mark.parametrize(
    ("language", "command"), [(name, one) for name, both in COMMANDS.items() for one in both]
)


def test_the_readme_has_their_commands() -> None:
    """What is tested here is what it tells to type."""
    commands = [command for both in COMMANDS.values() for command in both]
    assert [command for command in commands if f"`{command}`" not in README] == []
    assert f"`{PAGE.relative_to(CLIENTS)}`" in README


def test_the_readme_gets_a_url(stand_in: StandIn) -> None:
    """Its first command puts a URL into the variable with which a client may do everything."""
    (script,) = re.findall(r"^```sh\n(.*?)^```$", README, re.M | re.S)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environ = {"WPS_CONNECTION_STRING": stand_in.connection_string, "PATH": path}
    done = subprocess.run(
        ["bash", "-euc", f"{script}printenv WPS_CLIENT_URL"],
        env=environment(environ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=True,
    )
    client = parse_client_url(done.stdout)
    assert (client.user_id, client.roles) == ("me", DEFAULT_ROLES)


def test_they_can_be_read_at_once() -> None:
    """None of them is long."""
    suffixes = {".py", ".js", ".java", ".cs"}
    sources = [one for one in CLIENTS.rglob("*") if one.suffix in suffixes]
    sources = [one for one in sources if "node_modules" not in one.parts and "obj" not in one.parts]
    assert len(sources) == 10
    for source in sources:
        assert len(source.read_text(encoding="utf-8").splitlines()) <= 65, source.name


@every_language
def test_a_simple_client(stand_in: StandIn, language: str) -> None:
    """It sends a text, prints its echo, and says goodbye upon Ctrl-C; the URL is an argument."""
    with running(language, COMMANDS[language][0], stand_in.client_url()) as client:
        client.wait_for(lambda line: line == f"hello from {language}")
        client.interrupt()
        assert TOKEN not in "\n".join(client.printed)
    assert stand_in.stats()["closed"] == {"1000": 1}


@every_language
def test_a_pubsub_client(stand_in: StandIn, language: str) -> None:
    """It joins, sends once that is acknowledged, and prints both acks and its own message."""
    url = stand_in.client_url(user_id="anna")
    with running(
        language, COMMANDS[language][1], "", "lobby", environ={"WPS_CLIENT_URL": url}
    ) as client:
        client.wait_for_frame(type="system", event="connected", userId="anna")
        client.wait_for_frame(type="ack", ackId=1, success=True)
        client.wait_for_frame(type="ack", ackId=2, success=True)
        client.wait_for_frame(group="lobby", fromUserId="anna", data=f"hello from {language}")
        client.interrupt()
        assert TOKEN not in "\n".join(client.printed)
    stats = stand_in.stats()
    assert stats["acks"] == {"success": 2}
    assert stats["requests"] == {"joinGroup": 1, "sendToGroup": 1}
    assert stats["closed"] == {"1000": 1}


@every_language
def test_a_pubsub_client_that_may_not_join(stand_in: StandIn, language: str) -> None:
    """It prints the refusal, and sends nothing to a group that it is not in."""
    with running(language, COMMANDS[language][1], stand_in.client_url(roles=())) as client:
        client.wait_for_frame(type="ack", ackId=1, success=False)
        client.interrupt()
    assert stand_in.stats()["requests"] == {"joinGroup": 1}


@every_client
def test_a_client_that_is_refused(stand_in: StandIn, language: str, command: str) -> None:
    """It ends by itself, saying something, and without a word of its token."""
    url = stand_in.client_url().replace("/hubs/load", "/hubs/other")
    with running(language, command, environ={"WPS_CLIENT_URL": url}) as client:
        client.wait_for(lambda line: "401" in line or "WebSocket" in line)
        client.wait()
        assert TOKEN not in "\n".join(client.printed)
    assert stand_in.stats()["refused"] == {"401": 1}


@every_client
def test_a_client_without_a_url(language: str, command: str) -> None:
    """It says how it is used, and that the variable will do."""
    with running(language, command) as client:
        client.wait_for(lambda line: line.startswith("usage: ") and "WPS_CLIENT_URL" in line)
        assert client.wait() != 0


# The page


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[webdriver.Chrome]:
    """A headless Chromium."""
    with chromium(downloads=tmp_path) as driver:
        yield driver


class Page:
    """The page in a browser, connected by way of its fragment."""

    def __init__(self, browser: webdriver.Chrome, **fragment: str) -> None:
        self._browser = browser
        browser.get(f"{PAGE.as_uri()}#{urlencode(fragment)}")

    def wait_for(self, *parts: str) -> None:
        """Return when a line of its log has all of these parts."""

        def is_there(shown: webdriver.Chrome) -> bool:
            lines = shown.find_element(By.ID, "log").text.splitlines()
            return any(all(part in line for part in parts) for line in lines)

        WebDriverWait(self._browser, DEADLINE_S).until(is_there)

    def say(self, text: str) -> None:
        """Send a message, as a person would."""
        self._browser.find_element(By.NAME, "text").send_keys(text)
        self._browser.find_element(By.CSS_SELECTOR, "#message button").click()


@needs_browser
def test_the_page_as_a_simple_client(browser: webdriver.Chrome, stand_in: StandIn) -> None:
    """The URL is pasted into the form; the echo is shown."""
    page = Page(browser)
    browser.find_element(By.NAME, "url").send_keys(stand_in.client_url())
    browser.find_element(By.CSS_SELECTOR, "[value=simple]").click()
    browser.find_element(By.CSS_SELECTOR, "#connection button").click()
    page.wait_for("hello from the browser")
    page.say("typed by hand")
    page.wait_for("typed by hand")
    assert TOKEN not in browser.find_element(By.TAG_NAME, "body").text


@needs_browser
def test_the_page_as_a_pubsub_client(browser: webdriver.Chrome, stand_in: StandIn) -> None:
    """The fragment fills in the form and is gone; acks and messages are shown."""
    page = Page(browser, url=stand_in.client_url(user_id="anna"), group="lobby")
    for ack_id in (1, 2):
        page.wait_for(f'"ackId":{ack_id}', '"success":true')
    page.wait_for('"group":"lobby"', '"fromUserId":"anna"', "hello from the browser")
    assert browser.current_url == PAGE.as_uri()
    assert stand_in.stats()["requests"] == {"joinGroup": 1, "sendToGroup": 1}
    browser.find_element(By.CSS_SELECTOR, "#connection button").click()  # connects anew
    WebDriverWait(browser, DEADLINE_S).until(lambda _: stand_in.stats()["connections_total"] == 2)
    page.wait_for("closed 1000")


@needs_browser
def test_what_is_no_url_is_said_on_the_page(browser: webdriver.Chrome) -> None:
    """A mistake is shown without what was pasted."""
    page = Page(browser, url="hello eyJ")
    page.wait_for("this is no client URL")
    assert TOKEN not in browser.find_element(By.TAG_NAME, "body").text


# All in one group

SCENARIO = f"""
import sys
sys.path.insert(0, {str(LOCUSTFILES)!r})
import pubsub

class Hearing(pubsub.GroupMember):
    def on_start(self):
        super().on_start()
        print(self.number, "is in", self.room, flush=True)

    def on_message(self, message):
        if isinstance(message.data, str) and message.data.startswith("hello from"):
            print(self.number, "heard", message.data, flush=True)
"""


def test_all_of_them_in_one_group(stand_in: StandIn, tmp_path: Path) -> None:
    """Each prints what Locust's users send and what those say who joined after it, and Locust's
    users hear all of them."""
    scenario = tmp_path / "hearing.py"
    scenario.write_text(SCENARIO, encoding="utf-8")
    arguments = (
        *("--headless", "--only-summary", "--users", "3", "--spawn-rate", "3"),
        *("--wps-group-size", "3", "--wps-payload-bytes", "64", "--wps-interval", "200ms"),
    )
    environ = {"WPS_CONNECTION_STRING": stand_in.connection_string}
    with (
        running_locust(scenario, *arguments, folder=tmp_path, environ=environ) as process,
        ExitStack() as stack,
    ):
        locust = Program(process)
        for number in range(3):
            locust.wait_for(f"{number} is in room-0".__eq__)
        clients: dict[str, Program] = {}
        for language, (_, command) in COMMANDS.items():
            try:
                environ = {"WPS_CLIENT_URL": stand_in.client_url(user_id=language)}
                client = stack.enter_context(running(language, command, environ=environ))
            except pytest.skip.Exception:
                continue  # the tests above say why
            client.wait_for_frame(fromUserId=language, data=f"hello from {language}")
            clients[language] = client
        names = list(clients)
        assert "Python" in names
        if IS_THERE:
            driver = stack.enter_context(chromium(downloads=tmp_path))
            page = Page(driver, url=stand_in.client_url(user_id=BROWSER))
            page.wait_for(f'"fromUserId":"{BROWSER}"')
            page.wait_for('"fromUserId":"load-')
            names.append(BROWSER)
        for position, client in enumerate(clients.values()):
            client.wait_for_frame(group="room-0", fromUserId="load-0")
            for name in names[position + 1 :]:
                client.wait_for_frame(group="room-0", fromUserId=name, data=f"hello from {name}")
        for name in names:
            for number in range(3):
                locust.wait_for(f"{number} heard hello from {name}".__eq__)
        for client in clients.values():
            client.interrupt()
        locust.interrupt()
    said = "\n".join(locust.printed)
    assert "DELIVERY group" in said
    assert "0 missing" in said
    assert TOKEN not in said

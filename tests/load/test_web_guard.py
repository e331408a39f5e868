"""Locust's page does what its own page and programs ask for, and nothing for other pages."""

from locust import User, constant, task
from locust.env import Environment

import http.client
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import gevent
import pytest
from gevent.event import Event
from serving import DEADLINE_S

from wpsload import web_guard

START = urlencode({"user_count": 1, "spawn_rate": 1})
FOREIGN = "https://evil.example"
LINK = {
    "Sec-Fetch-Site": "cross-site",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Dest": "document",
}


class Idle(User):
    """A user that does nothing, but is there."""

    wait_time = constant(60)

    @task
    def rest(self) -> None:
        """Do nothing."""


@dataclass(frozen=True, slots=True)
class Page:
    """A running page of Locust; `host` is its address, as a browser puts it into `Host`."""

    environment: Environment
    started: Event
    port: int
    base_path: str

    @property
    def host(self) -> str:
        """What a browser that uses the page sends as `Host`."""
        return f"127.0.0.1:{self.port}"

    @property
    def users(self) -> int:
        """Users that were started."""
        assert self.environment.runner is not None
        return self.environment.runner.user_count

    def request(
        self, method: str, path: str, headers: Mapping[str, str], body: str | None = None
    ) -> tuple[http.client.HTTPResponse, str]:
        """The answer to a real HTTP request, and its text."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE_S)
        try:
            connection.request(method, self.base_path + path, body, dict(headers))
            response = connection.getresponse()
            return response, response.read().decode("latin-1")
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> int:
        """The status of a GET; `_` in a header's name stands for `-`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.request("GET", path, named)[0].status

    def swarm(self, headers: Mapping[str, str]) -> tuple[int, str]:
        """The status and text of an attempt to start a user."""
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        response, text = self.request("POST", "/swarm", {**form, **headers}, START)
        return response.status, text


@pytest.fixture(autouse=True)
def _no_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Locust reads the command line for its page; that of pytest is not for it."""
    monkeypatch.setattr("sys.argv", ["locust"])


@pytest.fixture
def serve() -> Iterator[Callable[..., Page]]:
    """A function that starts a guarded page on a free port of loopback."""
    environments: list[Any] = []  # Locust's own types are incomplete

    def start(*, bind_host: str = "127.0.0.1", base_path: str = "") -> Page:
        environment: Any = Environment(user_classes=[Idle])
        environments.append(environment)
        environment.create_local_runner()
        web_ui = environment.create_web_ui(
            "127.0.0.1", 0, web_base_path=base_path or None, delayed_start=True
        )
        web_guard.install(web_ui, bind_host=bind_host)
        started = Event()
        environment.events.spawning_complete.add_listener(lambda **_: started.set())
        web_ui.start()
        gevent.idle()  # until the server waits for requests
        return Page(environment, started, web_ui.server.server_port, base_path)

    yield start
    for environment in environments:
        environment.runner.quit()
        environment.web_ui.stop()


@pytest.fixture
def page(serve: Callable[..., Page]) -> Page:
    """A page on loopback."""
    return serve()


@pytest.mark.parametrize("origin", [FOREIGN, "null", "http://127.0.0.1:1", "http://localhost"])
def test_foreign_page_cannot_start_a_run(page: Page, origin: str) -> None:
    """Another site, a sandboxed frame, another port of this machine: refused, in one line."""
    status, text = page.swarm({"Origin": origin})
    assert status == 403
    assert text == f"refused: a page of {origin!r} may not use the page of {page.host!r}\n"
    assert page.users == 0
    assert page.environment.runner is not None
    assert page.environment.runner.state == "ready"


def test_own_page_can_start_a_run(page: Page) -> None:
    """As a browser asks for it."""
    headers = {"Origin": f"http://{page.host}", "Sec-Fetch-Site": "same-origin"}
    status, text = page.swarm(headers)
    assert (status, "Swarming started" in text) == (200, True)
    assert page.started.wait(DEADLINE_S)
    assert page.users == 1


def test_program_can_start_a_run(page: Page) -> None:
    """Without any of the headers of a browser, as curl."""
    assert page.swarm({})[0] == 200
    assert page.started.wait(DEADLINE_S)
    assert page.users == 1


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "127.9.9.9", "[::1]", "LocalHost"])
def test_own_page_by_any_name_of_loopback(page: Page, name: str) -> None:
    """With a port and, behind a proxy on this machine, without; the scheme does not matter."""
    for host in (f"{name}:{page.port}", name):
        assert page.swarm({"Host": host, "Origin": f"https://{host}"})[0] == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8089", "localhost.evil.example", "10.0.0.1", "[::2]:80"]
)
def test_rebound_name_is_refused(page: Page, host: str) -> None:
    """The attacker's name leads to loopback: to the browser it is all the same origin."""
    headers = {"Host": host, "Origin": f"http://{host}", "Sec-Fetch-Site": "same-origin"}
    status, text = page.swarm(headers)
    assert status == 403
    assert text == f"refused: the page listens on loopback only, and {host!r} is not loopback\n"
    assert page.users == 0
    assert page.get("/stats/requests", Host=host) == 403


@pytest.mark.parametrize("bind_host", ["", "0.0.0.0", "10.0.0.1", "load.example"])  # noqa: S104  # a value
def test_any_name_is_fine_beyond_loopback(serve: Callable[..., Page], bind_host: str) -> None:
    """Whoever listens to the network is reached by names we cannot know; pages stay apart."""
    page = serve(bind_host=bind_host)
    own = {"Host": "load.example:8089", "Origin": "http://load.example:8089"}
    assert page.swarm(own)[0] == 200
    assert page.swarm({**own, "Origin": FOREIGN})[0] == 403


@pytest.mark.parametrize("bind_host", ["localhost", "127.0.0.2", "::1"])
def test_every_loopback_address_is_guarded(serve: Callable[..., Page], bind_host: str) -> None:
    """However it was written on the command line."""
    assert serve(bind_host=bind_host).get("/", Host="evil.example") == 403


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
@pytest.mark.parametrize("path", ["/stats/requests", "/stats/report", "/logs", "/tasks"])
def test_other_site_cannot_have_results(page: Page, site: str, path: str) -> None:
    """Not as a script, an image or a frame, and not by a link either."""
    assert page.get(path, Sec_Fetch_Site=site) == 403
    assert page.request("GET", path, {**LINK, "Sec-Fetch-Site": site})[0].status == 403


def test_other_site_can_link_to_the_page(page: Page) -> None:
    """A wiki may, and the browser says all along who sent it."""
    assert page.request("GET", "/", LINK)[0].status == 200
    assert page.get("/assets/favicon-light.png", Sec_Fetch_Site="cross-site") == 200


def test_other_site_cannot_frame_the_page(page: Page) -> None:
    """Clicks into an invisible frame would be the visitor's own."""
    assert page.request("GET", "/", {**LINK, "Sec-Fetch-Dest": "iframe"})[0].status == 403


def test_other_site_cannot_post_by_navigation(page: Page) -> None:
    """A form that is sent to us is no link."""
    assert page.swarm(LINK)[0] == 403
    assert page.request("POST", "/", LINK)[0].status == 403
    assert page.users == 0


@pytest.mark.parametrize("site", ["same-origin", "none"])
def test_own_requests_for_results(page: Page, site: str) -> None:
    """The page itself, and an address typed by hand."""
    assert page.get("/stats/requests", Sec_Fetch_Site=site) == 200


def test_base_path_is_honoured(serve: Callable[..., Page]) -> None:
    """Below `--web-base-path` the same is allowed, and the same refused."""
    page = serve(base_path="/load")
    assert page.request("GET", "/", LINK)[0].status == 200
    assert page.get("/assets/favicon-light.png", Sec_Fetch_Site="cross-site") == 200
    assert page.request("GET", "/stats/requests", LINK)[0].status == 403
    assert page.swarm({"Origin": FOREIGN})[0] == 403
    assert page.swarm({"Origin": f"http://{page.host}"})[0] == 200


@pytest.mark.parametrize("path", ["/", "/stats/requests", "/no/such/page", "/swarm"])
def test_no_response_lets_other_origins_read_it(page: Page, path: str) -> None:
    """Not even one that is refused, not found or not allowed."""
    for headers in ({}, {"Origin": f"http://{page.host}"}, {"Origin": FOREIGN}):
        response, _ = page.request("GET", path, headers)
        named = [name for name in response.headers if name.lower().startswith("access-control")]
        assert named == [], headers


def test_preflight_of_another_origin_is_refused(page: Page) -> None:
    """The browser asks before it sends JSON, and gets a no."""
    headers = {"Origin": FOREIGN, "Access-Control-Request-Method": "POST"}
    response, _ = page.request("OPTIONS", "/user", headers)
    assert response.status == 403
    assert response.getheader("Access-Control-Allow-Origin") is None


def test_unguarded_page_lets_everybody_in() -> None:
    """If this is no longer true, Locust has changed: the guard may have to go."""
    environment = Environment(user_classes=[Idle])
    environment.create_local_runner().quit()
    web_ui = environment.create_web_ui("127.0.0.1", 0, delayed_start=True)
    assert web_ui.app is not None
    response = web_ui.app.test_client().get("/stats/requests", headers={"Origin": FOREIGN})
    assert response.status_code == 200
    assert response.headers["Access-Control-Allow-Origin"] in ("*", FOREIGN)

"""Asks an application server for client URLs, as the negotiate pattern does.

Source: protocol reference, 2.4.
"""

import json
import logging
from dataclasses import dataclass, field
from http.cookiejar import DefaultCookiePolicy
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter

from wpsload.client_url import ClientUrl, parse_client_url
from wpsload.errors import ConfigError, ConnectError
from wpsload.secret import Secret

__all__ = ["NegotiateEndpoint"]

# Greenlets that negotiate at the same moment and still find a kept connection afterwards.
_POOL = 1000


def _session() -> requests.Session:
    """A session for many users at once: connections are kept, cookies are not."""
    # At DEBUG urllib3 logs each path with its query, which may hold a function key.
    logging.getLogger("urllib3.connectionpool").setLevel(logging.INFO)
    session = requests.Session()
    # A cookie that the server set for one user must not travel with the next.
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    adapter = HTTPAdapter(pool_maxsize=_POOL)
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return session


@dataclass(frozen=True, slots=True)
class NegotiateEndpoint:
    """An address that answers `GET ?id={user}` with a client URL for that user.

    The answer is a JSON object with a `url`, a JSON string, or the plain URL. `host` is the part
    of `url` that may be shown. `timeout_s` bounds connecting and each wait for more of the answer.
    """

    url: Secret
    host: str
    timeout_s: float = 10.0
    _requests: requests.Session = field(default_factory=_session, repr=False, compare=False)

    @classmethod
    def parse(cls, url: str, *, source: str) -> "NegotiateEndpoint":
        """The endpoint at `url`, which came from `source`. Connects to nothing.

        Raises:
            ConfigError: if it is not an HTTP URL.
        """
        return cls(url=Secret(url), host=_host(url, source))

    def ask(self, user_id: str) -> ClientUrl:
        """What the server answers for this user. Blocks; `timeout_s` bounds each wait.

        Raises:
            ConnectError: if it does not answer, or not with a usable URL.
        """
        # Exceptions of requests quote the URL, and its query may hold a key: never chain them.
        try:
            response = self._requests.get(
                self.url.reveal(), params={"id": user_id}, timeout=self.timeout_s
            )
        except requests.Timeout:
            raise _error("negotiate endpoint did not answer in time") from None
        except requests.RequestException:
            raise _error("negotiate endpoint cannot be reached") from None
        if response.status_code != 200:
            raise _error(
                f"negotiate endpoint answered HTTP {response.status_code}",
                status=response.status_code,
            )
        url = _url_of_answer(response.content.decode("utf-8", "replace"))
        if url is None:
            raise _error("negotiate endpoint answered without a url", status=200)
        try:
            return parse_client_url(url, source="the answer")
        except ConfigError as error:
            raise _error(
                "negotiate endpoint answered with an unusable url",
                status=200,
                hint=f"{error.message}; {error.hint}" if error.hint else error.message,
            ) from error


def _host(url: str, source: str) -> str:
    """Host and port of the URL, all of it that may be shown."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or parts.scheme not in ("http", "https"):
        raise ConfigError(
            f"{source} is not an HTTP URL",
            hint="it looks like https://app.example.com/negotiate",
        )
    return host if port is None else f"{host}:{port}"


def _url_of_answer(body: str) -> str | None:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        value = body
    if isinstance(value, dict):
        value = value.get("url")
    return value if isinstance(value, str) and value.strip() else None


def _error(outcome: str, *, status: int | None = None, hint: str | None = None) -> ConnectError:
    return ConnectError(outcome, phase="negotiate", status=status, hint=hint)

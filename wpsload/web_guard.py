"""Keeps web pages other than Locust's own from using Locust's page.

Locust lets every origin use its page, which has no login: a page that is open in the same browser
could start a load test, and somebody would pay for it. This guard stands in front of the page and
refuses, with status 403 and one line of text:

- a request whose `Origin` is not the host and port it is sent to;
- a request of which the browser says by `Sec-Fetch-Site` that another site caused it. Following a
  link to the start page or to the login is fine, and so is loading the page's static files;
- if the page listens on loopback only, a `Host` that is not loopback: by answering DNS queries for
  its own name with 127.0.0.1, another site's page counts as the same origin (DNS rebinding).

Programs send none of these headers, and a `Host` of what they connect to: they pass. Responses
lose the headers by which Locust allows other origins to read them.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from locust.web import WebUI

    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from flask import Flask

__all__ = ["install"]

_OWN_SITE = ("same-origin", "none")  # none: typed, or from a bookmark


def install(web_ui: WebUI, *, bind_host: str) -> None:
    """Guard the page, which listens on `bind_host`; `--web-base-path` is honoured.

    A reverse proxy has to leave the `Host` header as the browser sent it.
    """
    app: Flask = web_ui.app  # type: ignore[assignment]  # None only while it is being made
    base_path = app.blueprints["locust"].url_prefix or ""
    # Outside of Flask: flask_cors adds its headers after everything that Flask calls for us.
    app.wsgi_app = _Guard(  # type: ignore[method-assign]  # as Flask documents for middleware
        app.wsgi_app, base_path=base_path.rstrip("/"), is_loopback=_is_loopback(bind_host)
    )


class _Guard:
    """A WSGI application around another."""

    def __init__(self, app: WSGIApplication, *, base_path: str, is_loopback: bool) -> None:
        self._app = app
        self._navigable = (base_path, f"{base_path}/", f"{base_path}/login")
        self._assets = f"{base_path}/assets/"
        self._is_loopback = is_loopback

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        refusal = self._refusal(environ)
        if refusal is not None:
            start_response("403 Forbidden", [("Content-Type", "text/plain; charset=utf-8")])
            return [f"refused: {refusal}\n".encode()]

        def start_without_cors(
            status: str, headers: list[tuple[str, str]], exc_info: Any = None, /
        ) -> Callable[[bytes], object]:
            kept = [one for one in headers if not one[0].lower().startswith("access-control-")]
            return start_response(status, kept, exc_info)

        return self._app(environ, start_without_cors)

    def _refusal(self, environ: WSGIEnvironment) -> str | None:
        host: str | None = environ.get("HTTP_HOST")
        if self._is_loopback and host is not None and not _is_loopback(_name(host)):
            return f"the page listens on loopback only, and {host!r} is not loopback"
        origin: str | None = environ.get("HTTP_ORIGIN")
        if origin is not None and (host is None or not _is_same(origin, host)):
            return f"a page of {origin!r} may not use the page of {host!r}"
        site: str = environ.get("HTTP_SEC_FETCH_SITE", "none")
        if site not in _OWN_SITE and not self._is_harmless(environ):
            return f"a page of another site may not use the page of {host!r}"
        return None

    def _is_harmless(self, environ: WSGIEnvironment) -> bool:
        """Whether other sites may link to this."""
        if environ["REQUEST_METHOD"] != "GET":
            return False
        path: str = environ["PATH_INFO"]
        is_top_level = (
            environ.get("HTTP_SEC_FETCH_MODE") == "navigate"
            and environ.get("HTTP_SEC_FETCH_DEST") == "document"
        )
        return path.startswith(self._assets) or (is_top_level and path in self._navigable)


def _is_same(origin: str, host: str) -> bool:
    """The scheme is left out: a proxy may end TLS in front of us."""
    return urlsplit(origin).netloc.lower() == host.lower()


def _name(host: str) -> str:
    """The host of a `Host` header, without its port."""
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0]


def _is_loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.removeprefix("[").removesuffix("]")).is_loopback
    except ValueError:
        return False

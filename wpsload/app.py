"""An app server in small: it answers `GET /negotiate?id=USER` with a client URL for that user.

Source: protocol reference, 2.4.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable

from aiohttp import web

from wpsload import open_files
from wpsload.errors import ConfigError
from wpsload.listening import cannot_listen, is_loopback, stop_signals
from wpsload.minting import Minting

__all__ = ["NEGOTIATE_PATH", "application", "serve"]

NEGOTIATE_PATH = "/negotiate"

_HOW = f"ask GET {NEGOTIATE_PATH}?id=USER"
_BACKLOG = 4096  # a load test negotiates for many users at once
_PORT = re.compile(r":\d*$")
_PRIVATE = {"Cache-Control": "no-store"}  # an answer holds a token


def application(minting: Minting, *, host: str) -> web.Application:
    """The aiohttp application that hands out what `minting` says, and every error as JSON.

    If nobody but this machine reaches `host`, only requests to a name of this machine are answered:
    another web page could have its own name lead here, and read the tokens.
    """

    async def negotiate(request: web.Request) -> web.Response:
        user_id = request.query.get("id", "")
        if not user_id:
            return _error(400, f"id is missing: {_HOW}")
        try:
            client = minting.client_url(user_id)
        except ConfigError as error:
            return _error(400, error.message)
        return web.json_response({"url": client.url.reveal()}, headers=_PRIVATE)

    @web.middleware
    async def in_json(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        asked_for = _PORT.sub("", request.host).strip("[]")
        if is_loopback(host) and not is_loopback(asked_for):
            return _error(403, f"ask 127.0.0.1 or localhost, not {asked_for}")
        try:
            return await handler(request)
        except web.HTTPException as error:
            return _error(error.status, f"{error.reason.lower()}: {_HOW}")

    app = web.Application(middlewares=[in_json])
    app.router.add_get(NEGOTIATE_PATH, negotiate)
    return app


def _error(status: int, message: str) -> web.Response:
    return web.json_response({"error": message}, status=status)


async def serve(
    minting: Minting, *, host: str, port: int, listening: Callable[[int], None]
) -> None:
    """Serve until SIGINT or SIGTERM; `listening` is called once, with the port.

    Raises:
        ConfigError: if the address cannot be listened on.
    """
    open_files.raise_limit()
    runner = web.AppRunner(
        application(minting, host=host), access_log=None
    )  # it would log user ids
    stopping = asyncio.Event()
    try:
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port, backlog=_BACKLOG).start()
        except (OSError, OverflowError, UnicodeError) as error:
            raise cannot_listen(error, host=host, port=port) from error
        with stop_signals(stopping):
            listening(runner.addresses[0][1])
            await stopping.wait()
    finally:
        await runner.cleanup()

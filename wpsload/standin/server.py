"""The stand-in's process: HTTP and WebSocket on one port, from start to clean stop.

The WebSocket side is `wpsload.standin.wire`, the REST side `wpsload.standin.rest`, and everything
that Web PubSub decides is in `wpsload.standin.hub`.
"""

import asyncio
import contextlib
import errno
import logging
import os
import secrets
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import orjson
from aiohttp import web

from wpsload import open_files
from wpsload.errors import ConfigError, LocalProtocolError
from wpsload.names import is_hub
from wpsload.standin.access import AccessDenied, ClientClaims, Gate, InvalidClaim, bearer
from wpsload.standin.delivery import Deliveries
from wpsload.standin.faults import Fault, Faults
from wpsload.standin.hub import (
    Abort,
    Admission,
    Close,
    Deliver,
    Hub,
    Output,
    Publish,
    Send,
    SendAck,
    SendLateAck,
    Upstream,
)
from wpsload.standin.ledger import Ledger, bump
from wpsload.standin.line import Line
from wpsload.standin.pipe import Turn, open_pipes
from wpsload.standin.rest import MAX_BODY_BYTES, RestApi
from wpsload.standin.roles import Permissions
from wpsload.standin.strikes import Strikes
from wpsload.standin.wire import Wire, WireSettings, data_frame
from wpsload.subprotocol import JSON_V1, MAX_MESSAGE_BYTES, check_group
from wpsload.units import nanoseconds

__all__ = ["Settings", "StandIn", "serve"]

LISTEN_BACKLOG = 4096
"""Connections the kernel may hold before they are accepted: a load test opens many at once."""

STOP_TIMEOUT_S = 1.5
"""Wait for clients to answer the close when the process stops."""

REST_TIMEOUT_S = 0.2
"""After that, wait for REST requests under way."""

UNSPOKEN = (
    "json.reliable.webpubsub.azure.v1",
    "protobuf.webpubsub.azure.v1",
    "protobuf.reliable.webpubsub.azure.v1",
)
"""Subprotocols of the service that this release does not speak. Source: protocol reference, 1.2."""

_log = logging.getLogger("wpsload.standin")


@dataclass(frozen=True, slots=True)
class Settings:
    """How the stand-in behaves; durations in seconds.

    Attributes:
        access_key: signs tokens, as it stands in the connection string.
        clock_skew_s: how far `exp` and `nbf` of a token may be off.
        upstream: what stands behind the hub.
        max_message_bytes: largest WebSocket message accepted, envelope included.
        wire: ack delay and keep-alive interval.
        faults: what to inject, at most one fault of each name.
        capacity_per_s: messages of clients that it handles in a second, None for all it can.
    """

    access_key: str = field(repr=False)
    clock_skew_s: float = 300.0
    upstream: Upstream = "echo"
    max_message_bytes: int = MAX_MESSAGE_BYTES
    wire: WireSettings = field(default_factory=WireSettings)
    faults: tuple[Fault, ...] = ()
    capacity_per_s: float | None = None


class StandIn:
    """All hubs of one process, with their connections and one ledger."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._gate = Gate(settings.access_key.encode(), settings.clock_skew_s)
        self._faults = Faults(settings.faults)
        self.ledger = Ledger(
            faults=self._faults.injected,
            configured={
                "ack_delay_ns": nanoseconds(settings.wire.ack_delay_s),
                "capacity_per_s": settings.capacity_per_s,
                "faults": self._faults.settings(),
            },
        )
        self._deliveries = Deliveries(self._faults, self.ledger)
        self._hubs: dict[str, Hub] = {}
        self._wires: dict[str, Wire] = {}
        self._strikes = Strikes(self._faults, self.ledger, self._wires)
        self._turn = Turn()
        self._pipes = open_pipes(self._turn)
        self._line = None if settings.capacity_per_s is None else Line(settings.capacity_per_s)
        self._sessions: dict[Wire, asyncio.Future[None]] = {}  # until the TCP connection ends
        self._told: set[str] = set()

    def application(self) -> web.Application:
        """The aiohttp application that serves it."""
        rest = RestApi(self._gate, find_hub=self._hub, perform=self._perform)
        app = web.Application(client_max_size=MAX_BODY_BYTES + 1)
        app.router.add_get("/client/hubs/{hub}", self._accept_client)
        app.router.add_get("/client/", self._accept_client)
        app.router.add_get("/client", self._accept_client)
        app.router.add_get("/_standin/stats", self._stats)
        app.router.add_route("*", "/api/{rest:.*}", rest.handle)
        return app

    def _hub(self, name: str) -> Hub:
        """The hub of a name; names differ in more than case."""
        hub = self._hubs.get(name.lower())
        if hub is None:
            hub = self._hubs[name.lower()] = Hub(
                ledger=self.ledger,
                faults=self._faults,
                upstream=self._settings.upstream,
                max_message_bytes=self._settings.max_message_bytes,
            )
        return hub

    def _perform(self, outputs: list[Output]) -> None:  # noqa: C901  # one case for each output
        """Do what a hub asks for, and count what was really written."""
        wires = self._wires
        for output in outputs:
            if type(output) is SendAck:  # the usual one, and this the fastest way to know it
                connection_id, payload, name = output
                if wire := wires.get(connection_id):
                    wire.queue_ack(payload, name)
                continue
            match output:
                case Send():
                    self._send(output)
                case Close(connection_id, code, reason, message):
                    if wire := wires.get(connection_id):
                        wire.close(code, reason, message)
                case Abort(connection_id):
                    if wire := wires.get(connection_id):
                        wire.abort()
                case Deliver():
                    self._deliver(output)
                case SendLateAck():
                    self._send_late(output)

    def _send(self, send: Send) -> None:
        """Write one frame to many, and count it once."""
        wires = self._wires
        kind, size = send.kind, len(send.payload)
        data = data_frame(send.payload, is_text=send.is_text)
        written = 0
        for connection_id in send.to:
            wire = wires.get(connection_id)
            if wire is not None and wire.write(data, kind, size):
                written += 1
        self.ledger.wrote(kind, size, times=written)

    def _send_late(self, ack: SendLateAck) -> None:
        if wire := self._wires.get(ack.connection_id):
            wire.queue_late_ack(ack.payload, ack.name, fault="delay-ack", by_s=ack.by_s)

    def _deliver(self, message: Deliver) -> None:
        """Write one group message to many, with what faults do to each of them."""
        data = data_frame(message.payload, is_text=message.is_text)
        for connection_id in message.to:
            if wire := self._wires.get(connection_id):
                self._deliveries.write(
                    wire, data, payload_bytes=len(message.payload), sender=message.sender
                )

    async def _stats(self, _request: web.Request) -> web.Response:
        body = orjson.dumps(self.ledger.snapshot())
        return web.Response(body=body, content_type="application/json")

    async def _accept_client(self, request: web.Request) -> web.StreamResponse:
        """Answer a WebSocket handshake. Source: protocol reference, 1.1 and 1.2."""
        websocket = web.WebSocketResponse(
            protocols=(JSON_V1,),
            autoclose=False,
            autoping=False,
            compress=False,
        )
        handshake = websocket.can_prepare(request)
        if not handshake.ok:
            return self._refuse(400, "it is not a WebSocket handshake")
        if fault := self._faults.strike("refuse-connect"):
            return self._refuse(fault.status, "a fault was injected")
        hub = request.match_info.get("hub") or request.query.get("hub", "")
        if not is_hub(hub):
            return self._refuse(400, "the hub name is invalid")
        try:
            claims = self._gate.client(_client_token(request), audiences=_audiences(request, hub))
            admission = _admission(request, claims, is_simple=handshake.protocol is None)
        except AccessDenied as error:
            return self._refuse(401, error.message)
        except InvalidClaim as error:
            return self._refuse(400, error.message)
        if admission.is_simple:
            self._explain_unspoken(request)
        try:
            await websocket.prepare(request)
        except ConnectionResetError:
            return web.Response()  # the client is gone already: nobody gets it
        if isinstance(request.transport, asyncio.Transport):  # None if the client is gone already
            await self._serve_client(request.transport, self._hub(hub), admission)
        return websocket

    async def _serve_client(
        self,
        transport: asyncio.Transport,
        hub: Hub,
        admission: Admission,
    ) -> None:
        connection_id = secrets.token_hex(16)
        wire = Wire(
            connection_id,
            is_simple=admission.is_simple,
            transport=transport,
            handshake=transport.get_protocol(),
            max_message_bytes=self._settings.max_message_bytes,
            hub=hub,
            ledger=self.ledger,
            settings=self._settings.wire,
            pipes=self._pipes,
            turn=self._turn,
            perform=self._perform,
            ended=self._forget,
            line=self._line,
        )
        self._wires[connection_id] = wire
        self.ledger.connections_open += 1
        self.ledger.connections_total += 1
        self._strikes.begin()
        self._perform(hub.connect(connection_id, admission))
        over = self._sessions[wire] = asyncio.get_running_loop().create_future()
        try:
            await wire.serve()
        finally:
            del self._sessions[wire]
            over.set_result(None)

    def _forget(self, connection_id: str) -> None:
        del self._wires[connection_id]

    def _refuse(self, status: int, why: str) -> web.Response:
        """Answer a request to a client URL with an HTTP error."""
        bump(self.ledger.refused, str(status))
        self._tell(f"refused a client with HTTP {status}: {why}")
        headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
        return web.Response(status=status, headers=headers)

    def _explain_unspoken(self, request: web.Request) -> None:
        """Say why a client whose subprotocol exists is served as a simple one all the same.

        The official SDKs offer the reliable subprotocol unless told otherwise.
        """
        offered = ",".join(request.headers.getall("Sec-WebSocket-Protocol", []))
        for name in map(str.strip, offered.split(",")):
            if name in UNSPOKEN:
                self._tell(
                    f"a client offered {name}, which this release does not speak; choose {JSON_V1}"
                )

    def _tell(self, what: str) -> None:
        """Log it, but only once, so that a load test cannot flood the terminal."""
        if what not in self._told:
            self._told.add(what)
            _log.warning("%s", what)

    async def stop(self) -> None:
        """Close all clients with 1001, and drop those that do not answer in time."""
        self._strikes.cancel()
        for wire in self._sessions:
            wire.go_away()
        if self._sessions:
            await asyncio.wait(self._sessions.values(), timeout=STOP_TIMEOUT_S)
        for wire in tuple(self._sessions):
            wire.abort()

    def close(self) -> None:
        """Give back what the connections shared, when all of them are over."""
        self._pipes.close()


def _client_token(request: web.Request) -> str | None:
    """The query wins over the header. Source: protocol reference, 1.1."""
    if token := request.query.get("access_token"):
        return token
    return bearer(request.headers.get("Authorization", ""))


def _audiences(request: web.Request, hub: str) -> Sequence[str]:
    """Audiences that open this hub. Source: protocol reference, 2.1 and section 13, row 26."""
    root = f"http://{request.host}/client/"
    if "hub" in request.match_info:
        return (f"{root}hubs/{hub}",)
    return (f"{root}hubs/{hub}", f"{root}?hub={hub}", f"{root.rstrip('/')}?hub={hub}")


def _admission(request: web.Request, claims: ClientClaims, *, is_simple: bool) -> Admission:
    """What token and URL say. Source: protocol reference, 1.1 and section 3.

    Raises:
        InvalidClaim: if the mode of a simple client cannot be used.
    """
    return Admission(
        is_simple=is_simple,
        user_id=claims.user_id,
        permissions=Permissions.from_roles(claims.roles),
        groups=claims.groups,
        publish=_publish(request) if is_simple else None,
    )


def _publish(request: web.Request) -> Publish | None:
    query = request.query
    mode = query.get("webpubsub_mode", "sendEvent")
    if mode == "sendEvent":
        return None
    if mode != "sendToGroup":
        raise InvalidClaim("webpubsub_mode is neither sendEvent nor sendToGroup")
    no_echo = query.get("noEcho", "false").lower()
    if no_echo not in ("true", "false"):
        raise InvalidClaim("noEcho is neither true nor false")
    try:
        group = check_group(query.getall("group", [""])[-1])
    except LocalProtocolError as error:
        raise InvalidClaim("sendToGroup needs a valid group") from error
    return Publish(group, no_echo == "true")


async def serve(
    settings: Settings,
    *,
    host: str,
    port: int,
    listening: Callable[[int], None],
    until_stdin_closes: bool = False,
) -> None:
    """Serve until SIGINT, SIGTERM or, if asked, the end of stdin; clients are closed with 1001.

    `listening` is called once with the port, which matters if `port` was 0.

    Raises:
        ConfigError: if the address cannot be listened on, or a fault comes twice.
    """
    # aiohttp warns about each client whose subprotocol is unknown, which is normal here.
    logging.getLogger("aiohttp.websocket").setLevel(logging.ERROR)
    open_files.raise_limit()
    stand_in = StandIn(settings)
    runner = web.AppRunner(stand_in.application(), access_log=None, shutdown_timeout=REST_TIMEOUT_S)
    stopping = asyncio.Event()
    try:
        await runner.setup()
        site = web.TCPSite(runner, host, port, backlog=LISTEN_BACKLOG)
        try:
            await site.start()
        except (OSError, OverflowError, UnicodeError) as error:
            raise _cannot_listen(error, host=host, port=port) from error
        with _stop_signals(stopping):
            if until_stdin_closes:
                _watch_stdin(stopping)
            listening(runner.addresses[0][1])
            await stopping.wait()
        await site.stop()
        await stand_in.stop()
    finally:
        await runner.cleanup()
        stand_in.close()


def _cannot_listen(error: Exception, *, host: str, port: int) -> ConfigError:
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        return ConfigError(f"port {port} is taken", hint="choose another --port, or 0 for any")
    return ConfigError(f"cannot listen on {host}, port {port}", hint="check --host and --port")


@contextlib.contextmanager
def _stop_signals(stopping: asyncio.Event) -> Iterator[None]:
    """Turn SIGINT and SIGTERM into a clean stop while inside."""
    loop = asyncio.get_running_loop()
    signals = (signal.SIGINT, signal.SIGTERM)
    try:
        for each in signals:
            loop.add_signal_handler(each, stopping.set)
    except NotImplementedError:  # Windows: its event loop does not know signals
        for each in signals:
            signal.signal(each, lambda *_: loop.call_soon_threadsafe(stopping.set))
        yield
    else:
        yield
        for each in signals:
            loop.remove_signal_handler(each)


def _watch_stdin(stopping: asyncio.Event) -> None:
    """Stop when stdin ends: whoever started this process is gone then."""
    loop = asyncio.get_running_loop()

    def wait() -> None:
        # Not sys.stdin.read(): a thread blocked there holds a lock the interpreter wants at exit.
        while os.read(0, 4096):
            pass
        with contextlib.suppress(RuntimeError):  # the loop may have stopped first
            loop.call_soon_threadsafe(stopping.set)

    threading.Thread(target=wait, name="stdin", daemon=True).start()

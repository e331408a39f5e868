"""The REST data plane: health, client tokens, and sends to all, a group, a user or a connection.

Routing works on the raw path, because the service keeps `%2F` in a path segment while it decodes
everything else once. Source: protocol reference, 1.4, 2.2 and 9.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import unquote

import orjson
from aiohttp import web

from wpsload.errors import LocalProtocolError, WpsloadError
from wpsload.names import is_hub
from wpsload.standin.access import AccessDenied, Gate, bearer
from wpsload.standin.hub import Hub, Output
from wpsload.subprotocol import DataType, check_group, check_metadata

__all__ = ["API_VERSIONS", "MAX_BODY_BYTES", "RestApi", "decode_segment"]

API_VERSIONS = ("2021-10-01", "2022-11-01", "2023-07-01", "2024-01-01", "2024-12-01")
MAX_BODY_BYTES = 1024 * 1024
"""Largest body of a send; a larger one gets 400. Source: protocol reference, 8.1."""

MAX_TTL_S = 300
MAX_LIFETIME_MINUTES = 365 * 24 * 60
"""Longest life of a token; a bound of ours that keeps dates in range."""

_METADATA_PREFIX = "X-WebPubSub-Metadata-"
_KEPT = re.compile("(%2F)", re.IGNORECASE)
_DATA_TYPES: dict[str, DataType] = {
    "text/plain": "text",
    "application/json": "json",
    "application/octet-stream": "binary",
}


class RestError(WpsloadError):
    """A request that is answered with `status` and the documented error body."""

    def __init__(self, status: int, code: str, message: str, *, target: str = "Request") -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.target = target


def _bad_request(message: str, *, target: str = "Request") -> RestError:
    return RestError(400, "Error.BadRequest", message, target=target)


def decode_segment(segment: str) -> str:
    """One path segment percent-decoded once, except `%2F`, which stays as it is.

    Source: protocol reference, 1.4.
    """
    return "".join(
        part if index % 2 else unquote(part) for index, part in enumerate(_KEPT.split(segment))
    )


@dataclass(frozen=True, slots=True)
class _Message:
    """The body of a send and its metadata; JSON text is passed on as it was written."""

    data: Any
    data_type: DataType
    metadata: Mapping[str, str] | None


class RestApi:
    """Answers everything under `/api`.

    `find_hub` gives the hub of a name, `perform` does what a hub asks for.
    """

    def __init__(
        self,
        gate: Gate,
        *,
        find_hub: Callable[[str], Hub],
        perform: Callable[[list[Output]], None],
    ) -> None:
        self._gate = gate
        self._find_hub = find_hub
        self._perform = perform

    async def handle(self, request: web.Request) -> web.Response:
        """The answer to one request."""
        try:
            response = await self._route(request)
        except RestError as error:
            response = _error_response(error)
        except AccessDenied as error:
            response = _error_response(RestError(401, "Unauthorized", error.message))
            response.headers["WWW-Authenticate"] = "Bearer"
        response.headers["api-supported-versions"] = ", ".join(API_VERSIONS)
        return response

    async def _route(self, request: web.Request) -> web.Response:
        path = request.raw_path.partition("?")[0]
        segments = [decode_segment(each) for each in path.split("/")[2:]]
        match request.method, segments:
            case "GET" | "HEAD", ["health"]:
                _check_version(request)
                return web.Response()
            case "POST", ["hubs", hub, ":generateToken"]:
                self._admit(request, path, hub)
                return self._generate_token(request, hub)
            case "POST", ["hubs", hub, ":send"]:
                message = await self._read_send(request, path, hub)
                outputs = self._find_hub(hub).send_to_all(
                    message.data,
                    message.data_type,
                    excluded=_excluded(request),
                    metadata=message.metadata,
                )
            case "POST", ["hubs", hub, "groups", group, ":send"]:
                message = await self._read_send(request, path, hub)
                outputs = self._find_hub(hub).send_to_group(
                    _group(group),
                    message.data,
                    message.data_type,
                    excluded=_excluded(request),
                    metadata=message.metadata,
                )
            case "POST", ["hubs", hub, "users", user_id, ":send"]:
                message = await self._read_send(request, path, hub)
                outputs = self._find_hub(hub).send_to_user(
                    user_id, message.data, message.data_type, metadata=message.metadata
                )
            case "POST", ["hubs", hub, "connections", connection_id, ":send"]:
                message = await self._read_send(request, path, hub)
                outputs = self._find_hub(hub).send_to_connection(
                    connection_id, message.data, message.data_type, metadata=message.metadata
                )
            case _:
                raise RestError(404, "Error.NotFound", "the stand-in has no such operation")
        self._perform(outputs)
        return web.Response(status=202)

    def _admit(self, request: web.Request, path: str, hub: str) -> None:
        """Check what all operations on a hub have in common."""
        _check_version(request)
        token = bearer(request.headers.get("Authorization", ""))
        self._gate.rest(token, url=f"http://{request.host}{path}")
        if not is_hub(hub):
            raise _bad_request("invalid hub name", target="hub")

    async def _read_send(self, request: web.Request, path: str, hub: str) -> _Message:
        self._admit(request, path, hub)
        if "filter" in request.query:
            raise _bad_request("the stand-in does not support filters yet", target="filter")
        _integer(request, "messageTtlSeconds", range(MAX_TTL_S + 1))
        return await _read_message(request)

    def _generate_token(self, request: web.Request, hub: str) -> web.Response:
        query = request.query
        minutes = _integer(request, "minutesToExpire", range(1, MAX_LIFETIME_MINUTES + 1))
        if query.get("clientType", "Default").lower() != "default":
            raise _bad_request("the stand-in serves Default clients only", target="clientType")
        now = datetime.now(tz=UTC)
        claims: dict[str, Any] = {
            "aud": f"http://{request.host}/client/hubs/{hub}",
            "nbf": now,
            "iat": now,
            "exp": now + timedelta(minutes=60 if minutes is None else minutes),
        }
        if user_id := query.get("userId"):
            claims["sub"] = user_id
        if roles := query.getall("role", []):
            claims["role"] = roles
        if groups := query.getall("group", []):
            claims["webpubsub.group"] = [_group(each) for each in groups]
        body = orjson.dumps({"token": self._gate.sign(claims)})
        return web.Response(body=body, content_type="application/json")


def _check_version(request: web.Request) -> None:
    version = request.query.get("api-version")
    if version is not None and version not in API_VERSIONS:
        raise _bad_request("unsupported api-version", target="api-version")


def _integer(request: web.Request, name: str, allowed: range) -> int | None:
    """A whole number of the query; None if it is not there."""
    text = request.query.get(name)
    if text is None:
        return None
    is_number = text.isascii() and text.isdigit() and len(text) <= len(str(allowed.stop))
    if not (is_number and int(text) in allowed):
        raise _bad_request(
            f"{name} is not a whole number from {allowed.start} to {allowed.stop - 1}", target=name
        )
    return int(text)


def _excluded(request: web.Request) -> frozenset[str]:
    return frozenset(request.query.getall("excluded", []))


def _group(group: str) -> str:
    try:
        return check_group(group)
    except LocalProtocolError as error:
        raise _bad_request("invalid group name", target="group") from error


def _media_type(headers: Sequence[str]) -> DataType:
    """The data type of a body; no content type at all is binary. Source: protocol reference, 9."""
    if not headers:
        return "binary"
    data_type = _DATA_TYPES.get(headers[0].partition(";")[0].strip().lower())
    if data_type is None:
        raise RestError(415, "Error.UnsupportedMediaType", "unsupported content type")
    return data_type


def _metadata(request: web.Request) -> Mapping[str, str] | None:
    """What the headers say; keys keep their case. Source: protocol reference, 9."""
    metadata = {
        name[len(_METADATA_PREFIX) :]: value
        for name, value in request.headers.items()
        if name.lower().startswith(_METADATA_PREFIX.lower())
    }
    try:
        return check_metadata(metadata) if metadata else None
    except LocalProtocolError as error:
        raise _bad_request(error.message, target="metadata") from error


async def _read_message(request: web.Request) -> _Message:
    data_type = _media_type(request.headers.getall("Content-Type", []))
    metadata = _metadata(request)
    if request.content_length is None or request.content_length > MAX_BODY_BYTES:
        raise _bad_request(f"the body must have a known length of at most {MAX_BODY_BYTES} bytes")
    body = await request.read()
    try:
        match data_type:
            case "text":
                return _Message(body.decode(), data_type, metadata)
            case "json":
                if orjson.loads(body) is None:
                    raise _bad_request("the body is null")
                return _Message(orjson.Fragment(body), data_type, metadata)
            case _:
                return _Message(body, data_type, metadata)
    except ValueError as error:  # neither UTF-8 nor JSON
        raise _bad_request(f"the body is not {data_type}") from error


def _error_response(error: RestError) -> web.Response:
    body: dict[str, Any] = {
        "code": error.code,
        "message": error.message,
        "target": error.target,
        "details": [],
        "inner": None,
    }
    return web.Response(
        status=error.status,
        body=orjson.dumps(body),
        content_type="application/json",
        headers={"x-ms-error-code": error.code},
    )

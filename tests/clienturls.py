"""Client URLs for tests, put together by hand, and what an error shows in all."""

import base64
import json
import traceback
from collections.abc import Callable
from typing import Any, TypeVar

from wpsload.client_url import ClientUrl
from wpsload.errors import ConfigError
from wpsload.tokens import ConnectionString, mint

__all__ = [
    "HOUR_S",
    "KEY",
    "NOW_S",
    "TEXT",
    "attempt",
    "claims_with",
    "connection",
    "encode",
    "minted",
    "url_with",
    "whole_story",
]

KEY = "cAnArY+0123456789/abcdefghijklmnopqrstuvwxyz="
TEXT = f"Endpoint=https://Load.webpubsub.azure.com/;AccessKey={KEY};Version=1.0;"
Given = TypeVar("Given")
Value = TypeVar("Value")

NOW_S = 1_760_000_000
HOUR_S = 3600


def connection(text: str = TEXT) -> ConnectionString:
    return ConnectionString.parse(text)


def minted(hub: str = "load", **options: Any) -> ClientUrl:
    return mint(connection(), hub, **{"now_s": NOW_S, "ttl_s": HOUR_S, **options})


def encode(part: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")


def url_with(claims: object, hub: str = "load") -> str:
    """A client URL whose token says `claims`, put together by hand and badly signed."""
    token = f"{encode({'alg': 'HS256', 'typ': 'JWT'})}.{encode(claims)}.AAAA"
    return f"wss://x.azure.com/client/hubs/{hub}?access_token={token}"


def claims_with(**changed: object) -> dict[str, object]:
    return {"aud": "https://x.azure.com/client/hubs/load", "exp": NOW_S + HOUR_S, **changed}


def whole_story(error: BaseException) -> str:
    """All that any handler, logger or traceback could show of an error."""
    return f"{error}{error!r}{''.join(traceback.format_exception(error))}"


def attempt(read: Callable[[Given], Value], argument: Given) -> Value | ConfigError:
    """What `read` makes of `argument`, or the `ConfigError` it raises; anything else fails."""
    try:
        return read(argument)
    except ConfigError as error:
        return error

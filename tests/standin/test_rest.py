"""The REST API over plain HTTP. With the official SDK as client: `test_interop.py`."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from rawclient import RawClient
from serving import StandIn

from wpsload.standin.rest import API_VERSIONS, decode_segment

SEND_ALL = "/api/hubs/load/:send"
TEXT = {"Content-Type": "text/plain"}


def call(
    stand_in: StandIn,
    target: str,
    *,
    method: str = "POST",
    headers: dict[str, str] | None = None,
    body: bytes = b"x",
) -> tuple[int, dict[str, str], Any]:
    """A call with a good token: status, headers and the JSON body, None if it is empty."""
    claims = {
        "aud": stand_in.endpoint + target,
        "exp": datetime.now(tz=UTC) + timedelta(minutes=1),
    }
    bearer = jwt.encode(claims, stand_in.access_key, algorithm="HS256")
    status, answer, content = stand_in.request(
        method,
        target,
        headers={"Authorization": f"Bearer {bearer}"} | (TEXT if headers is None else headers),
        body=body,
    )
    return status, answer, json.loads(content) if content else None


@pytest.mark.parametrize(
    ("segment", "decoded"),
    [
        ("g", "g"),
        ("a%20b", "a b"),
        ("a+b", "a+b"),
        ("%C3%BC", "ü"),
        ("a%2Fb%2fc", "a%2Fb%2fc"),
        ("a%252Fb", "a%2Fb"),
        ("%3Asend", ":send"),
        ("", ""),
    ],
)
def test_path_decoding(segment: str, decoded: str) -> None:
    """A path segment is decoded once; `%2F` stays."""
    assert decoded == decode_segment(segment)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_health(shared_stand_in: StandIn, method: str) -> None:
    """Health needs no token and tells the supported versions."""
    status, headers, body = shared_stand_in.request(method, "/api/health?api-version=2024-12-01")
    assert (status, body) == (200, b"")
    assert headers["api-supported-versions"] == ", ".join(API_VERSIONS)


def test_sends_reach_clients(stand_in: StandIn) -> None:
    """Each send is accepted with 202 and no body, and is counted for each connection reached."""
    url = stand_in.client_url(user_id="u ü", groups=["a%2F b"])
    with RawClient(url) as client:
        connection_id = client.message()["connectionId"]
        for target in (
            SEND_ALL,
            f"/api/hubs/LOAD/users/u%20%C3%BC/:send?api-version={API_VERSIONS[0]}",
            f"/api/hubs/load/connections/{connection_id}/:send",
            "/api/hubs/load/groups/a%252F%20b/:send?messageTtlSeconds=300",
            "/api/hubs/load/groups/a%2F%20b/:send",
        ):
            status, headers, body = call(stand_in, target)
            assert (status, body) == (202, None)
            assert "api-supported-versions" in headers
            assert client.message()["data"] == "x"
    stats = stand_in.stats()
    assert (stats["server_messages"], stats["deliveries"]) == (3, 2)


def test_hubs_are_apart(stand_in: StandIn) -> None:
    """A send in one hub reaches nobody in another."""
    with RawClient(stand_in.client_url()) as client:
        client.message()
        assert call(stand_in, "/api/hubs/other/:send")[0] == 202
    assert stand_in.stats()["server_messages"] == 0


def test_json_text_is_passed_on_as_it_was_written(shared_stand_in: StandIn) -> None:
    """A JSON body keeps its spacing and its digits on the way to clients."""
    body = b'{ "big": 12345678901234567890123, "n": 1.0e0 }'
    with RawClient(shared_stand_in.client_url(), subprotocols=None) as client:
        assert call(
            shared_stand_in, SEND_ALL, headers={"Content-Type": "application/json"}, body=body
        )
        assert body.decode() == client.payload()


def test_metadata_headers(shared_stand_in: StandIn) -> None:
    """Headers with the prefix, in any case, become metadata of each kind of send."""
    headers = TEXT | {"X-WebPubSub-Metadata-Trace": "1", "x-webpubsub-metadata-b": "x y"}
    with RawClient(shared_stand_in.client_url(user_id="u", groups=["g"])) as client:
        connection_id = client.message()["connectionId"]
        for path in ("", "groups/g/", "users/u/", f"connections/{connection_id}/"):
            assert call(shared_stand_in, f"/api/hubs/load/{path}:send", headers=headers)[0] == 202
            assert client.message()["metadata"] == {"Trace": "1", "b": "x y"}


def test_no_content_type_is_binary(shared_stand_in: StandIn) -> None:
    """A body without a type arrives as a binary frame."""
    with RawClient(shared_stand_in.client_url(), subprotocols=None) as client:
        assert call(shared_stand_in, SEND_ALL, headers={}, body=b"\xff")[0] == 202
        assert client.payload() == b"\xff"


JSON = {"Content-Type": "application/json"}
HTML = {"Content-Type": "text/html"}
MINT = "/api/hubs/load/:generateToken"


@pytest.mark.parametrize(
    ("request_", "status", "error_target"),
    [
        ((f"{SEND_ALL}?api-version=2020-01-01", TEXT, b"x"), 400, "api-version"),
        ((f"{SEND_ALL}?filter=userId", TEXT, b"x"), 400, "filter"),
        ((f"{SEND_ALL}?messageTtlSeconds=301", TEXT, b"x"), 400, "messageTtlSeconds"),
        ((f"{SEND_ALL}?messageTtlSeconds={'9' * 5000}", TEXT, b"x"), 400, "messageTtlSeconds"),
        ((f"{SEND_ALL}?messageTtlSeconds=-1", TEXT, b"x"), 400, "messageTtlSeconds"),
        (("/api/hubs/1/:send", TEXT, b"x"), 400, "hub"),
        (("/api/hubs/load/groups/%20/:send", TEXT, b"x"), 400, "group"),
        ((SEND_ALL, JSON, b"{"), 400, "Request"),
        ((SEND_ALL, JSON, b"null"), 400, "Request"),
        ((SEND_ALL, TEXT, b"\xff"), 400, "Request"),
        ((SEND_ALL, TEXT, b"x" * (1024 * 1024 + 1)), 400, "Request"),
        ((SEND_ALL, HTML, b"x"), 415, "Request"),
        ((SEND_ALL, TEXT | {"X-WebPubSub-Metadata-k": "v" * 1025}, b"x"), 400, "metadata"),
        ((SEND_ALL, TEXT | {"X-WebPubSub-Metadata-": "v"}, b"x"), 400, "metadata"),
        ((f"{MINT}?minutesToExpire=0", TEXT, b""), 400, "minutesToExpire"),
        ((f"{MINT}?clientType=MQTT", TEXT, b""), 400, "clientType"),
        ((f"{MINT}?group=%20", TEXT, b""), 400, "group"),
        (("/api/hubs/load/:sing", TEXT, b"x"), 404, "Request"),
        (("/api/hubs/load/groups/g/connections/c", TEXT, b"x"), 404, "Request"),
        (("/api/", TEXT, b"x"), 404, "Request"),
    ],
)
def test_errors(
    shared_stand_in: StandIn,
    request_: tuple[str, dict[str, str], bytes],
    status: int,
    error_target: str,
) -> None:
    """A request that cannot be served gets the documented error body and header."""
    target, headers, body = request_
    seen, answer, error = call(shared_stand_in, target, headers=headers, body=body)
    assert (status, error_target) == (seen, error["target"])
    assert {"code", "message", "target", "details", "inner"} == error.keys()
    assert answer["x-ms-error-code"] == error["code"]
    assert "api-supported-versions" in answer


def test_unknown_length_is_refused(shared_stand_in: StandIn) -> None:
    """A chunked body, whose length is not known beforehand, gets 400."""
    headers = TEXT | {"Transfer-Encoding": "chunked"}
    assert call(shared_stand_in, SEND_ALL, headers=headers, body=b"1\r\nx\r\n0\r\n\r\n")[0] == 400


@pytest.mark.parametrize("authorization", [None, "Bearer x", "Basic eDp5"])
def test_unauthorized(shared_stand_in: StandIn, authorization: str | None) -> None:
    """Without a valid bearer token there is 401, a challenge and the error body."""
    headers = TEXT | ({"Authorization": authorization} if authorization else {})
    status, answer, body = shared_stand_in.request("POST", SEND_ALL, headers=headers, body=b"x")
    assert status == 401
    assert answer["www-authenticate"] == "Bearer"
    assert json.loads(body)["code"] == answer["x-ms-error-code"] == "Unauthorized"


def test_generated_token_opens_a_connection(shared_stand_in: StandIn) -> None:
    """`:generateToken` gives a client token with the user, roles, groups and lifetime asked for."""
    target = (
        "/api/hubs/load/:generateToken?userId=u&role=webpubsub.sendToGroup.g&role=other&group=g"
        "&minutesToExpire=5&clientType=default"
    )
    status, _, answer = call(shared_stand_in, target, body=b"")
    assert status == 200
    claims = jwt.decode(answer["token"], options={"verify_signature": False})
    assert claims["exp"] - claims["nbf"] == 300
    assert claims["role"] == ["webpubsub.sendToGroup.g", "other"]
    url = shared_stand_in.client_url().partition("?")[0]
    with RawClient(f"{url}?access_token={answer['token']}") as client:
        assert client.message()["userId"] == "u"
        client.send({"type": "sendToGroup", "group": "g", "data": 1})
        assert client.message()["group"] == "g"

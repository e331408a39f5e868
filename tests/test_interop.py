"""Strangers as judges of the stand-in: what client and service share, both would get wrong alike.

Referees: `azure-messaging-webpubsubservice` mints tokens and sends by REST,
`azure-messaging-webpubsubclient` connects, joins, sends and receives. `websockets` judges frames
and handshakes in `standin/test_server.py`.
"""

import io
import queue
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter_ns
from typing import Any

import pytest
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError
from azure.messaging.webpubsubclient import WebPubSubClient
from azure.messaging.webpubsubclient.models import (
    CallbackType,
    OnConnectedArgs,
    OnGroupDataMessageArgs,
    OnServerDataMessageArgs,
    SendMessageError,
    WebPubSubDataType,
    WebPubSubProtocolType,
)
from azure.messaging.webpubsubservice import WebPubSubServiceClient
from rawclient import RawClient
from serving import DEADLINE_S, StandIn

from wpsload.units import seconds

AWKWARD = "a b ü%2F+?#&=:"
"""A name with what percent-encoding can get wrong; a slash is missing, because the service keeps
`%2F` in a path as it is."""


def service_of(stand_in: StandIn) -> WebPubSubServiceClient:
    """The official server SDK, given nothing but the connection string."""
    return WebPubSubServiceClient.from_connection_string(
        stand_in.connection_string, hub=stand_in.hub, retry_total=0
    )


@pytest.fixture
def service(shared_stand_in: StandIn) -> Iterator[WebPubSubServiceClient]:
    """The official server SDK for a stand-in whose counts nobody looks at."""
    with service_of(shared_stand_in) as client:
        yield client


@pytest.fixture
def own_service(stand_in: StandIn) -> Iterator[WebPubSubServiceClient]:
    """The official server SDK for a stand-in that serves this test alone."""
    with service_of(stand_in) as client:
        yield client


def url_for(service: WebPubSubServiceClient, **options: Any) -> str:
    """A client URL that the official server SDK signed."""
    url: str = service.get_client_access_token(**options)["url"]
    return url


class Inbox:
    """What an official client received, in order."""

    def __init__(self, client: WebPubSubClient) -> None:
        self.connected: queue.Queue[OnConnectedArgs] = queue.Queue()
        self.from_group: queue.Queue[OnGroupDataMessageArgs] = queue.Queue()
        self.from_server: queue.Queue[OnServerDataMessageArgs] = queue.Queue()
        client.subscribe(CallbackType.CONNECTED, self.connected.put)
        client.subscribe(CallbackType.GROUP_MESSAGE, self.from_group.put)
        client.subscribe(CallbackType.SERVER_MESSAGE, self.from_server.put)


@contextmanager
def official_client(url: str) -> Iterator[tuple[WebPubSubClient, Inbox]]:
    """An open official client on the plain JSON subprotocol, and its inbox."""
    client = WebPubSubClient(
        url,
        protocol_type=WebPubSubProtocolType.JSON,
        auto_reconnect=False,
        message_retry_total=0,
    )
    inbox = Inbox(client)
    with client:
        yield client, inbox


def test_client_connects_with_a_token_of_the_server_sdk(service: WebPubSubServiceClient) -> None:
    """The official client learns its connection id and user from `connected`."""
    with official_client(url_for(service, user_id="u1")) as (_, inbox):
        connected = inbox.connected.get(timeout=DEADLINE_S)
    assert connected.user_id == "u1"
    assert connected.connection_id


@pytest.mark.parametrize(
    ("data", "data_type"),
    [
        ("grüße", WebPubSubDataType.TEXT),
        ({"n": [1, 2.5, None]}, WebPubSubDataType.JSON),
        (memoryview(b"\x00\xff"), WebPubSubDataType.BINARY),
    ],
)
def test_client_sends_to_its_group(
    service: WebPubSubServiceClient, data: Any, data_type: WebPubSubDataType
) -> None:
    """The official client joins, sends with an ack, and receives its own message."""
    roles = ["webpubsub.joinLeaveGroup.g", "webpubsub.sendToGroup.g"]
    with official_client(url_for(service, user_id="u1", roles=roles)) as (client, inbox):
        client.join_group("g")
        send: Any = client.send_to_group  # typed per literal data type, not for a table
        send("g", data, data_type)
        message = inbox.from_group.get(timeout=DEADLINE_S)
        assert (message.group, message.from_user_id) == ("g", "u1")
        assert data_type == message.data_type
        assert data == message.data
        client.leave_group("g")


def test_no_echo(service: WebPubSubServiceClient) -> None:
    """A message sent with `no_echo` reaches the other member and not its sender."""
    roles = ["webpubsub.sendToGroup"]
    with (
        official_client(url_for(service, roles=roles, groups=["g"])) as (sender, own),
        official_client(url_for(service, groups=["g"])) as (_, other),
    ):
        other.connected.get(timeout=DEADLINE_S)
        sender.send_to_group("g", "first", WebPubSubDataType.TEXT, no_echo=True)
        sender.send_to_group("g", "second", WebPubSubDataType.TEXT)
        # The client starts a thread per message, so only sets of messages can be compared.
        received = {other.from_group.get(timeout=DEADLINE_S).data for _ in range(2)}
        assert received == {"first", "second"}
        assert own.from_group.get(timeout=DEADLINE_S).data == "second"
        assert own.from_group.empty()


@pytest.mark.parametrize("what", ["join", "leave", "send"])
def test_missing_role_is_forbidden(service: WebPubSubServiceClient, what: str) -> None:
    """Without the role the official client raises with the error name `Forbidden`."""
    roles = ["webpubsub.joinLeaveGroup.other", "webpubsub.sendToGroup.other"]
    with official_client(url_for(service, roles=roles)) as (client, _):
        request: dict[str, Callable[[], object]] = {
            "join": lambda: client.join_group("g"),
            "leave": lambda: client.leave_group("g"),
            "send": lambda: client.send_to_group("g", "x", WebPubSubDataType.TEXT),
        }
        with pytest.raises(SendMessageError) as failure:
            request[what]()
    assert failure.value.error_detail is not None
    assert failure.value.error_detail.name == "Forbidden"


def test_duplicate_ack_id_is_a_success(
    stand_in: StandIn, own_service: WebPubSubServiceClient
) -> None:
    """The official client takes the `Duplicate` ack as done, and nothing is sent twice."""
    url = url_for(own_service, roles=["webpubsub.sendToGroup"], groups=["g"])
    with official_client(url) as (client, inbox):
        for _ in range(2):
            client.send_to_group("g", "once", WebPubSubDataType.TEXT, ack_id=7)
        inbox.from_group.get(timeout=DEADLINE_S)
    stats = stand_in.stats()
    assert stats["acks"] == {"success": 1, "Duplicate": 1}
    assert stats["deliveries"] == 1


def test_event_comes_back(service: WebPubSubServiceClient) -> None:
    """An event of the official client is acked, and echoed as a message from the server."""
    with official_client(url_for(service)) as (client, inbox):
        client.send_event("echo", {"n": 1}, WebPubSubDataType.JSON)
        message = inbox.from_server.get(timeout=DEADLINE_S)
    assert message.data_type == WebPubSubDataType.JSON
    assert message.data == {"n": 1}


def test_an_ack_delay_keeps_the_sync_client_from_stalling(
    start_stand_in: Callable[..., StandIn],
) -> None:
    """It starts to wait only after it has sent, and an ack that was faster costs it 30 s, after
    which it reports a success. The delay has to outlast a busy machine's switch of threads: with
    the 1 ms that is the default, one send in some thousands still stalls here under load."""
    stand_in = start_stand_in("--ack-delay", "30ms")
    with official_client(stand_in.client_url()) as (client, _):
        started_ns = perf_counter_ns()
        for number in range(100):
            client.send_to_group("g", str(number), WebPubSubDataType.TEXT)
        assert seconds(perf_counter_ns() - started_ns) < 25


@pytest.mark.parametrize(
    ("content", "content_type", "data_type"),
    [
        ("hällo", "text/plain", WebPubSubDataType.TEXT),
        ({"k": "v"}, "application/json", WebPubSubDataType.JSON),
        (b"\x01\x02", "application/octet-stream", WebPubSubDataType.BINARY),
    ],
)
def test_rest_sends_reach_the_client(
    service: WebPubSubServiceClient, content: Any, content_type: str, data_type: WebPubSubDataType
) -> None:
    """REST sends to all, a group, a user and a connection arrive with their type and data."""
    with official_client(url_for(service, user_id=AWKWARD, groups=[AWKWARD])) as (_, inbox):
        connection_id = inbox.connected.get(timeout=DEADLINE_S).connection_id
        service.send_to_all(content, content_type=content_type)
        service.send_to_user(AWKWARD, content, content_type=content_type)
        service.send_to_connection(connection_id, content, content_type=content_type)
        for _ in range(3):
            message = inbox.from_server.get(timeout=DEADLINE_S)
            assert (data_type, content) == (message.data_type, message.data)
        service.send_to_group(AWKWARD, content, content_type=content_type)
        delivery = inbox.from_group.get(timeout=DEADLINE_S)
        assert (data_type, content) == (delivery.data_type, delivery.data)
        assert delivery.group == AWKWARD
        assert delivery.from_user_id is None


def test_rest_excludes_connections(service: WebPubSubServiceClient) -> None:
    """`excluded` connections are left out of sends to all and to a group."""
    with (
        official_client(url_for(service, groups=["g"])) as (_, out),
        official_client(url_for(service, groups=["g"])) as (_, other),
    ):
        excluded = [out.connected.get(timeout=DEADLINE_S).connection_id]
        other.connected.get(timeout=DEADLINE_S)
        service.send_to_all({"n": 1}, excluded=excluded)
        service.send_to_group("g", {"n": 1}, excluded=excluded)
        service.send_to_all({"n": 2})
        service.send_to_group("g", {"n": 2})
        for _ in range(2):
            other.from_server.get(timeout=DEADLINE_S)
            other.from_group.get(timeout=DEADLINE_S)
        assert out.from_server.get(timeout=DEADLINE_S).data == {"n": 2}
        assert out.from_group.get(timeout=DEADLINE_S).data == {"n": 2}


def test_rest_sends_to_nobody_succeed(service: WebPubSubServiceClient) -> None:
    """Sends to a group, user or connection that does not exist are accepted."""
    service.send_to_all({})
    service.send_to_group("nobody", {})
    service.send_to_user("nobody", {})
    service.send_to_connection("nobody", {})


def test_filter_is_refused_rather_than_ignored(service: WebPubSubServiceClient) -> None:
    """A filter would change who receives, and the stand-in has none: 400 with a reason."""
    with pytest.raises(HttpResponseError, match="filter") as failure:
        service.send_to_all({}, filter="userId eq 'u'")
    assert failure.value.status_code == 400


def test_wrong_key_is_unauthorized(shared_stand_in: StandIn) -> None:
    """The server SDK with another key gets 401."""
    other = shared_stand_in.connection_string.replace(shared_stand_in.access_key, "x" * 40)
    with (
        WebPubSubServiceClient.from_connection_string(other, hub="load") as service,
        pytest.raises(ClientAuthenticationError),
    ):
        service.send_to_all({})


def test_simple_client_of_the_server_sdk(service: WebPubSubServiceClient) -> None:
    """A simple client on a URL of the server SDK gets plain frames of REST sends."""
    with RawClient(url_for(service, groups=["g"]), subprotocols=None) as client:
        service.send_to_group("g", "text", content_type="text/plain")
        service.send_to_group("g", "text", content_type="application/json")
        service.send_to_all(io.BytesIO(b"\x00"), content_type="application/octet-stream")
        assert [client.payload() for _ in range(3)] == ["text", '"text"', b"\x00"]


def test_ledger_agrees_with_the_official_client(
    stand_in: StandIn, own_service: WebPubSubServiceClient
) -> None:
    """After a clean run the ledger has exactly what the official client was told."""
    url = url_for(own_service, roles=["webpubsub.sendToGroup"], groups=["g"])
    with official_client(url) as (client, inbox):
        for number in range(20):
            client.send_to_group("g", {"n": number}, WebPubSubDataType.JSON)
        for _ in range(20):
            inbox.from_group.get(timeout=DEADLINE_S)
    stats = stand_in.stats()
    assert (stats["acks_total"], stats["deliveries"]) == (20, 20)

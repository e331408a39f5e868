"""The stand-in as a real process: handshakes, closing, limits, and a ledger that is exact."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rawclient import JSON_V1, RawClient, refused
from serving import DEADLINE_S, ROOT, StandIn
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.frames import Opcode
from websockets.typing import Subprotocol

from wpsload.signing import sign
from wpsload.standin.faults import FAULTS
from wpsload.standin.wire import CLOSE_TIMEOUT_S

Start = Callable[..., StandIn]

SIMPLE: None = None
"""Offer no subprotocol."""


@contextmanager
def pubsub(stand_in: StandIn, **options: Any) -> Iterator[RawClient]:
    """A PubSub client that has read its `connected` frame."""
    with RawClient(stand_in.client_url(**options)) as client:
        assert client.message()["event"] == "connected"
        yield client


@contextmanager
def started(*arguments: str, **environ: str) -> Iterator[StandIn]:
    """A stand-in whose stderr can be read at its end, by `stopped`."""
    with subprocess.Popen(
        [sys.executable, "-m", "wpsload", "serve", "--json", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=os.environ | environ,
    ) as process:
        try:
            assert process.stdout is not None
            yield StandIn(process=process, **json.loads(process.stdout.readline()))
        finally:
            process.kill()


def stopped(stand_in: StandIn) -> str:
    """Everything it said on stderr until its clean end."""
    stand_in.process.send_signal(signal.SIGTERM)
    _, said = stand_in.process.communicate(timeout=DEADLINE_S)
    assert stand_in.process.returncode == 0
    return said


def closed_with(client: RawClient) -> int:
    client.wait_closed()
    return client.close_code


# Handshake


def test_connected_is_the_first_frame(shared_stand_in: StandIn) -> None:
    """A PubSub client first gets `connected` with its user and a 32-digit connection id."""
    with RawClient(shared_stand_in.client_url(user_id="u1")) as client:
        connected = client.message()
    assert (
        connected["type"],
        connected["event"],
        connected["userId"],
    ) == ("system", "connected", "u1")
    assert len(bytes.fromhex(connected["connectionId"])) == 16


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        ([JSON_V1], JSON_V1),
        (["json.reliable.webpubsub.azure.v1", JSON_V1], JSON_V1),
        ([JSON_V1, "chat"], JSON_V1),
    ],
)
def test_first_supported_subprotocol_is_chosen(
    shared_stand_in: StandIn, offered: list[str], chosen: str
) -> None:
    """Of several subprotocols the first supported one is echoed."""
    with RawClient(
        shared_stand_in.client_url(), subprotocols=[Subprotocol(x) for x in offered]
    ) as client:
        assert chosen == client.subprotocol


def test_unknown_subprotocol_makes_a_simple_client(shared_stand_in: StandIn) -> None:
    """A client that offers only unknown names is simple and gets no subprotocol header."""
    with RawClient(shared_stand_in.client_url(), subprotocols=[Subprotocol("chat")]) as client:
        assert "Sec-WebSocket-Protocol" not in client.response.headers
        client.send("hi")
        assert client.payload() == "hi"


@pytest.mark.parametrize(
    "name", ["json.reliable.webpubsub.azure.v1", "protobuf.webpubsub.azure.v1"]
)
def test_a_subprotocol_that_is_not_spoken_is_explained_once(name: str) -> None:
    """A client that offers only a subprotocol of the service that this release does not speak is
    simple, and stderr says why in one line, however many come; `chat` is nobody's business."""
    with started() as stand_in:
        for offered in (name, name, "chat", "chat, " + name):
            names = [Subprotocol(each) for each in offered.split(", ")]
            with RawClient(stand_in.client_url(), subprotocols=names) as client:
                client.send("hi")
                assert client.payload() == "hi"
        said = stopped(stand_in)
    assert said == (
        f"a client offered {name}, which this release does not speak; choose {JSON_V1}\n"
    )


def test_compression_is_never_negotiated(shared_stand_in: StandIn) -> None:
    """An offer of permessage-deflate is ignored, so sizes stay comparable."""
    offer = [ClientPerMessageDeflateFactory()]
    with RawClient(shared_stand_in.client_url(), extensions=offer) as client:
        assert client.extensions == []
        assert "Sec-WebSocket-Extensions" not in client.response.headers


def test_token_in_header(shared_stand_in: StandIn) -> None:
    """A token in the Authorization header opens the connection as well."""
    url = shared_stand_in.client_url().partition("?")[0]
    token = shared_stand_in.token(sub="u2")
    with RawClient(url, headers={"Authorization": f"Bearer {token}"}) as client:
        assert client.message()["userId"] == "u2"


def test_token_in_query_wins(shared_stand_in: StandIn) -> None:
    """If query and header disagree, the query counts."""
    headers = {"Authorization": f"Bearer {shared_stand_in.token(sub='header')}"}
    with RawClient(shared_stand_in.client_url(user_id="query"), headers=headers) as client:
        assert client.message()["userId"] == "query"


@pytest.mark.parametrize("audience", ["/client/hubs/load", "/client/?hub=load", "/client?hub=load"])
def test_legacy_url(shared_stand_in: StandIn, audience: str) -> None:
    """`/client/?hub=`, also without the slash, works with a token for any form of the URL."""
    token = shared_stand_in.token(aud=shared_stand_in.endpoint + audience)
    for path in ("/client/", "/client"):
        url = f"ws://127.0.0.1:{shared_stand_in.port}{path}?hub=load&access_token={token}"
        with RawClient(url) as client:
            assert client.message()["event"] == "connected"


def test_audience_ignores_case(shared_stand_in: StandIn) -> None:
    """The audience of a token is compared without case, and hubs too."""
    token = shared_stand_in.token(aud=f"HTTP://127.0.0.1:{shared_stand_in.port}/client/hubs/LOAD")
    url = f"ws://127.0.0.1:{shared_stand_in.port}/client/hubs/load?access_token={token}"
    with RawClient(url) as client:
        assert client.message()["event"] == "connected"


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "http://127.0.0.1:1/client/hubs/load"},
        {"aud": None},
        {"exp": None},
        {"exp": -6},
        {"nbf": 6},
    ],
    ids=["other audience", "no audience", "no expiry", "expired", "not yet valid"],
)
def test_invalid_token_is_refused(stand_in: StandIn, claims: dict[str, Any]) -> None:
    """A token that is not valid here and now gets 401, a bearer challenge and no body.

    Numbers are minutes from now; the service allows for five.
    """
    claims = {
        name: datetime.now(tz=UTC) + timedelta(minutes=value) if isinstance(value, int) else value
        for name, value in claims.items()
    }
    url = stand_in.client_url().partition("?")[0]
    response = refused(f"{url}?access_token={stand_in.token(**claims)}")
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert not response.body
    assert stand_in.stats()["refused"] == {"401": 1}


def test_missing_or_forged_token_is_refused(shared_stand_in: StandIn) -> None:
    """No token at all, and one signed with another key, get 401."""
    url = shared_stand_in.client_url()
    assert refused(url.partition("?")[0]).status_code == 401
    assert refused(url[:-4] + "AAAA").status_code == 401


def test_clock_skew(start_stand_in: Start) -> None:
    """A token that expired within the clock skew is still good, and not if the skew is less."""
    expired = datetime.now(tz=UTC) - timedelta(minutes=4)
    for arguments, is_good in ((), True), (("--clock-skew", "0s"), False):
        stand_in = start_stand_in(*arguments)
        url = stand_in.client_url().partition("?")[0] + "?access_token="
        url += stand_in.token(exp=expired)
        if is_good:
            with RawClient(url) as client:
                assert client.message()["event"] == "connected"
        else:
            assert refused(url).status_code == 401


@pytest.mark.parametrize(
    "claims",
    [{"webpubsub.group": ["ok", " "]}, {"webpubsub.group": [7]}, {"role": {"a": 1}}],
)
def test_impossible_claims_are_refused(shared_stand_in: StandIn, claims: dict[str, Any]) -> None:
    """A genuine token with an invalid group or role claim gets 400."""
    url = shared_stand_in.client_url().partition("?")[0]
    assert refused(f"{url}?access_token={shared_stand_in.token(**claims)}").status_code == 400


@pytest.mark.parametrize(
    "query",
    [
        {"webpubsub_mode": "broadcast"},
        {"webpubsub_mode": "sendToGroup"},
        {"webpubsub_mode": "sendToGroup", "group": " "},
        {"webpubsub_mode": "sendToGroup", "group": "g", "noEcho": "maybe"},
    ],
)
def test_impossible_mode_is_refused(shared_stand_in: StandIn, query: dict[str, str]) -> None:
    """A simple client with an unknown mode, no valid group or a bad noEcho gets 400."""
    with (
        pytest.raises(Exception, match="400"),
        RawClient(shared_stand_in.client_url(**query), subprotocols=SIMPLE),
    ):
        pass


def test_plain_get_is_refused(stand_in: StandIn) -> None:
    """A request that is no WebSocket handshake gets 400, and counts as refused."""
    target = stand_in.client_url().removeprefix(f"ws://127.0.0.1:{stand_in.port}")
    status, _, _ = stand_in.request("GET", target)
    assert status == 400
    assert stand_in.stats()["refused"] == {"400": 1}


# Protocol


def test_role_and_group_claims_may_be_strings(shared_stand_in: StandIn) -> None:
    """A single role or group may stand in the token without an array."""
    claims = {"role": "webpubsub.sendToGroup.g", "webpubsub.group": "g"}
    url = shared_stand_in.client_url().partition("?")[0]
    with RawClient(f"{url}?access_token={shared_stand_in.token(**claims)}") as client:
        client.message()
        client.send({"type": "sendToGroup", "group": "g", "data": 1})
        assert client.message()["data"] == 1


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (b"\x00", 1003),
        ("nonsense", 1007),
        ("[]", 1007),
        ({"type": "unheard"}, 1007),
        ({"type": "joinGroup", "group": ""}, 1007),
        ({"type": "event", "event": "1", "data": 1}, 1007),
        ({"type": "sendToGroup", "group": "g", "dataType": "binary", "data": "?"}, 1007),
    ],
)
def test_invalid_message_ends_with_disconnected_and_a_code(
    stand_in: StandIn, message: Any, code: int
) -> None:
    """A PubSub client that breaks the protocol gets a `disconnected` frame, then the close code."""
    with pubsub(stand_in) as client:
        client.send(message)
        assert client.message()["event"] == "disconnected"
        assert code == closed_with(client)
    assert stand_in.stats()["closed"] == {str(code): 1}


def test_invalid_utf8_is_closed_with_1007(stand_in: StandIn) -> None:
    """A text frame that is not UTF-8 closes the connection with 1007."""
    with pubsub(stand_in) as client:
        client.send_unchecked(Opcode.TEXT, b"\xff")
        assert closed_with(client) == 1007
    assert stand_in.stats()["closed"] == {"1007": 1}


@pytest.mark.parametrize("opcode", [Opcode.TEXT, Opcode.PING, Opcode.CLOSE])
def test_unmasked_frame_is_closed_with_1002(stand_in: StandIn, opcode: Opcode) -> None:
    """A frame without a mask ends the connection with 1002; what came before it counts."""
    with pubsub(stand_in) as client:
        client.send({"type": "ping"})
        client.send_unchecked(opcode, b'{"type":"ping"}' * (opcode is Opcode.TEXT), mask=False)
        client.send({"type": "ping"})
        assert client.messages_to_end() == ['{"type":"pong"}']
        assert closed_with(client) == 1002
    assert stand_in.stats()["closed"] == {"1002": 1}


def test_the_stand_in_ends_the_connection_after_a_mistake(shared_stand_in: StandIn) -> None:
    """It does not wait for an answer to its close frame: that would not be read any more."""
    with pubsub(shared_stand_in) as client:
        client.send_unchecked(Opcode.TEXT, b"", mask=False)
        started_ns = time.perf_counter_ns()
        assert closed_with(client) == 1002
        assert time.perf_counter_ns() - started_ns < CLOSE_TIMEOUT_S * 1e9 / 2


@pytest.mark.parametrize("subprotocols", [[JSON_V1], None])
def test_size_limit(start_stand_in: Start, subprotocols: list[Subprotocol] | None) -> None:
    """A message of exactly the limit passes, one byte more closes with 1009."""
    stand_in = start_stand_in("--max-message-bytes", "1000")
    filler = json.dumps({"type": "event", "event": "e", "dataType": "text", "data": ""})
    with RawClient(stand_in.client_url(), subprotocols=subprotocols) as client:
        if subprotocols:
            client.message()
        text = filler[:-2] + "x" * (1000 - len(filler)) + filler[-2:]
        client.send(text)
        assert client.payload()
        client.send(text + " ")
        assert closed_with(client) == 1009


def test_message_far_over_the_limit_is_closed_with_1009(shared_stand_in: StandIn) -> None:
    """The default limit is 1 MiB; twice that is refused with 1009, not with a reset."""
    with pubsub(shared_stand_in) as client:
        client.send("x" * 2 * 1024 * 1024)
        assert closed_with(client) == 1009


def test_ping_is_answered(shared_stand_in: StandIn) -> None:
    """Both kinds of ping are answered: the frame of the protocol and the JSON message."""
    with pubsub(shared_stand_in) as client:
        client.send_unchecked(Opcode.PING, b"abc")
        assert ((pong := client.frame()).opcode, bytes(pong.data)) == (Opcode.PONG, b"abc")
        client.send({"type": "ping"})
        assert client.message() == {"type": "pong"}


def test_close_frame_is_echoed(stand_in: StandIn) -> None:
    """The code of a client's close frame comes back and is counted."""
    with pubsub(stand_in) as client:
        client.start_close(4321)
        assert closed_with(client) == 4321
    assert stand_in.stats()["closed"] == {"4321": 1}


def test_close_frame_without_a_code(stand_in: StandIn) -> None:
    """An empty close frame is answered with 1000 and counted as 1005."""
    with pubsub(stand_in) as client:
        client.send_unchecked(Opcode.CLOSE, b"")
        assert closed_with(client) == 1000
    assert stand_in.stats()["closed"] == {"1005": 1}


# Simple clients


def test_simple_client_echo(stand_in: StandIn) -> None:
    """A simple client gets nothing on opening; its frames come back as they were."""
    with RawClient(stand_in.client_url(), subprotocols=SIMPLE) as client:
        client.send("text")
        client.send(b"\x00\xff")
        assert [client.payload(), client.payload()] == ["text", b"\x00\xff"]
    stats = stand_in.stats()
    assert (stats["simple_messages_in"], stats["echoes"]) == (2, 2)


def test_upstream_none_swallows(start_stand_in: Start) -> None:
    """With `--upstream none` simple frames and events are taken, and only acks come back."""
    stand_in = start_stand_in("--upstream", "none")
    with RawClient(stand_in.client_url(), subprotocols=SIMPLE) as client:
        client.send("text")
        client.start_close()
        assert client.messages_to_end() == []
    with pubsub(stand_in) as client:
        client.send({"type": "event", "event": "e", "data": 1, "ackId": 1})
        client.start_close()
        assert [json.loads(each)["type"] for each in client.messages_to_end()] == ["ack"]
    assert stand_in.stats()["simple_messages_in"] == 1


def test_simple_client_publishes(shared_stand_in: StandIn) -> None:
    """A simple client in sendToGroup mode publishes each frame to its group."""
    url = shared_stand_in.client_url(
        user_id="s", groups=["g"], webpubsub_mode="sendToGroup", group="g", noEcho="true"
    )
    with (
        pubsub(shared_stand_in, groups=["g"]) as member,
        RawClient(url, subprotocols=SIMPLE) as publisher,
    ):
        publisher.send("hello")
        message = member.message()
        assert (
            message["data"],
            message["dataType"],
            message["fromUserId"],
        ) == ("hello", "text", "s")
        publisher.start_close()
        assert publisher.messages_to_end() == []


def test_simple_client_without_permission_is_closed(shared_stand_in: StandIn) -> None:
    """Publishing without the role closes a simple client with 1008 at its first frame."""
    url = shared_stand_in.client_url(roles=[], webpubsub_mode="sendToGroup", group="g")
    with RawClient(url, subprotocols=SIMPLE) as client:
        client.send("hello")
        assert closed_with(client) == 1008


# The ledger is exact


def publish_and_count(url: str, *, requests: int) -> Counter[str]:
    """Send acked messages to group g, close at once, and count what came until the close frame."""
    with RawClient(url) as client:
        for ack_id in range(requests):
            client.send({"type": "sendToGroup", "group": "g", "data": ack_id, "ackId": ack_id})
        client.start_close()
        received = Counter(json.loads(each)["type"] for each in client.messages_to_end())
        assert client.close_code == 1000
    return received


@pytest.mark.parametrize(
    "stand_in",
    [["--ack-delay", "0"], ["--ack-delay", "1ms"], ["--ack-delay", "60s"]],
    indirect=True,
)
def test_ledger_equals_what_clients_received(stand_in: StandIn) -> None:
    """Clients that publish to each other and close whenever they like received, taken together,
    exactly the acks and deliveries that the ledger counts."""
    url = stand_in.client_url(groups=["g"])
    with ThreadPoolExecutor(6) as pool:
        received = sum(
            pool.map(lambda _: publish_and_count(url, requests=100), range(6)), Counter[str]()
        )
    stats = stand_in.stats()
    assert received["ack"] == stats["acks_total"] == stats["acks"]["success"] == 600
    assert received["message"] == stats["deliveries"]
    assert stats["requests"] == {"sendToGroup": 600}
    assert (stats["connections_open"], stats["connections_total"]) == (0, 6)
    assert stats["closed"] == {"1000": 6}


def test_pending_acks_are_written_before_the_close_reply(start_stand_in: Start) -> None:
    """A close frame that arrives while acks wait brings them out, in order, and counted."""
    stand_in = start_stand_in("--ack-delay", "60s")
    with pubsub(stand_in) as client:
        for ack_id in range(10):
            client.send({"type": "joinGroup", "group": "g", "ackId": ack_id})
        client.start_close()
        acked = [json.loads(each)["ackId"] for each in client.messages_to_end()]
        assert acked == list(range(10))
        assert client.close_code == 1000
    assert stand_in.stats()["acks"] == {"success": 10}


def test_answers_keep_the_order_of_the_requests(start_stand_in: Start) -> None:
    """Messages of one connection are handled one after the other: while an ack waits, whatever a
    later request causes waits behind it, and is counted all the same."""
    stand_in = start_stand_in("--ack-delay", "60s")
    with pubsub(stand_in, groups=["g"]) as client, pubsub(stand_in, groups=["g"]) as other:
        client.send({"type": "joinGroup", "group": "h", "ackId": 1})
        client.send({"type": "sendToGroup", "group": "g", "data": "x"})
        client.send({"type": "ping"})
        client.send({"type": "event", "event": "e", "data": "y", "ackId": 2})
        assert other.message()["data"] == "x", "another connection does not wait"
        assert stand_in.stats()["deliveries"] == 1
        client.start_close()
        received = [json.loads(each) for each in client.messages_to_end()]
    types = [each["type"] for each in received]
    assert types == ["ack", "message", "pong", "message", "ack"]
    stats = stand_in.stats()
    counted = (stats["acks_total"], stats["deliveries"], stats["server_messages"])
    assert counted == (2, 2, 1)


def test_an_ack_that_waits_holds_back_no_longer_than_its_delay(start_stand_in: Start) -> None:
    """After the delay everything behind the ack comes with it."""
    stand_in = start_stand_in("--ack-delay", "50ms")
    with pubsub(stand_in, groups=["g"]) as client:
        for n in range(3):
            client.send({"type": "joinGroup", "group": "h", "ackId": n})
            client.send({"type": "ping"})
        assert [client.message()["type"] for _ in range(6)] == ["ack", "pong"] * 3


def test_bytes_are_payload_bytes(stand_in: StandIn) -> None:
    """`bytes_in` and `bytes_out` add up the payloads of messages, without any framing."""
    with RawClient(stand_in.client_url(), subprotocols=SIMPLE) as client:
        for size in (0, 1, 125, 126, 65535, 65536, 100_000):
            client.send(b"x" * size)
            assert not size or client.payload() == b"x" * size
    stats = stand_in.stats()
    assert 231_323 == stats["bytes_in"] == stats["bytes_out"]


def test_slow_client_is_closed(stand_in: StandIn) -> None:
    """A client that does not read is closed with 1008 once more than 16 MiB wait for it; the
    others go on."""
    data = "x" * 500_000
    with pubsub(stand_in, groups=["g"]), pubsub(stand_in) as sender:
        for ack_id in range(100):
            sender.send(
                {"type": "sendToGroup", "group": "g", "dataType": "text", "data": data}
                | {"ackId": ack_id}
            )
            assert sender.message()["success"]
            if stand_in.stats()["closed"]:
                break
        assert stand_in.stats()["closed"] == {"1008": 1}


# Keep-alive


def test_silent_client_is_dropped(start_stand_in: Start) -> None:
    """A client that answers no ping is dropped after two intervals, without a close frame."""
    stand_in = start_stand_in("--keep-alive", "100ms")
    with pubsub(stand_in) as client:
        frame = client.frame()
        assert frame.opcode is Opcode.PING
        # From here on nothing is read, so the ping is not answered.
        wait_until(lambda: stand_in.stats()["closed"] == {"1006": 1})


def wait_until(is_true: Callable[[], bool]) -> None:
    """Ask again and again; each question is a request to the stand-in."""
    end = datetime.now(tz=UTC) + timedelta(seconds=DEADLINE_S)
    while not is_true():
        assert datetime.now(tz=UTC) < end, "it did not become true in time"


def test_client_that_answers_pings_stays(start_stand_in: Start) -> None:
    """A client that says nothing but answers pings outlives many intervals."""
    stand_in = start_stand_in("--keep-alive", "50ms")
    with pubsub(stand_in) as client:
        for _ in range(6):
            assert client.frame().opcode is Opcode.PING
        client.send({"type": "ping"})
        assert client.message() == {"type": "pong"}


# Faults


def test_refuse_connect(start_stand_in: Start) -> None:
    """Every Nth handshake is answered with the status of the fault, and counted twice over."""
    stand_in = start_stand_in("--fault", "refuse-connect:every=2,status=429")
    with pubsub(stand_in):
        pass
    assert refused(stand_in.client_url()).status_code == 429
    stats = stand_in.stats()
    assert stats["refused"] == {"429": 1}
    assert stats["faults"] == {"refuse-connect": 1}


def test_cut(start_stand_in: Start) -> None:
    """`cut` ends the TCP connection without a close frame."""
    stand_in = start_stand_in("--fault", "cut:every=1")
    with pubsub(stand_in) as client:
        client.send({"type": "ping"})
        assert closed_with(client) == 1006
    assert stand_in.stats()["closed"] == {"1006": 1}


def test_close_fault(start_stand_in: Start) -> None:
    """`close` sends a close frame with the given code."""
    stand_in = start_stand_in("--fault", "close:every=1,code=1011")
    with pubsub(stand_in) as client:
        client.send({"type": "ping"})
        assert closed_with(client) == 1011
    assert stand_in.stats()["faults"] == {"close": 1}


def publish(client: RawClient, *numbers: int) -> None:
    """Send one message to group g for each number."""
    for number in numbers:
        client.send({"type": "sendToGroup", "group": "g", "data": number})


def data_to_end(client: RawClient) -> list[int]:
    """The numbers that come until the connection is closed."""
    client.start_close()
    return [json.loads(each)["data"] for each in client.messages_to_end()]


@pytest.mark.parametrize("ack_delay", ["0", "60s"])
def test_duplicate_delivery(start_stand_in: Start, ack_delay: str) -> None:
    """Every third copy is there twice and counted as a delivery, also behind an ack that waits."""
    stand_in = start_stand_in("--fault", "duplicate-delivery:every=3", "--ack-delay", ack_delay)
    with pubsub(stand_in, groups=["g"]) as client:
        client.send({"type": "joinGroup", "group": "h", "ackId": 1})
        publish(client, *range(7))
        client.start_close()
        received = [json.loads(each) for each in client.messages_to_end()]
    numbers = [each["data"] for each in received if each["type"] == "message"]
    assert numbers == [0, 1, 2, 2, 3, 4, 5, 5, 6]
    stats = stand_in.stats()
    assert (stats["deliveries"], stats["faults"]) == (9, {"duplicate-delivery": 2})


@pytest.mark.parametrize(
    ("every", "order", "overtaken"),
    [(1, [1, 0, 3, 2, 5, 4, 6], 3), (2, [0, 2, 1, 3, 5, 4, 6], 2), (7, [0, 1, 2, 3, 4, 5, 6], 0)],
)
def test_reorder_delivery(
    start_stand_in: Start, every: int, order: list[int], overtaken: int
) -> None:
    """A copy is written after the next one; the one that overtakes is not held back itself. A held
    copy that nothing overtakes is written before the close, and was not reordered."""
    stand_in = start_stand_in("--fault", f"reorder-delivery:every={every},hold=60s")
    with pubsub(stand_in, groups=["g"]) as client:
        publish(client, *range(7))
        assert order == data_to_end(client)
    stats = stand_in.stats()
    assert stats["deliveries"] == 7
    assert stats["faults"] == ({"reorder-delivery": overtaken} if overtaken else {})


def test_reorder_delivery_is_among_messages_of_one_sender(start_stand_in: Start) -> None:
    """What another one sends does not bring a held copy out, and need not wait for it."""
    stand_in = start_stand_in("--fault", "reorder-delivery:every=2,hold=60s")
    with pubsub(stand_in) as one, pubsub(stand_in) as two, pubsub(stand_in, groups=["g"]) as member:
        for client, number in ((one, 1), (one, 2), (two, 3)):  # 2 is held
            publish(client, number)
            client.send({"type": "ping"})
            assert client.message()["type"] == "pong"
        assert [member.message()["data"] for _ in range(2)] == [1, 3]
        publish(one, 4)
        assert [member.message()["data"] for _ in range(2)] == [4, 2]
    assert stand_in.stats()["faults"] == {"reorder-delivery": 1}


def test_a_held_delivery_is_not_lost(start_stand_in: Start) -> None:
    """If no other comes, it is written when its time is over, and nothing was reordered."""
    stand_in = start_stand_in("--fault", "reorder-delivery:every=1,hold=20ms")
    with pubsub(stand_in, groups=["g"]) as client:
        publish(client, 1)
        assert client.message()["data"] == 1
        stats = stand_in.stats()
        assert (stats["deliveries"], stats["faults"]) == (1, {})


def test_delay_delivery(start_stand_in: Start) -> None:
    """Every third copy comes later than those behind it; the stand-in tells by how much."""
    stand_in = start_stand_in("--fault", "delay-delivery:every=3,by=300ms")
    with pubsub(stand_in, groups=["g"]) as client:
        publish(client, *range(5))
        assert [client.message()["data"] for _ in range(5)] == [0, 1, 3, 4, 2]
    stats = stand_in.stats()
    assert (stats["deliveries"], stats["faults"]) == (5, {"delay-delivery": 1})
    assert stats["fault_delays"]["delay-delivery"]["least_ns"] >= 299_000_000


def test_delay_ack(start_stand_in: Start) -> None:
    """Every third request is carried out, and its ack comes later than those behind it."""
    stand_in = start_stand_in("--ack-delay", "10ms", "--fault", "delay-ack:every=3,by=500ms")
    with pubsub(stand_in) as client:
        client.send({"type": "joinGroup", "group": "h", "ackId": 0})
        client.send({"type": "joinGroup", "group": "h", "ackId": 1})
        client.send({"type": "joinGroup", "group": "g", "ackId": 2})
        client.send({"type": "sendToGroup", "group": "g", "data": 1, "ackId": 3})
        received = [client.message() for _ in range(5)]
    came = [each["ackId"] for each in received if each["type"] == "ack"]
    assert came == [0, 1, 3, 2]
    stats = stand_in.stats()
    assert (stats["acks"], stats["faults"]) == ({"success": 4}, {"delay-ack": 1})
    delays = stats["fault_delays"]["delay-ack"]
    assert delays["least_ns"] == delays["most_ns"] == delays["sum_ns"] >= 509_000_000
    assert stats["configured"] == {
        "ack_delay_ns": 10_000_000,
        "capacity_per_s": None,
        "faults": [{"name": "delay-ack", "every": 3, "delay_ns": 500_000_000}],
    }


def test_messages_beyond_the_capacity_wait(start_stand_in: Start) -> None:
    """They are handled in their order, all of them, one every twentieth of a second."""
    stand_in = start_stand_in("--capacity", "20/s", "--ack-delay", "0s")
    with pubsub(stand_in) as client:
        started = time.monotonic()
        for number in range(10):
            client.send({"type": "joinGroup", "group": "g", "ackId": number})
        received = [client.message()["ackId"] for _ in range(10)]
        took_s = time.monotonic() - started
    assert received == list(range(10))
    assert took_s >= 0.49
    assert stand_in.stats()["configured"]["capacity_per_s"] == 20


def test_what_is_late_is_written_before_the_close(start_stand_in: Start) -> None:
    """A close brings late frames out in the order in which they were due, and they count."""
    arguments = ("delay-ack:every=1,by=30s", "delay-delivery:every=1,by=20s")
    stand_in = start_stand_in(*(each for name in arguments for each in ("--fault", name)))
    with pubsub(stand_in, groups=["g"]) as client:
        for number in range(3):
            client.send({"type": "sendToGroup", "group": "g", "data": number, "ackId": number})
        client.start_close()
        received = [json.loads(each) for each in client.messages_to_end()]
        assert client.close_code == 1000
    told = [(each["type"], each.get("ackId", each.get("data"))) for each in received]
    assert told == [(kind, number) for kind in ("message", "ack") for number in range(3)]
    stats = stand_in.stats()
    assert (stats["acks_total"], stats["deliveries"]) == (3, 3)
    assert stats["faults"] == {"delay-ack": 3, "delay-delivery": 3}


def test_what_is_late_is_lost_with_its_connection(start_stand_in: Start) -> None:
    """It is not counted then, neither as written nor as injected."""
    stand_in = start_stand_in(
        *("--fault", "delay-ack:every=1,by=60s", "--fault", "reorder-delivery:every=1,hold=60s"),
        *("--fault", "cut:every=2"),
    )
    with pubsub(stand_in, groups=["g"]) as client:
        client.send({"type": "sendToGroup", "group": "g", "data": 1, "ackId": 1})
        client.send({"type": "ping"})
        assert closed_with(client) == 1006
    stats = stand_in.stats()
    assert (stats["acks_total"], stats["deliveries"], stats["faults"]) == (0, 0, {"cut": 1})


def test_stall(start_stand_in: Start) -> None:
    """Nothing is answered while the process is frozen, and nothing is lost; it tells when it was.

    The clock is the same in all processes of a machine, so that answers before, in and after the
    stall can be told apart.
    """
    stand_in = start_stand_in("--fault", "stall:after=100ms,for=1s", "--ack-delay", "0")
    sent_ns: list[int] = []
    answered_ns: list[int] = []
    with pubsub(stand_in) as client:
        while not answered_ns or answered_ns[-1] - sent_ns[-1] < 900_000_000:
            sent_ns.append(time.monotonic_ns())
            client.send({"type": "ping"})
            assert client.message() == {"type": "pong"}
            answered_ns.append(time.monotonic_ns())
            assert answered_ns[-1] - sent_ns[0] < DEADLINE_S * 1e9, "it did not stall in time"
        stats = stand_in.stats()
        assert stats["connections_open"] == 1
    assert stats["faults"] == {"stall": 1}
    (stall,) = stats["fault_times"]
    assert stall["name"] == "stall"
    assert stall["length_ns"] >= 1_000_000_000
    end_ns = stall["start_ns"] + stall["length_ns"]
    assert not [each for each in answered_ns[:-1] if stall["start_ns"] + 1e7 < each < end_ns]
    assert answered_ns[-1] >= end_ns


def test_cut_connections(start_stand_in: Start) -> None:
    """A share of the clients loses its connection at once, without a close frame; the rest stays,
    and is not cut again."""
    stand_in = start_stand_in("--fault", "cut-connections:after=1s,share=30%")
    with ExitStack() as stack:
        clients = [stack.enter_context(pubsub(stand_in)) for _ in range(5)]
        clients += [
            stack.enter_context(RawClient(stand_in.client_url(), subprotocols=SIMPLE))
            for _ in range(5)
        ]
        wait_until(lambda: stand_in.stats()["fault_times"] != [])
        stats = stand_in.stats()
        (strike,) = stats["fault_times"]
        count = strike["open"] * 30 // 100
        assert (strike["name"], strike["cut"]) == ("cut-connections", count)
        assert stats["faults"] == ({"cut-connections": count} if count else {})
        assert stats["connections_open"] == 10 - count
        assert stats["closed"] == ({"1006": count} if count else {})
        if strike["open"] == 10:  # not on a machine that takes a second for ten connects
            assert [closed_with(clients[index]) for index in (3, 6, 9)] == [1006] * 3


# The process


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_clean_stop(stand_in: StandIn, how: signal.Signals) -> None:
    """A signal closes clients with 1001 after `disconnected`, and the exit code is 0."""
    with ExitStack() as stack:
        client = stack.enter_context(pubsub(stand_in))
        simple = stack.enter_context(RawClient(stand_in.client_url(), subprotocols=SIMPLE))
        os.kill(stand_in.pid, how)
        assert client.message()["event"] == "disconnected"
        assert closed_with(client) == 1001
        assert closed_with(simple) == 1001
        assert stand_in.process.wait(DEADLINE_S) == 0


def test_stop_does_not_wait_for_clients_that_are_deaf(stand_in: StandIn) -> None:
    """A client that never answers the close does not keep the process alive."""
    with pubsub(stand_in):
        os.kill(stand_in.pid, signal.SIGTERM)
        assert stand_in.process.wait(DEADLINE_S) == 0


def serve(*arguments: str, **options: Any) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "wpsload", "serve", *arguments],
        capture_output=True,
        check=False,
        cwd=ROOT,
        text=True,
        timeout=DEADLINE_S,
        **options,
    )


def test_taken_port_is_one_clear_line() -> None:
    """A port in use ends with exit code 2 and no traceback."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = serve("--port", str(port))
    assert result.returncode == 2
    assert result.stderr.startswith(f"error: port {port} is taken\nhint: ")
    assert result.stdout == ""


@pytest.mark.parametrize(
    "arguments",
    [["--fault", "cut"], ["--hub", "1"], ["--ack-delay", "soon"], ["--keep-alive", "0"]],
)
def test_bad_option_is_exit_code_2(arguments: list[str]) -> None:
    """A bad option is told without a traceback, with exit code 2."""
    result = serve(*arguments)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr


def test_an_access_key_that_cannot_be_used() -> None:
    """A key that could not stand in a connection string is refused, and not shown."""
    result = serve(env=os.environ | {"WPS_SERVE_ACCESS_KEY": "key; "})
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == (
        "error: WPS_SERVE_ACCESS_KEY cannot be used as an access key\n"
        "hint: use letters, digits and signs, no spaces and no semicolon; or unset it\n"
    )


def test_a_short_access_key_is_taken_as_it_is() -> None:
    """It signs and verifies tokens without a warning on stderr."""
    with started(WPS_SERVE_ACCESS_KEY="short") as stand_in:
        token = sign(
            {"aud": f"{stand_in.endpoint}/client/hubs/load", "exp": 4_000_000_000}, b"short"
        )
        url = stand_in.endpoint.replace("http", "ws", 1) + "/client/hubs/load?access_token="
        with RawClient(url + token) as client:
            assert client.message()["event"] == "connected"
        assert stopped(stand_in) == ""


@pytest.mark.parametrize("host", ["", "x" * 300, "nowhere.invalid"])
def test_a_host_that_cannot_be_listened_on(host: str) -> None:
    """An empty host would mean all of them; others are told, with no warning about anything."""
    result = serve("--host", host)
    assert (result.returncode, result.stdout) == (2, "")
    first, hint = result.stderr.splitlines()
    assert first.startswith(("error: --host is empty", f"error: cannot listen on {host}"))
    assert hint.startswith("hint: ")


def test_help_lists_the_faults() -> None:
    """`serve --help` names each fault with its settings, and says what is counted."""
    shown = serve("--help").stdout
    for name, kind in FAULTS.items():
        if kind.opportunity is None:
            assert f"{name}:after=T" in shown
        else:
            assert f"{name}:every=N" in shown
            assert f"N counts: {kind.opportunity}" in shown
    assert "until-stdin" not in shown


def test_until_stdin_closes() -> None:
    """With `--until-stdin-closes` the process ends when its stdin does."""
    result = serve("--json", "--until-stdin-closes", input="")
    assert result.returncode == 0
    assert json.loads(result.stdout)["hub"] == "load"


def test_text_output() -> None:
    """Without `--json` the first line is the connection string, the rest are hints."""
    result = serve("--hub", "chat", "--until-stdin-closes", input="")
    lines = result.stdout.splitlines()
    assert lines[0].startswith("Endpoint=http://127.0.0.1:")
    assert "/client/hubs/chat" in lines[1]
    assert "/_standin/stats" in lines[2]
    assert result.stderr == ""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere only 127.0.0.1 is there")
def test_any_loopback_address_is_safe() -> None:
    """The whole of 127.0.0.0/8 is loopback, and no reason for a warning."""
    result = serve("--host", "127.0.0.2", "--until-stdin-closes", input="")
    assert (result.returncode, result.stderr) == (0, "")


def test_other_hosts_are_warned_about() -> None:
    """Listening beyond loopback is allowed, said aloud, and the printed address can be used."""
    result = serve("--host", "0.0.0.0", "--until-stdin-closes", input="")  # noqa: S104  # ends at once
    assert result.returncode == 0
    assert "warning: listening on 0.0.0.0" in result.stderr
    assert result.stdout.startswith("Endpoint=http://127.0.0.1:")


def test_access_key_from_the_environment(start_stand_in: Start) -> None:
    """WPS_SERVE_ACCESS_KEY sets the key, so that a connection string can be kept."""
    key = "k" * 40
    stand_in = start_stand_in(environ={"WPS_SERVE_ACCESS_KEY": key})
    assert stand_in.access_key == key


def test_tokens_are_never_logged() -> None:
    """Whatever a client presents, stderr has neither its token nor the key."""
    with started(WPS_SERVE_ACCESS_KEY="canary-key-" + "k" * 32) as stand_in:
        refused(stand_in.client_url(user_id="canary")[:-1])
        refused(f"ws://127.0.0.1:{stand_in.port}/client/hubs/load?access_token=canary-token")
        said = stopped(stand_in)
    assert "refused a client with HTTP 401" in said
    assert "canary" not in said

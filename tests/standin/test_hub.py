"""The hub without a network: who gets what, and what each request is answered."""

import json
import tracemalloc
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from wpsload.standin.faults import Faults, parse_fault
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
from wpsload.standin.ledger import Kind, Ledger
from wpsload.standin.roles import Permissions

ALL_ROLES = ("webpubsub.joinLeaveGroup", "webpubsub.sendToGroup")

SUCCESS = {"success": True}


class World:
    """A hub with clients, and what each of them was sent."""

    def __init__(
        self, *faults: str, upstream: Upstream = "echo", max_message_bytes: int = 1000
    ) -> None:
        self.faults = Faults(map(parse_fault, faults))
        self.ledger = Ledger(faults=self.faults.injected)
        self.hub = Hub(
            ledger=self.ledger,
            faults=self.faults,
            upstream=upstream,
            max_message_bytes=max_message_bytes,
        )

    def pubsub(
        self,
        connection_id: str,
        *,
        roles: Sequence[str] = ALL_ROLES,
        groups: Sequence[str] = (),
        user_id: str | None = None,
    ) -> list[Output]:
        """Connect a PubSub client."""
        return self.hub.connect(
            connection_id,
            Admission(
                is_simple=False,
                user_id=user_id,
                permissions=Permissions.from_roles(roles),
                groups=tuple(groups),
            ),
        )

    def simple(
        self,
        connection_id: str,
        *,
        publish: Publish | None = None,
        roles: Sequence[str] = ALL_ROLES,
        groups: Sequence[str] = (),
        user_id: str | None = None,
    ) -> list[Output]:
        """Connect a simple client."""
        return self.hub.connect(
            connection_id,
            Admission(
                is_simple=True,
                user_id=user_id,
                permissions=Permissions.from_roles(roles),
                groups=tuple(groups),
                publish=publish,
            ),
        )

    def ask(self, connection_id: str, type_: str, **fields: Any) -> list[Output]:
        """Let a PubSub client send one request."""
        payload = json.dumps({"type": type_, **fields}).encode()
        return self.hub.receive(connection_id, payload, is_text=True)


def ack_of(outputs: list[Output]) -> dict[str, Any]:
    """The one ack among `outputs`, without its message text, which is nobody's business."""
    (ack,) = [each for each in outputs if isinstance(each, SendAck)]
    body: dict[str, Any] = json.loads(ack.payload)
    assert ack.name == ("success" if body["success"] else body["error"]["name"])
    return body


def receivers(outputs: list[Output]) -> list[str]:
    """Ids of all connections that get a message, in order."""
    return [each for output in outputs if isinstance(output, Send) for each in output.to]


# Connecting and leaving


def test_connected_frame() -> None:
    """A PubSub client gets `connected` with its id and user, a simple client gets nothing."""
    world = World()
    (sent,) = world.pubsub("c1", user_id="u1")
    assert isinstance(sent, Send)
    assert (sent.to, sent.is_text, sent.kind) == (["c1"], True, Kind.SYSTEM)
    assert json.loads(sent.payload) == {
        "type": "system",
        "event": "connected",
        "userId": "u1",
        "connectionId": "c1",
    }
    assert world.simple("c2") == []


def test_groups_of_the_token_need_no_role() -> None:
    """Membership that came with the token delivers without any role."""
    world = World()
    world.pubsub("c1", roles=[], groups=["g"])
    assert receivers(world.hub.send_to_group("g", "x", "text")) == ["c1"]


def test_disconnected_client_gets_nothing_more() -> None:
    """After disconnecting, sends to its group, its user, its id and all find nobody."""
    world = World()
    world.pubsub("c1", groups=["g"], user_id="u")
    world.pubsub("c2", groups=["g"], user_id="u")
    world.hub.disconnect("c1")
    world.hub.disconnect("c1")
    assert receivers(world.hub.send_to_group("g", "x", "text")) == ["c2"]
    assert receivers(world.hub.send_to_user("u", "x", "text")) == ["c2"]
    assert receivers(world.hub.send_to_all("x", "text")) == ["c2"]
    assert world.hub.send_to_connection("c1", "x", "text") == []
    world.hub.disconnect("c2")
    assert world.hub.send_to_user("u", "x", "text") == []
    world.pubsub("anonymous")
    world.hub.disconnect("anonymous")
    assert world.hub.send_to_all("x", "text") == []


def growth_bytes(action: Callable[[int], object], times: int) -> int:
    """How much memory is left over after doing something `times` times."""
    action(-1)
    tracemalloc.start()
    try:
        for number in range(times):
            action(number)
        return tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


def test_groups_that_were_left_are_forgotten() -> None:
    """A group without members costs nothing, whether its last member left or disconnected."""
    world = World()
    world.pubsub("stays")

    def join_and_leave(number: int) -> None:
        world.ask("stays", "joinGroup", group=f"g{number}")
        world.ask("stays", "leaveGroup", group=f"g{number}")

    def come_and_go(number: int) -> None:
        world.pubsub("goes", groups=[f"g{number}"])
        world.hub.disconnect("goes")

    assert growth_bytes(join_and_leave, 1000) < 50_000
    assert growth_bytes(come_and_go, 1000) < 50_000


def test_users_that_are_gone_are_forgotten() -> None:
    """A user without connections costs nothing."""
    world = World()

    def come_and_go(number: int) -> None:
        world.pubsub("c1", user_id=f"u{number}")
        world.hub.disconnect("c1")

    assert growth_bytes(come_and_go, 1000) < 50_000


# Requests of PubSub clients


def test_join_send_leave() -> None:
    """Joining makes a member, sending reaches members in the order they joined, leaving ends it."""
    world = World()
    for each in ("c1", "c2", "c3"):
        world.pubsub(each, user_id=f"user of {each}")
    world.ask("c2", "joinGroup", group="g")
    world.ask("c1", "joinGroup", group="g")
    (sent,) = world.ask("c3", "sendToGroup", group="g", data={"n": 1})
    assert isinstance(sent, Send)
    assert (sent.to, sent.kind) == (["c2", "c1"], Kind.DELIVERY)
    assert json.loads(sent.payload) == {
        "type": "message",
        "from": "group",
        "group": "g",
        "dataType": "json",
        "data": {"n": 1},
        "fromUserId": "user of c3",
    }
    world.ask("c2", "leaveGroup", group="g")
    assert receivers(world.ask("c3", "sendToGroup", group="g", data=1)) == ["c1"]
    world.ask("c1", "leaveGroup", group="g")
    assert world.ask("c3", "sendToGroup", group="g", data=1) == []


def test_joining_twice_is_joining_once() -> None:
    """Joining and leaving are idempotent, and acked as successes each time."""
    world = World()
    world.pubsub("c1")
    for ack_id in (1, 2):
        ack = ack_of(world.ask("c1", "joinGroup", group="g", ackId=ack_id))
        assert {"type": "ack", "ackId": ack_id, **SUCCESS} == ack
    assert receivers(world.ask("c1", "sendToGroup", group="g", data=1)) == ["c1"]
    for ack_id in (3, 4):
        assert ack_of(world.ask("c1", "leaveGroup", group="g", ackId=ack_id))["success"]


def test_own_message_comes_before_its_ack() -> None:
    """A send is acked after it was queued to the members."""
    world = World()
    world.pubsub("c1", groups=["g"])
    kinds = [type(each) for each in world.ask("c1", "sendToGroup", group="g", data=1, ackId=1)]
    assert kinds == [Send, SendAck]


def test_no_echo_leaves_out_only_the_sending_connection() -> None:
    """`noEcho` keeps the message from the sender, not from the user's other connections."""
    world = World()
    world.pubsub("c1", groups=["g"], user_id="u")
    world.pubsub("c2", groups=["g"], user_id="u")
    outputs = world.ask("c1", "sendToGroup", group="g", data=1, noEcho=True)
    assert receivers(outputs) == ["c2"]


def test_metadata_comes_along() -> None:
    """Metadata of a send reaches PubSub members, that of an event comes back with its echo, also
    without any data; simple members get the data alone."""
    world = World()
    world.pubsub("c1", groups=["g"])
    world.simple("c2", groups=["g"])
    metadata = {"trace": "1"}
    to_json, to_simple = world.ask("c1", "sendToGroup", group="g", data=1, metadata=metadata)
    assert isinstance(to_json, Send)
    assert json.loads(to_json.payload)["metadata"] == metadata
    assert Send(["c2"], b"1", True, Kind.DELIVERY) == to_simple
    (echo,) = world.ask("c1", "event", event="e", metadata=metadata)
    assert isinstance(echo, Send)
    assert json.loads(echo.payload) == {
        "type": "message",
        "from": "server",
        "dataType": "text",
        "data": "",
        "metadata": metadata,
    }


def test_anonymous_sender_has_no_user_id() -> None:
    """A message of an anonymous client has no `fromUserId`."""
    world = World()
    world.pubsub("c1", groups=["g"])
    (sent,) = world.ask("c1", "sendToGroup", group="g", data=1)
    assert isinstance(sent, Send)
    assert "fromUserId" not in json.loads(sent.payload)


@pytest.mark.parametrize("type_", ["joinGroup", "leaveGroup", "sendToGroup"])
def test_forbidden(type_: str) -> None:
    """Without the role nothing happens, and the ack says `Forbidden`, or nothing if none asked."""
    world = World()
    world.pubsub("c1", roles=["webpubsub.joinLeaveGroup.other", "webpubsub.sendToGroup.other"])
    world.pubsub("c2", groups=["g"])
    outputs = world.ask("c1", type_, group="g", data=1, ackId=1)
    assert ack_of(outputs)["error"]["name"] == "Forbidden"
    assert receivers(outputs) == []
    assert world.ask("c1", type_, group="g", data=1) == []
    assert receivers(world.hub.send_to_group("g", "x", "text")) == ["c2"]


def test_sending_does_not_need_membership_nor_give_it() -> None:
    """The role to send is enough to send, and makes nobody a member."""
    world = World()
    world.pubsub("c1", roles=["webpubsub.sendToGroup.g"])
    world.pubsub("c2", groups=["g"])
    assert receivers(world.ask("c1", "sendToGroup", group="g", data=1)) == ["c2"]


@pytest.mark.parametrize("data_type", ["text", "binary"])
def test_event_is_echoed_before_its_ack(data_type: str) -> None:
    """The echo upstream answers with the payload, as a message from the server; then comes the ack.
    An event needs no role."""
    world = World()
    world.pubsub("c1", roles=[])
    sent, ack = world.ask("c1", "event", event="e", dataType=data_type, data="aGk=", ackId=1)
    assert isinstance(sent, Send)
    assert sent.kind is Kind.SERVER_MESSAGE
    assert json.loads(sent.payload) == {
        "type": "message",
        "from": "server",
        "dataType": data_type,
        "data": "aGk=",
    }
    assert ack_of([ack])["success"]


def test_empty_answer_of_the_upstream_is_no_message() -> None:
    """An empty payload comes back as an empty body, which the service turns into nothing."""
    world = World()
    world.pubsub("c1")
    outputs = world.ask("c1", "event", event="e", dataType="text", data="", ackId=1)
    assert [SendAck] == list(map(type, outputs))
    assert world.ask("c1", "event", event="e", data=0) != []


def test_listener_upstream_acks_and_stays_silent() -> None:
    """With `none` an event is acked as a success and nothing comes back."""
    world = World(upstream="none")
    world.pubsub("c1")
    outputs = world.ask("c1", "event", event="e", data=1, ackId=1)
    assert ack_of(outputs)["success"]
    assert receivers(outputs) == []


def test_ping_and_sequence_ack() -> None:
    """`ping` is answered with `pong`; `sequenceAck` is for reliable clients and ignored here."""
    world = World()
    world.pubsub("c1")
    (pong,) = world.ask("c1", "ping")
    assert isinstance(pong, Send)
    assert pong.payload == b'{"type":"pong"}'
    assert world.ask("c1", "sequenceAck", sequenceId=1) == []


def test_requests_are_counted_by_type() -> None:
    """The ledger counts valid requests, refused ones too, and all bytes read."""
    world = World()
    world.pubsub("c1", roles=[])
    world.ask("c1", "joinGroup", group="g", ackId=1)
    world.ask("c1", "ping")
    world.hub.receive("c1", b"nonsense", is_text=True)
    assert world.ledger.requests == {"joinGroup": 1, "ping": 1}
    sizes = map(len, (b'{"type": "joinGroup", "group": "g", "ackId": 1}', b'{"type": "ping"}'))
    assert sum(sizes) + 8 == world.ledger.bytes_in


# Acks


def test_duplicate_ack_id_is_not_carried_out_again() -> None:
    """An ack id that succeeded is answered `Duplicate` for any type of request."""
    world = World()
    world.pubsub("c1", groups=["g"])
    assert ack_of(world.ask("c1", "event", event="e", data=1, ackId=5))["success"]
    for type_ in ("sendToGroup", "event", "joinGroup", "leaveGroup"):
        outputs = world.ask("c1", type_, group="g", event="e", data=1, ackId=5)
        assert ack_of(outputs)["error"] == {
            "name": "Duplicate",
            "message": "Message with ack-id: 5 has been processed",
        }
        assert receivers(outputs) == []
    assert receivers(world.hub.send_to_group("g", "x", "text")) == ["c1"]


def test_failed_ack_id_may_be_used_again() -> None:
    """Only success makes an id known: after `Forbidden` the same id is judged anew."""
    world = World()
    world.pubsub("c1", roles=["webpubsub.joinLeaveGroup.g"])
    assert not ack_of(world.ask("c1", "joinGroup", group="other", ackId=1))["success"]
    assert ack_of(world.ask("c1", "joinGroup", group="g", ackId=1))["success"]


def test_ack_ids_belong_to_a_connection() -> None:
    """Two connections may use the same ids."""
    world = World()
    for each in ("c1", "c2"):
        world.pubsub(each)
        assert ack_of(world.ask(each, "joinGroup", group="g", ackId=0))["success"]


def test_the_last_thousand_ack_ids_are_remembered() -> None:
    """The 1,001st success makes the first id unknown again."""
    world = World()
    world.pubsub("c1")
    for ack_id in range(1000):
        world.ask("c1", "joinGroup", group="g", ackId=ack_id)
    assert not ack_of(world.ask("c1", "joinGroup", group="g", ackId=0))["success"]
    assert ack_of(world.ask("c1", "joinGroup", group="g", ackId=1000))["success"]
    assert ack_of(world.ask("c1", "joinGroup", group="g", ackId=0))["success"]
    assert not ack_of(world.ask("c1", "joinGroup", group="g", ackId=2))["success"]


@pytest.mark.parametrize("last", [5, 2000])
def test_ack_ids_that_no_longer_count_up_are_remembered_too(last: int) -> None:
    """Whatever comes before and after the jump, the last thousand are known."""
    world = World()
    world.pubsub("c1")
    done = [*range(3, last), 1_000_000, 7_000, 7_001]
    for ack_id in done:
        assert ack_of(world.ask("c1", "joinGroup", group="g", ackId=ack_id))["success"]
    for ack_id in done[-1000:]:
        assert not ack_of(world.ask("c1", "joinGroup", group="g", ackId=ack_id))["success"]
    for ack_id in (2, 7_002, *done[-1001:-1000]):
        assert ack_of(world.ask("c1", "joinGroup", group="g", ackId=ack_id))["success"]


# Broken messages


@pytest.mark.parametrize(
    ("payload", "is_text", "code"),
    [
        (b"{}", False, 1003),
        (b"{", True, 1007),
        (b"\xff", True, 1007),
        (b'{"type":"invoke"}', True, 1007),
        (b'{"type":"sendToGroup","group":"g","data":' + b"[" * 300 + b"]" * 300 + b"}", True, 1007),
    ],
)
def test_broken_message_closes(payload: bytes, is_text: bool, code: int) -> None:
    """A message that breaks the protocol closes, with a `disconnected` frame first."""
    world = World()
    world.pubsub("c1", groups=["g"])
    (close,) = world.hub.receive("c1", payload, is_text=is_text)
    assert isinstance(close, Close)
    assert ("c1", code) == (close.connection_id, close.code)
    assert close.farewell is not None
    assert json.loads(close.farewell)["event"] == "disconnected"


@pytest.mark.parametrize("size", [1000, 1001])
def test_size_limit(size: int) -> None:
    """A frame of the limit passes, a longer one closes with 1009 and no further word."""
    world = World(max_message_bytes=1000)
    world.simple("c1")
    (output,) = world.hub.receive("c1", b"x" * size, is_text=False)
    if size == 1000:
        assert isinstance(output, Send)
    else:
        assert isinstance(output, Close)
        assert (output.code, output.farewell) == (1009, None)


# Payloads, for each kind of receiver


@pytest.mark.parametrize(
    ("fields", "for_simple", "is_text"),
    [
        ({"dataType": "text", "data": "hü"}, "hü".encode(), True),
        ({"dataType": "json", "data": {"a": [1, None]}}, b'{"a":[1,null]}', True),
        ({"dataType": "json", "data": "hi"}, b'"hi"', True),
        ({"data": 1.5}, b"1.5", True),
        ({"dataType": "binary", "data": "AP8="}, b"\x00\xff", False),
        ({"dataType": "protobuf", "data": "AP8="}, b"\x00\xff", False),
    ],
)
def test_payload_matrix(fields: dict[str, Any], for_simple: bytes, is_text: bool) -> None:
    """JSON clients get the data as it was typed; simple clients get a frame of the right kind."""
    world = World()
    world.pubsub("json 1", groups=["g"])
    world.simple("simple 1", groups=["g"])
    world.pubsub("json 2", groups=["g"])
    world.simple("simple 2", groups=["g"])
    to_json, to_simple = world.ask("json 1", "sendToGroup", group="g", **fields)
    assert isinstance(to_json, Send)
    assert isinstance(to_simple, Send)
    assert to_json.to == ["json 1", "json 2"]
    assert fields.items() <= json.loads(to_json.payload).items()
    assert Send(["simple 1", "simple 2"], for_simple, is_text, Kind.DELIVERY) == to_simple


# Simple clients


@pytest.mark.parametrize(("payload", "is_text"), [(b"text", True), (b"\x00", False)])
def test_simple_echo(payload: bytes, is_text: bool) -> None:
    """A frame of a simple client is an event, and the echo upstream gives it back."""
    world = World()
    world.simple("c1")
    outputs = world.hub.receive("c1", payload, is_text=is_text)
    assert [Send(["c1"], payload, is_text, Kind.ECHO)] == outputs
    assert world.hub.receive("c1", b"", is_text=is_text) == []
    assert world.ledger.simple_messages_in == 2


def test_simple_frames_can_be_swallowed() -> None:
    """With `none` a simple client is heard and not answered."""
    world = World(upstream="none")
    world.simple("c1")
    assert world.hub.receive("c1", b"x", is_text=True) == []
    assert world.ledger.simple_messages_in == 1


@pytest.mark.parametrize(("no_echo", "to"), [(False, ["s", "c"]), (True, ["c"])])
def test_simple_publisher(no_echo: bool, to: list[str]) -> None:
    """In sendToGroup mode text goes out as text, binary as binary, to the sender if a member."""
    world = World()
    world.simple("s", publish=Publish("g", no_echo), groups=["g"], user_id="u")
    world.pubsub("c", groups=["g"])
    outputs = world.hub.receive("s", "hü".encode(), is_text=True)
    assert sorted(receivers(outputs)) == sorted(to)
    message = json.loads(next(x for x in outputs if isinstance(x, Send) and x.to == ["c"]).payload)
    assert (message["dataType"], message["data"], message["fromUserId"]) == ("text", "hü", "u")
    outputs = world.hub.receive("s", b"\x00\xff", is_text=False)
    message = json.loads(next(x for x in outputs if isinstance(x, Send) and x.to == ["c"]).payload)
    assert (message["dataType"], message["data"]) == ("binary", "AP8=")


def test_simple_publisher_without_role_is_closed() -> None:
    """Its first frame closes it with 1008, without a `disconnected` frame."""
    world = World()
    world.simple("s", publish=Publish("g"), roles=[], groups=["g"])
    (close,) = world.hub.receive("s", b"x", is_text=True)
    assert isinstance(close, Close)
    assert (close.code, close.farewell) == (1008, None)


def test_simple_publisher_of_invalid_text_is_closed() -> None:
    """Text that is not UTF-8 closes with 1007."""
    world = World()
    world.simple("s", publish=Publish("g"))
    (close,) = world.hub.receive("s", b"\xff", is_text=True)
    assert isinstance(close, Close)
    assert close.code == 1007


# Sends from the server


def test_sends_from_the_server() -> None:
    """Sends to all, a user or a connection are `from: server`, those to a group `from: group`."""
    world = World()
    world.pubsub("c1", user_id="u", groups=["g"])
    world.pubsub("c2", user_id="u")
    world.simple("c3")
    hub = world.hub
    assert receivers(hub.send_to_all("x", "text")) == ["c1", "c2", "c3"]
    assert receivers(hub.send_to_all("x", "text", excluded={"c1", "c3"})) == ["c2"]
    assert receivers(hub.send_to_user("u", "x", "text")) == ["c1", "c2"]
    assert receivers(hub.send_to_group("g", "x", "text")) == ["c1"]
    assert receivers(hub.send_to_group("g", "x", "text", excluded={"c1"})) == []
    (to_connection,) = hub.send_to_connection("c2", b"\x00", "binary")
    assert isinstance(to_connection, Send)
    assert to_connection.kind is Kind.SERVER_MESSAGE
    assert json.loads(to_connection.payload)["from"] == "server"
    (to_group,) = hub.send_to_group("g", "x", "text")
    assert isinstance(to_group, Send)
    assert to_group.kind is Kind.DELIVERY
    assert json.loads(to_group.payload) == {
        "type": "message",
        "from": "group",
        "group": "g",
        "dataType": "text",
        "data": "x",
    }


# Faults


def test_drop_ack() -> None:
    """Every second ack is missing; its request was carried out, so its id is a duplicate later."""
    world = World("drop-ack:every=2")
    world.pubsub("c1", groups=["g"])
    assert ack_of(world.ask("c1", "sendToGroup", group="g", data=1, ackId=1))
    dropped = world.ask("c1", "sendToGroup", group="g", data=1, ackId=2)
    assert [Send] == list(map(type, dropped))
    retried = world.ask("c1", "sendToGroup", group="g", data=1, ackId=2)
    assert ack_of(retried)["error"]["name"] == "Duplicate"
    assert world.ledger.faults == {"drop-ack": 1}


def test_fail_ack() -> None:
    """Every second request with an ack id fails by name, is not carried out, and can be retried."""
    world = World("fail-ack:every=2,name=Timeout")
    world.pubsub("c1", groups=["g"])
    assert ack_of(world.ask("c1", "sendToGroup", group="g", data=1, ackId=1))["success"]
    assert receivers(world.ask("c1", "sendToGroup", group="g", data=1)) == ["c1"]
    failed = world.ask("c1", "sendToGroup", group="g", data=1, ackId=2)
    assert ack_of(failed)["error"]["name"] == "Timeout"
    assert receivers(failed) == []
    assert ack_of(world.ask("c1", "sendToGroup", group="g", data=1, ackId=2))["success"]
    assert world.ledger.faults == {"fail-ack": 1}


def test_drop_delivery_counts_members() -> None:
    """Of 10 messages to 3 members every seventh copy is missing: 4 of 30."""
    world = World("drop-delivery:every=7")
    for each in ("c1", "c2", "c3"):
        world.pubsub(each, groups=["g"])
    copies = [
        each
        for _ in range(10)
        for each in receivers(world.ask("c1", "sendToGroup", group="g", data=1))
    ]
    assert len(copies) == 26
    assert world.ledger.faults == {"drop-delivery": 4}


def test_drop_delivery_leaves_messages_of_the_server_alone() -> None:
    """Event answers and sends to all are no deliveries."""
    world = World("drop-delivery:every=1")
    world.pubsub("c1", groups=["g"])
    assert receivers(world.ask("c1", "event", event="e", data=1)) == ["c1"]
    assert receivers(world.hub.send_to_all("x", "text")) == ["c1"]
    assert receivers(world.hub.send_to_group("g", "x", "text")) == []


def test_delay_ack_counts_acks_of_any_kind() -> None:
    """Every second ack that is not dropped is to be late, refused ones too."""
    world = World("delay-ack:every=2,by=48ms")
    world.pubsub("c1", roles=["webpubsub.joinLeaveGroup"])
    first = world.ask("c1", "joinGroup", group="g", ackId=1)
    second = world.ask("c1", "sendToGroup", group="g", data=1, ackId=2)
    third = world.ask("c1", "joinGroup", group="g", ackId=1)
    assert [[SendAck], [SendLateAck], [SendAck]] == [
        list(map(type, each)) for each in (first, second, third)
    ]
    (late,) = second
    assert isinstance(late, SendLateAck)
    assert (late.connection_id, late.name, late.by_s) == ("c1", "Forbidden", 0.048)
    assert world.ledger.faults == {}, "counted when it is written"


@pytest.mark.parametrize("fault", ["duplicate-delivery", "reorder-delivery", "delay-delivery"])
def test_faults_of_deliveries_are_left_to_who_writes_them(fault: str) -> None:
    """Group messages come out with their sender, to PubSub and simple members; others do not."""
    world = World(f"{fault}:every=3")
    world.pubsub("c1", groups=["g"])
    world.simple("s1", groups=["g"], publish=Publish("g"))
    sent = world.ask("c1", "sendToGroup", group="g", data="x", dataType="text")
    published = world.hub.receive("s1", b"x", is_text=True)
    from_server = world.hub.send_to_group("g", "x", "text")
    told = [
        (each.to, each.sender)
        for each in (*sent, *published, *from_server)
        if isinstance(each, Deliver)
    ]
    assert told == [
        *((["c1"], "c1"), (["s1"], "c1")),
        *((["c1"], "s1"), (["s1"], "s1")),
        *((["c1"], ""), (["s1"], "")),
    ]
    assert receivers(world.ask("c1", "event", event="e", data=1)) == ["c1"]


@pytest.mark.parametrize("is_simple", [False, True])
def test_cut(is_simple: bool) -> None:
    """Every second frame aborts its connection and is lost."""
    world = World("cut:every=2")
    (world.simple if is_simple else world.pubsub)("c1")
    assert world.hub.receive("c1", b'{"type":"ping"}', is_text=True) != [Abort("c1")]
    assert world.hub.receive("c1", b'{"type":"ping"}', is_text=True) == [Abort("c1")]
    assert sum(world.ledger.requests.values()) + world.ledger.simple_messages_in == 1


def test_close() -> None:
    """Every second frame closes its connection with the given code, without a farewell."""
    world = World("close:every=2,code=1012")
    world.pubsub("c1")
    world.ask("c1", "ping")
    (close,) = world.ask("c1", "ping")
    assert isinstance(close, Close)
    assert (close.connection_id, close.code, close.farewell) == ("c1", 1012, None)

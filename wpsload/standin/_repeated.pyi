"""Types of the compiled module."""

from wpsload.subprotocol import SendToGroup

class LastSend:
    def read(self, payload: bytes) -> SendToGroup | None: ...
    def learn(self, payload: bytes, request: SendToGroup) -> None: ...

"""Every exception of wpsload, with its exit code and advice.

::

    WpsloadError                exit code, hint
    ├── ConfigError         2   bad option, target, token or file, found before any load
    ├── ProtocolError
    │   ├── LocalProtocolError  the scenario asked for what the protocol forbids
    │   └── RemoteProtocolError the peer sent what the protocol forbids; carries a close code
    └── ConnectError            connecting failed: phase, HTTP status if there was one

Before and after the load errors are raised. During the load an expected failure is an outcome of
a `wpsload.metrics.Sample`, grouped by a short stable text.
"""

__all__ = [
    "ConfigError",
    "ConnectError",
    "LocalProtocolError",
    "ProtocolError",
    "RemoteProtocolError",
    "WpsloadError",
]


class WpsloadError(Exception):
    """Base of all errors that wpsload raises on purpose.

    `message` says what happened, the value seen and what was expected; `hint` says what to do.
    Neither ever holds a secret.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} (hint: {self.hint})" if self.hint else self.message


class ConfigError(WpsloadError):
    """A bad option, target, token or file, found before any load was sent."""

    exit_code = 2


class ProtocolError(WpsloadError):
    """Somebody broke the protocol; the subclass says who."""


class LocalProtocolError(ProtocolError):
    """Our own side asked for what the protocol forbids: a mistake in the scenario."""


class RemoteProtocolError(ProtocolError):
    """The peer sent what the protocol forbids.

    `close_code` is the WebSocket close code that answers it: 1007 for a payload that is not valid
    for the subprotocol, 1003 for the wrong kind of frame. Source: protocol reference, section 8.3.
    """

    def __init__(self, message: str, *, close_code: int = 1007, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.close_code = close_code


class ConnectError(WpsloadError):
    """Connecting failed in `phase`: `token`, `negotiate`, `dns`, `tcp`, `tls` or `upgrade`.

    `status` is the HTTP status of the service, or None if it gave no answer. `outcome` is the
    stable text under which the failure is counted.
    """

    def __init__(
        self, outcome: str, *, phase: str, status: int | None = None, hint: str | None = None
    ) -> None:
        super().__init__(outcome, hint=hint)
        self.outcome = outcome
        self.phase = phase
        self.status = status

"""A connected byte stream that never waits: plain, or with TLS. Sockets only, no event loop.

What cannot be written at once is kept, and `drain` goes on with it; its owner looks at
`unsent_bytes` and stops writing before that grows without limit.
"""

import socket
import ssl
import struct
import sys
from time import time_ns
from typing import Any

from wpsload.units import NS_PER_S

__all__ = ["Stream", "TlsStream"]

_READ_BYTES = 65536

# Source: socket(7), and the kernel's uapi/asm-generic/socket.h; Python has no name for it.
_SO_TIMESTAMPNS = 35
_TIMESPEC = struct.Struct("@ll")
_ANCILLARY_BYTES = 64


class Stream:
    """A connected socket of the system, set not to block. Its errors are `OSError`s.

    `unsent` is what was written and not yet taken by the operating system. `is_bare` is True if
    what is read and written is what the system moves. `lags_ns` is where arrivals are noted, if
    they are.
    """

    __slots__ = ("_recv", "_send", "_socket", "is_bare", "lags_ns", "unsent")

    def __init__(self, sock: Any) -> None:
        self._socket = sock
        self._recv = sock.recv
        self._send = sock.send
        self.unsent = bytearray()
        self.is_bare = True
        self.lags_ns: list[int] | None = None

    def fileno(self) -> int:
        """The file descriptor, to wait for."""
        number: int = self._socket.fileno()
        return number

    @property
    def unsent_bytes(self) -> int:
        """Bytes that wait until the peer takes them."""
        return len(self.unsent)

    def read(self) -> bytes | None:
        """What has arrived: None if nothing, empty at the end of the stream."""
        try:
            data: bytes = self._recv(_READ_BYTES)
        except BlockingIOError:
            return None
        return data

    def write(self, data: bytes) -> bool:
        """Send `data`, or keep what is not taken at once; True if all of it is gone."""
        if not self.unsent:
            try:
                sent = self._send(data)
            except BlockingIOError:
                sent = 0
            if sent == len(data):
                return True
            data = data[sent:]
        self.unsent += data
        return False

    def note_arrivals(self, lags_ns: list[int]) -> None:
        """From now on append to `lags_ns` how long what is read was in the kernel, where it tells.

        What arrived in several pieces counts from the last of them.
        """
        if not sys.platform.startswith("linux"):
            return
        sock, recvmsg, note = self._socket, self._socket.recvmsg, lags_ns.append
        try:
            sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        except OSError:
            return

        def recv(size_bytes: int) -> Any:
            data, ancillary, _, _ = recvmsg(size_bytes, _ANCILLARY_BYTES)
            if ancillary:
                whole_s, rest_ns = _TIMESPEC.unpack_from(ancillary[0][2])
                lag_ns = time_ns() - whole_s * NS_PER_S - rest_ns
                if lag_ns >= 0:  # or the clock of the wall was set back
                    note(lag_ns)
            return data

        self._recv = recv
        self.lags_ns = lags_ns

    def drain(self) -> None:
        """Go on with what was kept."""
        try:
            sent = self._send(self.unsent)
        except BlockingIOError:
            return
        del self.unsent[:sent]

    def close(self) -> None:
        """Close the socket; what is unsent is lost."""
        self.unsent.clear()
        self._socket.close()


class TlsStream(Stream):
    """The same through TLS, in memory: one system call moves many records.

    Args:
        tls: made by `SSLContext.wrap_bio` from the two memory buffers.
    """

    __slots__ = ("_incoming", "_outgoing", "_tls")

    def __init__(self, sock: Any, tls: Any, incoming: Any, outgoing: Any) -> None:
        super().__init__(sock)
        self.is_bare = False
        self._tls = tls
        self._incoming = incoming
        self._outgoing = outgoing

    @property
    def session(self) -> Any:
        """The session so far, for a later connection to resume."""
        return self._tls.session

    @property
    def is_resumed(self) -> bool:
        """True if the handshake went on with an earlier session."""
        return bool(self._tls.session_reused)

    def shake_hands(self) -> bool:
        """Go on with the handshake; False as long as more has to be read for it."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        finally:
            if self._outgoing.pending:
                super().write(self._outgoing.read())
        return True

    def read(self) -> bytes | None:
        """What has arrived and was decrypted: None if nothing, empty at the end of the stream."""
        received = super().read()
        if received:
            self._incoming.write(received)
        elif received is not None:
            return received
        data = self._decrypted()
        if self._outgoing.pending:
            super().write(self._outgoing.read())  # TLS itself had to answer
        return data

    def _decrypted(self) -> bytes | None:
        read, incoming = self._tls.read, self._incoming
        chunks: list[bytes] = []
        try:
            chunks.append(read(_READ_BYTES))  # one record
            while incoming.pending and chunks[-1]:
                chunks.append(read(_READ_BYTES))
        except ssl.SSLWantReadError:  # asking for it costs as much as a record: only if in doubt
            pass
        if len(chunks) == 1:
            return chunks[0]
        return b"".join(chunks) if chunks else None

    def write(self, data: bytes) -> bool:
        """Encrypt and send `data`, or keep what is not taken at once; True if all of it is gone."""
        self._tls.write(data)
        return super().write(self._outgoing.read())

# cython: language_level=3, boundscheck=False, wraparound=False
"""Reading the sockets of an epoll that are ready, and writing what that caused, all in one go.

`pipe` and `wire` do the same in Python, at a third more CPU for a message. Built where there is a
compiler and epoll.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.errno cimport EAGAIN, errno
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from wpsload._system cimport (
    EPOLLIN,
    MASKED,
    MSG_NOSIGNAL,
    READ_BYTES,
    SHORT_BYTES,
    WHOLE_TEXT,
    epoll_event,
    epoll_wait,
    mask,
    recv,
    send,
)

__all__ = ["read_ready", "write_all"]

cdef enum:
    MOST_READY = 256

cdef char _buffer[READ_BYTES]


def read_ready(epoll, dict pipes):
    """What up to 256 sockets of `epoll` have, by their pipe in `pipes`, which is by descriptor.

    A list of tuples: the pipe, what happened to its socket, and the bytes that were read; None if
    the pipe has to read, as there is more to it. If the bytes are nothing but one text message of a
    client, in ASCII, and its receiver is between messages, then they are its payload, and what
    happened is 0.
    """
    cdef epoll_event events[MOST_READY]
    cdef list ready = []
    cdef int i, fd
    cdef uint32_t happened
    cdef ssize_t size
    cdef Py_ssize_t start
    for i in range(epoll_wait(epoll.fileno(), events, MOST_READY, 0)):
        happened = events[i].events
        fd = events[i].data.fd
        pipe = pipes.get(fd)
        if pipe is None:
            continue
        if happened != EPOLLIN or pipe.is_closing:
            ready.append((pipe, happened, None))
            continue
        size = recv(fd, _buffer, READ_BYTES, 0)
        if size < 0:
            if errno != EAGAIN:
                ready.append((pipe, happened, None))
            continue
        start = 0
        if pipe.receiver.is_between_messages:
            start = unmasked_text(<uint8_t *>_buffer, size)
        if start:
            happened = 0
        ready.append((pipe, happened, PyBytes_FromStringAndSize(_buffer + start, size - start)))
    return ready


cdef Py_ssize_t unmasked_text(uint8_t *data, Py_ssize_t size) noexcept:
    """Where the payload starts, unmasked now; 0 if it is anything but one message in ASCII."""
    cdef Py_ssize_t start, length, i
    cdef uint32_t key
    cdef uint64_t word
    if size < 6 or data[0] != WHOLE_TEXT or not data[1] & MASKED:
        return 0
    length = data[1] ^ MASKED
    start = 6
    if length > SHORT_BYTES:
        if length != 126 or size < 8:
            return 0
        length = data[2] << 8 | data[3]
        start = 8
    if size != start + length:
        return 0
    memcpy(&key, data + start - 4, 4)
    mask(data + start, length, key)
    for i in range(length):
        if data[start + i] & 0x80:
            mask(data + start, length, key)
            return 0
    return start


def write_all(list wires):
    """Write what each of the wires was given, as `flush` does, which has whatever is not usual."""
    cdef list outgoing
    cdef bytes data
    cdef ssize_t sent
    for wire in wires:
        outgoing = wire.outgoing
        pipe = wire.pipe
        if outgoing and not (wire.behind_bytes or pipe.is_kept or pipe.is_closing):
            data = outgoing[0] if len(outgoing) == 1 else b"".join(outgoing)
            sent = send(pipe.fd, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), MSG_NOSIGNAL)
            if sent == PyBytes_GET_SIZE(data):
                outgoing.clear()
                continue
            while sent > 0:  # frames that are gone, or a part of one
                data = outgoing[0]
                if sent < PyBytes_GET_SIZE(data):
                    outgoing[0] = data[sent:]
                else:
                    del outgoing[0]
                sent -= PyBytes_GET_SIZE(data)
        wire.flush()

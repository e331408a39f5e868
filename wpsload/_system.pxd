"""What the compiled modules need of Linux and of RFC 6455."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

cdef extern from "sys/epoll.h" nogil:
    ctypedef union epoll_data_t:
        int fd

    cdef struct epoll_event:
        uint32_t events
        epoll_data_t data

    const int EPOLLIN, EPOLLOUT, EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD
    int epoll_create1(int flags)
    int epoll_ctl(int epoll, int operation, int fd, epoll_event *event)
    int epoll_wait(int epoll, epoll_event *events, int most, int timeout_ms)

cdef extern from "sys/socket.h" nogil:
    const int MSG_NOSIGNAL
    ssize_t recv(int fd, void *buffer, size_t size, int flags)
    ssize_t send(int fd, const void *buffer, size_t size, int flags)

cdef enum:
    READ_BYTES = 65536  # of one socket at once
    WHOLE_TEXT = 0x81  # the first byte of nearly every frame. Source: RFC 6455, 5.2
    MASKED = 0x80  # of the second one
    SHORT_BYTES = 125  # the longest payload whose size fits into it


cdef inline void mask(uint8_t *at, Py_ssize_t size, uint32_t key) noexcept:
    """Mask, or unmask. Source: RFC 6455, 5.3."""
    cdef uint64_t keys = key | <uint64_t>key << 32
    cdef uint64_t word
    cdef Py_ssize_t i
    while size >= 8:
        memcpy(&word, at, 8)
        word ^= keys
        memcpy(at, &word, 8)
        at += 8
        size -= 8
    for i in range(size):
        at[i] ^= (<uint8_t *>&key)[i & 3]

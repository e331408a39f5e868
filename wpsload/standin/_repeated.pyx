# cython: language_level=3, boundscheck=False, wraparound=False
"""Requests that differ from the last one of their client in text and ack id alone: not parsed again.

A sender repeats itself. What stands before the text of its message was parsed once, and behind the
text there is an ack id; if the text between cannot mean anything but itself, the request is known.
Whatever is not exactly like that is for the parser, which says the same, at ten times the cost.
Built where there is a compiler; in Python it would gain nothing.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_DecodeASCII
from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcmp

from wpsload.subprotocol import SendToGroup

__all__ = ["LastSend"]

cdef bytes _front_end = b'"dataType":"text","data":"'
# What may stand between a text and its ack id. There is no brace in it, so that both are in the
# object that the last byte closes, which is the request.
cdef tuple _behind = (b'","ackId":', b'","noEcho":true,"ackId":', b'","noEcho":false,"ackId":')
cdef object _new = tuple.__new__  # of a named tuple, for half of the price

cdef enum:
    MOST_DIGITS = 19  # no number of so many digits is too large for an ack id
    LONGEST_FRONT_BYTES = 512  # of what each client keeps


cdef class LastSend:
    """The last `sendToGroup` of one client, as far as the next one may be like it."""

    cdef bytes _front  # up to its text; None if there is none to be told by
    cdef bytes _behind  # between that and its ack id
    cdef object _group, _no_echo

    cpdef object read(self, bytes payload):
        """The request that the text frame `payload` is, if it is like the last one; else None."""
        if self._front is None:
            return None
        cdef const uint8_t *data = <const uint8_t *>PyBytes_AS_STRING(payload)
        cdef Py_ssize_t size = PyBytes_GET_SIZE(payload), start = PyBytes_GET_SIZE(self._front)
        if size <= start or memcmp(data, PyBytes_AS_STRING(self._front), start):
            return None
        cdef Py_ssize_t end = start
        while end < size and data[end] != c'"':
            # No escapes, no control characters, nothing but ASCII: it means itself.
            if data[end] < 0x20 or data[end] > 0x7E or data[end] == c"\\":
                return None
            end += 1
        cdef Py_ssize_t behind = PyBytes_GET_SIZE(self._behind)
        cdef Py_ssize_t at = end + behind, digits = size - 1 - at
        if (
            not 0 < digits <= MOST_DIGITS
            or memcmp(data + end, PyBytes_AS_STRING(self._behind), behind)
            or data[at] == c"0"
            or data[size - 1] != c"}"
        ):
            return None
        cdef uint64_t ack_id = 0
        while at < size - 1:
            if not c"0" <= data[at] <= c"9":
                return None
            ack_id = 10 * ack_id + data[at] - c"0"
            at += 1
        text = PyUnicode_DecodeASCII(<const char *>data + start, end - start, NULL)
        return _new(SendToGroup, (self._group, text, "text", self._no_echo, ack_id, None))

    def learn(self, bytes payload, request):
        """Remember the request that `payload` was parsed as, if others can be told by it."""
        cdef Py_ssize_t start = payload.find(_front_end) + len(_front_end)
        if start > LONGEST_FRONT_BYTES:
            return
        self._group = request.group
        self._no_echo = request.no_echo
        for self._behind in _behind:
            self._front = payload[:start]
            if self.read(payload) == request:
                return
            self._front = None

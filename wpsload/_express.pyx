# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The short way of a published message: when it is due, to its ack, and to whom it is delivered.

What `poller`, `wire`, `session`, `publication` and `publishing` do together in Python for a message
like most, a `Lane` does here without Python in between: read the socket, tell an ack by its looks,
time it, write the next message of a closed loop, mask it, send it. It tells a delivery by its looks
as well, as `familiar` does, and a `Pace` writes the messages of an open loop when they are due.
Whatever is not exactly that goes on to them, in order. There is one state, which is theirs: the
arrays, the dict of requests and the counters of the Python objects are read and written here, so
that each message may go either way. Tests have both ways do the same.

Built where there is a compiler and epoll. All works without it, at up to twice the CPU a message.
"""

import sys

from cpython cimport array
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.ref cimport Py_INCREF, PyObject
from cpython.tuple cimport PyTuple_SET_ITEM
from libc.errno cimport EAGAIN, errno
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcmp, memcpy, memset
from posix.time cimport CLOCK_MONOTONIC, CLOCK_REALTIME, clock_gettime, itimerspec, timespec
from posix.unistd cimport close

from wpsload._system cimport (
    EPOLL_CLOEXEC,
    EPOLL_CTL_ADD,
    EPOLL_CTL_DEL,
    EPOLL_CTL_MOD,
    EPOLLIN,
    EPOLLOUT,
    MASKED,
    MSG_NOSIGNAL,
    READ_BYTES,
    SHORT_BYTES,
    WHOLE_TEXT,
    epoll_create1,
    epoll_ctl,
    epoll_event,
    epoll_wait,
    mask,
    recv,
    send,
)
from wpsload.alarm import SOON_NS
from wpsload.fan_out import FOLLOWED_MASK
from wpsload.metrics import DELIVERY, SEND_TO_GROUP, SEND_TO_GROUP_SERVICE
from wpsload.publication import Stamped
from wpsload.publishing import LATE_NS, MOST_AT_ONCE, NEVER_NS, ClosedLoop
from wpsload.session import ACK_END, ACK_START, Pending
from wpsload.turn import MOST_HELD

__all__ = ["Express", "Lane", "Pace", "Template"]

cdef extern from "Python.h":
    ctypedef struct PyTypeObject

    object PyType_GenericAlloc(PyTypeObject *type, Py_ssize_t items)

cdef extern from "sys/random.h" nogil:
    ssize_t getrandom(void *buffer, size_t size, unsigned int flags)

cdef extern from "sys/timerfd.h" nogil:
    const int TFD_NONBLOCK, TFD_CLOEXEC, TFD_TIMER_ABSTIME
    int timerfd_create(int clock, int flags)
    int timerfd_settime(int fd, int flags, const itimerspec *new, itimerspec *old)

cdef extern from "sys/socket.h" nogil:
    const int SOL_SOCKET, SO_TIMESTAMPNS  # Source: socket(7)

    cdef struct iovec:
        void *iov_base
        size_t iov_len

    cdef struct msghdr:
        iovec *msg_iov
        size_t msg_iovlen
        void *msg_control
        size_t msg_controllen

    cdef struct cmsghdr:
        int cmsg_level
        int cmsg_type

    ssize_t recvmsg(int fd, msghdr *message, int flags)
    cmsghdr *CMSG_FIRSTHDR(msghdr *message)
    void *CMSG_DATA(cmsghdr *header)

cdef enum:
    LOOP_READ = 1  # of an io watcher
    MOST_READY = 64  # sockets in one turn, and paces
    SENT_AT_ONCE = 16  # of what is due: so none waits for long until those with it are ready
    MOST_REST_NS = 100_000
    FLUSH_BYTES = 65536  # so much waits for the turn to end, so that the unsent stays bounded
    SIZE_IN_TWO = 126  # the second byte of a frame whose size stands in the next two
    TIME_DIGITS = 16
    NUMBER_DIGITS = 8
    ACK_ID_DIGITS = 18  # those of 63 bits, and no more
    KEYS_AT_ONCE = 64  # as many bytes as getrandom(2) never gives in part
    ANCILLARY_BYTES = 64
    PENDING_FIELDS = 7

assert MOST_READY == MOST_HELD
assert PENDING_FIELDS == len(Pending._fields)

cdef bytes _ack_start = ACK_START, _ack_end = ACK_END
cdef const char *START = _ack_start
cdef const char *END = _ack_end
cdef Py_ssize_t START_BYTES = len(_ack_start), END_BYTES = len(_ack_end)
cdef int64_t FOLLOWED = FOLLOWED_MASK
cdef int64_t _late_ns = LATE_NS
cdef int64_t _never_ns = NEVER_NS
cdef int64_t _soon_ns = SOON_NS
cdef int _most_at_once = MOST_AT_ONCE
cdef const char *HEX = b"0123456789abcdef"

cdef uint32_t _keys[KEYS_AT_ONCE]
cdef int _keys_left = 0


cdef uint32_t mask_key() except? 0:
    """A new random key, from a strong source, as RFC 6455, 10.3 demands."""
    global _keys_left
    if not _keys_left:
        if getrandom(_keys, sizeof(_keys), 0) != sizeof(_keys):
            raise OSError(errno, "getrandom")
        _keys_left = KEYS_AT_ONCE
    _keys_left -= 1
    return _keys[_keys_left]


cdef int64_t nanoseconds(timespec *time) noexcept:
    return <int64_t>time.tv_sec * 1_000_000_000 + time.tv_nsec


cdef int64_t clock_ns() noexcept:
    """That of `wpsload.clock`, which is the monotonic one on Linux."""
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return nanoseconds(&now)


cdef ssize_t receive(int fd, void *buffer, list lags_ns) except? -1:
    """Read once; note in `lags_ns`, if there is one, how long what is read was in the kernel."""
    if lags_ns is None:
        return recv(fd, buffer, READ_BYTES, 0)
    cdef char ancillary[ANCILLARY_BYTES]
    cdef iovec where = iovec(buffer, READ_BYTES)
    cdef msghdr message
    memset(&message, 0, sizeof(message))
    message.msg_iov = &where
    message.msg_iovlen = 1
    message.msg_control = ancillary
    message.msg_controllen = sizeof(ancillary)
    cdef ssize_t size = recvmsg(fd, &message, 0)
    cdef cmsghdr *header = CMSG_FIRSTHDR(&message) if size > 0 else NULL
    cdef timespec now
    cdef int64_t lag_ns
    if header != NULL and header.cmsg_level == SOL_SOCKET and header.cmsg_type == SO_TIMESTAMPNS:
        clock_gettime(CLOCK_REALTIME, &now)
        lag_ns = nanoseconds(&now) - nanoseconds(<timespec *>CMSG_DATA(header))
        if lag_ns >= 0:  # or the clock of the wall was set back
            lags_ns.append(lag_ns)
    return size


cdef inline int append(array.array numbers, int64_t number) except -1:
    """To an array of 64 bits each."""
    cdef Py_ssize_t at = len(numbers)
    array.resize_smart(numbers, at + 1)
    numbers.data.as_longlongs[at] = number
    return 0


cdef class Told:
    """The arrays of a `wpsload.meter.Series`."""

    cdef array.array _latencies_ns, _sizes_bytes

    def __init__(self, series):
        self._latencies_ns = series.latencies_ns
        self._sizes_bytes = series.sizes_bytes

    cdef int append(self, int64_t latency_ns, Py_ssize_t size_bytes) except -1:
        append(self._latencies_ns, latency_ns)
        append(self._sizes_bytes, size_bytes)
        return 0


cdef void write_hex(uint8_t *at, uint64_t number, int digits) noexcept:
    cdef int i
    for i in range(digits):
        at[i] = HEX[(number >> (4 * (digits - 1 - i))) & 15]


cdef tuple pending_send(
    int64_t due_ns, int64_t written_ns, object owner, object stream, object number
):
    """As `Pending` makes it, in a third of the time."""
    cdef tuple pending = <tuple>PyType_GenericAlloc(<PyTypeObject *>Pending, PENDING_FIELDS)
    set_field(pending, 0, SEND_TO_GROUP)
    set_field(pending, 1, due_ns)
    set_field(pending, 2, written_ns)
    set_field(pending, 3, None)
    set_field(pending, 4, owner)
    set_field(pending, 5, stream)
    set_field(pending, 6, number)
    return pending


cdef inline void set_field(tuple pending, Py_ssize_t at, object value) noexcept:
    Py_INCREF(value)
    PyTuple_SET_ITEM(pending, at, value)


cdef class Template:
    """The messages of a `Stamped` publication as text frames, byte for byte those of its `frame`.

    Args:
        front, back: what stands before the digits of the stamp, and behind them up to the ack id.
        is_numbered: the stamp has a number behind its time.
    """

    cdef bytes _front, _back
    cdef bint _is_numbered

    def __init__(self, bytes front, bytes back, bint is_numbered):
        self._front = front
        self._back = back
        self._is_numbered = is_numbered

    def frame(self, int64_t sent_ns, int64_t number, int64_t ack_id, uint32_t mask_key):
        """One message, stamped with `sent_ns` and `number`."""
        return self.write(sent_ns, number, ack_id, mask_key)

    cdef bytes write(self, int64_t sent_ns, int64_t number, int64_t ack_id, uint32_t key):
        cdef char digits[ACK_ID_DIGITS + 2]
        cdef int count = 0
        while ack_id or not count:
            count += 1
            digits[sizeof(digits) - count] = c"0" + ack_id % 10
            ack_id //= 10
        cdef Py_ssize_t front = PyBytes_GET_SIZE(self._front), back = PyBytes_GET_SIZE(self._back)
        cdef int stamp = TIME_DIGITS + NUMBER_DIGITS if self._is_numbered else TIME_DIGITS
        cdef Py_ssize_t size = front + stamp + back + count + 1
        cdef int size_bytes = 0 if size <= SHORT_BYTES else 2 if size < 65536 else 8
        cdef bytes frame = PyBytes_FromStringAndSize(NULL, 2 + size_bytes + 4 + size)
        cdef uint8_t *at = <uint8_t *>PyBytes_AS_STRING(frame)
        cdef int i
        at[0] = WHOLE_TEXT
        at[1] = MASKED | (size if not size_bytes else 126 if size_bytes == 2 else 127)
        at += 2
        for i in range(size_bytes):
            at[i] = (<uint64_t>size >> (8 * (size_bytes - 1 - i))) & 0xFF
        at += size_bytes
        memcpy(at, &key, 4)
        at += 4
        cdef uint8_t *payload = at
        memcpy(at, PyBytes_AS_STRING(self._front), front)
        at += front
        write_hex(at, sent_ns, TIME_DIGITS)
        if self._is_numbered:
            write_hex(at + TIME_DIGITS, number, NUMBER_DIGITS)
        at += stamp
        memcpy(at, PyBytes_AS_STRING(self._back), back)
        at += back
        memcpy(at, digits + sizeof(digits) - count, count)
        at[count] = c"}"
        mask(payload, size, key)
        return frame


cdef class Lane:
    """The short way of one connection, made by `Express.lane`, until `end` or its socket is gone."""

    cdef int _fd
    cdef bint _is_over, _is_held, _is_bare
    cdef Py_ssize_t _outgoing_bytes
    cdef Express _express
    cdef object _source, _write, _reader, _session, _meter, _receipts, _observer
    cdef Told _sends, _services, _deliveries  # to the meter
    cdef list _outgoing, _lags_ns
    cdef bytearray _unsent
    cdef dict _pending
    # Of `Familiar`, while reading:
    cdef Py_ssize_t _stamp_at
    cdef bint _is_numbered
    cdef bytes _filler
    cdef dict _envelopes
    cdef object _lead_ns
    # The envelope of the last delivery, which most often is that of the next one:
    cdef bytes _front, _back
    cdef tuple _known

    def end(self):
        """Everything goes the long way from now on."""
        self._is_over = True

    cpdef int64_t publish(
        self, object publication, int64_t due_ns, int64_t now_ns, object owner
    ) except -1:
        """Write the next message of `publication`; its ackId, 0 if it has to go the long way.

        It leaves at the end of this turn or, if none is under way, with the next `flush` of the
        wire. `owner` is told of the ack.
        """
        if not self.may_write():
            return 0
        cdef Template template = self._template_of(publication)
        if template is None:
            return 0
        return self.write(template, publication.stream, due_ns, now_ns, owner)

    cdef bint may_write(self) noexcept:
        return not self._is_over and not self._unsent

    cdef int64_t write(
        self, Template template, object stream, int64_t due_ns, int64_t now_ns, object owner
    ) except -1:
        session = self._session
        number = stream.sequence
        ack_id = session.next_ack_id
        cdef bytes frame = template.write(due_ns, number, ack_id, mask_key())
        session.next_ack_id = ack_id + 1
        self._pending[ack_id] = pending_send(due_ns, now_ns, owner, stream, number)
        stream.sequence = number + 1
        cdef Py_ssize_t size = PyBytes_GET_SIZE(frame)
        self._outgoing.append(frame)
        self._outgoing_bytes += size
        self._express.count(
            self._meter, 1, size - (6 if size < 132 else 8 if size < 65544 else 14), 0
        )
        if self._outgoing_bytes > FLUSH_BYTES:
            self.flush()
        elif not self._is_held and self._express._is_in_turn:
            self._is_held = True
            self._express.hold(self)
        return ack_id

    def pace(
        self,
        loop,
        publication,
        *,
        due_times_ns,
        int64_t due_ns,
        int64_t free_ns,
        int64_t most_late_ns,
    ):
        """The short way of `loop`, which hands over when its messages are due; None without one.

        Args:
            due_ns: when the next message is due; `due_times_ns` gives the others.
            free_ns: what was due before is late since then.
            most_late_ns: what would be later is for the loop itself.
        """
        cdef Template template = self._template_of(publication)
        if self._is_over or due_ns == _never_ns or template is None:
            return None
        cdef Pace pace = Pace()
        pace._lane = self
        pace._loop = loop
        pace._template = template
        pace._stream = publication.stream
        pace._due_times_ns = due_times_ns
        pace._due_ns = due_ns
        pace._free_ns = free_ns
        pace._most_late_ns = most_late_ns
        self._express.begin(pace)
        return pace

    cdef Template _template_of(self, publication):
        """None if its messages have to go the long way."""
        if type(publication) is not Stamped:
            return None
        template = publication.template
        if template is None:
            parts = publication.around_stamp()
            publication.template = template = False if parts is None else Template(*parts)
        return None if template is False else <Template>template

    cpdef flush(self):
        """Send what was written. What the system does not take at once is for the wire."""
        self._is_held = False
        self._outgoing_bytes = 0
        cdef list outgoing = self._outgoing
        if not outgoing:
            return
        if self._is_over or self._unsent or not self._is_bare:
            self._write()
            return
        cdef bytes data = outgoing[0] if len(outgoing) == 1 else b"".join(outgoing)
        outgoing.clear()
        cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
        cdef ssize_t sent = send(self._fd, PyBytes_AS_STRING(data), size, MSG_NOSIGNAL)
        if sent != size:
            outgoing.append(data if sent < 0 else data[sent:])
            self._write()

    cdef Py_ssize_t take(self, const char *data, Py_ssize_t size, int64_t now_ns) except -1:
        """Handle the acks and deliveries that `data` begins with; how many bytes they are.

        It was read at `now_ns`.
        """
        cdef Py_ssize_t at = 0, length, head_bytes, received_bytes = 0
        cdef const uint8_t *head
        cdef bint is_taken
        cdef int may_deliver = -1  # nobody has asked
        if not self._reader.is_between_messages:
            return 0
        while not self._is_over and size - at > 2:
            head = <const uint8_t *>data + at
            head_bytes = 2
            length = head[1]
            if length == SIZE_IN_TWO and size - at > 4:
                head_bytes = 4
                length = head[2] << 8 | head[3]
                if length <= SHORT_BYTES:
                    break
            elif length > SHORT_BYTES:
                break
            if head[0] != WHOLE_TEXT or length > size - at - head_bytes:
                break
            is_taken = head_bytes == 2 and self.take_ack(<const char *>head + 2, length, now_ns)
            if not is_taken:
                if may_deliver < 0:
                    may_deliver = self.may_deliver()
                if not may_deliver:
                    break
                if not self.take_delivery(<const char *>head + head_bytes, length, now_ns):
                    break
            at += head_bytes + length
            received_bytes += length
        if received_bytes:
            self._express.count(self._meter, 0, 0, received_bytes)
        return at

    cdef bint take_ack(self, const char *payload, Py_ssize_t length, int64_t now_ns) except -1:
        cdef Py_ssize_t digits = length - START_BYTES - END_BYTES
        cdef int64_t number
        cdef tuple pending
        if (
            not 0 < digits <= ACK_ID_DIGITS
            or memcmp(payload, START, START_BYTES)
            or memcmp(payload + length - END_BYTES, END, END_BYTES)
        ):
            return False
        number = read_ack_id(payload + START_BYTES, digits)
        if number < 0:
            return False
        ack_id = number
        found = self._pending.get(ack_id)
        if found is None:
            return False
        pending = <tuple>found  # a named one
        if pending[0] is not SEND_TO_GROUP:
            return False
        owner = pending[4]
        if owner is not None and type(owner) is not ClosedLoop:
            return False
        del self._pending[ack_id]
        self._sends.append(now_ns - <int64_t>pending[1], length)
        if owner is None:
            self._services.append(now_ns - <int64_t>pending[2], 0)
        elif owner.is_stopped or not self.publish(owner.publication, now_ns, now_ns, owner):
            owner.go_on(now_ns)
        return True

    cdef bint may_deliver(self) except -1:
        """Whether a delivery may be told by its looks now; prepares for those of one `take`."""
        if self._observer.is_listening:
            return False
        self._stamp_at = self._session.stamp_at
        familiar = self._session.familiar
        self._filler = familiar.filler
        self._is_numbered = familiar.is_numbered
        self._envelopes = familiar.envelopes
        self._lead_ns = familiar.lead_ns
        return self._stamp_at > 0

    cdef bint take_delivery(self, const char *payload, Py_ssize_t length, int64_t now_ns) except -1:
        """As `Familiar.stamp` tells it, and `Connection` counts it."""
        cdef Py_ssize_t stamp_at = self._stamp_at
        cdef Py_ssize_t digits = TIME_DIGITS + NUMBER_DIGITS if self._is_numbered else TIME_DIGITS
        cdef Py_ssize_t filler_at = stamp_at + digits
        cdef Py_ssize_t back_at = filler_at + PyBytes_GET_SIZE(self._filler)
        if (
            length <= back_at
            or payload[back_at] != c'"'
            or memcmp(payload + filler_at, PyBytes_AS_STRING(self._filler), back_at - filler_at)
        ):
            return False
        if not is_same(self._front, payload, stamp_at):
            front = payload[:stamp_at]
            known = self._envelopes.get(front)
            if known is None:
                return False
            self._front, self._known, self._back = front, known, None
        if not is_same(self._back, payload + back_at, length - back_at):
            back = payload[back_at:length]
            if back not in <set>self._known[0]:
                return False
            self._back = back
        cdef int64_t sent_ns = read_hex(payload + stamp_at, TIME_DIGITS)
        cdef int64_t number = 0
        if self._is_numbered:
            number = read_hex(payload + stamp_at + TIME_DIGITS, NUMBER_DIGITS)
        if sent_ns < 0 or number < 0:
            return False
        cdef int64_t latency_ns = max(0, now_ns - sent_ns - <int64_t>self._lead_ns[self._known[1]])
        self._deliveries.append(latency_ns, length)
        if not self._is_numbered:
            return True
        stream = self._known[2]
        following = self._receipts.next
        next_number = (<dict>following).get(stream)
        if next_number is not None and <int64_t>next_number == number:
            following[stream] = number + 1
        else:
            self._receipts.irregular(stream, number)
        if not number & FOLLOWED:
            self._meter.followed.append((stream, number, latency_ns))
        return True


cdef inline bint is_same(bytes known, const char *data, Py_ssize_t size) noexcept:
    return (
        known is not None
        and PyBytes_GET_SIZE(known) == size
        and not memcmp(PyBytes_AS_STRING(known), data, size)
    )


cdef int64_t read_hex(const char *digits, int count) noexcept:
    """The number of these digits, none of them a capital; -1 if they are none, or too many bits."""
    cdef uint64_t number = 0
    cdef int i
    for i in range(count):
        if c"0" <= digits[i] <= c"9":
            number = number << 4 | <uint64_t>(digits[i] - c"0")
        elif c"a" <= digits[i] <= c"f":
            number = number << 4 | <uint64_t>(digits[i] - c"a" + 10)
        else:
            return -1
    return <int64_t>number


cdef int64_t read_ack_id(const char *digits, Py_ssize_t count) noexcept:
    """The number that JSON writes with these digits; -1 if they are none."""
    cdef int64_t number = 0
    cdef Py_ssize_t i
    if digits[0] == c"0":
        return -1
    for i in range(count):
        if not c"0" <= digits[i] <= c"9":
            return -1
        number = number * 10 + digits[i] - c"0"
    return number


cdef class Pace:
    """The short way of one open loop, made by `Lane.pace`, until `end` or it gives the loop back.

    It gives back whatever it cannot write, and then the loop's `take_back` is told when that was
    due, and goes on.
    """

    cdef Lane _lane
    cdef Template _template
    cdef object _loop, _stream, _due_times_ns
    cdef int64_t _due_ns, _free_ns, _most_late_ns
    cdef bint _is_over

    def end(self):
        """Write no more; when the next message is due."""
        self._is_over = True
        return self._due_ns

    cdef bint send(self, int64_t now_ns, array.array about_to_write) except -1:
        """Write what is due by `now_ns`; False if it is over."""
        cdef Lane lane = self._lane
        cdef int sent = 0, late = 0
        while self._due_ns <= now_ns and sent < _most_at_once:
            if now_ns - self._due_ns > self._most_late_ns or not lane.may_write():
                self._is_over = True
                break
            lane.write(self._template, self._stream, self._due_ns, now_ns, None)
            sent += 1
            late += now_ns - self._due_ns > _late_ns
            append(about_to_write, max(self._due_ns, self._free_ns))
            self._due_ns = next(self._due_times_ns, _never_ns)
        lane._express.count_due(lane._meter, sent, late)
        if self._is_over or self._due_ns == _never_ns:
            self._is_over = True
            self._loop.take_back(self._due_ns)
        return not self._is_over


cdef struct Due:
    int64_t due_ns
    PyObject *pace


cdef class Express:
    """A `wpsload.poller.Poller` that has lanes: all sockets behind one epoll."""

    cdef int _epoll, _timer
    cdef char *_buffer  # what one turn reads; only what is used of it takes memory
    cdef object _hub, _turn, _watcher
    cdef dict _watched  # by file descriptor: a source, or a lane
    cdef list _held  # lanes that have something to flush when the turn ends
    cdef bint _is_in_turn
    cdef array.array _about_to_write  # due times, of the turn
    cdef object _meter  # that has not been told of these:
    cdef int64_t _sent, _sent_bytes, _received_bytes, _due, _late
    cdef set _paces
    cdef Due *_dues  # when each of them is due: a heap
    cdef int _due_count, _due_room
    cdef int64_t _rest_until_ns  # what falls due before is written then
    cdef int64_t _timer_ns  # when it rings, or has rung; 0 if it is not set

    def __cinit__(self):
        self._epoll = self._timer = -1

    def __init__(self, hub, turn):
        self._hub = hub
        self._turn = turn
        self._about_to_write = turn.due_ns
        self._watched = {}
        self._held = []
        self._paces = set()
        self._buffer = <char *>malloc(MOST_READY * READ_BYTES)
        if self._buffer == NULL:
            raise MemoryError
        self._epoll = epoll_create1(EPOLL_CLOEXEC)
        if self._epoll < 0:
            raise OSError(errno, "epoll_create1")
        self._timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)
        if self._timer < 0:
            raise OSError(errno, "timerfd_create")
        self._control(EPOLL_CTL_ADD, self._timer, False)
        self._watcher = hub.loop.io(self._epoll, LOOP_READ)
        self._watcher.start(self._handle)

    def __dealloc__(self):
        if self._epoll >= 0:
            close(self._epoll)
        if self._timer >= 0:
            close(self._timer)
        free(self._buffer)
        free(self._dues)

    def __len__(self):
        return len(self._watched)

    def add(self, int fd, source, *, bint is_writing=False):
        """Watch `fd` for reading, and for writing too if `is_writing`."""
        self._control(EPOLL_CTL_ADD, fd, is_writing)
        self._watched[fd] = source

    def want_write(self, int fd, bint is_wanted):
        """Watch it for writing too, or no longer."""
        self._control(EPOLL_CTL_MOD, fd, is_wanted)

    def remove(self, int fd):
        """Forget `fd`, and what was read from it, before it is closed or right afterwards."""
        watched = self._watched.pop(fd)
        if type(watched) is Lane:
            (<Lane>watched)._is_over = True
        epoll_ctl(self._epoll, EPOLL_CTL_DEL, fd, NULL)  # the system forgets what is closed itself

    def lane(
        self,
        int fd,
        *,
        source,
        bint is_bare,
        write,
        outgoing,
        unsent,
        lags_ns,
        reader,
        session,
        meter,
        receipts,
        observer,
    ):
        """The short way for the socket `fd` of `source`, which is the long one.

        Args:
            is_bare: the socket moves what is read and written; else `source` and `write` do.
            lags_ns: where to note how long what is read was in the kernel, if it is to be.
            write: sends what is in `outgoing`, and keeps in `unsent` what the system does not take.
            reader: of frames; what it has begun to read it has to end.
            session: knows which requests are under way.
            meter: where acks and deliveries are timed and traffic is counted.
            receipts: of the client, for its ledger.
            observer: while it `is_listening`, deliveries go the long way.
        """
        cdef Lane lane = Lane()
        lane._fd = fd
        lane._express = self
        lane._source = source
        lane._is_bare = is_bare
        lane._write = write
        lane._outgoing = outgoing
        lane._unsent = unsent
        lane._lags_ns = lags_ns
        lane._reader = reader
        lane._session = session
        lane._pending = session.pending
        lane._meter = meter
        lane._sends = Told(meter.series(SEND_TO_GROUP))
        lane._services = Told(meter.series(SEND_TO_GROUP_SERVICE))
        lane._deliveries = Told(meter.series(DELIVERY))
        lane._receipts = receipts
        lane._observer = observer
        self._watched[fd] = lane
        return lane

    cdef int hold(self, Lane lane) except -1:
        """Flush it when the turn ends, or once enough are held."""
        self._held.append(lane)
        if len(self._held) >= MOST_HELD:
            self._flush_held()
        return 0

    cdef int _flush_held(self) except -1:
        cdef list held = self._held
        self._held = []
        for lane in held:
            try:
                (<Lane>lane).flush()
            except BaseException:  # the others are to be written all the same
                self._hub.handle_error(lane, *sys.exc_info())
        if self._about_to_write and self._turn.held:  # they are of what went the long way
            self._turn.flush()
        self._written()
        return 0

    cdef int _written(self) except -1:
        """As `Turn.written`."""
        cdef Py_ssize_t at, count = len(self._about_to_write)
        cdef array.array slips_ns
        cdef int64_t now_ns
        if not count:
            return 0
        if self._turn.is_watched:
            slips_ns = self._turn.slips_ns
            now_ns = clock_ns()
            for at in range(count):
                append(slips_ns, now_ns - self._about_to_write.data.as_longlongs[at])
        array.resize_smart(self._about_to_write, 0)
        return 0

    cdef int count(
        self, meter, int64_t sent, int64_t sent_bytes, int64_t received_bytes
    ) except -1:
        """Add to those of `meter`, when the turn ends if one is under way."""
        self._choose(meter)
        self._sent += sent
        self._sent_bytes += sent_bytes
        self._received_bytes += received_bytes
        if not self._is_in_turn:
            self._tell_meter()
        return 0

    cdef int count_due(self, meter, int64_t due, int64_t late) except -1:
        """The same, in a turn: so many were due and are written, so many of them late."""
        self._choose(meter)
        self._due += due
        self._late += late
        return 0

    cdef int _choose(self, meter) except -1:
        if meter is not self._meter:
            self._tell_meter()
            self._meter = meter
        return 0

    cdef int _tell_meter(self) except -1:
        meter = self._meter
        if meter is None:
            return 0
        if self._sent:
            meter.sent += self._sent
            meter.sent_bytes += self._sent_bytes
            self._sent = self._sent_bytes = 0
        if self._due:
            meter.due += self._due
            meter.achieved += self._due
            meter.late += self._late
            self._due = self._late = 0
        if self._received_bytes:
            meter.received_bytes += self._received_bytes
            self._received_bytes = 0
        return 0

    cdef int begin(self, Pace pace) except -1:
        """It is to write its messages from now on."""
        self._paces.add(pace)
        self._push(<PyObject *>pace, pace._due_ns)
        self._set_timer()
        return 0

    cdef int _push(self, PyObject *pace, int64_t due_ns) except -1:
        cdef int at = self._due_count, above, room
        cdef Due *more
        if at == self._due_room:
            room = max(64, 2 * self._due_room)
            more = <Due *>realloc(self._dues, room * sizeof(Due))
            if more == NULL:
                raise MemoryError
            self._dues, self._due_room = more, room
        self._due_count += 1
        while at:
            above = (at - 1) // 2
            if self._dues[above].due_ns <= due_ns:
                break
            self._dues[at] = self._dues[above]
            at = above
        self._dues[at] = Due(due_ns, pace)
        return 0

    cdef PyObject *_pop(self) noexcept:
        """The pace that is due first."""
        cdef PyObject *first = self._dues[0].pace
        self._due_count -= 1
        cdef Due last = self._dues[self._due_count]
        cdef int at = 0, below = 1
        while below < self._due_count:
            if below + 1 < self._due_count and self._dues[below + 1].due_ns < self._dues[below].due_ns:
                below += 1
            if last.due_ns <= self._dues[below].due_ns:
                break
            self._dues[at] = self._dues[below]
            at = below
            below = 2 * at + 1
        self._dues[at] = last
        return first

    cdef int _send_due(self) except -1:
        """Write what is due by now, of as many paces as sockets are read in a turn at most.

        If nothing is left over it then rests for as long as that took, but not for long: the more
        are due at once, the less time each takes, and what is saved makes up for hold-ups.
        """
        cdef PyObject *due[MOST_READY]
        cdef int i, count = 0
        cdef int64_t now_ns = clock_ns(), written_ns
        cdef Pace pace
        if now_ns < self._rest_until_ns:
            return 0
        while count < MOST_READY and self._due_count and self._dues[0].due_ns <= now_ns:
            due[count] = self._pop()
            count += 1
        for i in range(count):
            pace = <Pace>due[i]
            try:
                if not pace._is_over and pace.send(now_ns, self._about_to_write):
                    self._push(due[i], pace._due_ns)
                    if len(self._held) >= SENT_AT_ONCE:
                        self._flush_held()
                    continue
            except BaseException:
                self._hub.handle_error(pace, *sys.exc_info())
            self._paces.discard(pace)
        self._flush_held()
        if self._due_count and self._dues[0].due_ns > now_ns:
            written_ns = clock_ns()
            self._rest_until_ns = written_ns + min(MOST_REST_NS, written_ns - now_ns)
        return 0

    cdef int _set_timer(self) except -1:
        """Ring when the next one is due."""
        cdef int64_t now_ns = clock_ns()
        cdef bint is_ringing = 0 < self._timer_ns <= now_ns  # until it is set anew
        cdef int64_t next_ns = 0
        if self._due_count:
            next_ns = max(self._dues[0].due_ns, self._rest_until_ns)
        if not next_ns:
            if not is_ringing:
                return 0
        elif is_ringing:
            if next_ns - now_ns <= _soon_ns:
                return 0
        elif self._timer_ns and self._timer_ns <= next_ns:
            return 0
        cdef itimerspec at
        memset(&at, 0, sizeof(at))
        at.it_value.tv_sec = next_ns // 1_000_000_000
        at.it_value.tv_nsec = next_ns % 1_000_000_000
        if timerfd_settime(self._timer, TFD_TIMER_ABSTIME, &at, NULL) < 0:
            raise OSError(errno, "timerfd_settime")
        self._timer_ns = next_ns
        return 0

    cdef int _handle_lane(
        self, Lane lane, const char *data, Py_ssize_t size, int64_t read_ns
    ) except -1:
        source = lane._source
        if self._watched.get(lane._fd) is not lane:
            return 0
        cdef Py_ssize_t taken
        try:
            taken = lane.take(data, size, read_ns)
        except BaseException:
            source.abort("internal error")
            raise
        if (taken < size or not size) and self._watched.get(lane._fd) is lane:
            source.handle(data[taken:size], read_ns)
        return 0

    cdef int _control(self, int operation, int fd, bint is_writing) except -1:
        cdef epoll_event event
        event.events = EPOLLIN | EPOLLOUT if is_writing else EPOLLIN
        event.data.fd = fd
        if epoll_ctl(self._epoll, operation, fd, &event) < 0:
            raise OSError(errno, "epoll_ctl")
        return 0

    def _handle(self):
        """Read whatever is ready, then handle it, then write what that caused."""
        cdef epoll_event events[MOST_READY]
        cdef int fds[MOST_READY]
        cdef Py_ssize_t sizes[MOST_READY]
        cdef int64_t read_ns[MOST_READY]
        cdef int i, count = 0
        cdef uint32_t happened
        cdef ssize_t size
        cdef char *at = self._buffer
        cdef list arrived = []
        turn = self._turn
        turn.begin()
        self._is_in_turn = True
        for i in range(epoll_wait(self._epoll, events, MOST_READY, 0)):
            happened = events[i].events
            fds[count] = events[i].data.fd
            if fds[count] == self._timer:
                continue
            watched = self._watched.get(fds[count])
            source = watched
            if type(watched) is Lane:
                if happened == EPOLLIN and (<Lane>watched)._is_bare:
                    size = receive(fds[count], at, (<Lane>watched)._lags_ns)
                    if size < 0 and errno == EAGAIN:
                        continue
                    sizes[count] = size = max(size, 0)  # an error is an end, too
                    at += size
                    read_ns[count] = clock_ns()
                    arrived.append((watched, None))
                    count += 1
                    continue
                source = (<Lane>watched)._source
            if source is not None:  # one before it may have closed this one
                try:
                    data = source.read(happened > EPOLLIN and happened & EPOLLOUT != 0)
                except BaseException:  # gevent would watch no socket any more
                    self._hub.handle_error(source, *sys.exc_info())
                else:
                    if data is not None:
                        read_ns[count] = clock_ns()
                        arrived.append((watched, data))
                        count += 1
        at = self._buffer
        for i in range(count):
            watched, data = arrived[i]
            try:
                if data is None:
                    at += sizes[i]
                    self._handle_lane(watched, at - sizes[i], sizes[i], read_ns[i])
                elif type(watched) is Lane:
                    self._handle_lane(watched, data, len(data), read_ns[i])
                elif self._watched.get(fds[i]) is watched:
                    watched.handle(data, read_ns[i])
            except BaseException:
                self._hub.handle_error(watched, *sys.exc_info())
        if self._due_count or self._timer_ns:
            self._send_due()
            self._set_timer()
        self._flush_held()
        self._tell_meter()
        self._is_in_turn = False
        turn.end()

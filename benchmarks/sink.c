/* The server that generators are measured against: it answers, counts, and does nothing else.
 *
 *     sink [CERTIFICATE KEY]        PEM files make it speak TLS
 *
 * One thread, one epoll. It knows of the JSON subprotocol what a generator can see of it: the
 * `connected` message, and an ack for every request with an ackId, which it does not look into any
 * further. It shares no code with wpsload or its stand-in. Written for benchmarks on the loopback
 * interface: it trusts its clients, and a message has to come in one frame.
 *
 * The first line on stdout is {"port":N}. Then it obeys the lines of stdin, and ends with stdin:
 *
 *     stats                     print the counts as one line of JSON; `pipelined` are requests that
 *                               came together with an earlier one of their connection
 *     push BYTES BURST STAMP DIGITS
 *                               from now on push group messages to every connection that has joined
 *                               (see push_what_is_due). Their data begin with STAMP and DIGITS
 *                               digits: 16 of the time, and 8 more count the messages if there are 24
 *     stop                      push no more
 *     refuse                    from now on answer with ackId 0, which nobody asked for: it ends a
 *                               generator that has no other way to end in order
 *
 * cc -O3 -o sink sink.c -lssl -lcrypto
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define INBOX_BYTES (1 << 18)
#define OUTBOX_BYTES (1 << 20)
#define MAX_FILES (1 << 18)
#define MAX_EVENTS 512
#define SUBPROTOCOL "json.webpubsub.azure.v1"

enum opcode { CONTINUATION = 0, TEXT = 1, BINARY = 2, CLOSE = 8, PING = 9, PONG = 10 };
enum state { TLS_HANDSHAKE, UPGRADE, OPEN, CLOSING };

struct connection {
    int fd;
    SSL *ssl;
    enum state state;
    bool has_joined;
    unsigned requests_in_read;
    int pings_unanswered;
    unsigned next_number; /* of the messages that are pushed to it */
    char *unread; /* the start of a frame whose rest has not come */
    size_t unread_len;
    char *unsent; /* what the socket did not take; nothing is read before it does */
    size_t unsent_len;
};

static struct {
    uint64_t opened, open, joins, acks, pipelined, request_bytes, pushed, delivered, errors;
} counts;

static struct connection *connections[MAX_FILES]; /* by file descriptor */
static int highest_fd;
static int epoll_fd;
static SSL_CTX *tls;
static bool is_pushing, is_refusing;
static char *burst; /* group messages and a ping, as they go over the wire */
static size_t burst_len, burst_frames, burst_frame_len, stamp_offset, stamp_digits;
static char inbox[INBOX_BYTES];
static char outbox[OUTBOX_BYTES]; /* what one turn writes to the connection at hand */
static size_t outbox_len;

static void die(const char *what)
{
    fprintf(stderr, "sink: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t now_ns(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void watch(struct connection *c, int operation)
{
    struct epoll_event event = {.events = c->unsent_len ? EPOLLOUT : EPOLLIN, .data.fd = c->fd};
    if (epoll_ctl(epoll_fd, operation, c->fd, &event) < 0)
        die("epoll_ctl");
}

static void drop(struct connection *c)
{
    if (c->state == OPEN || c->state == CLOSING)
        counts.open--;
    if (c->ssl) {
        if (c->state == CLOSING)
            SSL_shutdown(c->ssl); /* without it, the client reports a cut connection */
        SSL_free(c->ssl);
    }
    connections[c->fd] = NULL;
    close(c->fd);
    free(c->unread);
    free(c->unsent);
    free(c);
}

/* Bytes moved; 0 if the socket has to be waited for; -1 if the connection is gone. */
static ssize_t move(struct connection *c, char *into, const char *from, size_t len)
{
    ssize_t moved;
    if (c->ssl) {
        ERR_clear_error(); /* of other connections; SSL_get_error would take it for ours */
        moved = into ? SSL_read(c->ssl, into, (int)len) : SSL_write(c->ssl, from, (int)len);
        if (moved > 0)
            return moved;
        int why = SSL_get_error(c->ssl, (int)moved);
        return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? 0 : -1;
    }
    moved = into ? recv(c->fd, into, len, 0) : send(c->fd, from, len, MSG_NOSIGNAL);
    if (moved > 0)
        return moved;
    return moved < 0 && errno == EAGAIN ? 0 : -1;
}

/* Writes the outbox, and keeps what the socket does not take. False if the connection is gone. */
static bool flush(struct connection *c)
{
    bool was_waiting = c->unsent_len > 0;
    if (was_waiting) {
        c->unsent = realloc(c->unsent, c->unsent_len + outbox_len);
        memcpy(c->unsent + c->unsent_len, outbox, outbox_len);
        c->unsent_len += outbox_len;
    }
    const char *from = was_waiting ? c->unsent : outbox;
    size_t left = was_waiting ? c->unsent_len : outbox_len;
    outbox_len = 0;
    while (left > 0) {
        ssize_t sent = move(c, NULL, from, left);
        if (sent < 0)
            return false;
        if (sent == 0)
            break;
        from += sent;
        left -= (size_t)sent;
    }
    if (left > 0) {
        if (!was_waiting)
            c->unsent = realloc(c->unsent, left);
        memmove(c->unsent, from, left);
    }
    c->unsent_len = left;
    if (was_waiting != (left > 0))
        watch(c, EPOLL_CTL_MOD);
    return true;
}

static void put(const void *data, size_t len)
{
    if (outbox_len + len > OUTBOX_BYTES) {
        fprintf(stderr, "sink: more answers than the outbox holds\n");
        exit(1);
    }
    memcpy(outbox + outbox_len, data, len);
    outbox_len += len;
}

static void put_frame(enum opcode opcode, const char *body, size_t len)
{
    unsigned char head[4] = {0x80 | opcode, (unsigned char)len};
    if (len < 126) {
        put(head, 2);
    } else {
        head[1] = 126;
        head[2] = (unsigned char)(len >> 8);
        head[3] = (unsigned char)len;
        put(head, 4);
    }
    put(body, len);
}

static void unmask(char *body, size_t len, const char key[4])
{
    uint64_t word, keys;
    memcpy(&keys, key, 4);
    memcpy((char *)&keys + 4, key, 4);
    size_t i = 0;
    for (; i + 8 <= len; i += 8) {
        memcpy(&word, body + i, 8);
        word ^= keys;
        memcpy(body + i, &word, 8);
    }
    for (; i < len; i++)
        body[i] ^= key[i & 3];
}

/* The digits of the ackId, which generators put first, last or in the middle; NULL without one. */
static const char *find_ack_id(const char *text, size_t len)
{
    static const char name[] = "\"ackId\":";
    const size_t name_len = sizeof name - 1, tail = 48;
    const char *hit = len > tail ? memmem(text + len - tail, tail, name, name_len) : NULL;
    if (!hit)
        hit = memmem(text, len, name, name_len);
    if (!hit)
        return NULL;
    for (hit += name_len; *hit == ' '; hit++)
        ;
    return hit;
}

static void answer_request(struct connection *c, const char *text, size_t len)
{
    static const char refusal[] = "{\"type\":\"ack\",\"ackId\":0,\"success\":false}";
    char ack[80] = "{\"type\":\"ack\",\"ackId\":";
    const size_t start = strlen(ack);
    const char *digits = find_ack_id(text, len);
    if (!digits) {
        if (memmem(text, len, "\"ping\"", 6))
            put_frame(TEXT, "{\"type\":\"pong\"}", 15);
        else
            counts.errors++;
        return;
    }
    if (is_refusing) {
        put_frame(TEXT, refusal, sizeof refusal - 1);
        return;
    }
    size_t n = 0;
    while (n < 20 && digits + n < text + len && digits[n] >= '0' && digits[n] <= '9')
        n++;
    memcpy(ack + start, digits, n);
    memcpy(ack + start + n, ",\"success\":true}", 16);
    put_frame(TEXT, ack, start + n + 16);
    if (!c->has_joined && memmem(text, len, "\"joinGroup\"", 11)) {
        c->has_joined = true;
        counts.joins++;
    } else {
        counts.acks++;
        counts.pipelined += c->requests_in_read++ > 0;
        counts.request_bytes += len;
    }
}

/* Writes a burst of group messages that ends with a ping, while at most one ping is unanswered.
 *
 * So a connection gets messages as fast as it reads them and no faster: nothing piles up in
 * buffers that nobody sees, and a message counts as delivered when the ping behind it is answered.
 */
static void push_what_is_due(struct connection *c)
{
    while (is_pushing && c->has_joined && c->state == OPEN && c->pings_unanswered < 2) {
        char stamp[25];
        unsigned long long sent_ns = (unsigned long long)now_ns(CLOCK_MONOTONIC);
        for (size_t i = 0; i < burst_frames; i++) {
            snprintf(stamp, sizeof stamp, "%016llx%08x", sent_ns, c->next_number++);
            memcpy(burst + i * burst_frame_len + stamp_offset, stamp, stamp_digits);
        }
        put(burst, burst_len);
        c->pings_unanswered++;
        counts.pushed += burst_frames;
    }
}

/* False if the frame ends the connection for good. */
static bool on_frame(struct connection *c, enum opcode opcode, char *body, size_t len)
{
    switch (opcode) {
    case TEXT:
    case BINARY:
        answer_request(c, body, len);
        return true;
    case PING:
        put_frame(PONG, body, len);
        return true;
    case PONG:
        if (c->pings_unanswered > 0) {
            c->pings_unanswered--;
            counts.delivered += burst_frames;
            push_what_is_due(c);
        }
        return true;
    case CLOSE:
        put_frame(CLOSE, body, len < 2 ? 0 : 2);
        c->state = CLOSING;
        return true;
    default:
        counts.errors++;
        return false;
    }
}

/* Handles the whole frames at the start of `data`; how much that was, or -1 to drop the client. */
static ssize_t take_frames(struct connection *c, char *data, size_t len)
{
    size_t at = 0;
    while (len - at >= 6 && c->state == OPEN) {
        unsigned char *head = (unsigned char *)data + at;
        size_t head_len = 6, body_len = head[1] & 0x7f;
        if (body_len == 126) {
            head_len = 8;
            body_len = (size_t)head[2] << 8 | head[3];
        } else if (body_len == 127) {
            if (len - at < 14)
                break;
            head_len = 14;
            body_len = (size_t)head[6] << 24 | head[7] << 16 | head[8] << 8 | head[9];
        }
        if (!(head[0] & 0x80) || !(head[1] & 0x80) || body_len > INBOX_BYTES - 14) {
            counts.errors++; /* in fragments, unmasked or too long */
            return -1;
        }
        if (len - at < head_len + body_len)
            break;
        char *body = data + at + head_len;
        unmask(body, body_len, body - 4);
        if (!on_frame(c, head[0] & 0x0f, body, body_len))
            return -1;
        at += head_len + body_len;
    }
    return c->state == CLOSING ? (ssize_t)len : (ssize_t)at;
}

/* The value of a header, its length in `len`; NULL without it. */
static const char *find_header(const char *request, const char *name, size_t *len)
{
    const char *line = strcasestr(request, name);
    if (!line)
        return NULL;
    line += strlen(name);
    line += strspn(line, " ");
    *len = strcspn(line, "\r");
    return line;
}

static ssize_t take_upgrade(struct connection *c, char *data, size_t len)
{
    static unsigned long connection_number;
    char *end = memmem(data, len, "\r\n\r\n", 4);
    if (!end)
        return 0;
    *end = 0;
    size_t key_len, offer_len = 0;
    const char *key = find_header(data, "\nSec-WebSocket-Key:", &key_len);
    const char *offer = find_header(data, "\nSec-WebSocket-Protocol:", &offer_len);
    if (!key || key_len != 24) {
        counts.errors++;
        return -1;
    }
    bool is_pubsub = offer && memmem(offer, offer_len, SUBPROTOCOL, strlen(SUBPROTOCOL));
    char text[128], accept[32];
    unsigned char digest[SHA_DIGEST_LENGTH];
    snprintf(text, sizeof text, "%.24s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key);
    SHA1((unsigned char *)text, strlen(text), digest);
    EVP_EncodeBlock((unsigned char *)accept, digest, sizeof digest);
    char reply[512];
    int reply_len = snprintf(reply, sizeof reply,
                             "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                             "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n%s\r\n",
                             accept,
                             is_pubsub ? "Sec-WebSocket-Protocol: " SUBPROTOCOL "\r\n" : "");
    put(reply, (size_t)reply_len);
    if (is_pubsub) {
        reply_len = snprintf(reply, sizeof reply,
                             "{\"type\":\"system\",\"event\":\"connected\",\"userId\":null,"
                             "\"connectionId\":\"%032lx\"}",
                             ++connection_number);
        put_frame(TEXT, reply, (size_t)reply_len);
    }
    c->state = OPEN;
    counts.opened++;
    counts.open++;
    return end + 4 - data;
}

/* One read, and what it asks for. True if there may be more to read. */
static bool read_once(struct connection *c, bool *is_gone)
{
    size_t kept = c->unread_len;
    if (kept > 0)
        memcpy(inbox, c->unread, kept);
    ssize_t got = move(c, inbox + kept, NULL, INBOX_BYTES - 1 - kept);
    if (got <= 0) {
        *is_gone = got < 0;
        return false;
    }
    size_t len = kept + (size_t)got, at = 0;
    c->requests_in_read = 0;
    ssize_t taken;
    if (c->state == UPGRADE) {
        taken = take_upgrade(c, inbox, len);
        at = taken > 0 ? (size_t)taken : 0;
        *is_gone = taken < 0;
    }
    if (c->state == OPEN) {
        taken = take_frames(c, inbox + at, len - at);
        *is_gone = taken < 0;
        at += taken > 0 ? (size_t)taken : 0;
    }
    c->unread_len = *is_gone ? 0 : len - at;
    if (c->unread_len > 0) {
        c->unread = realloc(c->unread, c->unread_len);
        memcpy(c->unread, inbox + at, c->unread_len);
    }
    /* A TLS record that is already decrypted makes no event. */
    return !*is_gone && c->ssl && c->state == OPEN && outbox_len < OUTBOX_BYTES / 2;
}

static void on_ready(struct connection *c)
{
    bool is_gone = false;
    if (c->state == TLS_HANDSHAKE) {
        ERR_clear_error();
        int done = SSL_accept(c->ssl);
        if (done == 1) {
            c->state = UPGRADE;
        } else {
            int why = SSL_get_error(c->ssl, done);
            if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE)
                drop(c);
            return;
        }
    }
    if (c->unsent_len) {
        if (!flush(c)) {
            drop(c);
            return;
        }
        if (c->unsent_len)
            return;
    }
    while (read_once(c, &is_gone))
        ;
    if (is_gone || !flush(c) || (c->state == CLOSING && c->unsent_len == 0))
        drop(c);
}

static void accept_all(int listener)
{
    int fd, on = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        if (fd >= MAX_FILES)
            die("too many connections");
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        struct connection *c = calloc(1, sizeof *c);
        c->fd = fd;
        c->state = tls ? TLS_HANDSHAKE : UPGRADE;
        if (tls) {
            c->ssl = SSL_new(tls);
            SSL_set_fd(c->ssl, fd);
        }
        connections[fd] = c;
        if (fd > highest_fd)
            highest_fd = fd;
        watch(c, EPOLL_CTL_ADD);
    }
    if (errno != EAGAIN && errno != ECONNABORTED)
        die("accept");
}

static void start_pushing(size_t bytes, size_t frames, const char *mark, size_t digits)
{
    static const char start[] =
        "{\"type\":\"message\",\"from\":\"group\",\"group\":\"g\",\"dataType\":\"text\","
        "\"data\":\"";
    char *data = malloc(bytes), stamp[64];
    int stamp_len = snprintf(stamp, sizeof stamp, "%.31s%0*d:", mark, (int)digits, 0);
    if ((size_t)stamp_len > bytes) {
        fprintf(stderr, "sink: no room for the stamp in %zu bytes\n", bytes);
        exit(1);
    }
    memset(data, 'x', bytes);
    memcpy(data, stamp, (size_t)stamp_len);
    char *body = malloc(sizeof start + bytes + 2);
    size_t body_len = (size_t)sprintf(body, "%s%.*s\"}", start, (int)bytes, data);
    outbox_len = 0;
    for (size_t i = 0; i < frames; i++)
        put_frame(TEXT, body, body_len);
    burst_frame_len = outbox_len / frames;
    stamp_offset = burst_frame_len - body_len + sizeof start - 1 + (size_t)stamp_len - digits - 1;
    stamp_digits = digits;
    put_frame(PING, "", 0);
    burst = realloc(burst, outbox_len);
    memcpy(burst, outbox, outbox_len);
    burst_len = outbox_len;
    burst_frames = frames;
    outbox_len = 0;
    free(data);
    free(body);
    is_pushing = true;
    for (int fd = 0; fd <= highest_fd; fd++) {
        struct connection *c = connections[fd];
        if (c && c->state == OPEN) {
            push_what_is_due(c);
            if (!flush(c))
                drop(c);
        }
    }
}

static void on_command(const char *line)
{
    size_t bytes, frames, digits;
    char mark[32];
    if (strcmp(line, "stats") == 0) {
        printf("{\"opened\":%lu,\"open\":%lu,\"joins\":%lu,\"acks\":%lu,\"pipelined\":%lu,"
               "\"request_bytes\":%lu,\"pushed\":%lu,\"delivered\":%lu,\"errors\":%lu,"
               "\"cpu_ns\":%lu,\"now_ns\":%lu}\n",
               counts.opened, counts.open, counts.joins, counts.acks, counts.pipelined,
               counts.request_bytes, counts.pushed, counts.delivered, counts.errors,
               now_ns(CLOCK_PROCESS_CPUTIME_ID), now_ns(CLOCK_MONOTONIC));
        fflush(stdout);
    } else if (sscanf(line, "push %zu %zu %31s %zu", &bytes, &frames, mark, &digits) == 4 &&
               (digits == 16 || digits == 24)) {
        start_pushing(bytes, frames, mark, digits);
    } else if (strcmp(line, "stop") == 0) {
        is_pushing = false;
    } else if (strcmp(line, "refuse") == 0) {
        is_refusing = true;
    } else {
        fprintf(stderr, "sink: what is %s?\n", line);
        exit(1);
    }
}

static void on_stdin(void)
{
    static char text[256];
    static size_t len;
    ssize_t got = read(0, text + len, sizeof text - 1 - len);
    if (got <= 0)
        exit(0);
    len += (size_t)got;
    text[len] = 0;
    for (char *end; (end = strchr(text, '\n')); len = strlen(text)) {
        *end = 0;
        on_command(text);
        memmove(text, end + 1, strlen(end + 1) + 1);
    }
}

static SSL_CTX *make_tls(const char *certificate, const char *key)
{
    SSL_CTX *made = SSL_CTX_new(TLS_server_method());
    if (SSL_CTX_use_certificate_chain_file(made, certificate) != 1 ||
        SSL_CTX_use_PrivateKey_file(made, key, SSL_FILETYPE_PEM) != 1)
        die("certificate or key");
    SSL_CTX_set_mode(made, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_options(made, SSL_OP_IGNORE_UNEXPECTED_EOF);
    return made;
}

static int listen_on_loopback(void)
{
    int on = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&address, len) < 0 || listen(listener, 4096) < 0 ||
        getsockname(listener, (struct sockaddr *)&address, &len) < 0)
        die("listen");
    printf("{\"port\":%d}\n", ntohs(address.sin_port));
    fflush(stdout);
    return listener;
}

static void allow_many_files(void)
{
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    allow_many_files();
    if (argc == 3)
        tls = make_tls(argv[1], argv[2]);
    if ((epoll_fd = epoll_create1(EPOLL_CLOEXEC)) < 0)
        die("epoll_create");
    int listener = listen_on_loopback();
    struct epoll_event on_accept = {.events = EPOLLIN, .data.fd = listener};
    struct epoll_event on_line = {.events = EPOLLIN, .data.fd = 0};
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &on_accept);
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, 0, &on_line);
    for (;;) {
        struct epoll_event ready[MAX_EVENTS];
        int n = epoll_wait(epoll_fd, ready, MAX_EVENTS, -1);
        for (int i = 0; i < n; i++) {
            int fd = ready[i].data.fd;
            if (fd == listener)
                accept_all(listener);
            else if (fd == 0)
                on_stdin();
            else if (connections[fd])
                on_ready(connections[fd]);
        }
    }
}

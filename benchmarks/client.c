/* The least that a generator can do: the practical limit that others are compared with.
 *
 *     BENCH_PATH=/... client PORT CONNECTIONS PAYLOAD_BYTES GROUP_SIZE INTERVAL_NS
 *
 * The path may hold a token, which a command line would show to everybody on the machine.
 *
 * Opens the connections to 127.0.0.1, joins each to its group, and then sends on each to the group,
 * without echo: a message each INTERVAL_NS, evenly spread over the connections, or with 0 the next
 * one as soon as the ack of the last one is in. SIGTERM ends it: it prints what it counted as one
 * line of JSON. Latency is from before the write to after the read. How late messages were written
 * goes to stderr, in the words of wpsload.
 *
 * cc -O3 -o client client.c
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
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
#define MAX_EVENTS 512
#define MOST_AT_ONCE 64
#define STEPS_PER_OCTAVE 128
#define BUCKETS (64 * STEPS_PER_OCTAVE)

struct connection {
    int fd;
    int group;
    bool is_upgraded, has_joined;
    uint64_t ack_id;
    uint64_t sent_ns;
    char *unread; /* the start of a frame whose rest has not come */
    size_t unread_len;
};

static struct {
    uint64_t acks, failures, deliveries;
} counts;

struct histogram {
    uint64_t count, buckets[BUCKETS];
};

static struct histogram latencies, slips;
static uint64_t gap_ns, joined; /* from one message to the next, of all connections; 0: as they can */
static char inbox[INBOX_BYTES];
static char *payload; /* the end of a request: data, and the name of its last field */
static volatile sig_atomic_t is_over;

static void die(const char *what)
{
    fprintf(stderr, "client: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void record(struct histogram *h, uint64_t ns)
{
    ns |= STEPS_PER_OCTAVE; /* below this many nanoseconds nothing happens */
    int octave = 63 - __builtin_clzll(ns);
    h->count++;
    h->buckets[octave * STEPS_PER_OCTAVE + (ns >> (octave - 7) & (STEPS_PER_OCTAVE - 1))]++;
}

/* What a share of `ratio` did not exceed, in microseconds. */
static double percentile_us(const struct histogram *h, double ratio)
{
    double wanted = ratio * (double)h->count, seen = 0;
    for (size_t i = 0; i < BUCKETS; i++)
        if ((seen += (double)h->buckets[i]) >= wanted && h->buckets[i])
            return (double)((STEPS_PER_OCTAVE + i % STEPS_PER_OCTAVE) * 2 + 1) *
                   (double)(1ull << (i / STEPS_PER_OCTAVE)) / (2.0 * STEPS_PER_OCTAVE) / 1000;
    return 0;
}

static uint32_t fresh_key(void)
{
    static uint64_t x = 0x9e3779b97f4a7c15u;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return (uint32_t)(x >> 32);
}

static void write_all(const struct connection *c, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t sent = send(c->fd, data, len, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN)
            die("send");
        data += sent > 0 ? sent : 0;
        len -= sent > 0 ? (size_t)sent : 0;
    }
}

static void write_frame(const struct connection *c, int opcode, const char *body, size_t len)
{
    static char frame[INBOX_BYTES];
    size_t at = 0;
    frame[at++] = (char)(0x80 | opcode);
    if (len < 126) {
        frame[at++] = (char)(0x80 | len);
    } else {
        frame[at++] = (char)(0x80 | 126);
        frame[at++] = (char)(len >> 8);
        frame[at++] = (char)len;
    }
    uint32_t key = fresh_key();
    uint64_t keys = (uint64_t)key << 32 | key;
    memcpy(frame + at, &key, 4);
    at += 4;
    for (size_t i = 0; i < len; i += 8) { /* may run past the end, within the frame's buffer */
        uint64_t word;
        memcpy(&word, body + i, 8);
        word ^= keys;
        memcpy(frame + at + i, &word, 8);
    }
    write_all(c, frame, at + len);
}

static void request_join(struct connection *c)
{
    char body[128];
    int len = snprintf(body, sizeof body - 8,
                       "{\"type\":\"joinGroup\",\"group\":\"room-%d\",\"ackId\":%lu}", c->group,
                       ++c->ack_id);
    write_frame(c, 1, body, (size_t)len);
}

static void send_next(struct connection *c)
{
    static char body[INBOX_BYTES];
    int len = snprintf(body, sizeof body - 8,
                       "{\"type\":\"sendToGroup\",\"group\":\"room-%d\",\"noEcho\":true,"
                       "\"dataType\":\"text\",\"data\":\"%s\",\"ackId\":%lu}",
                       c->group, payload, ++c->ack_id);
    c->sent_ns = now_ns();
    write_frame(c, 1, body, (size_t)len);
}

static void on_ack(struct connection *c, const char *body, size_t len)
{
    if (!memmem(body, len, "\"success\":true", 14))
        counts.failures++;
    if (c->has_joined) {
        counts.acks++;
        record(&latencies, now_ns() - c->sent_ns);
    } else {
        c->has_joined = true;
        joined++;
    }
    if (gap_ns == 0)
        send_next(c);
}

static void on_frame(struct connection *c, int opcode, const char *body, size_t len)
{
    if (opcode == 9) {
        char copy[136] = {0};
        memcpy(copy, body, len);
        write_frame(c, 10, copy, len);
    } else if (opcode != 1) {
        fprintf(stderr, "client: the server ended a connection\n");
        exit(1);
    } else if (memmem(body, len < 24 ? len : 24, "\"message\"", 9)) {
        counts.deliveries++;
    } else if (memmem(body, len < 24 ? len : 24, "\"ack\"", 5)) {
        on_ack(c, body, len);
    } else if (memmem(body, len, "\"connected\"", 11)) {
        request_join(c);
    }
}

/* Handles the whole frames in `data`; how much of it that was. */
static size_t take_frames(struct connection *c, const char *data, size_t len)
{
    size_t at = 0;
    while (len - at >= 2) {
        const unsigned char *head = (const unsigned char *)data + at;
        size_t head_len = 2, body_len = head[1];
        if (body_len == 126) {
            if (len - at < 4)
                break;
            head_len = 4;
            body_len = (size_t)head[2] << 8 | head[3];
        }
        if (len - at < head_len + body_len)
            break;
        on_frame(c, head[0] & 0x0f, data + at + head_len, body_len);
        at += head_len + body_len;
    }
    return at;
}

static size_t take_upgrade(struct connection *c, const char *data, size_t len)
{
    const char *end = memmem(data, len, "\r\n\r\n", 4);
    if (!end)
        return 0;
    if (memcmp(data, "HTTP/1.1 101", 12) != 0) {
        fprintf(stderr, "client: refused: %.*s\n", (int)(end - data), data);
        exit(1);
    }
    c->is_upgraded = true;
    return (size_t)(end + 4 - data);
}

static void on_ready(struct connection *c)
{
    if (c->unread_len > 0)
        memcpy(inbox, c->unread, c->unread_len);
    ssize_t got = recv(c->fd, inbox + c->unread_len, INBOX_BYTES - c->unread_len, 0);
    if (got < 0 && errno == EAGAIN)
        return;
    if (got <= 0)
        die("recv");
    size_t len = c->unread_len + (size_t)got, at = 0;
    if (!c->is_upgraded)
        at = take_upgrade(c, inbox, len);
    if (c->is_upgraded)
        at += take_frames(c, inbox + at, len - at);
    c->unread_len = len - at;
    if (c->unread_len > 0) {
        c->unread = realloc(c->unread, c->unread_len);
        memcpy(c->unread, inbox + at, c->unread_len);
    }
}

static void open_connection(struct connection *c, int port, const char *path)
{
    int on = 1;
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if ((c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) < 0 ||
        connect(c->fd, (struct sockaddr *)&address, sizeof address) < 0)
        die("connect");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    char request[4096];
    int len = snprintf(request, sizeof request,
                       "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\n"
                       "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                       "Sec-WebSocket-Version: 13\r\n"
                       "Sec-WebSocket-Protocol: json.webpubsub.azure.v1\r\n\r\n",
                       path, port);
    if (len >= (int)sizeof request)
        die("path");
    write_all(c, request, (size_t)len);
}

/* Sends what is due, with the sockets looked at in between; how long to wait for what comes next. */
static struct timespec send_due(struct connection *connections, uint64_t n)
{
    static uint64_t started_ns, number;
    if (number == 0)
        started_ns = now_ns();
    uint64_t due_ns = started_ns + number * gap_ns, now = now_ns();
    for (int i = 0; i < MOST_AT_ONCE && due_ns <= now; i++) {
        send_next(&connections[number % n]);
        record(&slips, connections[number % n].sent_ns - due_ns);
        due_ns = started_ns + ++number * gap_ns;
        now = now_ns();
    }
    uint64_t wait_ns = due_ns > now ? due_ns - now : 0;
    return (struct timespec){.tv_sec = (time_t)(wait_ns / 1000000000u),
                             .tv_nsec = (long)(wait_ns % 1000000000u)};
}

static void on_signal(int number)
{
    (void)number;
    is_over = 1;
}

int main(int argc, char **argv)
{
    const char *path = getenv("BENCH_PATH");
    if (argc != 6 || path == NULL) {
        fprintf(stderr, "usage: BENCH_PATH=... client PORT CONNECTIONS PAYLOAD_BYTES GROUP_SIZE "
                        "INTERVAL_NS\n");
        return 2;
    }
    int port = atoi(argv[1]), n = atoi(argv[2]), group_size = atoi(argv[4]);
    size_t payload_bytes = (size_t)atol(argv[3]);
    struct sigaction ending = {.sa_handler = on_signal};
    sigaction(SIGTERM, &ending, NULL);
    sigaction(SIGINT, &ending, NULL);
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    gap_ns = strtoull(argv[5], NULL, 10) / (uint64_t)n;
    payload = calloc(1, payload_bytes + 1);
    memset(payload, 'x', payload_bytes);

    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct connection *connections = calloc((size_t)n, sizeof *connections);
    for (int i = 0; i < n; i++) {
        struct connection *c = &connections[i];
        c->group = i / group_size;
        open_connection(c, port, path);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &event);
    }
    while (!is_over) {
        struct epoll_event ready[MAX_EVENTS];
        bool is_open_loop = gap_ns > 0 && joined == (uint64_t)n;
        struct timespec wait = {0};
        if (is_open_loop)
            wait = send_due(connections, (uint64_t)n);
        int count = epoll_pwait2(epoll_fd, ready, MAX_EVENTS, is_open_loop ? &wait : NULL, NULL);
        for (int i = 0; i < count; i++)
            on_ready(ready[i].data.ptr);
    }
    printf("{\"acks\":%lu,\"failures\":%lu,\"deliveries\":%lu,\"p50_us\":%.1f,\"p99_us\":%.1f}\n",
           counts.acks, counts.failures, counts.deliveries, percentile_us(&latencies, 0.5),
           percentile_us(&latencies, 0.99));
    if (slips.count > 0)
        fprintf(stderr, "send slip p99 %.2f ms\n", percentile_us(&slips, 0.99) / 1000);
    return 0;
}

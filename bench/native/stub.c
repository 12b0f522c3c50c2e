/* stub - the provider that stands behind every measured gateway.
 *
 *   stub [PORT]          listens on 127.0.0.1 (0 or none: any free port) and prints "port N"
 *
 * One thread, one epoll, one timer heap. It answers any POST with a Content-Length. What it answers is written in the
 * request, so that it survives every gateway that rewrites nothing:
 *
 *   path                 .../messages speaks Anthropic, ...enerateContent speaks Gemini, all others OpenAI chat
 *   model bench-nN-pP    N events, one every P milliseconds; P = 0 writes them all at once
 *   "stream":true        (or :streamGenerateContent) asks for events, else one JSON answer of about 1 KB
 *   stream-000000123     in the prompt: the number that every event of this answer carries
 *   include_usage        anywhere in an OpenAI body: a usage chunk before [DONE]
 *
 * Of a body only the first 2 KB and the last 512 bytes are looked at: a long prompt must cost the rig next to nothing.
 *
 * Every event holds a mark "~stream.sequence.nanoseconds~" (CLOCK_MONOTONIC at the moment of sending), in the text, so
 * that it also survives translation. The first event leaves at once, the second after a part of P that differs from
 * stream to stream (so that streams which begin together do not beat together), the rest every P.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "dialects.h"
#include "timers.h"
#include "writing.h"

enum { HEAD_MAX = 8192, FIRST_MAX = 2048, LAST_MAX = 512, BATCH = 256 };

enum state { READ_HEAD, READ_BODY, ANSWER };

struct conn {
    struct timer timer;              /* first, so that a timer finds its connection */
    int fd;
    enum state state;
    char head[HEAD_MAX];
    size_t head_len;
    char first[FIRST_MAX], last[LAST_MAX];
    size_t first_len, last_len, body_left;
    const struct dialect *dialect;
    bool stream, usage, keep;
    uint32_t id, events, next;       /* stream number, events in all, sequence of the next one */
    uint64_t pace;                   /* nanoseconds */
    char *event;                     /* one delta as an HTTP chunk, its mark to be filled in */
    size_t event_len, mark_at;
    char model[64];
    char *out;                       /* what the socket did not take */
    size_t out_len, out_at;
};

static int epoll_fd;
static char scratch[1 << 20];
static uint32_t streams_begun;

static void die(const char *what)
{
    fprintf(stderr, "stub: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- writing ---- */

static void watch(struct conn *c, int operation, uint32_t events)
{
    struct epoll_event e = {.events = events, .data.ptr = c};
    if (epoll_ctl(epoll_fd, operation, c->fd, &e) < 0)
        die("epoll_ctl");
}

static void close_conn(struct conn *c)
{
    timer_clear(&c->timer);
    close(c->fd);
    free(c->event);
    free(c->out);
    c->event = c->out = NULL;
    c->fd = -1;               /* freed at the end of the batch, which may still name it */
}

/* Sends what the socket takes and keeps the rest. Returns false when the peer is gone. */
static bool send_or_keep(struct conn *c, const char *bytes, size_t length)
{
    ssize_t sent = c->out ? 0 : send(c->fd, bytes, length, MSG_NOSIGNAL);
    if (sent < 0) {
        if (errno != EAGAIN) {
            close_conn(c);
            return false;
        }
        sent = 0;
    }
    size_t rest = length - (size_t)sent;
    if (!rest)
        return true;
    if (!c->out)
        watch(c, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
    if (!(c->out = realloc(c->out, c->out_len + rest)))
        die("memory");
    memcpy(c->out + c->out_len, bytes + sent, rest);
    c->out_len += rest;
    return true;
}

/* ---- answering ---- */

static void answer_done(struct conn *c)
{
    timer_clear(&c->timer);
    free(c->event);
    c->event = NULL;
    c->state = READ_HEAD;
    c->head_len = 0;
    if (!c->keep && !c->out)
        close_conn(c);
}

static void make_event(struct conn *c)
{
    char *at = scratch + PREFIX;
    at += put(at, c->dialect->delta[0], c->model);
    c->mark_at = (size_t)(at - scratch);
    at += MARK;
    at += put(at, c->dialect->delta[1], c->model);
    c->event_len = put_chunk(scratch, (size_t)(at - scratch) - PREFIX);
    if (!(c->event = malloc(c->event_len)))
        die("memory");
    memcpy(c->event, scratch, c->event_len);
}

static char *put_event(struct conn *c, char *to, uint64_t now)
{
    memcpy(to, c->event, c->event_len);
    put_mark(to + c->mark_at, c->id, c->next++, now);
    return to + c->event_len;
}

static char *put_end(struct conn *c, char *to)
{
    char *at = to + PREFIX;
    at += put(at, c->dialect->close, c->model);
    if (c->dialect == &OPENAI || c->dialect == &OPENAI_USAGE)
        at = stpcpy(at, OPENAI_DONE);
    to += put_chunk(to, (size_t)(at - to) - PREFIX);
    return stpcpy(to, "0\r\n\r\n");
}

/* The time to a stream's second event. Golden-ratio steps: any number of streams spreads evenly over the pace. */
static uint64_t first_pace(struct conn *c)
{
    uint32_t turn = streams_begun * UINT32_C(2654435769);
    return (uint64_t)(turn / 4294967296.0 * (double)c->pace) + 1;
}

/* Sends what is due, behind the bytes that already lie in scratch up to `at`: one event, or all of a burst, in as few
 * writes as scratch allows; the last event leaves together with what ends the stream. */
static void stream_on(struct conn *c, char *at, uint64_t now)
{
    at = put_event(c, at, now);
    while (!c->pace && c->next < c->events) {
        if ((size_t)(at - scratch) > sizeof scratch / 2) {
            if (!send_or_keep(c, scratch, (size_t)(at - scratch)))
                return;
            at = scratch;
        }
        at = put_event(c, at, now);
    }
    bool last = c->next == c->events;
    if (last)
        at = put_end(c, at);
    if (!send_or_keep(c, scratch, (size_t)(at - scratch)))
        return;
    if (last)
        answer_done(c);
    else if (c->next == 1)
        timer_set(&c->timer, now + first_pace(c));
    else
        timer_set(&c->timer, c->timer.due + c->pace);
}

static void begin_stream(struct conn *c)
{
    streams_begun++;
    c->next = 0;
    make_event(c);
    uint64_t now = now_ns();
    c->timer.due = now;
    char *at = stpcpy(scratch, "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
                               "cache-control: no-cache\r\nx-request-id: req_bench\r\ntransfer-encoding: chunked\r\n\r\n");
    if (*c->dialect->open)
        at += put_chunk(at, put(at + PREFIX, c->dialect->open, c->model));
    stream_on(c, at, now);
}

static void send_json(struct conn *c, const char *body, size_t length)
{
    char head[256];
    int n = snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
                     "x-request-id: req_bench\r\ncontent-length: %zu\r\n\r\n", length);
    char *whole = scratch + sizeof scratch / 2;
    memcpy(whole, head, (size_t)n);
    memcpy(whole + n, body, length);
    if (send_or_keep(c, whole, (size_t)n + length))
        answer_done(c);
}

static void send_plain(struct conn *c)
{
    char *at = scratch;
    at += put(at, c->dialect->plain[0], c->model);
    put_mark(at, c->id, 0, now_ns());
    at = stpcpy(at + MARK, " ");
    at = stpcpy(at, FILLER);
    at += put(at, c->dialect->plain[1], c->model);
    send_json(c, scratch, (size_t)(at - scratch));
}

/* ---- reading ---- */

static const char *find(const char *in, size_t length, const char *what)
{
    return memmem(in, length, what, strlen(what));
}

static bool body_has(struct conn *c, const char *what)
{
    return find(c->first, c->first_len, what) || find(c->last, c->last_len, what);
}

static void read_orders(struct conn *c)
{
    c->events = 16;
    c->pace = 0;
    strcpy(c->model, "bench-n16-p0");
    size_t room = c->first_len;
    const char *at = find(c->first, room, "bench-n");
    if (!at && (at = find(c->head, c->head_len, "bench-n")))
        room = c->head_len - (size_t)(at - c->head);
    else if (at)
        room -= (size_t)(at - c->first);
    if (at) {
        size_t n = 0;
        while (n < room && n < sizeof c->model - 1 && (at[n] == '-' || (at[n] >= '0' && at[n] <= '9') ||
                                                       (at[n] >= 'a' && at[n] <= 'z')))
            n++;
        memcpy(c->model, at, n);
        c->model[n] = 0;
        unsigned events = 0, pace = 0;
        if (sscanf(c->model, "bench-n%u-p%u", &events, &pace) >= 1 && events) {
            c->events = events;
            c->pace = (uint64_t)pace * 1000000u;
        }
    }
    at = find(c->first, c->first_len, "stream-");
    c->id = at ? (uint32_t)strtoul(at + 7, NULL, 10) : 0;
}

static void begin_answer(struct conn *c)
{
    c->state = ANSWER;
    c->first[c->first_len < FIRST_MAX ? c->first_len : FIRST_MAX - 1] = 0;
    read_orders(c);
    const char *line = c->head;
    size_t length = (size_t)(strchr(line, '\r') - line);
    if (find(line, length, "enerateContent")) {
        c->dialect = &GEMINI;
        c->stream = find(line, length, "streamGenerateContent");
    } else {
        c->stream = body_has(c, "\"stream\":true") || body_has(c, "\"stream\": true");
        c->dialect = find(line, length, "/messages") ? &ANTHROPIC
                     : c->stream && body_has(c, "include_usage") ? &OPENAI_USAGE : &OPENAI;
    }
    if (c->stream)
        begin_stream(c);
    else
        send_plain(c);
}

static void refuse(struct conn *c, const char *status)
{
    char text[128];
    int n = snprintf(text, sizeof text, "HTTP/1.1 %s\r\ncontent-length: 0\r\nconnection: close\r\n\r\n", status);
    if (send_or_keep(c, text, (size_t)n))
        close_conn(c);
}

static void read_head(struct conn *c)
{
    const char *length = strcasestr(c->head, "\r\ncontent-length:");
    c->keep = !strcasestr(c->head, "\r\nconnection: close");
    c->first_len = c->last_len = 0;
    if (strcasestr(c->head, "\r\ntransfer-encoding:")) {
        refuse(c, "411 Length Required");
    } else if (!strncmp(c->head, "GET ", 4)) {
        static const char LIST[] = "{\"object\":\"list\",\"data\":[]}";
        send_json(c, LIST, sizeof LIST - 1);
    } else if (!length) {
        refuse(c, "411 Length Required");
    } else {
        c->state = READ_BODY;
        c->body_left = strtoul(length + 17, NULL, 10);
        if (!c->body_left)
            begin_answer(c);
    }
}

static void keep_body(struct conn *c, const char *bytes, size_t length)
{
    size_t room = FIRST_MAX - c->first_len, n = length < room ? length : room;
    memcpy(c->first + c->first_len, bytes, n);
    c->first_len += n;
    if (length >= LAST_MAX) {
        memcpy(c->last, bytes + length - LAST_MAX, LAST_MAX);
        c->last_len = LAST_MAX;
        return;
    }
    size_t stay = c->last_len + length > LAST_MAX ? LAST_MAX - length : c->last_len;
    memmove(c->last, c->last + c->last_len - stay, stay);
    memcpy(c->last + stay, bytes, length);
    c->last_len = stay + length;
}

static void feed(struct conn *c, const char *bytes, size_t length)
{
    while (length && c->fd >= 0) {
        if (c->state == READ_HEAD) {
            size_t had = c->head_len, n = HEAD_MAX - 1 - had < length ? HEAD_MAX - 1 - had : length;
            memcpy(c->head + had, bytes, n);
            c->head_len += n;
            size_t from = had > 3 ? had - 3 : 0;
            char *end = memmem(c->head + from, c->head_len - from, "\r\n\r\n", 4);
            if (!end) {
                if (c->head_len == HEAD_MAX - 1)
                    refuse(c, "431 Request Header Fields Too Large");
                return;
            }
            c->head_len = (size_t)(end + 4 - c->head);
            end[2] = 0;
            bytes += c->head_len - had;
            length -= c->head_len - had;
            read_head(c);
        } else if (c->state == READ_BODY) {
            size_t n = length < c->body_left ? length : c->body_left;
            keep_body(c, bytes, n);
            bytes += n;
            length -= n;
            c->body_left -= n;
            if (!c->body_left)
                begin_answer(c);
        } else {              /* bytes behind a request that is being answered: nobody pipelines here */
            close_conn(c);
        }
    }
}

/* Drops what lies between the first and the last bytes of a long body: on TCP, MSG_TRUNC takes without copying. */
static bool drop_middle(struct conn *c)
{
    if (c->state != READ_BODY || c->first_len < FIRST_MAX || c->body_left <= LAST_MAX)
        return true;
    ssize_t n = recv(c->fd, NULL, c->body_left - LAST_MAX, MSG_TRUNC);
    if (n > 0)
        c->body_left -= (size_t)n;
    else if (n == 0 || errno != EAGAIN)
        close_conn(c);
    return n > 0 && c->body_left <= LAST_MAX;
}

static void on_readable(struct conn *c)
{
    static char bytes[64 * 1024];
    if (!drop_middle(c))
        return;
    ssize_t n = recv(c->fd, bytes, sizeof bytes, 0);
    if (n > 0)
        feed(c, bytes, (size_t)n);
    else if (n == 0 || errno != EAGAIN)
        close_conn(c);
}

static void on_writable(struct conn *c)
{
    ssize_t sent = send(c->fd, c->out + c->out_at, c->out_len - c->out_at, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) {
        close_conn(c);
        return;
    }
    c->out_at += sent > 0 ? (size_t)sent : 0;
    if (c->out_at < c->out_len)
        return;
    free(c->out);
    c->out = NULL;
    c->out_len = c->out_at = 0;
    watch(c, EPOLL_CTL_MOD, EPOLLIN);
    if (c->state == READ_HEAD && !c->keep)
        close_conn(c);
}

static void accept_all(int listener)
{
    int fd, on = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct conn *c = calloc(1, sizeof *c);
        if (!c)
            die("memory");
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        c->fd = fd;
        c->timer.at = -1;
        c->keep = true;
        watch(c, EPOLL_CTL_ADD, EPOLLIN);
    }
    if (errno != EAGAIN && errno != ECONNABORTED && errno != EINTR)
        die("accept");
}

static int listen_on(uint16_t port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&address, length) < 0 || listen(fd, 4096) < 0)
        die("listen");
    getsockname(fd, (struct sockaddr *)&address, &length);
    printf("port %d\n", ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

/* Sends every event that is due and returns how long nothing is, NULL = until a socket speaks. */
static struct timespec *run_timers(void)
{
    static struct timespec wait;
    struct conn *c;
    while ((c = (struct conn *)timer_first())) {
        uint64_t now = now_ns();
        if (c->timer.due > now) {
            wait.tv_sec = (time_t)((c->timer.due - now) / 1000000000u);
            wait.tv_nsec = (long)((c->timer.due - now) % 1000000000u);
            return &wait;
        }
        if (c->out)           /* the reader is slow: try again when it may have read */
            timer_set(&c->timer, now + 1000000);
        else
            stream_on(c, scratch, now);
        if (c->fd < 0)
            free(c);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    int listener = listen_on((uint16_t)(argc > 1 ? atoi(argv[1]) : 0));
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = NULL}, ready[BATCH];
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &e);
    for (;;) {
        int n = epoll_pwait2(epoll_fd, ready, BATCH, run_timers(), NULL);
        if (n < 0 && errno != EINTR)
            die("epoll_wait");
        for (int i = 0; i < n; i++) {
            struct conn *c = ready[i].data.ptr;
            if (!c) {
                accept_all(listener);
                continue;
            }
            if (ready[i].events & EPOLLOUT)
                on_writable(c);
            if (c->fd >= 0 && ready[i].events & ~(uint32_t)EPOLLOUT)
                on_readable(c);
            if (c->fd < 0)
                free(c);      /* each descriptor appears once in a batch, so nothing names it any more */
        }
    }
}

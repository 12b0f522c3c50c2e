/* load - the load generator: sends requests, checks every byte of framing and every mark, and prints what it saw.
 *
 *   load --port N --connections C [--requests N | --seconds S] [--rate R] [--stream] [--model bench-nN-pP] ...
 *
 * One thread, one epoll, TCP_NODELAY. Closed loop: each connection sends its next request when the last one is answered.
 * Open loop (--rate): requests have intended send times (exponential gaps, fixed seed) and every latency counts from
 * those, so a stall is charged to all who would have come in it; --requests bounds their number. What makes an answer right is said in answer.h.
 *
 * Talk on stdout and stdin, one JSON object a line: {"phase":"ready"} when the connections are open and warm, then it
 * waits for a line; with --hold, {"phase":"held"} when every stream has had its first event, then it goes on reading
 * until another line comes; at last {"phase":"done",...}. Times are nanoseconds.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
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

#include "answer.h"
#include "histogram.h"
#include "options.h"
#include "request.h"

enum { BATCH = 256, CONNECTING_MAX = 64, GIVE_UP = 200 };
static const uint64_t SECOND = 1000000000u, LATE = 250000000u;
static const char *const FAILURE[FAILURES] = {"none", "connect", "status", "cut", "corrupt", "timeout"};

enum state { CLOSED, CONNECTING, FREE, ASKED };

struct conn {
    struct answer answer;         /* first, so that saw_event finds the connection */
    int fd;
    enum state state;
    bool writing;
    uint64_t started;             /* intended send time */
    size_t sent;                  /* of the request */
    int warm;                     /* warm-up requests that are still to do */
};

static int epoll_fd;
static struct conn *conns, **parked;
static int parked_len, connecting, next_to_connect, in_flight, most_in_flight, held;
static struct request warm_up, real, *current = &warm_up;
static bool running, stopping;
static uint32_t last_id;
static uint64_t intended, asked, answered, events_seen, late_events, bytes_seen, reconnects;
static uint64_t failures[FAILURES];   /* [NONE] counts them all */
static uint64_t go_at, stop_at, end_at, progress_at, next_intended;
static uint64_t *backlog;         /* intended times that found no free connection: a ring */
static size_t backlog_at, backlog_len, backlog_room, backlog_max;
static char first_failure[320];

static void die(const char *what)
{
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t clock_ns(clockid_t which)
{
    struct timespec t;
    clock_gettime(which, &t);
    return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

static uint64_t now_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

static struct histogram latency, ttft, event_delay;

/* ---- connections ---- */

static void next_request(struct conn *c);
static void send_request(struct conn *c);

static void watch(struct conn *c, int operation, uint32_t events)
{
    struct epoll_event e = {.events = events, .data.ptr = c};
    if (epoll_ctl(epoll_fd, operation, c->fd, &e) < 0)
        die("epoll_ctl");
    c->writing = events & EPOLLOUT;
}

static void disconnect(struct conn *c)
{
    close(c->fd);
    c->fd = -1;
    c->state = CLOSED;
}

static void connect_conn(struct conn *c)
{
    static struct sockaddr_in to;
    int on = 1;
    to.sin_family = AF_INET;
    to.sin_port = htons((uint16_t)want.port);
    inet_pton(AF_INET, want.host, &to.sin_addr);
    if ((c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) < 0)
        die("socket");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(c->fd, (struct sockaddr *)&to, sizeof to) < 0 && errno != EINPROGRESS)
        die("connect");
    c->state = CONNECTING;
    connecting++;
    watch(c, EPOLL_CTL_ADD, EPOLLIN | EPOLLOUT);
}

/* Counts the failure that `why` tells of, and opens the connection anew unless there is no point any more. */
static void fail(struct conn *c, enum failure kind)
{
    failures[NONE]++;
    failures[kind]++;
    if (!first_failure[0])
        snprintf(first_failure, sizeof first_failure, "stream %u, %s: %s", c->answer.id, FAILURE[kind], why);
    connecting -= c->state == CONNECTING;
    in_flight -= running && c->state == ASKED;
    held -= running && c->state == ASKED && c->answer.next > 0;
    disconnect(c);
    if (failures[NONE] >= GIVE_UP || want.hold || !running)
        stopping = true;          /* report what there is */
    if (!stopping)
        connect_conn(c);
}

static void fail_because(struct conn *c, enum failure kind, const char *what)
{
    snprintf(why, sizeof why, "%s after %u of %u events", what, c->answer.next, c->answer.events);
    fail(c, kind);
}

static void free_conn(struct conn *c)
{
    c->state = FREE;
    if (!running && c->warm > 0) {
        c->warm--;
        c->started = now_ns();
        send_request(c);
    } else if (running && !want.rate && !stopping && (!want.requests || asked < want.requests)) {
        next_request(c);
    } else if (running && backlog_len) {
        next_request(c);
    } else {
        parked[parked_len++] = c;
    }
}

static void reconnect(struct conn *c)
{
    reconnects++;
    disconnect(c);
    connect_conn(c);
}

static void unpark(struct conn *c)
{
    for (int i = 0; i < parked_len; i++)
        if (parked[i] == c)
            parked[i] = parked[--parked_len];
}

static void on_connected(struct conn *c)
{
    int error = 0;
    socklen_t length = sizeof error;
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &length);
    if (error) {
        fail_because(c, CONNECT, strerror(error));
        return;
    }
    connecting--;
    watch(c, EPOLL_CTL_MOD, EPOLLIN);
    free_conn(c);
}

static void send_request(struct conn *c)
{
    if (c->state == FREE) {
        expect_answer(&c->answer, ++last_id, current->events, current->last_word, current->unasked);
        c->sent = 0;
        c->state = ASKED;
    }
    number_request(current, c->answer.id);
    ssize_t n = send(c->fd, current->bytes + c->sent, current->length - c->sent, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN) {
        fail_because(c, CUT, strerror(errno));
        return;
    }
    c->sent += n > 0 ? (size_t)n : 0;
    bool rest = c->sent < current->length;
    if (rest != c->writing)
        watch(c, EPOLL_CTL_MOD, rest ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

/* Takes the oldest intended time that waits, or now in a closed loop, and sends. */
static void next_request(struct conn *c)
{
    if (backlog_len) {
        c->started = backlog[backlog_at++ % backlog_room];
        backlog_len--;
    } else {
        c->started = now_ns();
    }
    asked++;
    if (++in_flight > most_in_flight)
        most_in_flight = in_flight;
    send_request(c);
}

/* ---- the answer ---- */

static void saw_event(struct answer *a, uint64_t stamp, uint64_t now)
{
    struct conn *c = (struct conn *)a;
    if (!running)
        return;
    if (a->next == 1) {
        record(&ttft, now - c->started);
        held++;
    }
    if (current->stream) {
        events_seen++;
        uint64_t delay = now > stamp ? now - stamp : 0;
        record(&event_delay, delay);
        late_events += delay > LATE;
    }
}

static void on_answered(struct conn *c, uint64_t now)
{
    if (running) {
        record(&latency, now - c->started);
        answered++;
        in_flight--;
        held--;
        end_at = now;
    }
    if (c->answer.keep)
        free_conn(c);
    else
        reconnect(c);
}

static void on_closed(struct conn *c, int error)
{
    if (c->state == FREE) {       /* an idle connection may be closed at any time */
        unpark(c);
        reconnect(c);
        return;
    }
    if (c->answer.stage != UNTIL_CLOSE || error) {
        fail_because(c, CUT, error ? strerror(error) : "end of stream");
        return;
    }
    end_answer(&c->answer);
    if (c->answer.wrong)
        fail(c, c->answer.wrong);
    else
        on_answered(c, now_ns());
}

static void on_readable(struct conn *c)
{
    static char bytes[256 * 1024];
    ssize_t n = recv(c->fd, bytes, sizeof bytes, 0);
    if (n <= 0) {
        if (n == 0 || errno != EAGAIN)
            on_closed(c, n ? errno : 0);
        return;
    }
    uint64_t now = now_ns();
    progress_at = now;
    bytes_seen += (uint64_t)n;
    if (c->state == FREE)
        unpark(c);                /* its last answer is complete, so these are too many */
    feed_answer(&c->answer, bytes, (size_t)n, now);
    if (c->answer.wrong)
        fail(c, c->answer.wrong);
    else if (c->answer.stage == COMPLETE)
        on_answered(c, now);
}

/* ---- the loop ---- */

static double random_share(void)  /* xorshift64*, fixed seed: every subject meets the same arrivals */
{
    static uint64_t x = 88172645463325252u;
    x ^= x >> 12, x ^= x << 25, x ^= x >> 27;
    return ((double)((x * 2685821657736338717u) >> 11) + 0.5) / 9007199254740992.0;
}

static void intend(uint64_t time)
{
    if (backlog_len == backlog_room) {
        size_t room = backlog_room ? 2 * backlog_room : 1024;
        uint64_t *bigger = malloc(room * sizeof *bigger);
        if (!bigger)
            die("memory");
        for (size_t i = 0; i < backlog_len; i++)
            bigger[i] = backlog[(backlog_at + i) % backlog_room];
        free(backlog);
        backlog = bigger, backlog_room = room, backlog_at = 0;
    }
    backlog[(backlog_at + backlog_len++) % backlog_room] = time;
    if (backlog_len > backlog_max)
        backlog_max = backlog_len;
}

/* Sends whatever was intended up to now. A request that found no free connection keeps its place and its time. */
static void send_due(uint64_t now)
{
    while (next_intended <= now && next_intended < stop_at) {
        intend(next_intended);
        next_intended += (uint64_t)(-log(random_share()) / want.rate * 1e9) + 1;
        if (++intended == want.requests)
            next_intended = UINT64_MAX;
    }
    while (backlog_len && parked_len)
        next_request(parked[--parked_len]);
}

static void poll_once(uint64_t until, bool stdin_too)
{
    struct epoll_event ready[BATCH];
    uint64_t now = now_ns();
    until = until > now ? until - now : 0;
    struct timespec wait = {.tv_sec = (time_t)(until / SECOND), .tv_nsec = (long)(until % SECOND)};
    while (next_to_connect < want.connections && connecting < CONNECTING_MAX && !stopping)
        connect_conn(&conns[next_to_connect++]);
    int n = epoll_pwait2(epoll_fd, ready, BATCH, &wait, NULL);
    if (n < 0 && errno != EINTR)
        die("epoll_wait");
    for (int i = 0; i < n; i++) {
        struct conn *c = ready[i].data.ptr;
        if (!c) {
            stopping |= stdin_too;
        } else if (c->state == CONNECTING) {
            on_connected(c);
        } else if (c->fd >= 0) {
            if (ready[i].events & EPOLLOUT && c->state != FREE)
                send_request(c);
            if (c->fd >= 0 && c->state != CONNECTING && ready[i].events & ~(uint32_t)EPOLLOUT)
                on_readable(c);
        }
    }
}

static void out_of_time(void)
{
    for (int i = 0; i < want.connections; i++)
        if (conns[i].fd >= 0 && conns[i].state != FREE && conns[i].state != CLOSED) {
            stopping = true;
            fail_because(&conns[i], TIMEOUT, "silence");
        }
}

static bool silent_too_long(uint64_t now)
{
    return (double)(now - progress_at) > want.timeout * 1e9;
}

static void wait_for_line(void)
{
    char line[64];
    if (!fgets(line, sizeof line, stdin))
        exit(1);
}

static void warm_all(void)
{
    progress_at = now_ns();
    while (parked_len < want.connections && !stopping) {
        poll_once(now_ns() + SECOND / 10, false);
        if (silent_too_long(now_ns()))
            out_of_time();
    }
}

static void tell_held(void)
{
    static bool told;
    if (told)
        return;
    told = true;
    printf("{\"phase\":\"held\",\"streams\":%d}\n", held);
    fflush(stdout);
}

static void run(void)
{
    current = &real;
    running = true;
    go_at = end_at = progress_at = now_ns();
    stop_at = want.seconds ? go_at + (uint64_t)(want.seconds * 1e9) : UINT64_MAX;
    next_intended = go_at;
    int idle = parked_len;
    parked_len = want.rate ? parked_len : 0;
    for (int i = 0; !want.rate && i < idle; i++)
        free_conn(parked[i]);     /* puts back into parked[] at or before i */
    for (uint64_t now = go_at; !stopping || in_flight; now = now_ns()) {
        if (now >= stop_at || (want.requests && asked >= want.requests && !in_flight))
            stopping = true;
        if (want.rate)
            send_due(now);
        if (stopping && (want.hold || (!in_flight && !backlog_len)))
            break;
        uint64_t until = stopping || stop_at > now + SECOND / 10 ? now + SECOND / 10 : stop_at;
        if (want.rate && next_intended < stop_at && next_intended < until)
            until = next_intended;
        bool all_held = want.hold && held >= want.connections;
        poll_once(until, all_held);
        if (all_held && !stopping) {
            tell_held();
        } else if (silent_too_long(now_ns())) {
            out_of_time();
            break;
        }
    }
}

static void report(uint64_t cpu)
{
    printf("{\"phase\":\"done\",\"requests\":%lu,\"seconds\":%.6f,\"events\":%lu,\"late_events\":%lu,\"bytes\":%lu,"
           "\"reconnects\":%lu,\"backlog\":%zu,\"most\":%d,\"held\":%d,\"cpu_ns\":%lu,\"failures\":{",
           answered, (double)(end_at - go_at) / 1e9, events_seen, late_events, bytes_seen, reconnects, backlog_max,
           most_in_flight, held, cpu);
    for (int i = NONE + 1; i < FAILURES; i++)
        printf("\"%s\":%lu,", FAILURE[i], failures[i]);
    printf("\"all\":%lu},\"first_failure\":\"", failures[NONE]);
    for (const char *at = first_failure; *at; at++)
        putchar(*at == '"' || *at == '\\' || (unsigned char)*at < ' ' || (unsigned char)*at > '~' ? '?' : *at);
    printf("\"");
    print_histogram("latency", &latency);
    print_histogram("ttft", &ttft);
    print_histogram("event_delay", &event_delay);
    printf("}\n");
}

int main(int argc, char **argv)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_TIMERSLACK, 1);
    read_options(argc, argv);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    conns = calloc((size_t)want.connections, sizeof *conns);
    parked = calloc((size_t)want.connections, sizeof *parked);
    if (!conns || !parked)
        die("memory");
    for (int i = 0; i < want.connections; i++) {
        conns[i].fd = -1;
        conns[i].warm = want.warm;
    }
    make_request(&warm_up, false, "bench-n1-p0");
    make_request(&real, want.stream, want.model);
    warm_all();
    uint64_t cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
    if (!stopping) {
        printf("{\"phase\":\"ready\"}\n");
        fflush(stdout);
        wait_for_line();
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = NULL};
        if (want.hold)
            epoll_ctl(epoll_fd, EPOLL_CTL_ADD, 0, &e);
        cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
        run();
    }
    report(clock_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu);
    return 0;
}

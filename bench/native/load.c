/* load - the load generator: sends requests, checks every byte of framing and every mark, and prints what it saw.
 *
 *   load --port N --connections C [--requests N | --seconds S] [--rate R] [--stream] [--model bench-nN-pP] ...
 *
 * One thread, one epoll, TCP_NODELAY. Closed loop: each connection sends its next request when the last one is answered.
 * Open loop (--rate): requests have intended send times (exponential gaps, fixed seed) and every latency counts from
 * those, so a stall is charged to all who would have come in it. An answer is a failure unless the status is 200, its
 * framing ends properly, every event carries this stream's number and the next sequence number, the promised number of
 * them came, and the dialect's last word ([DONE], message_stop, STOP) ends it.
 *
 * Talk on stdout and stdin, one JSON object a line: {"phase":"ready"} when the connections are open and warm, then it
 * waits for a line; with --hold, {"phase":"held"} when every stream has had its first event, then it goes on reading
 * until another line comes; at last {"phase":"done",...}. Times are nanoseconds.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
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

enum { HEAD_MAX = 16384, TAIL = 256, BATCH = 256, MARK = 39, CONNECTING_MAX = 64, GIVE_UP = 200 };
static const uint64_t SECOND = 1000000000u, LATE = 250000000u;

enum state { CLOSED, CONNECTING, FREE, HEAD, LENGTH, CHUNK_SIZE, CHUNK_DATA, CHUNK_END, TRAILER, UNTIL_CLOSE };
enum failure { CONNECT, STATUS, CUT, CORRUPT, TIMEOUT, FAILURES };
static const char *const FAILURE[FAILURES] = {"connect", "status", "cut", "corrupt", "timeout"};

struct conn {
    int fd;
    enum state state;
    bool keep, writing;
    uint32_t id, next;            /* stream number, sequence number of the next event */
    uint64_t started, left;       /* intended send time; bytes left of the body or chunk */
    size_t sent;                  /* of the request */
    char *head;                   /* a response head that came in pieces */
    size_t head_len, line_len, mark_len, tail_len;
    char mark[MARK], tail[TAIL];
    int warm;                     /* warm-up requests that are still to do */
};

struct request {
    char *bytes;
    size_t length, id_at;
    bool stream;
    uint32_t events;
    const char *last_word;
};

static struct {
    const char *host, *path, *key, *dialect, *model;
    int port, connections, warm;
    uint64_t requests;
    double seconds, rate, timeout;
    size_t body;
    bool stream, hold, usage;
} want = {.host = "127.0.0.1", .key = "bench", .dialect = "openai", .model = "bench-n50-p20", .connections = 8,
          .warm = 4, .timeout = 20, .body = 1024};

static int epoll_fd;
static struct conn *conns, **parked;
static int parked_len, connecting, next_to_connect, in_flight, held;
static struct request warm_up, real, *current = &warm_up;
static bool running, stopping;
static uint32_t last_id;
static uint64_t asked, answered, events_seen, late_events, bytes_seen, reconnects, failures[FAILURES];
static uint64_t go_at, stop_at, end_at, progress_at, next_intended;
static uint64_t *backlog;         /* intended times that found no free connection: a ring */
static size_t backlog_at, backlog_len, backlog_room, backlog_max;
static char first_failure[256];

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

/* ---- histograms: 128 steps to each power of two, so a percentile is within 0.8 % ---- */

enum { STEPS = 7, CELLS = (64 - STEPS + 1) << STEPS };
struct histogram {
    uint64_t cell[CELLS], count, max;
    double sum;
};
static struct histogram latency, ttft, event_delay;

static void record(struct histogram *h, uint64_t value)
{
    int shift = value >> (STEPS + 1) ? 63 - STEPS - __builtin_clzll(value) : 0;
    h->cell[((uint64_t)shift << STEPS) + (value >> shift)]++;
    h->count++;
    h->sum += (double)value;
    if (value > h->max)
        h->max = value;
}

static uint64_t percentile(const struct histogram *h, double share)
{
    uint64_t rank = (uint64_t)ceil(share * (double)h->count), seen = 0;
    for (int i = 0; i < CELLS; i++)
        if ((seen += h->cell[i]) >= rank && h->cell[i]) {
            int shift = i >> (STEPS + 1) ? (i >> STEPS) - 1 : 0;
            uint64_t low = ((uint64_t)i - ((uint64_t)shift << STEPS)) << shift;
            return low + ((UINT64_C(1) << shift) >> 1);
        }
    return 0;
}

static void print_histogram(const char *name, const struct histogram *h)
{
    printf(",\"%s\":{\"count\":%lu,\"mean\":%.0f,\"p50\":%lu,\"p90\":%lu,\"p99\":%lu,\"p999\":%lu,\"max\":%lu}", name, h->count,
           h->count ? h->sum / (double)h->count : 0.0, percentile(h, 0.5), percentile(h, 0.9), percentile(h, 0.99),
           percentile(h, 0.999), h->max);
}

/* ---- the request ---- */

static const char PROSE[] = "Please read the following notes with care, then say in a few words what they have in common.\\n";

/* Makes one request of `want.body` bytes; the stream number at id_at is filled in before each send. */
static void make_request(struct request *r, bool stream, const char *model)
{
    static const char NUMBER[] = "stream-000000000 ";
    const char *usage = want.usage ? ",\"stream_options\":{\"include_usage\":true}" : "";
    char before[512], after[64], path[256];
    bool gemini = !strcmp(want.dialect, "gemini"), anthropic = !strcmp(want.dialect, "anthropic");
    if (gemini) {
        snprintf(path, sizeof path, "/v1beta/models/%s:%s", model, stream ? "streamGenerateContent?alt=sse" : "generateContent");
        snprintf(before, sizeof before, "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"");
        snprintf(after, sizeof after, "\"}]}]}");
    } else {
        snprintf(path, sizeof path, "%s", want.path ? want.path : anthropic ? "/v1/messages" : "/v1/chat/completions");
        snprintf(before, sizeof before, "{\"model\":\"%s\",\"max_tokens\":1024,\"temperature\":0.7%s%s,\"messages\":"
                 "[{\"role\":\"user\",\"content\":\"", model, stream ? ",\"stream\":true" : "", stream ? usage : "");
        snprintf(after, sizeof after, "\"}]}");
    }
    size_t fixed = strlen(before) + sizeof NUMBER - 1 + strlen(after);
    size_t filler = want.body > fixed ? want.body - fixed : 0;
    char *at = r->bytes = malloc(fixed + filler + 2048);
    if (!at)
        die("memory");
    at += sprintf(at, "POST %s HTTP/1.1\r\nhost: %s:%d\r\nauthorization: Bearer %s\r\ncontent-type: application/json\r\n"
                  "accept: %s\r\nuser-agent: fastanchor-bench\r\n%scontent-length: %zu\r\n\r\n", path, want.host, want.port,
                  want.key, stream ? "text/event-stream" : "application/json",
                  anthropic ? "anthropic-version: 2023-06-01\r\n" : "", fixed + filler);
    at = stpcpy(at, before);
    r->id_at = (size_t)(at - r->bytes) + 7;
    at = stpcpy(at, NUMBER);
    for (size_t i = 0; i < filler; i++)
        *at++ = PROSE[i % (sizeof PROSE - 1)];
    if (filler && at[-1] == '\\')
        at[-1] = '.';             /* a cut escape */
    at = stpcpy(at, after);
    r->length = (size_t)(at - r->bytes);
    r->stream = stream;
    r->events = 1;
    if (stream && sscanf(model, "bench-n%u", &r->events) != 1) {
        fprintf(stderr, "load: the model of a stream must be named bench-nN-pP\n");
        exit(2);
    }
    r->last_word = !stream ? "}" : gemini ? "\"finishReason\":\"STOP\"" : anthropic ? "\"message_stop\"" : "data: [DONE]";
}

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

static __attribute__((format(printf, 3, 4))) void fail(struct conn *c, enum failure kind, const char *form, ...)
{
    failures[kind]++;
    if (!first_failure[0]) {
        va_list list;
        va_start(list, form);
        int n = snprintf(first_failure, sizeof first_failure, "stream %u, %s: ", c->id, FAILURE[kind]);
        vsnprintf(first_failure + n, sizeof first_failure - (size_t)n, form, list);
        va_end(list);
    }
    if (c->state == CONNECTING)
        connecting--;
    else if (running)
        in_flight--;
    if (running && want.hold && c->next)
        held--;
    disconnect(c);
    uint64_t all = 0;
    for (int i = 0; i < FAILURES; i++)
        all += failures[i];
    if (all >= GIVE_UP || want.hold || !running)
        stopping = true;          /* beyond repair: report what there is */
    if (!stopping)
        connect_conn(c);
}

static void free_conn(struct conn *c)
{
    c->state = FREE;
    c->id = 0;
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

static void reuse_or_reconnect(struct conn *c)
{
    if (c->keep) {
        free_conn(c);
        return;
    }
    reconnects++;
    disconnect(c);
    connect_conn(c);
}

static void on_connected(struct conn *c)
{
    int error = 0;
    socklen_t length = sizeof error;
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &length);
    if (error) {
        fail(c, CONNECT, "%s", strerror(error));
        return;
    }
    connecting--;
    watch(c, EPOLL_CTL_MOD, EPOLLIN);
    free_conn(c);
}

static void send_request(struct conn *c)
{
    if (c->state == FREE) {
        c->id = ++last_id;
        c->next = 0;
        c->sent = c->head_len = c->mark_len = c->tail_len = 0;
        c->state = HEAD;
    }
    char *number = current->bytes + current->id_at;
    for (uint32_t i = 9, id = c->id; i-- > 0; id /= 10)
        number[i] = (char)('0' + id % 10);
    ssize_t n = send(c->fd, current->bytes + c->sent, current->length - c->sent, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN) {
        fail(c, CUT, "send: %s", strerror(errno));
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
    in_flight++;
    send_request(c);
}

/* ---- the answer ---- */

/* The `width` digits at `at`, or -1 where there is another byte among them. */
static int64_t digits(const char *at, int width)
{
    int64_t value = 0;
    for (int i = 0; i < width; i++) {
        if (at[i] < '0' || at[i] > '9')
            return -1;
        value = value * 10 + (at[i] - '0');
    }
    return value;
}

static bool on_mark(struct conn *c, uint64_t now)
{
    const char *m = c->mark;
    int64_t id = digits(m + 1, 9), sequence = digits(m + 11, 6), stamp = digits(m + 18, 20);
    if (id < 0 || sequence < 0 || stamp < 0 || m[10] != '.' || m[17] != '.' || m[MARK - 1] != '~') {
        fail(c, CORRUPT, "a mangled mark %.*s", MARK, m);
        return false;
    }
    if (id != c->id || sequence != c->next || sequence >= current->events) {
        fail(c, CORRUPT, "expected event %u of stream %u, got %ld of %ld", c->next, c->id, sequence, id);
        return false;
    }
    c->next++;
    if (!running)
        return true;
    if (sequence == 0) {
        record(&ttft, now - c->started);
        held++;
    }
    if (current->stream) {
        events_seen++;
        uint64_t delay = now > (uint64_t)stamp ? now - (uint64_t)stamp : 0;
        record(&event_delay, delay);
        late_events += delay > LATE;
    }
    return true;
}

/* Keeps the end of what follows the last mark: there the last word must stand. */
static void keep_tail(struct conn *c, const char *at, size_t length)
{
    size_t add = length < TAIL ? length : TAIL;
    size_t stay = c->tail_len + add > TAIL ? TAIL - add : c->tail_len;
    memmove(c->tail, c->tail + c->tail_len - stay, stay);
    memcpy(c->tail + stay, at + length - add, add);
    c->tail_len = stay + add;
}

/* Looks at a piece of the body, wherever it was cut. */
static bool on_body(struct conn *c, const char *at, size_t length, uint64_t now)
{
    for (const char *end = at + length; at < end;) {
        if (!c->mark_len) {
            const char *mark = memchr(at, '~', (size_t)(end - at));
            if (!mark && c->next == current->events)
                keep_tail(c, at, (size_t)(end - at));
            if (!mark)
                break;
            at = mark;
        }
        size_t n = MARK - c->mark_len;
        if (n > (size_t)(end - at))
            n = (size_t)(end - at);
        memcpy(c->mark + c->mark_len, at, n);
        c->mark_len += n;
        at += n;
        if (c->mark_len == MARK) {
            if (!on_mark(c, now))
                return false;
            c->mark_len = 0;
        }
    }
    return true;
}

static bool answer_ends(struct conn *c, uint64_t now)
{
    size_t length = c->tail_len;
    while (length && (c->tail[length - 1] == '\n' || c->tail[length - 1] == '\r'))
        length--;
    const char *word = current->last_word;
    bool exact = word[0] == 'd';  /* nothing may follow [DONE] */
    const char *from = exact && length >= strlen(word) ? c->tail + length - strlen(word) : c->tail;
    if (c->next != current->events || c->mark_len) {
        fail(c, CORRUPT, "%u of %u events came", c->next, current->events);
        return false;
    }
    if (!memmem(from, length - (size_t)(from - c->tail), word, strlen(word))) {
        fail(c, CORRUPT, "the stream ended without %s", word);
        return false;
    }
    if (running) {
        record(&latency, now - c->started);
        answered++;
        in_flight--;
        end_at = now;
    }
    reuse_or_reconnect(c);
    return true;
}

static const char *header(const char *head, const char *name)
{
    const char *at = strcasestr(head, name);
    return at ? at + strlen(name) + strspn(at + strlen(name), " \t") : NULL;
}

static bool on_head(struct conn *c, char *head, size_t length)
{
    head[length - 2] = 0;         /* keeps the last header's line end */
    if (strncmp(head, "HTTP/1.", 7) || strncmp(head + 8, " 200", 4)) {
        fail(c, STATUS, "%.60s", head);
        return false;
    }
    const char *value = header(head, "\r\nconnection:");
    c->keep = value ? strncasecmp(value, "close", 5) != 0 : head[7] == '1';
    if ((value = header(head, "\r\ntransfer-encoding:"))) {
        if (strncasecmp(value, "chunked", 7)) {
            fail(c, CORRUPT, "transfer-encoding: %.20s", value);
            return false;
        }
        c->state = CHUNK_SIZE;
        c->line_len = 0;
        c->left = 0;
    } else if ((value = header(head, "\r\ncontent-length:"))) {
        c->state = LENGTH;
        c->left = strtoul(value, NULL, 10);
    } else {
        c->state = UNTIL_CLOSE;
        c->keep = false;
    }
    return true;
}

/* Collects a head that may come in pieces; returns how many bytes of `at` it took, 0 = all of them or a failure. */
static size_t feed_head(struct conn *c, char *at, size_t length)
{
    char *end;
    if (!c->head_len && (end = memmem(at, length, "\r\n\r\n", 4)))
        return on_head(c, at, (size_t)(end + 4 - at)) ? (size_t)(end + 4 - at) : 0;
    if (!c->head && !(c->head = malloc(HEAD_MAX)))
        die("memory");
    size_t had = c->head_len, n = length < HEAD_MAX - had ? length : HEAD_MAX - had;
    memcpy(c->head + had, at, n);
    c->head_len += n;
    if (!(end = memmem(c->head, c->head_len, "\r\n\r\n", 4))) {
        if (c->head_len == HEAD_MAX)
            fail(c, CORRUPT, "a head of over %d bytes", HEAD_MAX);
        return 0;
    }
    size_t whole = (size_t)(end + 4 - c->head);
    return on_head(c, c->head, whole) ? whole - had : 0;
}

/* One byte of a chunk's size line, of the line end behind a chunk, or of the trailer. */
static bool feed_frame(struct conn *c, char byte, uint64_t now)
{
    static const char HEX[] = "0123456789abcdef";
    if (c->state == CHUNK_SIZE && byte != '\n') {
        const char *digit = byte && byte != '\r' ? strchr(HEX, byte | 0x20) : NULL;
        if (digit && c->line_len < 9) {
            c->left = c->left * 16 + (uint64_t)(digit - HEX);
            c->line_len++;
        } else if (byte != '\r') {
            fail(c, CORRUPT, "byte 0x%02x in a chunk size", (unsigned char)byte);
            return false;
        }
    } else if (c->state == CHUNK_SIZE) {
        if (!c->line_len) {
            fail(c, CORRUPT, "an empty chunk size");
            return false;
        }
        c->state = c->left ? CHUNK_DATA : TRAILER;
        c->line_len = 0;
    } else if (c->state == CHUNK_END) {
        if (byte != (c->line_len ? '\n' : '\r')) {
            fail(c, CORRUPT, "a chunk is longer than its size");
            return false;
        }
        if (c->line_len++) {
            c->state = CHUNK_SIZE;
            c->line_len = 0;
        }
    } else if (byte == '\n') {    /* TRAILER: an empty line ends the message */
        if (!c->line_len)
            return answer_ends(c, now);
        c->line_len = 0;
    } else if (byte != '\r') {
        c->line_len++;
    }
    return true;
}

static void feed(struct conn *c, char *at, size_t length, uint64_t now)
{
    while (length) {
        size_t n = 1;
        if (c->state == HEAD) {
            if (!(n = feed_head(c, at, length)))
                return;
            if (c->state == LENGTH && !c->left && !answer_ends(c, now))
                return;
        } else if (c->state == LENGTH || c->state == CHUNK_DATA || c->state == UNTIL_CLOSE) {
            n = c->state != UNTIL_CLOSE && c->left < length ? c->left : length;
            if (!on_body(c, at, n, now))
                return;
            c->left -= c->state == UNTIL_CLOSE ? 0 : n;
            if (c->state == LENGTH && !c->left && n == length) {
                answer_ends(c, now);
                return;
            }
            if (c->state == CHUNK_DATA && !c->left)
                c->state = CHUNK_END;
            if (c->state == LENGTH && !c->left) {
                fail(c, CORRUPT, "%zu bytes follow the body", length - n);
                return;
            }
        } else if (c->state == FREE || c->state == CLOSED || c->state == CONNECTING) {
            failures[CORRUPT]++;
            if (!first_failure[0])
                snprintf(first_failure, sizeof first_failure, "%zu bytes that nobody asked for", length);
            return;
        } else {
            uint32_t id = c->id;
            if (!feed_frame(c, *at, now))
                return;
            if (c->id != id && length > 1) {          /* the answer ended and the next request is already out */
                fail(c, CORRUPT, "%zu bytes follow the last chunk", length - 1);
                return;
            }
        }
        at += n;
        length -= n;
    }
}

static void on_closed(struct conn *c, int error)
{
    if (c->state == FREE) {       /* an idle connection may be closed at any time */
        for (int i = 0; i < parked_len; i++)
            if (parked[i] == c)
                parked[i] = parked[--parked_len];
        reconnects++;
        disconnect(c);
        connect_conn(c);
    } else if (c->state == UNTIL_CLOSE && !error) {
        answer_ends(c, now_ns());
    } else {
        fail(c, CUT, "%s after %u of %u events", error ? strerror(error) : "end of stream", c->next, current->events);
    }
}

static void on_readable(struct conn *c)
{
    static char bytes[256 * 1024];
    ssize_t n = recv(c->fd, bytes, sizeof bytes, 0);
    if (n > 0) {
        uint64_t now = now_ns();
        progress_at = now;
        bytes_seen += (uint64_t)n;
        feed(c, bytes, (size_t)n, now);
    } else if (n == 0 || errno != EAGAIN) {
        on_closed(c, n ? errno : 0);
    }
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
    for (; next_intended <= now && next_intended < stop_at; next_intended += (uint64_t)(-log(random_share()) / want.rate * 1e9) + 1)
        intend(next_intended);
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
            fail(&conns[i], TIMEOUT, "%u of %u events after %.0f s of silence", conns[i].next, current->events, want.timeout);
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
        poll_once(want.rate && next_intended < stop_at && next_intended < until ? next_intended : until, want.hold && held >= want.connections);
        if (want.hold && held >= want.connections && !stopping) {
            tell_held();
        } else if (silent_too_long(now_ns())) {
            out_of_time();
            break;
        }
    }
}

static void report(uint64_t cpu)
{
    uint64_t all = 0;
    printf("{\"phase\":\"done\",\"requests\":%lu,\"seconds\":%.6f,\"events\":%lu,\"late_events\":%lu,\"bytes\":%lu,\"reconnects\":%lu,"
           "\"backlog\":%zu,\"held\":%d,\"cpu_ns\":%lu,\"failures\":{", answered, (double)(end_at - go_at) / 1e9, events_seen,
           late_events, bytes_seen, reconnects, backlog_max, held, cpu);
    for (int i = 0; i < FAILURES; i++) {
        all += failures[i];
        printf("\"%s\":%lu,", FAILURE[i], failures[i]);
    }
    printf("\"all\":%lu},\"first_failure\":\"", all);
    for (const char *at = first_failure; *at; at++)
        putchar(*at == '"' || *at == '\\' || (unsigned char)*at < ' ' || (unsigned char)*at > '~' ? '?' : *at);
    printf("\"");
    print_histogram("latency", &latency);
    print_histogram("ttft", &ttft);
    print_histogram("event_delay", &event_delay);
    printf("}\n");
}

static void read_options(int argc, char **argv)
{
    enum { HOST = 1, PORT, PATH, KEY, DIALECT, MODEL, CONNECTIONS, REQUESTS, SECONDS, RATE, BODY, WARM, TIMEOUT_S, STREAM, HOLD, USAGE };
    static const struct option options[] = {
        {"host", 1, 0, HOST}, {"port", 1, 0, PORT}, {"path", 1, 0, PATH}, {"key", 1, 0, KEY}, {"dialect", 1, 0, DIALECT},
        {"model", 1, 0, MODEL}, {"connections", 1, 0, CONNECTIONS}, {"requests", 1, 0, REQUESTS}, {"seconds", 1, 0, SECONDS},
        {"rate", 1, 0, RATE}, {"body-bytes", 1, 0, BODY}, {"warm", 1, 0, WARM}, {"timeout", 1, 0, TIMEOUT_S},
        {"stream", 0, 0, STREAM}, {"hold", 0, 0, HOLD}, {"usage", 0, 0, USAGE}, {0, 0, 0, 0}};
    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;)
        switch (o) {
        case HOST: want.host = optarg; break;
        case PORT: want.port = atoi(optarg); break;
        case PATH: want.path = optarg; break;
        case KEY: want.key = optarg; break;
        case DIALECT: want.dialect = optarg; break;
        case MODEL: want.model = optarg; break;
        case CONNECTIONS: want.connections = atoi(optarg); break;
        case REQUESTS: want.requests = strtoul(optarg, NULL, 10); break;
        case SECONDS: want.seconds = atof(optarg); break;
        case RATE: want.rate = atof(optarg); break;
        case BODY: want.body = strtoul(optarg, NULL, 10); break;
        case WARM: want.warm = atoi(optarg); break;
        case TIMEOUT_S: want.timeout = atof(optarg); break;
        case STREAM: want.stream = true; break;
        case HOLD: want.hold = want.stream = true; break;
        case USAGE: want.usage = true; break;
        default: exit(2);
        }
    if (want.hold)
        want.requests = (uint64_t)want.connections;
    if (want.port <= 0 || want.connections <= 0 || (!want.requests && want.seconds <= 0) || (want.rate > 0 && want.seconds <= 0)) {
        fprintf(stderr, "load: --port, and --requests or --seconds (an open loop needs --seconds)\n");
        exit(2);
    }
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

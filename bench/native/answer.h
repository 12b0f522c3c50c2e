/* Reading one answer, byte for byte, wherever reads cut it; knows nothing of sockets.
 *
 * An answer is right when its status is 200, its framing (RFC 9112 §6, §7: Content-Length, chunked, or until close)
 * ends properly, each mark carries the number of this stream and the next sequence number, as many marks came as were
 * promised, the dialect's last word follows them, and no usage chunk that was not asked for. The includer defines saw_event(), which hears of every mark.
 */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ANSWER_HEAD_MAX = 16384, TAIL = 1024, MARK = 39 };

enum stage { HEAD, LENGTH, CHUNK_SIZE, CHUNK_DATA, CHUNK_END, TRAILER, UNTIL_CLOSE, COMPLETE };
enum failure { NONE, CONNECT, STATUS, CUT, CORRUPT, TIMEOUT, FAILURES };

struct answer {
    enum stage stage;
    enum failure wrong;              /* what is wrong with it, told in `why` */
    bool keep;                       /* the connection may be used again */
    uint32_t id, events, next;       /* stream number, promised events, sequence number of the next one */
    const char *last_word, *unasked; /* what must follow the last mark; what must not (NULL: anything may) */
    uint64_t left;                   /* bytes of the body or of the chunk still to come */
    char *head;                      /* a head that came in pieces */
    size_t head_len, line_len, mark_len, tail_len;
    char mark[MARK], tail[TAIL];
};

static char why[256];

static void saw_event(struct answer *a, uint64_t stamp, uint64_t now);

static void expect_answer(struct answer *a, uint32_t id, uint32_t events, const char *last_word, const char *unasked)
{
    a->stage = HEAD;
    a->wrong = NONE;
    a->id = id;
    a->events = events;
    a->last_word = last_word;
    a->unasked = unasked;
    a->next = 0;
    a->left = a->head_len = a->line_len = a->mark_len = a->tail_len = 0;
}

static __attribute__((format(printf, 3, 4))) void wrong(struct answer *a, enum failure kind, const char *form, ...)
{
    va_list list;
    va_start(list, form);
    vsnprintf(why, sizeof why, form, list);
    va_end(list);
    a->wrong = kind;
}

/* ---- the body ---- */

/* The `width` digits at `at`, or -1 where there is another byte among them. */
static int64_t number(const char *at, int width)
{
    int64_t value = 0;
    for (int i = 0; i < width; i++) {
        if (at[i] < '0' || at[i] > '9')
            return -1;
        value = value * 10 + (at[i] - '0');
    }
    return value;
}

static void check_mark(struct answer *a, uint64_t now)
{
    const char *m = a->mark;
    int64_t id = number(m + 1, 9), sequence = number(m + 11, 6), stamp = number(m + 18, 20);
    if (id < 0 || sequence < 0 || stamp < 0 || m[10] != '.' || m[17] != '.' || m[MARK - 1] != '~') {
        wrong(a, CORRUPT, "a mangled mark %.*s", MARK, m);
    } else if (id != a->id || sequence != a->next || sequence >= a->events) {
        wrong(a, CORRUPT, "expected event %u of stream %u, got %ld of %ld", a->next, a->id, sequence, id);
    } else {
        a->next++;
        saw_event(a, (uint64_t)stamp, now);
    }
}

/* Keeps the end of what follows the last mark: there the last word must stand. */
static void keep_tail(struct answer *a, const char *at, size_t length)
{
    size_t add = length < TAIL ? length : TAIL;
    size_t stay = a->tail_len + add > TAIL ? TAIL - add : a->tail_len;
    memmove(a->tail, a->tail + a->tail_len - stay, stay);
    memcpy(a->tail + stay, at + length - add, add);
    a->tail_len = stay + add;
}

static void feed_body(struct answer *a, const char *at, size_t length, uint64_t now)
{
    const char *end = at + length;
    while (at < end && !a->wrong) {
        if (!a->mark_len) {
            const char *mark = memchr(at, '~', (size_t)(end - at));
            if (!mark && a->next == a->events)
                keep_tail(a, at, (size_t)(end - at));
            if (!mark)
                return;
            at = mark;
        }
        size_t n = MARK - a->mark_len;
        if (n > (size_t)(end - at))
            n = (size_t)(end - at);
        memcpy(a->mark + a->mark_len, at, n);
        a->mark_len += n;
        at += n;
        if (a->mark_len == MARK) {
            check_mark(a, now);
            a->mark_len = 0;
        }
    }
}

static void end_answer(struct answer *a)
{
    size_t length = a->tail_len, word = strlen(a->last_word);
    while (length && (a->tail[length - 1] == '\n' || a->tail[length - 1] == '\r'))
        length--;
    bool at_end = a->last_word[0] == 'd';          /* nothing may follow data: [DONE] */
    const char *from = at_end && length >= word ? a->tail + length - word : a->tail;
    a->stage = COMPLETE;
    if (a->next != a->events || a->mark_len)
        wrong(a, CORRUPT, "%u of %u events came", a->next, a->events);
    else if (!memmem(from, length - (size_t)(from - a->tail), a->last_word, word))
        wrong(a, CORRUPT, "the answer ended without %s", a->last_word);
    else if (a->unasked && memmem(a->tail, a->tail_len, a->unasked, strlen(a->unasked)))
        wrong(a, CORRUPT, "the answer holds %s, which was not asked for", a->unasked);
}

/* ---- the head ---- */

static const char *header(const char *head, const char *name)
{
    const char *at = strcasestr(head, name);
    return at ? at + strlen(name) + strspn(at + strlen(name), " \t") : NULL;
}

static void read_head(struct answer *a, char *head, size_t length)
{
    head[length - 2] = 0;            /* keeps the line end of the last header */
    if (strncmp(head, "HTTP/1.", 7) || strncmp(head + 8, " 200", 4)) {
        wrong(a, STATUS, "%.60s", head);
        return;
    }
    const char *value = header(head, "\r\nconnection:");
    a->keep = value ? strncasecmp(value, "close", 5) != 0 : head[7] == '1';
    if ((value = header(head, "\r\ntransfer-encoding:"))) {
        a->stage = CHUNK_SIZE;
        if (strncasecmp(value, "chunked", 7))
            wrong(a, CORRUPT, "transfer-encoding: %.20s", value);
    } else if ((value = header(head, "\r\ncontent-length:"))) {
        a->stage = LENGTH;
        a->left = strtoul(value, NULL, 10);
        if (!a->left)
            end_answer(a);
    } else {
        a->stage = UNTIL_CLOSE;
        a->keep = false;
    }
}

/* Reads a head, collecting it when it comes in pieces; returns how many bytes it took. */
static size_t feed_head(struct answer *a, char *at, size_t length)
{
    char *end = a->head_len ? NULL : memmem(at, length, "\r\n\r\n", 4);
    if (end) {
        read_head(a, at, (size_t)(end + 4 - at));
        return (size_t)(end + 4 - at);
    }
    if (!a->head && !(a->head = malloc(ANSWER_HEAD_MAX)))
        abort();
    size_t had = a->head_len, n = length < ANSWER_HEAD_MAX - had ? length : ANSWER_HEAD_MAX - had;
    memcpy(a->head + had, at, n);
    a->head_len += n;
    if (!(end = memmem(a->head, a->head_len, "\r\n\r\n", 4))) {
        if (a->head_len == ANSWER_HEAD_MAX)
            wrong(a, CORRUPT, "a head of over %d bytes", ANSWER_HEAD_MAX);
        return n;
    }
    read_head(a, a->head, (size_t)(end + 4 - a->head));
    return (size_t)(end + 4 - a->head) - had;
}

/* ---- framing ---- */

static void feed_size(struct answer *a, char byte)
{
    static const char HEX[] = "0123456789abcdef";
    const char *digit = byte ? strchr(HEX, byte | 0x20) : NULL;
    if (byte == '\n' && a->line_len) {
        a->stage = a->left ? CHUNK_DATA : TRAILER;
        a->line_len = 0;
    } else if (digit && a->line_len < 9) {
        a->left = a->left * 16 + (uint64_t)(digit - HEX);
        a->line_len++;
    } else if (byte != '\r') {
        wrong(a, CORRUPT, "byte 0x%02x in a chunk size", (unsigned char)byte);
    }
}

/* One byte of a size line, of the line end behind a chunk, or of the trailer, which an empty line ends. */
static void feed_frame(struct answer *a, char byte)
{
    if (a->stage == CHUNK_SIZE) {
        feed_size(a, byte);
    } else if (a->stage == CHUNK_END) {
        if (byte != (a->line_len ? '\n' : '\r'))
            wrong(a, CORRUPT, "a chunk is longer than its size");
        a->stage = a->line_len ? CHUNK_SIZE : CHUNK_END;
        a->line_len = !a->line_len;
    } else if (byte == '\n') {
        if (!a->line_len)
            end_answer(a);
        a->line_len = 0;
    } else if (byte != '\r') {
        a->line_len++;
    }
}

/* Takes what one read brought. Afterwards the answer is COMPLETE, or wrong, or still to be continued. */
static void feed_answer(struct answer *a, char *at, size_t length, uint64_t now)
{
    while (length && !a->wrong) {
        size_t n = 1;
        if (a->stage == COMPLETE) {
            wrong(a, CORRUPT, "%zu bytes follow the answer", length);
        } else if (a->stage == HEAD) {
            n = feed_head(a, at, length);
        } else if (a->stage == UNTIL_CLOSE) {
            feed_body(a, at, n = length, now);
        } else if (a->stage == LENGTH || a->stage == CHUNK_DATA) {
            feed_body(a, at, n = a->left < length ? a->left : length, now);
            a->left -= n;
            if (!a->left && !a->wrong && a->stage == LENGTH)
                end_answer(a);
            else if (!a->left)
                a->stage = CHUNK_END;
        } else {
            feed_frame(a, *at);
        }
        at += n;
        length -= n;
    }
}

/* Writing texts, marks and HTTP chunks into a buffer that has room for them. */
#pragma once

#include <stdint.h>
#include <string.h>

enum { MARK = 39, PREFIX = 6 };   /* bytes of a mark; of a chunk's size line, which always has four digits */

/* Appends `text` to `to`, every $ replaced by the model name. */
static size_t put(char *to, const char *text, const char *model)
{
    char *at = to;
    for (const char *dollar; (dollar = strchr(text, '$')); text = dollar + 1) {
        at = mempcpy(at, text, (size_t)(dollar - text));
        at = stpcpy(at, model);
    }
    return (size_t)(stpcpy(at, text) - to);
}

static void put_number(char *to, int width, uint64_t value)
{
    for (int i = width; i-- > 0; value /= 10)
        to[i] = (char)('0' + value % 10);
}

static void put_mark(char *to, uint32_t id, uint32_t sequence, uint64_t ns)
{
    to[0] = to[MARK - 1] = '~';
    put_number(to + 1, 9, id);
    to[10] = '.';
    put_number(to + 11, 6, sequence);
    to[17] = '.';
    put_number(to + 18, 20, ns);
}

/* Makes the `length` bytes that lie at to+PREFIX one chunk (RFC 9112 §7.1); returns its whole size. */
static size_t put_chunk(char *to, size_t length)
{
    static const char HEX[] = "0123456789abcdef";
    for (int i = 0; i < 4; i++)
        to[i] = HEX[(length >> (12 - 4 * i)) & 15];
    memcpy(to + 4, "\r\n", 2);
    memcpy(to + PREFIX + length, "\r\n", 2);
    return PREFIX + length + 2;
}

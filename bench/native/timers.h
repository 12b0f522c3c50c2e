/* Timers in a binary heap: the one that is due first lies on top. A timer whose `at` is -1 is not set. */
#pragma once

#include <stdint.h>
#include <stdlib.h>

struct timer {
    uint64_t due;             /* CLOCK_MONOTONIC, nanoseconds */
    int at;                   /* place in the heap */
};

static struct timer **heap;
static int heap_len, heap_room;

static void heap_put(int at, struct timer *t)
{
    heap[at] = t;
    t->at = at;
}

static void heap_settle(int at)
{
    struct timer *t = heap[at];
    for (int up; at > 0 && heap[up = (at - 1) / 2]->due > t->due; at = up)
        heap_put(at, heap[up]);
    for (int down; (down = 2 * at + 1) < heap_len; at = down) {
        if (down + 1 < heap_len && heap[down + 1]->due < heap[down]->due)
            down++;
        if (heap[down]->due >= t->due)
            break;
        heap_put(at, heap[down]);
    }
    heap_put(at, t);
}

static void timer_set(struct timer *t, uint64_t due)
{
    t->due = due;
    if (t->at < 0) {
        if (heap_len == heap_room) {
            heap_room = heap_room ? 2 * heap_room : 1024;
            if (!(heap = realloc(heap, (size_t)heap_room * sizeof *heap)))
                abort();
        }
        heap_put(heap_len++, t);
    }
    heap_settle(t->at);
}

static void timer_clear(struct timer *t)
{
    int at = t->at;
    if (at < 0)
        return;
    t->at = -1;
    if (at != --heap_len) {
        heap_put(at, heap[heap_len]);
        heap_settle(at);
    }
}

static struct timer *timer_first(void)
{
    return heap_len ? heap[0] : NULL;
}

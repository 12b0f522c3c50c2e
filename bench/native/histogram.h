/* A histogram of nanoseconds with 128 steps to each power of two, so that a percentile is within 0.8 % of the truth. */
#pragma once

#include <math.h>
#include <stdint.h>
#include <stdio.h>

enum { STEPS = 7, CELLS = (64 - STEPS + 1) << STEPS };

struct histogram {
    uint64_t cell[CELLS], count, max;
    double sum;
};

static void record(struct histogram *h, uint64_t value)
{
    int shift = value >> (STEPS + 1) ? 63 - STEPS - __builtin_clzll(value) : 0;
    h->cell[((uint64_t)shift << STEPS) + (value >> shift)]++;
    h->count++;
    h->sum += (double)value;
    if (value > h->max)
        h->max = value;
}

/* The middle of the cell in which the value of this rank lies; 0 for an empty histogram. */
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
    printf(",\"%s\":{\"count\":%lu,\"mean\":%.0f,\"p50\":%lu,\"p90\":%lu,\"p99\":%lu,\"p999\":%lu,\"max\":%lu}", name,
           h->count, h->count ? h->sum / (double)h->count : 0.0, percentile(h, 0.5), percentile(h, 0.9),
           percentile(h, 0.99), percentile(h, 0.999), h->max);
}

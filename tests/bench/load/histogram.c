#include "tests/bench/load/load.h"

#include <math.h>
#include <stdlib.h>

#define STEPS 1820 /* 1.01 ^ 1820 us = 73 s */

struct histogram {
    uint64_t counts[STEPS], total;
};

struct histogram *histogram_new(void)
{
    return mem_zalloc(sizeof(struct histogram));
}

void histogram_add(struct histogram *h, uint64_t ns)
{
    double us = (double)ns / 1000;
    int step = us <= 1 ? 0 : (int)(log(us) / log(1.01));
    h->counts[step < STEPS ? step : STEPS - 1]++;
    h->total++;
}

uint64_t histogram_quantile(const struct histogram *h, double q)
{
    uint64_t wanted = (uint64_t)ceil((double)h->total * q), seen = 0;
    for (int i = 0; i < STEPS; i++) {
        seen += h->counts[i];
        if (seen >= wanted && seen > 0) {
            return (uint64_t)(pow(1.01, i + 0.5) * 1000);
        }
    }
    return 0;
}

void histogram_free(struct histogram *h)
{
    free(h);
}

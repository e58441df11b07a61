/* Leases never end sooner than their holders were told, over crashes, changes of leader, pauses and clocks that differ
 * in speed. A holder counts from the moment at which it asked; the slowest that its time may run, as the simulator's
 * clocks go, is what it may rely on. */
#include "base/bytes.h"
#include "chaos/sim/internal.h"
#include <inttypes.h>
#include <stdlib.h>

void sim_check_lease_told(struct sim *s, int64_t id, uint64_t until_ms)
{
    struct sim_check *c = &s->check;
    while (c->told_count < (size_t)id) {
        if ((c->told_count & (c->told_count + 1)) == 0) {
            c->told = mem_realloc(c->told, (c->told_count * 2 + 1) * sizeof *c->told);
        }
        c->told[c->told_count++] = 0;
    }
    uint64_t *told = &c->told[id - 1];
    *told = until_ms > *told ? until_ms : *told;
}

void sim_check_lease_revoked(struct sim *s, int64_t id)
{
    const struct sim_check *c = &s->check;
    s->result->expired++;
    uint64_t told = id > 0 && (size_t)id <= c->told_count ? c->told[id - 1] : 0;
    if (s->now_ms < told) {
        sim_fail(s, "lease %" PRId64 " has expired, its holder was told that it lasts until %" PRIu64 " ms", id, told);
    }
}

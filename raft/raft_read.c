/* Linearizable reads without the log (Raft thesis 6.4): the commit index of this moment, once the leader knows that it
 * still leads. A leader alone knows that. Its commit index is the newest one only when an entry of its own term is
 * committed (6.4, step 1; etcd's PR14258): before that reads wait. */
#include "base/error.h"
#include "raft/raft_impl.h"

static void push(struct raft_read **list, size_t *count, size_t *capacity, struct raft_read read)
{
    if (*count == *capacity) {
        *capacity = *capacity * 2 + 16;
        *list = mem_realloc(*list, *capacity * sizeof **list);
    }
    (*list)[(*count)++] = read;
}

static void answer(struct raft *r, uint64_t context, int error)
{
    push(&r->reads, &r->read_count, &r->read_capacity,
         (struct raft_read){.context = context, .index = error == 0 ? r->commit : 0, .error = error});
}

static bool can_answer(const struct raft *r)
{
    return r->role == RAFT_LEADER && raft_alone(r) && raft_log_term(&r->log, r->commit) == r->term;
}

void raft_read_index(struct raft *r, uint64_t context)
{
    if (can_answer(r)) {
        answer(r, context, 0);
    } else {
        push(&r->held, &r->held_count, &r->held_capacity, (struct raft_read){.context = context});
    }
}

void raft_answer_held(struct raft *r)
{
    if (!can_answer(r)) {
        return;
    }
    for (size_t i = 0; i < r->held_count; i++) {
        answer(r, r->held[i].context, 0);
    }
    r->held_count = 0;
}

void raft_drop_held(struct raft *r)
{
    for (size_t i = 0; i < r->held_count; i++) {
        answer(r, r->held[i].context, ERR_AGAIN);
    }
    r->held_count = 0;
}

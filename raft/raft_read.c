/* Linearizable reads without the log (Raft thesis 6.4): the commit index of this moment, once the leader knows that it
 * still leads. Its commit index is the newest one only when an entry of its own term is committed (6.4, step 1; etcd's
 * PR14258): before that reads wait. That it leads, it learns from a round of heartbeats that began later than the read
 * (step 3); all reads that wait share the next round. A leader alone knows it. Reads at a follower go to its leader. */
#include "base/canary.h"
#include "base/check.h"
#include "base/error.h"
#include "raft/raft_impl.h"
#include <stdlib.h>

/* --- queues --- */

static void push(struct read_queue *q, struct read_request request)
{
    if (q->head + q->count == q->capacity) {
        if (q->head < q->count || q->capacity == 0) {
            q->capacity = q->capacity * 2 + 16;
            q->list = mem_realloc(q->list, q->capacity * sizeof *q->list);
        }
        memmove(q->list, q->list + q->head, q->count * sizeof *q->list);
        q->head = 0;
    }
    q->list[q->head + q->count++] = request;
}

static struct read_request pop(struct read_queue *q)
{
    CHECK(q->count > 0);
    q->count--;
    return q->list[q->head++];
}

static void drop(struct raft *r, struct read_request request)
{
    if (request.from == RAFT_NONE) {
        raft_read_answer(r, request.context, 0, ERR_AGAIN);
    }
    shared_unref(request.data);
}

static void drop_all(struct raft *r, struct read_queue *q)
{
    while (q->count > 0) {
        drop(r, pop(q));
    }
}

/* --- answers --- */

void raft_read_answer(struct raft *r, uint64_t context, uint64_t index, int error)
{
    if (r->read_count == r->read_capacity) {
        r->read_capacity = r->read_capacity * 2 + 16;
        r->reads = mem_realloc(r->reads, r->read_capacity * sizeof *r->reads);
    }
    r->reads[r->read_count++] = (struct raft_read){.context = context, .index = index, .error = error};
}

static void answer(struct raft *r, struct read_request request)
{
    if (request.from == RAFT_NONE) {
        raft_read_answer(r, request.context, request.index, 0);
        return;
    }
    raft_commit_awaited(r, request.from, request.index);
    struct raft_message *m = raft_message_now(r, RAFT_MSG_READ_INDEX_RESPONSE, request.from);
    m->index = request.index;
    raft_attach(r, m, request.data);
    shared_unref(request.data);
}

/* --- a leader --- */

bool raft_own_term_committed(const struct raft *r)
{
    return raft_log_term(&r->log, r->commit) == r->term;
}

uint64_t raft_reads_position(const struct raft *r)
{
    return r->confirmed_reads + r->confirming.count;
}

void raft_reads_begin(struct raft *r, struct read_request request)
{
    if (!raft_own_term_committed(r) && !CANARY(READ_BEFORE_OWN_TERM)) {
        push(&r->held_reads, request);
        return;
    }
    request.index = r->commit;
    if (CANARY(READ_WITHOUT_QUORUM) || (raft_alone(r) && r->confirming.count == 0)) {
        answer(r, request);
        return;
    }
    push(&r->confirming, request);
    r->heartbeat_wanted = true;
}

void raft_reads_confirm(struct raft *r)
{
    uint64_t position = raft_quorum_read_ack(r);
    while (r->confirming.count > 0 && r->confirmed_reads < position) {
        answer(r, pop(&r->confirming));
        r->confirmed_reads++;
    }
}

/* --- a follower --- */

/* Asking again under the same context asks for the same name: whichever answer comes, it is younger than the first
 * request. */
static struct read_request *find_asked(struct raft *r, uint64_t context)
{
    for (size_t i = 0; i < r->asked.count; i++) {
        struct read_request *asked = &r->asked.list[r->asked.head + i];
        if (asked->context == context) {
            return asked;
        }
    }
    return NULL;
}

static void ask_leader(struct raft *r, struct read_request request)
{
    if (request.data == NULL) {
        const struct read_request *before = find_asked(r, request.context);
        request.index = before != NULL ? before->index : r->next_read_id++;
        if (before == NULL) {
            push(&r->asked, request);
        }
        request.data = shared_new(8);
        put_be64(request.data->data, request.index);
    }
    const struct raft_entry entry = {.data = request.data};
    raft_forward(r, RAFT_MSG_READ_INDEX, request.from == RAFT_NONE ? r->id : request.from, &entry);
    shared_unref(request.data);
}

/* The leader's answer. One to a request of an earlier leadership, or of an earlier life, finds nothing here. */
void raft_step_read_index_response(struct raft *r, const struct raft_message *m)
{
    struct bytes name = shared_bytes(m->entries[0].data);
    if (name.len != 8 || r->role == RAFT_LEADER) {
        return;
    }
    uint64_t id = get_be64(name.data);
    for (size_t i = 0; i < r->asked.count; i++) {
        struct read_request *asked = &r->asked.list[r->asked.head + i];
        if (asked->index == id) {
            raft_read_answer(r, asked->context, m->index, 0);
            memmove(asked, asked + 1, (r->asked.count - i - 1) * sizeof *asked);
            r->asked.count--;
            return;
        }
    }
}

/* --- all --- */

static void begin(struct raft *r, struct read_request request)
{
    if (r->role == RAFT_LEADER) {
        raft_reads_begin(r, request);
    } else if (r->leader != RAFT_NONE) {
        ask_leader(r, request);
    } else if (request.from == RAFT_NONE) {
        push(&r->held_reads, request);
    } else {
        shared_unref(request.data); /* who asked asks again */
    }
}

void raft_read_index(struct raft *r, uint64_t context)
{
    raft_event(r);
    r->dirty = true;
    begin(r, (struct read_request){.context = context});
}

void raft_step_read_index(struct raft *r, const struct raft_message *m)
{
    begin(r, (struct read_request){.from = m->from, .data = shared_ref(m->entries[0].data)});
}

void raft_reads_release(struct raft *r)
{
    if (r->held_reads.count == 0 || r->leader == RAFT_NONE || (r->role == RAFT_LEADER && !raft_own_term_committed(r))) {
        return;
    }
    for (size_t n = r->held_reads.count; n > 0; n--) {
        begin(r, pop(&r->held_reads));
    }
}

/* Own reads that nobody was asked about yet just go on waiting. */
void raft_reads_reset(struct raft *r)
{
    for (size_t n = r->held_reads.count; n > 0; n--) {
        struct read_request request = pop(&r->held_reads);
        if (request.from == RAFT_NONE) {
            push(&r->held_reads, request);
        } else {
            drop(r, request);
        }
    }
    drop_all(r, &r->confirming);
    drop_all(r, &r->asked);
    r->confirmed_reads = 0;
}

void raft_reads_free(struct raft *r)
{
    drop_all(r, &r->held_reads);
    drop_all(r, &r->confirming);
    drop_all(r, &r->asked);
    free(r->held_reads.list);
    free(r->confirming.list);
    free(r->asked.list);
    free(r->reads);
}

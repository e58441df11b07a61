/* What clients were told is linearizable.
 *
 * To show that a history is linearizable is to find one order of all operations that a single machine would have
 * answered in the same way, and in which an operation that ended before another one began comes first. In general that
 * takes a search. Here the members name the order themselves: a change stands where its entry stands in the log, a read
 * behind the last change of the revision that it saw. So two things are left to check, each exact and cheap:
 *
 *   - the model, fed with the log in its order, gives the same answer to each change; and has, at a read's revision,
 *     exactly the rows that the read saw;
 *   - real time: when an operation begins, the highest entry and revision that anybody was told of by then are noted
 *     (its floor). A change must get an entry above that, also one whose outcome nobody knows; a linearizable read must
 *     see at least that revision.
 *
 * If the history were not linearizable, no order would do, and so not this one: nothing is missed. If the members' own
 * order doesn't do although another one would, that is a fault all the same, for the revisions are part of the answers.
 *
 * What ended without an answer (a crash, a timeout) may have happened at any time since it began, once, or never. What
 * was answered must be in the log when the turn is over that answered it. */
#include "base/pb.h"
#include "chaos/sim/internal.h"
#include <inttypes.h>
#include <stdlib.h>

int64_t sim_check_floor(const struct sim *s)
{
    return s->check.floor;
}

uint64_t sim_request_digest(Etcdserverpb__InternalRaftRequest *request)
{
    Etcdserverpb__RequestHeader *header = request->header;
    request->header = NULL;
    size_t len = pb_size(&request->base);
    uint8_t *bytes = mem_alloc(len + 1);
    pb_write(&request->base, bytes, len);
    request->header = header;
    uint64_t digest = 1;
    for (size_t i = 0; i < len; i++) {
        digest = (digest ^ bytes[i]) * 0x100000001b3ULL;
    }
    free(bytes);
    return digest ^ len;
}

void sim_check_proposed(struct sim *s, uint64_t id, uint64_t digest)
{
    struct sim_check *c = &s->check;
    if (c->op_count == c->op_capacity) {
        c->op_capacity = c->op_capacity * 2 + 256;
        c->ops = mem_realloc(c->ops, c->op_capacity * sizeof *c->ops);
    }
    uint64_t *at = sim_table_at(&c->op_of, id);
    if (*at != 0) {
        sim_fail(s, "request id %" PRIx64 " is given out twice", id);
    }
    c->ops[c->op_count++] =
        (struct sim_op){.id = id, .digest = digest, .floor_index = c->floor_index, .floor = c->floor};
    *at = c->op_count;
}

static struct sim_op *find(struct sim_check *c, uint64_t id)
{
    uint64_t at = sim_table_get(&c->op_of, id);
    return at == 0 ? NULL : &c->ops[at - 1];
}

/* Answer and entry are both there. */
static void judge(struct sim *s, struct sim_op *op)
{
    struct sim_check *c = &s->check;
    const struct model_outcome *told = &op->told, *is = &op->is;
    bool same = told->error == is->error && told->deleted == is->deleted && told->succeeded == is->succeeded &&
                told->digest == is->digest && (told->revision == 0 || told->revision == is->revision);
    if (!same) {
        sim_fail(s,
                 "request %" PRIx64 " was told error %d revision %" PRId64 " deleted %" PRId64
                 " succeeded %d, the model says %d %" PRId64 " %" PRId64 " %d",
                 op->id, told->error, told->revision, told->deleted, told->succeeded, is->error, is->revision,
                 is->deleted, is->succeeded);
    }
    if (told->revision > c->floor) {
        c->floor = told->revision;
    }
    if (op->index > c->floor_index) {
        c->floor_index = op->index;
    }
    c->unlogged--;
}

void sim_check_acknowledged(struct sim *s, uint64_t id, const struct model_outcome *told)
{
    struct sim_check *c = &s->check;
    struct sim_op *op = find(c, id);
    op->acknowledged = true;
    op->told = *told;
    c->unlogged++;
    c->last_acknowledged = (size_t)(op - c->ops);
    s->result->acknowledged++;
    if (op->index != 0) {
        judge(s, op);
    }
}

void sim_check_answered(struct sim *s)
{
    const struct sim_check *c = &s->check;
    if (c->unlogged > 0) {
        const struct sim_op *op = &c->ops[c->last_acknowledged];
        sim_fail(s, "request %" PRIx64 " was acknowledged with error %d revision %" PRId64 " and is not in the log",
                 op->id, op->told.error, op->told.revision);
    }
}

bool sim_check_logged(struct sim *s, Etcdserverpb__InternalRaftRequest *request, uint64_t index,
                      const struct model_outcome *is)
{
    struct sim_op *op = request->header == NULL ? NULL : find(&s->check, request->header->id);
    if (op == NULL) {
        return false;
    }
    if (op->index != 0) {
        sim_fail(s, "request %" PRIx64 " is in the log twice, as entry %" PRIu64 " and %" PRIu64, op->id, op->index,
                 index);
        return true;
    }
    if (s->config.canary == SIM_CANARY_NONE && sim_request_digest(request) != op->digest) {
        sim_fail(s, "request %" PRIx64 " is another one in the log than the one that was made", op->id);
    }
    if (index <= op->floor_index) {
        sim_fail(s, "request %" PRIx64 " is entry %" PRIu64 ", but began after entry %" PRIu64 " was answered", op->id,
                 index, op->floor_index);
    }
    op->index = index;
    op->is = *is;
    if (op->acknowledged) {
        judge(s, op);
    }
    return true;
}

void sim_check_read(struct sim *s, struct sim_read read, int64_t floor)
{
    struct sim_check *c = &s->check;
    s->result->reads++;
    if (read.revision < floor) {
        sim_fail(s, "a linearizable read at revision %" PRId64 " began after revision %" PRId64 " was told",
                 read.revision, floor);
        return;
    }
    if (read.revision > c->model.revision) {
        sim_fail(s, "a read saw revision %" PRId64 ", the log ends at %" PRId64, read.revision, c->model.revision);
        return;
    }
    size_t count;
    uint64_t digest = model_digest_range(&c->model, read.lo, read.hi, read.revision, &count);
    if (digest != read.digest || count != read.count) {
        sim_fail(s, "a read of keys %d to %d at revision %" PRId64 " saw %zu rows, the model has %zu (or others)",
                 read.lo, read.hi, read.revision, read.count, count);
    }
    c->floor = read.revision > c->floor ? read.revision : c->floor;
}

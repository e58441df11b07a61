#include "tests/support/raft_bed.h"
#include "base/check.h"
#include "raft/codec.h"
#include "tests/support/raft_bed_impl.h"
#include <inttypes.h>
#include <stdlib.h>

struct raft_bed *raft_bed_new(uint64_t seed)
{
    struct raft_bed *bed = mem_zalloc(sizeof *bed);
    bed->seed = seed;
    raft_bed_truth_new(bed);
    return bed;
}

/* As etcd begins: an entry for each member, committed in term 1 without anybody's vote. */
static void bootstrap(struct raft_bed_member *m, const struct raft_conf_state *conf)
{
    const struct raft_ids *const sets[] = {&conf->voters, &conf->learners};
    for (size_t k = 0; k < 2; k++) {
        for (size_t i = 0; i < sets[k]->count; i++) {
            struct buffer b = {0};
            const struct raft_conf_change change = {.type = k == 0 ? RAFT_ADD_NODE : RAFT_ADD_LEARNER,
                                                    .node_id = sets[k]->ids[i]};
            raft_conf_change_encode(&b, &change);
            struct raft_entry e = {.index = m->log_count + 1,
                                   .term = 1,
                                   .type = RAFT_ENTRY_CONF_CHANGE,
                                   .data = shared_copy(buffer_bytes(&b))};
            bed_log_append(m, &e);
            shared_unref(e.data);
            buffer_free(&b);
        }
    }
    m->state = (struct raft_hard_state){.term = 1, .commit = m->log_count};
}

struct raft_bed_member *raft_bed_add(struct raft_bed *bed, uint64_t id, const struct raft_conf_state *conf)
{
    CHECK(bed->member_count < RAFT_BED_MEMBERS);
    struct raft_bed_member *m = &bed->members[bed->member_count++];
    m->bed = bed;
    m->id = id;
    m->now_ms = 1000;
    m->jobs_tail = &m->jobs;
    m->config = (struct raft_config){.id = id, .pre_vote = true};
    if (conf != NULL) {
        bootstrap(m, conf);
    }
    return m;
}

struct raft_bed_member *raft_bed_add_plain(struct raft_bed *bed, uint64_t id, const struct raft_conf_state *conf)
{
    struct raft_bed_member *m = raft_bed_add(bed, id, NULL);
    raft_conf_state_copy(&m->store.conf, conf);
    return m;
}

struct raft_bed_member *raft_bed_find(struct raft_bed *bed, uint64_t id)
{
    for (size_t i = 0; i < bed->member_count; i++) {
        if (bed->members[i].id == id) {
            return &bed->members[i];
        }
    }
    return NULL;
}

/* --- life --- */

void raft_bed_start(struct raft_bed_member *m)
{
    CHECK(m->raft == NULL);
    m->config.seed = m->bed->seed + m->id * 1000 + m->lives++;
    m->config.now_ms = m->now_ms;
    m->config.conf = m->store.conf;
    m->config.hard_state = m->state;
    m->config.snapshot = m->start;
    m->config.applied = m->store.applied;
    m->applied = m->store.applied;
    m->hash = m->store.hash;
    raft_conf_state_free(&m->conf);
    raft_conf_state_copy(&m->conf, &m->store.conf);
    m->raft = raft_new(&m->config);
    for (size_t i = 0; i < m->log_count; i++) {
        raft_restore_entry(m->raft, &m->log[i]);
    }
    raft_start(m->raft);
    m->answer_count = 0;
    m->role = RAFT_FOLLOWER;
    m->leader = RAFT_NONE;
    m->term = m->state.term;
    m->vote = m->state.vote;
}

void raft_bed_crash(struct raft_bed_member *m, size_t keep)
{
    while (m->jobs != NULL) {
        bed_job_end(m, keep > 0);
        keep -= keep > 0;
    }
    raft_free(m->raft);
    m->raft = NULL;
    m->log_read_out = m->installing = false;
}

void raft_bed_free(struct raft_bed *bed)
{
    for (size_t i = 0; i < bed->member_count; i++) {
        struct raft_bed_member *m = &bed->members[i];
        raft_bed_crash(m, 0);
        bed_log_cut(m, 0);
        free(m->log);
        raft_conf_state_free(&m->store.conf);
        raft_conf_state_free(&m->conf);
        raft_conf_state_free(&m->install.conf);
    }
    while (bed->packet_count > 0) {
        raft_bed_drop(bed, 0);
    }
    free(bed->packets);
    raft_bed_truth_free(bed);
    free(bed);
}

/* --- apply --- */

static void apply_change(struct raft_bed_member *m, const struct raft_entry *e)
{
    struct raft_conf_change_v2 v2;
    struct raft_conf_change v1;
    raft_conf_state_free(&m->conf);
    if (e->type == RAFT_ENTRY_CONF_CHANGE) {
        CHECK(raft_conf_change_decode(shared_bytes(e->data), &v1) == 0);
        raft_apply_conf_change(m->raft, &v1, &m->conf);
    } else {
        CHECK(raft_conf_change_v2_decode(shared_bytes(e->data), &v2) == 0);
        raft_apply_conf_change_v2(m->raft, &v2, &m->conf);
    }
    if (m->bed->text != NULL) {
        buffer_printf(m->bed->text, "%" PRIx64 ": members ", m->id);
        raft_bed_describe_conf(m->bed->text, &m->conf);
        buffer_printf(m->bed->text, "\n");
    }
}

void raft_bed_apply(struct raft_bed_member *m, uint64_t to)
{
    while (m->applied < m->commit && m->applied < to && !m->installing) {
        const struct raft_entry *e = raft_entry(m->raft, m->applied + 1);
        if (e == NULL) {
            return;
        }
        struct raft_entry copy = *e;
        m->hash = raft_bed_hash(m->hash, &copy);
        raft_bed_check_apply(m, &copy, m->hash);
        m->applied = copy.index;
        if (copy.type != RAFT_ENTRY_NORMAL) {
            apply_change(m, &copy);
        }
        raft_applied(m->raft, m->applied);
    }
}

/* --- updates --- */

static void carry_out(struct raft_bed_member *m, const struct raft_update *u)
{
    if (u->append_count > 0 || u->hard_state_changed) {
        bed_job_start(m, u);
    }
    for (size_t i = 0; i < u->message_count; i++) {
        CHECK(u->messages[i].type != RAFT_MSG_SNAPSHOT && u->messages[i].to != m->id);
        bed_packet_add(m->bed, &u->messages[i]);
    }
    for (size_t i = 0; i < u->image_count; i++) {
        bed_send_image(m, &u->images[i]);
    }
    for (size_t i = 0; i < u->read_count && m->answer_count < 64; i++) {
        m->answers[m->answer_count++] = u->reads[i];
    }
    if (u->log_read.wanted) {
        CHECK(!m->log_read_out);
        m->log_read_out = true;
        m->log_read_from = u->log_read.from;
        m->log_read_to = u->log_read.to;
        m->log_read_bytes = u->log_read.max_bytes;
    }
    m->installing = m->installing || u->snapshot != NULL;
    m->leader = u->leader;
    m->term = u->term;
    m->vote = u->hard_state.vote;
    m->commit = u->commit;
    m->deadline_ms = u->deadline_ms;
}

void raft_bed_settle(struct raft_bed_member *m)
{
    while (m->raft != NULL && raft_update_pending(m->raft)) {
        const struct raft_update *u = raft_update(m->raft);
        bool begins = u->role == RAFT_LEADER && (m->role != RAFT_LEADER || m->term != u->term);
        bed_write_down(m, u);
        carry_out(m, u);
        m->role = u->role;
        bool more = u->commit_changed;
        raft_update_done(m->raft);
        if (begins) {
            raft_bed_check_leader(m);
        }
        if (more) {
            raft_bed_check_commit(m, m->commit);
        }
        if (!m->bed->apply_by_hand) {
            raft_bed_apply(m, m->commit);
        }
    }
}

/* --- all together --- */

void raft_bed_pass(struct raft_bed_member *m, uint64_t ms)
{
    m->now_ms += ms;
    if (m->raft != NULL) {
        raft_tick(m->raft, m->now_ms);
    }
}

void raft_bed_tick(struct raft_bed *bed, uint64_t ms)
{
    for (size_t i = 0; i < bed->member_count; i++) {
        raft_bed_pass(&bed->members[i], ms);
    }
}

static bool move(struct raft_bed *bed)
{
    bool any = false;
    for (size_t i = 0; i < bed->member_count; i++) {
        struct raft_bed_member *m = &bed->members[i];
        if (m->raft == NULL) {
            continue;
        }
        raft_bed_settle(m);
        any |= raft_bed_disk(m, SIZE_MAX);
        any |= raft_bed_log_read(m);
        any |= raft_bed_install(m, true);
        raft_bed_settle(m);
    }
    for (size_t n = bed->packet_count; n > 0; n--) {
        raft_bed_deliver(bed, 0);
        any = true;
    }
    return any;
}

void raft_bed_quiesce(struct raft_bed *bed)
{
    while (move(bed)) {
    }
}

struct raft_bed_member *raft_bed_elect(struct raft_bed *bed, uint64_t within_ms)
{
    for (uint64_t t = 0; t <= within_ms; t += 10) {
        raft_bed_quiesce(bed);
        for (size_t i = 0; i < bed->member_count; i++) {
            if (bed->members[i].raft != NULL && bed->members[i].role == RAFT_LEADER) {
                return &bed->members[i];
            }
        }
        raft_bed_tick(bed, 10);
    }
    return NULL;
}

int raft_bed_propose(struct raft_bed_member *m, const char *text, struct raft_position *at)
{
    struct shared *data = text == NULL ? NULL : shared_copy(bytes_str(text));
    int error = raft_propose(m->raft, RAFT_ENTRY_NORMAL, data, at);
    shared_unref(data);
    return error;
}

int raft_bed_propose_change(struct raft_bed_member *m, const struct raft_conf_change_v2 *change, bool v2)
{
    struct buffer b = {0};
    struct raft_position at;
    if (v2) {
        raft_conf_change_v2_encode(&b, change);
    } else {
        const struct raft_conf_change v1 = {.type = change->changes[0].type, .node_id = change->changes[0].node_id};
        raft_conf_change_encode(&b, &v1);
    }
    struct shared *data = shared_copy(buffer_bytes(&b));
    int error = raft_propose(m->raft, v2 ? RAFT_ENTRY_CONF_CHANGE_V2 : RAFT_ENTRY_CONF_CHANGE, data, &at);
    shared_unref(data);
    buffer_free(&b);
    return error;
}

#include "tests/support/raft_bed.h"
#include "base/check.h"
#include "base/error.h"
#include "raft/codec.h"
#include <inttypes.h>
#include <stdlib.h>

struct raft_bed *raft_bed_new(uint64_t seed)
{
    struct raft_bed *bed = mem_zalloc(sizeof *bed);
    bed->seed = seed;
    raft_bed_truth_new(bed);
    return bed;
}

static void store_copy(struct raft_bed_store *to, const struct raft_bed_store *from)
{
    raft_conf_state_free(&to->conf);
    *to = *from;
    raft_conf_state_copy(&to->conf, &from->conf);
}

static void log_append(struct raft_bed_member *m, const struct raft_entry *e);

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
            log_append(m, &e);
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

void raft_bed_log_append(struct raft_bed_member *m, uint64_t term)
{
    const struct raft_entry e = {.index = m->start.index + m->log_count + 1, .term = term};
    log_append(m, &e);
    m->state.term = m->state.term > term ? m->state.term : term;
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

/* --- the disk --- */

static void log_cut(struct raft_bed_member *m, size_t count)
{
    while (m->log_count > count) {
        shared_unref(m->log[--m->log_count].data);
    }
}

static void log_append(struct raft_bed_member *m, const struct raft_entry *e)
{
    CHECK(e->index > m->start.index && e->index <= m->start.index + m->log_count + 1);
    log_cut(m, (size_t)(e->index - m->start.index - 1));
    if (m->log_count == m->log_capacity) {
        m->log_capacity = m->log_capacity * 2 + 64;
        m->log = mem_realloc(m->log, m->log_capacity * sizeof *m->log);
    }
    m->log[m->log_count] = *e;
    if (e->data != NULL) {
        shared_ref(e->data);
    }
    m->log_count++;
}

/* The log begins after `start`. What there is above it stays, be it an image's left-overs. */
static void log_begin(struct raft_bed_member *m, struct raft_position start)
{
    size_t drop = (size_t)(start.index - m->start.index);
    drop = drop < m->log_count ? drop : m->log_count;
    for (size_t i = 0; i < drop; i++) {
        shared_unref(m->log[i].data);
    }
    m->log_count -= drop;
    if (m->log_count > 0) {
        memmove(m->log, m->log + drop, m->log_count * sizeof *m->log);
    }
    m->start = start;
}

static void job_start(struct raft_bed_member *m, const struct raft_update *u)
{
    struct raft_bed_job *job = mem_zalloc(sizeof *job);
    job->count = u->append_count;
    job->entries = mem_alloc((job->count + 1) * sizeof *job->entries);
    for (size_t i = 0; i < job->count; i++) {
        job->entries[i] = u->append[i];
        if (job->entries[i].data != NULL) {
            shared_ref(job->entries[i].data);
        }
    }
    job->state = u->hard_state;
    job->has_state = u->hard_state_changed;
    job->must_sync = u->must_sync;
    job->save = u->save;
    *m->jobs_tail = job;
    m->jobs_tail = &job->next;
}

static void job_end(struct raft_bed_member *m, bool written)
{
    struct raft_bed_job *job = m->jobs;
    m->jobs = job->next;
    if (m->jobs == NULL) {
        m->jobs_tail = &m->jobs;
    }
    for (size_t i = 0; i < job->count; i++) {
        if (written) {
            log_append(m, &job->entries[i]);
        }
        shared_unref(job->entries[i].data);
    }
    if (written && job->has_state) {
        m->state = job->state;
    }
    free(job->entries);
    free(job);
}

size_t raft_bed_jobs(const struct raft_bed_member *m)
{
    size_t n = 0;
    for (const struct raft_bed_job *job = m->jobs; job != NULL; job = job->next) {
        n++;
    }
    return n;
}

bool raft_bed_disk(struct raft_bed_member *m, size_t jobs)
{
    bool any = false;
    for (; jobs > 0 && m->jobs != NULL; jobs--) {
        struct raft_save save = m->jobs->save;
        bool sync = m->jobs->must_sync;
        job_end(m, true);
        any = true;
        if (sync) {
            raft_durable(m->raft, save);
        }
    }
    return any;
}

bool raft_bed_log_read(struct raft_bed_member *m)
{
    if (!m->log_read_out) {
        return false;
    }
    m->log_read_out = false;
    uint64_t from = m->log_read_from, last = m->start.index + m->log_count;
    if (from <= m->start.index || from > last) {
        raft_log_entries(m->raft, from, NULL, 0, ERR_ABSENT);
        return true;
    }
    const struct raft_entry *entries = &m->log[from - m->start.index - 1];
    size_t count = 1, bytes = raft_entry_bytes(entries);
    while (from + count <= m->log_read_to && from + count <= last &&
           bytes + raft_entry_bytes(&entries[count]) <= m->log_read_bytes) {
        bytes += raft_entry_bytes(&entries[count++]);
    }
    raft_log_entries(m->raft, from, entries, count, 0);
    return true;
}

void raft_bed_store(struct raft_bed_member *m)
{
    if (m->raft == NULL || raft_status(m->raft).durable_index < m->applied) {
        return;
    }
    struct raft_bed_store now = {.applied = m->applied, .hash = m->hash, .conf = m->conf};
    store_copy(&m->store, &now);
}

void raft_bed_compact(struct raft_bed_member *m, uint64_t index)
{
    if (m->raft == NULL || index > m->store.applied || index <= m->start.index) {
        return;
    }
    uint64_t durable = m->start.index + m->log_count;
    if (index > durable) {
        return;
    }
    size_t drop = (size_t)(index - m->start.index);
    struct raft_position start = {.index = index, .term = m->log[drop - 1].term};
    log_begin(m, start);
    raft_compact(m->raft, index);
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
        job_end(m, keep > 0);
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
        log_cut(m, 0);
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

/* --- packets --- */

static struct raft_bed_packet *packet_add(struct raft_bed *bed, const struct raft_message *message)
{
    if (bed->packet_count == bed->packet_capacity) {
        bed->packet_capacity = bed->packet_capacity * 2 + 16;
        bed->packets = mem_realloc(bed->packets, bed->packet_capacity * sizeof(struct raft_bed_packet *));
    }
    struct raft_bed_packet *p = mem_zalloc(sizeof *p);
    raft_message_copy(&p->message, &p->owner, message);
    bed->packets[bed->packet_count++] = p;
    return p;
}

static struct raft_bed_packet *packet_take(struct raft_bed *bed, size_t at)
{
    struct raft_bed_packet *p = bed->packets[at];
    bed->packet_count--;
    memmove(bed->packets + at, bed->packets + at + 1, (bed->packet_count - at) * sizeof(struct raft_bed_packet *));
    return p;
}

static void packet_free(struct raft_bed_packet *p)
{
    raft_message_owner_free(&p->owner);
    raft_conf_state_free(&p->image.conf);
    free(p);
}

static void report_image(struct raft_bed *bed, const struct raft_message *m, bool taken)
{
    struct raft_bed_member *from = raft_bed_find(bed, m->from);
    if (m->type == RAFT_MSG_SNAPSHOT && from != NULL && from->raft != NULL) {
        raft_snapshot_reported(from->raft, m->to, taken);
    }
}

void raft_bed_deliver(struct raft_bed *bed, size_t at)
{
    struct raft_bed_packet *p = packet_take(bed, at);
    struct raft_bed_member *to = raft_bed_find(bed, p->message.to);
    bool up = to != NULL && to->raft != NULL;
    if (up) {
        bool busy = to->installing;
        if (p->message.type == RAFT_MSG_SNAPSHOT && !busy) {
            store_copy(&to->install, &p->image);
            to->install_term = p->message.snapshot.term;
        }
        raft_step(to->raft, &p->message);
    }
    report_image(bed, &p->message, up);
    packet_free(p);
}

void raft_bed_drop(struct raft_bed *bed, size_t at)
{
    struct raft_bed_packet *p = packet_take(bed, at);
    report_image(bed, &p->message, false);
    packet_free(p);
}

void raft_bed_copy(struct raft_bed *bed, size_t at)
{
    if (bed->packets[at]->message.type != RAFT_MSG_SNAPSHOT) {
        packet_add(bed, &bed->packets[at]->message);
    }
}

/* An image is of the sender's state machine as it is now, which is at least what raft asked for. */
static void send_image(struct raft_bed_member *m, const struct raft_message *wish)
{
    CHECK(m->applied >= wish->snapshot.index);
    struct raft_message message = *wish;
    struct raft_bed_store now = {.applied = m->applied, .hash = m->hash, .conf = m->conf};
    message.snapshot = (struct raft_position){.index = m->applied, .term = raft_term_at(m->raft, m->applied)};
    message.snapshot_conf = &m->conf;
    store_copy(&packet_add(m->bed, &message)->image, &now);
}

bool raft_bed_install(struct raft_bed_member *m, bool good)
{
    if (!m->installing) {
        return false;
    }
    raft_bed_disk(m, SIZE_MAX);
    m->installing = false;
    if (!good) {
        raft_snapshot_failed(m->raft);
        return true;
    }
    log_begin(m, (struct raft_position){.index = m->install.applied, .term = m->install_term});
    store_copy(&m->store, &m->install);
    m->applied = m->store.applied;
    m->hash = m->store.hash;
    raft_conf_state_free(&m->conf);
    raft_conf_state_copy(&m->conf, &m->store.conf);
    raft_snapshot_done(m->raft, m->start, &m->conf);
    return true;
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

static void write_down(struct raft_bed_member *m, const struct raft_update *u)
{
    struct buffer *t = m->bed->text;
    if (t == NULL) {
        return;
    }
    if (u->soft_changed) {
        buffer_printf(t, "%" PRIx64 ": %s in term %" PRIu64, m->id, raft_role_name(u->role), u->term);
        if (u->leader != RAFT_NONE && u->leader != m->id) {
            buffer_printf(t, ", leader %" PRIx64, u->leader);
        }
        buffer_printf(t, "\n");
    }
    if (u->append_count > 0) {
        const struct raft_entry *first = &u->append[0], *last = &u->append[u->append_count - 1];
        buffer_printf(t, "%" PRIx64 ": saves %" PRIu64 "/%" PRIu64, m->id, first->index, first->term);
        if (last != first) {
            buffer_printf(t, "..%" PRIu64 "/%" PRIu64, last->index, last->term);
        }
        buffer_printf(t, "\n");
    }
    if (u->hard_state_changed && (u->hard_state.term != m->term || u->hard_state.vote != m->vote)) {
        buffer_printf(t, "%" PRIx64 ": saves term %" PRIu64 " vote %" PRIx64 "\n", m->id, u->hard_state.term,
                      u->hard_state.vote);
    }
    if (u->commit_changed) {
        buffer_printf(t, "%" PRIx64 ": commit %" PRIu64 "\n", m->id, u->commit);
    }
    for (size_t i = 0; i < u->message_count; i++) {
        raft_bed_describe(t, &u->messages[i]);
    }
    for (size_t i = 0; i < u->image_count; i++) {
        raft_bed_describe(t, &u->images[i]);
    }
    for (size_t i = 0; i < u->read_count; i++) {
        if (u->reads[i].error == 0) {
            buffer_printf(t, "%" PRIx64 ": read %" PRIu64 " at %" PRIu64 "\n", m->id, u->reads[i].context,
                          u->reads[i].index);
        } else {
            buffer_printf(t, "%" PRIx64 ": read %" PRIu64 " again\n", m->id, u->reads[i].context);
        }
    }
    if (u->log_read.wanted) {
        buffer_printf(t, "%" PRIx64 ": log read %" PRIu64 "..%" PRIu64 "\n", m->id, u->log_read.from, u->log_read.to);
    }
    if (u->snapshot != NULL) {
        buffer_printf(t, "%" PRIx64 ": installs an image at %" PRIu64 "/%" PRIu64 "\n", m->id,
                      u->snapshot->snapshot.index, u->snapshot->snapshot.term);
    }
}

static void carry_out(struct raft_bed_member *m, const struct raft_update *u)
{
    if (u->append_count > 0 || u->hard_state_changed) {
        job_start(m, u);
    }
    for (size_t i = 0; i < u->message_count; i++) {
        CHECK(u->messages[i].type != RAFT_MSG_SNAPSHOT && u->messages[i].to != m->id);
        packet_add(m->bed, &u->messages[i]);
    }
    for (size_t i = 0; i < u->image_count; i++) {
        send_image(m, &u->images[i]);
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
        write_down(m, u);
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

#include "base/error.h"
#include "tests/support/raft_dialogue_impl.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static void split(struct words *w, const char *line)
{
    *w = (struct words){0};
    snprintf(w->text, sizeof w->text, "%s", line);
    for (char *save = NULL, *word = strtok_r(w->text, " ", &save); word != NULL && w->count < WORDS_MAX;
         word = strtok_r(NULL, " ", &save)) {
        w->list[w->count++] = word;
    }
}

const char *words_next(struct words *w)
{
    return w->at < w->count ? w->list[w->at++] : "";
}

bool words_next_is(struct words *w, const char *word)
{
    bool is = w->at < w->count && strcmp(w->list[w->at], word) == 0;
    w->at += is;
    return is;
}

bool words_next_id(struct words *w, uint64_t *number)
{
    char *end;
    if (w->at == w->count) {
        return false;
    }
    *number = strtoull(w->list[w->at], &end, 16);
    bool is = *end == '\0' && end != w->list[w->at];
    w->at += is;
    return is;
}

uint64_t words_number(struct words *w, uint64_t otherwise)
{
    return w->at < w->count ? strtoull(words_next(w), NULL, 10) : otherwise;
}

struct raft_bed_member *dialogue_member(struct raft_dialogue *d, struct words *w, struct buffer *out)
{
    uint64_t id = 0;
    struct raft_bed_member *m = words_next_id(w, &id) && d->bed != NULL ? raft_bed_find(d->bed, id) : NULL;
    if (m == NULL) {
        buffer_printf(out, "no member %" PRIx64 "\n", id);
    }
    return m;
}

/* --- what follows from a command --- */

void dialogue_settle(struct raft_dialogue *d, struct raft_bed_member *m)
{
    raft_bed_settle(m);
    while (m->raft != NULL && !d->slow_disks && (raft_bed_disk(m, 1) || raft_bed_log_read(m))) {
        raft_bed_settle(m);
    }
}

/* --- clusters --- */

void words_ids(struct words *w, struct raft_ids *ids)
{
    for (uint64_t id; words_next_id(w, &id);) {
        raft_ids_add(ids, id);
    }
}

/* cluster 1 2 3 [learners 4] [no-pre-vote] [memory BYTES] [notice MS] */
static void cluster(struct raft_dialogue *d, struct words *w, struct buffer *out)
{
    (void)out;
    struct raft_conf_state conf = {0};
    bool pre_vote = true;
    size_t memory = 0;
    uint32_t notice_ms = 0;
    raft_dialogue_end(d);
    d->bed = raft_bed_new(1);
    words_ids(w, &conf.voters);
    while (w->at < w->count) {
        if (words_next_is(w, "learners")) {
            words_ids(w, &conf.learners);
        } else if (words_next_is(w, "no-pre-vote")) {
            pre_vote = false;
        } else if (words_next_is(w, "memory")) {
            memory = words_number(w, 0);
        } else if (words_next_is(w, "notice")) {
            notice_ms = (uint32_t)words_number(w, 0);
        } else {
            w->at++;
        }
    }
    for (uint64_t id = 1; id < RAFT_BED_MEMBERS; id++) {
        if (raft_ids_has(&conf.voters, id) || raft_ids_has(&conf.learners, id)) {
            struct raft_bed_member *m = raft_bed_add_plain(d->bed, id, &conf);
            m->config.pre_vote = pre_vote;
            m->config.log_bytes = memory;
            m->config.notice_ms = notice_ms;
        }
    }
    d->conf = conf;
}

/* join 4: a member with an empty disk, started */
static void join(struct raft_dialogue *d, struct words *w, struct buffer *out)
{
    (void)out;
    uint64_t id;
    while (words_next_id(w, &id)) {
        struct raft_bed_member *m = raft_bed_add_plain(d->bed, id, &d->conf);
        raft_bed_start(m);
        dialogue_settle(d, m);
    }
}

/* start [1 2 …] (all that don't run) */
static void start(struct raft_dialogue *d, struct words *w, struct buffer *out)
{
    (void)out;
    struct raft_ids ids = {0};
    words_ids(w, &ids);
    for (size_t i = 0; i < d->bed->member_count; i++) {
        struct raft_bed_member *m = &d->bed->members[i];
        if (m->raft == NULL && (ids.count == 0 || raft_ids_has(&ids, m->id))) {
            raft_bed_start(m);
            dialogue_settle(d, m);
        }
    }
    free(ids.ids);
}

/* crash 1 [keeping JOBS] */
static void crash(struct raft_dialogue *d, struct words *w, struct buffer *out)
{
    struct raft_bed_member *m = dialogue_member(d, w, out);
    if (m != NULL) {
        raft_bed_crash(m, words_next_is(w, "keeping") ? words_number(w, 0) : 0);
    }
}

/* disk-of 1 terms 1 1 2 [term T] [vote V] [commit C]: what is on the disk of a member that doesn't run */
static void disk_of(struct raft_dialogue *d, struct words *w, struct buffer *out)
{
    struct raft_bed_member *m = dialogue_member(d, w, out);
    uint64_t term;
    if (m == NULL) {
        return;
    }
    words_next_is(w, "terms");
    while (words_next_id(w, &term)) {
        raft_bed_log_append(m, term);
    }
    while (w->at < w->count) {
        if (words_next_is(w, "term")) {
            m->state.term = words_number(w, 0);
        } else if (words_next_is(w, "vote")) {
            m->state.vote = words_number(w, 0);
        } else if (words_next_is(w, "commit")) {
            m->state.commit = words_number(w, 0);
        } else {
            w->at++;
        }
    }
}

/* --- time --- */

enum { STEP_MS = 10 };

/* pass MS [1 2 …]: time passes for these, or for all */
static void pass(struct raft_dialogue *d, struct words *w, struct buffer *out)
{
    (void)out;
    uint64_t ms = words_number(w, 0);
    struct raft_ids ids = {0};
    words_ids(w, &ids);
    for (uint64_t t = 0; t < ms; t += STEP_MS) {
        for (size_t i = 0; i < d->bed->member_count; i++) {
            struct raft_bed_member *m = &d->bed->members[i];
            if (ids.count == 0 || raft_ids_has(&ids, m->id)) {
                raft_bed_pass(m, ms - t < STEP_MS ? ms - t : STEP_MS);
                dialogue_settle(d, m);
            }
        }
    }
    free(ids.ids);
}

/* pause 1 MS: the member gets no time to run, then all at once */
static void pause_member(struct raft_dialogue *d, struct words *w, struct buffer *out)
{
    struct raft_bed_member *m = dialogue_member(d, w, out);
    if (m != NULL) {
        raft_bed_pass(m, words_number(w, 0));
        dialogue_settle(d, m);
    }
}

/* expire 1: its time passes until it does something else than wait */
static void expire(struct raft_dialogue *d, struct words *w, struct buffer *out)
{
    struct raft_bed_member *m = dialogue_member(d, w, out);
    enum raft_role before = m == NULL ? RAFT_FOLLOWER : m->role;
    for (int t = 0; m != NULL && t < 4000 && m->role == before; t += STEP_MS) {
        raft_bed_pass(m, STEP_MS);
        dialogue_settle(d, m);
    }
}

/* --- requests --- */

static const char *error_word(int error)
{
    return error == 0 ? "ok" : error_name(error);
}

/* propose 1 [COUNT [BYTES]] */
static void propose(struct raft_dialogue *d, struct words *w, struct buffer *out)
{
    struct raft_bed_member *m = dialogue_member(d, w, out);
    uint64_t count = words_number(w, 1), bytes = words_number(w, 1);
    for (uint64_t i = 0; m != NULL && i < count; i++) {
        struct raft_position at;
        struct shared *data = shared_new(bytes);
        memset(data->data, 'x', bytes);
        int error = raft_propose(m->raft, RAFT_ENTRY_NORMAL, data, &at);
        shared_unref(data);
        if (error != 0) {
            buffer_printf(out, "%" PRIx64 ": %s\n", m->id, error_word(error));
            break;
        }
    }
    if (m != NULL) {
        dialogue_settle(d, m);
    }
}

/* change 1 [v2] [auto|implicit|explicit] [add 4] [learner 5] [remove 2] … */
static void change(struct raft_dialogue *d, struct words *w, struct buffer *out)
{
    struct raft_bed_member *m = dialogue_member(d, w, out);
    struct raft_conf_change_v2 c = {0};
    bool v2 = false;
    while (w->at < w->count && c.change_count < RAFT_CHANGES_MAX) {
        const char *word = words_next(w);
        if (strcmp(word, "v2") == 0 || strcmp(word, "auto") == 0) {
            v2 = true;
        } else if (strcmp(word, "implicit") == 0) {
            c.transition = RAFT_TRANSITION_IMPLICIT;
        } else if (strcmp(word, "explicit") == 0) {
            c.transition = RAFT_TRANSITION_EXPLICIT;
        } else {
            c.changes[c.change_count].type = strcmp(word, "add") == 0       ? RAFT_ADD_NODE
                                             : strcmp(word, "learner") == 0 ? RAFT_ADD_LEARNER
                                             : strcmp(word, "remove") == 0  ? RAFT_REMOVE_NODE
                                                                            : RAFT_UPDATE_NODE;
            c.changes[c.change_count++].node_id = words_number(w, 0);
        }
    }
    v2 |= c.transition != RAFT_TRANSITION_AUTO || c.change_count != 1;
    if (m != NULL) {
        int error = raft_bed_propose_change(m, &c, v2);
        if (error != 0) {
            buffer_printf(out, "%" PRIx64 ": %s\n", m->id, error_word(error));
        }
        dialogue_settle(d, m);
    }
}

/* read 1 [CONTEXT] */
static void read_index(struct raft_dialogue *d, struct words *w, struct buffer *out)
{
    struct raft_bed_member *m = dialogue_member(d, w, out);
    if (m != NULL) {
        raft_read_index(m->raft, words_number(w, ++d->contexts));
        dialogue_settle(d, m);
    }
}

/* transfer 1 2: member 1 is asked to hand over to 2 */
static void transfer(struct raft_dialogue *d, struct words *w, struct buffer *out)
{
    struct raft_bed_member *m = dialogue_member(d, w, out);
    if (m != NULL) {
        int error = raft_transfer(m->raft, words_number(w, 0));
        if (error != 0) {
            buffer_printf(out, "%" PRIx64 ": %s\n", m->id, error_word(error));
        }
        dialogue_settle(d, m);
    }
}

/* --- disks --- */

/* disks slow | fast */
static void disks(struct raft_dialogue *d, struct words *w, struct buffer *out)
{
    (void)out;
    d->slow_disks = words_next_is(w, "slow");
    for (size_t i = 0; i < d->bed->member_count; i++) {
        dialogue_settle(d, &d->bed->members[i]);
    }
}

/* applies slow | fast: slow: what is committed waits for `apply` */
static void applies(struct raft_dialogue *d, struct words *w, struct buffer *out)
{
    (void)out;
    d->bed->apply_by_hand = words_next_is(w, "slow");
}

/* apply 1 */
static void apply(struct raft_dialogue *d, struct words *w, struct buffer *out)
{
    struct raft_bed_member *m = dialogue_member(d, w, out);
    if (m != NULL) {
        raft_bed_apply(m, UINT64_MAX);
        dialogue_settle(d, m);
    }
}

/* disk 1 [JOBS] */
static void disk(struct raft_dialogue *d, struct words *w, struct buffer *out)
{
    struct raft_bed_member *m = dialogue_member(d, w, out);
    if (m != NULL) {
        raft_bed_disk(m, words_number(w, SIZE_MAX));
        raft_bed_log_read(m);
        dialogue_settle(d, m);
    }
}

/* compact 1 INDEX: its state machine is stored, its log begins after index */
static void compact(struct raft_dialogue *d, struct words *w, struct buffer *out)
{
    struct raft_bed_member *m = dialogue_member(d, w, out);
    if (m != NULL) {
        raft_bed_store(m);
        raft_bed_compact(m, words_number(w, 0));
        dialogue_settle(d, m);
    }
}

/* install 1 [badly] */
static void install(struct raft_dialogue *d, struct words *w, struct buffer *out)
{
    struct raft_bed_member *m = dialogue_member(d, w, out);
    if (m != NULL) {
        raft_bed_install(m, !words_next_is(w, "badly"));
        dialogue_settle(d, m);
    }
}

/* --- questions --- */

static void status(struct raft_dialogue *d, struct words *w, struct buffer *out)
{
    for (size_t i = 0; i < d->bed->member_count; i++) {
        struct raft_bed_member *m = &d->bed->members[i];
        uint64_t only = 0;
        size_t at = w->at;
        bool asked = words_next_id(w, &only);
        w->at = at;
        if (m->raft == NULL || (asked && m->id != only)) {
            continue;
        }
        struct raft_status s = raft_status(m->raft);
        buffer_printf(out,
                      "%" PRIx64 ": %s, term %" PRIu64 ", vote %" PRIx64 ", leader %" PRIx64 ", log %" PRIu64
                      ", durable %" PRIu64 ", commit %" PRIu64 "\n",
                      m->id, raft_role_name(s.role), s.term, s.vote, s.leader, s.last_index, s.durable_index, s.commit);
    }
}

static void progress(struct raft_dialogue *d, struct words *w, struct buffer *out)
{
    static const char *const states[] = {"probe", "replicate", "snapshot"};
    struct raft_bed_member *m = dialogue_member(d, w, out);
    for (size_t i = 0; m != NULL && i < d->bed->member_count; i++) {
        struct raft_progress p;
        if (raft_progress(m->raft, d->bed->members[i].id, &p)) {
            buffer_printf(out, "%" PRIx64 ": %s match %" PRIu64 " next %" PRIu64 "%s%s\n", p.id, states[p.state],
                          p.match, p.next, p.learner ? " learner" : "", p.active ? "" : " silent");
        }
    }
}

/* log [1]: the terms of all entries, in memory */
static void show_log(struct raft_dialogue *d, struct words *w, struct buffer *out)
{
    uint64_t only = 0;
    bool asked = words_next_id(w, &only);
    for (size_t i = 0; i < d->bed->member_count; i++) {
        struct raft_bed_member *m = &d->bed->members[i];
        if (m->raft == NULL || (asked && m->id != only)) {
            continue;
        }
        buffer_printf(out, "%" PRIx64 ": log from %" PRIu64 ":", m->id, raft_first_index(m->raft));
        for (uint64_t k = raft_first_index(m->raft); k <= raft_last_index(m->raft); k++) {
            buffer_printf(out, " %" PRIu64, raft_term_at(m->raft, k));
        }
        buffer_printf(out, "\n");
    }
}

/* members 1: as applied so far */
static void show_members(struct raft_dialogue *d, struct words *w, struct buffer *out)
{
    struct raft_bed_member *m = dialogue_member(d, w, out);
    if (m != NULL) {
        raft_bed_describe_conf(out, raft_conf(m->raft));
        buffer_printf(out, "\n");
    }
}

/* --- the table --- */

static const struct {
    const char *name;
    void (*run)(struct raft_dialogue *d, struct words *w, struct buffer *out);
} commands[] = {
    {"cluster", cluster},
    {"join", join},
    {"start", start},
    {"crash", crash},
    {"disk-of", disk_of},
    {"pass", pass},
    {"pause", pause_member},
    {"expire", expire},
    {"deliver", dialogue_deliver},
    {"drop", dialogue_drop},
    {"duplicate", dialogue_duplicate},
    {"run", dialogue_run},
    {"cut", dialogue_cut},
    {"mend", dialogue_mend},
    {"step", dialogue_step},
    {"unreachable", dialogue_unreachable},
    {"propose", propose},
    {"change", change},
    {"read", read_index},
    {"transfer", transfer},
    {"disks", disks},
    {"disk", disk},
    {"compact", compact},
    {"install", install},
    {"status", status},
    {"progress", progress},
    {"applies", applies},
    {"apply", apply},
    {"log", show_log},
    {"members", show_members},
};

/* A line that begins with `quietly` says nothing; with `repeat N` it is carried out so often. */
bool raft_dialogue_command(struct raft_dialogue *d, const char *line, struct buffer *out)
{
    struct words w;
    split(&w, line);
    bool quietly = words_next_is(&w, "quietly");
    uint64_t times = words_next_is(&w, "repeat") ? words_number(&w, 1) : 1;
    const char *name = words_next(&w);
    size_t first = w.at;
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        if (strcmp(commands[i].name, name) != 0) {
            continue;
        }
        if (d->bed == NULL && commands[i].run != cluster) {
            return false;
        }
        struct buffer unheard = {0};
        struct buffer *to = quietly ? &unheard : out;
        if (d->bed != NULL) {
            d->bed->text = to;
        }
        for (; times > 0; times--) {
            w.at = first;
            commands[i].run(d, &w, to);
        }
        d->bed->text = NULL;
        buffer_free(&unheard);
        return true;
    }
    return false;
}

void raft_dialogue_end(struct raft_dialogue *d)
{
    if (d->bed != NULL) {
        raft_bed_free(d->bed);
    }
    raft_conf_state_free(&d->conf);
    *d = (struct raft_dialogue){0};
}

#include "tests/support/raft_dialogue.h"
#include "base/error.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { WORDS_MAX = 48 };

struct words {
    char text[512];
    const char *list[WORDS_MAX];
    size_t count, at;
};

static void split(struct words *w, const char *line)
{
    *w = (struct words){0};
    snprintf(w->text, sizeof w->text, "%s", line);
    for (char *save = NULL, *word = strtok_r(w->text, " ", &save); word != NULL && w->count < WORDS_MAX;
         word = strtok_r(NULL, " ", &save)) {
        w->list[w->count++] = word;
    }
}

static const char *next(struct words *w)
{
    return w->at < w->count ? w->list[w->at++] : "";
}

static bool next_is(struct words *w, const char *word)
{
    bool is = w->at < w->count && strcmp(w->list[w->at], word) == 0;
    w->at += is;
    return is;
}

static bool next_number(struct words *w, uint64_t *number)
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

static uint64_t number(struct words *w, uint64_t otherwise)
{
    return w->at < w->count ? strtoull(next(w), NULL, 10) : otherwise;
}

static struct raft_bed_member *member(struct raft_dialogue *d, struct words *w, struct buffer *out)
{
    uint64_t id = 0;
    struct raft_bed_member *m = next_number(w, &id) && d->bed != NULL ? raft_bed_find(d->bed, id) : NULL;
    if (m == NULL) {
        buffer_printf(out, "no member %" PRIx64 "\n", id);
    }
    return m;
}

/* --- what follows from a command --- */

static void settle(struct raft_dialogue *d, struct raft_bed_member *m)
{
    raft_bed_settle(m);
    while (m->raft != NULL && !d->slow_disks && (raft_bed_disk(m, 1) || raft_bed_log_read(m))) {
        raft_bed_settle(m);
    }
}

/* --- clusters --- */

static void read_ids(struct words *w, struct raft_ids *ids)
{
    for (uint64_t id; next_number(w, &id);) {
        raft_ids_add(ids, id);
    }
}

/* cluster 1 2 3 [learners 4] [no-pre-vote] [memory BYTES] */
static void cluster(struct raft_dialogue *d, struct words *w, struct buffer *out)
{
    (void)out;
    struct raft_conf_state conf = {0};
    bool pre_vote = true;
    size_t memory = 0;
    raft_dialogue_end(d);
    d->bed = raft_bed_new(1);
    read_ids(w, &conf.voters);
    while (w->at < w->count) {
        if (next_is(w, "learners")) {
            read_ids(w, &conf.learners);
        } else if (next_is(w, "no-pre-vote")) {
            pre_vote = false;
        } else if (next_is(w, "memory")) {
            memory = number(w, 0);
        } else {
            w->at++;
        }
    }
    for (uint64_t id = 1; id < RAFT_BED_MEMBERS; id++) {
        if (raft_ids_has(&conf.voters, id) || raft_ids_has(&conf.learners, id)) {
            struct raft_bed_member *m = raft_bed_add_plain(d->bed, id, &conf);
            m->config.pre_vote = pre_vote;
            m->config.log_bytes = memory;
        }
    }
    d->conf = conf;
}

/* join 4: a member with an empty disk, started */
static void join(struct raft_dialogue *d, struct words *w, struct buffer *out)
{
    (void)out;
    uint64_t id;
    while (next_number(w, &id)) {
        struct raft_bed_member *m = raft_bed_add_plain(d->bed, id, &d->conf);
        raft_bed_start(m);
        settle(d, m);
    }
}

/* start [1 2 …] (all that don't run) */
static void start(struct raft_dialogue *d, struct words *w, struct buffer *out)
{
    (void)out;
    struct raft_ids ids = {0};
    read_ids(w, &ids);
    for (size_t i = 0; i < d->bed->member_count; i++) {
        struct raft_bed_member *m = &d->bed->members[i];
        if (m->raft == NULL && (ids.count == 0 || raft_ids_has(&ids, m->id))) {
            raft_bed_start(m);
            settle(d, m);
        }
    }
    free(ids.ids);
}

/* crash 1 [keeping JOBS] */
static void crash(struct raft_dialogue *d, struct words *w, struct buffer *out)
{
    struct raft_bed_member *m = member(d, w, out);
    if (m != NULL) {
        raft_bed_crash(m, next_is(w, "keeping") ? number(w, 0) : 0);
    }
}

/* disk-of 1 terms 1 1 2 [term T] [vote V] [commit C]: what is on the disk of a member that doesn't run */
static void disk_of(struct raft_dialogue *d, struct words *w, struct buffer *out)
{
    struct raft_bed_member *m = member(d, w, out);
    uint64_t term;
    if (m == NULL) {
        return;
    }
    next_is(w, "terms");
    while (next_number(w, &term)) {
        raft_bed_log_append(m, term);
    }
    while (w->at < w->count) {
        if (next_is(w, "term")) {
            m->state.term = number(w, 0);
        } else if (next_is(w, "vote")) {
            m->state.vote = number(w, 0);
        } else if (next_is(w, "commit")) {
            m->state.commit = number(w, 0);
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
    uint64_t ms = number(w, 0);
    struct raft_ids ids = {0};
    read_ids(w, &ids);
    for (uint64_t t = 0; t < ms; t += STEP_MS) {
        for (size_t i = 0; i < d->bed->member_count; i++) {
            struct raft_bed_member *m = &d->bed->members[i];
            if (ids.count == 0 || raft_ids_has(&ids, m->id)) {
                raft_bed_pass(m, ms - t < STEP_MS ? ms - t : STEP_MS);
                settle(d, m);
            }
        }
    }
    free(ids.ids);
}

/* pause 1 MS: the member gets no time to run, then all at once */
static void pause_member(struct raft_dialogue *d, struct words *w, struct buffer *out)
{
    struct raft_bed_member *m = member(d, w, out);
    if (m != NULL) {
        raft_bed_pass(m, number(w, 0));
        settle(d, m);
    }
}

/* expire 1: its time passes until it does something else than wait */
static void expire(struct raft_dialogue *d, struct words *w, struct buffer *out)
{
    struct raft_bed_member *m = member(d, w, out);
    enum raft_role before = m == NULL ? RAFT_FOLLOWER : m->role;
    for (int t = 0; m != NULL && t < 4000 && m->role == before; t += STEP_MS) {
        raft_bed_pass(m, STEP_MS);
        settle(d, m);
    }
}

/* --- messages --- */

struct pick {
    uint64_t from, to; /* 0: any */
    const char *type;  /* "": any */
};

/* [1->2] [App] */
static struct pick read_pick(struct words *w)
{
    struct pick p = {.type = ""};
    if (w->at < w->count && strstr(w->list[w->at], "->") != NULL) {
        const char *word = next(w);
        p.from = word[0] == '*' ? 0 : strtoull(word, NULL, 16);
        const char *to = strstr(word, "->") + 2;
        p.to = to[0] == '*' ? 0 : strtoull(to, NULL, 16);
    }
    p.type = next(w);
    return p;
}

static bool picked(const struct pick *p, const struct raft_message *m)
{
    return (p->from == 0 || p->from == m->from) && (p->to == 0 || p->to == m->to) &&
           (p->type[0] == '\0' || strcmp(p->type, raft_message_type_name(m->type) + 3) == 0);
}

/* Delivers what was under way when it began. True: something was. */
static bool deliver_picked(struct raft_dialogue *d, const struct pick *p)
{
    bool any = false;
    for (size_t i = 0, n = d->bed->packet_count; n > 0; n--) {
        const struct raft_message *m = &d->bed->packets[i]->message;
        uint64_t from = m->from, to = m->to;
        if (!picked(p, m)) {
            i++;
            continue;
        }
        any = true;
        if (d->cut[from][to]) {
            raft_bed_drop(d->bed, i);
        } else {
            raft_bed_deliver(d->bed, i);
        }
        for (size_t k = 0; k < d->bed->member_count; k++) { /* an image is reported to its sender */
            struct raft_bed_member *one = &d->bed->members[k];
            if (one->id == to || one->id == from) {
                settle(d, one);
            }
        }
    }
    return any;
}

static void deliver(struct raft_dialogue *d, struct words *w, struct buffer *out)
{
    (void)out;
    struct pick p = read_pick(w);
    deliver_picked(d, &p);
}

static void drop(struct raft_dialogue *d, struct words *w, struct buffer *out)
{
    (void)out;
    struct pick p = read_pick(w);
    for (size_t i = d->bed->packet_count; i > 0; i--) {
        if (picked(&p, &d->bed->packets[i - 1]->message)) {
            raft_bed_drop(d->bed, i - 1);
        }
    }
}

static void duplicate(struct raft_dialogue *d, struct words *w, struct buffer *out)
{
    (void)out;
    struct pick p = read_pick(w);
    for (size_t i = 0, n = d->bed->packet_count; i < n; i++) {
        if (picked(&p, &d->bed->packets[i]->message)) {
            raft_bed_copy(d->bed, i);
        }
    }
}

/* run: messages are delivered, over and over, until there are none */
static void run(struct raft_dialogue *d, struct words *w, struct buffer *out)
{
    (void)out;
    struct pick p = read_pick(w);
    bool more = true;
    while (more) {
        more = deliver_picked(d, &p);
        for (size_t i = 0; i < d->bed->member_count; i++) {
            more |= d->bed->members[i].raft != NULL && raft_bed_install(&d->bed->members[i], true);
            settle(d, &d->bed->members[i]);
        }
    }
}

/* cut 1 2 …: nothing passes between these and the others. mend: everything passes again */
static void cut(struct raft_dialogue *d, struct words *w, struct buffer *out)
{
    (void)out;
    struct raft_ids ids = {0};
    read_ids(w, &ids);
    for (uint64_t a = 1; a <= RAFT_BED_MEMBERS; a++) {
        for (uint64_t b = 1; b <= RAFT_BED_MEMBERS; b++) {
            d->cut[a][b] |= raft_ids_has(&ids, a) != raft_ids_has(&ids, b);
        }
    }
    free(ids.ids);
}

static void mend(struct raft_dialogue *d, struct words *w, struct buffer *out)
{
    (void)w;
    (void)out;
    memset(d->cut, 0, sizeof d->cut);
}

/* step 2->1 AppResp term 2 index 5 [reject] [hint 3] [log-term 1] [commit 2] [entries 4/2 5/2] [context TEXT]
 * [reads N] [at 5/2 voters 1 2]: a message that nobody sent */
static void step(struct raft_dialogue *d, struct words *w, struct buffer *out)
{
    struct pick p = read_pick(w);
    struct raft_bed_member *to = raft_bed_find(d->bed, p.to);
    struct raft_entry entries[16];
    struct raft_conf_state conf = {0};
    struct raft_message m = {.to = p.to, .from = p.from, .entries = entries, .snapshot_conf = &conf};
    for (int type = 0; type < 32; type++) {
        if (raft_message_type_travels(type) && strcmp(p.type, raft_message_type_name(type) + 3) == 0) {
            m.type = (enum raft_message_type)type;
        }
    }
    while (w->at < w->count) {
        if (next_is(w, "term")) {
            m.term = number(w, 0);
        } else if (next_is(w, "to")) {
            m.to = number(w, 0);
        } else if (next_is(w, "index")) {
            m.index = number(w, 0);
        } else if (next_is(w, "log-term")) {
            m.log_term = number(w, 0);
        } else if (next_is(w, "commit")) {
            m.commit = number(w, 0);
        } else if (next_is(w, "hint")) {
            m.reject_hint = number(w, 0);
        } else if (next_is(w, "reads")) {
            m.context_len = 8;
            put_le64(m.context, number(w, 0));
        } else if (next_is(w, "context")) {
            const char *text = next(w);
            m.context_len = (uint8_t)strlen(text);
            memcpy(m.context, text, m.context_len);
        } else if (next_is(w, "entry")) {
            uint64_t index = 0, term = 0;
            sscanf(next(w), "%" SCNu64 "/%" SCNu64, &index, &term);
            entries[m.entry_count++] = (struct raft_entry){.index = index, .term = term};
        } else if (next_is(w, "at")) {
            sscanf(next(w), "%" SCNu64 "/%" SCNu64, &m.snapshot.index, &m.snapshot.term);
        } else if (next_is(w, "voters")) {
            read_ids(w, &conf.voters);
        } else if (next_is(w, "reject")) {
            m.reject = true;
        } else {
            buffer_printf(out, "what is %s?\n", next(w));
        }
    }
    if (to == NULL || to->raft == NULL || m.type == 0) {
        buffer_printf(out, "nobody there, or no such message\n");
    } else {
        raft_step(to->raft, &m);
        settle(d, to);
    }
    raft_conf_state_free(&conf);
}

static void unreachable(struct raft_dialogue *d, struct words *w, struct buffer *out)
{
    struct raft_bed_member *m = member(d, w, out);
    if (m != NULL) {
        raft_unreachable(m->raft, number(w, 0));
        settle(d, m);
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
    struct raft_bed_member *m = member(d, w, out);
    uint64_t count = number(w, 1), bytes = number(w, 1);
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
        settle(d, m);
    }
}

/* change 1 [v2] [auto|implicit|explicit] [add 4] [learner 5] [remove 2] … */
static void change(struct raft_dialogue *d, struct words *w, struct buffer *out)
{
    struct raft_bed_member *m = member(d, w, out);
    struct raft_conf_change_v2 c = {0};
    bool v2 = false;
    while (w->at < w->count && c.change_count < RAFT_CHANGES_MAX) {
        const char *word = next(w);
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
            c.changes[c.change_count++].node_id = number(w, 0);
        }
    }
    v2 |= c.transition != RAFT_TRANSITION_AUTO || c.change_count != 1;
    if (m != NULL) {
        int error = raft_bed_propose_change(m, &c, v2);
        if (error != 0) {
            buffer_printf(out, "%" PRIx64 ": %s\n", m->id, error_word(error));
        }
        settle(d, m);
    }
}

/* read 1 [CONTEXT] */
static void read_index(struct raft_dialogue *d, struct words *w, struct buffer *out)
{
    struct raft_bed_member *m = member(d, w, out);
    if (m != NULL) {
        raft_read_index(m->raft, number(w, ++d->contexts));
        settle(d, m);
    }
}

/* transfer 1 2: member 1 is asked to hand over to 2 */
static void transfer(struct raft_dialogue *d, struct words *w, struct buffer *out)
{
    struct raft_bed_member *m = member(d, w, out);
    if (m != NULL) {
        int error = raft_transfer(m->raft, number(w, 0));
        if (error != 0) {
            buffer_printf(out, "%" PRIx64 ": %s\n", m->id, error_word(error));
        }
        settle(d, m);
    }
}

/* --- disks --- */

/* disks slow | fast */
static void disks(struct raft_dialogue *d, struct words *w, struct buffer *out)
{
    (void)out;
    d->slow_disks = next_is(w, "slow");
    for (size_t i = 0; i < d->bed->member_count; i++) {
        settle(d, &d->bed->members[i]);
    }
}

/* disk 1 [JOBS] */
static void disk(struct raft_dialogue *d, struct words *w, struct buffer *out)
{
    struct raft_bed_member *m = member(d, w, out);
    if (m != NULL) {
        raft_bed_disk(m, number(w, SIZE_MAX));
        raft_bed_log_read(m);
        settle(d, m);
    }
}

/* compact 1 INDEX: its state machine is stored, its log begins after index */
static void compact(struct raft_dialogue *d, struct words *w, struct buffer *out)
{
    struct raft_bed_member *m = member(d, w, out);
    if (m != NULL) {
        raft_bed_store(m);
        raft_bed_compact(m, number(w, 0));
        settle(d, m);
    }
}

/* install 1 [badly] */
static void install(struct raft_dialogue *d, struct words *w, struct buffer *out)
{
    struct raft_bed_member *m = member(d, w, out);
    if (m != NULL) {
        raft_bed_install(m, !next_is(w, "badly"));
        settle(d, m);
    }
}

/* --- questions --- */

static void status(struct raft_dialogue *d, struct words *w, struct buffer *out)
{
    for (size_t i = 0; i < d->bed->member_count; i++) {
        struct raft_bed_member *m = &d->bed->members[i];
        uint64_t only = 0;
        size_t at = w->at;
        bool asked = next_number(w, &only);
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
    struct raft_bed_member *m = member(d, w, out);
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
    bool asked = next_number(w, &only);
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
    struct raft_bed_member *m = member(d, w, out);
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
    {"cluster", cluster}, {"join", join},         {"start", start},         {"crash", crash},
    {"disk-of", disk_of}, {"pass", pass},         {"pause", pause_member},  {"expire", expire},
    {"deliver", deliver}, {"drop", drop},         {"duplicate", duplicate}, {"run", run},
    {"cut", cut},         {"mend", mend},         {"step", step},           {"unreachable", unreachable},
    {"propose", propose}, {"change", change},     {"read", read_index},     {"transfer", transfer},
    {"disks", disks},     {"disk", disk},         {"compact", compact},     {"install", install},
    {"status", status},   {"progress", progress}, {"log", show_log},        {"members", show_members},
};

/* A line that begins with `quietly` says nothing; with `repeat N` it is carried out so often. */
bool raft_dialogue_command(struct raft_dialogue *d, const char *line, struct buffer *out)
{
    struct words w;
    split(&w, line);
    bool quietly = next_is(&w, "quietly");
    uint64_t times = next_is(&w, "repeat") ? number(&w, 1) : 1;
    const char *name = next(&w);
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

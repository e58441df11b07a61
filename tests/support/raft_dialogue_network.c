/* What is under way: delivered, lost, doubled, cut off, or made up. */
#include "tests/support/raft_dialogue_impl.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct pick {
    uint64_t from, to; /* 0: any */
    const char *type;  /* "": any */
};

/* [1->2] [App] */
static struct pick read_pick(struct words *w)
{
    struct pick p = {.type = ""};
    if (w->at < w->count && strstr(w->list[w->at], "->") != NULL) {
        const char *word = words_next(w);
        p.from = word[0] == '*' ? 0 : strtoull(word, NULL, 16);
        const char *to = strstr(word, "->") + 2;
        p.to = to[0] == '*' ? 0 : strtoull(to, NULL, 16);
    }
    p.type = words_next(w);
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
                dialogue_settle(d, one);
            }
        }
    }
    return any;
}

void dialogue_deliver(struct raft_dialogue *d, struct words *w, struct buffer *out)
{
    (void)out;
    struct pick p = read_pick(w);
    deliver_picked(d, &p);
}

void dialogue_drop(struct raft_dialogue *d, struct words *w, struct buffer *out)
{
    (void)out;
    struct pick p = read_pick(w);
    for (size_t i = d->bed->packet_count; i > 0; i--) {
        if (picked(&p, &d->bed->packets[i - 1]->message)) {
            raft_bed_drop(d->bed, i - 1);
        }
    }
}

void dialogue_duplicate(struct raft_dialogue *d, struct words *w, struct buffer *out)
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
void dialogue_run(struct raft_dialogue *d, struct words *w, struct buffer *out)
{
    (void)out;
    struct pick p = read_pick(w);
    bool more = true;
    while (more) {
        more = deliver_picked(d, &p);
        for (size_t i = 0; i < d->bed->member_count; i++) {
            more |= d->bed->members[i].raft != NULL && raft_bed_install(&d->bed->members[i], true);
            dialogue_settle(d, &d->bed->members[i]);
        }
    }
}

/* cut 1 2 …: nothing passes between these and the others. mend: everything passes again */
void dialogue_cut(struct raft_dialogue *d, struct words *w, struct buffer *out)
{
    (void)out;
    struct raft_ids ids = {0};
    words_ids(w, &ids);
    for (uint64_t a = 1; a <= RAFT_BED_MEMBERS; a++) {
        for (uint64_t b = 1; b <= RAFT_BED_MEMBERS; b++) {
            d->cut[a][b] |= raft_ids_has(&ids, a) != raft_ids_has(&ids, b);
        }
    }
    free(ids.ids);
}

void dialogue_mend(struct raft_dialogue *d, struct words *w, struct buffer *out)
{
    (void)w;
    (void)out;
    memset(d->cut, 0, sizeof d->cut);
}

/* step 2->1 AppResp term 2 index 5 [reject] [hint 3] [log-term 1] [commit 2] [entries 4/2 5/2] [context TEXT]
 * [reads N] [at 5/2 voters 1 2]: a message that nobody sent */
void dialogue_step(struct raft_dialogue *d, struct words *w, struct buffer *out)
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
        if (words_next_is(w, "term")) {
            m.term = words_number(w, 0);
        } else if (words_next_is(w, "to")) {
            m.to = words_number(w, 0);
        } else if (words_next_is(w, "index")) {
            m.index = words_number(w, 0);
        } else if (words_next_is(w, "log-term")) {
            m.log_term = words_number(w, 0);
        } else if (words_next_is(w, "commit")) {
            m.commit = words_number(w, 0);
        } else if (words_next_is(w, "hint")) {
            m.reject_hint = words_number(w, 0);
        } else if (words_next_is(w, "reads")) {
            m.context_len = 8;
            put_le64(m.context, words_number(w, 0));
        } else if (words_next_is(w, "context")) {
            const char *text = words_next(w);
            m.context_len = (uint8_t)strlen(text);
            memcpy(m.context, text, m.context_len);
        } else if (words_next_is(w, "entry")) {
            uint64_t index = 0, term = 0;
            sscanf(words_next(w), "%" SCNu64 "/%" SCNu64, &index, &term);
            entries[m.entry_count++] = (struct raft_entry){.index = index, .term = term};
        } else if (words_next_is(w, "at")) {
            sscanf(words_next(w), "%" SCNu64 "/%" SCNu64, &m.snapshot.index, &m.snapshot.term);
        } else if (words_next_is(w, "voters")) {
            words_ids(w, &conf.voters);
        } else if (words_next_is(w, "reject")) {
            m.reject = true;
        } else {
            buffer_printf(out, "what is %s?\n", words_next(w));
        }
    }
    if (to == NULL || to->raft == NULL || m.type == 0) {
        buffer_printf(out, "nobody there, or no such message\n");
    } else {
        raft_step(to->raft, &m);
        dialogue_settle(d, to);
    }
    raft_conf_state_free(&conf);
}

void dialogue_unreachable(struct raft_dialogue *d, struct words *w, struct buffer *out)
{
    struct raft_bed_member *m = dialogue_member(d, w, out);
    if (m != NULL) {
        raft_unreachable(m->raft, words_number(w, 0));
        dialogue_settle(d, m);
    }
}

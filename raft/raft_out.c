/* Messages on their way out. Those that rest on the disk wait for the save that they rest on; the rest leaves with the
 * next update. Entries that aren't the log's own (proposals sent on, names of reads) are kept in blocks until then. */
#include "base/canary.h"
#include "base/check.h"
#include "raft/raft_impl.h"
#include <stdlib.h>

static void init(struct raft *r, struct raft_message *m, enum raft_message_type type, uint64_t to)
{
    *m = (struct raft_message){.type = type, .to = to, .from = r->id};
    if (type != RAFT_MSG_PROPOSE && type != RAFT_MSG_READ_INDEX) { /* raft.md "Message fields" */
        m->term = r->term;
    }
    r->dirty = true;
}

static struct raft_message *out_slot(struct raft *r)
{
    if (r->out_count == r->out_capacity) {
        r->out_capacity = r->out_capacity * 2 + 16;
        r->out = mem_realloc(r->out, r->out_capacity * sizeof *r->out);
    }
    r->propose_bytes = 0;
    return &r->out[r->out_count++];
}

struct raft_message *raft_message_now(struct raft *r, enum raft_message_type type, uint64_t to)
{
    struct raft_message *m = out_slot(r);
    init(r, m, type, to);
    return m;
}

struct raft_message *raft_message_durable(struct raft *r, enum raft_message_type type, uint64_t to)
{
    if (r->held_count == r->held_capacity) {
        r->held_capacity = r->held_capacity * 2 + 16;
        r->held = mem_realloc(r->held, r->held_capacity * sizeof *r->held);
    }
    struct held_message *held = &r->held[r->held_count++];
    held->sequence = 0;
    init(r, &held->message, type, to);
    return &held->message;
}

/* --- entries --- */

static struct raft_entry *attach(struct raft *r, const struct raft_entry *entry)
{
    struct attached *block = r->attached;
    if (block == NULL || block->used == sizeof block->entries / sizeof block->entries[0]) {
        block = r->spare;
        if (block == NULL) {
            block = mem_alloc(sizeof *block);
        } else {
            r->spare = block->next;
        }
        block->next = r->attached;
        block->used = 0;
        r->attached = block;
    }
    struct raft_entry *e = &block->entries[block->used++];
    *e = (struct raft_entry){.type = entry->type, .data = entry->data};
    if (e->data != NULL) {
        shared_ref(e->data);
    }
    return e;
}

void raft_attach(struct raft *r, struct raft_message *m, struct shared *data)
{
    m->entries = attach(r, &(struct raft_entry){.data = data});
    m->entry_count = 1;
}

/* Proposals of one origin that follow each other share a message. */
static bool joins_last(const struct raft *r, enum raft_message_type type, uint64_t from, const struct raft_entry *e)
{
    if (type != RAFT_MSG_PROPOSE || r->propose_bytes == 0) {
        return false;
    }
    const struct raft_message *last = &r->out[r->out_count - 1];
    return last->from == from && last->to == r->leader && last->entries + last->entry_count == e &&
           r->propose_bytes + raft_entry_bytes(e) <= r->message_bytes;
}

void raft_forward(struct raft *r, enum raft_message_type type, uint64_t from, const struct raft_entry *entry)
{
    struct raft_entry *e = attach(r, entry);
    size_t bytes = r->propose_bytes;
    if (joins_last(r, type, from, e)) {
        r->out[r->out_count - 1].entry_count++;
    } else {
        struct raft_message *m = raft_message_now(r, type, r->leader);
        m->from = from;
        m->entries = e;
        m->entry_count = 1;
        bytes = 0;
    }
    r->propose_bytes = type == RAFT_MSG_PROPOSE ? bytes + raft_entry_bytes(e) + 1 : 0;
}

static void detach_all(struct raft *r)
{
    while (r->attached != NULL) {
        struct attached *block = r->attached;
        r->attached = block->next;
        for (size_t i = 0; i < block->used; i++) {
            shared_unref(block->entries[i].data);
        }
        block->next = r->spare;
        r->spare = block;
    }
}

/* --- what a follower acknowledges --- */

void raft_owe_ack(struct raft *r, uint64_t to, uint64_t index)
{
    if (r->ack.to != to) {
        r->ack.to = to;
        r->ack.index = r->ack.sent = 0;
    }
    if (index > r->ack.index) {
        r->ack.index = index;
    }
    /* What was durable before this message is no news in itself. */
    uint64_t had = r->log.durable < r->ack.index ? r->log.durable : r->ack.index;
    r->ack.sent = r->ack.sent > had ? r->ack.sent : had;
    r->ack.owed = true;
}

/* Raft thesis 3.8, 10.2.1: entries are acknowledged once they, and the term that they were taken in, are durable. One
 * answer for all Apps since the last. */
static void release_ack(struct raft *r)
{
    uint64_t index = r->ack.index < r->log.durable || CANARY(ACCEPT_BEFORE_SYNC) ? r->ack.index : r->log.durable;
    if (!r->ack.owed || !raft_state_durable(r) || (index < r->ack.index && index <= r->ack.sent)) {
        return;
    }
    raft_message_now(r, RAFT_MSG_APPEND_RESPONSE, r->ack.to)->index = index;
    r->ack.sent = index;
    r->ack.owed = index < r->ack.index;
}

/* --- the update --- */

void raft_out_release(struct raft *r)
{
    size_t left = 0;
    for (size_t i = 0; i < r->held_count; i++) {
        struct held_message *held = &r->held[i];
        if (held->sequence == 0) {
            held->sequence = r->sync_sequence;
        }
        if (held->sequence <= r->durable_sequence) {
            *out_slot(r) = held->message;
        } else {
            r->held[left++] = *held;
        }
    }
    r->held_count = left;
    release_ack(r);
}

void raft_out_drop(struct raft *r)
{
    r->held_count = 0;
}

void raft_out_done(struct raft *r)
{
    r->out_count = r->image_count = 0;
    r->propose_bytes = 0;
    detach_all(r);
}

void raft_out_free(struct raft *r)
{
    detach_all(r);
    while (r->spare != NULL) {
        struct attached *block = r->spare;
        r->spare = block->next;
        free(block);
    }
    free(r->out);
    free(r->images);
    free(r->held);
}

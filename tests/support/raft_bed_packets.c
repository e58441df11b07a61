/* Messages on their way, and what becomes of them. */
#include "base/check.h"
#include "tests/support/raft_bed_impl.h"
#include <stdlib.h>

struct raft_bed_packet *bed_packet_add(struct raft_bed *bed, const struct raft_message *message)
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
            bed_store_copy(&to->install, &p->image);
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
        bed_packet_add(bed, &bed->packets[at]->message);
    }
}

/* An image is of the sender's state machine as it is now, which is at least what raft asked for. */
void bed_send_image(struct raft_bed_member *m, const struct raft_message *wish)
{
    CHECK(m->applied >= wish->snapshot.index);
    struct raft_message message = *wish;
    struct raft_bed_store now = {.applied = m->applied, .hash = m->hash, .conf = m->conf};
    message.snapshot = (struct raft_position){.index = m->applied, .term = raft_term_at(m->raft, m->applied)};
    message.snapshot_conf = &m->conf;
    bed_store_copy(&bed_packet_add(m->bed, &message)->image, &now);
}

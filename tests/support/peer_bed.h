/* Members' transports in one process: each on a port of its own of one loop, with what they heard kept for the test. */
#ifndef TESTS_SUPPORT_PEER_BED_H
#define TESTS_SUPPORT_PEER_BED_H

#include "base/net/listener.h"
#include "raft/peer/peer.h"

#define PEER_BED_CLUSTER UINT64_C(0x45f4d005b8294f66)

struct peer_bed;

struct peer_bed_member {
    struct peer_bed *bed;
    uint64_t id;
    struct listener listener;
    struct http1_options options;
    struct peer_transport *transport;
    char url[160];
    bool gone;

    /* heard */
    struct raft_message last; /* without entries */
    uint64_t messages, by_type[32], entries, entry_bytes, last_entry;
    unsigned unreachable, reported_ok, reported_failed, removed;
    uint64_t removed_id; /* is answered as removed */

    /* images */
    int begin_error, done_error;
    bool hold, slow; /* hold: peer_image_done is the test's; slow: takes one piece at a time */
    struct peer_image *image;
    struct buffer image_bytes;
    unsigned begun, finished, aborted;
};

struct peer_bed {
    struct loop loop;
    struct peer_bed_member members[3];
    size_t count;
    const char *version;
};

void peer_bed_open(struct peer_bed *bed, size_t count); /* ids 1…count; transports know nobody yet */
void peer_bed_close(struct peer_bed *bed);
void peer_bed_introduce(struct peer_bed *bed, size_t a, size_t b); /* a learns of b */
void peer_bed_listen(struct peer_bed_member *m);                   /* on its old port, if it had one */
void peer_bed_deafen(struct peer_bed_member *m);                   /* closes port and connections */
void peer_bed_run(struct peer_bed *bed, uint64_t ms);
/* Runs until the condition holds; false after ms. */
#define peer_bed_until(bed, ms, condition)                                                                             \
    ({                                                                                                                 \
        uint64_t until_ = loop_clock_ns() + (uint64_t)(ms)*1000000;                                                    \
        bool holds_;                                                                                                   \
        while (!(holds_ = (condition)) && loop_clock_ns() < until_) {                                                  \
            loop_step(&(bed)->loop, 5);                                                                                \
        }                                                                                                              \
        holds_;                                                                                                        \
    })
/* Runs until streams stand both ways between a and b. */
bool peer_bed_connected(struct peer_bed *bed, size_t a, size_t b);

/* A source of `size` bytes, a pattern that depends on the place. */
struct peer_bed_source {
    struct peer_source source;
    uint64_t size, at;
    size_t piece;    /* at most so many at once; 0 = no limit */
    bool starving;   /* says "not yet" */
    uint64_t broken; /* fails at this place; 0 = never */
    unsigned closed;
};
void peer_bed_source(struct peer_bed_source *s, uint64_t size);
uint8_t peer_bed_pattern(uint64_t at);

#endif

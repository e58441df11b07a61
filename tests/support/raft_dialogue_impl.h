/* What the files of the dialogues share. */
#ifndef TESTS_SUPPORT_RAFT_DIALOGUE_IMPL_H
#define TESTS_SUPPORT_RAFT_DIALOGUE_IMPL_H

#include "tests/support/raft_dialogue.h"

enum { WORDS_MAX = 48 };

struct words {
    char text[512];
    const char *list[WORDS_MAX];
    size_t count, at;
};

const char *words_next(struct words *w);                    /* "" at the end */
bool words_next_is(struct words *w, const char *word);      /* and takes it */
bool words_next_id(struct words *w, uint64_t *id);          /* a hexadecimal number, and takes it */
uint64_t words_number(struct words *w, uint64_t otherwise); /* a decimal one */
void words_ids(struct words *w, struct raft_ids *ids);      /* as many as there are */

/* The member that the next word names; says so in *out and returns NULL if there is none. */
struct raft_bed_member *dialogue_member(struct raft_dialogue *d, struct words *w, struct buffer *out);
/* What a member's events lead to, its disk included unless disks are slow. */
void dialogue_settle(struct raft_dialogue *d, struct raft_bed_member *m);

/* Commands about messages: raft_dialogue_network.c. */
void dialogue_deliver(struct raft_dialogue *d, struct words *w, struct buffer *out);
void dialogue_drop(struct raft_dialogue *d, struct words *w, struct buffer *out);
void dialogue_duplicate(struct raft_dialogue *d, struct words *w, struct buffer *out);
void dialogue_run(struct raft_dialogue *d, struct words *w, struct buffer *out);
void dialogue_cut(struct raft_dialogue *d, struct words *w, struct buffer *out);
void dialogue_mend(struct raft_dialogue *d, struct words *w, struct buffer *out);
void dialogue_step(struct raft_dialogue *d, struct words *w, struct buffer *out);
void dialogue_unreachable(struct raft_dialogue *d, struct words *w, struct buffer *out);

#endif

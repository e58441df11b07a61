/* Generations of a member's store (design.md "Generation"): an image that has arrived becomes an LMDB file beside the
 * one in use, checked while it is built and again when it is opened, and a state machine over it. Taking the old one's
 * name is the last step. At start the same is done for an image that the log says was taken over but whose store did
 * not get its name any more. */
#ifndef CMD_KEDGE_GENERATION_H
#define CMD_KEDGE_GENERATION_H

#include "kv/kv.h"
#include "raft/types.h"
#include <stdatomic.h>

/* Rows of the table `kedge` that tie a store to its log. */
#define GENERATION_MEMBER_ID "member-id"
#define GENERATION_CLUSTER_ID "cluster-id"

struct generation_config {
    const char *snap_dir;             /* DIR/member/snap: images are here, as %016x.snap.db */
    struct backend_lmdb_config store; /* path: where the store in use is */
    struct kv_config kv;
    uint64_t member_id, cluster_id;
};

struct generation {
    struct backend *backend;
    struct kv *kv;
};

/* The image's file for a position: heap text. */
char *generation_image(const struct generation_config *config, uint64_t index);

/* Builds from the image at this position, under a name that a next start removes. Stops early when *give_up becomes
 * true (NULL = never). 0, or an error with a heap text in *reason; then nothing is left behind. Any thread. */
int generation_build(const struct generation_config *config, struct raft_position at, const atomic_bool *give_up,
                     struct generation *out, char **reason);
/* The store gets its name, durably; the image is removed. The one that had it before stays open where it is. */
int generation_place(const struct generation_config *config, struct generation *generation, uint64_t index);
/* The rows of a store in a file of their own without free space, checked and open, under a name that a next start
 * removes. As generation_build. */
int generation_copy(const struct generation_config *config, struct backend *from, struct backend **out, char **reason);
/* Closes both. */
void generation_close(struct generation *generation);

/* The image at this position is not needed. */
void generation_drop_image(const struct generation_config *config, uint64_t index);
/* Removes all images: each is taken over, or the leader sends it again. At start. */
void generation_remove_images(const struct generation_config *config);

#endif

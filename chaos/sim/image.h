/* Images for members that are too far behind, see image.c. */
#ifndef CHAOS_SIM_IMAGE_H
#define CHAOS_SIM_IMAGE_H

#include "core/job.h"

struct sim;
struct sim_member;

void sim_image_env(struct core_env *env);
void sim_images_run(struct sim *s);
uint64_t sim_images_due(struct sim *s);
void sim_images_cut(struct sim_member *m); /* it ends: its views are given back */
void sim_images_free(struct sim *s);

/* CORE_INSTALL: builds a generation from the image at this position, if the member has it. */
int sim_image_build(struct sim_member *m, struct raft_position at, struct kv **kv);
/* CORE_PLACE: what was built is the member's store from now on. */
void sim_image_place(struct sim_member *m, struct raft_position at);
void sim_image_remove_files(struct sim_member *m);

#endif

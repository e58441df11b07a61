/* What the files of the bed share. */
#ifndef TESTS_SUPPORT_RAFT_BED_IMPL_H
#define TESTS_SUPPORT_RAFT_BED_IMPL_H

#include "tests/support/raft_bed.h"

/* raft_bed_disk.c */
void bed_store_copy(struct raft_bed_store *to, const struct raft_bed_store *from);
void bed_log_cut(struct raft_bed_member *m, size_t count); /* keeps so many */
void bed_log_append(struct raft_bed_member *m, const struct raft_entry *e);
void bed_log_begin(struct raft_bed_member *m, struct raft_position start);
void bed_job_start(struct raft_bed_member *m, const struct raft_update *u);
void bed_job_end(struct raft_bed_member *m, bool written); /* the oldest */

/* raft_bed_packets.c */
struct raft_bed_packet *bed_packet_add(struct raft_bed *bed, const struct raft_message *message);
void bed_send_image(struct raft_bed_member *m, const struct raft_message *wish);

/* raft_bed_text.c */
void bed_write_down(struct raft_bed_member *m, const struct raft_update *u);

#endif

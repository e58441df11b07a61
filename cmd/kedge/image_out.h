/* An image for another member: a view of the store, exported as a bbolt file while it is sent (peer.md
 * "/raft/snapshot"). Thread: the loop's; the pages are made by workers. */
#ifndef CMD_KEDGE_IMAGE_OUT_H
#define CMD_KEDGE_IMAGE_OUT_H

#include "cmd/kedge/peers.h"
#include "core/core.h"

/* core_env.send_image */
void image_out_start(struct peers *peers, const struct raft_message *message, struct core_view *view);

#endif

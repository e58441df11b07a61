/* An image from the leader, on its way into DIR/member/snap: written by another thread as it comes, then synced and
 * given its name, INDEX.snap.db; raft is told after that (peer.md "/raft/snapshot"). For struct peer_events; owner is a
 * struct peers. */
#ifndef CMD_KEDGE_IMAGE_IN_H
#define CMD_KEDGE_IMAGE_IN_H

#include "cmd/kedge/peers.h"

int image_in_begin(void *owner, struct peer_image *image);
bool image_in_data(void *owner, struct peer_image *image, struct bytes data);
void image_in_finish(void *owner, struct peer_image *image);
void image_in_abort(void *owner, struct peer_image *image);

#endif

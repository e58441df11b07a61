/* What the parts of a client share: client.c, client_change.c, client_read.c. */
#ifndef CHAOS_SIM_CLIENT_H
#define CHAOS_SIM_CLIENT_H

#include "chaos/sim/internal.h"

void sim_client_rest(struct sim_client *c); /* until it is time for the next request */
void sim_client_wait(struct sim_client *c); /* for the answer, as long as its patience lasts */

/* A key, and an end for a range that begins with it: [key, end), or all from the key on. */
void sim_client_key(struct sim_client *c);
ProtobufCBinaryData sim_client_end(struct sim_client *c, uint64_t widest);
ProtobufCBinaryData sim_client_text(char *t);
uint64_t sim_client_digest(Mvccpb__KeyValue **kvs, size_t count);

/* client_change.c, client_read.c: begin a request of some kind; `what` is below 100 */
void sim_client_change(struct sim_client *c, uint64_t what);
void sim_client_read(struct sim_client *c);
void sim_client_finish_read(struct sim_client *c);

#endif

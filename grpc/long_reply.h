/* The answer of a unary call when it may be long in parts: packed in slices, so that no turn is long, and its memory
 * given back in slices. A short one is packed at once. */
#ifndef GRPC_LONG_REPLY_H
#define GRPC_LONG_REPLY_H

#include "grpc/services.h"

/* Ends the call. arena: where the message lies, taken over if the answer is long (it is empty then); NULL = it lies in
 * call->arena. */
void long_reply(struct services *services, struct call *call, const ProtobufCMessage *message, struct arena *arena);

#endif

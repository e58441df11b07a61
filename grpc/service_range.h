/* KV.Range and KV.RangeStream. */
#ifndef GRPC_SERVICE_RANGE_H
#define GRPC_SERVICE_RANGE_H

#include "grpc/services.h"

void service_range(void *service, struct call *call, const ProtobufCMessage *message);
void service_range_stream(void *service, struct call *call, const ProtobufCMessage *message);

/* The fields of a RangeResponse around its kvs (wire.tsv): header before, more and count behind. Both return the
 * length; out has at least RANGE_EDGE_MAX bytes. */
#define RANGE_EDGE_MAX 80
size_t range_head_encode(const struct core *core, int64_t revision, uint8_t *out);
size_t range_tail_encode(const struct kv_range *range, uint8_t *out);

#endif

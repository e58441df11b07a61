/* What the kv files know about requests besides what kv/kv.h shows. */
#ifndef KV_OP_H
#define KV_OP_H

#include "base/bytes.h"
#include "kv/kv.h"

static inline struct bytes op_bytes(ProtobufCBinaryData data)
{
    return bytes_of(data.data, data.len);
}

static inline ProtobufCBinaryData op_binary(struct bytes b)
{
    return (ProtobufCBinaryData){.len = b.len, .data = (uint8_t *)b.data};
}

/* Does any branch put a key twice, or put a key that it deletes (mvcc.md "Duplicate check")? 0 or ERR_DUPLICATE_KEY. */
int op_check_duplicates(const Etcdserverpb__TxnRequest *txn);

/* Would dbSize + cost stay below the quota? Cost 0 always does. */
bool op_within_quota(const struct kv *kv, uint64_t cost);
/* The layers CORRUPT and NOSPACE: 0, ERR_CORRUPT, ERR_NO_SPACE. */
int op_alarm_gate(const struct kv *kv, const Etcdserverpb__InternalRaftRequest *request);

#endif

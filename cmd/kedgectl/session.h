/* One run of a command that talks to a server: the settings from flags and variables, the client, the printer. Errors
 * come in the words of etcd's own client. */
#ifndef CMD_KEDGECTL_SESSION_H
#define CMD_KEDGECTL_SESSION_H

#include "cmd/cli.h"
#include "cmd/kedgectl/printer.h"
#include "grpc/client.h"

struct session {
    struct cli_call *call;
    struct client *client;
    struct printer printer;
    const char *const *endpoints; /* NULL-terminated */
    uint64_t timeout_ms;          /* --command-timeout */
    bool no_time;                 /* it is 0 or less: what has this limit isn't even begun */
    size_t send_limit;            /* --max-request-bytes, 2 MiB if not given */
};

/* Reads the settings and makes the client. 0, or the exit status after a message. */
int session_open(struct session *s, struct cli_call *call);
/* The same for who asks endpoints one by one: there may be none, and the session has no client then. */
int session_open_each(struct session *s, struct cli_call *call);
void session_close(struct session *s);
/* Sends what was printed to stdout, closes, and passes the status on. */
int session_end(struct session *s, int status);

/* Refuses endpoints that need what kedge's client does not have yet. False after a message. */
bool session_check_endpoints(const char *const *endpoints);
/* Options for a client like the session's own, for these endpoints. */
struct client_options session_options(const struct session *s, const char *const *endpoints);

/* What may go wrong with a call, as etcd's client words it. */
struct session_call {
    const char *path;
    bool repeatable;     /* reads: tried again while the server can't be reached */
    uint64_t timeout_ms; /* 0 = none */
};
/* NULL and *response in the call's arena, or the error's text. */
const char *session_unary(struct session *s, const struct session_call *what, const ProtobufCMessage *request,
                          const ProtobufCMessageDescriptor *type, ProtobufCMessage **response);
/* The same with another client and arena (a thread of its own). */
const char *session_unary_on(const struct session *s, struct client *client, struct arena *arena,
                             const struct session_call *what, const ProtobufCMessage *request,
                             const ProtobufCMessageDescriptor *type, ProtobufCMessage **response);
/* Is this a text that etcd's client shows as it is (one of etcd's own errors)? */
const char *session_error(struct arena *arena, enum grpc_code code, const char *text, bool timed);
#define SESSION_TIMED_OUT "context deadline exceeded"

#define KV_RANGE "/etcdserverpb.KV/Range"
#define KV_RANGE_STREAM "/etcdserverpb.KV/RangeStream"
#define KV_PUT "/etcdserverpb.KV/Put"
#define KV_DELETE_RANGE "/etcdserverpb.KV/DeleteRange"
#define KV_TXN "/etcdserverpb.KV/Txn"
#define KV_COMPACT "/etcdserverpb.KV/Compact"
#define WATCH_WATCH "/etcdserverpb.Watch/Watch"
#define LEASE_GRANT "/etcdserverpb.Lease/LeaseGrant"
#define LEASE_REVOKE "/etcdserverpb.Lease/LeaseRevoke"
#define LEASE_KEEP_ALIVE "/etcdserverpb.Lease/LeaseKeepAlive"
#define LEASE_TIME_TO_LIVE "/etcdserverpb.Lease/LeaseTimeToLive"
#define LEASE_LEASES "/etcdserverpb.Lease/LeaseLeases"
#define CLUSTER_MEMBER_LIST "/etcdserverpb.Cluster/MemberList"
#define CLUSTER_MEMBER_ADD "/etcdserverpb.Cluster/MemberAdd"
#define CLUSTER_MEMBER_REMOVE "/etcdserverpb.Cluster/MemberRemove"
#define CLUSTER_MEMBER_UPDATE "/etcdserverpb.Cluster/MemberUpdate"
#define CLUSTER_MEMBER_PROMOTE "/etcdserverpb.Cluster/MemberPromote"
#define MAINTENANCE_MOVE_LEADER "/etcdserverpb.Maintenance/MoveLeader"
#define MAINTENANCE_ALARM "/etcdserverpb.Maintenance/Alarm"
#define MAINTENANCE_DEFRAGMENT "/etcdserverpb.Maintenance/Defragment"
#define MAINTENANCE_DOWNGRADE "/etcdserverpb.Maintenance/Downgrade"
#define MAINTENANCE_SNAPSHOT "/etcdserverpb.Maintenance/Snapshot"
#define MAINTENANCE_STATUS "/etcdserverpb.Maintenance/Status"
#define MAINTENANCE_HASH_KV "/etcdserverpb.Maintenance/HashKV"

static inline ProtobufCBinaryData session_binary(struct bytes text)
{
    return (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)text.data, .len = text.len};
}

static inline ProtobufCBinaryData session_bytes(const char *text)
{
    return session_binary(bytes_str(text));
}

static inline ProtobufCBinaryData session_arg(const struct cli_call *call, int place)
{
    return session_binary(cli_arg(call, place));
}

#endif
